"""The events of /presence, over the whole of chat without a wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hubbub.domain.presence.holdings import GRACE_MS
from hubbub.domain.presence.watched import COUNT_WINDOW_MS, LIST_MOST, WINDOW_MS
from hubbub.domain.roster import Client
from hubbub.domain.watching import WATCHES
from hubbub.errors import HubbubError
from hubbub.history.base import Standing
from tests.support.domain import RecordingOutlet, as_read, identity_of
from tests.support.house import ChatHouse, outlet_of, refusal_of


class Tabs:
    """Users who are in /chat and in /presence with one transport."""

    def __init__(self, house: ChatHouse) -> None:
        self.house = house
        self.watching = house.chat.watching
        self.presence = house.chat.house.presence

    async def open(self, user: str, *, roles: Sequence[str] = (), rooms: Sequence[str] | None = None) -> Client:
        """A connection in /presence."""
        identity = identity_of(user, roles=roles, rooms=rooms)
        return await self.house.chat.house.roster.enter(RecordingOutlet(), identity, device=user, watches=True)

    async def watch(self, client: Client, *rooms: str) -> Any:
        return as_read(await self.watching.watch(client, {"rooms": list(rooms)}))["rooms"]

    async def chat(self, user: str, *rooms: str) -> Client:
        client = await self.house.enter(user)
        for room in rooms:
            await self.house.join(client, room)
        return client

    async def set(self, client: Client, status: str, **more: Any) -> dict[str, Any]:
        return await self.watching.set_status(client, {"status": status, **more})

    async def get(self, client: Client, *users: str) -> dict[str, Any]:
        answer = await self.watching.users(client, {"users": list(users)})
        return {user["id"]: user for user in answer["users"]}

    def forward(self, ms: int = WINDOW_MS) -> None:
        self.house.clock.now += ms
        self.presence.ring()


@pytest.fixture
def tabs(house: ChatHouse) -> Tabs:
    return Tabs(house)


def ids(users: Sequence[dict[str, Any]]) -> list[str]:
    return [user["id"] for user in users]


class TestWatch:
    async def test_a_snapshot_and_then_what_changes(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        await house.join(ada)
        watcher = await tabs.open("eve")
        snapshot = (await tabs.watch(watcher, "tea"))["tea"]
        assert (snapshot["version"], snapshot["count"], ids(snapshot["users"])) == (1, 1, ["ada"])
        bob = await tabs.chat("bob", "tea")
        assert outlet_of(watcher).of("presence") == []
        tabs.forward()
        bob_document = {
            "id": "bob", "name": "Bob", "guest": False, "status": "online", "text": "", "last_seen": None,
        }  # fmt: skip
        assert outlet_of(watcher).of("presence") == [
            {"room": "tea", "version": 2, "count": 2, "joined": [bob_document], "left": [], "changed": []}
        ]
        house.leave(bob)
        house.leave(ada, clean=False)
        tabs.forward()
        last = outlet_of(watcher).of("presence")[-1]
        assert (last["version"], last["count"], last["left"]) == (3, 1, ["bob"])
        tabs.forward(GRACE_MS)
        tabs.forward()
        assert outlet_of(watcher).of("presence")[-1]["left"] == ["ada"]

    async def test_leaving_a_room_shows_at_once_and_a_failed_rejoin_has_its_grace(
        self, house: ChatHouse, tabs: Tabs
    ) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        bob = await tabs.chat("bob", "tea")
        watcher = await tabs.open("eve")
        await tabs.watch(watcher, "tea")
        house.store.fail("landing", HubbubError("unavailable"))
        house.store.fail("views", HubbubError("unavailable"))
        assert await refusal_of(house.join(bob)) == "unavailable"
        tabs.forward(GRACE_MS - 1)
        assert outlet_of(watcher).of("presence") == []
        tabs.forward(1)
        tabs.forward()
        assert outlet_of(watcher).of("presence")[-1]["left"] == ["bob"]
        house.store._failures.clear()
        await house.join(bob)
        tabs.forward()
        await house.chat.membership.leave(bob, {"room": "tea"})
        tabs.forward()
        assert outlet_of(watcher).of("presence")[-1]["left"] == ["bob"]

    async def test_a_suspended_room_is_a_lapse_and_a_narrowed_token_is_not(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        await house.join(ada)
        bob = await tabs.chat("bob", "tea")
        uid = house.uid()
        house.chat.suspended(ada, uid)
        house.chat.renew(bob, identity_of("bob", rooms=["other"]))
        here = tabs.presence.in_room(uid, admin=False)
        assert [face.person.id for face in here] == ["ada"]
        tabs.forward(GRACE_MS)
        assert list(tabs.presence.in_room(uid, admin=False)) == []

    async def test_one_who_watches_no_more_hears_nothing(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        one, other = await tabs.open("eve"), await tabs.open("fay")
        for each in (one, other):
            await tabs.watch(each, "tea")
        await tabs.watching.unwatch(one, {"rooms": ["tea", "never"]})
        tabs.watching.left(other)
        await house.join(ada)
        tabs.forward()
        assert (outlet_of(one).sent, outlet_of(other).sent) == ([], [])
        assert house.watch_fanout.size(house.uid()) == 0
        assert not tabs.presence._core.is_watched(house.uid())

    async def test_a_second_watch_is_a_fresh_snapshot(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        watcher = await tabs.open("eve")
        first = (await tabs.watch(watcher, "tea", "tea"))["tea"]
        await house.join(ada)
        tabs.forward()
        again = (await tabs.watch(watcher, "tea"))["tea"]
        assert (first["count"], again["count"], again["version"]) == (0, 1, 2)

    async def test_a_room_that_grows_large_has_a_count(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        watcher = await tabs.open("eve")
        await tabs.watch(watcher, "tea")
        for number in range(LIST_MOST + 1):
            held = tabs.presence.connect(identity_of(f"u{number}").person, "tab")
            tabs.presence.join(held, house.uid())
        tabs.forward()
        assert outlet_of(watcher).of("presence") == [
            {"room": "tea", "version": 2, "count": 101, "joined": None, "left": None, "changed": None}
        ]
        for number in range(50):
            tabs.presence.leave(f"u{number}", house.uid())
        tabs.forward(COUNT_WINDOW_MS)
        back = outlet_of(watcher).of("presence")[-1]
        assert (back["version"], back["count"], len(back["users"]), back["joined"]) == (3, 51, 51, [])


class TestWhoMayWatch:
    async def test_whoever_may_not_know_a_room_gets_not_found_and_watches_nothing(
        self, house: ChatHouse, tabs: Tabs
    ) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        secret = await house.room(ada, "secret", kind="private")
        eve, member = await tabs.open("eve"), await tabs.open("ada")
        for hidden in (secret, "nowhere"):
            with pytest.raises(HubbubError) as caught:
                await tabs.watch(eve, "tea", hidden)
            assert caught.value.code == "not_found"
            assert caught.value.fields == {"rooms.1": ["There is no such room."]}
        assert set(eve.joined) == set()
        assert (await tabs.watch(member, "tea", secret)).keys() == {"tea", secret}
        assert await refusal_of(tabs.watching.list_users(eve, {"room": secret})) == "not_found"

    async def test_whoever_is_removed_watches_no_more(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        secret = await house.room(ada, "secret", kind="private")
        await house.chat.membership.invite(ada, {"room": secret, "user": "bob"})
        await tabs.chat("bob", "tea", secret)
        bob = await tabs.open("bob")
        await tabs.watch(bob, "tea", secret)
        await house.chat.membership.kick(ada, {"room": secret, "user": "bob"})
        await house.chat.membership.kick(ada, {"room": "tea", "user": "bob"})
        assert outlet_of(bob).of("room:removed") == [{"room": secret, "reason": "kicked"}]
        await house.chat.membership.ban(ada, {"room": "tea", "user": "bob"})
        assert outlet_of(bob).of("room:removed")[1:] == [{"room": "tea", "reason": "banned"}]
        assert set(bob.joined) == set()

    async def test_nobody_watches_a_room_that_is_gone(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        await house.join(ada)
        eve, admin = await tabs.open("eve"), await tabs.open("root", roles=["admin"])
        for each in (eve, admin):
            await tabs.watch(each, "tea")
        uid = house.uid()
        await house.chat.rooms.delete(ada, {"room": "tea"})
        for each in (eve, admin):
            assert outlet_of(each).of("room:removed") == [{"room": "tea", "reason": "deleted"}]
        tabs.forward()
        assert outlet_of(eve).of("presence") == []
        assert list(tabs.presence.in_room(uid, admin=True)) == []

    async def test_a_token_that_does_not_reach_a_room_ends_its_watch(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        await house.room(ada, "plans")
        eve = await tabs.open("eve")
        await tabs.watch(eve, "tea", "plans")
        tabs.watching.renew(eve, identity_of("eve", name="Evelyn", rooms=["plans"]))
        assert outlet_of(eve).of("room:removed") == [{"room": "tea", "reason": "token"}]
        assert eve.user.person.name == "Evelyn"
        assert len(set(eve.joined)) == 1

    async def test_a_connection_watches_a_bounded_number_of_rooms(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        eve = await tabs.open("eve")
        for number in range(WATCHES):
            eve.joined.add(f"room{number}")
        assert await refusal_of(tabs.watching.watch(eve, {"rooms": ["tea"]})) == "too_large"
        eve.joined.clear()

    async def test_whoever_left_while_it_was_asked_watches_nothing(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        eve = await tabs.open("eve")
        outlet_of(eve).is_open = False
        assert await tabs.watch(eve, "tea") == {}
        assert house.watch_fanout.size(house.uid()) == 0


class TestInvisible:
    async def test_others_do_not_see_who_is_invisible_and_administrators_do(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        await house.join(ada)
        mine = await tabs.open("ada")
        eve, root = await tabs.open("eve"), await tabs.open("root", roles=["admin"])
        for each in (eve, root):
            await tabs.watch(each, "tea")
        began = house.clock.now
        assert await tabs.set(mine, "invisible", text="shh") == {"status": "invisible", "text": "shh"}
        tabs.forward()
        seen = [outlet_of(each).of("presence")[-1] for each in (eve, root)]
        assert (seen[0]["count"], seen[0]["left"], seen[1]["count"]) == (0, ["ada"], 1)
        assert seen[1]["changed"][0]["status"] == "invisible"
        assert (await tabs.watch(eve, "tea"))["tea"]["users"] == []
        documents = [(await tabs.get(each, "ada"))["ada"] for each in (eve, root, mine)]
        assert [each["status"] for each in documents] == ["offline", "invisible", "invisible"]
        assert [each["last_seen"] for each in documents] == [began, None, None]
        assert (documents[0]["text"], documents[2]["text"]) == ("", "shh")
        for each, status in ((eve, "offline"), (root, "invisible")):
            page = await house.chat.membership.members(each, {"room": "tea"})
            assert page["members"][0]["user"]["status"] == status
            listed = await tabs.watching.list_users(each, {"room": "tea"})
            assert ids(listed["users"]) == ([] if each is eve else ["ada"])

    async def test_who_is_invisible_types_and_reads_unseen(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        await house.join(ada)
        bob, phone = await tabs.chat("bob", "tea"), await tabs.chat("ada", "tea")
        for on in (True, False):
            await house.chat.posting.typing(ada, {"room": "tea", "on": on})
        assert [each["on"] for each in outlet_of(bob).of("typing")] == [True]
        await tabs.set(await tabs.open("ada"), "invisible")
        house.chat.house.whispers.flush()
        await house.send(bob)
        await house.chat.posting.typing(ada, {"room": "tea", "on": True})
        await house.chat.reading.mark(ada, {"room": "tea", "seq": 1})
        house.chat.house.whispers.flush()
        assert (len(outlet_of(bob).of("typing")), outlet_of(bob).of("read")) == (1, [])
        assert outlet_of(phone).of("read") == [{"room": "tea", "user": "ada", "seq": 1}]

    async def test_who_becomes_an_administrator_sees_with_other_eyes(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        await house.join(ada)
        await tabs.set(await tabs.open("ada"), "invisible")
        eve = await tabs.open("eve")
        assert (await tabs.watch(eve, "tea"))["tea"]["count"] == 0
        tabs.watching.renew(eve, identity_of("eve", roles=["admin"]))
        told = outlet_of(eve).of("presence")
        assert [(each["count"], ids(each["users"]), each["joined"]) for each in told] == [(1, ["ada"], [])]
        tabs.watching.renew(eve, identity_of("eve", roles=["admin"]))
        assert len(outlet_of(eve).of("presence")) == 1
        await tabs.chat("bob", "tea")
        tabs.forward()
        assert outlet_of(eve).of("presence")[-1]["version"] == told[0]["version"] + 1
        tabs.watching.renew(eve, identity_of("eve"))
        assert outlet_of(eve).of("presence")[-1]["count"] == 1


class TestSet:
    async def test_any_device_that_is_online_wins_and_busy_is_explicit(self, house: ChatHouse, tabs: Tabs) -> None:
        tab = await tabs.open("ada")
        roster = house.chat.house.roster
        phone = await roster.enter(RecordingOutlet(), identity_of("ada"), device="phone", watches=True)
        assert await tabs.set(tab, "away", text="walk") == {"status": "online", "text": "walk"}
        assert await tabs.set(phone, "away") == {"status": "away", "text": "walk"}
        assert await tabs.set(phone, "busy", text="") == {"status": "busy", "text": ""}
        assert await tabs.set(tab, "online") == {"status": "busy", "text": ""}

    async def test_a_connection_that_ended_says_nothing(self, house: ChatHouse, tabs: Tabs) -> None:
        tab = await tabs.open("ada")
        outlet_of(tab).is_open = False
        assert await tabs.set(tab, "busy") == {"status": "busy", "text": ""}
        face = tabs.presence.face("ada")
        assert face is not None
        assert face.status == "online"


class TestGet:
    async def test_last_seen_is_when_the_last_connection_ended(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        bob, eve = await tabs.chat("bob", "tea"), await tabs.open("eve")
        house.clock.forward(100)
        ended = house.clock.now
        house.leave(bob, clean=False)
        tabs.forward(GRACE_MS - 1)
        assert (await tabs.get(eve, "bob"))["bob"]["status"] == "online"
        tabs.forward(1)
        document = (await tabs.get(eve, "bob"))["bob"]
        assert (document["status"], document["last_seen"]) == ("offline", ended)
        await tabs.presence.last_seen.close()
        assert tabs.presence.last_seen.at("bob") is None
        assert (await tabs.get(eve, "bob"))["bob"]["last_seen"] == ended

    async def test_only_those_are_known_who_share_a_room_that_may_be_read(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        secret = await house.room(ada, "secret", kind="private")
        await house.chat.membership.invite(ada, {"room": secret, "user": "bob"})
        bob = await tabs.chat("bob", secret)
        await tabs.chat("cyd")
        watcher = {user: await tabs.open(user) for user in ("ada", "bob", "cyd")}
        everybody = ["ada", "bob", "cyd", "nobody", "ada"]
        # Ada is in a public room; bob only in one that cyd may not know; cyd in none.
        assert list(await tabs.get(watcher["ada"], *everybody)) == ["ada", "bob"]
        assert list(await tabs.get(watcher["bob"], *everybody)) == ["ada", "bob"]
        assert list(await tabs.get(watcher["cyd"], *everybody)) == ["ada", "cyd"]
        root = await tabs.open("root", roles=["admin"])
        assert list(await tabs.get(root, *everybody)) == ["ada", "bob", "cyd"]
        house.leave(bob)
        tabs.watching.left(watcher["bob"])
        house.chat.house.roster.leave(watcher["bob"], clean=True)
        assert list(await tabs.get(watcher["ada"], "bob")) == ["bob"]
        assert list(await tabs.get(watcher["cyd"], "bob")) == []

    async def test_a_token_or_a_ban_narrows_what_is_shared(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        await house.join(ada)
        narrow = await tabs.open("eve", rooms=["plans"])
        assert await tabs.get(narrow, "ada") == {}
        fay = await tabs.open("fay")
        house.chat.house.roster.update(house.uid(), "fay", Standing("fay", banned_until=house.clock.now + 1))
        assert await tabs.get(fay, "ada") == {}


class TestList:
    async def test_a_large_room_is_listed_by_pages(self, house: ChatHouse, tabs: Tabs) -> None:
        ada = await tabs.chat("ada")
        await house.room(ada)
        eve = await tabs.open("eve")
        expected = sorted(f"u{number}" for number in range(250))
        for user in expected:
            tabs.presence.join(tabs.presence.connect(identity_of(user).person, "tab"), house.uid())
        found: list[str] = []
        cursor = None
        while True:
            page = await tabs.watching.list_users(eve, {"room": "tea", "limit": 100, "cursor": cursor})
            found += ids(page["users"])
            cursor = page["cursor"]
            if cursor is None:
                break
        assert found == expected
        assert len((await tabs.watching.list_users(eve, {"room": "tea"}))["users"]) == 50
