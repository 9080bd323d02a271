"""The channels of rooms on a Redis Cluster: each on the shard that has the slot of its name.

Which shard that is can change at any time, by failover or because slots are moved. The map of slots is read anew when a
server says that a slot is elsewhere, when it takes a subscription away, while some shard is not heard, and now and then
without a reason. Channels whose shard is another one are listened to there, and when they are heard whoever listens is
told that something may have been lost meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final

import structlog

from hubbub.cluster.errand import Errand
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_ears import RETRY_S
from hubbub.cluster.redis_map import ask_map
from hubbub.cluster.redis_shard import Shard
from hubbub.cluster.redis_slots import SLOTS, Place, SlotMap, slot_of

__all__ = ["Shards"]

_log = structlog.get_logger("hubbub.cluster")

READ_S: Final = 30.0
"""How often the map is read without a reason, with jitter. What changes unnoticed costs only the way: a server goes on
telling its replica, and says at the next word that a slot is elsewhere.
"""

_Take = Callable[[bytes], None]


class Shards:
    """`on_back` is called when word arrives on some shard after something may have been lost there. `on_dropped` is
    told how many messages were not said.
    """

    def __init__(
        self, address: RedisAddress, origin: str, *, on_back: Callable[[], None], on_dropped: Callable[[int], None]
    ) -> None:
        self._address = address
        self._origin = origin
        self._on_back = on_back
        self._on_dropped = on_dropped
        self._map = SlotMap({}, frozenset())
        self._shards: dict[Place, Shard] = {}
        self._by_slot: list[Shard | None] = [None] * SLOTS
        self._takes: dict[bytes, _Take] = {}
        self._at: dict[bytes, Shard] = {}
        self._wake = asyncio.Event()
        self._hint: Place | None = None
        self._errand = Errand(self._follow)
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def hears(self) -> bool:
        """Whether every slot has a shard, and every shard is heard."""
        return len(self._map.owners) == SLOTS and all(shard.hears for shard in self._shards.values())

    def start(self) -> None:
        """Find the shards, and follow them until `close`."""
        self._errand.begin()

    async def close(self) -> None:
        """Safe to call twice."""
        await self._errand.end()
        for shard in self._shards.values():
            self._end(shard)
        self._shards, self._by_slot, self._map = {}, [None] * SLOTS, SlotMap({}, frozenset())
        self._at.clear()
        if self._closing:
            await asyncio.wait(self._closing)

    def somewhere(self) -> RedisAddress:
        """Some server of the cluster, for what every one of them carries: as far as is known one that lives."""
        places = sorted(self._map.masters)
        return self._address.at(*random.choice(places)) if places else self._address  # noqa: S311 - Spread.

    def listen(self, channel: str, take: _Take) -> None:
        """Hear this channel from now on, or from when its shard is heard."""
        name = channel.encode()
        self._takes[name] = take
        shard = self._by_slot[slot_of(name)]
        if shard is not None:
            self._at[name] = shard
            shard.ears.listen(channel, take)

    def leave(self, channel: str) -> None:
        """Hear this channel no more. No error if it was not listened to."""
        name = channel.encode()
        self._takes.pop(name, None)
        shard = self._at.pop(name, None)
        if shard is not None:
            shard.ears.leave(channel)

    def publish(self, channel: bytes, body: bytes) -> None:
        """Say this in a channel."""
        shard = self._by_slot[slot_of(channel)]
        if shard is None:
            self._on_dropped(1)
        else:
            shard.publish(channel, body)

    # -- following ---------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = RETRY_S[0]
        while True:
            self._wake.clear()
            first, self._hint = self._hint, None
            try:
                told = await ask_map(self._address, self._map.places, first=first, epoch=self._map.epoch)
                if told is not None:
                    self._apply(told)
            except Exception as error:
                _log.error("cluster.map_broken", exc_info=error)
            read_at = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READ_S * random.uniform(0.5, 1.0) if self.hears else pause_s):  # noqa: S311
                    await self._wake.wait()
            # A reason for reading soon after the last time is likely the same one.
            rest_s = read_at + pause_s * random.uniform(0.5, 1.0) - loop.time()  # noqa: S311 - Jitter, not a secret.
            pause_s = min(2 * pause_s, RETRY_S[1]) if rest_s > 0 else RETRY_S[0]
            if rest_s > 0:
                await asyncio.sleep(rest_s)

    def _apply(self, told: SlotMap) -> None:
        before, self._map = self._map, told
        if told.owners != before.owners:
            self._divide(told)
            if told.masters != before.masters:
                _log.info("cluster.shards", shards=len(self._shards), slots=len(told.owners))
        for shard in self._shards.values():
            shard.ears.mend()

    def _divide(self, told: SlotMap) -> None:
        """Make the shards of this map, give each its slots and channels, and end those without a slot."""
        slots: dict[Place, set[int]] = {place: set() for place in told.masters}
        for slot, place in told.owners.items():
            slots[place].add(slot)
        gone = [self._shards.pop(place) for place in self._shards.keys() - told.masters]
        for place, own in slots.items():
            shard = self._shards.get(place)
            if shard is None:
                shard = self._shards[place] = self._make(place)
            shard.own(own)
            shard.start()
        self._by_slot = [None] * SLOTS
        for slot, place in told.owners.items():
            self._by_slot[slot] = self._shards[place]
        for name, take in self._takes.items():
            self._settle(name, take)
        for shard in gone:
            self._end(shard)

    def _settle(self, name: bytes, take: _Take) -> None:
        """Have a channel listened to on the shard that has it now."""
        shard, was = self._by_slot[slot_of(name)], self._at.pop(name, None)
        if was is not None and was is not shard:
            was.ears.leave(name.decode())
        if shard is not None:
            self._at[name] = shard
            if was is not shard:
                shard.ears.adopt(name, take)

    def _make(self, place: Place) -> Shard:
        return Shard(
            self._address,
            place,
            self._origin,
            on_back=self._on_back,
            on_moved=self._on_moved,
            on_refused=self._on_refused,
            on_dropped=self._on_dropped,
        )

    def _end(self, shard: Shard) -> None:
        task = asyncio.ensure_future(shard.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _on_moved(self, place: Place | None) -> None:
        self._hint = place or self._hint
        self._wake.set()

    def _on_refused(self, channel: bytes, body: bytes, place: Place) -> None:
        """A slot is elsewhere: say it there, and what follows too, without waiting for the map."""
        shard = self._shards.get(place)
        if shard is None:
            self._on_dropped(1)
            return
        self._by_slot[slot_of(channel)] = shard
        shard.publish(channel, body, again=True)
