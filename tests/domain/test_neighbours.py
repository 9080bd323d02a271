"""Two nodes over one store and one bus: what happens on one is known on the other at once, and to the right people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hubbub.cluster.bus import Offer, Whisper
from hubbub.cluster.memory import MemoryBus
from hubbub.domain import activity
from hubbub.domain.limits import Limits
from hubbub.domain.roster import Client
from hubbub.history.base import History
from tests.support.history import open_sqlite
from tests.support.house import ChatHouse, outlet_of
from tests.support.waiting import until


class Bus(MemoryBus):
    """Keeps in mind what was said, and may lose it."""

    def __init__(self, exchange: list[MemoryBus]) -> None:
        super().__init__(exchange)
        self.offered: list[tuple[str, int]] = []
        self.loses = False
        self.listened: set[str] = self._listening

    def offer(self, uid: str, offer: Offer) -> None:
        self.offered.append((uid, offer.rev))
        if not self.loses:
            super().offer(uid, offer)


class Pair:
    def __init__(self, history: History) -> None:
        exchange: list[MemoryBus] = []
        self.buses = [Bus(exchange) for _ in range(2)]
        self.one, self.two = [
            ChatHouse(history, limits=Limits(), bus=bus, node=f"n{number}") for number, bus in enumerate(self.buses)
        ]

    async def __aenter__(self) -> Pair:
        for house in (self.one, self.two):
            await house.chat.load()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for house in (self.one, self.two):
            await house.chat.close()
            await house.writer.drain(5)

    async def uid(self, room: str = "tea") -> str:
        found = await self.one.chat.house.rooms.get(room)
        assert found is not None
        return found.uid


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        history = await stack.enter_async_context(open_sqlite(tmp_path / "h.db"))
        yield await stack.enter_async_context(Pair(history))


def revs(client: Client) -> list[int]:
    return [message["rev"] for message in outlet_of(client).of("message")]


async def two_in_tea(pair: Pair) -> tuple[Client, Client]:
    ada, bob = await pair.one.enter("ada"), await pair.two.enter("bob")
    await pair.one.room(ada)
    await pair.one.join(ada)
    await pair.two.join(bob)
    return ada, bob


class TestMessages:
    async def test_what_is_sent_on_one_node_is_seen_on_the_other_without_a_read_of_the_store(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        pair.two.store.calls.clear()
        for number in range(20):
            await pair.one.send(ada, f"hello {number}")
        await until(lambda: len(revs(bob)) == 20)
        assert revs(bob) == revs(ada) == list(range(1, 21))
        assert outlet_of(bob).of("message") == outlet_of(ada).of("message")
        assert "revisions" not in pair.two.store.calls

    async def test_both_send_at_once_and_each_sees_one_order(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        await asyncio.gather(
            *(house.send(client, "x") for _ in range(25) for house, client in ((pair.one, ada), (pair.two, bob)))
        )
        await until(lambda: len(revs(ada)) == len(revs(bob)) == 50)
        assert revs(ada) == revs(bob) == list(range(1, 51))

    async def test_what_the_bus_lost_is_filled_from_the_store(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        pair.buses[0].loses = True
        await pair.one.send(ada, "lost")
        pair.buses[0].loses = False
        await pair.one.send(ada, "heard")
        await until(lambda: len(revs(bob)) == 2)
        assert [message["body"] for message in outlet_of(bob).of("message")] == ["lost", "heard"]

    async def test_what_is_said_twice_late_and_out_of_order_goes_out_once_and_in_order(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        uid = await pair.uid()
        kept: list[Offer] = []
        pair.buses[0].offer = lambda uid, offer: kept.append(offer)  # type: ignore[method-assign]
        for number in range(5):
            await pair.one.send(ada, f"{number}")
        hear = pair.two.chat._delivery.hear
        for offer in (kept[2], kept[1], kept[2], kept[0], kept[4], kept[0], kept[3]):
            hear(uid, [offer])
        assert revs(bob) == [1, 2, 3, 4, 5]

    async def test_edits_and_deletions_are_told_as_well(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        message = await pair.one.send(ada, "helo")
        await pair.one.chat.posting.edit(ada, {"room": "tea", "id": message["id"], "body": "hello"})
        await pair.one.chat.posting.delete(ada, {"room": "tea", "id": message["id"]})
        await until(lambda: len(revs(bob)) == 3)
        assert [(each["body"], each["deleted"]) for each in outlet_of(bob).of("message")] == [
            ("helo", False),
            ("hello", False),
            ("", True),
        ]

    async def test_who_joins_while_offers_come_misses_and_repeats_nothing(self, pair: Pair) -> None:
        ada, _ = await two_in_tea(pair)
        for number in range(5):
            await pair.one.send(ada, f"{number}")
        cyd = await pair.two.enter("cyd")
        sending = asyncio.gather(*(pair.one.send(ada, "x") for _ in range(30)))
        answer = await pair.two.join(cyd)
        await sending
        await until(lambda: pair.two.chat.house.rooms.known("tea").feed.delivered == 35)  # type: ignore[union-attr]
        assert revs(cyd) == list(range(answer["head"] + 1, 36))
        later = await pair.two.join(await pair.two.enter("dan"), since=2, epoch=answer["room"]["epoch"])
        assert [message["rev"] for message in later["messages"]] == list(range(3, 36))


class TestListening:
    async def test_a_node_listens_to_a_room_while_a_member_is_connected_to_it(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        uid = await pair.uid()
        assert uid in pair.buses[0].listened & pair.buses[1].listened
        bob_again = await pair.two.enter("bob")
        pair.two.leave(bob)
        assert uid in pair.buses[1].listened
        pair.two.leave(bob_again)
        assert uid not in pair.buses[1].listened
        assert uid in pair.buses[0].listened
        await pair.one.chat.membership.leave(ada, {"room": "tea"})
        assert uid not in pair.buses[0].listened

    async def test_a_badge_is_shown_of_a_room_that_nobody_here_has_opened(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        pair.two.leave(bob)
        pair.two.chat.house.rooms.forget(await pair.uid())
        bob = await pair.two.enter("bob")
        message = await pair.one.send(ada, "hello @bob")
        assert message["mentions"] == ["bob"]
        await until(lambda: outlet_of(bob).of("activity"), activity.WINDOW_S + 10)
        assert outlet_of(bob).of("activity") == [{"room": "tea", "seq": 1, "mention": True}]


class TestWhispers:
    async def test_typing_reaches_the_room_on_the_other_node(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        await pair.one.chat.posting.typing(ada, {"room": "tea", "on": True})
        await until(lambda: outlet_of(bob).of("typing"))
        assert outlet_of(bob).of("typing") == [{"room": "tea", "user": "ada", "on": True}]
        assert outlet_of(ada).of("typing") == []

    async def test_a_read_mark_reaches_the_room_and_the_users_own_devices_once_each(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        await pair.one.send(ada, "hello")
        joined, looking = await pair.two.enter("ada"), await pair.two.enter("ada")
        await pair.two.join(joined)
        await pair.one.chat.reading.mark(ada, {"room": "tea", "seq": 1})
        document = {"room": "tea", "user": "ada", "seq": 1}
        await until(lambda: all(outlet_of(each).of("read") for each in (bob, joined, looking)))
        for each in (bob, joined, looking):
            assert outlet_of(each).of("read") == [document]

    async def test_of_one_who_is_invisible_only_their_own_devices_know(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        await pair.one.send(ada, "hello")
        looking = await pair.two.enter("ada")
        assert ada.held is not None
        pair.one.chat.house.presence.set_status(ada.held, "invisible", None)
        await pair.one.chat.reading.mark(ada, {"room": "tea", "seq": 1})
        await until(lambda: outlet_of(looking).of("read"))
        assert outlet_of(bob).of("read") == []

    async def test_one_whose_token_does_not_reach_the_room_is_not_told(self, pair: Pair) -> None:
        ada, _ = await two_in_tea(pair)
        limited = await pair.two.enter("ada", rooms=["plans"])
        whole = await pair.two.enter("ada")
        word = Whisper("read", "own", "ada", memoryview(b"{}"))
        pair.buses[0].whisper(await pair.uid(), word)
        await until(lambda: outlet_of(whole).of("read"))
        assert outlet_of(limited).of("read") == []
        assert ada.identity.rooms is None


class TestLosses:
    async def test_after_a_loss_the_heads_are_compared_soon(self, pair: Pair) -> None:
        ada, bob = await two_in_tea(pair)
        for house in (pair.one, pair.two):
            house.chat.start()
        pair.buses[0].loses = True
        await pair.one.send(ada, "lost")
        pair.two.chat._neighbours._on_lost()  # type: ignore[union-attr]
        await until(lambda: revs(bob) == [1], 3)

    async def test_what_is_logged_has_the_others_look_at_once(self, pair: Pair) -> None:
        await two_in_tea(pair)
        looks: list[int] = []
        # The two share one ledger here, so the one that was opened last is told; with a store of several processes each
        # has its own.
        pair.buses[0]._on_hurry = lambda: looks.append(1)
        pair.two.chat.house.history.ledger.on_logged()
        await until(lambda: looks)
