"""A rule file in use: read at the start, and again whenever it has changed.

Whoever mends a rule does so because something is happening now, and a restart would send everybody away. A file that is
broken, or gone, changes nothing: the rules that were read last stay in force, and the log says why.
"""

from __future__ import annotations

import asyncio
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

MOST_BYTES: Final = 16 * 2**20
"""Of a rule file: a million words. What is larger is something else."""

_Seen = tuple[int, int, int] | None


class RuleFile:
    """The filter that a rule file makes. Making one reads the file, and raises `FilterError` if that cannot be done."""

    def __init__(self, path: Path, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._path = path
        self._look_every_s = look_every_s
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
            await self.look()

    async def look(self) -> None:
        """Read the file if it is another than it was. A thread does so: a file of many words takes a while."""
        seen = await asyncio.to_thread(_look, self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            rules = await asyncio.to_thread(_read, self._path)
        except RulesError as error:
            _log.error("filter.rules_kept", file=str(self._path), reason=str(error))
        else:
            self._rules = rules
            _log.info("filter.rules_read", file=str(self._path), rules=len(rules))


def _look(path: Path) -> _Seen:
    """What is different about a file that was changed, or put in another's place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path, parse: Callable[[str], Rules] = parse) -> Rules:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RulesError(f"cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise RulesError(f"has more than {MOST_BYTES} bytes")
    try:
        return parse(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise RulesError("is not UTF-8") from None
