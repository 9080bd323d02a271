"""What every history promises: rooms, standings and people (`hubbub.history.base`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, History, Left, Person, Room, Standing
from hubbub.history.unread import WALKED
from tests.support.history import AMPLE_BYTES, deleting, draft, member, new_room, say, written

Reopen = Callable[[], Awaitable[History]]


def refusal(code: str) -> pytest.RaisesExc[HubbubError]:
    return pytest.RaisesExc(HubbubError, check=lambda error: error.code == code)


async def listed(
    history: History, user: str, *, mine: bool = False, everything: bool = False, query: str | None = None
) -> list[str]:
    page = await history.rooms(user=user, query=query, mine=mine, everything=everything, limit=100, cursor=None)
    return [view.room.id for view in page.rooms]


class TestRooms:
    async def test_a_room_comes_back_as_it_was_made(self, history: History) -> None:
        room = Room("u1", "general", "private", "Tïtle", "Töpic", 7, 3, 42)
        made = await history.create_room(room, [member("ann", "owner", at=42), member("bob", "invited")])
        assert made == replace(room, head=0, members=1)
        assert await history.room("general") == made
        assert await history.room("other") is None

    async def test_an_id_is_taken_once(self, history: History) -> None:
        await new_room(history, id="general")
        with refusal("conflict"):
            await new_room(history, id="general")
        assert await listed(history, "ann") == ["general"]

    async def test_of_two_at_once_one_makes_the_room(self, history: History) -> None:
        made = await asyncio.gather(*(new_room(history, id="general") for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(room, Room) for room in made) == 1

    async def test_only_what_is_given_is_changed(self, history: History) -> None:
        room = await new_room(history, title="Old")
        assert await history.update_room(room.uid, topic="T") == replace(room, topic="T")
        changed = await history.update_room(room.uid, title="", capacity=2, slow_mode_s=0)
        assert changed == replace(room, topic="T", title="", capacity=2)
        assert await history.room(room.id) == changed

    async def test_a_capacity_below_the_number_of_members_is_refused(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"), member("inv", "invited"))
        with refusal("conflict"):
            await history.update_room(room.uid, title="New", capacity=1)
        assert await history.room(room.id) == room
        assert (await history.update_room(room.uid, capacity=2)).capacity == 2
        with refusal("room_full"):
            await history.join(room.uid, Person("inv", "Inv"), at=5)

    async def test_a_changed_title_is_found(self, history: History) -> None:
        room = await new_room(history, title="Old")
        await history.update_room(room.uid, title="Nouvelle Évasion")
        assert await listed(history, "ann", query="ÉVAS") == [room.id]
        assert await listed(history, "ann", query="old") == []

    async def test_a_room_that_is_gone_is_not_found(self, history: History) -> None:
        with refusal("not_found"):
            await history.update_room("nowhere", title="x")
        assert await history.delete_room("nowhere") is False
        assert await history.view("nowhere", "ann") is None


class TestDeletion:
    async def test_a_deleted_room_is_gone_at_once(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, "hello")
        assert await history.delete_room(room.uid)
        assert not await history.delete_room(room.uid)
        assert await history.room(room.id) is None
        assert await history.message(room.uid, 1) is None
        assert await history.message_by_key(room.uid, "ann", "a") is None
        assert await history.view(room.uid, "ann") is None
        assert await history.standing(room.uid, "ann") is None
        assert await history.standings_of("ann") == {}
        assert await listed(history, "ann") == []
        assert (await history.commit([draft(room.uid, "b")]))[0].code == "not_found"  # type: ignore[union-attr]
        with refusal("not_found"):
            await history.page(room.uid, limit=1, max_bytes=AMPLE_BYTES)

    async def test_its_id_is_free_for_a_room_that_starts_anew(self, history: History, reopen: Reopen) -> None:
        old = await new_room(history, id="general")
        await say(history, old.uid, *"abc")
        await history.delete_room(old.uid)
        new = await new_room(history, id="general")
        (outcome,) = await history.commit([draft(new.uid, "a")])
        assert written(outcome).claimed == 1
        history = await reopen()
        found = await history.room("general")
        assert found is not None
        assert (found.uid, found.head) == (new.uid, 1)
        with refusal("not_found"):
            await history.head(old.uid)


class TestLists:
    async def test_who_may_know_which_room(self, history: History) -> None:
        await new_room(history, member("ann", "owner"), id="public")
        await new_room(history, member("ann", "owner"), id="secret", kind="private")
        await new_room(history, member("ann", "owner"), member("bob", "invited"), id="shared", kind="private")
        await new_room(history, member("ann", "owner"), member("eve", "owner"), id="d:1", kind="direct")
        assert await listed(history, "ann") == ["d:1", "public", "secret", "shared"]
        assert await listed(history, "bob") == ["public", "shared"]
        assert await listed(history, "bob", mine=True) == ["shared"]
        assert await listed(history, "zoe") == ["public"]
        assert await listed(history, "zoe", mine=True) == []
        assert await listed(history, "zoe", everything=True) == ["public", "secret", "shared"]
        assert await listed(history, "eve", everything=True) == ["d:1", "public", "secret", "shared"]

    async def test_a_ban_hides_private_rooms_only(self, history: History) -> None:
        public = await new_room(history, member("ann", "owner"), member("bob"))
        private = await new_room(history, member("ann", "owner"), member("bob"), kind="private")
        for room in (public, private):
            await history.ban(room.uid, "bob", until=FOREVER)
        assert await listed(history, "bob") == [public.id]
        assert await listed(history, "bob", mine=True) == []
        assert await listed(history, "bob", everything=True) == [public.id]
        await history.ban(private.uid, "bob", until=1)  # Over since 1970.
        assert private.id in await listed(history, "bob", everything=True)

    async def test_the_query_is_text_and_knows_no_case(self, history: History) -> None:
        await new_room(history, id="straße", title="100%_Ω")
        for query in ("STRASSE", "%_ω", "0%", "", None):
            assert await listed(history, "ann", query=query) == ["straße"], query
        for query in ("%0", "1_0", "'"):
            assert await listed(history, "ann", query=query) == [], query

    async def test_pages_ascend_by_id_without_gaps_or_repeats(self, history: History) -> None:
        ids = [f"r-{number:02}" for number in range(10)]
        for id in reversed(ids):
            await new_room(history, id=id)
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(4):
            page = await history.rooms(user="ann", query=None, mine=False, everything=False, limit=3, cursor=cursor)
            seen += [view.room.id for view in page.rooms]
            cursor = page.cursor
        assert seen == ids
        assert cursor is None

    async def test_forged_cursors_are_refused(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        members = (await history.members(room.uid, limit=1, cursor=None)).cursor
        for cursor in ("", "x", "*", "WyJyb29tcyIsMV0", "WyJyb29tcyIsIngiXQ==", members, "é", "A" * 5000):
            with refusal("bad_request"):
                await history.rooms(user="ann", query=None, mine=False, everything=False, limit=3, cursor=cursor)
        with refusal("bad_request"):
            await history.members(room.uid, limit=1, cursor="WyJyb29tcyIsIngiXQ")
        with refusal("bad_request"):  # ["members", 2^63, "a"]: more than an integer of the store.
            await history.members(room.uid, limit=1, cursor="WyJtZW1iZXJzIiw5MjIzMzcyMDM2ODU0Nzc1ODA4LCJhIl0")

    async def test_a_view_has_the_room_the_standing_and_what_is_unread(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        await say(history, room.uid, *"abcd")
        await say(history, room.uid, "e", sender="bob")
        await history.commit([deleting(room.uid, 2)])
        await history.mark_read(room.uid, "bob", 1)
        view = await history.view(room.uid, "bob")
        assert view is not None
        assert view.room == replace(room, head=6)
        assert view.standing == replace(member("bob")[0], read_seq=1)
        assert view.unread == 2
        stranger = await history.view(room.uid, "zoe")
        assert stranger is not None
        assert (stranger.standing, stranger.unread) == (None, 0)
        (listed_view,) = (
            await history.rooms(user="bob", query=None, mine=True, everything=False, limit=9, cursor=None)
        ).rooms
        assert listed_view == view

    async def test_unread_is_counted_up_to_a_thousand(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        await say(history, room.uid, *["x"] * 1001)
        assert await history.mark_read(room.uid, "bob", 1) == (1, 1000)
        assert await history.mark_read(room.uid, "bob", 2) == (2, 999)


class TestMembership:
    async def test_joining_makes_a_member_once(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"abc")
        await history.commit([deleting(room.uid, 1)])
        standing, is_new, count = await history.join(room.uid, Person("bob", "Bob"), at=5)
        assert (standing, is_new, count) == (Standing("bob", "member", 5, read_seq=3), True, 2)
        assert await history.join(room.uid, Person("bob", "Bob"), at=9, role="owner") == (standing, False, 2)
        assert await history.standing(room.uid, "bob") == standing
        assert await history.standings_of("bob") == {room.uid: standing}
        found = await history.room(room.id)
        assert found is not None
        assert found.members == 2

    async def test_a_full_room_takes_nobody(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"), capacity=2)
        with refusal("room_full"):
            await history.join(room.uid, Person("eve", "Eve"), at=5)
        assert (await history.join(room.uid, Person("bob", "Bob"), at=5))[1] is False
        await history.leave(room.uid, "bob")
        assert (await history.join(room.uid, Person("eve", "Eve"), at=5))[1] is True

    async def test_of_a_crowd_as_many_get_in_as_fit(self, history: History) -> None:
        room = await new_room(history, capacity=10)
        tries = [history.join(room.uid, Person(f"u{n}", "U"), at=5) for n in range(30)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 9
        assert len((await history.members(room.uid, limit=100, cursor=None)).members) == 10

    async def test_a_private_room_needs_an_invitation(self, history: History) -> None:
        room = await new_room(history, kind="private")
        with refusal("not_found"):
            await history.join(room.uid, Person("bob", "Bob"), at=5, need_invite=True)
        assert await history.invite(room.uid, Person("bob", "Bob"), at=5) == Standing("bob", "invited")
        assert await history.invite(room.uid, Person("bob", "Bob"), at=6) is None
        assert await history.standing(room.uid, "bob") == Standing("bob", "invited")
        standing, is_new, count = await history.join(room.uid, Person("bob", "Bob"), at=7, need_invite=True)
        assert (standing.role, standing.joined_at, is_new, count) == ("member", 7, True, 2)
        assert await history.invite(room.uid, Person("bob", "Bob"), at=8) is None

    async def test_an_invited_user_is_no_member(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob", "invited"))
        assert await history.member_ids(room.uid, ["ann", "bob", "zoe"]) == {"ann"}
        with refusal("not_found"):
            await history.mark_read(room.uid, "bob", 1)
        with refusal("not_found"):
            await history.set_role(room.uid, "bob", "moderator")
        assert await history.leave(room.uid, "bob") == Left(1, "invited")
        assert await history.standing(room.uid, "bob") is None

    async def test_leaving_ends_what_was_read(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        await say(history, room.uid, "a")
        await history.mark_read(room.uid, "bob", 1)
        assert await history.leave(room.uid, "bob") == Left(1, "member")
        assert await history.standing(room.uid, "bob") is None
        assert await history.leave(room.uid, "bob") == Left(1)
        assert await history.leave("nowhere", "bob") == Left(0)

    async def test_of_two_who_end_a_membership_one_did(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        outcomes = await asyncio.gather(*(history.leave(room.uid, "bob") for _ in range(4)))
        assert sorted(str(left.ended) for left in outcomes) == ["None", "None", "None", "member"]

    async def test_a_mute_survives_leaving_and_joining(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        assert (await history.mute(room.uid, "bob", until=99)).muted_until == 99
        muted = Standing("bob", muted_until=99)
        assert await history.leave(room.uid, "bob") == Left(1, "member", muted)
        assert await history.leave(room.uid, "bob") == Left(1, None, muted)
        assert await history.standing(room.uid, "bob") == muted
        assert await history.invite(room.uid, Person("bob", "Bob"), at=5) == replace(muted, role="invited")
        assert (await history.join(room.uid, Person("bob", "Bob"), at=5))[0].muted_until == 99
        await history.mute(room.uid, "bob", until=0)
        await history.leave(room.uid, "bob")
        assert await history.standing(room.uid, "bob") is None

    async def test_a_mute_may_precede_membership(self, history: History) -> None:
        room = await new_room(history)
        assert await history.mute(room.uid, "zoe", until=99) == Standing("zoe", muted_until=99)
        assert await listed(history, "zoe", mine=True) == []

    async def test_changes_of_a_room_that_is_gone_are_not_found(self, history: History) -> None:
        for change in (
            history.join("nowhere", Person("bob", "Bob"), at=5),
            history.invite("nowhere", Person("bob", "Bob"), at=5),
            history.set_role("nowhere", "bob", "owner"),
            history.mute("nowhere", "bob", until=5),
            history.ban("nowhere", "bob", until=5),
            history.mark_read("nowhere", "bob", 5),
        ):
            with refusal("not_found"):
                await change


class TestOwnership:
    async def test_the_longest_standing_moderator_succeeds(self, history: History) -> None:
        people = [member("ann", "owner"), member("old", at=2), member("mod2", "moderator", at=4)]
        room = await new_room(history, *people, member("mod1", "moderator", at=3), member("inv", "invited", at=0))
        left = await history.leave(room.uid, "ann")
        assert left == Left(3, "owner", heir=Standing("mod1", "owner", 3))
        assert await history.standing(room.uid, "mod1") == left.heir

    async def test_without_moderators_the_longest_standing_member_does(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("zoe", at=2), member("bob", at=2))
        assert await history.leave(room.uid, "ann") == Left(2, "owner", heir=Standing("bob", "owner", 2))

    async def test_nobody_succeeds_while_there_is_an_owner_or_nobody_left(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob", "owner"), member("inv", "invited"))
        assert await history.leave(room.uid, "ann") == Left(1, "owner")
        assert await history.leave(room.uid, "bob") == Left(0, "owner")

    async def test_who_joins_a_room_that_everybody_left_owns_it(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("inv", "invited"))
        await history.leave(room.uid, "ann")
        joined = await asyncio.gather(*(history.join(room.uid, Person(user, "U"), at=5) for user in ("bob", "inv")))
        assert sorted(str(standing.role) for standing, _, _ in joined) == ["member", "owner"]
        assert (await history.join(room.uid, Person("ann", "Ann"), at=6))[0].role == "member"

    async def test_a_room_is_not_left_without_an_owner(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        with refusal("conflict"):
            await history.set_role(room.uid, "ann", "member")
        assert (await history.set_role(room.uid, "ann", "owner")).role == "owner"
        assert (await history.set_role(room.uid, "bob", "owner")).role == "owner"
        assert (await history.set_role(room.uid, "ann", "member")).role == "member"


class TestBans:
    async def test_a_ban_ends_the_membership(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        expected = Standing("bob", banned_until=FOREVER, knew=True)
        assert await history.ban(room.uid, "bob", until=FOREVER) == (expected, True, 1, None)
        assert await history.standing(room.uid, "bob") == expected
        with refusal("banned"):
            await history.join(room.uid, Person("bob", "Bob"), at=5)
        with refusal("conflict"):
            await history.invite(room.uid, Person("bob", "Bob"), at=5)

    async def test_what_a_banned_user_knew_stays_known(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob", "invited"), kind="private")
        assert (await history.ban(room.uid, "bob", until=50))[:3] == (
            Standing("bob", banned_until=50, knew=True),
            False,
            1,
        )
        assert (await history.ban(room.uid, "bob", until=60))[0].knew
        assert not (await history.ban(room.uid, "zoe", until=60))[0].knew

    async def test_a_ban_that_ended_lets_in(self, history: History) -> None:
        room = await new_room(history)
        await history.ban(room.uid, "bob", until=50)
        with refusal("banned"):
            await history.join(room.uid, Person("bob", "Bob"), at=49)
        standing, is_new, _ = await history.join(room.uid, Person("bob", "Bob"), at=50)
        assert (standing, is_new) == (Standing("bob", "member", 50), True)

    async def test_a_ban_that_is_lifted_leaves_nothing(self, history: History) -> None:
        room = await new_room(history)
        await history.ban(room.uid, "bob", until=FOREVER)
        assert await history.ban(room.uid, "bob", until=0) == (Standing("bob"), False, 1, None)
        assert await history.standing(room.uid, "bob") is None

    async def test_lifting_a_ban_that_is_none_takes_no_membership(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        assert (await history.ban(room.uid, "bob", until=0))[0].role == "member"
        assert await history.member_ids(room.uid, ["bob"]) == {"bob"}

    async def test_banning_the_last_owner_makes_another(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        assert (await history.ban(room.uid, "ann", until=FOREVER))[3] == Standing("bob", "owner", 1)


class TestReadMarks:
    async def test_a_mark_only_rises_and_ends_at_the_newest(self, history: History) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        await say(history, room.uid, *"abc")
        await history.commit([deleting(room.uid, 1)])
        assert await history.mark_read(room.uid, "bob", 2) == (2, 1)
        assert await history.mark_read(room.uid, "bob", 1) == (2, 1)
        assert await history.mark_read(room.uid, "bob", -1) == (2, 1)
        assert await history.mark_read(room.uid, "bob", 2**60) == (3, 0)

    async def test_own_messages_are_never_unread(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"abc")
        assert await history.mark_read(room.uid, "ann", 0) == (0, 0)


class TestMembers:
    async def test_members_come_in_the_order_in_which_they_joined(self, history: History) -> None:
        people = [member("zoe", at=2), member("ann", "owner", at=2), member("bob", at=1), member("inv", "invited")]
        room = await new_room(history, *people)
        await history.remember(Person("bob", "Robert", True), at=9)
        seen: list[tuple[Standing, Person]] = []
        cursor: str | None = None
        for _ in range(2):
            page = await history.members(room.uid, limit=2, cursor=cursor)
            seen += page.members
            cursor = page.cursor
        assert cursor is None
        assert [(standing.user, person) for standing, person in seen] == [
            ("bob", Person("bob", "Robert", True)),
            ("ann", Person("ann", "Ann")),
            ("zoe", Person("zoe", "Zoe")),
        ]

    async def test_a_second_name_replaces_the_first(self, history: History) -> None:
        await history.remember(Person("ann", "Ann"), at=1)
        await history.remember(Person("ann", "Anna", True), at=2)
        assert await history.people(["ann", "zoe"]) == {"ann": (Person("ann", "Anna", True), 2)}
        assert await history.people([]) == {}


class TestComingIn:
    """What is read at once is what is read one by one."""

    async def test_a_connect_gets_all_standings_and_the_person(self, history: History) -> None:
        for role in ("owner", "invited"):
            await new_room(history, member("ann", role), kind="private")
        muted = await new_room(history)
        await history.mute(muted.uid, "ann", until=FOREVER)
        await history.remember(Person("ann", "Anna", guest=True), at=77)
        arrival = await history.arrival("ann")
        assert arrival.standings == await history.standings_of("ann")
        assert len(arrival.standings) == 3
        assert arrival.known == (Person("ann", "Anna", guest=True), 77)

    async def test_of_a_stranger_nothing_is_known(self, history: History) -> None:
        arrival = await history.arrival("nobody")
        assert (arrival.standings, arrival.known) == ({}, None)

    @pytest.mark.parametrize("limit", [1, 4, 50])
    @pytest.mark.parametrize("max_bytes", [1, 1300, AMPLE_BYTES])
    async def test_a_join_gets_the_newest_page_the_view_and_the_members(
        self, history: History, limit: int, max_bytes: int
    ) -> None:
        room = await new_room(history, member("ann", "owner", at=2), member("bob", at=1), member("cy", "invited"))
        await new_room(history)
        await say(history, room.uid, *["hello"] * 5, sender="bob")
        await history.commit([deleting(room.uid, 2)])
        landing = await history.landing(room.uid, "ann", since=None, limit=limit, max_bytes=max_bytes, members_most=2)
        assert landing is not None
        assert landing.page == await history.page(room.uid, limit=limit, max_bytes=max_bytes)
        assert landing.view == await history.view(room.uid, "ann")
        assert landing.members == (await history.members(room.uid, limit=9, cursor=None)).members

    @pytest.mark.parametrize("since", [0, 2, 5, 6, 7])
    @pytest.mark.parametrize("limit", [1, 50])
    async def test_with_since_it_gets_what_changed_or_the_newest_page(
        self, history: History, since: int, limit: int
    ) -> None:
        room = await new_room(history)
        await say(history, room.uid, *["hello"] * 5)
        await history.commit([deleting(room.uid, 2)])
        landing = await history.landing(
            room.uid, "ann", since=since, limit=limit, max_bytes=AMPLE_BYTES, members_most=9
        )
        assert landing is not None
        if since <= 6:
            assert landing.page == await history.changes(room.uid, since=since, limit=limit, max_bytes=AMPLE_BYTES)
        else:
            assert landing.page == await history.page(room.uid, limit=limit, max_bytes=AMPLE_BYTES)
        assert landing.view == await history.view(room.uid, "ann")
        assert landing.members == (await history.members(room.uid, limit=9, cursor=None)).members

    async def test_an_empty_room_has_an_empty_page(self, history: History) -> None:
        room = await new_room(history)
        landing = await history.landing(room.uid, "nobody", since=None, limit=9, max_bytes=9, members_most=9)
        assert landing is not None
        assert landing.page == await history.page(room.uid, limit=9, max_bytes=9)
        assert landing.view.standing is None

    @pytest.mark.parametrize("since", [None, 0, 1])
    async def test_too_many_members_are_not_listed_and_a_room_that_is_gone_is_none(
        self, history: History, since: int | None
    ) -> None:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        await say(history, room.uid, "hello")
        landing = await history.landing(room.uid, "ann", since=since, limit=9, max_bytes=9, members_most=1)
        assert landing is not None
        assert landing.members is None
        await history.delete_room(room.uid)
        assert await history.landing(room.uid, "ann", since=since, limit=9, max_bytes=9, members_most=1) is None

    async def test_many_who_join_at_once_each_get_their_view(self, history: History) -> None:
        users = ["ann", "bob", "cy", "dan"]
        room = await new_room(
            history, member("ann", "owner"), member("bob", at=1), member("cy", "invited"), capacity=1000
        )
        for sender in ("ann", "bob", "bob", "cy"):
            await say(history, room.uid, "hello", sender=sender)
        await history.commit([deleting(room.uid, 2)])
        await history.mark_read(room.uid, "ann", 1)
        await history.mute(room.uid, "eve", until=FOREVER)
        views = await history.views(room.uid, [*users, "eve", "bob"], members_most=2)
        assert views is not None
        for user in (*users, "eve"):
            assert views.of(user) == await history.view(room.uid, user)
        assert views.room.head == 5
        assert views.members == (await history.members(room.uid, limit=9, cursor=None)).members
        few = await history.views(room.uid, ["ann"], members_most=1)
        assert few is not None
        assert few.members is None

    async def test_of_very_much_that_is_unread_each_has_the_same_number_as_alone(self, history: History) -> None:
        """More than a store looks at for all of them together, and most of it by one who has not read either."""
        room = await new_room(history, *(member(user) for user in ("ann", "bob", "cy")))
        await say(history, room.uid, *["hello"] * 400, sender="bob")
        await say(history, room.uid, *["hello"] * (WALKED - 200), sender="ann")
        await history.mark_read(room.uid, "cy", WALKED)
        views = await history.views(room.uid, ["ann", "bob", "cy"], members_most=0)
        assert views is not None
        assert [views.of(user).unread for user in ("ann", "bob", "cy")] == [400, 1000, 200]
        for user in ("ann", "bob", "cy"):
            assert views.of(user) == await history.view(room.uid, user)

    async def test_nobody_can_be_asked_about_in_a_room_that_is_gone(self, history: History) -> None:
        room = await new_room(history)
        empty = await history.views(room.uid, [], members_most=9)
        assert empty is not None
        assert (empty.standings, empty.unread) == ({}, {})
        await history.delete_room(room.uid)
        assert await history.views(room.uid, ["ann"], members_most=9) is None
