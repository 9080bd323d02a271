"""Memberships of MongoDB: many at once, on two nodes at once, and cut between any two steps."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Awaitable
from contextlib import ExitStack

import pytest

from hubbub.errors import HubbubError
from hubbub.history import mongo_membership
from hubbub.history.base import MEMBER_ROLES, Left, Person, Room, Standing
from hubbub.history.mongo_lists import read_standing
from hubbub.history.mongo_marks import mark_read
from hubbub.history.mongo_people import read_people
from hubbub.history.mongo_rooms import create_room, delete_room, update_room
from tests.support.history import child, make_room, member
from tests.support.mongo_members import LATER_MS, NOW_MS, Commands, Cut, Node, cut_server, node_at, whole_room

CROWD = 500


@pytest.fixture
async def node(mongo_uri: str) -> AsyncIterator[Node]:
    async with node_at(mongo_uri) as node:
        yield node


@pytest.fixture
async def other(mongo_uri: str) -> AsyncIterator[Node]:
    """A second node at the same store."""
    async with node_at(mongo_uri) as node:
        yield node


async def new_room(node: Node, *members: tuple[Standing, Person], capacity: int = 1000) -> Room:
    room = make_room(capacity=capacity)
    return await create_room(node.server, room, members or [member("ann", "owner")], at=NOW_MS)


def person(user: str) -> Person:
    return Person(user, user.title())


async def code_of(change: Awaitable[object]) -> str:
    try:
        await change
    except HubbubError as error:
        return error.code
    return "ok"


class TestCrowds:
    async def test_a_crowd_joins_in_a_few_commands(self, mongo_uri: str) -> None:
        commands = Commands()
        async with node_at(mongo_uri, listeners=[commands]) as node:
            room = await new_room(node, capacity=CROWD)
            commands.names.clear()
            joins = [node.members.join(room.uid, person(f"u{n}"), at=5) for n in range(CROWD)]
            outcomes = await asyncio.gather(*joins, return_exceptions=True)
            counts = [outcome[2] for outcome in outcomes if not isinstance(outcome, BaseException)]
            assert counts == [*range(2, CROWD + 1)]
            # Two batches: four reads, the intent and the names, the standings, the records (where the log ends is read
            # the first time); and at the end the intent is taken away.
            assert len(commands.names) <= 18, commands.names
            assert (await whole_room(node.server, room))[0].room.members == CROWD
            commands.names.clear()
            leaves = [node.members.leave(room.uid, f"u{n}") for n in range(CROWD)]
            await asyncio.gather(*leaves)
            # The same, with three reads more of those who may come to own it.
            assert len(commands.names) <= 23, commands.names
            assert (await whole_room(node.server, room))[0].room.members == 1
            assert len(await read_people(node.server.people, [f"u{n}" for n in range(CROWD)])) == CROWD - 1

    async def test_changes_of_a_batch_come_one_after_the_other(self, node: Node) -> None:
        room = await new_room(node, capacity=3)
        do = node.members
        outcomes = await asyncio.gather(
            do.join(room.uid, person("bob"), at=5),
            do.set_role(room.uid, "bob", "owner"),
            do.leave(room.uid, "ann"),
            do.mute(room.uid, "ann", until=9),
            do.join(room.uid, person("cy"), at=6),
            code_of(do.invite(room.uid, person("cy"), at=7)),
            do.ban(room.uid, "bob", until=99),
            do.join(room.uid, person("ann"), at=8),
        )
        assert outcomes == [
            (Standing("bob", "member", 5), True, 2),
            Standing("bob", "owner", 5),
            Left(1, "owner"),
            Standing("ann", muted_until=9),
            (Standing("cy", "member", 6), True, 2),
            "ok",
            (Standing("bob", banned_until=99, knew=True), True, 1, Standing("cy", "owner", 6)),
            (Standing("ann", "member", 8, muted_until=9), True, 2),
        ]
        _, members = await whole_room(node.server, room)
        assert members == [Standing("cy", "owner", 6), Standing("ann", "member", 8, muted_until=9)]

    async def test_what_changes_nothing_writes_nothing(self, mongo_uri: str) -> None:
        commands = Commands()
        async with node_at(mongo_uri, listeners=[commands]) as node:
            room = await new_room(node, member("ann", "owner"), member("bob"))
            commands.names.clear()
            await node.members.join(room.uid, person("bob"), at=9)
            await node.members.set_role(room.uid, "bob", "member")
            await node.members.leave(room.uid, "zoe")
            await node.members.mute(room.uid, "zoe", until=0)
            await mark_read(node.server, room.uid, "bob", 7, now=NOW_MS)
            assert {*commands.names} <= {"find", "aggregate"}

    async def test_text_that_is_none_fails_alone(self, node: Node) -> None:
        room = await new_room(node)
        codes = await asyncio.gather(
            code_of(node.members.join(room.uid, person("bob"), at=5)),
            code_of(node.members.join(room.uid, Person("cy", "\ud800"), at=5)),
            code_of(node.members.mute(room.uid, "\udfff", until=5)),
            code_of(node.members.join(room.uid, person("dee"), at=5)),
        )
        assert [*codes] == ["ok", "bad_request", "bad_request", "ok"]

    async def test_whoever_went_away_before_is_not_joined(self, node: Node) -> None:
        room = await new_room(node)
        first = asyncio.create_task(node.members.join(room.uid, person("bob"), at=5))
        gone = asyncio.create_task(node.members.join(room.uid, person("cy"), at=5))
        await asyncio.sleep(0)
        gone.cancel()
        await first
        assert [standing.user for standing in (await whole_room(node.server, room))[1]] == ["ann", "bob"]

    async def test_a_store_that_is_closed_takes_nothing_and_finishes_what_it_took(self, node: Node) -> None:
        room = await new_room(node)
        task = asyncio.create_task(node.members.join(room.uid, person("bob"), at=5))
        await asyncio.sleep(0)
        await node.members.close()
        assert (await task)[1]
        assert await code_of(node.members.join(room.uid, person("cy"), at=5)) == "unavailable"

    async def test_too_many_that_wait_are_refused(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mongo_membership, "WAITING_MOST", 3)
        room = await new_room(node)
        codes = await asyncio.gather(*(code_of(node.members.mute(room.uid, f"u{n}", until=5)) for n in range(5)))
        assert [*codes] == ["ok", "ok", "ok", "unavailable", "unavailable"]
        assert await code_of(node.members.mute(room.uid, "zoe", until=5)) == "ok"

    async def test_batches_have_an_end(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mongo_membership, "BATCH_MOST", 3)
        room = await new_room(node)
        await asyncio.gather(*(node.members.join(room.uid, person(f"u{n}"), at=5) for n in range(10)))
        assert (await whole_room(node.server, room))[0].room.members == 11


class TestTwoNodes:
    async def test_a_room_takes_as_many_as_fit(self, node: Node, other: Node) -> None:
        room = await new_room(node, capacity=20)
        joins = [each.members.join(room.uid, person(f"u{n}"), at=5) for n in range(30) for each in (node, other)]
        outcomes = await asyncio.gather(*joins, return_exceptions=True)
        taken = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, HubbubError)]
        assert sum(is_new for _, is_new, _ in taken) == 19
        assert {error.code for error in refused} == {"room_full"}
        assert (await whole_room(node.server, room))[0].room.members == 20

    async def test_a_capacity_and_a_crowd_are_decided_one_after_the_other(self, node: Node, other: Node) -> None:
        room = await new_room(node)
        crowd = [node.members.join(room.uid, person(f"u{n}"), at=5) for n in range(20)]
        shrinking = [
            update_room(other.server, room.uid, values={"capacity": most}, at=NOW_MS) for most in range(20, 1, -1)
        ]
        await asyncio.gather(*crowd, *shrinking, return_exceptions=True)
        await whole_room(node.server, room)

    @pytest.mark.parametrize("seed", range(3))
    async def test_whatever_they_do_the_room_is_whole(self, node: Node, other: Node, seed: int) -> None:
        room = await new_room(node, capacity=6)
        users = [f"u{n}" for n in range(9)]
        came: list[int] = [1]

        codes: set[str] = set()

        async def act(node: Node, dice: random.Random) -> None:
            user, do = dice.choice(users), node.members
            match dice.randrange(6):
                case 0 | 1 | 2:
                    came.append(int((await do.join(room.uid, person(user), at=dice.randrange(1, 9)))[1]))
                case 3:
                    came.append(-int((await do.leave(room.uid, user)).ended in MEMBER_ROLES))
                case 4:
                    came.append(-int((await do.ban(room.uid, user, until=dice.choice([0, 1])))[1]))
                case _:
                    await do.set_role(room.uid, user, dice.choice(["owner", "moderator", "member"]))

        async def client(node: Node, seed: int) -> None:
            dice = random.Random(seed)
            for _ in range(12):
                codes.add(await code_of(act(node, dice)))

        await asyncio.gather(*(client(each, seed * 100 + n) for n in range(6) for each in (node, other)))
        view, _ = await whole_room(node.server, room)
        assert view.room.members == sum(came)
        assert codes <= {"ok", "room_full", "not_found", "conflict", "banned"}
        assert "pending" not in await node.settled(room.uid)

    async def test_a_room_that_changes_too_fast_is_unavailable(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo_membership, "TRIES_MOST", 2)
        room = await new_room(node)
        rooms = node.server.rooms

        class Raced:
            """The room's document moves on between each reading and each update."""

            async def find_one(self, *args: object) -> object:
                found = await rooms.find_one(*args)
                await rooms.update_one({"uid": room.uid}, {"$inc": {"v": 1}})
                return found

            update_one = staticmethod(rooms.update_one)

        monkeypatch.setattr(node.server, "rooms", Raced())
        with pytest.raises(HubbubError) as refused:
            await node.members.join(room.uid, person("bob"), at=5)
        assert (refused.value.code, refused.value.retry_after) == ("unavailable", 1)

    async def test_a_room_that_is_deleted_meanwhile_is_not_found(self, node: Node, other: Node) -> None:
        room = await new_room(node)
        joins = [code_of(node.members.join(room.uid, person(f"u{n}"), at=5)) for n in range(20)]
        *codes, _ = await asyncio.gather(*joins, delete_room(other.server, room.uid, at=NOW_MS))
        assert {*codes} <= {"ok", "not_found"}
        assert await code_of(node.members.join(room.uid, person("zoe"), at=5)) == "not_found"
        assert await read_standing(node.server, room.uid, "u0", now=LATER_MS) is None


CLIENT = """
import asyncio, random, sys
from hubbub.errors import HubbubError
from hubbub.history.base import Person
from hubbub.history.mongo import MongoHistory

async def main(uri, uid, name):
    history = MongoHistory(uri)
    await history.open()

    async def client(user):
        joins = True
        while True:
            print("begins", user, "join" if joins else "leave", flush=True)
            try:
                if joins:
                    await history.join(uid, Person(user, user), at=5)
                else:
                    await history.leave(uid, user)
            except HubbubError as error:
                print("refused", user, error.code, flush=True)
                continue
            print("did", user, "join" if joins else "leave", flush=True)
            joins = not joins
            await asyncio.sleep(random.random() / 100)

    await asyncio.gather(*(client(f"{name}{number}") for number in range(4)))

asyncio.run(main(*sys.argv[1:]))
"""


class TestProcesses:
    async def test_nodes_that_are_killed_leave_a_whole_room(self, mongo_uri: str, node: Node) -> None:
        """What was acknowledged stands; what was only begun may stand or not."""
        room = await new_room(node, capacity=7)
        for round in range(2):
            processes: dict[str, subprocess.Popen[str]] = {}
            stands: dict[str, set[str]] = {}
            with ExitStack() as stack:
                for name in (f"a{round}-", f"b{round}-"):
                    processes[name] = stack.enter_context(child(CLIENT, mongo_uri, room.uid, name))
                await asyncio.gather(*(asyncio.to_thread(follow, each, stands, 120) for each in processes.values()))
            # What was sent before the kill may arrive after it; behind another change it comes too late to be decided.
            await node.members.mute(room.uid, "fence", until=round + 1)
            _, members = await whole_room(node.server, room)
            present = {standing.user for standing in members}
            assert len(stands) == 8
            for user, may in stands.items():
                assert ("join" if user in present else "leave") in may, user
            for user in stands:
                await node.members.leave(room.uid, user)
            assert [standing.user for standing in (await whole_room(node.server, room))[1]] == ["ann"]


def follow(process: subprocess.Popen[str], stands: dict[str, set[str]], lines: int) -> None:
    """Read so many lines of a client's, kill it, and read the rest; what may stand for each of its users then."""
    assert process.stdout is not None
    for number, line in enumerate(process.stdout):
        if number == lines:
            process.kill()
        if not line.endswith("\n"):
            break  # It was killed in the middle of the line, and nobody was told.
        did, user, what = line.split()
        may = stands.setdefault(user, {"leave"})
        if did == "begins":
            may.add(what)
        elif did == "did":
            stands[user] = {what}
        elif what == "room_full":
            stands[user] = {"leave"}


class TestCuts:
    """The node dies at any of its writes, before or after it reached the store; another one finds a whole room."""

    @pytest.mark.parametrize("happens", [True, False])
    async def test_changes(self, mongo_uri: str, node: Node, happens: bool) -> None:
        falls = True
        after = 0
        while falls:
            room = await new_room(node, member("ann", "owner"), member("bob"), member("mod", "moderator"), capacity=4)
            async with node_at(mongo_uri) as dying:
                cut = Cut(after, happens=happens)
                cut_server(dying.server, cut)
                do = dying.members
                acked = {
                    "join": await code_of(do.join(room.uid, person("cy"), at=5)),
                    "leave": await code_of(do.leave(room.uid, "ann")),
                    "ban": await code_of(do.ban(room.uid, "bob", until=99)),
                    "invite": await code_of(do.invite(room.uid, person("dee"), at=5)),
                }
                falls = cut.fell
            assert set(acked.values()) <= {"ok", "unavailable"}
            _, members = await whole_room(node.server, room)
            stand = {standing.user: standing for standing in members}
            if acked["join"] == "ok":
                assert "cy" in stand
            if acked["leave"] == "ok":
                assert "ann" not in stand
                assert stand["mod"].role == "owner"
            if acked["ban"] == "ok":
                assert "bob" not in stand
            # Whoever was not told asks again, of the node that is left, and the room goes on as if nothing had been.
            await node.members.join(room.uid, person("cy"), at=6)
            await node.members.leave(room.uid, "ann")
            await node.members.ban(room.uid, "bob", until=99)
            _, members = await whole_room(node.server, room)
            assert {standing.user: standing.role for standing in members} == {"mod": "owner", "cy": "member"}
            after += 1
        assert after > 8

    async def test_a_node_that_was_slow_brings_nothing_back(self, node: Node, other: Node) -> None:
        """It decided, stopped before writing, and goes on when others have finished its change and made their own."""
        room = await new_room(node)
        slow, go_on = asyncio.Event(), asyncio.Event()
        standings = node.server.standings

        class Slow:
            async def bulk_write(self, *args: object, **kwargs: object) -> None:
                slow.set()
                await go_on.wait()
                await standings.bulk_write(*args, **kwargs)  # type: ignore[arg-type] # As they came.

            find = staticmethod(standings.find)

        node.server.standings = Slow()  # type: ignore[assignment] # As much of it as is used.
        joining = asyncio.create_task(node.members.join(room.uid, person("bob"), at=5))
        await slow.wait()
        assert await other.members.leave(room.uid, "bob") == Left(1, "member")
        go_on.set()
        assert (await joining)[1]
        assert await read_standing(other.server, room.uid, "bob", now=LATER_MS) is None
        await whole_room(other.server, room)
