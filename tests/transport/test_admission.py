"""The order of the events of one connection.

The rules are restated here over what happened: each test lets handlers take their places and finish in an order that
has nothing to do with that of admission, then looks at when each event began, was acknowledged and was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.transport.admission import Lane
from hubbub.transport.base import Incoming, Order


class Line:
    """A lane whose handlers do what the test says, when it says so; `log` is what happened, in order."""

    def __init__(self, *, limit: int = 256) -> None:
        self.lane = Lane(limit=limit)
        self.log: list[tuple[str, int]] = []
        self.orders: list[Order] = []
        self.began: dict[int, Incoming] = {}
        self.ends: list[asyncio.Future[Any]] = []
        self.turn = 0

    def admit(self, order: Order, *, after_ack: int = 0) -> int:
        number = len(self.orders)
        self.orders.append(order)
        self.ends.append(asyncio.get_running_loop().create_future())

        async def work(incoming: Incoming) -> Any:
            self.log.append(("begin", number))
            self.began[number] = incoming
            incoming.after_ack.extend([lambda: self.log.append(("after", number))] * after_ack)
            return await self.ends[number]

        def reply(result: Any) -> None:
            assert result == number
            self.log.append(("ack", number))
            # Whatever else runs in the loop would be seen between the ack and what must follow it.
            asyncio.get_running_loop().call_soon(self.log.append, ("turn", number))

        self.lane.admit("event", (number,), order=order, work=work, reply=reply)
        return number

    def take(self, number: int) -> None:
        self.log.append(("take", number))
        self.began[number].admitted()

    def end(self, number: int) -> None:
        self.log.append(("end", number))
        self.ends[number].set_result(number)

    def at(self, what: str, number: int) -> int:
        return self.log.index((what, number))

    def is_full(self) -> bool:
        return self.lane.is_full

    def of(self, what: str) -> list[int]:
        return [number for kind, number in self.log if kind == what]


async def settle() -> None:
    """Let everything happen that can happen without further help."""
    for _ in range(8):
        await asyncio.sleep(0)


def check_rules(line: Line) -> None:
    """Order of admission, with its two exceptions."""
    assert sorted(line.of("ack")) == list(range(len(line.orders)))
    in_line = [n for n, order in enumerate(line.orders) if order is not Order.FREE]
    assert [n for n in line.of("ack") if n in in_line] == in_line
    for place, number in enumerate(in_line):
        for before in in_line[:place]:
            if all(line.orders[each] is Order.PIPELINED for each in in_line[in_line.index(before) : place + 1]):
                had_place = [at for at in ("take", "ack") if (at, before) in line.log]
                assert min(line.at(at, before) for at in had_place) < line.at("begin", number)
            else:
                assert line.at("ack", before) < line.at("begin", number)


class TestOrder:
    @given(
        orders=st.lists(st.sampled_from(list(Order)), min_size=1, max_size=9),
        after_acks=st.lists(st.integers(0, 2), min_size=9, max_size=9),
        data=st.data(),
    )
    def test_events_begin_and_are_acked_by_the_rules(
        self, orders: list[Order], after_acks: list[int], data: st.DataObject
    ) -> None:
        async def scenario() -> Line:
            line = Line()
            waiting = list(zip(orders, after_acks, strict=False))
            taken: set[int] = set()
            ended: set[int] = set()
            while waiting or len(ended) < len(orders):
                steps: list[tuple[str, int]] = [("admit", 0)] if waiting else []
                steps += [("end", n) for n in line.began if n not in ended]
                steps += [("take", n) for n in line.began if n not in ended | taken]
                what, number = data.draw(st.sampled_from(steps))
                if what == "admit":
                    order, callbacks = waiting.pop(0)
                    line.admit(order, after_ack=callbacks)
                elif what == "take":
                    line.take(number)
                    taken.add(number)
                else:
                    line.end(number)
                    ended.add(number)
                if data.draw(st.booleans()):
                    await settle()
                if not waiting and not any(n not in ended for n in line.began):
                    await settle()
            await line.lane.wait_idle()
            return line

        line = asyncio.run(scenario())
        check_rules(line)
        for number in range(len(orders)):
            count = after_acks[number]
            at = line.at("ack", number)
            assert line.log[at + 1 : at + 1 + count] == [("after", number)] * count
            assert line.of("after").count(number) == count

    async def test_a_serial_event_waits_for_the_one_before(self) -> None:
        line = Line()
        line.admit(Order.SERIAL)
        line.admit(Order.SERIAL)
        await settle()
        assert line.of("begin") == [0]
        line.take(0)
        await settle()
        assert line.of("begin") == [0]
        line.end(0)
        await settle()
        assert line.of("begin") == [0, 1]
        line.end(1)
        await line.lane.wait_idle()

    async def test_a_pipelined_event_begins_when_the_one_before_has_its_place(self) -> None:
        line = Line()
        line.admit(Order.PIPELINED)
        line.admit(Order.PIPELINED)
        await settle()
        assert line.of("begin") == [0]
        line.take(0)
        await settle()
        assert line.of("begin") == [0, 1]
        line.end(1)
        await settle()
        assert line.of("ack") == []
        line.end(0)
        await line.lane.wait_idle()
        assert line.of("ack") == [0, 1]

    async def test_taking_a_place_twice_changes_nothing(self) -> None:
        line = Line()
        line.admit(Order.PIPELINED)
        await settle()
        line.take(0)
        line.take(0)
        line.end(0)
        await line.lane.wait_idle()
        assert line.of("ack") == [0]

    async def test_a_free_event_waits_for_nothing_and_holds_up_nobody(self) -> None:
        line = Line()
        line.admit(Order.SERIAL)
        line.admit(Order.FREE)
        line.admit(Order.SERIAL)
        await settle()
        assert line.of("begin") == [0, 1]
        line.end(0)
        await settle()
        assert line.of("begin") == [0, 1, 2]
        line.end(1)
        line.end(2)
        await line.lane.wait_idle()

    async def test_the_event_carries_its_name_and_arguments(self) -> None:
        lane = Lane()
        seen: list[Incoming] = []

        async def work(incoming: Incoming) -> None:
            seen.append(incoming)

        lane.admit("message:send", ({"body": "hi"}, 2), order=Order.SERIAL, work=work, reply=lambda result: None)
        await lane.wait_idle()
        assert [(each.name, each.args) for each in seen] == [("message:send", ({"body": "hi"}, 2))]


class TestAfterTheAck:
    async def test_nothing_comes_between_the_ack_and_what_follows_it(self) -> None:
        line = Line()
        line.admit(Order.PIPELINED, after_ack=2)
        line.admit(Order.PIPELINED, after_ack=1)
        await settle()
        line.take(0)
        await settle()
        line.end(1)
        line.end(0)
        await line.lane.wait_idle()
        await settle()
        after = [step for step in line.log if step[0] in ("ack", "after", "turn")]
        assert after[:3] == [("ack", 0), ("after", 0), ("after", 0)]
        assert after[after.index(("ack", 1)) + 1] == ("after", 1)


class TestFailures:
    """Handlers do not raise by contract; if one does, those behind it must not be hurt."""

    @staticmethod
    async def run(order: Order, fail: Callable[[Line, int], None]) -> Line:
        """Three events; the one in the middle fails while the first is under way."""
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        line = Line()
        for _ in range(3):
            line.admit(order)
        await settle()
        if order is Order.PIPELINED:
            line.take(0)
            await settle()
        else:
            line.end(0)
            await settle()
        fail(line, 1)
        await settle()
        return line

    @staticmethod
    def raising(line: Line, number: int) -> None:
        line.ends[number].set_exception(RuntimeError("broken"))

    @staticmethod
    def cancelled(line: Line, number: int) -> None:
        line.ends[number].cancel()

    @pytest.mark.parametrize("fail", ["raising", "cancelled"])
    async def test_those_behind_a_serial_handler_that_fails_go_on(self, fail: str) -> None:
        line = await self.run(Order.SERIAL, getattr(self, fail))
        assert line.of("begin") == [0, 1, 2]
        line.end(2)
        await line.lane.wait_idle()
        assert line.of("ack") == [0, 2]

    @pytest.mark.parametrize("fail", ["raising", "cancelled"])
    async def test_a_pipelined_handler_that_fails_does_not_let_others_overtake(self, fail: str) -> None:
        line = await self.run(Order.PIPELINED, getattr(self, fail))
        line.admit(Order.SERIAL)
        await settle()
        assert 3 not in line.of("begin"), "a serial event began before the first was done"
        if 2 in line.of("begin"):
            line.end(2)
            await settle()
        assert line.of("ack") == []
        line.end(0)
        await settle()
        if not line.ends[2].done():
            line.end(2)
        await settle()
        line.end(3)
        await line.lane.wait_idle()
        assert line.of("ack") == [0, 2, 3]

    async def test_a_reply_that_fails_does_not_block_the_lane(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        lane = Lane()
        replied: list[str] = []

        async def work(incoming: Incoming) -> str:
            return incoming.name

        def reply(result: str) -> None:
            if result == "bad":
                raise RuntimeError("broken")
            replied.append(result)

        for name in ("bad", "good"):
            lane.admit(name, (), order=Order.SERIAL, work=work, reply=reply)
        await lane.wait_idle()
        assert replied == ["good"]


class TestBounds:
    async def test_a_lane_is_full_when_as_many_wait_or_run_as_it_takes(self) -> None:
        line = Line(limit=2)
        line.admit(Order.SERIAL)
        assert not line.is_full()
        line.admit(Order.SERIAL)
        assert line.is_full()
        room = asyncio.ensure_future(line.lane.wait_for_room())
        await settle()
        assert not room.done()
        line.end(0)
        await room
        assert not line.is_full()
        line.end(1)
        await line.lane.wait_idle()

    async def test_free_events_count_as_well(self) -> None:
        line = Line(limit=1)
        line.admit(Order.FREE)
        assert line.is_full()
        await settle()
        line.end(0)
        await line.lane.wait_for_room()

    async def test_who_stops_waiting_takes_nobody_along(self) -> None:
        line = Line(limit=1)
        line.admit(Order.SERIAL)
        one, other = (asyncio.ensure_future(line.lane.wait_for_room()) for _ in range(2))
        await settle()
        one.cancel()
        await settle()
        assert one.cancelled()
        line.end(0)
        await other

    async def test_an_empty_lane_is_idle_and_holds_nothing(self) -> None:
        line = Line()
        await line.lane.wait_idle()
        line.admit(Order.SERIAL)
        await settle()
        line.end(0)
        await line.lane.wait_idle()
        assert line.lane._last is None
        assert not line.lane._tasks
