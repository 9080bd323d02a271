"""What is read while others write: a page and its head belong together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandSucceededEvent

from hubbub.history.mongo_batch import Committer
from hubbub.history.mongo_messages import MessageReader
from hubbub.history.mongo_server import MongoServer
from tests.support.history import AMPLE_BYTES, draft, editing

UID = "u1"


class Meanwhile(CommandListener):
    """Calls `act` once, when the head was read: after a `find` of one document in the order of revisions."""

    def __init__(self) -> None:
        self.act: Callable[[], None] | None = None

    @property
    def is_armed(self) -> bool:
        return self.act is not None

    def started(self, event: object) -> None: ...

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if self.act is None or event.command_name != "find":
            return
        batch = event.reply["cursor"]["firstBatch"]
        if [set(each) for each in batch] == [{"_id", "rev"}]:
            act, self.act = self.act, None
            act()

    def failed(self, event: object) -> None: ...


@pytest.fixture
def meanwhile() -> Meanwhile:
    return Meanwhile()


@pytest.fixture
async def server(mongo_uri: str, meanwhile: Meanwhile) -> AsyncIterator[MongoServer]:
    server = MongoServer(mongo_uri, listeners=[meanwhile])
    await server.connect()
    await server.rooms.insert_one({"_id": "lobby", "uid": UID, "floor": 0, "kind": "public"})
    yield server
    await server.close()


class TestChanges:
    async def test_a_message_that_is_changed_while_it_is_read_comes_behind_the_head(
        self, server: MongoServer, meanwhile: Meanwhile, mongo_uri: str
    ) -> None:
        committer, reader = Committer(server), MessageReader(server)
        await committer.commit([draft(UID, f"k{number}") for number in range(3)])

        def change() -> None:
            with MongoClient[dict[str, object]](mongo_uri) as other:
                other.get_default_database()["messages"].update_one(
                    {"_id": f"{UID}.3"}, {"$set": {"rev": 4, "body": "changed"}, "$push": {"revs": 4}}
                )

        meanwhile.act = change
        page = await reader.changes(UID, since=0, limit=50, max_bytes=AMPLE_BYTES)
        assert not meanwhile.is_armed
        assert [(each.seq, each.rev) for each in page.messages] == [(1, 1), (2, 2)]
        assert (page.head, page.more_after) == (3, False)
        page = await reader.changes(UID, since=page.head, limit=50, max_bytes=AMPLE_BYTES)
        assert [(each.seq, each.rev, each.body) for each in page.messages] == [(3, 4, "changed")]

    async def test_a_page_that_is_cut_says_that_there_is_more(self, server: MongoServer) -> None:
        committer, reader = Committer(server), MessageReader(server)
        await committer.commit([draft(UID, f"k{number}") for number in range(3)])
        await committer.commit([editing(UID, 1, "new")])
        page = await reader.changes(UID, since=0, limit=2, max_bytes=AMPLE_BYTES)
        assert [(each.seq, each.rev) for each in page.messages] == [(2, 2), (3, 3)]
        assert (page.head, page.more_after) == (4, True)
