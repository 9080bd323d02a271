"""A rule file in use: read at the start, and again whenever it has changed.

Whoever mends a rule does so because something is happening now, and a restart would send everybody away. A file that is
broken, or gone, changes nothing: the rules that were read last stay in force, and the log says why. So it does when
a file system does not answer: the thread that waits for it is left to itself, and another one tries again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from hubbub.errors import FilterError
from hubbub.filters.base import Draft, Verdict
from hubbub.filters.rules import Rules, RulesError, parse

__all__ = ["RuleFile"]

_log = structlog.get_logger("hubbub.filters")

LOOK_EVERY_S: Final = 3.0
"""How often it is looked whether the file has changed."""

READ_S: Final = 30.0
"""How long that may take, and reading the file: a million words take some seconds."""

AGAIN_S: Final = 60.0
"""How long nothing is tried after a file system did not answer: twice as long after each time, up to `LONGEST_S`."""

LONGEST_S: Final = 3600.0

MOST_BYTES: Final = 16 * 2**20
"""Of a rule file: a million words. What is larger is something else."""

_Seen = tuple[int, int, int] | None


class RuleFile:
    """The filter that a rule file makes. Making one reads the file, and raises `FilterError` if that cannot be done."""

    def __init__(
        self, path: Path, *, look_every_s: float = LOOK_EVERY_S, read_s: float = READ_S, again_s: float = AGAIN_S
    ) -> None:
        self._path = path
        self._look_every_s = look_every_s
        self._read_s = read_s
        self._again_s = self._pause_s = again_s
        self._task: asyncio.Task[None] | None = None
        self._seen = _look(path)
        try:
            self._rules = _read(path)
        except RulesError as error:
            raise FilterError(f"The rule file {path} {error}.") from None

    def __call__(self, draft: Draft) -> Verdict | None:
        return self._rules(draft)

    def start(self) -> None:
        """Look for changes from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="rule-file")

    async def close(self) -> None:
        """Look for changes no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            if await self.look():
                self._pause_s = self._again_s
            else:
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(2 * self._pause_s, max(LONGEST_S, self._again_s))

    async def look(self) -> bool:
        """Read the file if it is another than it was. A thread does so: a file of many words takes a while. False if
        there was no answer in time.
        """
        try:
            seen, found = await self._reread()
        except TimeoutError:
            reason = f"was not read within {self._read_s:g} seconds"
            _log.error("filter.rules_kept", file=str(self._path), reason=reason)
            return False
        self._seen = seen
        if isinstance(found, BaseException):
            reason = str(found) if isinstance(found, RulesError) else f"cannot be read: {type(found).__name__}"
            _log.error("filter.rules_kept", file=str(self._path), reason=reason)
        elif found is not None:
            self._rules = found
            _log.info("filter.rules_read", file=str(self._path), rules=len(found))
        return True

    async def _reread(self) -> tuple[_Seen, Rules | BaseException | None]:
        """The file as it is seen now, and what is in it; None if it is as it was. Raises `TimeoutError`.

        The thread is one that nobody joins: one of the loop's would keep the process from ending while it hangs.
        """
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[tuple[_Seen, Rules | BaseException | None]] = loop.create_future()
        known = self._seen

        def settle(seen: _Seen, found: Rules | BaseException | None) -> None:
            if not answered.done():
                answered.set_result((seen, found))

        def work() -> None:
            seen = known
            found: Rules | BaseException | None
            try:
                seen = _look(self._path)
                found = None if seen == known else _read(self._path)
            except BaseException as error:
                found = error
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody wants to know any more.
                loop.call_soon_threadsafe(settle, seen, found)

        threading.Thread(target=work, name="rule-file", daemon=True).start()
        async with asyncio.timeout(self._read_s):
            return await answered


def _look(path: Path) -> _Seen:
    """What is different about a file that was changed, or put in another's place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path, parse: Callable[[str], Rules] = parse) -> Rules:
    try:
        # Opened without waiting for the other end, which a pipe may never have.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RulesError("is no regular file")
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RulesError(f"cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise RulesError(f"has more than {MOST_BYTES} bytes")
    try:
        return parse(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise RulesError("is not UTF-8") from None
