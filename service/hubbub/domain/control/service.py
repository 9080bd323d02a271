"""What administrators order, for every node (`Control`).

An order is appended to the control log, and so is durable and known to every node that lives or comes to life; the node
where it was given applies it at once, the others when they read it. Bans and revocations outlive their records as
sanctions, which every node that applies the record writes: so they are kept also if the node that gave the order dies.

With the store away the last known state holds: whoever is banned stays out, and new orders are refused as
`unavailable`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.control.follower import Follower, Place
from hubbub.domain.control.keeping import Keeping
from hubbub.domain.control.ports import Doors
from hubbub.domain.control.questions import Questions
from hubbub.domain.control.rooms import RoomNews
from hubbub.domain.control.sanctions import SanctionBook, banned, revoked
from hubbub.domain.house import House
from hubbub.domain.identity import Identity
from hubbub.domain.roomservice import RoomService
from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Ban, Beat, Entry, Record, RecordKind, Revocation

__all__ = ["Control"]

_log = structlog.get_logger("hubbub.control")

REPLAY: Final = 1000
"""As many of the last records are read again at a start, for the sanctions that nobody had written yet."""

LIVING_MS: Final = 15_000
"""A node whose last beat is older does not live."""

ANSWER_S: Final = 3.0

AT_ONCE: Final = 1000
"""Connections that get a notice in one turn of the loop."""


class Control:
    """See above. `node` is this node's name; `on_applied` is told of each record by its kind. `about` says what this
    node's beat tells of itself.
    """

    def __init__(
        self,
        house: House,
        rooms: RoomService,
        *,
        doors: Doors,
        node: str,
        on_applied: Callable[[str], None] | None = None,
    ) -> None:
        self._house = house
        self._ledger = house.history.ledger
        self._clock = house.clock
        self._doors = doors
        self._node = node
        self._on_applied = on_applied or (lambda kind: None)
        self._book = SanctionBook(house.clock)
        self._news = RoomNews(house, rooms, origin=self._ledger.origin)
        self._follower = Follower(self._ledger, apply=self._apply, settle=self._settle, recover=self._recover)
        self._questions = Questions(origin=self._ledger.origin, append=self._log_question, follower=self._follower)
        self._keeping = Keeping(
            self._ledger, house.clock, beat=self._beat, on_tidy=lambda: self._book.prune(self._follower.applied)
        )
        self._at_once: dict[str, None] = {}
        self._unwritten: dict[str, Ban | Revocation] = {}
        self._notices: set[asyncio.Task[None]] = set()
        self._handlers: Mapping[str, Callable[[Record], None]] = {
            "standing": self._news.take,
            "room": self._news.take,
            "deleted": self._news.take,
            "ban": self._on_ban,
            "unban": self._on_ban,
            "revoke": self._on_revoke,
            "disconnect": self._on_disconnect,
            "notice": self._on_notice,
            "drain": self._on_drain,
            "ask": self._questions.take,
            "answer": self._questions.take,
        }
        self.is_loaded = False
        self.about: Callable[[], Mapping[str, Any]] = dict

    # -- life --------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Know the sanctions, and where to follow the log from. Before it has returned once nobody may be let in.
        Raises `unavailable` if the store does not answer; then it may be tried again.
        """
        if not self.is_loaded:
            await self._follower.load()
            self.is_loaded = True

    def start(self) -> None:
        """Follow the log, and beat, from now on. It was loaded."""
        self._follower.start()
        self._keeping.start()

    async def close(self) -> None:
        """Follow no more, and say that this process ends."""
        await self._follower.stop()
        await self._questions.close()
        for task in list(self._notices):
            task.cancel()
        await self._keeping.close()

    async def poll(self) -> None:
        """Apply what is in the log and was not applied yet: what `start` has done again and again. Raises `unavailable`
        if the store does not answer.
        """
        await self._follower.poll()

    def hurry(self) -> None:
        """Something was logged: look now."""
        self._follower.hurry()

    @property
    def applied(self) -> int:
        """The number of the last record that was applied here."""
        return self._follower.applied

    @property
    def lag_s(self) -> float:
        """How long ago everything in the log had been applied here for the last time."""
        return self._follower.lag_s

    # -- orders ------------------------------------------------------------------------------------------------------

    async def ban(self, by: str, user: str, *, seconds: int | None, reason: str) -> None:
        """Keep a user out of the service, for a time or without end, and end their connections everywhere."""
        until = FOREVER if seconds is None else self._clock() + seconds * 1000
        await self._order("ban", {"user": user, "until": until, "reason": reason, "by": by})

    async def unban(self, by: str, user: str) -> None:
        """End a ban. That there is none is no error."""
        await self._order("unban", {"user": user, "by": by})

    async def revoke_user(self, by: str, user: str, *, reason: str) -> None:
        """All tokens of a user that were issued up to now hold no more, and connections that stand on one end."""
        await self._order("revoke", {"user": user, "before": self._clock(), "reason": reason, "by": by})

    async def revoke_jti(self, by: str, jti: str, *, reason: str) -> None:
        """One token holds no more."""
        await self._order("revoke", {"jti": jti, "reason": reason, "by": by})

    async def disconnect_user(self, user: str, *, reason: str) -> None:
        """End all connections that a user has now. They may come back."""
        await self._order("disconnect", {"user": user, "reason": reason})

    async def disconnect_connection(self, connection: str, *, reason: str) -> None:
        """End one connection, on whichever node it is. No error if it is on none."""
        await self._order("disconnect", {"connection": connection, "reason": reason})

    async def notice(self, room: ActiveRoom | None, *, level: str, text: str) -> None:
        """Tell all connections in /chat something, or those that are subscribed to a room."""
        uid = room.uid if room is not None else None
        await self._order("notice", {"room": uid, "level": level, "text": text})

    async def drain(self, node: str) -> None:
        """Shut a node down, by its name."""
        await self._order("drain", {"node": node})

    # -- what is known -----------------------------------------------------------------------------------------------

    def check(self, identity: Identity) -> None:
        """Raise `banned` or `unauthorized` if the bearer of this token is kept out of the service."""
        self._book.check(identity)

    def bans(self) -> Sequence[Ban]:
        """Those in force, by user."""
        return self._book.bans()

    async def nodes(self) -> Sequence[Beat]:
        """The nodes that live, by name; this one among them, also if the store has not heard of it yet. A name is one
        process's at a time: of several that beat by it lately the newest is meant, and the others were killed.
        """
        beats = await self._ledger.beats(since=self._clock() - LIVING_MS)
        newest = {beat.name: beat for beat in sorted(beats, key=lambda beat: (beat.at, beat.origin))}
        newest[self._node] = self._beat()
        return [newest[name] for name in sorted(newest)]

    async def ask(self, origin: str, question: str, about: Mapping[str, Any], *, timeout_s: float = ANSWER_S) -> Any:
        """Ask a process, by its origin. Raises what it answers with, and `unavailable` if it does not in time."""
        return await self._questions.ask(origin, question, about, timeout_s=timeout_s)

    def on_question(self, question: str, answer: Callable[[Mapping[str, Any]], Awaitable[Any]]) -> None:
        """What answers this question here, from now on."""
        self._questions.on_question(question, answer)

    # -- inside: the log ---------------------------------------------------------------------------------------------

    async def _order(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
        """Log an order, and apply it here without waiting for the next poll."""
        key = secrets.token_hex(8)
        at = self._clock()
        (n,) = await self._ledger.append([Entry(kind, key, at, data)])
        if n > self._follower.applied:
            self._at_once[key] = None
            self._apply_one(Record(n, kind, key, at, self._ledger.origin, data))
        await self._write_sanctions()

    async def _log_question(
        self, kind: RecordKind, data: Mapping[str, Any], expect: Callable[[str], None] | None
    ) -> None:
        key = secrets.token_hex(8)
        if expect is not None:
            expect(key)
        await self._ledger.append([Entry(kind, key, self._clock(), data)])

    def _apply(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.key in self._at_once:
                del self._at_once[record.key]
            else:
                self._apply_one(record)

    def _apply_one(self, record: Record) -> None:
        """A record that cannot be applied must not keep the others from it."""
        self._on_applied(record.kind)
        handler = self._handlers.get(record.kind)
        try:
            if handler is not None:
                handler(record)
        except Exception as error:
            _log.error("control.record_broken", n=record.n, kind=record.kind, exc_info=error)

    async def _settle(self) -> None:
        await self._news.look()
        await self._write_sanctions()

    async def _recover(self) -> Place:
        """Read the sanctions, and what the last records say of them; all else may have changed, and is looked at."""
        now = self._clock()
        head = await self._ledger.head()
        kept = await self._ledger.sanctions(now=now)
        place, last = Place(0, None), max(head - REPLAY, 0)
        replayed: list[Record] = []
        while last < head:
            page = await self._ledger.read(after=last, limit=min(head - last, REPLAY))
            if not page:
                raise HubbubError("unavailable", "The control log became shorter.", retry_after=1)
            replayed += [record for record in page if record.n <= head]
            last = page[-1].n
            if page[-1].n >= head:
                place = Place(head, replayed[-1].key if replayed and replayed[-1].n == head else None)
        self._book.replace(kept)
        for sanction in self._unwritten.values():
            self._take(sanction)
        self._at_once.clear()
        for record in replayed:
            if record.kind in ("ban", "unban", "revoke"):
                self._apply_one(record)
        for ban in self._book.bans():
            self._doors.end_user(ban.user, banned())
        for revocation in self._book.revocations():
            self._end_revoked(revocation)
        self._news.doubt_all()
        return place

    # -- inside: sanctions -------------------------------------------------------------------------------------------

    def _on_ban(self, record: Record) -> None:
        data, lifted = record.data, record.kind == "unban"
        ban = Ban(
            user=data["user"],
            until=0 if lifted else data["until"],
            reason="" if lifted else data["reason"],
            by=data["by"],
            at=record.at,
            n=record.n,
        )
        if not self._take(ban):
            return
        self._unwritten[f"user {ban.user}"] = ban
        ended = self._doors.end_user(ban.user, banned()) if ban.until > self._clock() else 0
        _log.info(f"control.{record.kind}", n=record.n, user=ban.user, by=ban.by, until=ban.until, ended=ended)

    def _on_revoke(self, record: Record) -> None:
        data = record.data
        revocation = Revocation(
            user=data.get("user"),
            jti=data.get("jti"),
            before=data.get("before", 0),
            reason=data["reason"],
            by=data["by"],
            at=record.at,
            n=record.n,
        )
        if not self._take(revocation):
            return
        self._unwritten[f"token {revocation.jti} {revocation.user}"] = revocation
        ended = self._end_revoked(revocation)
        _log.info("control.revoke", n=record.n, user=revocation.user, jti=revocation.jti, by=data["by"], ended=ended)

    def _take(self, sanction: Ban | Revocation) -> bool:
        if isinstance(sanction, Ban):
            return self._book.take_ban(sanction)
        return self._book.take_revocation(sanction)

    def _end_revoked(self, revocation: Revocation) -> int:
        if revocation.jti is not None:
            return self._doors.end_jti(revocation.jti, revoked())
        assert revocation.user is not None
        return self._doors.end_user(revocation.user, revoked(), issued_before=revocation.before)

    async def _write_sanctions(self) -> None:
        """Have the store keep what records said. What it does not take now it is given again at the next poll: until
        then the record itself is in the log.
        """
        for name, sanction in list(self._unwritten.items()):
            try:
                if isinstance(sanction, Ban):
                    await self._ledger.put_ban(sanction)
                else:
                    await self._ledger.put_revocation(sanction)
            except HubbubError as error:
                _log.warning("control.sanction_waits", n=sanction.n, code=error.code)
                return
            if self._unwritten.get(name) is sanction:
                del self._unwritten[name]

    # -- inside: the other orders ------------------------------------------------------------------------------------

    def _on_disconnect(self, record: Record) -> None:
        data = record.data
        error = HubbubError("forbidden", "An administrator ended this connection.")
        if "user" in data:
            ended = self._doors.end_user(data["user"], error, opened_before=record.at)
        else:
            ended = int(self._doors.end_connection(data["connection"], error))
        if ended:
            _log.info("control.disconnect", n=record.n, user=data.get("user"), ended=ended)

    def _on_notice(self, record: Record) -> None:
        uid, document = record.data["room"], {"level": record.data["level"], "text": record.data["text"]}
        _log.info("control.notice", n=record.n, room=uid, kind=document["level"])
        if uid is not None:
            self._house.channel.publish(uid, "notice", document)
            return
        task = asyncio.ensure_future(self._tell_all(document))
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _tell_all(self, document: Mapping[str, Any]) -> None:
        outlets = self._house.roster.outlets()
        for begin in range(0, len(outlets), AT_ONCE):
            self._house.channel.send_many(outlets[begin : begin + AT_ONCE], "notice", document)
            await asyncio.sleep(0)

    def _on_drain(self, record: Record) -> None:
        if record.data["node"] == self._node:
            _log.warning("control.drain", n=record.n)
            self._doors.drain()

    def _beat(self) -> Beat:
        return Beat(self._node, self._ledger.origin, self._clock(), self.about())
