"""What one node changes in rooms is so on the other, and whoever it concerns there is told."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import Standing
from tests.support.house import ChatHouse, outlet_of, refusal_of
from tests.support.mongodb import SharedMongo
from tests.support.nodes import Nodes, two_nodes, two_nodes_on_mongo
from tests.support.patience import patient_calls


class Tea:
    """The room `tea`, which ada made on `a`; bob is a member, and is in it on `b`."""

    def __init__(self, nodes: Nodes, ada: Client, bob: Client) -> None:
        self.nodes, self.ada, self.bob = nodes, ada, bob

    @classmethod
    async def made(cls, nodes: Nodes) -> Tea:
        ada = await nodes.at(nodes.a).enter("ada")
        await nodes.a.room(ada)
        await nodes.a.join(ada)
        bob = await nodes.at(nodes.b).enter("bob")
        await nodes.b.join(bob)
        await nodes.poll()
        for client in (ada, bob):
            outlet_of(client).sent.clear()
        return cls(nodes, ada, bob)

    @property
    def told(self) -> list[tuple[str, Any]]:
        """What bob was told, on `b`."""
        return outlet_of(self.bob).sent

    async def order(self, name: str, **request: Any) -> None:
        """ada does something on `a`, and then both nodes read the log."""
        node = self.nodes.at(self.nodes.a)
        service = node.chat.rooms if name in ("update", "delete") else node.chat.membership
        await getattr(service, name)(self.ada, {"room": "tea", **request})
        await self.nodes.poll()


@pytest.fixture
async def tea(nodes: Nodes) -> Tea:
    return await Tea.made(nodes)


class TestWhoIsRemoved:
    async def test_by_a_kick_is_told_and_hears_nothing_more(self, tea: Tea) -> None:
        await tea.order("kick", user="bob", reason="enough")
        assert tea.told == [("room:removed", {"room": "tea", "reason": "kicked", "text": "enough"})]
        assert tea.nodes.b.fanout.size(tea.nodes.b.uid()) == 0
        assert await refusal_of(tea.nodes.b.send(tea.bob)) == "forbidden"

    async def test_by_a_ban_is_told_and_cannot_come_back(self, tea: Tea) -> None:
        await tea.order("ban", user="bob")
        assert tea.told == [("room:removed", {"room": "tea", "reason": "banned"})]
        assert await refusal_of(tea.nodes.b.join(tea.bob)) == "banned"
        await tea.order("unban", user="bob")
        await tea.nodes.at(tea.nodes.b).join(tea.bob)

    async def test_by_leaving_elsewhere_is_told_so(self, tea: Tea) -> None:
        other = await tea.nodes.at(tea.nodes.a).enter("bob")
        await tea.nodes.a.chat.membership.leave(other, {"room": "tea"})
        await tea.nodes.poll()
        assert tea.told == [("room:removed", {"room": "tea", "reason": "left"})]
        assert outlet_of(other).of("room:removed") == []

    async def test_is_told_of_a_room_that_is_not_in_memory_too(self, tea: Tea) -> None:
        tea.nodes.b.fanout.forget(outlet_of(tea.bob))
        tea.bob.joined.clear()
        tea.nodes.b.chat.house.rooms.forget(tea.nodes.b.uid())
        await tea.order("kick", user="bob")
        assert tea.told == [("room:removed", {"room": "tea", "reason": "kicked"})]

    async def test_and_let_in_again_before_the_next_poll_stays(self, tea: Tea) -> None:
        node = tea.nodes.at(tea.nodes.a)
        await node.chat.membership.kick(tea.ada, {"room": "tea", "user": "bob"})
        other = await node.enter("bob")
        await node.join(other)
        await tea.nodes.poll()
        assert outlet_of(tea.bob).of("room:removed") == []
        await tea.nodes.at(tea.nodes.b).send(tea.bob)

    async def test_watches_a_private_room_no_more(self, nodes: Nodes) -> None:
        ada = await nodes.at(nodes.a).enter("ada")
        room = await nodes.a.room(ada, kind="private", members=["bob"])
        bob = await nodes.at(nodes.b).enter("bob")
        await nodes.b.join(bob, room)
        await nodes.poll()
        house = nodes.b.chat.house
        watcher = await house.roster.enter(outlet_of(await nodes.b.enter("x")), bob.identity, watches=True)
        await nodes.b.chat.watching.watch(watcher, {"rooms": [room]})
        await nodes.at(nodes.a).chat.membership.kick(ada, {"room": room, "user": "bob"})
        await nodes.poll()
        assert outlet_of(watcher).of("room:removed") == [{"room": room, "reason": "kicked"}]
        assert watcher.joined == set()


class TestWhoIsAdded:
    async def test_by_an_invitation_is_told(self, nodes: Nodes) -> None:
        ada = await nodes.at(nodes.a).enter("ada")
        room = await nodes.a.room(ada, kind="private")
        bob = await nodes.at(nodes.b).enter("bob")
        await nodes.poll()
        await nodes.at(nodes.a).chat.membership.invite(ada, {"room": room, "user": "bob"})
        await nodes.poll()
        (document,) = outlet_of(bob).of("room:added")
        assert (document["room"]["id"], document["room"]["role"]) == (room, "invited")
        await nodes.at(nodes.b).join(bob, room)

    async def test_to_a_direct_room_is_told_on_all_nodes(self, nodes: Nodes) -> None:
        ada = await nodes.at(nodes.a).enter("ada")
        ada_b = await nodes.at(nodes.b).enter("ada")
        bob = await nodes.b.enter("bob")
        await nodes.at(nodes.a).chat.rooms.create(ada, {"kind": "direct", "title": "", "members": ["bob"]})
        await nodes.poll()
        assert [len(outlet_of(each).of("room:added")) for each in (ada, ada_b, bob)] == [1, 1, 1]

    async def test_is_told_once_the_store_answers(self, nodes: Nodes) -> None:
        ada = await nodes.at(nodes.a).enter("ada")
        room = await nodes.a.room(ada, kind="private")
        bob = await nodes.at(nodes.b).enter("bob")
        await nodes.at(nodes.a).chat.membership.invite(ada, {"room": room, "user": "bob"})
        nodes.b.store.fail("view", HubbubError("unavailable"))
        with pytest.raises(HubbubError, match="unavailable"):
            await nodes.poll()
        assert outlet_of(bob).of("room:added") == []
        await nodes.poll()
        assert len(outlet_of(bob).of("room:added")) == 1


class TestSubscribers:
    async def test_are_told_who_came_left_and_has_another_role(self, tea: Tea) -> None:
        cem = await tea.nodes.at(tea.nodes.a).enter("cem", name="Cem")
        await tea.nodes.a.join(cem)
        await tea.nodes.poll()
        await tea.order("role", user="cem", role="moderator")
        await tea.order("kick", user="cem")
        events = outlet_of(tea.bob).of("member")
        assert [(each["user"]["id"], each["user"]["name"], each.get("role")) for each in events] == [
            ("cem", "Cem", "member"),
            ("cem", "Cem", "moderator"),
            ("cem", "Cem", None),
        ]
        assert events[-1]["left"] is True

    async def test_are_told_of_an_heir(self, tea: Tea) -> None:
        await tea.nodes.at(tea.nodes.a).chat.membership.leave(tea.ada, {"room": "tea"})
        await tea.nodes.poll()
        assert [(each["user"]["id"], each.get("role")) for each in outlet_of(tea.bob).of("member")] == [
            ("ada", None),
            ("bob", "owner"),
        ]
        await tea.nodes.at(tea.nodes.b).chat.rooms.update(tea.bob, {"room": "tea", "title": "Mine"})

    async def test_are_not_told_of_a_mute_which_holds_all_the_same(self, tea: Tea) -> None:
        await tea.order("mute", user="bob", seconds=60)
        assert tea.told == []
        assert await refusal_of(tea.nodes.b.send(tea.bob)) == "muted"
        tea.nodes.clock.forward(60)
        await tea.nodes.b.send(tea.bob)

    async def test_are_told_what_the_room_is_like_now_and_once(self, tea: Tea) -> None:
        await tea.order("update", title="Green", slow_mode_s=30)
        await tea.nodes.poll()
        (document,) = outlet_of(tea.bob).of("room")
        assert (document["title"], document["slow_mode_s"]) == ("Green", 30)
        await tea.nodes.at(tea.nodes.b).send(tea.bob)
        assert await refusal_of(tea.nodes.b.send(tea.bob)) == "slow_mode"

    async def test_are_not_told_twice_where_it_was_done(self, tea: Tea) -> None:
        await tea.order("update", title="Green")
        await tea.order("role", user="bob", role="moderator")
        assert len(outlet_of(tea.ada).of("room")) == 1
        assert len(outlet_of(tea.ada).of("member")) == 1

    async def test_and_others_are_told_that_the_room_is_gone(self, tea: Tea) -> None:
        other = await tea.nodes.at(tea.nodes.b).enter("bob")
        await tea.order("delete")
        for client in (tea.bob, other):
            assert outlet_of(client).of("room:removed") == [{"room": "tea", "reason": "deleted"}]
        assert tea.nodes.b.chat.house.rooms.known("tea") is None
        assert await refusal_of(tea.nodes.b.send(tea.bob)) == "not_found"

    async def test_the_count_of_members_is_kept(self, tea: Tea) -> None:
        cem = await tea.nodes.at(tea.nodes.a).enter("cem")
        await tea.nodes.a.join(cem)
        await tea.nodes.poll()
        room = tea.nodes.b.chat.house.rooms.known("tea")
        assert room is not None
        assert room.record.members == 3


class TestReplies:
    """What a node does itself it tells when the store replies; the log makes up for replies that are lost or late."""

    async def test_a_reply_that_never_came_is_made_up_for(self, tea: Tea) -> None:
        await tea.order("role", user="bob", role="owner")
        node = tea.nodes.at(tea.nodes.b)
        cem = await node.enter("cem")
        await node.join(cem)
        held = node.store.hold("mute")
        muting = asyncio.ensure_future(node.chat.membership.mute(tea.bob, {"room": "tea", "user": "cem"}))
        await held.wait()
        muting.cancel()
        node.store.let_go("mute")
        await tea.nodes.poll()
        assert await refusal_of(node.send(cem)) == "muted"

    async def test_members_who_left_by_one_are_told_of(self, tea: Tea) -> None:
        await tea.order("role", user="bob", role="owner")
        cem = await tea.nodes.at(tea.nodes.a).enter("cem")
        await tea.nodes.a.join(cem)
        await tea.nodes.poll()
        tea.told.clear()
        node = tea.nodes.at(tea.nodes.b)
        held = node.store.hold("leave")
        kicking = asyncio.ensure_future(node.chat.membership.kick(tea.bob, {"room": "tea", "user": "cem"}))
        await held.wait()
        kicking.cancel()
        node.store.let_go("leave")
        await asyncio.wait({kicking})
        await tea.nodes.poll()
        assert [(event, data["user"]["id"], data["left"]) for event, data in tea.told] == [("member", "cem", True)]
        assert outlet_of(cem).of("room:removed") == [{"room": "tea", "reason": "kicked"}]

    async def test_one_that_comes_while_the_store_is_asked_is_newer_than_the_answer(self, tea: Tea) -> None:
        await tea.nodes.at(tea.nodes.a).chat.membership.mute(tea.ada, {"room": "tea", "user": "bob", "seconds": 9})
        node = tea.nodes.at(tea.nodes.b)
        held = node.store.hold("standings_at")
        polling = asyncio.ensure_future(node.chat.control.poll())
        await held.wait()
        await node.chat.membership.leave(tea.bob, {"room": "tea"})
        node.store.let_go("standings_at")
        await polling
        assert tea.bob.user.standings[node.uid()].role is None
        await tea.nodes.poll()
        assert tea.bob.user.standings[node.uid()].role is None
        assert outlet_of(tea.bob).of("room:removed") == []

    async def test_it_is_newer_for_those_who_are_not_connected_too(self, tea: Tea) -> None:
        await tea.order("role", user="bob", role="owner")
        cem = await tea.nodes.at(tea.nodes.a).enter("cem")
        await tea.nodes.a.join(cem)
        tea.told.clear()
        node = tea.nodes.at(tea.nodes.b)
        held = node.store.hold("standings_at")
        polling = asyncio.ensure_future(node.chat.control.poll())
        await held.wait()
        await node.chat.membership.kick(tea.bob, {"room": "tea", "user": "cem"})
        node.store.let_go("standings_at")
        await polling
        await tea.nodes.poll()
        assert {each.get("left") for each in outlet_of(tea.bob).of("member")} == {True}

    async def test_one_that_is_late_leaves_no_older_state(self, tea: Tea) -> None:
        await tea.order("role", user="bob", role="owner")
        cem = await tea.nodes.at(tea.nodes.b).enter("cem")
        await tea.nodes.b.join(cem)
        await tea.nodes.poll()
        node = tea.nodes.at(tea.nodes.b)
        held = node.store.hold("set_role")
        asking = asyncio.ensure_future(
            node.chat.membership.role(tea.bob, {"room": "tea", "user": "cem", "role": "moderator"})
        )
        await held.wait()
        await tea.order("kick", user="cem")
        await tea.nodes.poll()
        assert outlet_of(cem).of("room:removed") != []
        node.store.let_go("set_role")
        await asking
        await tea.nodes.poll()
        assert node.uid() not in cem.user.standings
        assert await refusal_of(node.send(cem)) == "forbidden"

    async def test_of_a_join_that_is_late_the_membership_is_over_all_the_same(self, tea: Tea) -> None:
        node = tea.nodes.at(tea.nodes.b)
        cem = await node.enter("cem")
        held = node.store.hold("join")
        joining = asyncio.ensure_future(node.join(cem))
        await held.wait()
        await tea.order("kick", user="cem")
        node.store.let_go("join")
        await joining
        await tea.nodes.poll()
        assert outlet_of(cem).of("room:removed") == [{"room": "tea", "reason": "left"}]
        assert outlet_of(cem) not in node.fanout.members(node.uid())
        assert await refusal_of(node.send(cem)) == "forbidden"

    async def test_of_a_poll_that_failed_nothing_is_lost(self, tea: Tea) -> None:
        await tea.nodes.at(tea.nodes.a).chat.membership.kick(tea.ada, {"room": "tea", "user": "bob"})
        tea.nodes.b.store.fail("standings_at", HubbubError("unavailable"))
        with pytest.raises(HubbubError, match="unavailable"):
            await tea.nodes.at(tea.nodes.b).chat.control.poll()
        await tea.nodes.poll()
        assert outlet_of(tea.bob).of("room:removed") == [{"room": "tea", "reason": "kicked"}]


class TestWhenEverythingMayHaveChanged:
    async def test_all_is_looked_at(self, tea: Tea) -> None:
        node = tea.nodes.at(tea.nodes.a)
        room = await node.room(tea.ada, "private", kind="private")
        await tea.nodes.poll()
        outlet_of(tea.bob).sent.clear()
        await tea.nodes.at(tea.nodes.a).chat.membership.invite(tea.ada, {"room": room, "user": "bob"})
        await node.chat.membership.kick(tea.ada, {"room": "tea", "user": "bob"})
        await node.chat.rooms.update(tea.ada, {"room": "tea", "title": "Green"})
        await tea.nodes.history.ledger.prune(before=2**53, keep=1)
        for _ in range(4):
            await tea.nodes.poll()
        assert [each["room"]["id"] for each in outlet_of(tea.bob).of("room:added")] == [room]
        assert outlet_of(tea.bob).of("room:removed") == [{"room": "tea", "reason": "left"}]
        active = tea.nodes.b.chat.house.rooms.known("tea")
        assert active is not None
        assert active.record.title == "Green"

    async def test_a_room_that_is_gone_is_closed(self, tea: Tea) -> None:
        await tea.nodes.at(tea.nodes.a).chat.rooms.delete(tea.ada, {"room": "tea"})
        await tea.nodes.a.room(tea.ada, "coffee")
        await tea.nodes.history.ledger.prune(before=2**53, keep=1)
        for _ in range(4):
            await tea.nodes.poll()
        assert outlet_of(tea.bob).of("room:removed") == [{"room": "tea", "reason": "deleted"}]


# -- against a model ---------------------------------------------------------------------------------------------------

USERS = ("ada", "bob", "cem", "dan")
ROOMS = ("tea", "pie")
ACTIONS = ("join", "join", "leave", "invite", "kick", "ban", "unban", "mute", "role", "update", "delete", "create")

Step = tuple[str, int, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*ACTIONS, "poll a", "poll b"]),
        st.integers(0, 1),
        st.integers(0, len(USERS) - 1),
        st.integers(0, len(USERS) - 1),
        st.integers(0, len(ROOMS) - 1),
    ),
    min_size=10,
    max_size=40,
)


class Crowd:
    """Every user has a connection on each of two nodes, and keeps the view of the rooms that they were told of."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.clients: dict[tuple[int, str], Client] = {}
        self.views: dict[tuple[int, str], dict[str, dict[str, str]]] = {}
        self.read: dict[tuple[int, str], int] = {}

    async def begin(self) -> None:
        for number, node in enumerate((self.nodes.a, self.nodes.b)):
            for user in USERS:
                self.clients[number, user] = await self.nodes.at(node).enter(user)
                self.views[number, user] = {}
                self.read[number, user] = 0
        for room in ROOMS:
            await self.nodes.at(self.nodes.a).room(self.clients[0, "ada"], room)

    def node(self, number: int) -> ChatHouse:
        return self.nodes.at((self.nodes.a, self.nodes.b)[number])

    async def step(self, step: Step) -> None:
        what, number, actor, target, room = step
        if what.startswith("poll"):
            await self.node("ab".index(what[-1])).chat.control.poll()
            return
        try:
            await self.act(what, number, USERS[actor], USERS[target], ROOMS[room])
        except HubbubError as error:
            if error.code in ("unavailable", "internal"):
                raise

    async def act(self, what: str, number: int, actor: str, target: str, room: str) -> None:
        node, client = self.node(number), self.clients[number, actor]
        chat, request = node.chat, {"room": room, "user": target}
        works: Mapping[str, Any] = {
            "leave": lambda: chat.membership.leave(client, {"room": room}),
            "invite": lambda: chat.membership.invite(client, request),
            "kick": lambda: chat.membership.kick(client, request),
            "ban": lambda: chat.membership.ban(client, request),
            "unban": lambda: chat.membership.unban(client, request),
            "mute": lambda: chat.membership.mute(client, request | {"seconds": len(target + room)}),
            "role": lambda: chat.membership.role(client, request | {"role": ("owner", "moderator")[len(target) % 2]}),
            "update": lambda: chat.rooms.update(client, {"room": room, "title": f"{actor} {target} {number}"}),
            "delete": lambda: chat.rooms.delete(client, {"room": room}),
            "create": lambda: node.room(client, room),
        }
        if what == "join":
            await self.join(number, actor, room)
        else:
            work: Awaitable[object] = works[what]()
            await work
            if what == "leave":
                self.look(number, actor)
                self.views[number, actor].pop(room, None)

    async def join(self, number: int, user: str, room: str) -> None:
        client = self.clients[number, user]
        self.look(number, user)
        self.views[number, user].pop(room, None)
        answer = await self.node(number).join(client, room)
        # What came before the ack is in its list.
        self.read[number, user] = len(outlet_of(client).sent)
        self.views[number, user][room] = {each["user"]["id"]: each["role"] for each in answer["members"]}

    def look(self, number: int, user: str) -> None:
        """Take in what the client was sent since the last look."""
        sent, view = outlet_of(self.clients[number, user]).sent, self.views[number, user]
        for event, data in sent[self.read[number, user] :]:
            if event == "room:removed":
                view.pop(data["room"], None)
            elif event == "member" and data["room"] in view:
                if data.get("left"):
                    view[data["room"]].pop(data["user"]["id"], None)
                else:
                    view[data["room"]][data["user"]["id"]] = data["role"]
        self.read[number, user] = len(sent)

    async def check(self) -> None:
        """Both nodes know what the store has, and so does every client of the rooms that it is in."""
        history = self.nodes.history
        there: dict[str, dict[str, str]] = {}
        records = {}
        for room in ROOMS:
            record = await history.room(room)
            if record is not None:
                records[record.uid] = record
                page = await history.members(record.uid, limit=100, cursor=None)
                there[room] = {standing.user: str(standing.role) for standing, _ in page.members}
        for user in USERS:
            standings = {uid: said(each) for uid, each in (await history.standings_of(user)).items()}
            for number in range(2):
                known = self.clients[number, user].user.standings
                assert {uid: said(each) for uid, each in known.items()} == standings, (number, user)
                self.look(number, user)
                view = self.views[number, user]
                client = self.clients[number, user]
                fanout = self.node(number).fanout
                for uid, record in records.items():
                    is_in = outlet_of(client) in set(fanout.members(uid))
                    assert is_in == (record.id in view), (number, user, record.id)
                    if is_in:
                        assert view[record.id] == there[record.id], (number, user)
                        assert user in there[record.id]
                assert set(view) <= set(there)
        for number in range(2):
            for active in self.node(number).chat.house.rooms.all():
                record = records[active.uid]
                assert (active.record.title, active.record.members) == (record.title, record.members)


def said(standing: Standing) -> Standing:
    return replace(standing, read_seq=0)


async def run(nodes: Nodes, steps: list[Step]) -> None:
    crowd = Crowd(nodes)
    await crowd.begin()
    for step in steps:
        await crowd.step(step)
    await nodes.poll()
    await crowd.check()


class TestWhateverIsDone:
    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(STEPS)
    def test_after_the_next_polls_both_nodes_and_all_clients_know_what_the_store_has(self, steps: list[Step]) -> None:
        async def test() -> None:
            with tempfile.TemporaryDirectory() as path:
                async with two_nodes(Path(path)) as nodes:
                    await run(nodes, steps)

        asyncio.run(test())

    @settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
    @given(steps=STEPS)
    def test_on_mongodb_too(self, mongo: SharedMongo, steps: list[Step]) -> None:
        async def test() -> None:
            with mongo.database() as uri:
                async with two_nodes_on_mongo(uri) as nodes:
                    await run(nodes, steps)

        with patient_calls():
            asyncio.run(test())
