"""Which records a change of a room leaves in the control log, and what is read for those who apply them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, History, Person, Room, Standing
from tests.support.control_log import records_after, said_after
from tests.support.history import deleting, editing, make_room, member, new_room, say
from tests.support.stores import Stores

Reopen = Callable[[], Awaitable[History]]
Do = Callable[[History, str], Awaitable[object]]

NOW_MS: Final = 1000


def refusal(code: str) -> pytest.RaisesExc[HubbubError]:
    return pytest.RaisesExc(HubbubError, check=lambda error: error.code == code)


def stood(user: str, why: str, was: str | None, role: str | None, text: str = "") -> dict[str, Any]:
    return {"kind": "standing", "user": user, "why": why, "was": was, "role": role, "text": text}


@dataclass(frozen=True)
class Case:
    """What is done to the room of `a_room`, and what it leaves in the log; `first` is done before."""

    what: str
    do: Do
    said: tuple[dict[str, Any], ...] = ()
    first: Do | None = None
    code: str = ""


async def a_room(history: History) -> Room:
    """Full but for one: Ann owns it, Mo moderates, Bob is a member, Inv is invited; Eve is banned and Mia is muted."""
    room = await new_room(
        history,
        member("ann", "owner", at=1),
        member("bob", at=2),
        member("mo", "moderator", at=3),
        member("inv", "invited"),
        capacity=4,
    )
    await history.ban(room.uid, "eve", until=FOREVER)
    await history.mute(room.uid, "mia", until=FOREVER)
    return room


async def everybody_leaves(history: History, uid: str) -> None:
    for user in ("bob", "mo", "ann"):
        await history.leave(uid, user)


def joining(user: str, **options: Any) -> Do:
    return lambda history, uid: history.join(uid, Person(user, user.title()), at=NOW_MS, **options)


def inviting(user: str) -> Do:
    return lambda history, uid: history.invite(uid, Person(user, user.title()), at=NOW_MS)


def leaving(user: str, **options: Any) -> Do:
    return lambda history, uid: history.leave(uid, user, **options)


def role(user: str, role: Any) -> Do:
    return lambda history, uid: history.set_role(uid, user, role)


def muting(user: str, until: int = FOREVER) -> Do:
    return lambda history, uid: history.mute(uid, user, until=until)


def banning(user: str, until: int = FOREVER, **options: Any) -> Do:
    return lambda history, uid: history.ban(uid, user, until=until, **options)


def updating(**values: Any) -> Do:
    return lambda history, uid: history.update_room(uid, **values)


CASES: Final = [
    Case("a user joins", joining("zoe"), (stood("zoe", "joined", None, "member"),)),
    Case("one joins as a moderator", joining("zoe", role="moderator"), (stood("zoe", "joined", None, "moderator"),)),
    Case("one who was invited joins", joining("inv", need_invite=True), (stood("inv", "joined", "invited", "member"),)),
    Case("one who is muted joins", joining("mia"), (stood("mia", "joined", None, "member"),)),
    Case("a member joins", joining("bob")),
    Case("one who is banned joins", joining("eve"), code="banned"),
    Case("one who is not invited joins", joining("zoe", need_invite=True), code="not_found"),
    Case("one joins a full room", joining("zoe"), first=joining("yan"), code="room_full"),
    Case(
        "one joins a room that everybody left",
        joining("zoe"),
        (stood("zoe", "joined", None, "owner"),),
        first=everybody_leaves,
    ),
    Case("a member leaves", leaving("bob"), (stood("bob", "left", "member", None),)),
    Case(
        "a member is kicked",
        leaving("bob", kicked=True, text="Späm"),
        (stood("bob", "kicked", "member", None, "Späm"),),
    ),
    Case("one who was invited declines", leaving("inv"), (stood("inv", "left", "invited", None),)),
    Case("an invitation is taken back", leaving("inv", kicked=True), (stood("inv", "kicked", "invited", None),)),
    Case("a stranger leaves", leaving("zoe")),
    Case("one who is muted leaves", leaving("mia")),
    Case("one who is banned is kicked", leaving("eve", kicked=True, text="again")),
    Case(
        "the last owner leaves, and a moderator is next",
        leaving("ann"),
        (stood("ann", "left", "owner", None), stood("mo", "heir", "moderator", "owner")),
    ),
    Case(
        "the last owner leaves, and a member is next",
        leaving("ann"),
        (stood("ann", "left", "owner", None), stood("bob", "heir", "member", "owner")),
        first=leaving("mo"),
    ),
    Case("an owner of two leaves", leaving("ann"), (stood("ann", "left", "owner", None),), first=role("bob", "owner")),
    Case("one is invited", inviting("zoe"), (stood("zoe", "invited", None, "invited"),)),
    Case("one who is muted is invited", inviting("mia"), (stood("mia", "invited", None, "invited"),)),
    Case("a member is invited", inviting("bob")),
    Case("one is invited again", inviting("inv")),
    Case("one who is banned is invited", inviting("eve"), code="conflict"),
    Case("a role rises", role("bob", "moderator"), (stood("bob", "role", "member", "moderator"),)),
    Case("a role falls", role("mo", "member"), (stood("mo", "role", "moderator", "member"),)),
    Case("a role stays", role("mo", "moderator")),
    Case("the only owner gives up the role", role("ann", "member"), code="conflict"),
    Case("one who is invited gets a role", role("inv", "member"), code="not_found"),
    Case("a member is muted", muting("bob"), (stood("bob", "muted", "member", "member"),)),
    Case("a stranger is muted", muting("zoe"), (stood("zoe", "muted", None, None),)),
    Case("a mute has another end", muting("mia", 9999), (stood("mia", "muted", None, None),)),
    Case("a mute ends", muting("mia", 0), (stood("mia", "muted", None, None),)),
    Case("a mute is repeated", muting("mia")),
    Case("a mute that is none ends", muting("bob", 0)),
    Case("a member is banned", banning("bob", text="Öff"), (stood("bob", "banned", "member", None, "Öff"),)),
    Case("one who was invited is banned", banning("inv"), (stood("inv", "banned", "invited", None),)),
    Case("a stranger is banned", banning("zoe"), (stood("zoe", "banned", None, None),)),
    Case("a ban has another end", banning("eve", 9999, text="soon"), (stood("eve", "banned", None, None, "soon"),)),
    Case("a ban is repeated", banning("eve", text="again")),
    Case("a ban is lifted", banning("eve", 0, text="peace"), (stood("eve", "unbanned", None, None, "peace"),)),
    Case("a ban that is none is lifted", banning("bob", 0)),
    Case("a stranger's ban that is none is lifted", banning("zoe", 0)),
    Case(
        "the last owner is banned",
        banning("ann"),
        (stood("ann", "banned", "owner", None), stood("mo", "heir", "moderator", "owner")),
    ),
    Case("a title changes", updating(title="New"), ({"kind": "room"},)),
    Case("a topic changes", updating(topic="New"), ({"kind": "room"},)),
    Case("a capacity changes", updating(capacity=3), ({"kind": "room"},)),
    Case("the slow mode changes", updating(slow_mode_s=5), ({"kind": "room"},)),
    Case("all of them change at once", updating(title="A", topic="B", capacity=9, slow_mode_s=1), ({"kind": "room"},)),
    Case("a room is given what it has", updating(title="", topic="", capacity=4, slow_mode_s=0)),
    Case("a room is given nothing", updating()),
    Case("a capacity is too low", updating(title="New", capacity=2), code="conflict"),
    Case("a member reads", lambda history, uid: history.mark_read(uid, "bob", 1)),
    Case("a person is remembered", lambda history, uid: history.remember(Person("bob", "Robert"), at=NOW_MS)),
    Case("something is said", lambda history, uid: say(history, uid, "hello")),
    Case("text is refused with a kick", leaving("bob", kicked=True, text="\ud800"), code="bad_request"),
    Case("text is refused with a ban", banning("bob", text="\ud800"), code="bad_request"),
    Case(
        "a name is refused",
        lambda history, uid: history.join(uid, Person("zoe", "\ud800"), at=NOW_MS),
        code="bad_request",
    ),
]


async def state(history: History, uid: str) -> list[Standing | None]:
    users = ("ann", "bob", "mo", "inv", "eve", "mia", "zoe", "yan")
    return [await history.standing(uid, user) for user in users]


class TestChanges:
    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
    async def test_each_leaves_what_it_says_and_nothing_else(self, history: History, case: Case) -> None:
        room = await a_room(history)
        if case.first is not None:
            await case.first(history, room.uid)
        head, before = await history.ledger.head(), await state(history, room.uid)
        if case.code:
            with refusal(case.code):
                await case.do(history, room.uid)
            assert await state(history, room.uid) == before
        else:
            await case.do(history, room.uid)
        expected = [{**said, "room": room.uid} for said in case.said]
        assert await said_after(history, head) == sorted(expected, key=lambda one: one.get("user", ""))

    @pytest.mark.parametrize(
        "case", [case for case in CASES if case.said and case.first is None], ids=lambda case: case.what
    )
    async def test_no_room_that_is_gone_leaves_any(self, history: History, case: Case) -> None:
        room = await a_room(history)
        await history.delete_room(room.uid)
        head = await history.ledger.head()
        with suppress(HubbubError):
            await case.do(history, room.uid)
        assert await history.ledger.head() == head

    async def test_a_room_is_made_with_a_record_for_each_who_has_a_role(self, history: History) -> None:
        room = make_room("private")
        muted = (Standing("mia", muted_until=FOREVER), Person("mia", "Mia"))
        members = [member("zoe", "owner"), member("änn"), member("inv", "invited"), muted]
        await history.create_room(room, members)
        assert await said_after(history, 0) == [
            {**stood(user, "created", None, role), "room": room.uid}
            for user, role in (("inv", "invited"), ("zoe", "owner"), ("änn", "member"))
        ]
        with refusal("conflict"):
            await history.create_room(make_room(id=room.id), members)
        assert await history.ledger.head() == 3

    async def test_a_room_of_nobody_leaves_none(self, history: History) -> None:
        await history.create_room(make_room(), [])
        assert await history.ledger.head() == 0

    async def test_a_deletion_is_said_once(self, history: History) -> None:
        room, other = await a_room(history), await new_room(history)
        head = await history.ledger.head()
        assert await history.delete_room(room.uid)
        assert not await history.delete_room(room.uid)
        assert not await history.delete_room("nowhere")
        assert await said_after(history, head) == [{"kind": "deleted", "room": room.uid, "id": room.id}]
        assert await history.room(other.id) == other

    async def test_records_have_an_origin_a_time_and_keys_of_their_own(self, history: History) -> None:
        room = await a_room(history)
        await history.update_room(room.uid, title="New")
        await history.delete_room(room.uid)
        records = await records_after(history.ledger, 0)
        assert {record.origin for record in records} == {history.ledger.origin}
        assert len({record.key for record in records}) == len(records)
        times = [record.at for record in records]
        assert min(times) > 1_600_000_000_000  # The store's clock, not what the change was said to be of.
        assert max(times) - min(times) < 600_000

    async def test_they_are_there_after_a_restart(self, history: History, reopen: Reopen) -> None:
        room = await a_room(history)
        await history.leave(room.uid, "ann")
        before = await records_after(history.ledger, 0)
        history = await reopen()
        await history.ledger.mend()
        assert await records_after(history.ledger, 0) == before


class TestCrowds:
    async def test_of_many_who_join_at_once_each_has_one_record(self, stores: Stores, history: History) -> None:
        room = await new_room(history, capacity=20)
        head = await history.ledger.head()
        async with stores.another() as other:
            outcomes = await asyncio.gather(
                *(
                    node.join(room.uid, Person(f"u{number:02}", "U"), at=NOW_MS)
                    for number in range(15)
                    for node in (history, other)
                ),
                return_exceptions=True,
            )
        new = sorted(outcome[0].user for outcome in outcomes if not isinstance(outcome, BaseException) and outcome[1])
        assert len(new) == 15
        said = await said_after(history, head)
        assert [one["user"] for one in said] == new
        assert {(one["why"], one["role"]) for one in said} == {("joined", "member")}

    async def test_of_those_who_find_it_full_none_has_a_record(self, stores: Stores, history: History) -> None:
        room = await new_room(history, capacity=6)
        head = await history.ledger.head()
        async with stores.another() as other:
            joins = [
                node.join(room.uid, Person(f"{name}{number}", "U"), at=NOW_MS)
                for number in range(8)
                for name, node in (("a", history), ("b", other))
            ]
            outcomes = await asyncio.gather(*joins, return_exceptions=True)
        new = sorted(outcome[0].user for outcome in outcomes if not isinstance(outcome, BaseException))
        assert len(new) == 5
        assert [one["user"] for one in await said_after(history, head)] == new

    async def test_the_records_tell_how_each_came_to_stand(self, stores: Stores, history: History) -> None:
        """Of each user the roles before and after follow upon each other, and the last is how they stand."""
        room = await new_room(history, capacity=100)
        users = [f"u{number}" for number in range(6)]

        async def wander(node: History, user: str) -> None:
            for _ in range(3):
                await node.join(room.uid, Person(user, "U"), at=NOW_MS)
                await node.set_role(room.uid, user, "moderator")
                await node.leave(room.uid, user, kicked=True)
            await node.invite(room.uid, Person(user, "U"), at=NOW_MS)

        async with stores.another() as other:
            nodes = [history, other] * 3
            await asyncio.gather(*(wander(node, user) for node, user in zip(nodes, users, strict=True)))
        roles: dict[str, Any] = {}
        for record in await records_after(history.ledger, 0):
            user = record.data["user"]
            assert record.data["was"] == roles.get(user), record
            roles[user] = record.data["role"]
        assert roles == {"ann": "owner", **dict.fromkeys(users, "invited")}


class TestLookingUp:
    async def test_rooms_are_found_by_their_uids(self, history: History) -> None:
        one, two, gone = (
            await new_room(history, title="Öne"),
            await new_room(history, kind="private"),
            await a_room(history),
        )
        await say(history, two.uid, "hello")
        await history.delete_room(gone.uid)
        found = await history.rooms_at([two.uid, gone.uid, one.uid, "nowhere", one.uid])
        assert {uid: replace(room, head=0) for uid, room in found.items()} == {one.uid: one, two.uid: two}
        assert await history.rooms_at([]) == {}

    async def test_standings_are_found_by_pairs(self, history: History) -> None:
        one, two = await a_room(history), await a_room(history)
        await history.leave(two.uid, "bob")
        gone = await a_room(history)
        await history.delete_room(gone.uid)
        users = ("ann", "bob", "mo", "inv", "eve", "mia", "zoe")
        pairs = [(uid, user) for uid in (one.uid, two.uid, gone.uid, "nowhere") for user in users]
        expected = {pair: standing for pair in pairs if (standing := await history.standing(*pair)) is not None}
        assert len(expected) == 11
        assert await history.standings_at([*pairs, *pairs[:3]]) == expected
        assert await history.standings_at([(one.uid, "bob")]) == {
            (one.uid, "bob"): await history.standing(one.uid, "bob")
        }
        assert await history.standings_at([]) == {}

    async def test_a_change_is_found_by_whoever_reads_its_record(self, stores: Stores, history: History) -> None:
        """A record says what to look at; so what it is of must be there to be seen, at another node too."""
        room = await a_room(history)
        async with stores.another() as other:
            seen = await other.ledger.head()
            pending = asyncio.ensure_future(history.join(room.uid, Person("zoe", "Zoe"), at=NOW_MS))
            while not (records := await other.ledger.read(after=seen, limit=9)):
                await asyncio.sleep(0)  # Each look is a read of the store: it takes its time.
            assert [record.data["user"] for record in records] == ["zoe"]
            standing = (await other.standings_at([(room.uid, "zoe")]))[room.uid, "zoe"]
            assert standing.role == "member"
            await pending

    async def test_what_a_sender_has_said_is_found_from_the_newest_back(self, history: History) -> None:
        room = await new_room(history)
        other = await new_room(history)
        await say(history, other.uid, *"xyz", sender="bob")
        for number in range(12):
            await say(history, room.uid, "hello", sender="bob" if number % 2 else "ann")  # Bob has the even seqs.
        await history.commit([deleting(room.uid, 6), editing(room.uid, 8, "new"), deleting(room.uid, 12)])
        for below, limit, expected in (
            (2**53 - 1, 9, [10, 8, 4, 2]),
            (2**53 - 1, 2, [10, 8]),
            (10, 2, [8, 4]),
            (8, 1, [4]),
            (4, 9, [2]),
            (2, 9, []),
            (0, 9, []),
        ):
            assert list(await history.seqs_of(room.uid, "bob", below=below, limit=limit)) == expected, (below, limit)
        assert list(await history.seqs_of(room.uid, "zoe", below=99, limit=9)) == []
        assert list(await history.seqs_of("nowhere", "bob", below=99, limit=9)) == []

    async def test_what_retention_has_emptied_is_not_among_it(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"abcdef")
        while await history.expire(before=None, keep=2):
            pass
        assert list(await history.seqs_of(room.uid, "ann", below=99, limit=9)) == [6, 5]

    async def test_text_that_is_not_unicode_is_refused(self, history: History) -> None:
        room = await new_room(history)
        for call in (
            history.rooms_at(["\ud800"]),
            history.standings_at([(room.uid, "\ud800")]),
            history.seqs_of(room.uid, "\ud800", below=9, limit=9),
        ):
            with refusal("bad_request"):
                await call
