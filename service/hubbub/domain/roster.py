"""Who is connected to this node, and how they stand to their rooms.

A connected user's standings are all in memory, so that a permission is checked without asking the store. They are
loaded when the user's first connection comes, and changed in the same turn of the loop in which the store reports a
change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, MutableSet, Sequence
from dataclasses import dataclass, field

from hubbub.domain.clock import Clock
from hubbub.domain.few import Few
from hubbub.domain.identity import Identity
from hubbub.domain.ports import Outlet
from hubbub.domain.presence.holdings import Held
from hubbub.domain.presence.service import Presence
from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES, History, Person, Standing

__all__ = ["Client", "Roster", "User"]


@dataclass(slots=True, eq=False)
class User:
    """A user with at least one connection: `clients` are those in /chat, `watchers` those in /presence. `changed` are
    standings that changed while the others were being loaded.

    Most users have one connection, and a dictionary for it would take more than all else here.
    """

    person: Person
    standings: dict[str, Standing] = field(default_factory=dict)
    clients: tuple[Client, ...] = ()
    watchers: tuple[Client, ...] = ()
    loading: asyncio.Task[None] | None = None
    changed: dict[str, Standing | None] | None = None


@dataclass(slots=True, eq=False)
class Client:
    """One connection of a user. `joined` are the uids of the rooms that it is subscribed to, or watches. `held` is what
    presence knows of it.
    """

    outlet: Outlet
    user: User
    identity: Identity
    joined: MutableSet[str] = field(default_factory=Few)
    held: Held | None = None


class Roster:
    """The users and clients of this node. `on_update` is told of each pair of a room's uid and a user of which the
    store has reported a change that was made here, connected or not; `on_present` of each room that has a connected
    member now, or none any more.
    """

    def __init__(self, history: History, clock: Clock, presence: Presence) -> None:
        self._history = history
        self._clock = clock
        self._presence = presence
        self._users: dict[str, User] = {}
        self._members: dict[str, dict[User, None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self.on_update: Callable[[str, str], None] = lambda uid, user: None
        self.on_present: Callable[[str, bool], None] = lambda uid, is_present: None

    # -- coming and going --------------------------------------------------------------------------------------------

    async def enter(
        self, outlet: Outlet, identity: Identity, *, device: str | None = None, watches: bool = False
    ) -> Client:
        """A connection came: of /presence if it `watches`, else of /chat. `device` is the id of its transport; where
        there is none, its own. Raises `unavailable` if its user's standings cannot be read.
        """
        user = self._users.get(identity.user)
        if user is None:
            user = self._users[identity.user] = User(identity.person)
            user.loading = asyncio.ensure_future(self._load(user))
        client = Client(outlet, user, identity)
        if watches:
            user.watchers += (client,)
        else:
            user.clients += (client,)
        if user.loading is not None:
            try:
                await asyncio.shield(user.loading)
            except BaseException:
                # Refused, or nobody waits any more: a connect has a deadline, and whoever missed it is not here.
                self.leave(client)
                raise
        if client in user.clients or client in user.watchers:
            client.held = self._presence.connect(identity.person, outlet.id if device is None else device)
        self.rename(client, identity.person)
        return client

    def rename(self, client: Client, person: Person) -> None:
        """A newer token gives the user another name."""
        if client.user.person != person:
            client.user.person = person
            self._remember(client.user)
        if client.held is not None:
            self._presence.rename(client.held, person)

    def leave(self, client: Client, *, clean: bool = False) -> None:
        """A connection is gone, with a goodbye if `clean`."""
        user = client.user
        if client.held is not None:
            self._presence.disconnect(client.held, clean=clean)
        user.clients = tuple(each for each in user.clients if each is not client)
        user.watchers = tuple(each for each in user.watchers if each is not client)
        if user.clients or user.watchers or self._users.get(user.person.id) is not user:
            return
        del self._users[user.person.id]
        for uid in user.standings:
            self._forget_member(uid, user)

    async def refresh(self, client: Client) -> None:
        """A connection that is gone still has events waiting, and nobody keeps its user's standings: read them anew."""
        user = client.user
        if self._users.get(user.person.id) is not user:
            user.standings = dict(await self._history.standings_of(user.person.id))

    async def wait_written(self) -> None:
        """Return when nothing remembered is still on its way to the store."""
        while self._background:
            await asyncio.wait(list(self._background))

    # -- looking up --------------------------------------------------------------------------------------------------

    def user(self, user_id: str) -> User | None:
        return self._users.get(user_id)

    def ids(self) -> Iterable[str]:
        """All users who are connected."""
        return list(self._users)

    def is_online(self, user_id: str) -> bool:
        return user_id in self._users

    def clients(self, user_id: str) -> Iterable[Client]:
        user = self._users.get(user_id)
        return user.clients if user is not None else ()

    def outlets(self) -> Sequence[Outlet]:
        """All connections in /chat."""
        return [each.outlet for user in self._users.values() for each in user.clients]

    def watchers(self, user_id: str) -> Iterable[Client]:
        """The connections of a user in /presence."""
        user = self._users.get(user_id)
        return user.watchers if user is not None else ()

    def watching(self, uid: str) -> Iterable[Client]:
        """The connections that watch a room. Looks at every user: for what is rare."""
        return [each for user in self._users.values() for each in user.watchers if uid in each.joined]

    def members(self, uid: str) -> Iterable[User]:
        """The connected members of a room."""
        return list(self._members.get(uid, ()))

    def with_role(self, uid: str) -> Iterable[User]:
        """The connected members of a room, and whoever is invited. Looks at every user: for what is rare."""
        return [
            user
            for user in self._users.values()
            if (standing := user.standings.get(uid)) is not None and standing.role is not None
        ]

    @property
    def size(self) -> int:
        return len(self._users)

    # -- standings ---------------------------------------------------------------------------------------------------

    def update(self, uid: str, user_id: str, standing: Standing | None) -> None:
        """The store reported that a user stands to a room like this now (None: nothing is recorded), in its reply to a
        change that was made here.
        """
        self.on_update(uid, user_id)
        self.learn(uid, user_id, standing)

    def learn(self, uid: str, user_id: str, standing: Standing | None) -> None:
        """The same, of a change that anybody made: the store was asked."""
        user = self._users.get(user_id)
        if user is None:
            return
        if user.loading is not None:
            user.changed = (user.changed or {}) | {uid: standing}
        self._set(user, uid, standing)

    def forget_room(self, uid: str) -> None:
        """A room is gone."""
        for user in list(self._users.values()):
            if uid in user.standings or user.loading is not None:
                self.learn(uid, user.person.id, None)
            for client in user.clients:
                client.joined.discard(uid)

    def _set(self, user: User, uid: str, standing: Standing | None) -> None:
        if standing is None:
            user.standings.pop(uid, None)
        else:
            user.standings[uid] = standing
        if standing is not None and standing.role in MEMBER_ROLES:
            members = self._members.get(uid)
            if members is None:
                members = self._members[uid] = {}
                self.on_present(uid, True)
            members[user] = None
        else:
            self._forget_member(uid, user)

    def _forget_member(self, uid: str, user: User) -> None:
        members = self._members.get(uid)
        if members is not None:
            members.pop(user, None)
            if not members:
                del self._members[uid]
                self.on_present(uid, False)

    async def _load(self, user: User) -> None:
        try:
            arrival = await self._history.arrival(user.person.id)
        except BaseException:
            # Whoever connects next starts anew, and does not take what was not loaded for what is not there.
            if self._users.get(user.person.id) is user:
                del self._users[user.person.id]
            raise
        user.loading = None
        if self._users.get(user.person.id) is not user:
            return  # All connections left meanwhile.
        changed, user.changed = user.changed or {}, None
        for uid, standing in arrival.standings.items():
            if uid not in changed:
                self._set(user, uid, standing)
        if arrival.known is None or arrival.known[0] != user.person:
            self._remember(user)

    def _remember(self, user: User) -> None:
        self._presence.last_seen.wrote(user.person.id)
        task = asyncio.ensure_future(self._write_person(user.person, self._clock()))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _write_person(self, person: Person, at: int) -> None:
        try:
            await self._history.remember(person, at=at)
        except HubbubError:
            # Nothing was promised to anybody: the name is written again with the next membership or connection.
            return
