"""A node's part that changes and reads the members of rooms in MongoDB, and what must always hold of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from pymongo.errors import AutoReconnect
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from hubbub.history.base import MEMBER_ROLES, Role, Room, RoomView, Standing
from hubbub.history.mongo_lists import read_members, read_view
from hubbub.history.mongo_membership import Memberships
from hubbub.history.mongo_server import Documents, MongoServer
from tests.support.history import eventually

__all__ = ["LATER_MS", "NOW_MS", "Commands", "Cut", "Node", "cut_server", "node_at", "roles_told", "whole_room"]

NOW_MS: Final = 1_800_000_000_000
LATER_MS: Final = NOW_MS + 60_000
"""When whatever was begun at `NOW_MS` counts as left behind."""

WRITES: Final = frozenset(
    {"insert_one", "insert_many", "update_one", "delete_one", "delete_many", "bulk_write", "find_one_and_update"}
)


class Commands(CommandListener):
    """The names of the commands that a client sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


class Node:
    """The part of a node: its connection, and the changes of members that go through it."""

    def __init__(self, server: MongoServer, *, clock: Callable[[], int]) -> None:
        self.server = server
        self.members = Memberships(server, clock=clock)

    async def settled(self, uid: str) -> dict[str, Any]:
        """The room's document once nothing is pending any more."""

        async def is_pending() -> bool:
            room = await self.server.rooms.find_one({"uid": uid})
            return room is not None and "pending" in room

        await eventually(is_pending, False)
        room = await self.server.rooms.find_one({"uid": uid})
        assert room is not None
        return room


@asynccontextmanager
async def node_at(uri: str, *, now: int = NOW_MS, listeners: Sequence[CommandListener] = ()) -> AsyncIterator[Node]:
    server = MongoServer(uri, listeners=listeners)
    await server.connect()
    node = Node(server, clock=lambda: now)
    try:
        yield node
    finally:
        await node.members.close()
        await server.close()


class Cut:
    """Lets the first `after` writes through. The next one fails as if the connection broke, and every one behind it:
    the node is dead then. `happens` says whether the first that fails reached the store.
    """

    def __init__(self, after: int, *, happens: bool) -> None:
        self.left = after
        self._happens = happens
        self._under_way = 0
        self.fell = False

    def around(self, documents: Documents) -> Documents:
        """The collection, cut."""
        return cast("Documents", _CutDocuments(documents, self))

    async def silence(self) -> None:
        """Wait for what was sent before the cut, beside the write that fell: else it may be done at any later time."""

        async def under_way() -> int:
            return self._under_way

        await eventually(under_way, 0)

    async def write(self, write: Callable[[], Any]) -> Any:
        self._under_way += 1
        try:
            return await self._write(write)
        finally:
            self._under_way -= 1

    async def _write(self, write: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left >= 0:
            return await write()
        if self._happens and not self.fell:
            self.fell = True
            await write()
        self.fell = True
        raise AutoReconnect("cut")


class _CutDocuments:
    def __init__(self, documents: Documents, cut: Cut) -> None:
        self._documents = documents
        self._cut = cut

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._documents, name)
        if name not in WRITES:
            return method
        return lambda *args, **kwargs: self._cut.write(lambda: method(*args, **kwargs))


def cut_server(server: MongoServer, cut: Cut) -> None:
    """Put the cut between this server's collections and whoever uses them."""
    for name in ("rooms", "standings", "people", "graveyard"):
        setattr(server, name, cut.around(getattr(server, name)))
    server.log._documents = cut.around(server.log._documents)


async def whole_room(server: MongoServer, room: Room) -> tuple[RoomView, Sequence[Standing]]:
    """The room and its members as somebody finds them who comes later. They belong together, whatever happened; and the
    control log, which has the changes one after the other, ends at the same members.
    """
    view = await read_view(server, room.uid, "nobody", now=LATER_MS)
    page = await read_members(server, room.uid, limit=1000, cursor=None, now=LATER_MS)
    members = [standing for standing, _ in page.members]
    assert view is not None
    assert all(standing.role in MEMBER_ROLES for standing in members)
    assert view.room.members == len(members) <= view.room.capacity
    assert not members or any(standing.role == "owner" for standing in members)
    roles = await roles_told(server, room.uid)
    assert {user: role for user, role in roles.items() if role in MEMBER_ROLES} == {
        standing.user: standing.role for standing in members
    }
    return view, members


async def roles_told(server: MongoServer, uid: str) -> dict[str, Role | None]:
    """Whom the control log says to have which role in a room. Each change is there once, behind the one before it."""
    roles: dict[str, Role | None] = {}
    keys: set[str] = set()
    after = 0
    while records := await server.log.read(after=after, limit=1000):
        assert [record.n for record in records] == list(range(after + 1, after + 1 + len(records)))
        after = records[-1].n
        for record in records:
            if record.kind == "standing" and record.data["room"] == uid:
                assert record.key not in keys
                assert record.data["was"] == roles.get(record.data["user"]), record
                keys.add(record.key)
                roles[record.data["user"]] = record.data["role"]
    return roles
