"""The WebSocket beneath Engine.IO: what is no frame of the protocol ends the connection here.

engineio decodes a frame outside of everything that would clean up after it, and reads JSON in it to any depth; a peer
that sends anything else would stay among the living until its next heartbeat is missed.
"""

from __future__ import annotations

from typing import Any

import structlog
from engineio.async_drivers import aiohttp as driver

__all__ = ["WebSocket", "is_frame"]

_log = structlog.get_logger("hubbub.transport")

_LONGEST_CONTROL = len("2probe")


def is_frame(data: str | bytes) -> bool:
    """Whether this may be a frame of a client: a message with a Socket.IO packet, or one of the short ones."""
    if isinstance(data, bytes):
        return True
    if data[:1] == "4":
        return data[1:2] in "0123456" and len(data) > 1
    return data[:1] in "12356" and 1 <= len(data) <= _LONGEST_CONTROL


class WebSocket(driver.WebSocket):  # type: ignore[misc]  # engineio has no annotations.
    """engineio's, with one rule more."""

    async def wait(self) -> Any:
        """The next frame; None at the end, and for what is none: engineio then closes and cleans up."""
        data = await super().wait()
        if data is None or is_frame(data):
            return data
        _log.info("connection.protocol_violation", kind="frame", length=len(data))
        return None
