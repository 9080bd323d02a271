"""Who is connected, and how they stand to their rooms."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from hubbub.domain.roster import User
from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Standing
from tests.support.domain import RecordingOutlet, identity_of
from tests.support.history import member, new_room
from tests.support.house import ChatHouse, chat_house, outlet_of, refusal_of


def ids(users: Iterable[User]) -> list[str]:
    return sorted(user.person.id for user in users)


class TestComing:
    async def test_a_users_standings_are_there_once_they_are_connected(self, house: ChatHouse) -> None:
        room = await new_room(house.chat.house.history, member("ada", "owner"), member("bob"))
        ada = await house.enter("ada")
        assert {uid: each.role for uid, each in ada.user.standings.items()} == {room.uid: "owner"}
        assert ids(house.chat.house.roster.members(room.uid)) == ["ada"]
        await house.enter("bob")
        assert ids(house.chat.house.roster.members(room.uid)) == ["ada", "bob"]

    async def test_two_connections_at_once_are_one_user_and_one_loading(self, house: ChatHouse) -> None:
        await new_room(house.chat.house.history, member("ada", "owner"))
        house.store.calls.clear()
        one, other = await asyncio.gather(house.enter("ada"), house.enter("ada"))
        assert one.user is other.user
        assert one is not other
        assert house.store.calls.count("arrival") == 1
        assert len(one.user.standings) == 1
        assert house.chat.house.roster.size == 1
        assert list(house.chat.house.roster.clients("ada")) == [one, other]

    async def test_who_was_never_seen_is_remembered(self, house: ChatHouse) -> None:
        await house.enter("ada", name="Countess")
        await house.chat.house.roster.wait_written()
        assert (await house.chat.house.history.people(["ada"]))["ada"][0].name == "Countess"

    async def test_a_newer_name_replaces_the_older(self, house: ChatHouse) -> None:
        first = await house.enter("ada", name="Ada")
        second = await house.enter("ada", name="Countess")
        assert first.user.person.name == second.user.person.name == "Countess"
        await house.chat.house.roster.wait_written()
        assert (await house.chat.house.history.people(["ada"]))["ada"][0].name == "Countess"


class TestLoading:
    @pytest.mark.parametrize("standing", [Standing("ada", "member", muted_until=FOREVER), None])
    async def test_a_change_that_comes_meanwhile_wins(self, house: ChatHouse, standing: Standing | None) -> None:
        room = await new_room(house.chat.house.history, member("ada", "owner"), member("bob", "owner"))
        held = house.store.hold("arrival")
        entering = asyncio.ensure_future(house.enter("ada"))
        await held.wait()
        house.chat.house.roster.update(room.uid, "ada", standing)
        held.release()
        ada = await entering
        assert ada.user.standings.get(room.uid) == standing
        assert ids(house.chat.house.roster.members(room.uid)) == ([] if standing is None else ["ada"])
        assert ada.user.changed is None

    async def test_a_room_that_goes_meanwhile_is_gone(self, house: ChatHouse) -> None:
        room = await new_room(house.chat.house.history, member("ada", "owner"))
        held = house.store.hold("arrival")
        entering = asyncio.ensure_future(house.enter("ada"))
        await held.wait()
        house.chat.house.roster.forget_room(room.uid)
        held.release()
        assert (await entering).user.standings == {}

    async def test_when_it_fails_nobody_is_left_behind_and_the_next_starts_anew(self, house: ChatHouse) -> None:
        await new_room(house.chat.house.history, member("ada", "owner"))
        house.store.fail("arrival", HubbubError("unavailable"))
        outcomes = await asyncio.gather(house.enter("ada"), house.enter("ada"), return_exceptions=True)
        assert [type(each) for each in outcomes] == [HubbubError, HubbubError]
        assert not house.chat.house.roster.is_online("ada")
        assert len((await house.enter("ada")).user.standings) == 1

    async def test_who_gives_up_waiting_is_not_online(self, house: ChatHouse) -> None:
        """A connect has a deadline; the store may answer after it."""
        room = await new_room(house.chat.house.history, member("ada", "owner"))
        held = house.store.hold("arrival")
        entering = asyncio.ensure_future(house.enter("ada"))
        await held.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        roster = house.chat.house.roster
        assert not roster.is_online("ada")
        house.store.let_go("arrival")
        ada = await house.enter("ada")
        assert list(roster.members(room.uid)) == [ada.user]
        house.leave(ada)
        await roster.wait_written()
        assert list(roster.members(room.uid)) == []
        assert roster._members == {}

    async def test_who_leaves_during_it_leaves_nothing_behind(self, house: ChatHouse) -> None:
        room = await new_room(house.chat.house.history, member("ada", "owner"))
        roster = house.chat.house.roster
        held = house.store.hold("arrival")
        entering = asyncio.ensure_future(house.enter("ada"))
        await held.wait()
        user = roster.user("ada")
        assert user is not None
        loading = user.loading
        assert loading is not None
        for client in list(roster.clients("ada")):
            house.leave(client)
        held.release()
        await asyncio.gather(entering, loading)
        assert ids(roster.members(room.uid)) == []
        assert not roster.is_online("ada")


class TestLeaving:
    async def test_a_user_is_here_while_any_of_their_connections_is(self, house: ChatHouse) -> None:
        room = await new_room(house.chat.house.history, member("ada", "owner"))
        one, other = await house.enter("ada"), await house.enter("ada")
        roster = house.chat.house.roster
        house.leave(one)
        assert roster.is_online("ada")
        assert ids(roster.members(room.uid)) == ["ada"]
        house.leave(other)
        house.leave(other)
        assert not roster.is_online("ada")
        assert list(roster.members(room.uid)) == []
        assert roster.user("ada") is None
        assert list(roster.clients("ada")) == []

    async def test_who_had_no_time_to_come_in_holds_nothing(self, house: ChatHouse) -> None:
        held = house.store.hold("arrival")
        entering = asyncio.ensure_future(house.enter("ada"))
        await held.wait()
        for client in list(house.chat.house.roster.clients("ada")):
            house.leave(client)
        held.release()
        assert (await entering).held is None
        assert house.chat.house.presence.face("ada") is None

    async def test_a_connection_in_presence_keeps_its_user_and_is_no_client_of_chat(self, house: ChatHouse) -> None:
        roster = house.chat.house.roster
        chat = await house.enter("ada")
        watcher = await roster.enter(RecordingOutlet(), identity_of("ada"), device="tab", watches=True)
        assert watcher.user is chat.user
        assert (list(roster.clients("ada")), list(roster.watchers("ada"))) == ([chat], [watcher])
        house.leave(chat)
        assert roster.is_online("ada")
        roster.leave(watcher, clean=True)
        assert not roster.is_online("ada")
        assert list(roster.watchers("ada")) == []

    async def test_a_short_visit_is_written_once(self, house: ChatHouse) -> None:
        for _ in range(3):
            house.leave(await house.enter("ada"))
            await house.chat.house.roster.wait_written()
            house.clock.forward(1)
        assert house.store.calls.count("remember") == 1

    async def test_a_store_that_does_not_take_a_name_hurts_nobody(self, house: ChatHouse) -> None:
        house.store.fail("remember", HubbubError("unavailable"))
        ada = await house.enter("ada")
        await house.chat.house.roster.wait_written()
        assert house.chat.house.roster.is_online("ada")
        house.leave(ada)


class TestStandings:
    async def test_the_index_of_members_follows_the_standings(self, house: ChatHouse) -> None:
        await house.enter("ada")
        roster = house.chat.house.roster
        for role, count in (("invited", 0), ("member", 1), ("moderator", 1), (None, 0), ("owner", 1)):
            roster.update("uid", "ada", Standing("ada", role))  # type: ignore[arg-type]
            assert len(list(roster.members("uid"))) == count, role
        roster.update("uid", "ada", None)
        assert list(roster.members("uid")) == []
        assert roster._members == {}

    async def test_a_user_who_is_not_here_is_not_kept(self, house: ChatHouse) -> None:
        house.chat.house.roster.update("uid", "ada", Standing("ada", "member"))
        assert list(house.chat.house.roster.members("uid")) == []

    async def test_a_room_that_is_gone_is_gone_for_all(self, house: ChatHouse) -> None:
        roster = house.chat.house.roster
        clients = [await house.enter(user) for user in ("ada", "bob")]
        for client in clients:
            roster.update("uid", client.user.person.id, Standing(client.user.person.id, "member"))
            client.joined.add("uid")
        roster.forget_room("uid")
        assert all(client.user.standings == {} and client.joined == set() for client in clients)
        assert list(roster.members("uid")) == []


async def test_what_is_on_its_way_is_written_before_the_end(tmp_path: Path) -> None:
    async with chat_house(tmp_path) as house:
        held = house.store.hold("remember")
        client = await house.chat.house.roster.enter(RecordingOutlet(), identity_of("ada"))
        await held.wait()
        waiting = asyncio.ensure_future(house.chat.close())
        await asyncio.sleep(0)
        assert not waiting.done()
        held.release()
        await waiting
        assert outlet_of(client).is_open
        assert await refusal_of(house.chat.house.find("nowhere")) == "not_found"


class TestUpdates:
    async def test_those_made_here_are_told_of_and_those_learned_are_not(self, house: ChatHouse) -> None:
        roster = house.chat.house.roster
        told: list[tuple[str, str]] = []
        roster.on_update = lambda uid, user: told.append((uid, user))
        ada = await house.enter("ada")
        roster.update("u1", "ada", Standing("ada", "member"))
        roster.learn("u2", "ada", Standing("ada", "owner"))
        roster.update("u1", "nobody-here", None)
        assert told == [("u1", "ada"), ("u1", "nobody-here")]
        assert set(ada.user.standings) == {"u1", "u2"}
        assert roster.ids() == ["ada"]
        assert list(roster.outlets()) == [ada.outlet]
