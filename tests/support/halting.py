"""Freezing a process: it answers nothing from now on, and its connections stay."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

__all__ = ["halt"]

HALT_S: Final = 10.0


def halt(pid: int) -> None:
    """Return when every thread of it stands still: the signal is sent at once, and obeyed a moment later. SIGCONT ends
    it.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + HALT_S
    while not all(_stands_still(task) for task in Path(f"/proc/{pid}/task").iterdir()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} does not stop")
        time.sleep(0.001)


def _stands_still(task: Path) -> bool:
    try:
        # The name of a thread, in parentheses, may hold anything.
        state = (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True  # It has ended meanwhile.
    return state in "TZX"
