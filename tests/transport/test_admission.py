"""The order of the events of one connection.

The rules are restated here over what happened: each test lets handlers take their places and finish in an order that
has nothing to do with that of admission, then looks at when each event began, was acknowledged and was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.transport.admission import Lane
from hubbub.transport.base import Incoming, Order

TIMEOUT_S = 10.0


class Line:
    """A lane whose handlers do what the test says, when it says so; `log` is what happened, in order."""

    def __init__(self, *, limit: int = 256, limit_bytes: int = 524_288, eager: bool = False) -> None:
        self.log: list[tuple[str, int]] = []
        self.lane = Lane(
            limit=limit,
            limit_bytes=limit_bytes,
            on_room=lambda: self.log.append(("room", -1)),
            on_idle=lambda: self.log.append(("idle", -1)),
        )
        self.eager = eager
        self.orders: list[Order] = []
        self.began: dict[int, Incoming] = {}
        self.ends: list[asyncio.Future[Any]] = []

    def admit(
        self,
        order: Order,
        *,
        after_ack: int = 0,
        size: int = 0,
        eager: bool | None = None,
        pauses: bool = False,
        takes: bool = False,
    ) -> int:
        """One that `pauses` suspends before it does anything; one that `takes` has its place when it begins."""
        number = len(self.orders)
        self.orders.append(order)
        self.ends.append(asyncio.get_running_loop().create_future())

        async def work(incoming: Incoming) -> Any:
            self.log.append(("begin", number))
            if pauses:
                await asyncio.sleep(0)
            self.began[number] = incoming
            incoming.after_ack.extend([lambda: self.log.append(("after", number))] * after_ack)
            if takes:
                self.take(number)
            return await self.ends[number]

        def reply(result: Any) -> None:
            assert result == number
            self.log.append(("ack", number))
            # Whatever else runs in the loop would be seen between the ack and what must follow it.
            asyncio.get_running_loop().call_soon(self.log.append, ("turn", number))

        self.lane.admit(
            "event",
            (number,),
            order=order,
            work=work,
            reply=reply,
            size=size,
            eager=self.eager if eager is None else eager,
        )
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

    def is_idle(self) -> bool:
        return self.lane.is_idle

    def of(self, what: str) -> list[int]:
        return [number for kind, number in self.log if kind == what]

    async def wait_idle(self) -> None:
        await wait_idle(self.lane)


async def wait_idle(lane: Lane) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not lane.is_idle:
            await asyncio.sleep(0)


async def settle() -> None:
    """Let everything happen that can happen without further help."""
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.fixture(params=[False, True], ids=["tasks", "eager"])
def eager(request: pytest.FixtureRequest) -> bool:
    is_eager: bool = request.param
    return is_eager


def check_rules(line: Line) -> None:
    """Order of admission, with its two exceptions."""
    assert sorted(line.of("ack")) == list(range(len(line.orders)))
    in_line = [n for n, order in enumerate(line.orders) if order is not Order.FREE]
    assert [n for n in line.of("ack") if n in in_line] == in_line
    for place, number in enumerate(in_line):
        for before in in_line[:place]:
            if all(line.orders[each] is Order.PIPELINED for each in in_line[in_line.index(before) : place + 1]):
                had_place = [at for at in ("take", "end") if (at, before) in line.log]
                assert min(line.at(at, before) for at in had_place) < line.at("begin", number)
            else:
                assert line.at("ack", before) < line.at("begin", number)


EVENTS = st.tuples(st.sampled_from(list(Order)), st.integers(0, 2), st.booleans(), st.booleans(), st.booleans())


class TestOrder:
    @given(
        events=st.lists(EVENTS, min_size=1, max_size=9),
        choices=st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=27),
    )
    def test_events_begin_and_are_acked_by_the_rules(
        self, events: list[tuple[Order, int, bool, bool, bool]], choices: list[tuple[int, bool]]
    ) -> None:
        async def scenario() -> Line:
            line = Line()
            waiting = list(events)
            chosen = iter(choices)
            taken: set[int] = set()
            ended: set[int] = set()
            while waiting or len(ended) < len(events):
                steps: list[tuple[str, int]] = [("admit", 0)] if waiting else []
                steps += [("end", n) for n in line.began if n not in ended]
                steps += [("take", n) for n in line.began if n not in ended | taken]
                if not steps:
                    await settle()
                    continue
                choice, settles = next(chosen, (0, True))
                what, number = steps[choice % len(steps)]
                if what == "admit":
                    order, callbacks, eager, pauses, takes = waiting.pop(0)
                    line.admit(order, after_ack=callbacks, eager=eager, pauses=pauses, takes=takes)
                elif what == "take":
                    line.take(number)
                    taken.add(number)
                else:
                    line.end(number)
                    ended.add(number)
                if settles:
                    await settle()
            await line.wait_idle()
            await settle()
            return line

        line = asyncio.run(scenario())
        check_rules(line)
        for number, (_, count, *_) in enumerate(events):
            at = line.at("ack", number)
            assert line.log[at + 1 : at + 1 + count] == [("after", number)] * count
            assert line.of("after").count(number) == count
        assert line.log[-1] in (("idle", -1), ("turn", line.of("ack")[-1]))
        assert line.lane._bytes == line.lane._started == 0
        assert not line.lane._line
        assert not line.lane._free

    async def test_a_serial_event_waits_for_the_one_before(self, eager: bool) -> None:
        line = Line(eager=eager)
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
        await line.wait_idle()

    async def test_a_pipelined_event_begins_when_the_one_before_has_its_place(self, eager: bool) -> None:
        line = Line(eager=eager)
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
        await line.wait_idle()
        assert line.of("ack") == [0, 1]

    async def test_a_pipelined_event_begins_when_the_one_before_is_done_without_a_place(self, eager: bool) -> None:
        line = Line(eager=eager)
        for _ in range(3):
            line.admit(Order.PIPELINED)
        await settle()
        line.take(0)
        await settle()
        assert line.of("begin") == [0, 1]
        line.end(1)
        await settle()
        assert line.of("begin") == [0, 1, 2]
        line.end(2)
        line.end(0)
        await line.wait_idle()
        assert line.of("ack") == [0, 1, 2]

    async def test_taking_a_place_twice_changes_nothing(self, eager: bool) -> None:
        line = Line(eager=eager)
        line.admit(Order.PIPELINED)
        await settle()
        line.take(0)
        line.take(0)
        line.end(0)
        await line.wait_idle()
        assert line.of("ack") == [0]

    async def test_a_free_event_waits_for_nothing_and_holds_up_nobody(self, eager: bool) -> None:
        line = Line(eager=eager)
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
        await line.wait_idle()

    async def test_the_event_carries_its_name_and_arguments(self) -> None:
        lane = Lane()
        seen: list[Incoming] = []

        async def work(incoming: Incoming) -> None:
            seen.append(incoming)

        lane.admit("message:send", ({"body": "hi"}, 2), order=Order.SERIAL, work=work, reply=lambda result: None)
        await wait_idle(lane)
        assert [(each.name, each.args) for each in seen] == [("message:send", ({"body": "hi"}, 2))]


class TestAfterTheAck:
    async def test_nothing_comes_between_the_ack_and_what_follows_it(self, eager: bool) -> None:
        line = Line(eager=eager)
        line.admit(Order.PIPELINED, after_ack=2)
        line.admit(Order.PIPELINED, after_ack=1)
        await settle()
        line.take(0)
        await settle()
        line.end(1)
        line.end(0)
        await line.wait_idle()
        await settle()
        after = [step for step in line.log if step[0] in ("ack", "after", "turn")]
        assert after[:3] == [("ack", 0), ("after", 0), ("after", 0)]
        assert after[after.index(("ack", 1)) + 1] == ("after", 1)


class TestFailures:
    """Handlers do not raise by contract; if one does, those behind it must not be hurt."""

    @staticmethod
    async def run(order: Order, fail: Callable[[Line, int], None], eager: bool) -> Line:
        """Three events; the one in the middle fails while the first is under way."""
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        line = Line(eager=eager)
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
    async def test_those_behind_a_serial_handler_that_fails_go_on(self, fail: str, eager: bool) -> None:
        line = await self.run(Order.SERIAL, getattr(self, fail), eager)
        assert line.of("begin") == [0, 1, 2]
        line.end(2)
        await line.wait_idle()
        assert line.of("ack") == [0, 2]

    @pytest.mark.parametrize("fail", ["raising", "cancelled"])
    async def test_a_pipelined_handler_that_fails_does_not_let_others_overtake(self, fail: str, eager: bool) -> None:
        line = await self.run(Order.PIPELINED, getattr(self, fail), eager)
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
        await line.wait_idle()
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
        await wait_idle(lane)
        assert replied == ["good"]


class TestEagerEvents:
    """An event costs a task only where it needs one."""

    @staticmethod
    def admit(lane: Lane, order: Order, work: Callable[[Incoming], Any]) -> list[Any]:
        """What is replied, and the names of the tasks that the event ran in."""
        replies: list[Any] = []
        lane.admit("event", (), order=order, work=work, reply=replies.append, eager=True)
        return replies

    @pytest.mark.parametrize("order", list(Order))
    async def test_one_that_does_not_suspend_ends_in_the_turn_in_which_it_came(self, order: Order) -> None:
        lane = Lane()
        tasks: list[Any] = []

        async def work(incoming: Incoming) -> str:
            tasks.append(asyncio.current_task())
            return "done"

        assert self.admit(lane, order, work) == ["done"]
        assert tasks == [asyncio.current_task()]
        assert lane.is_idle

    async def test_one_that_has_its_place_waits_for_its_commit_without_a_task(self) -> None:
        lane = Lane()
        commit = asyncio.get_running_loop().create_future()

        async def work(incoming: Incoming) -> Any:
            incoming.admitted()
            return await commit

        before = asyncio.all_tasks()
        replies = self.admit(lane, Order.PIPELINED, work)
        assert asyncio.all_tasks() == before
        commit.set_result(7)
        await settle()
        assert replies == [7]
        assert asyncio.all_tasks() == before

    @pytest.mark.parametrize("waits", ["sleep", "future", "done"])
    async def test_one_that_suspends_before_goes_on_in_a_task(self, waits: str) -> None:
        lane = Lane()
        future = asyncio.get_running_loop().create_future()
        tasks: list[Any] = []

        async def work(incoming: Incoming) -> str:
            if waits == "sleep":
                await asyncio.sleep(0)
            elif waits == "future":
                assert await future == "news"
            else:
                await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
            async with asyncio.timeout(TIMEOUT_S):
                return await asyncio.to_thread(str, "done")

        replies = self.admit(lane, Order.PIPELINED, work)
        await settle()
        if waits == "future":
            future.set_result("news")
        await wait_idle(lane)
        assert replies == ["done"]
        assert tasks[0] not in (None, asyncio.current_task())

    async def test_an_error_in_what_it_waits_for_reaches_it(self) -> None:
        lane = Lane()
        for takes in (False, True):
            future = asyncio.get_running_loop().create_future()

            async def work(incoming: Incoming, takes: bool = takes, future: asyncio.Future[Any] = future) -> str:
                if takes:
                    incoming.admitted()
                try:
                    await future
                except LookupError:
                    return "refused"
                return "taken"

            replies = self.admit(lane, Order.PIPELINED, work)
            future.set_exception(LookupError())
            await wait_idle(lane)
            assert replies == ["refused"]

    async def test_one_that_raises_at_once_is_done_and_not_answered(self) -> None:
        lane = Lane()

        async def work(incoming: Incoming) -> None:
            raise RuntimeError("broken")

        assert self.admit(lane, Order.FREE, work) == []
        assert self.admit(lane, Order.PIPELINED, work) == []
        assert lane.is_idle

    async def test_many_that_wait_for_one_commit_are_acked_in_their_order(self) -> None:
        line = Line(eager=True)
        for _ in range(5):
            line.admit(Order.PIPELINED, takes=True)
        assert line.of("begin") == [0, 1, 2, 3, 4]
        for number in (4, 2, 0, 1, 3):
            line.end(number)
        await line.wait_idle()
        assert line.of("ack") == [0, 1, 2, 3, 4]


class TestDeadlines:
    """`expire` is called now and then: what it has seen running for too long is cancelled."""

    @staticmethod
    def admit(lane: Lane, order: Order, *, eager: bool, takes: bool) -> tuple[list[str], asyncio.Future[None]]:
        """An event that hangs, and answers its cancellation."""
        hangs: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        replies: list[str] = []

        async def work(incoming: Incoming) -> str:
            if takes:
                incoming.admitted()
            try:
                await hangs
            except asyncio.CancelledError:
                return "too late"
            return "done"

        lane.admit("event", (), order=order, work=work, reply=replies.append, eager=eager)
        return replies, hangs

    @pytest.mark.parametrize("takes", [False, True])
    @pytest.mark.parametrize("order", list(Order))
    async def test_what_takes_too_long_is_cancelled_and_answered(self, order: Order, takes: bool, eager: bool) -> None:
        lane = Lane()
        replies, _ = self.admit(lane, order, eager=eager, takes=takes)
        await settle()
        for now in (100.0, 129.9):
            lane.expire(now, 30)
            await settle()
            assert replies == []
        lane.expire(130.0, 30)
        await wait_idle(lane)
        assert replies == ["too late"]

    async def test_time_counts_from_when_an_event_began(self, eager: bool) -> None:
        lane = Lane()
        first, hangs = self.admit(lane, Order.SERIAL, eager=eager, takes=False)
        second, _ = self.admit(lane, Order.SERIAL, eager=eager, takes=False)
        await settle()
        lane.expire(100, 30)
        hangs.set_result(None)
        await settle()
        lane.expire(130, 30)
        await settle()
        assert (first, second) == (["done"], [])
        lane.expire(160, 30)
        await wait_idle(lane)
        assert second == ["too late"]

    async def test_those_behind_it_go_on(self, eager: bool) -> None:
        lane = Lane()
        self.admit(lane, Order.PIPELINED, eager=eager, takes=False)
        second, hangs = self.admit(lane, Order.PIPELINED, eager=eager, takes=False)
        await settle()
        lane.expire(0, 30)
        lane.expire(30, 30)
        hangs.set_result(None)
        await wait_idle(lane)
        assert second == ["done"]

    async def test_what_it_waited_for_does_not_wake_it_later(self, eager: bool) -> None:
        lane = Lane()
        hangs, cleanup = (asyncio.get_running_loop().create_future() for _ in range(2))
        replies: list[Any] = []

        async def work(incoming: Incoming) -> Any:
            incoming.admitted()
            try:
                await asyncio.shield(hangs)
            except asyncio.CancelledError:
                return await cleanup

        lane.admit("event", (), order=Order.PIPELINED, work=work, reply=replies.append, eager=eager)
        await settle()
        lane.expire(0, 30)
        lane.expire(30, 30)
        await settle()
        hangs.set_result("late")
        await settle()
        assert replies == []
        cleanup.set_result("cleaned up")
        await wait_idle(lane)
        assert replies == ["cleaned up"]

    async def test_an_idle_lane_has_nothing_to_end(self) -> None:
        Lane().expire(100, 30)


class TestBounds:
    async def test_a_lane_is_full_when_as_many_wait_or_run_as_it_takes(self, eager: bool) -> None:
        line = Line(limit=2, eager=eager)
        line.admit(Order.SERIAL)
        assert not line.is_full()
        line.admit(Order.SERIAL)
        assert line.is_full()
        await settle()
        line.end(0)
        await settle()
        assert not line.is_full()
        line.end(1)
        await line.wait_idle()

    async def test_or_as_many_bytes(self, eager: bool) -> None:
        line = Line(limit_bytes=1_000, eager=eager)
        line.admit(Order.SERIAL, size=999)
        assert not line.is_full()
        line.admit(Order.FREE, size=1)
        assert line.is_full()
        await settle()
        line.end(1)
        await settle()
        assert not line.is_full()
        line.end(0)
        await line.wait_idle()

    async def test_free_events_count_as_well(self, eager: bool) -> None:
        line = Line(limit=1, eager=eager)
        line.admit(Order.FREE)
        assert line.is_full()
        await settle()
        line.end(0)
        await settle()
        assert not line.is_full()

    async def test_it_is_told_once_when_there_is_room_again(self, eager: bool) -> None:
        line = Line(limit=3, eager=eager)
        for _ in range(3):
            line.admit(Order.FREE)
        await settle()
        for number in (2, 0, 1):
            assert line.of("room") == ([] if number == 2 else [-1])
            line.end(number)
            await settle()
        assert line.of("room") == [-1]

    async def test_a_lane_that_was_never_full_has_no_news_of_room(self, eager: bool) -> None:
        line = Line(limit=2, eager=eager)
        line.admit(Order.FREE)
        await settle()
        line.end(0)
        await line.wait_idle()
        assert line.of("room") == []

    async def test_an_event_that_ends_at_once_leaves_room(self) -> None:
        lane = Lane(limit=1)
        told: list[str] = []
        lane.on_room = lambda: told.append("room")
        lane.on_idle = lambda: told.append("idle")

        async def work(incoming: Incoming) -> None: ...

        lane.admit("event", (), order=Order.FREE, work=work, reply=lambda result: None, eager=True)
        assert not lane.is_full
        assert told == ["idle"]

    async def test_it_says_when_nothing_is_left_in_it(self, eager: bool) -> None:
        line = Line(eager=eager)
        line.admit(Order.SERIAL)
        line.admit(Order.FREE)
        await settle()
        line.end(0)
        await settle()
        assert not line.is_idle()
        assert line.of("idle") == []
        line.end(1)
        await settle()
        assert line.of("idle") == [-1]
        assert line.lane.is_idle

    async def test_it_is_idle_after_the_last_answer_and_what_follows_it(self, eager: bool) -> None:
        line = Line(eager=eager)
        line.admit(Order.SERIAL, after_ack=1)
        await settle()
        line.end(0)
        await line.wait_idle()
        assert line.log[-3:] == [("ack", 0), ("after", 0), ("idle", -1)]

    async def test_what_there_is_room_for_may_be_admitted_when_it_is_told(self, eager: bool) -> None:
        line = Line(limit=1, eager=eager)

        def on_room() -> None:
            line.admit(Order.SERIAL)

        line.lane.on_room = on_room
        line.admit(Order.SERIAL)
        await settle()
        line.end(0)
        await settle()
        assert line.of("begin") == [0, 1]
        assert line.of("idle") == []
        line.lane.on_room = None
        line.end(1)
        await line.wait_idle()
        assert line.of("ack") == [0, 1]


class TestContext:
    """All steps of an event are in one context, which is not that of any other, whoever drives it."""

    @pytest.mark.parametrize("order", list(Order))
    @pytest.mark.parametrize("takes", [False, True])
    async def test_what_is_set_before_a_pause_can_be_taken_back_after(
        self, eager: bool, order: Order, takes: bool
    ) -> None:
        variable: ContextVar[int] = ContextVar("variable", default=0)
        answers: list[Any] = []
        futures = [asyncio.get_running_loop().create_future() for _ in range(3)]

        async def work(incoming: Incoming) -> Any:
            number = incoming.args[0]
            token = variable.set(variable.get() + number)
            if takes:
                incoming.admitted()
            await futures[number]
            seen = variable.get()
            variable.reset(token)
            incoming.admitted()
            return seen, variable.get()

        lane = Lane()
        for number in range(3):
            lane.admit("event", (number,), order=order, work=work, reply=answers.append, eager=eager)
        async with asyncio.timeout(TIMEOUT_S):
            for future in futures:
                await asyncio.sleep(0)
                future.set_result(None)
            while len(answers) < 3:
                await asyncio.sleep(0)
        assert answers == [(0, 0), (1, 0), (2, 0)]
        assert variable.get() == 0

    async def test_it_is_so_for_one_that_is_cancelled(self, eager: bool) -> None:
        variable: ContextVar[int] = ContextVar("variable", default=0)
        answers: list[Any] = []

        async def work(incoming: Incoming) -> Any:
            token = variable.set(1)
            incoming.admitted()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                variable.reset(token)
                return "cancelled"

        lane = Lane()
        lane.admit("event", (), order=Order.PIPELINED, work=work, reply=answers.append, eager=eager)
        await asyncio.sleep(0)
        lane.expire(0.0, 1.0)
        lane.expire(2.0, 1.0)
        async with asyncio.timeout(TIMEOUT_S):
            while not answers:
                await asyncio.sleep(0)
        assert answers == ["cancelled"]
