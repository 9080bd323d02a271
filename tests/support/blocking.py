"""Finds calls of the service that block the event loop.

A call that waits on the loop's thread stops every connection of the node. The interpreter announces the calls that are
worth catching (PEP 578), so nothing has to be patched, and a call costs one look-up in a set when it is none of them.
What it cannot see is a long computation, a query on a connection that is already open, and `time.sleep` before Python
3.13.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType
from typing import Final

__all__ = ["BlockingCallError", "refuse_blocking_calls"]

BLOCKING: Final = frozenset(
    {"os.system", "socket.getaddrinfo", "socket.gethostbyname", "sqlite3.connect", "subprocess.Popen", "time.sleep"}
)
SERVICE: Final = str(Path(__file__).parents[2] / "service" / "hubbub")
TESTS: Final = str(Path(__file__).parents[1])


class BlockingCallError(Exception):
    """The service called something that blocks, on a thread where an event loop runs."""


def refuse_blocking_calls() -> None:
    """From now on such a call raises `BlockingCallError` in this process; there is no way back (audit hooks stay)."""
    sys.addaudithook(_audit)


def _audit(event: str, _arguments: tuple[object, ...]) -> None:
    if event in BLOCKING and asyncio._get_running_loop() is not None and _is_by_service(sys._getframe(1)):
        raise BlockingCallError(f"{event} on the event loop's thread")


def _is_by_service(frame: FrameType | None) -> bool:
    """Whether the nearest caller that is ours is the service and not a test."""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(SERVICE):
            return True
        if path.startswith(TESTS):
            return False
        frame = frame.f_back
    return False
