"""The bus on Redis: a channel per room, one connection that speaks and one that listens; on a Redis Cluster, two for
each shard besides, which carry the rooms.

What the node says in one turn of the loop goes out together, one PUBLISH for each room. Nobody waits for it: while
Redis is away, what is said is dropped, and the others find it in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from hubbub.cluster.bus import Offer, Take, Whisper
from hubbub.cluster.parcels import ParcelError, is_of, pack, unpack
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_canary import Canary
from hubbub.cluster.redis_ears import Ears
from hubbub.cluster.redis_mouth import Mouth, expect_no_refusal
from hubbub.cluster.redis_sentinels import MasterWatch
from hubbub.cluster.redis_shards import Shards
from hubbub.cluster.resp import RedisError, Reply
from hubbub.errors import HubbubError
from hubbub.seldom import Seldom

__all__ = ["RedisBus"]

_log = structlog.get_logger("hubbub.cluster")

LINGER_S: Final = 10.0
"""How long a room is still listened to that nobody here is in any more: whoever reloads a page is back before that."""

TOGETHER_S: Final = 1.0
"""How long a shard that is heard again waits for others that are not, so that rooms are compared once and not for each
of them.
"""

_ROOM: Final = "hubbub:room:"
_HURRY: Final = "hubbub:hurry"

_OF_WRITES: Final = ("MISCONF ", "NOREPLICAS ", "OOM ", "LOADING ")
"""Errors by which a server takes no writes for a while. It passes on what is published all the same."""


class RedisBus:
    """See `bus.Bus`. `origin` is this process, in its own words. `on_dropped` is told how many parcels were not sent.
    The ears are shared with others, and started and closed by whoever made them; `ears_again` is to be called by them.
    """

    is_lone = False

    def __init__(
        self,
        address: RedisAddress,
        ears: Ears,
        origin: str,
        *,
        on_dropped: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._ears = ears
        self._origin = origin
        self._on_dropped = on_dropped
        self._unreadable = Seldom(_log, "cluster.parcel_unreadable")
        self._take: Take | None = None
        self._on_lost: Callable[[], None] = lambda: None
        self._on_hurry: Callable[[], None] = lambda: None
        self._waiting: dict[str, tuple[list[Offer], list[Whisper]]] = {}
        self._is_due = False
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._listening: set[str] = set()
        self._losing: asyncio.TimerHandle | None = None
        self._canary_name = f"hubbub:canary:{origin}"
        self._canary = Canary(self._sing, self._start_over, on_back=self._on_back)
        self._shards: Shards | None = None
        self._rooms: Ears | Shards = ears
        self._say_in_room = self._publish
        where: Callable[[], RedisAddress] = lambda: address  # noqa: E731 - One of two.
        if address.is_cluster:
            self._shards = self._rooms = Shards(address, origin, on_back=self._on_back, on_dropped=on_dropped)
            self._say_in_room, where = self._shards.publish, self._shards.somewhere
            ears.look(where)
        self._mouth = Mouth(where, on_open=self._canary.sing, on_replies=self._on_replies)
        self._refusal: str | None = None
        self._told: set[str] = set()
        self._watch: MasterWatch | None = None
        if address.service is not None:
            self._watch = MasterWatch(address, self._places, self._start_over)

    @property
    def hears(self) -> bool:
        return self._canary.hears and (self._shards is None or self._shards.hears)

    @property
    def trouble(self) -> str | None:
        """Why it does not hear, as far as that is known."""
        return self._ears.trouble or self._refusal

    async def open(self, take: Take, *, on_lost: Callable[[], None], on_hurry: Callable[[], None]) -> None:
        self._take, self._on_lost, self._on_hurry = take, on_lost, on_hurry
        self._ears.listen(self._canary_name, self._hear_canary)
        self._ears.listen(_HURRY, self._on_hurried)
        self._mouth.start()
        self._canary.start()
        if self._shards is not None:
            self._shards.start()
        if self._watch is not None:
            self._watch.start()

    async def close(self) -> None:
        self._flush()
        if self._watch is not None:
            await self._watch.close()
        await self._canary.close()
        await self._mouth.close()
        if self._shards is not None:
            await self._shards.close()
        for timer in (*self._lingering.values(), *([self._losing] if self._losing else [])):
            timer.cancel()
        self._lingering.clear()
        for uid in self._listening:
            self._rooms.leave(_ROOM + uid)
        self._listening.clear()
        for channel in (self._canary_name, _HURRY):
            self._ears.leave(channel)
        self._unreadable.close()
        self._take = None

    def ears_again(self) -> None:
        """The ears have a connection: what was said before it is lost."""
        self._canary.lose()

    # -- rooms -------------------------------------------------------------------------------------------------------

    def listen(self, uid: str) -> None:
        timer = self._lingering.pop(uid, None)
        if timer is not None:
            timer.cancel()
        if uid not in self._listening:
            self._listening.add(uid)
            self._rooms.listen(_ROOM + uid, lambda parcel: self._on_parcel(uid, parcel))

    def leave(self, uid: str) -> None:
        if uid in self._listening and uid not in self._lingering:
            self._lingering[uid] = asyncio.get_running_loop().call_later(LINGER_S, self._leave_now, uid)

    def offer(self, uid: str, offer: Offer) -> None:
        self._of(uid)[0].append(offer)

    def whisper(self, uid: str, whisper: Whisper) -> None:
        self._of(uid)[1].append(whisper)

    def hurry(self) -> None:
        self._publish(_HURRY.encode(), self._origin.encode())

    def say(self, channel: str, body: bytes) -> None:
        """Publish something that is not of a room. It is lost while Redis is away."""
        self._publish(channel.encode(), body)

    # -- saying ------------------------------------------------------------------------------------------------------

    def _of(self, uid: str) -> tuple[list[Offer], list[Whisper]]:
        """What waits to be said of a room at the end of this turn."""
        waiting = self._waiting.get(uid)
        if waiting is None:
            waiting = self._waiting[uid] = ([], [])
            if not self._is_due:
                self._is_due = True
                asyncio.get_running_loop().call_soon(self._flush)
        return waiting

    def _flush(self) -> None:
        self._is_due = False
        waiting, self._waiting = self._waiting, {}
        for uid, (offers, whispers) in waiting.items():
            for parcel in pack(self._origin, offers, whispers):
                self._say_in_room((_ROOM + uid).encode(), parcel)

    def _publish(self, channel: bytes, body: bytes) -> None:
        if not self._mouth.publish(b"PUBLISH", channel, body):
            self._on_dropped(1)

    # -- hearing -----------------------------------------------------------------------------------------------------

    def _leave_now(self, uid: str) -> None:
        self._lingering.pop(uid, None)
        self._listening.discard(uid)
        self._rooms.leave(_ROOM + uid)

    def _on_parcel(self, uid: str, parcel: bytes) -> None:
        if is_of(self._origin, parcel):
            return  # Redis sends it to its author as well, who need not take it apart.
        try:
            _, offers, whispers = unpack(parcel)
        except ParcelError:
            self._unreadable.warn(room=uid, bytes=len(parcel))
            return
        if self._take is not None:
            self._take(uid, offers, whispers)

    def _on_hurried(self, body: bytes) -> None:
        if body != self._origin.encode():
            self._on_hurry()

    # -- whether it hears --------------------------------------------------------------------------------------------

    def _sing(self, body: bytes) -> None:
        name = self._canary_name.encode()
        if self._shards is None:
            # A master that has become a replica keeps its connections, and carries what is said to those who are
            # connected to it and to nobody else. A write it refuses, even one that changes nothing.
            self._mouth.say(b"DEL", name)
        self._mouth.publish(b"PUBLISH", name, body)

    def _on_replies(self, replies: list[Reply]) -> None:
        try:
            expect_no_refusal([each for each in replies if not _is_of_writes(each)])
        except HubbubError as error:
            self._refusal = error.message
            if error.message not in self._told:
                self._told.add(error.message)
                _log.warning("cluster.refused", reason=error.message)
            if any(isinstance(each, RedisError) and str(each).startswith("READONLY ") for each in replies):
                self._ears.start_over()  # The connection that listens is to the same server, or to a replica of it.
            raise
        self._refusal = None

    def _hear_canary(self, body: bytes) -> None:
        if self._refusal is None:  # Else it came by way of a server that does not do.
            self._told.clear()
            self._canary.hear(body)

    def _places(self) -> list[tuple[str, int]]:
        return [place for place in (self._ears.place, self._mouth.place) if place is not None]

    def _start_over(self) -> None:
        self._ears.start_over()
        self._mouth.start_over()

    def _on_back(self) -> None:
        """Word arrives on one pair of connections after something may have been lost there."""
        if self.hears:
            self._tell_lost()
        elif self._losing is None:
            self._losing = asyncio.get_running_loop().call_later(TOGETHER_S, self._tell_lost)

    def _tell_lost(self) -> None:
        if self._losing is not None:
            self._losing.cancel()
            self._losing = None
        self._on_lost()


def _is_of_writes(reply: Reply) -> bool:
    return isinstance(reply, RedisError) and str(reply).startswith(_OF_WRITES)
