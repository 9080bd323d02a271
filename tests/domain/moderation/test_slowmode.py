"""A turn is a turn, whichever node it was taken on."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.domain.activerooms import SENDERS_REMEMBERED, ActiveRoom
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from tests.support.domain import room_of
from tests.support.house import ChatHouse, refusal_of

SLOW_S = 10


async def slow_room(house: ChatHouse) -> tuple[Client, Client]:
    ada, bob = await house.enter("ada"), await house.enter("bob")
    await house.room(ada)
    for client in (ada, bob):
        await house.join(client)
    await house.chat.rooms.update(ada, {"room": "tea", "slow_mode_s": SLOW_S})
    return ada, bob


class TestNodes:
    async def test_a_sender_gets_no_second_turn_on_another_node(self, house: ChatHouse) -> None:
        _, bob = await slow_room(house)
        node = second_node(house)
        there = await node.enter("bob")
        await house.send(bob)
        house.clock.forward(4)
        with pytest.raises(HubbubError) as caught:
            await node.send(there)
        assert (caught.value.code, caught.value.retry_after) == ("slow_mode", 6)
        house.clock.forward(6)
        await node.send(there)
        assert await refusal_of(house.send(bob)) == "slow_mode"
        await close(node)

    async def test_nor_after_a_restart(self, house: ChatHouse) -> None:
        _, bob = await slow_room(house)
        await house.send(bob)
        node = second_node(house)  # It has seen nothing yet.
        assert await refusal_of(node.send(await node.enter("bob"))) == "slow_mode"
        await close(node)

    async def test_what_the_feed_brought_counts_also_when_it_was_deleted(self, house: ChatHouse) -> None:
        ada, bob = await slow_room(house)
        node = second_node(house)
        there = await node.enter("bob")
        message = await node.send(there)
        room = await house.chat.house.find("tea")
        house.chat._delivery.know(room, await house.store.head(room.uid))
        async with asyncio.timeout(20):
            await room.wait_delivered(message["rev"])
        await node.chat.posting.delete(there, {"room": "tea", "id": message["id"]})
        before = house.store.calls.count("seqs_of")
        assert await refusal_of(house.send(bob)) == "slow_mode"
        assert house.store.calls.count("seqs_of") == before
        await house.send(ada)
        await close(node)


class TestTurns:
    async def test_two_connections_of_a_sender_have_one_turn_while_the_store_is_asked(self, house: ChatHouse) -> None:
        _, bob = await slow_room(house)
        second = await house.enter("bob")
        held = house.store.hold("seqs_of")
        first = asyncio.ensure_future(house.send(bob))
        await held.wait()
        assert await refusal_of(house.send(second)) == "slow_mode"
        held.release()
        await first

    async def test_a_store_that_fails_takes_no_turn(self, house: ChatHouse) -> None:
        _, bob = await slow_room(house)
        house.store.fail("seqs_of", HubbubError("unavailable"))
        assert await refusal_of(house.send(bob)) == "unavailable"
        await house.send(bob)

    async def test_a_room_that_is_not_slow_asks_nothing(self, house: ChatHouse) -> None:
        ada, bob = await slow_room(house)
        await house.send(ada)
        await house.chat.rooms.update(ada, {"room": "tea", "slow_mode_s": 0})
        for _ in range(3):
            await house.send(bob)
        assert "seqs_of" not in house.store.calls

    async def test_a_repeat_is_answered_before_its_turn(self, house: ChatHouse) -> None:
        _, bob = await slow_room(house)
        message = await house.send(bob, key="k")
        node = second_node(house)
        assert await node.send(await node.enter("bob"), key="k") == message
        await close(node)


class TestMemory:
    def test_the_newest_time_counts_and_the_memory_is_bounded(self) -> None:
        room = ActiveRoom(room_of())
        room.note_sent("bob", 7)
        room.note_sent("bob", 3)
        assert room.last_sent == {"bob": 7}
        for number in range(SENDERS_REMEMBERED):
            room.note_sent(f"user-{number}", 9)
        assert len(room.last_sent) == SENDERS_REMEMBERED
        assert "bob" not in room.last_sent


def second_node(house: ChatHouse) -> ChatHouse:
    """Another node over the same store, with the same time."""
    node = ChatHouse(house.store._history, limits=house.chat.house.limits, clock=house.clock)
    node._keys = 1000
    return node


async def close(node: ChatHouse) -> None:
    await node.chat.close()
    await node.writer.drain(20)
