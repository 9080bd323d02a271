"""Log lines on their way out of the process, without making anybody wait.

Standard error is a pipe or a terminal as often as a file, and whoever reads it may be slow: a write there can take
seconds, and on the event loop's thread it would stop every connection of the node. So lines go to a thread, which
writes whatever has come together. If the reader stays away, lines are dropped, and how many is told when it is back.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import Final, TextIO

__all__ = ["LineLogger", "LineWriter"]

MOST_LINES: Final = 20_000
"""How many lines wait for a reader that stays away: some megabytes."""

GATHER_S: Final = 0.02
"""How long lines come together: waking the thread for each would cost more than writing it."""


class LineWriter:
    """Writes lines to a stream on a thread of its own, from `start` to `close`. `node` is for its own lines."""

    def __init__(self, stream: TextIO, *, most_lines: int = MOST_LINES, node: str | None = None) -> None:
        self._stream = stream
        self._facts: dict[str, object] = {} if node is None else {"node": node}
        self._most = most_lines
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._there_are_some = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, line: str) -> None:
        """Returns at once, whatever becomes of the line."""
        if len(self._lines) >= self._most:
            self._dropped += 1
            return
        self._lines.append(line)
        if not self._there_are_some.is_set():
            self._there_are_some.set()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for so long at most."""
        self._closing.set()
        self._there_are_some.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while not (self._closing.is_set() and not self._lines):
            self._there_are_some.wait()
            if not self._closing.is_set():
                time.sleep(GATHER_S)
            self._there_are_some.clear()
            self._write()

    def _write(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if self._dropped:
            told = {"event": "log.dropped", "level": "warning", "lines": self._dropped, **self._facts}
            lines.append(json.dumps(told))
            self._dropped = 0
        try:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
        except (OSError, ValueError):
            return  # Nobody is there to read it, and nobody to tell.


class LineLogger:
    """What structlog writes to: one method for each level."""

    def __init__(self, writer: LineWriter) -> None:
        self.msg = writer.add

    def __getattr__(self, level: str) -> object:
        if level in ("log", "debug", "info", "warning", "warn", "error", "err", "critical", "fatal", "exception"):
            return self.msg
        raise AttributeError(level)
