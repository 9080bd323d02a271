"""A node as far as its bus on Redis goes: ears, a bus, and what came over it."""

from __future__ import annotations

from collections.abc import Sequence

from hubbub.cluster.bus import Offer, Whisper
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_bus import RedisBus
from hubbub.cluster.redis_ears import Ears
from tests.support.waiting import until

__all__ = ["BusNode", "offer"]


class BusNode:
    def __init__(self, url: str, origin: str) -> None:
        address = RedisAddress.of(url)
        self.ears = Ears(address, on_again=lambda: self.bus.ears_again())
        self.dropped = 0
        self.lost = 0
        self.hurries = 0
        self.heard: list[int] = []
        self.by_room: dict[str, list[int]] = {}
        self.bus = RedisBus(address, self.ears, origin, on_dropped=self._on_dropped)

    async def open(self) -> None:
        self.ears.start()
        await self.bus.open(self._take, on_lost=self._on_lost, on_hurry=self._on_hurry)
        await until(lambda: self.bus.hears and self.lost == 1)

    async def close(self) -> None:
        await self.bus.close()
        await self.ears.close()

    def _take(self, uid: str, offers: Sequence[Offer], whispers: Sequence[Whisper]) -> None:
        self.heard += [offer.rev for offer in offers]
        self.by_room.setdefault(uid, []).extend(offer.rev for offer in offers)

    def _on_lost(self) -> None:
        self.lost += 1

    def _on_hurry(self) -> None:
        self.hurries += 1

    def _on_dropped(self, count: int) -> None:
        self.dropped += count


def offer(rev: int, size: int = 2) -> Offer:
    return Offer(rev, rev, "ada", 1, (), memoryview(b"x" * size))
