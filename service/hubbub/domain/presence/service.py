"""Presence with a loop, a registry and a store around its core.

Every method that tells of something happening is a plain call. What takes time is done beside: windows and graces by
one timer, word to and from other nodes by one task. A node that is alone for good has no such task.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from hubbub.cluster.base import RENEW_MS, Announcement, News, Registry, Status
from hubbub.domain.clock import Clock
from hubbub.domain.presence.core import PresenceCore, share_of
from hubbub.domain.presence.holdings import Held
from hubbub.domain.presence.lastseen import LastSeen
from hubbub.domain.presence.statuses import Face, face_of
from hubbub.domain.presence.watched import Diff, Snapshot
from hubbub.errors import HubbubError
from hubbub.history.base import History, Person

__all__ = ["Presence"]

_log = structlog.get_logger("hubbub.presence")

ANNOUNCE_S: Final = 0.05
"""How long what is to be announced is collected: who joins twenty rooms in a burst is announced once."""

ANNOUNCED_AT_ONCE: Final = 500

READ_MS: Final = 30_000
"""How often a watched room is read from the registry, for what nobody brought word of."""

READ_AT_ONCE: Final = 50
"""Rooms that are read again after one renewal."""

READING_MS: Final = 1_000
"""How long rooms are read after one renewal; what is left is read after the next. The lease has to be renewed, and what
is new here announced, however many rooms are watched.
"""


class Presence:
    """`now` is monotonic, in milliseconds; the loop's if it is None. `told` is to be set by whoever tells watchers."""

    def __init__(
        self,
        history: History,
        registry: Registry,
        clock: Clock,
        *,
        now: Callable[[], int] | None = None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._monotonic = now
        self._loop: asyncio.AbstractEventLoop | None = None
        self.last_seen = LastSeen(history, timer=None if now is None else lambda: now() / 1000)
        self.told: Callable[[str, bool, Diff], None] = lambda uid, admin, diff: None
        self._core = PresenceCore(
            on_diff=lambda uid, admin, diff: self.told(uid, admin, diff),
            on_share=self._on_share,
            on_gone=self.last_seen.note,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._unsaid: dict[str, frozenset[str]] = {}
        self._number = 0
        self._alone = True
        self._read_at: dict[str, int] = {}
        self._opening: Counter[str] = Counter()
        self._unwatching: set[asyncio.Task[None]] = set()

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Talk with other nodes from now on, if there can be any. More calls change nothing."""
        if self._task is None and not self._registry.is_lone:
            self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Stop, and write when those who are here now were here. The node's word is left to its lease."""
        tasks = {task for task in (self._task, *self._unwatching) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for user in self._core.holdings.users():
            self.last_seen.note(user.person, user.face.hidden_at or (self._clock() if user.is_live else user.ended_at))
        await self.last_seen.close()
        await self._registry.close()

    # -- what happens ------------------------------------------------------------------------------------------------

    def connect(self, person: Person, device: str) -> Held:
        """A connection was opened; `device` is the id of its transport."""
        self._begin()
        held = self._core.holdings.connect(person, device, wall=self._clock())
        self._set_timer()
        return held

    def rename(self, held: Held, person: Person) -> None:
        """The user is called otherwise now."""
        self._begin()
        self._core.holdings.rename(held, person, wall=self._clock())
        self._set_timer()

    def disconnect(self, held: Held, *, clean: bool) -> None:
        """A connection ended: with a goodbye, or because its transport did."""
        self._core.holdings.disconnect(held, clean=clean, now=self._begin(), wall=self._clock())
        self._set_timer()

    def set_status(self, held: Held, status: Status, text: str | None) -> Face:
        """A device says how it is; returns how its user looks now, also if others do not see it."""
        self._begin()
        self._core.holdings.set_status(held, status, text, wall=self._clock())
        self._set_timer()
        return held.user.face

    def join(self, held: Held, uid: str) -> None:
        """A connection is subscribed to a room."""
        self._begin()
        self._core.holdings.join(held, uid)
        self._set_timer()

    def lapse(self, held: Held, uid: str) -> None:
        """A connection lost its subscription, and is expected to come back."""
        self._core.holdings.lapse(held, uid, now=self._begin())
        self._set_timer()

    def part(self, held: Held, uid: str) -> None:
        """A connection gave its subscription up."""
        self._begin()
        self._core.holdings.part(held, uid)
        self._set_timer()

    def leave(self, user: str, uid: str) -> None:
        """A user left a room, or was removed from it, with all devices."""
        self._begin()
        self._core.holdings.leave(user, uid)
        self._set_timer()

    def close_room(self, uid: str) -> None:
        """A room is gone."""
        self._begin()
        self._core.holdings.close_room(uid)
        self._set_timer()

    # -- looking -----------------------------------------------------------------------------------------------------

    def face(self, user: str, *, admin: bool = False) -> Face | None:
        """How a user of this node looks to others, or to administrators; None if they are not shown."""
        return self._core.face(user, admin=admin)

    def is_hidden(self, user: str) -> bool:
        """Whether a user of this node is invisible."""
        face = self._core.face(user, admin=True)
        return face is not None and face.is_hidden

    async def faces(self, users: Sequence[str]) -> dict[str, Face]:
        """How users look, by the word of all nodes. Those who are invisible are in it for everybody: what may be told
        of them is for the caller to decide (`Face.is_hidden`). Without the registry, those of this node.
        """
        shares = {user: [share_of(local)] for user in users if (local := self._core.holdings.user(user)) is not None}
        if not self._alone:
            try:
                for user, others in (await self._registry.users(users)).items():
                    shares.setdefault(user, []).extend(others)
            except HubbubError:
                _log.debug("presence.registry_unasked")
        return {user: face for user, each in shares.items() if (face := face_of(each)) is not None}

    def in_room(self, uid: str, *, admin: bool) -> Iterable[Face]:
        """All who are shown in a room now. Of other nodes' users only those in rooms that are watched here."""
        return self._core.faces(uid, admin=admin)

    def page(self, uid: str, *, after: str, limit: int, admin: bool) -> tuple[Sequence[Face], bool]:
        """The first of these whose ids are above `after`, by id, and whether there are more."""
        return self._core.page(uid, after=after, limit=limit, admin=admin)

    # -- watching ----------------------------------------------------------------------------------------------------

    async def prepare(self, uid: str) -> None:
        """Learn from the registry who is in a room, before it is watched. Without the registry, that comes later."""
        if self._alone or self._core.is_watched(uid):
            return
        self._opening[uid] += 1
        try:
            await self._registry.watch(uid)
            self._core.expect(uid, await self._registry.room(uid), self._begin())
            self._read_at[uid] = self._begin()
        except HubbubError:
            _log.debug("presence.registry_unasked")
        finally:
            self._opening[uid] -= 1
            if not self._opening[uid]:
                del self._opening[uid]

    def watch(self, uid: str, *, admin: bool) -> Snapshot:
        """What the watchers of a room have been shown."""
        self._begin()
        return self._core.watch(uid, admin=admin)

    def unwatch(self, uid: str, *, admin: bool) -> None:
        """The last watcher of a room in this way is gone."""
        if self._core.unwatch(uid, admin=admin):
            self._forget(uid)

    def release(self, uid: str) -> None:
        """Whoever prepared a room needs it no more, or did not come to watch it."""
        if not self._alone and not self._core.is_watched(uid) and not self._opening[uid]:
            self._core.unwatch(uid, admin=False)
            self._forget(uid)

    def ring(self) -> None:
        """Do what is due. Called by the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._core.tick(self._begin(), self._clock())
        finally:
            self._set_timer()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _begin(self) -> int:
        """The time now, by which the core goes until it is told another."""
        if self._loop is None:  # Asking for it is a system call in some versions of Python.
            self._loop = asyncio.get_running_loop()
        now = round(self._loop.time() * 1000) if self._monotonic is None else self._monotonic()
        self._core.at(now)
        return now

    def _set_timer(self) -> None:
        due = self._core.due()
        if due is None:
            return
        if self._timer is not None:
            if self._rings_at <= due:
                return
            self._timer.cancel()
        self._rings_at = due
        loop = self._loop or asyncio.get_running_loop()
        self._timer = loop.call_later(max(due - self._begin(), 0) / 1000, self.ring)

    def _on_share(self, user: str, left: frozenset[str]) -> None:
        if self._registry.is_lone:
            return
        self._unsaid[user] = self._unsaid.get(user, frozenset()) | left
        self._news.set()

    def _on_news(self, news: News) -> None:
        self._core.hear(news, self._begin())
        self._set_timer()

    async def _run(self) -> None:
        """Renew the lease, announce what is new, read what nobody brought word of."""
        is_open, is_away, renew_at = False, False, 0
        while True:
            self._news.clear()
            now = self._begin()
            try:
                if not is_open:
                    await self._registry.open(self._on_news)
                    is_open = True
                if now >= renew_at:
                    renew_at = now + RENEW_MS
                    await self._renew()
                while self._unsaid:
                    await self._announce()
            except Exception as error:
                if not is_away:
                    _log.warning("presence.registry_away", exc_info=None if isinstance(error, HubbubError) else error)
                is_away = True
                self._core.leases.blind(self._begin())
                await asyncio.sleep(RENEW_MS / 1000)
                renew_at = 0
            else:
                if is_away:
                    _log.info("presence.registry_back")
                is_away = False
                await self._pause(renew_at)
            # A lease may be over.
            self.ring()

    async def _pause(self, renew_at: int) -> None:
        """Until there is something to say, and a moment longer for what comes with it; or until the next renewal."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(renew_at - self._begin(), 0) / 1000):
                await self._news.wait()
                await asyncio.sleep(ANNOUNCE_S)

    async def _renew(self) -> None:
        renewal = await self._registry.renew()
        now = self._begin()
        if renewal.lapsed:
            for user in self._core.holdings.users():
                self._unsaid.setdefault(user.person.id, frozenset())
        if renewal.missed or any(node not in self._core.leases for node in renewal.living):
            self._read_at.clear()
        self._core.renewed(renewal.living, now)
        self._alone = not renewal.living
        if not self._alone:
            await self._read_rooms(now)

    async def _read_rooms(self, now: int) -> None:
        """Rooms that were not read since word was missed or a node came that was not known, and some of those that were
        not read for long.
        """
        watched = list(self._core.watched())
        unread = [uid for uid in watched if uid not in self._read_at]
        old = [uid for uid in watched if self._read_at.get(uid, now) <= now - READ_MS]
        until = now + READING_MS
        for uid in unread + old[:READ_AT_ONCE]:
            if now >= until:
                return
            await self._registry.watch(uid)
            reading = await self._registry.room(uid)
            now = self._begin()
            if self._core.is_watched(uid) and self._core.read(uid, reading, now):
                self._read_at[uid] = now

    async def _announce(self) -> None:
        users = list(self._unsaid)[:ANNOUNCED_AT_ONCE]
        said = {user: self._unsaid.pop(user) for user in users}
        announcements: list[Announcement] = []
        for user, left in said.items():
            self._number += 1
            local = self._core.holdings.user(user)
            share = share_of(local) if local is not None else None
            rooms = share.rooms if share is not None else frozenset()
            announcements.append(Announcement(self._number, user, share, left - rooms))
        try:
            await self._registry.announce(announcements)
        except BaseException:
            for user, left in said.items():
                self._unsaid[user] = self._unsaid.get(user, frozenset()) | left
            raise

    def _forget(self, uid: str) -> None:
        """Nobody watches a room."""
        self._read_at.pop(uid, None)
        if not self._alone:
            task = asyncio.ensure_future(self._unwatch(uid))
            self._unwatching.add(task)
            task.add_done_callback(self._unwatching.discard)

    async def _unwatch(self, uid: str) -> None:
        try:
            if not self._core.is_watched(uid) and not self._opening[uid]:
                await self._registry.unwatch(uid)
            if self._core.is_watched(uid) or self._opening[uid]:
                await self._registry.watch(uid)
        except HubbubError:
            _log.debug("presence.registry_unasked")
