"""The users of this node, their connections, and the rooms that these hold: who is here by our own knowledge.

The rules, of which each is a few lines below:

* A user is here while a connection is open, in any namespace; and is in a room while one of them is subscribed to it.
* A connection that **broke** (its transport closed, for whatever reason) has its grace: for `GRACE_MS` longer the user
  is here, in the same rooms. So a reload, a tunnel or a restart shows nothing to others if the user is back by then.
* A connection that ended **cleanly** (a Socket.IO DISCONNECT) has none, nor has a room that its user left. Such a word
  counts for what broke before as well: where no live connection is left, no grace is.
* Whoever was here last is told of once, with the time at which their last connection ended.

A connection costs a small object, a user a slightly larger one, a room an entry for each user in it. All graces are of
one length, so they end in the order in which they began, and waiting for their ends takes a queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from hubbub.cluster.base import Status
from hubbub.domain.few import Few
from hubbub.domain.presence.statuses import Face, merge
from hubbub.history.base import Person

__all__ = ["Held", "Holdings", "LocalUser"]

GRACE_MS: Final = 15_000
"""Long enough for a reload, a change of networks, or a node's restart; short enough that a list is worth looking at."""


class Held:
    """One connection. `device` is the id of the transport, which a user's namespaces on it share."""

    __slots__ = ("device", "rooms", "user")

    def __init__(self, user: LocalUser, device: str) -> None:
        self.user = user
        self.device = device
        self.rooms = Few()


class _Broken:
    """A device whose connections broke, until its grace is over."""

    __slots__ = ("status", "until")

    def __init__(self, status: Status, until: int) -> None:
        self.status = status
        self.until = until


class LocalUser:
    """A user with connections here, or with a grace. `graces` are the ends of the graces of rooms, by uid; `ended_at`
    is when the last connection ended so far. Most users have none of the dictionaries.
    """

    __slots__ = ("broken", "connections", "ended_at", "face", "graces", "person", "statuses", "text", "text_at")

    def __init__(self, person: Person) -> None:
        self.person = person
        self.connections: tuple[Held, ...] = ()
        self.statuses: dict[str, Status] | None = None
        self.broken: dict[str, _Broken] | None = None
        self.graces: dict[str, int] | None = None
        self.text = ""
        self.text_at = 0
        self.ended_at = 0
        self.face = Face(person, "online", "")

    @property
    def is_live(self) -> bool:
        return bool(self.connections)

    def holds(self, uid: str) -> bool:
        """Whether an open connection is subscribed to this room."""
        return any(uid in each.rooms for each in self.connections)

    def is_in(self, uid: str) -> bool:
        return self.holds(uid) or (self.graces is not None and uid in self.graces)

    def rooms(self) -> frozenset[str]:
        """The rooms in which the user is."""
        return frozenset(uid for each in self.connections for uid in each.rooms).union(self.graces or ())

    def status_of(self, device: str) -> Status:
        return "online" if self.statuses is None else self.statuses.get(device, "online")


class Holdings:
    """See above. `now` is monotonic, `wall` since the Unix epoch, both in integer milliseconds.

    `on_change(user, rooms, left)` is told of a user who looks different in these rooms, or is or is not in them now;
    `left` are those that were left on purpose, with no connection left in them. It is called with no rooms where the
    user came or went without any. `on_gone(person, at)` is told of a user who is not here any more, and when they were
    last seen.
    """

    def __init__(
        self,
        *,
        on_change: Callable[[LocalUser, Iterable[str], frozenset[str]], None],
        on_gone: Callable[[Person, int], None],
    ) -> None:
        self._on_change = on_change
        self._on_gone = on_gone
        self._users: dict[str, LocalUser] = {}
        self._rooms: dict[str, dict[str, LocalUser]] = {}
        self._ends: deque[tuple[int, LocalUser]] = deque()

    # -- looking -----------------------------------------------------------------------------------------------------

    def user(self, user_id: str) -> LocalUser | None:
        return self._users.get(user_id)

    def users(self) -> Iterable[LocalUser]:
        """All users who are here."""
        return self._users.values()

    def room(self, uid: str) -> Mapping[str, LocalUser]:
        """Who is in a room, by id."""
        return self._rooms.get(uid, {})

    def due(self) -> int | None:
        """When the next grace ends; None if there is none."""
        return self._ends[0][0] if self._ends else None

    @property
    def size(self) -> int:
        return len(self._users)

    # -- connections -------------------------------------------------------------------------------------------------

    def connect(self, person: Person, device: str, *, wall: int) -> Held:
        """A connection was opened."""
        user = self._users.get(person.id)
        came = user is None
        if user is None:
            user = self._users[person.id] = LocalUser(person)
        held = Held(user, device)
        user.connections += (held,)
        self._look(user, wall, changed=came or len(user.connections) == 1)
        return held

    def rename(self, held: Held, person: Person, *, wall: int) -> None:
        """The user is called otherwise now."""
        held.user.person = person
        self._look(held.user, wall)

    def disconnect(self, held: Held, *, clean: bool, now: int, wall: int) -> None:
        """A connection ended; twice is as once."""
        user = held.user
        if held not in user.connections:
            return
        user.connections = tuple(each for each in user.connections if each is not held)
        user.ended_at = wall
        last_of_device = all(each.device != held.device for each in user.connections)
        status = user.status_of(held.device)
        if last_of_device and user.statuses is not None:
            user.statuses.pop(held.device, None)
            user.statuses = user.statuses or None
        if clean:
            self._end_cleanly(user, held, wall)
            return
        until = now + GRACE_MS
        if last_of_device:
            user.broken = user.broken or {}
            user.broken[held.device] = _Broken(status, until)
        for uid in held.rooms:
            user.graces = user.graces or {}
            user.graces[uid] = until
        self._ends.append((until, user))
        self._look(user, wall, changed=not user.connections)

    def set_status(self, held: Held, status: Status, text: str | None, *, wall: int) -> None:
        """A device says how it is. `text` is the user's, on whatever device it was set; None leaves it."""
        user = held.user
        user.statuses = user.statuses or {}
        user.statuses[held.device] = status
        if text is not None:
            user.text, user.text_at = text, wall
        self._look(user, wall)

    # -- rooms -------------------------------------------------------------------------------------------------------

    def join(self, held: Held, uid: str) -> None:
        """A connection is subscribed to a room."""
        user = held.user
        if held not in user.connections:
            return
        held.rooms.add(uid)
        if user.graces is not None and user.graces.pop(uid, None) is not None:
            user.graces = user.graces or None
        users = self._rooms.setdefault(uid, {})
        if user.person.id not in users:
            users[user.person.id] = user
            self._on_change(user, (uid,), frozenset())

    def lapse(self, held: Held, uid: str, *, now: int) -> None:
        """A connection is not subscribed any more because it was too slow, or its join failed: as if it had broken."""
        if uid in held.rooms:
            held.rooms.discard(uid)
            user = held.user
            user.graces = user.graces or {}
            user.graces[uid] = now + GRACE_MS
            self._ends.append((now + GRACE_MS, user))

    def part(self, held: Held, uid: str) -> None:
        """A connection gave a room up on purpose; others of the user may be in it."""
        held.rooms.discard(uid)
        user = held.user
        if not user.holds(uid):
            self._drop_grace(user, uid)
            self._settle(user, (uid,))

    def leave(self, user_id: str, uid: str) -> None:
        """A user left a room with all devices, or was removed from it."""
        user = self._users.get(user_id)
        if user is not None:
            for each in user.connections:
                each.rooms.discard(uid)
            self._drop_grace(user, uid)
            self._settle(user, (uid,))

    def close_room(self, uid: str) -> None:
        """A room is gone, and nobody is in it."""
        for user_id in list(self._rooms.get(uid, ())):
            self.leave(user_id, uid)

    def void(self, user_id: str, rooms: Iterable[str]) -> None:
        """The user left these rooms on another node on purpose: no grace here outlasts that."""
        user = self._users.get(user_id)
        if user is not None and user.graces is not None:
            ended = [uid for uid in rooms if uid in user.graces and not user.holds(uid)]
            for uid in ended:
                self._drop_grace(user, uid)
            self._settle(user, ended)

    # -- time --------------------------------------------------------------------------------------------------------

    def expire(self, now: int, wall: int, *, most: int) -> bool:
        """End the graces that are over, at most so many in one go; returns whether there are more."""
        for _ in range(most):
            if not self._ends or self._ends[0][0] > now:
                return False
            self._end_graces(self._ends.popleft()[1], now, wall)
        return bool(self._ends) and self._ends[0][0] <= now

    # -- inside ------------------------------------------------------------------------------------------------------

    def _end_cleanly(self, user: LocalUser, held: Held, wall: int) -> None:
        if not user.connections:
            left = user.rooms().union(held.rooms)
            user.graces = None
            self._remove(user, left, left)
            return
        # Where another connection holds the room, the grace is not missed: it will have one of its own.
        for uid in held.rooms:
            self._drop_grace(user, uid)
        self._settle(user, held.rooms)
        self._look(user, wall)

    def _end_graces(self, user: LocalUser, now: int, wall: int) -> None:
        if self._users.get(user.person.id) is not user:
            return
        ended: list[str] = []
        if user.graces is not None:
            ended = [uid for uid, until in user.graces.items() if until <= now]
            for uid in ended:
                self._drop_grace(user, uid)
        if user.broken is not None:
            user.broken = {device: each for device, each in user.broken.items() if each.until > now} or None
        if not user.connections and user.broken is None:
            self._remove(user, ended, frozenset())
        else:
            self._settle(user, ended, on_purpose=False)
            self._look(user, wall)

    def _remove(self, user: LocalUser, rooms: Iterable[str], left: frozenset[str]) -> None:
        """Nothing keeps the user here, nor in any of these rooms, which are all that are left."""
        del self._users[user.person.id]
        rooms = [uid for uid in rooms if user.person.id in self.room(uid)]
        for uid in rooms:
            self._forget(user, uid)
        self._on_change(user, rooms, left)
        self._on_gone(user.person, user.face.hidden_at or user.ended_at)

    def _settle(self, user: LocalUser, rooms: Iterable[str], *, on_purpose: bool = True) -> None:
        """Take the user out of those of these rooms in which nothing holds them."""
        left = [uid for uid in rooms if user.person.id in self.room(uid) and not user.is_in(uid)]
        for uid in left:
            self._forget(user, uid)
        if left:
            self._on_change(user, left, frozenset(left) if on_purpose else frozenset())

    def _forget(self, user: LocalUser, uid: str) -> None:
        users = self._rooms[uid]
        del users[user.person.id]
        if not users:
            del self._rooms[uid]

    @staticmethod
    def _drop_grace(user: LocalUser, uid: str) -> None:
        if user.graces is not None:
            user.graces.pop(uid, None)
            user.graces = user.graces or None

    def _look(self, user: LocalUser, wall: int, *, changed: bool = False) -> None:
        """See how the user looks now, and tell if that is news."""
        devices = {each.device for each in user.connections}
        status = merge(map(user.status_of, devices), (each.status for each in (user.broken or {}).values()))
        before = user.face
        if (before.status, before.text, before.person) != (status, user.text, user.person):
            hidden_at = (before.hidden_at or wall) if status == "invisible" else 0
            user.face = Face(user.person, status, user.text, hidden_at)
            self._on_change(user, user.rooms(), frozenset())
        elif changed:
            self._on_change(user, (), frozenset())
