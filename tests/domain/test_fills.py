"""Holes of feeds are filled from the store: after a moment or at once, boundedly, and again when the store fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import pytest
import structlog

from hubbub.domain import fills as module
from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.feeds import Revision
from hubbub.domain.fills import Fills
from hubbub.domain.ports import Channel
from hubbub.history.base import History, Message
from hubbub.transport.fanout import Fanout
from tests.support.domain import PromptBatch, RecordingOutlet, room_of
from tests.support.feedstore import FeedStore
from tests.support.virtualtime import run_in_virtual_time


class Scene:
    """Rooms with a listener each, and what went out of each, turn by turn."""

    def __init__(self, *uids: str) -> None:
        self.store = FeedStore(uids)
        self.fanout = Fanout("/chat", batch=PromptBatch())
        self.outlets = {uid: RecordingOutlet() for uid in uids}
        self.rooms = {uid: ActiveRoom(room_of(uid)) for uid in uids}
        for uid, outlet in self.outlets.items():
            self.fanout.subscribe(outlet, uid)
        self.out: dict[str, list[int]] = {uid: [] for uid in uids}
        self.slices: list[int] = []
        self.fills = Fills(cast(History, self.store), cast(Channel, self.fanout), emit=self.emit)

    def emit(self, room: ActiveRoom, revisions: Sequence[Revision]) -> None:
        self.out[room.uid].extend(rev for rev, _ in revisions)
        self.slices.append(len(revisions))

    def offer(self, uid: str, rev: int) -> None:
        room = self.rooms[uid]
        self.emit(room, room.feed.offer(rev, self.store.messages[uid, rev]))

    def lose(self, uid: str, count: int) -> None:
        for _ in range(count):
            self.store.send(uid)
        self.rooms[uid].feed.know(len(self.store.rooms[uid]))

    async def idle(self) -> None:
        while not self.fills.is_idle:
            await asyncio.sleep(0.01)

    @property
    def reads(self) -> int:
        return self.store.calls.get("revisions", 0)


Test = Callable[[], Coroutine[Any, Any, None]]


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    def run(self: object) -> None:
        run_in_virtual_time(test(self))

    run.__name__ = test.__name__
    return run


class TestTheMoment:
    @in_virtual_time
    async def test_a_hole_that_closes_by_itself_costs_no_read(self) -> None:
        scene = Scene("a")
        for _ in range(3):
            scene.store.send("a")
        scene.offer("a", 3)
        scene.fills.soon(scene.rooms["a"])
        await asyncio.sleep(module.GRACE_S * 0.9)
        scene.offer("a", 1)
        scene.offer("a", 2)
        await scene.idle()
        assert scene.out["a"] == [1, 2, 3]
        assert scene.reads == 0

    @in_virtual_time
    async def test_one_that_stays_is_filled_after_the_moment(self) -> None:
        scene = Scene("a")
        scene.lose("a", 3)
        for _ in range(3):
            scene.fills.soon(scene.rooms["a"])
        await asyncio.sleep(module.GRACE_S * 0.9)
        assert scene.reads == 0
        await scene.idle()
        assert scene.out["a"] == [1, 2, 3]
        assert scene.reads == 1

    @in_virtual_time
    async def test_one_that_opened_behind_another_has_a_moment_of_its_own(self) -> None:
        scene = Scene("a")
        for _ in range(4):
            scene.store.send("a")
        scene.offer("a", 2)
        scene.fills.soon(scene.rooms["a"])
        await asyncio.sleep(module.GRACE_S * 0.9)
        scene.offer("a", 1)
        scene.offer("a", 4)
        await asyncio.sleep(module.GRACE_S * 0.9)
        scene.offer("a", 3)
        await scene.idle()
        assert scene.out["a"] == [1, 2, 3, 4]
        assert scene.reads == 0

    @in_virtual_time
    async def test_one_that_the_store_is_known_to_fill_waits_for_nothing(self) -> None:
        scene = Scene("a")
        scene.lose("a", 3)
        scene.fills.soon(scene.rooms["a"])
        scene.fills.now(scene.rooms["a"])
        await asyncio.sleep(0)
        assert scene.reads == 1
        await scene.idle()
        assert scene.out["a"] == [1, 2, 3]
        assert scene.reads == 1


class TestBounds:
    @in_virtual_time
    async def test_a_long_hole_is_read_in_pieces_and_goes_out_in_slices(self) -> None:
        scene = Scene("a")
        scene.lose("a", 1000)
        scene.fills.now(scene.rooms["a"])
        await scene.idle()
        assert scene.out["a"] == list(range(1, 1001))
        assert scene.store.read_most == module.READ_MOST
        assert scene.reads == -(-1000 // module.READ_MOST)
        assert max(scene.slices) == module.SLICE

    @in_virtual_time
    async def test_what_comes_by_itself_between_two_slices_keeps_its_place(self) -> None:
        scene = Scene("a")
        scene.lose("a", 200)
        scene.fills.now(scene.rooms["a"])
        while not scene.out["a"]:
            await asyncio.sleep(0)
        scene.store.send("a")
        scene.offer("a", 201)
        scene.offer("a", 150)
        scene.offer("a", 3)
        await scene.idle()
        assert scene.out["a"] == list(range(1, 202))

    @in_virtual_time
    async def test_what_is_held_below_the_head_is_replaced_by_what_is_read(self) -> None:
        scene = Scene("a")
        room = scene.rooms["a"]
        for _ in range(3):
            scene.store.send("a")
        shown: list[str] = []
        scene.fills = Fills(
            cast(History, scene.store),
            cast(Channel, scene.fanout),
            emit=lambda _, revisions: shown.extend(cast(Message, message).body for _, message in revisions),
        )
        scene.offer("a", 3)
        scene.store.change("a", 3)
        room.feed.know(4)
        scene.fills.now(room)
        await scene.idle()
        assert shown == ["body 1", "body 2", "edited at 4", "edited at 4"]

    @in_virtual_time
    async def test_few_rooms_are_filled_at_once(self) -> None:
        uids = [f"u{number}" for number in range(100)]
        scene = Scene(*uids)
        scene.store.latency_s = 0.01
        for uid in uids:
            scene.lose(uid, 2)
            scene.fills.now(scene.rooms[uid])
        await scene.idle()
        assert all(scene.out[uid] == [1, 2] for uid in uids)
        assert scene.store.reading_most == module.AT_ONCE

    @in_virtual_time
    async def test_one_fill_of_a_room_is_under_way_at_a_time(self) -> None:
        scene = Scene("a")
        scene.store.latency_s = 0.1
        scene.lose("a", 3)
        scene.fills.now(scene.rooms["a"])
        await asyncio.sleep(0.05)
        scene.lose("a", 2)
        scene.fills.now(scene.rooms["a"])
        await scene.idle()
        assert scene.out["a"] == [1, 2, 3, 4, 5]
        assert (scene.reads, scene.store.reading_most) == (2, 1)


class TestFailures:
    @in_virtual_time
    async def test_a_store_that_fails_is_asked_less_and_less_by_all_rooms_together(self) -> None:
        uids = [f"u{number}" for number in range(50)]
        scene = Scene(*uids)
        scene.store.is_down = True
        with structlog.testing.capture_logs() as logs:
            for uid in uids:
                scene.lose(uid, 2)
                scene.fills.now(scene.rooms[uid])
            await asyncio.sleep(10)
            asked = scene.reads
            assert asked <= 1.5 * module.AT_ONCE * 10 / module.LONGEST_BACKOFF_S * 2
            await asyncio.sleep(10)
            assert scene.reads - asked <= module.AT_ONCE * 10 / module.LONGEST_BACKOFF_S * 2
            scene.store.is_down = False
            await asyncio.sleep(5)
        assert all(scene.out[uid] == [1, 2] for uid in uids)
        assert [line["event"] for line in logs] == ["feed.fills_fail", "feed.fills_again"]

    @in_virtual_time
    async def test_a_read_that_hangs_has_failed(self) -> None:
        scene = Scene("a")
        scene.store.latency_s = 3600
        scene.lose("a", 2)
        scene.fills.now(scene.rooms["a"])
        await asyncio.sleep(module.READ_S + 1)
        scene.store.latency_s = 0
        await asyncio.sleep(module.READ_S + 5)
        assert scene.out["a"] == [1, 2]

    @in_virtual_time
    async def test_a_room_that_is_gone_ends_the_filling(self) -> None:
        scene = Scene("a")
        scene.lose("a", 5)
        del scene.store.rooms["a"]
        scene.fills.now(scene.rooms["a"])
        await scene.idle()
        assert scene.reads == 1
        assert scene.out["a"] == []

    @in_virtual_time
    async def test_a_fault_of_ours_leaves_the_other_rooms_alone(self) -> None:
        scene = Scene("a", "b")
        broken = scene.rooms["a"]

        def emit(room: ActiveRoom, revisions: Sequence[Revision]) -> None:
            if room is broken:
                raise ZeroDivisionError
            scene.emit(room, revisions)

        scene.fills = Fills(cast(History, scene.store), cast(Channel, scene.fanout), emit=emit)
        with structlog.testing.capture_logs() as logs:
            for uid in ("a", "b"):
                scene.lose(uid, 1)
                scene.fills.now(scene.rooms[uid])
            await scene.idle()
        assert scene.out["b"] == [1]
        assert [line["event"] for line in logs] == ["feed.fill_broken"]


class TestWhatCannotBeFilled:
    @in_virtual_time
    async def test_a_hole_that_the_store_cannot_fill_twice_is_stuck_until_it_is_filled(self) -> None:
        scene = Scene("a")
        room = scene.rooms["a"]
        scene.lose("a", 3)
        room.feed.know(5)
        with structlog.testing.capture_logs() as logs:
            for expected in (False, True, True):
                scene.fills.now(room)
                await scene.idle()
                assert scene.out["a"] == [1, 2, 3]
                assert scene.fills.is_stuck(room) is expected
        assert [line["event"] for line in logs] == ["feed.hole_stays"] * 3
        scene.lose("a", 1)
        scene.fills.now(room)
        await scene.idle()
        assert scene.out["a"] == [1, 2, 3, 4]
        assert not scene.fills.is_stuck(room)


class TestEnds:
    @in_virtual_time
    async def test_when_the_last_listener_has_left_nothing_is_read(self) -> None:
        scene = Scene("a")
        scene.lose("a", 5)
        scene.fanout.unsubscribe(scene.outlets["a"], "a")
        scene.fills.now(scene.rooms["a"])
        await scene.idle()
        assert scene.reads == 0
        assert (scene.rooms["a"].feed.delivered, scene.rooms["a"].feed.hole) == (5, None)

    @in_virtual_time
    async def test_stopping_ends_timers_and_reads(self) -> None:
        scene = Scene("a", "b")
        scene.store.latency_s = 1
        scene.lose("a", 1)
        scene.lose("b", 1)
        scene.fills.soon(scene.rooms["a"])
        scene.fills.now(scene.rooms["b"])
        await asyncio.sleep(0.01)
        scene.fills.stop()
        scene.fills.soon(scene.rooms["a"])
        scene.fills.now(scene.rooms["a"])
        await scene.idle()
        await asyncio.sleep(5)
        assert scene.out == {"a": [], "b": []}
        assert scene.reads == 1


@pytest.mark.parametrize("name", ["AT_ONCE", "READ_MOST", "SLICE"])
def test_a_slice_is_a_part_of_a_read(name: str) -> None:
    assert getattr(module, name) > 0
    assert module.READ_MOST % module.SLICE == 0
