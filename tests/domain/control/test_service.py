"""Orders: in force at once where they are given, on every other node when it reads the log, and after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hubbub.domain.control import service as module
from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Ban, Beat, Entry
from hubbub.history.sqlite import SqliteHistory
from tests.support.domain import identity_of
from tests.support.house import ChatHouse, outlet_of
from tests.support.nodes import Nodes, become


def code(node: ChatHouse, user: str, **more: Any) -> str | None:
    try:
        node.chat.control.check(replace(identity_of(user), **more))
    except HubbubError as error:
        return error.code
    return None


async def newcomer(nodes: Nodes) -> ChatHouse:
    """A node that starts now, at the same store."""
    assert isinstance(nodes.history, SqliteHistory)
    become(nodes.history, "c", nodes.clock)
    node = ChatHouse(nodes.history, limits=nodes.a.chat.house.limits, clock=nodes.clock, node="c")
    await node.chat.load()
    return node


class TestBans:
    async def test_hold_at_once_and_elsewhere_after_the_next_poll(self, nodes: Nodes) -> None:
        await nodes.at(nodes.a).chat.control.ban("root", "bob", seconds=None, reason="spam")
        assert nodes.doors["a"].ended == [("bob", "banned", None, None)]
        assert (code(nodes.a, "bob"), code(nodes.b, "bob")) == ("banned", None)
        await nodes.poll()
        assert nodes.doors["b"].ended == [("bob", "banned", None, None)]
        assert nodes.doors["a"].ended == [("bob", "banned", None, None)]
        assert code(nodes.b, "bob") == "banned"
        assert [(ban.user, ban.until, ban.reason, ban.by) for ban in nodes.b.chat.control.bans()] == [
            ("bob", FOREVER, "spam", "root")
        ]

    async def test_end_by_themselves_or_by_order(self, nodes: Nodes) -> None:
        control = nodes.at(nodes.a).chat.control
        await control.ban("root", "bob", seconds=60, reason="spam")
        await control.ban("root", "cem", seconds=None, reason="spam")
        await nodes.poll()
        nodes.clock.forward(60)
        await nodes.at(nodes.b).chat.control.unban("root", "cem")
        await nodes.b.chat.control.unban("root", "dan")
        await nodes.poll()
        for node in (nodes.a, nodes.b):
            assert [code(node, user) for user in ("bob", "cem", "dan")] == [None, None, None]
            assert node.chat.control.bans() == []

    async def test_hold_on_a_node_that_starts_later(self, nodes: Nodes) -> None:
        await nodes.at(nodes.a).chat.control.ban("root", "bob", seconds=None, reason="spam")
        node = await newcomer(nodes)
        assert code(node, "bob") == "banned"
        await node.chat.close()

    async def test_that_nobody_could_write_down_are_found_in_the_log(self, nodes: Nodes) -> None:
        """The node that gave the order died right after."""
        await nodes.history.ledger.append(
            [
                Entry("ban", "k1", 1, {"user": "bob", "until": FOREVER, "reason": "spam", "by": "root"}),
                Entry("revoke", "k2", 1, {"user": "cem", "before": 5000, "reason": "lost", "by": "root"}),
                Entry("disconnect", "k3", 1, {"user": "dan", "reason": "go"}),
            ]
        )
        node = await newcomer(nodes)
        assert (code(node, "bob"), code(node, "cem", issued_at=1)) == ("banned", "unauthorized")
        await node.chat.control.poll()
        kept = await nodes.history.ledger.sanctions(now=0)
        assert (len(kept.bans), len(kept.revocations)) == (1, 1)
        await node.chat.close()

    async def test_that_the_store_did_not_keep_are_given_it_again(self, nodes: Nodes) -> None:
        ledger = nodes.history.ledger
        keep = ledger.put_ban

        async def fail(ban: Ban) -> None:
            raise HubbubError("unavailable")

        ledger.put_ban = fail  # type: ignore[method-assign]
        await nodes.at(nodes.a).chat.control.ban("root", "bob", seconds=None, reason="spam")
        assert code(nodes.a, "bob") == "banned"
        assert (await ledger.sanctions(now=0)).bans == []
        ledger.put_ban = keep  # type: ignore[method-assign]
        await nodes.poll()
        assert len((await ledger.sanctions(now=0)).bans) == 1


class TestRevocations:
    async def test_of_a_user_end_what_stands_on_older_tokens(self, nodes: Nodes) -> None:
        await nodes.at(nodes.a).chat.control.revoke_user("root", "bob", reason="lost")
        await nodes.poll()
        now = nodes.clock.now
        for name, node in (("a", nodes.a), ("b", nodes.b)):
            assert nodes.doors[name].ended == [("bob", "unauthorized", now, None)]
            assert code(node, "bob", issued_at=now) == "unauthorized"
            assert code(node, "bob", issued_at=now + 1000) is None

    async def test_of_a_token_end_what_stands_on_it(self, nodes: Nodes) -> None:
        await nodes.at(nodes.a).chat.control.revoke_jti("root", "t1", reason="lost")
        await nodes.poll()
        for name, node in (("a", nodes.a), ("b", nodes.b)):
            assert nodes.doors[name].ended == [("t1", "unauthorized")]
            assert code(node, "bob", jti="t1") == "unauthorized"
            assert code(node, "bob", jti="t2") is None


class TestOtherOrders:
    async def test_connections_that_were_there_are_ended_once(self, nodes: Nodes) -> None:
        control = nodes.at(nodes.a).chat.control
        await control.disconnect_user("bob", reason="go")
        await control.disconnect_connection("c7", reason="go")
        await nodes.poll()
        await nodes.poll()
        for name in "ab":
            assert nodes.doors[name].ended == [("bob", "forbidden", None, nodes.clock.now), ("c7", "forbidden")]

    async def test_a_node_is_drained_by_its_name(self, nodes: Nodes) -> None:
        await nodes.at(nodes.a).chat.control.drain("b")
        await nodes.poll()
        node = await newcomer(nodes)
        await node.chat.control.poll()
        assert (nodes.doors["a"].ended, nodes.doors["b"].ended) == ([], [("drain",)])
        await node.chat.close()

    async def test_a_notice_comes_to_everybody_once(self, nodes: Nodes) -> None:
        clients = [await nodes.at(node).enter(user) for node in (nodes.a, nodes.b) for user in ("ada", "bob")]
        await nodes.at(nodes.a).chat.control.notice(None, level="info", text="Tea at five.")
        await nodes.poll()
        await asyncio.sleep(0)
        for client in clients:
            assert outlet_of(client).of("notice") == [{"level": "info", "text": "Tea at five."}]

    async def test_a_notice_to_a_room_comes_to_its_subscribers(self, nodes: Nodes) -> None:
        ada = await nodes.at(nodes.a).enter("ada")
        await nodes.a.room(ada)
        bob, cem = [await nodes.at(nodes.b).enter(user) for user in ("bob", "cem")]
        await nodes.b.join(bob)
        room = nodes.a.chat.house.rooms.known("tea")
        await nodes.at(nodes.a).chat.control.notice(room, level="warning", text="Hot.")
        await nodes.poll()
        assert [len(outlet_of(client).of("notice")) for client in (ada, bob, cem)] == [0, 1, 0]

    async def test_what_cannot_be_applied_does_not_keep_the_rest_from_it(self, nodes: Nodes) -> None:
        await nodes.history.ledger.append([Entry("ban", "k1", 1, {"nonsense": True})])
        await nodes.at(nodes.a).chat.control.ban("root", "bob", seconds=None, reason="spam")
        await nodes.poll()
        assert code(nodes.b, "bob") == "banned"

    async def test_with_the_store_away_orders_are_refused_and_what_is_known_holds(self, nodes: Nodes) -> None:
        control = nodes.at(nodes.a).chat.control
        await control.ban("root", "bob", seconds=None, reason="spam")
        await nodes.history.close()
        with pytest.raises(HubbubError, match="unavailable"):
            await control.ban("root", "cem", seconds=None, reason="spam")
        assert (code(nodes.a, "bob"), code(nodes.a, "cem")) == ("banned", None)


class TestRecovering:
    async def test_sanctions_are_what_the_store_has_and_are_enforced(self, nodes: Nodes) -> None:
        control = nodes.at(nodes.a).chat.control
        await control.ban("root", "bob", seconds=None, reason="spam")
        await control.revoke_user("root", "cem", reason="lost")
        await control.revoke_jti("root", "t1", reason="lost")
        await nodes.history.ledger.prune(before=2**53, keep=1)
        for _ in range(2):
            await nodes.poll()
        assert sorted(nodes.doors["b"].ended, key=str) == [
            ("bob", "banned", None, None),
            ("cem", "unauthorized", nodes.clock.now, None),
            ("t1", "unauthorized"),
        ]

    async def test_a_store_that_does_not_answer_lets_nobody_in(self, nodes: Nodes) -> None:
        await nodes.history.close()
        node = ChatHouse(nodes.history, limits=nodes.a.chat.house.limits, clock=nodes.clock, node="c")
        with pytest.raises(HubbubError, match="unavailable"):
            await node.chat.load()
        await nodes.history.open()
        await node.chat.load()
        await node.chat.close()


class TestNodes:
    async def test_those_that_beat_are_listed_and_oneself(self, nodes: Nodes) -> None:
        nodes.b.chat.control.about = lambda: {"users": 7}
        at = nodes.clock.now
        await nodes.history.ledger.beat(Beat("b", "b", at, {"users": 7}))
        await nodes.history.ledger.beat(Beat("old", "o", at - module.LIVING_MS - 1))
        found = await nodes.at(nodes.a).chat.control.nodes()
        assert [(beat.name, beat.origin, beat.about) for beat in found] == [("a", "a", {}), ("b", "b", {"users": 7})]

    async def test_of_several_processes_with_one_name_the_newest_lives(self, nodes: Nodes) -> None:
        at = nodes.clock.now
        for name, origin, age in (("b", "z", 3000), ("b", "y", 1000), ("b", "x", 2000), ("a", "killed", 500)):
            await nodes.history.ledger.beat(Beat(name, origin, at - age))
        found = await nodes.at(nodes.a).chat.control.nodes()
        assert [(beat.name, beat.origin) for beat in found] == [("a", "a"), ("b", "y")]

    async def test_it_follows_and_beats_by_itself(self, nodes: Nodes) -> None:
        await nodes.at(nodes.a).chat.control.ban("root", "bob", seconds=None, reason="spam")
        control = nodes.at(nodes.b).chat.control
        control.start()
        control.hurry()
        async with asyncio.timeout(20):
            while code(nodes.b, "bob") is None or not await nodes.history.ledger.beats(since=0):
                await asyncio.sleep(0.001)
        assert control.applied == 1
        assert control.lag_s < 20
