"""A ledger in memory, whose log can lose, gain and forget what the test says, and whose answers can fail or be late."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hubbub.errors import HubbubError
from hubbub.history.base import (
    Audited,
    AuditPage,
    Ban,
    Beat,
    Entry,
    Record,
    RecordKind,
    Revocation,
    Sanctions,
)

__all__ = ["MemoryLedger", "MemoryLog"]

_numbers = itertools.count(1)


class MemoryLog:
    """What several ledgers share, as nodes share a store."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.bans: dict[str, Ban] = {}
        self.revocations: dict[tuple[str | None, str | None], Revocation] = {}
        self.audited: dict[str, Audited] = {}
        self.beats: dict[tuple[str, str], Beat] = {}

    @property
    def head(self) -> int:
        return self.records[-1].n if self.records else 0

    def log(self, kind: RecordKind, data: Mapping[str, Any], *, origin: str = "another", at: int = 0) -> Record:
        """A record, as some node logs it."""
        record = Record(self.head + 1, kind, f"k{next(_numbers)}", at, origin, data)
        self.records.append(record)
        return record


class MemoryLedger:
    """One node's ledger. While it is `away` every call fails; `latency_s` is what each takes."""

    def __init__(self, log: MemoryLog | None = None, *, origin: str = "own") -> None:
        self.shared = log or MemoryLog()
        self._origin = origin
        self.on_logged: Callable[[], None] = lambda: None
        self.away = False
        self.latency_s = 0.0
        self.calls: list[str] = []
        self.failures: list[HubbubError] = []

    @property
    def origin(self) -> str:
        return self._origin

    async def head(self) -> int:
        await self._call("head")
        return self.shared.head

    async def read(self, *, after: int, limit: int) -> Sequence[Record]:
        await self._call("read")
        return [record for record in self.shared.records if record.n > after][:limit]

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        await self._call("append")
        numbers = []
        for entry in entries:
            found = next((record for record in self.shared.records if record.key == entry.key), None)
            if found is None:
                found = Record(self.shared.head + 1, entry.kind, entry.key, entry.at, self._origin, entry.data)
                self.shared.records.append(found)
            numbers.append(found.n)
        return numbers

    async def prune(self, *, before: int, keep: int) -> int:
        await self._call("prune")
        kept = max(keep, 1)
        old = [record for record in self.shared.records[:-kept] if record.at < before]
        del self.shared.records[: len(old)]
        return len(old)

    async def mend(self) -> None:
        await self._call("mend")

    async def sanctions(self, *, now: int) -> Sanctions:
        await self._call("sanctions")
        bans = [ban for ban in self.shared.bans.values() if ban.until > now]
        return Sanctions(bans, list(self.shared.revocations.values()))

    async def put_ban(self, ban: Ban) -> None:
        await self._call("put_ban")
        known = self.shared.bans.get(ban.user)
        if known is None or known.n < ban.n:
            self.shared.bans[ban.user] = ban

    async def put_revocation(self, revocation: Revocation) -> None:
        await self._call("put_revocation")
        name = (None, revocation.jti) if revocation.jti is not None else (revocation.user, None)
        known = self.shared.revocations.get(name)
        if known is None or known.n < revocation.n:
            self.shared.revocations[name] = revocation

    async def audit_begin(self, *, at: int, actor: str, action: str, target: Mapping[str, str], reason: str) -> str:
        await self._call("audit_begin")
        entry = f"a{next(_numbers)}"
        self.shared.audited[entry] = Audited(entry, at, actor, action, target, reason, "unknown")
        return entry

    async def audit_end(self, id: str, outcome: str) -> None:
        await self._call("audit_end")
        entry = self.shared.audited[id]
        if entry.outcome == "unknown":
            self.shared.audited[id] = Audited(
                id, entry.at, entry.actor, entry.action, entry.target, entry.reason, outcome
            )

    async def audit(self, *, limit: int, cursor: str | None) -> AuditPage:
        await self._call("audit")
        return AuditPage(list(reversed(self.shared.audited.values()))[:limit], None)

    async def beat(self, beat: Beat) -> None:
        await self._call("beat")
        self.shared.beats[beat.name, beat.origin] = beat

    async def stop_beating(self) -> None:
        await self._call("stop_beating")
        for name in [name for name in self.shared.beats if name[1] == self._origin]:
            del self.shared.beats[name]

    async def beats(self, *, since: int) -> Sequence[Beat]:
        await self._call("beats")
        return sorted(
            (beat for beat in self.shared.beats.values() if beat.at >= since), key=lambda beat: (beat.name, beat.origin)
        )

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if self.failures:
            raise self.failures.pop(0)
        if self.away:
            raise HubbubError("unavailable", "The store is away.")
