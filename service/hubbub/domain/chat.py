"""The services of chat, put together over one house."""

from __future__ import annotations

from collections.abc import Callable

from hubbub.cluster.base import Registry
from hubbub.cluster.bus import Bus
from hubbub.domain.activerooms import ActiveRooms
from hubbub.domain.activity import Activity
from hubbub.domain.clock import Clock
from hubbub.domain.control.audit import Auditor
from hubbub.domain.control.ports import Doors, NoDoors
from hubbub.domain.control.service import Control
from hubbub.domain.delivery import Delivery
from hubbub.domain.house import House
from hubbub.domain.identity import Identity
from hubbub.domain.limits import Limits
from hubbub.domain.membership import Membership
from hubbub.domain.moderation.purging import Purging
from hubbub.domain.neighbours import Neighbours
from hubbub.domain.permissions import Action
from hubbub.domain.ports import Channel, WritePort
from hubbub.domain.posting import Posting
from hubbub.domain.presence.service import Presence
from hubbub.domain.presence.watchers import Watchers
from hubbub.domain.reading import Reading
from hubbub.domain.roomservice import RoomService
from hubbub.domain.roster import Client, Roster
from hubbub.domain.watching import Watching
from hubbub.domain.whispers import Whispers
from hubbub.filters.base import Reviewer
from hubbub.history.base import History, Written

__all__ = ["Chat"]


class Chat:
    """Everything that `/chat` and `/presence` (and later the REST surface) can ask for. `written` is for the writer to
    call. `watch_channel` has the groups of `/presence`; in rooms of more than `quiet_above` subscribers typing and read
    marks are not told. `now` is monotonic, in milliseconds; the loop's if it is None. `reviewer` has the filters. Other
    nodes are reached by `bus`; None if there are none. `doors` end connections where administrators order it;
    `on_applied` is told of records of the control log by kind.
    """

    def __init__(
        self,
        *,
        history: History,
        writer: WritePort,
        channel: Channel,
        clock: Clock,
        limits: Limits,
        registry: Registry,
        watch_channel: Channel,
        quiet_above: int,
        bus: Bus | None = None,
        doors: Doors | None = None,
        now: Callable[[], int] | None = None,
        on_filled: Callable[[int], None] | None = None,
        on_read: Callable[[str], None] | None = None,
        on_applied: Callable[[str], None] | None = None,
        reviewer: Reviewer | None = None,
    ) -> None:
        presence = Presence(history, registry, clock, now=now)
        roster = Roster(history, clock, presence)
        whispers = Whispers(channel, bus, most=quiet_above)
        watchers = Watchers(presence, watch_channel)
        active = ActiveRooms(history, channel, is_watched=watchers.is_watched)
        self.auditor = Auditor(history.ledger, clock)
        self.house = House(
            history, writer, channel, roster, active, clock, limits, presence, watchers, whispers, self.auditor
        )
        self._activity = Activity(roster, channel, room_id=self._room_id)
        self._delivery = Delivery(
            history, active, channel, self._activity, bus, on_gone=self.house.close_room, on_filled=on_filled
        )
        self.rooms = RoomService(self.house)
        self.membership = Membership(self.house, self.rooms)
        self.posting = Posting(self.house, reviewer)
        self.purging = Purging(self.house)
        self.watching = Watching(self.house)
        self.control = Control(
            self.house, self.rooms, doors=doors or NoDoors(), node=registry.node.name, on_applied=on_applied
        )
        self.reading = Reading(self.house, self._delivery, self.rooms, self.membership, on_read=on_read)
        self._neighbours = None if bus is None else Neighbours(bus, self.house, self._delivery, self.control)

    def written(self, uid: str, written: Written) -> None:
        """A write is durable and claimed a revision."""
        self._delivery.written(uid, written)

    def renew(self, client: Client, identity: Identity) -> None:
        """A connection's token was replaced: rooms that the new one does not reach are left behind."""
        client.identity = identity
        self.house.roster.rename(client, identity.person)
        for uid in list(client.joined):
            room = self.house.rooms.by_uid(uid)
            if room is None or self.house.refusal(client, room, Action.READ) is not None:
                client.joined.discard(uid)
                self.house.channel.unsubscribe(client.outlet, uid)
                if client.held is not None:
                    self.house.presence.part(client.held, uid)
                if room is not None:
                    client.outlet.emit("room:removed", {"room": room.id, "reason": "token"})

    def suspended(self, client: Client, uid: str) -> None:
        """A connection could not keep up with a room, and is not subscribed to it any more: it is told with `gap`."""
        client.joined.discard(uid)
        if client.held is not None:
            self.house.presence.lapse(client.held, uid)
        room = self.house.rooms.by_uid(uid)
        if room is not None:
            client.outlet.emit("gap", {"room": room.id, "head": room.feed.delivered})

    async def load(self) -> None:
        """Know who is kept out of the service. The store is open, and nobody is let in before this has returned.
        Raises `unavailable`; then it may be tried again.
        """
        await self.control.load()
        if self._neighbours is not None:
            await self._neighbours.open()

    def start(self) -> None:
        """Begin what runs beside. The store is open, and `load` has returned."""
        self.control.start()
        self._delivery.start()
        self.house.presence.start()

    async def close(self) -> None:
        """Stop what runs beside, and wait for what is on its way to the store."""
        await self.control.close()
        self.reading.stop()
        self._activity.stop()
        self._delivery.stop()
        self.house.whispers.stop()
        await self.house.roster.wait_written()
        await self.house.presence.close()
        await self.auditor.close()
        if self._neighbours is not None:
            await self._neighbours.close()

    def _room_id(self, uid: str) -> str | None:
        room = self.house.rooms.by_uid(uid)
        return room.id if room is not None else None
