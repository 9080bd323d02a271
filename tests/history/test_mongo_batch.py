"""Revisions without holes and keys without doubles, whoever else is writing to the room."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from hubbub.history.base import Change, Insert, Message, Outcome, Written
from hubbub.history.mongo_batch import HEAD_VALID_S, Committer, newest_revision
from hubbub.history.mongo_messages import MessageReader
from hubbub.history.mongo_server import MongoServer
from tests.support.history import AMPLE_BYTES, code_of, draft, editing, written

UID = "u1"


class Commands(CommandListener):
    """What was asked of the server, by command and collection."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.seen.append((event.command_name, str(event.command.get(event.command_name))))

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...

    def take(self) -> list[tuple[str, str]]:
        taken, self.seen = self.seen, []
        return taken


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
async def server(mongo_uri: str, commands: Commands) -> AsyncIterator[MongoServer]:
    server = MongoServer(mongo_uri, listeners=[commands])
    await server.connect()
    await server.rooms.insert_one({"_id": "lobby", "uid": UID, "floor": 0})
    yield server
    await server.close()


@pytest.fixture
async def others(mongo_uri: str) -> AsyncIterator[MongoServer]:
    """The connection of another node."""
    server = MongoServer(mongo_uri)
    yield server
    await server.close()


@pytest.fixture
def committer(server: MongoServer) -> Committer:
    return Committer(server)


async def revisions(server: MongoServer) -> dict[int, str]:
    found = await MessageReader(server).revisions(UID, after=0, upto=2**40)
    return {rev: message.body for rev, message in found}


def claims(outcomes: Sequence[Outcome]) -> list[int]:
    return [written(outcome).claimed for outcome in outcomes]


async def _commit_apart(uri: str, ops: Sequence[Insert | Change]) -> Sequence[Outcome]:
    """Commit with a connection of its own, on a loop of its own, which an edit may hold up."""
    server = MongoServer(uri)
    try:
        return await Committer(server).commit(ops)
    finally:
        await server.close()


class TestCost:
    async def test_a_batch_of_new_messages_is_one_write_and_one_look_at_the_room(
        self, committer: Committer, commands: Commands
    ) -> None:
        await committer.commit([draft(UID, "first")])
        commands.take()
        assert claims(await committer.commit([draft(UID, f"k{number}") for number in range(64)])) == [*range(2, 66)]
        assert sorted(commands.take()) == [("find", "rooms"), ("insert", "messages")]

    async def test_a_batch_of_changes_is_one_read_and_one_write(self, committer: Committer, commands: Commands) -> None:
        await committer.commit([draft(UID, f"k{number}") for number in range(8)])
        commands.take()
        outcomes = await committer.commit([editing(UID, seq, f"body {n}") for n, seq in enumerate([3, 1, 3, 8])])
        assert claims(outcomes) == [9, 10, 11, 12]
        assert commands.take() == [("find", "rooms"), ("find", "messages"), ("update", "messages")]


class TestNumbering:
    async def test_mixed_writes_claim_their_revisions_in_their_order(
        self, committer: Committer, server: MongoServer
    ) -> None:
        outcomes = await committer.commit(
            [
                draft(UID, "a", body="one"),
                draft(UID, "b", body="two"),
                editing(UID, 1, "one, edited"),
                draft(UID, "c", body="three"),
                editing(UID, 4, "three, edited"),
                editing(UID, 1, "one, again"),
                editing(UID, 99, "nothing"),
                Change(UID, 2, lambda message: None),
            ]
        )
        assert claims(outcomes[:6]) == [1, 2, 3, 4, 5, 6]
        assert code_of(outcomes[6]) == "not_found"
        assert written(outcomes[7]).claimed == 0
        assert await revisions(server) == {
            1: "one, again",
            2: "two",
            3: "one, again",
            4: "three, edited",
            5: "three, edited",
            6: "one, again",
        }

    async def test_a_revision_that_another_node_took_is_numbered_anew(
        self, committer: Committer, others: MongoServer
    ) -> None:
        other = Committer(others)
        assert claims(await committer.commit([draft(UID, "a")])) == [1]
        assert claims(await other.commit([draft(UID, "b"), editing(UID, 1, "by the other")])) == [2, 3]
        # This one still believes that the head is 1, and that the message is as it was.
        assert claims(await committer.commit([editing(UID, 1, "mine"), draft(UID, "c")])) == [4, 5]
        assert claims(await other.commit([draft(UID, "d"), draft(UID, "e")])) == [6, 7]
        assert (await revisions(others))[3] == "mine"

    async def test_an_edit_is_applied_to_what_the_other_node_left(
        self, committer: Committer, others: MongoServer
    ) -> None:
        def appending(text: str) -> Change:
            return Change(UID, 1, lambda message: replace(message, body=message.body + text))

        await committer.commit([draft(UID, "a", body="")])

        async def edit(node: Committer) -> None:
            for digit in "0123456789":
                written((await node.commit([appending(digit)]))[0])

        await asyncio.gather(edit(committer), edit(Committer(others)))
        assert sorted((await revisions(others))[1]) == sorted("0123456789" * 2)

    async def test_a_key_that_is_taken_answers_with_its_first_message(
        self, committer: Committer, others: MongoServer
    ) -> None:
        first = written((await Committer(others).commit([draft(UID, "k", body="first")]))[0]).message
        outcomes = await committer.commit(
            [draft(UID, "new"), draft(UID, "k", body="second"), draft(UID, "new"), draft(UID, "last")]
        )
        assert claims(outcomes) == [2, 0, 0, 3]
        assert [written(outcome).duplicate for outcome in outcomes] == [False, True, True, False]
        assert written(outcomes[1]).message == first
        assert written(outcomes[2]).message == written(outcomes[0]).message

    async def test_what_cannot_be_stored_leaves_no_hole(self, committer: Committer) -> None:
        outcomes = await committer.commit([draft(UID, "a"), draft(UID, "b", body="\ud800"), draft(UID, "\udfff")])
        assert claims(outcomes[:1]) == [1]
        assert [code_of(outcome) for outcome in outcomes[1:]] == ["bad_request", "bad_request"]
        outcomes = await committer.commit([editing(UID, 1, "\ud800"), draft(UID, "c")])
        assert code_of(outcomes[0]) == "bad_request"
        assert claims(outcomes[1:]) == [2]

    async def test_an_old_head_is_not_numbered_by(self, server: MongoServer, commands: Commands) -> None:
        now = [0.0]
        committer = Committer(server, clock=lambda: now[0])
        await committer.commit([draft(UID, "a")])
        now[0] += HEAD_VALID_S + 1
        commands.take()
        await committer.commit([draft(UID, "b")])
        assert commands.take().count(("find", "messages")) == 1

    @pytest.mark.parametrize("seed", range(3))
    async def test_two_nodes_that_write_at_once_leave_neither_hole_nor_double(
        self, committer: Committer, others: MongoServer, seed: int
    ) -> None:
        chance = random.Random(seed)
        nodes = [committer, Committer(others)]
        keys: list[str] = []

        def op(node: int) -> Insert | Change:
            if chance.random() < 0.5 or not keys:
                keys.append(f"{node}-{len(keys)}")
                return draft(UID, keys[-1], sender=f"user{node}")
            if chance.random() < 0.2:
                return draft(UID, chance.choice(keys), sender=f"user{node}")
            return editing(UID, chance.randint(1, len(keys)), f"edit {chance.random()}")

        async def run(node: int) -> list[Outcome]:
            outcomes: list[Outcome] = []
            for _ in range(25):
                outcomes += await nodes[node].commit([op(node) for _ in range(chance.randint(1, 9))])
            return outcomes

        outcomes = [outcome for found in await asyncio.gather(run(0), run(1)) for outcome in found]
        claimed = sorted(outcome.claimed for outcome in outcomes if isinstance(outcome, Written) and outcome.claimed)
        assert claimed == [*range(1, len(claimed) + 1)]
        assert sorted(await revisions(others)) == claimed
        assert {code_of(outcome) for outcome in outcomes if not isinstance(outcome, Written)} <= {"not_found"}
        stored = [(each["sender"], each["key"]) async for each in others.messages.find()]
        assert len(stored) == len(set(stored))
        answered = {
            (outcome.message.sender.id, outcome.message.key) for outcome in outcomes if isinstance(outcome, Written)
        }
        assert answered == set(stored)


class TestRooms:
    async def test_a_room_that_is_gone_takes_nothing(
        self, committer: Committer, server: MongoServer, others: MongoServer
    ) -> None:
        await committer.commit([draft(UID, "a")])
        await others.rooms.delete_one({"uid": UID})
        outcomes = await committer.commit([draft(UID, "b"), editing(UID, 1, "late")])
        assert [code_of(outcome) for outcome in outcomes] == ["not_found", "not_found"]
        count = await server.messages.count_documents({})
        assert [code_of(outcome) for outcome in await committer.commit([draft(UID, "c")])] == ["not_found"]
        assert await server.messages.count_documents({}) == count

    async def test_a_change_that_comes_after_the_burial_leaves_nothing_behind(
        self, committer: Committer, server: MongoServer, mongo_uri: str
    ) -> None:
        await committer.commit([draft(UID, "a"), draft(UID, "b")])

        def buried(message: Message) -> Message:
            # Between the reading and the writing of the change, as another node may do it.
            with MongoClient[dict[str, Any]](mongo_uri) as client:
                database = client.get_default_database()
                database["rooms"].delete_many({})
                database["messages"].delete_many({})
            return replace(message, body="late")

        outcomes = await asyncio.to_thread(
            lambda: asyncio.run(_commit_apart(mongo_uri, [Change(UID, 1, buried), Change(UID, 2, buried)]))
        )
        assert [code_of(outcome) for outcome in outcomes] == ["not_found", "not_found"]
        assert await server.messages.count_documents({}) == 0

    async def test_several_rooms_may_be_written_at_once(self, committer: Committer, server: MongoServer) -> None:
        await server.rooms.insert_one({"_id": "hall", "uid": "u2", "floor": 0})
        outcomes = await committer.commit([draft(UID, "a"), draft("u2", "a"), draft("none", "a"), draft(UID, "b")])
        assert [written(outcomes[n]).claimed for n in (0, 1, 3)] == [1, 1, 2]
        assert code_of(outcomes[2]) == "not_found"

    async def test_a_stub_is_changed_no_more(self, committer: Committer, server: MongoServer) -> None:
        await committer.commit([draft(UID, "a"), draft(UID, "b")])
        await server.rooms.update_one({"uid": UID}, {"$set": {"floor": 1}})
        await server.messages.update_one({"room": UID, "seq": 1}, {"$set": {"stub": True, "body": ""}})
        outcomes = await committer.commit([editing(UID, 1, "late"), editing(UID, 2, "in time"), draft(UID, "a")])
        assert code_of(outcomes[0]) == "not_found"
        assert written(outcomes[1]).claimed == 3
        assert written(outcomes[2]).duplicate
        assert written(outcomes[2]).message.deleted


class TestReading:
    async def test_a_head_is_the_newest_revision(self, committer: Committer, server: MongoServer) -> None:
        assert await newest_revision(server.messages, UID) == 0
        await committer.commit([draft(UID, "a"), draft(UID, "b"), editing(UID, 1, "edited")])
        assert await newest_revision(server.messages, UID) == 3
        page = await MessageReader(server).page(
            UID, before=None, after=None, around=None, limit=10, max_bytes=AMPLE_BYTES
        )
        assert [(message.seq, message.rev) for message in page.messages] == [(1, 3), (2, 2)]
