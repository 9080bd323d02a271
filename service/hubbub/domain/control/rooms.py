"""What other nodes change in rooms, told to whom it concerns here.

A record of a room says what to look at. What it names is noted down (`take`), and at the next `look` the store is asked
for all of it together: one query for how users stand to rooms, one for the rooms. What the store says is compared with
what is in memory, and the difference is what the user and the room's subscribers are told: so a record that comes twice
tells nobody anything, and one that was lost is made up for by any later one of the same pair.

This node's own changes are told when the store reports them, in the same turn of the loop (`membership`). Their records
are looked at one poll later, when that has long happened; a difference that is there still means that the store's reply
never came, and then they are told like those of others. Whatever a reply brings is looked at once more as well, because
a reply that comes late must not leave an older state in memory.

While the store is being asked, a reply may bring something newer than the answer will: what changed in memory since the
question is left as it is, and asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import structlog

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.control.patience import ask_again
from hubbub.domain.documents import room_document
from hubbub.domain.house import House
from hubbub.domain.permissions import is_banned
from hubbub.domain.roomservice import RoomService
from hubbub.domain.roster import User
from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES, Person, Record, Room, Standing

__all__ = ["RoomNews"]

_log = structlog.get_logger("hubbub.control")

T = TypeVar("T")

_Pair = tuple[str, str]
"""A room's uid and a user."""

PIECE: Final = 250
"""Pairs or rooms of one query, which are then seen to in one turn of the loop: a few milliseconds."""

DELIVERIES: Final = 2000
"""As many subscribers are told something in one turn of the loop, about."""

_TOLD_LOOKS: Final = 3
"""As many looks a reply is remembered: an own record is due one look after the one that its reply comes before at the
latest.
"""

ANNOUNCE_S: Final = 1.0
"""A view of a room that takes longer is read again at the next look: it may never come."""

USERS: Final = 16
"""Users whose standings are read at once where everything may have changed."""

LOOK_S: Final = 0.3
"""As long is spent on these in one look, so that what is new does not have to wait for all of them."""


@dataclass(slots=True)
class _News:
    """What records say of a pair. `moved`: somebody became a member or ceased to be one, or has another role. `why` and
    `text` are of the last record that ended a role.
    """

    moved: bool = False
    why: str = ""
    text: str = ""

    def add(self, other: _News) -> None:
        """A later record of the same pair."""
        self.moved |= other.moved
        if other.why:
            self.why, self.text = other.why, other.text


class RoomNews:
    """See above. `origin` is this process in the log."""

    def __init__(self, house: House, rooms: RoomService, *, origin: str) -> None:
        self._house = house
        self._service = rooms
        self._origin = origin
        self._pairs: dict[_Pair, _News] = {}
        self._rooms: dict[str, None] = {}
        self._own: dict[_Pair, _News] = {}
        self._due: dict[_Pair, _News] = {}
        self._own_rooms: dict[str, None] = {}
        self._replied: dict[_Pair, None] = {}
        self._told: dict[_Pair, int] = {}
        self._looks = 0
        self._users: dict[str, None] = {}
        self._added: dict[_Pair, None] = {}
        house.roster.on_update = self._on_reply

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to look at."""
        noted = (self._pairs, self._rooms, self._own, self._due, self._own_rooms, self._replied, self._told)
        return not any(noted) and not self._users and not self._added

    def take(self, record: Record) -> None:
        """Note down what a record of a room, `standing`, `room` or `deleted`, says is to be looked at."""
        uid: str = record.data["room"]
        if record.kind == "deleted":
            self._house.close(uid, record.data["id"])
            return
        is_own = record.origin == self._origin
        active = self._house.rooms.by_uid(uid)
        if record.kind == "room":
            if active is not None or self._house.rooms.is_loading:
                # One that is being read for the first time may come in the state from before.
                (self._own_rooms if is_own or active is None else self._rooms)[uid] = None
            return
        user: str = record.data["user"]
        if active is None and not self._house.roster.is_online(user):
            return
        news = _news_of(record)
        known = (self._own if is_own else self._pairs).setdefault((uid, user), news)
        if known is not news:
            known.add(news)
        if active is not None and not is_own and news.moved:
            self._rooms[uid] = None  # It has more or fewer members.

    def doubt_all(self) -> None:
        """Everything may have changed: look at all rooms that are active here, and at how all who are connected stand
        to theirs.
        """
        self._rooms.update((room.uid, None) for room in self._house.rooms.all())
        self._users.update((user, None) for user in self._house.roster.ids())

    async def look(self) -> None:
        """Look at what was noted down. Raises `unavailable` if the store does not answer; what it did not say is asked
        for by the next look.
        """
        if self.is_idle:
            return
        self._looks += 1
        pairs, rooms = self._due_pairs(), self._rooms
        self._rooms, self._own_rooms = self._own_rooms, {}
        try:
            await self._look_at_rooms(rooms)
            await self._look_at_pairs(pairs)
        finally:
            # What is left was not answered, or changed meanwhile.
            self._rooms = {**rooms, **self._rooms}
            for pair, news in self._pairs.items():
                if pair in pairs:
                    pairs[pair].add(news)
                else:
                    pairs[pair] = news
            self._pairs = pairs
        await self._announce()
        await self._look_at_users()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _on_reply(self, uid: str, user: str) -> None:
        """The store's reply to a change of this node is in memory, and whoever it concerns is told."""
        self._replied[uid, user] = None
        self._told[uid, user] = self._looks

    def _due_pairs(self) -> dict[_Pair, _News]:
        """What to ask for now. An own record is due one look after it came; and if no reply was seen since shortly
        before it, nobody was told of the change.
        """
        pairs, self._pairs = self._pairs, {}
        due, self._due, self._own = self._due, self._own, {}
        for pair, news in due.items():
            if pair not in self._told:
                pairs.setdefault(pair, news).add(news)
        for pair in self._replied:
            if pair in pairs or self._house.roster.is_online(pair[1]):
                pairs.setdefault(pair, _News())
        self._replied = {}
        self._told = {pair: look for pair, look in self._told.items() if look > self._looks - _TOLD_LOOKS}
        return pairs

    async def _look_at_rooms(self, uids: dict[str, None]) -> None:
        """Rooms that are seen to are taken out of `uids`."""
        house = self._house
        for piece in _pieces(uids):
            active = {uid: room for uid in piece if (room := house.rooms.by_uid(uid)) is not None}
            before = {uid: room.record for uid, room in active.items()}
            found = await self._rooms_at(list(active))
            for uid in piece:
                room = active.get(uid)
                if room is None and house.rooms.is_loading:
                    continue
                del uids[uid]
                if room is None or house.rooms.by_uid(uid) is not room:
                    continue  # Nobody here has it in memory.
                if uid not in found:
                    house.close_room(room)
                elif not self._renew_room(room, before[uid], found[uid]):
                    uids[uid] = None

    def _renew_room(self, room: ActiveRoom, before: Room, found: Room) -> bool:
        """False if it has to be asked for again, because a reply has changed it since the store was asked."""
        house = self._house
        if room.record is not before:
            if _described(room.record) != _described(before):
                return False
            found = replace(found, members=room.record.members)
        if _described(found) != _described(before):
            house.rooms.put(found)
            house.channel.publish(room.uid, "room", room_document(room.now(), epoch=house.epoch(room.uid)))
        else:
            room.set_members(found.members)
        return True

    async def _look_at_pairs(self, pairs: dict[_Pair, _News]) -> None:
        """Pairs that are seen to are taken out of `pairs`."""
        for piece in _pieces(pairs):
            await self._look_at_piece(pairs, piece)

    async def _look_at_piece(self, pairs: dict[_Pair, _News], piece: Sequence[_Pair]) -> None:
        house = self._house
        asked: dict[_Pair, tuple[User | None, Standing | None]] = {}
        for pair in piece:
            user = house.roster.user(pair[1])
            if user is not None or (pairs[pair].moved and house.channel.size(pair[0])):
                asked[pair] = (user, user.standings.get(pair[0]) if user is not None else None)
            else:
                del pairs[pair]  # It concerns nobody here any more.
        if not asked:
            return
        standings = await ask_again(lambda: house.history.standings_at(list(asked)))
        changed = [pair for pair, (user, before) in asked.items() if user and _differ(before, standings.get(pair))]
        records = await self._unknown({uid for uid, _ in changed})
        strangers = [pair[1] for pair, (user, _) in asked.items() if user is None]
        people = await ask_again(lambda: house.history.people(strangers)) if strangers else {}
        told = 0
        for pair, (user, before) in asked.items():
            uid, name = pair
            is_other = house.roster.user(name) is not user
            if is_other or pair in self._replied or (user is not None and user.standings.get(uid) is not before):
                continue  # A reply has come meanwhile, and may be newer than this answer.
            if uid in records and house.rooms.by_uid(uid) is None:
                house.rooms.put(records[uid])
            person = people[name][0] if name in people else Person(name, name)
            told += self._apply(pair, standings.get(pair), pairs.pop(pair), person)
            if told > DELIVERIES:
                told = 0
                await asyncio.sleep(0)

    async def _unknown(self, uids: Iterable[str]) -> Mapping[str, Room]:
        """Those of these rooms that are not in memory: whoever is told of one needs to know what it is."""
        return await self._rooms_at([uid for uid in uids if self._house.rooms.by_uid(uid) is None])

    async def _rooms_at(self, uids: Sequence[str]) -> Mapping[str, Room]:
        return await ask_again(lambda: self._house.history.rooms_at(uids)) if uids else {}

    def _apply(self, pair: _Pair, now: Standing | None, news: _News, person: Person) -> int:
        """The store said how a user stands to a room. Returns how many subscribers were told something."""
        house, (uid, name) = self._house, pair
        user, room = house.roster.user(name), house.rooms.by_uid(uid)
        before = user.standings.get(uid) if user is not None else None
        house.roster.learn(uid, name, now)
        if room is None:
            return 0
        was, role = _role(before), _role(now)
        if user is not None:
            self._tell_user(room, name, before, now, news)
            person = user.person
            if user.loading is None and was != role and (was in MEMBER_ROLES or role in MEMBER_ROLES):
                news.moved = True
        if news.moved and house.channel.size(uid):
            what = {"role": role} if role in MEMBER_ROLES else {"left": True}
            return house.channel.publish(uid, "member", {"room": room.id, "user": house.user(person), **what})
        return 0

    def _tell_user(
        self, room: ActiveRoom, name: str, before: Standing | None, now: Standing | None, news: _News
    ) -> None:
        house, time = self._house, self._house.clock()
        was, role = _role(before), _role(now)
        is_out = is_banned(now, time)
        ended = was is not None and (role is None or (was in MEMBER_ROLES and role not in MEMBER_ROLES))
        reason = "banned" if is_out else news.why or "left"
        if ended or (is_out and not is_banned(before, time)):
            house.end_membership(room, name, reason)
        if ended:
            document = {"room": room.id, "reason": reason} | ({"text": news.text} if news.text else {})
            house.channel.send_many(house.outlets(name, room), "room:removed", document)
        is_direct = room.record.kind == "direct" and was is None and role is not None
        if (role == "invited" and was != "invited") or is_direct:
            self._added[room.uid, name] = None

    async def _announce(self) -> None:
        """`room:added`, of what was found to be new to somebody."""
        for piece in _pieces(self._added, most=USERS):
            await asyncio.gather(*(self._announce_one(pair) for pair in piece))

    async def _announce_one(self, pair: _Pair) -> None:
        room = self._house.rooms.by_uid(pair[0])
        if room is not None:
            try:
                # What is read is sent in the same turn of the loop, so that nobody is told twice.
                async with asyncio.timeout(ANNOUNCE_S):
                    await self._service.announce(pair[1], room)
            except TimeoutError:
                raise HubbubError("unavailable", "The store took too long.") from None
        self._added.pop(pair, None)

    async def _look_at_users(self) -> None:
        """Note down where memory and store differ, for users of whom all may have changed."""
        loop, house = asyncio.get_running_loop(), self._house
        until = loop.time() + LOOK_S
        for piece in _pieces(self._users, most=USERS):
            answers = await asyncio.gather(*(self._standings_of(user) for user in piece))
            for name, standings in zip(piece, answers, strict=True):
                del self._users[name]
                user = house.roster.user(name)
                known: Mapping[str, Standing] = user.standings if user is not None else {}
                for uid in known.keys() | standings.keys() if user is not None else ():
                    if _differ(known.get(uid), standings.get(uid)):
                        self._pairs.setdefault((uid, name), _News())
            if loop.time() > until:
                return

    async def _standings_of(self, user: str) -> Mapping[str, Standing]:
        return await ask_again(lambda: self._house.history.standings_of(user))


def _news_of(record: Record) -> _News:
    was, role = record.data.get("was"), record.data.get("role")
    news = _News(moved=was != role and (was in MEMBER_ROLES or role in MEMBER_ROLES))
    if was is not None and role is None:
        news.why, news.text = record.data.get("why") or "", record.data.get("text") or ""
    return news


def _role(standing: Standing | None) -> str | None:
    return standing.role if standing is not None else None


def _differ(one: Standing | None, other: Standing | None) -> bool:
    """Whether two standings say different things; how far somebody has read is none of them."""
    if one is None or other is None:
        return one is not other
    return replace(one, read_seq=0) != replace(other, read_seq=0)


def _described(room: Room) -> Room:
    """What subscribers are told of a room as such."""
    return replace(room, head=0, members=0)


def _pieces(items: Iterable[T], *, most: int = PIECE) -> list[list[T]]:
    found = list(items)
    return [found[begin : begin + most] for begin in range(0, len(found), most)]
