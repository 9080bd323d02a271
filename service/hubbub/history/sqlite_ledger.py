"""The ledger in the tables beside the rooms: one process has the file, and its one writer gives the numbers."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from hubbub.history import sqlite_audit as audit
from hubbub.history import sqlite_beats as beats
from hubbub.history import sqlite_log as log
from hubbub.history import sqlite_sanctions as sanctions
from hubbub.history.ledger import AuditPage, Ban, Beat, Entry, Record, Revocation, Sanctions

__all__ = ["SqliteLedger"]

T = TypeVar("T")

ORIGIN_BYTES: Final = 6
"""Of chance in the name of a process: it must not be that of another which still is in the log."""


class _Runs(Protocol):
    async def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> T: ...


class SqliteLedger:
    """`Ledger`, by way of what `read` and `write` run; open as long as they are."""

    def __init__(self, *, read: _Runs, write: _Runs) -> None:
        self._read = read
        self._write = write
        self._origin = secrets.token_hex(ORIGIN_BYTES)
        self.on_logged: Callable[[], None] = lambda: None

    @property
    def origin(self) -> str:
        return self._origin

    # -- the control log ---------------------------------------------------------------------------------------------

    async def head(self) -> int:
        return await self._read(log.read_head)

    async def read(self, *, after: int, limit: int) -> Sequence[Record]:
        return await self._read(lambda connection: log.read_records(connection, after=after, limit=limit))

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        return await self._write(lambda connection: log.append(connection, entries, origin=self._origin))

    async def prune(self, *, before: int, keep: int) -> int:
        return await self._write(lambda connection: log.prune(connection, before=before, keep=keep))

    async def mend(self) -> None:
        """Nothing: a change and its record are in one transaction."""

    # -- sanctions ---------------------------------------------------------------------------------------------------

    async def sanctions(self, *, now: int) -> Sanctions:
        return await self._read(lambda connection: sanctions.read_sanctions(connection, now=now))

    async def put_ban(self, ban: Ban) -> None:
        await self._write(lambda connection: sanctions.put_ban(connection, ban))

    async def put_revocation(self, revocation: Revocation) -> None:
        await self._write(lambda connection: sanctions.put_revocation(connection, revocation))

    # -- audit -------------------------------------------------------------------------------------------------------

    async def audit_begin(self, *, at: int, actor: str, action: str, target: Mapping[str, str], reason: str) -> str:
        return await self._write(
            lambda connection: audit.begin(connection, at=at, actor=actor, action=action, target=target, reason=reason)
        )

    async def audit_end(self, id: str, outcome: str) -> None:
        await self._write(lambda connection: audit.end(connection, id, outcome))

    async def audit(self, *, limit: int, cursor: str | None) -> AuditPage:
        return await self._read(lambda connection: audit.read_audit(connection, limit=limit, cursor=cursor))

    # -- nodes -------------------------------------------------------------------------------------------------------

    async def beat(self, beat: Beat) -> None:
        await self._write(lambda connection: beats.beat(connection, beat))

    async def stop_beating(self) -> None:
        await self._write(lambda connection: beats.stop(connection, self._origin))

    async def beats(self, *, since: int) -> Sequence[Beat]:
        return await self._read(lambda connection: beats.read_beats(connection, since=since))
