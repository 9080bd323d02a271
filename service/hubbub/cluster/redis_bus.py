"""The bus on Redis: a channel per room, one connection that speaks and one that listens.

What the node says in one turn of the loop goes out together, one PUBLISH for each room. Nobody waits for it: while
Redis is away, what is said is dropped, and the others find it in the store. A connection that takes nothing for a while
is given up, so that what waits for it stays small.

Whether word arrives is tried and not believed: each second the node tells itself something by way of Redis (the
canary). If that does not come back, both connections are made anew, whatever they look like.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final

import structlog

from hubbub.cluster.bus import Offer, Take, Whisper
from hubbub.cluster.parcels import ParcelError, is_of, pack, unpack
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_ears import RETRY_S, Ears
from hubbub.cluster.redis_wire import RedisWire
from hubbub.cluster.resp import RedisError, Reply, command
from hubbub.errors import HubbubError

__all__ = ["RedisBus"]

_log = structlog.get_logger("hubbub.cluster")

CANARY_S: Final = 1.0
DEAF_S: Final = 3.0
"""When the canary has been away for so long, the node is deaf."""

LINGER_S: Final = 10.0
"""How long a room is still listened to that nobody here is in any more: whoever reloads a page is back before that."""

UNSENT_MOST: Final = 4 * 1024 * 1024
"""Bytes that may wait for the socket. A Redis that does not read them is away."""

_ROOM: Final = "hubbub:room:"
_HURRY: Final = "hubbub:hurry"


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
        self._address = address
        self._ears = ears
        self._origin = origin
        self._on_dropped = on_dropped
        self._take: Take | None = None
        self._on_lost: Callable[[], None] = lambda: None
        self._on_hurry: Callable[[], None] = lambda: None
        self._waiting: dict[str, tuple[list[Offer], list[Whisper]]] = {}
        self._is_due = False
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._listening: set[str] = set()
        self._wire: RedisWire | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._sung = 0
        self._heard = 0
        self._heard_at = 0.0
        self._was_deaf = True
        self._is_lost = False

    @property
    def hears(self) -> bool:
        return self._heard > 0 and asyncio.get_running_loop().time() - self._heard_at < DEAF_S

    async def open(self, take: Take, *, on_lost: Callable[[], None], on_hurry: Callable[[], None]) -> None:
        self._take, self._on_lost, self._on_hurry = take, on_lost, on_hurry
        self._ears.listen(self._canary, self._on_canary)
        self._ears.listen(_HURRY, self._on_hurried)
        self._tasks = [asyncio.ensure_future(self._speak()), asyncio.ensure_future(self._sing())]

    async def close(self) -> None:
        self._flush()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()
        for uid in self._listening:
            self._ears.leave(_ROOM + uid)
        self._listening.clear()
        for channel in (self._canary, _HURRY):
            self._ears.leave(channel)
        self._take = None

    def ears_again(self) -> None:
        """The ears have a connection: what was said before it is lost."""
        self._is_lost = True

    # -- rooms -------------------------------------------------------------------------------------------------------

    def listen(self, uid: str) -> None:
        timer = self._lingering.pop(uid, None)
        if timer is not None:
            timer.cancel()
        if uid not in self._listening:
            self._listening.add(uid)
            self._ears.listen(_ROOM + uid, lambda parcel: self._on_parcel(uid, parcel))

    def leave(self, uid: str) -> None:
        if uid in self._listening and uid not in self._lingering:
            self._lingering[uid] = asyncio.get_running_loop().call_later(LINGER_S, self._leave_now, uid)

    def offer(self, uid: str, offer: Offer) -> None:
        self._of(uid)[0].append(offer)

    def whisper(self, uid: str, whisper: Whisper) -> None:
        self._of(uid)[1].append(whisper)

    def hurry(self) -> None:
        self._publish(_HURRY, self._origin.encode())

    def say(self, channel: str, body: bytes) -> None:
        """Publish something that is not of a room. It is lost while Redis is away."""
        self._publish(channel, body)

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
                self._publish(_ROOM + uid, parcel)

    def _publish(self, channel: str, body: bytes) -> None:
        wire = self._wire
        if wire is not None:
            if wire.unsent > UNSENT_MOST:
                wire.abort()
                self._wire = None
            else:
                with contextlib.suppress(HubbubError):
                    wire.write(command(b"PUBLISH", channel.encode(), body))
                    return
        self._on_dropped(1)

    async def _speak(self) -> None:
        """Keep a connection to speak over, and read the answers, which only tell that somebody is there."""
        pause_s = RETRY_S[0]
        while True:
            wire = RedisWire(self._address)
            try:
                await wire.open()
                self._wire, pause_s = wire, RETRY_S[0]
                await wire.each(_expect_no_refusal)
            except HubbubError:
                pass  # The ears say in the log that Redis is away, and the canary whether word arrives.
            except Exception as error:
                _log.error("cluster.mouth_broken", exc_info=error)
            finally:
                self._wire = None
                await wire.close()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - Jitter, not a secret.
            pause_s = min(2 * pause_s, RETRY_S[1])

    # -- hearing -----------------------------------------------------------------------------------------------------

    def _leave_now(self, uid: str) -> None:
        self._lingering.pop(uid, None)
        self._listening.discard(uid)
        self._ears.leave(_ROOM + uid)

    def _on_parcel(self, uid: str, parcel: bytes) -> None:
        if is_of(self._origin, parcel):
            return  # Redis sends it to its author as well, who need not take it apart.
        try:
            _, offers, whispers = unpack(parcel)
        except ParcelError:
            _log.warning("cluster.parcel_unreadable", room=uid, bytes=len(parcel))
            return
        if self._take is not None:
            self._take(uid, offers, whispers)

    def _on_hurried(self, body: bytes) -> None:
        if body != self._origin.encode():
            self._on_hurry()

    @property
    def _canary(self) -> str:
        return f"hubbub:canary:{self._origin}"

    async def _sing(self) -> None:
        """Tell oneself something each second, and start over when it is not heard."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        while True:
            self._sung += 1
            self._publish(self._canary, b"%d" % self._sung)
            await asyncio.sleep(CANARY_S)
            if loop.time() - self._heard_at >= DEAF_S:
                if not self._was_deaf:
                    _log.warning("cluster.deaf")
                    self._was_deaf = True
                self._heard_at = loop.time()  # The new connections have as long again.
                self._heard = 0
                self._ears.start_over()
                if self._wire is not None:
                    self._wire.abort()

    def _on_canary(self, body: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        self._heard = max(self._heard, int(body))
        if self._was_deaf:
            self._was_deaf = False
            _log.info("cluster.hears")
        if self._is_lost:
            self._is_lost = False
            self._on_lost()


def _expect_no_refusal(replies: list[Reply]) -> None:
    if any(isinstance(reply, RedisError) for reply in replies):
        # A replica, or a server without a master: what is said there goes nowhere.
        raise HubbubError("unavailable", "Redis refused to pass on what was said.")
