"""The other nodes: what they say of rooms goes to whom it concerns here, and they are listened to where that is
somebody.

A node listens to a room as long as a member of it is connected to it, since whoever is subscribed is a member.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hubbub.cluster.bus import Bus, Offer, Whisper
from hubbub.domain.control.service import Control
from hubbub.domain.delivery import Delivery
from hubbub.domain.house import House
from hubbub.domain.whispers import OWN
from hubbub.errors import HubbubError

__all__ = ["Neighbours"]


class Neighbours:
    """Between the bus and the rest of the domain."""

    def __init__(self, bus: Bus, house: House, delivery: Delivery, control: Control) -> None:
        self._bus = bus
        self._house = house
        self._delivery = delivery
        self._control = control
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._is_open = False
        house.roster.on_present = self._on_present
        house.history.ledger.on_logged = bus.hurry

    async def open(self) -> None:
        """Hear them from now on. More calls change nothing."""
        if not self._is_open:
            self._is_open = True
            await self._bus.open(self._take, on_lost=self._on_lost, on_hurry=self._control.hurry)

    async def close(self) -> None:
        """Hear them no more; what was said last still goes out."""
        for task in list(self._loading.values()):
            task.cancel()
        await self._bus.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _on_present(self, uid: str, is_present: bool) -> None:
        if is_present:
            self._bus.listen(uid)
        else:
            self._bus.leave(uid)

    def _on_lost(self) -> None:
        """Something may not have come: the feeds and the control log are looked at soon."""
        self._delivery.refill_all()
        self._control.hurry()

    def _take(self, uid: str, offers: Sequence[Offer], whispers: Sequence[Whisper]) -> None:
        if offers:
            if self._house.rooms.by_uid(uid) is None:
                self._load_soon(uid)
            self._delivery.hear(uid, offers)
        for whisper in whispers:
            if whisper.key != OWN:
                self._house.whispers.hear(uid, whisper)
            if whisper.event == "read":
                self._tell_own(uid, whisper)

    def _tell_own(self, uid: str, whisper: Whisper) -> None:
        """A user's read mark moved elsewhere: their connections here know, whether they joined the room or not."""
        house = self._house
        room = house.rooms.by_uid(uid)
        outlets = [
            client.outlet
            for client in house.roster.clients(whisper.user)
            if (whisper.key == OWN or uid not in client.joined)
            and (client.identity.rooms is None if room is None else client.identity.covers(room.id))
        ]
        key = (whisper.event, uid, whisper.user)
        house.channel.send_many(outlets, whisper.event, whisper.document, volatile=True, key=key)

    def _load_soon(self, uid: str) -> None:
        """A room of somebody here has news, and nobody here has had to do with it: its members are told of the news by
        its id, a moment later, if it can be read until then.
        """
        if uid not in self._loading:
            task = self._loading[uid] = asyncio.ensure_future(self._load(uid))
            task.add_done_callback(lambda _: self._loading.pop(uid, None))

    async def _load(self, uid: str) -> None:
        try:
            found = await self._house.history.rooms_at([uid])
        except HubbubError:
            return  # The next message has it tried again.
        room = found.get(uid)
        if room is not None and self._house.rooms.by_uid(uid) is None:
            self._house.rooms.put(room)
