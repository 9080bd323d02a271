"""Rooms and members while commands fail: what is repeated as a client would repeat it ends as it would have without."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, History, Person, Room
from tests.support.control_log import records_after
from tests.support.failover import NO_RETRIES, at_each_command, behind, insist_on, opened
from tests.support.history import AMPLE_BYTES, draft, make_room, member, say
from tests.support.ledger import Ledger, insist
from tests.support.mongo_proxy import Rule, running_proxy

HARDEST: Final = ("cut before", "cut after", "concern timed out", "concern timed out, rolled back")
"""The faults that differ for the one who asked, where the driver does not try again."""

STRIDE: Final = 6
"""A session is eighty commands: every sixth of them meets its fault, another sixth each time; with `--full`, each."""


@pytest.fixture
async def truth(mongo_uri: str) -> AsyncIterator[History]:
    """The store, past the proxy."""
    async with opened(mongo_uri) as history:
        yield history


async def live(history: History, room: Room) -> None:
    """All that can be done to a room, each step until it has an answer."""
    uid = room.uid
    made = await insist_on(lambda: history.create_room(room, [member("ann", "owner"), member("bob", at=2)]))
    assert not isinstance(made, HubbubError) or made.code == "conflict"  # It was made, and the answer was lost.
    await insist_on(lambda: history.join(uid, Person("eve", "Eve"), at=3))
    await insist_on(lambda: history.invite(uid, Person("dan", "Dan"), at=4))
    await insist_on(lambda: history.join(uid, Person("dan", "Dan"), at=5, need_invite=True))
    await insist_on(lambda: history.set_role(uid, "bob", "moderator"))
    await insist_on(lambda: history.mute(uid, "eve", until=FOREVER))
    await insist_on(lambda: history.ban(uid, "dan", until=FOREVER))
    ledger = Ledger(uid)
    await insist(history, [draft(uid, "a"), draft(uid, "b")], ledger)
    await insist_on(lambda: history.mark_read(uid, "bob", 1))
    await insist_on(lambda: history.leave(uid, "ann"))
    await insist_on(lambda: history.update_room(uid, title="Later", capacity=3))
    await insist_on(lambda: history.join(uid, Person("fay", "Fay"), at=6))
    full = await insist_on(lambda: history.join(uid, Person("gil", "Gil"), at=7))
    assert isinstance(full, HubbubError)
    assert full.code == "room_full"


SAID: Final = Counter(
    [
        ("standing", "ann", "created", None, "owner"),
        ("standing", "bob", "created", None, "member"),
        ("standing", "eve", "joined", None, "member"),
        ("standing", "dan", "invited", None, "invited"),
        ("standing", "dan", "joined", "invited", "member"),
        ("standing", "bob", "role", "member", "moderator"),
        ("standing", "eve", "muted", "member", "member"),
        ("standing", "dan", "banned", "member", None),
        ("standing", "ann", "left", "owner", None),
        ("standing", "bob", "heir", "moderator", "owner"),
        ("room",),
        ("standing", "fay", "joined", None, "member"),
    ]
)
"""What the control log says of a room that had all of this done to it, each once."""


async def said_of(truth: History, uid: str) -> Counter[tuple[str | None, ...]]:
    """What the control log says of a room, past whatever was said of others meanwhile."""
    records = [record for record in await records_after(truth.ledger, 0) if record.data["room"] == uid]
    return Counter(
        (record.kind, *(record.data[name] for name in ("user", "why", "was", "role") if name in record.data))
        for record in records
    )


async def check(truth: History, room: Room) -> None:
    """Exactly what was asked for is there, and the counts agree with it; and the log says so, once."""
    uid = room.uid
    assert await said_of(truth, uid) == SAID
    found = await truth.room(room.id)
    assert found is not None
    assert (found.uid, found.title, found.capacity, found.members, found.head) == (uid, "Later", 3, 3, 2)
    members = await truth.members(uid, limit=10, cursor=None)
    assert [(standing.user, standing.role) for standing, _ in members.members] == [
        ("bob", "owner"),
        ("eve", "member"),
        ("fay", "member"),
    ]
    bob, eve, dan = [await truth.standing(uid, user) for user in ("bob", "eve", "dan")]
    assert bob is not None
    assert bob.read_seq >= 1
    assert eve is not None
    assert eve.muted_until == FOREVER
    assert dan is not None
    assert (dan.role, dan.banned_until, dan.knew) == (None, FOREVER, True)
    assert await truth.standing(uid, "ann") is None
    with pytest.raises(HubbubError) as caught:
        await truth.join(uid, Person("gil", "Gil"), at=8)
    assert caught.value.code == "room_full"


class TestRooms:
    @pytest.mark.parametrize("fault", HARDEST)
    async def test_a_fault_at_any_command_changes_nothing_in_the_end(
        self, mongo_uri: str, truth: History, fault: str, pytestconfig: pytest.Config
    ) -> None:
        stride = 1 if pytestconfig.getoption("--full") else STRIDE

        async def session(rule: Rule) -> None:
            room = make_room(title="First")
            async with running_proxy(mongo_uri) as proxy, behind(proxy, mongo_uri, NO_RETRIES) as history:
                proxy.rules.append(rule)
                await live(history, room)
            await check(truth, room)

        await at_each_command(fault, session, stride=stride)

    @pytest.mark.parametrize("fault", HARDEST)
    async def test_a_deleted_room_is_gone_whatever_failed(self, mongo_uri: str, truth: History, fault: str) -> None:
        async def session(rule: Rule) -> None:
            room = await truth.create_room(make_room(), [member("ann", "owner"), member("bob")])
            await say(truth, room.uid, "a", "b")
            async with running_proxy(mongo_uri) as proxy, behind(proxy, mongo_uri, NO_RETRIES) as history:
                proxy.rules.append(rule)
                await insist_on(lambda: history.delete_room(room.uid))
            assert await truth.room(room.id) is None
            said = await said_of(truth, room.uid)
            assert said["deleted",] == 1
            assert said.total() == 3, said
            assert await truth.view(room.uid, "ann") is None
            assert room.uid not in await truth.standings_of("bob")
            for read in (truth.head(room.uid), truth.page(room.uid, limit=1, max_bytes=AMPLE_BYTES)):
                with pytest.raises(HubbubError) as caught:
                    await read
                assert caught.value.code == "not_found"
            again = await truth.create_room(make_room(id=room.id), [member("eve", "owner")])
            assert (await truth.members(again.uid, limit=9, cursor=None)).members[0][0].user == "eve"

        await at_each_command(fault, session)
