"""The regular look at the heads of all rooms: one query, at a jittered time, and what it finds."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
import structlog

from hubbub.domain import headcheck as module
from hubbub.domain.activerooms import ActiveRoom, ActiveRooms
from hubbub.domain.headcheck import HeadCheck
from hubbub.errors import HubbubError
from hubbub.history.base import History
from hubbub.transport.fanout import Fanout
from tests.support.domain import PromptBatch, RecordingOutlet, room_of
from tests.support.feedstore import FeedStore
from tests.support.history import say
from tests.support.house import ChatHouse, outlet_of
from tests.support.virtualtime import run_in_virtual_time


class Scene:
    """Rooms in a store and in memory; those of `heard` have a listener."""

    def __init__(self, *uids: str, heard: tuple[str, ...] | None = None) -> None:
        self.store = FeedStore(uids)
        self.fanout = Fanout("/chat", batch=PromptBatch())
        self.rooms = ActiveRooms(cast(History, self.store), self.fanout)
        for uid in uids:
            self.rooms.put(room_of(uid))
            if heard is None or uid in heard:
                self.fanout.subscribe(RecordingOutlet(), uid)
        self.known: list[tuple[str, int]] = []
        self.gone: list[str] = []
        self.ahead: list[tuple[str, int]] = []
        self.check = HeadCheck(
            cast(History, self.store),
            self.rooms,
            self.fanout,
            know=lambda room, head: self.known.append((room.uid, head)),
            on_gone=lambda room: self.gone.append(room.uid),
            on_ahead=lambda room, head: self.ahead.append((room.uid, head)),
        )

    def room(self, uid: str) -> ActiveRoom:
        room = self.rooms.by_uid(uid)
        assert room is not None
        return room

    @property
    def asked(self) -> int:
        return self.store.calls.get("heads", 0)


class TestOneCheck:
    def test_rooms_with_listeners_that_are_behind_are_found_in_one_query(self) -> None:
        async def test() -> None:
            scene = Scene("a", "b", "c", "d", heard=("a", "b", "c"))
            for uid in ("a", "b", "d"):
                scene.store.send(uid)
            scene.room("b").feed.advance(1)
            await scene.check.check()
            assert scene.known == [("a", 1)]
            assert scene.gone == []
            assert scene.asked == 1

        run_in_virtual_time(test())

    def test_without_listeners_nobody_is_asked(self) -> None:
        async def test() -> None:
            scene = Scene("a", heard=())
            await scene.check.check()
            assert scene.asked == 0

        run_in_virtual_time(test())

    def test_what_comes_by_itself_in_a_moment_is_not_missing(self) -> None:
        async def test() -> None:
            scene = Scene("a")
            scene.store.send("a")
            checking = asyncio.ensure_future(scene.check.check())
            await asyncio.sleep(0.01)
            scene.room("a").feed.advance(1)
            await checking
            assert scene.known == []

        run_in_virtual_time(test())

    def test_a_room_that_is_gone_is_told_of_unless_it_was_closed_meanwhile(self) -> None:
        async def test() -> None:
            scene = Scene("a", "b", "c")
            scene.store.latency_s = 0.5
            del scene.store.rooms["a"], scene.store.rooms["b"]
            checking = asyncio.ensure_future(scene.check.check())
            await asyncio.sleep(0.2)
            scene.rooms.forget("b")
            await checking
            assert scene.gone == ["a"]

        run_in_virtual_time(test())

    def test_a_store_that_does_not_answer_in_time_is_unavailable(self) -> None:
        async def test() -> None:
            scene = Scene("a")
            scene.store.latency_s = 3600
            with pytest.raises(HubbubError, match="unavailable"):
                await scene.check.check()

        run_in_virtual_time(test())

    def test_a_store_that_knows_less_than_was_delivered_twice_in_a_row_is_told_of(self) -> None:
        async def test() -> None:
            scene = Scene("a", "b")
            scene.room("a").feed.advance(5)
            scene.room("b").feed.advance(1)
            await scene.check.check()
            assert scene.ahead == []
            scene.store.send("b")
            await scene.check.check()
            assert scene.ahead == [("a", 0)]
            assert scene.known == []

        run_in_virtual_time(test())

    def test_a_store_that_is_too_slow_for_all_rooms_is_asked_in_pieces_until_it_is_quick_again(self) -> None:
        async def test() -> None:
            uids = tuple(f"u{number}" for number in range(1000))
            scene = Scene(*uids)
            for uid in uids:
                scene.store.send(uid)
            scene.store.slow_s = module.ANSWER_S / 400  # For each room.
            for _ in range(2):
                with pytest.raises(HubbubError, match="unavailable"):
                    await scene.check.check()
            await scene.check.check()
            assert scene.asked == 2 + 4
            assert sorted(scene.known) == sorted((uid, 1) for uid in uids)
            scene.store.slow_s = 0
            for _ in range(4):
                before = scene.asked
                await scene.check.check()
            assert scene.asked - before == 1

        run_in_virtual_time(test())


class TestTheRhythm:
    def test_it_is_jittered_and_finds_everything_within_five_seconds(self) -> None:
        async def test() -> None:
            scene = Scene("a")
            loop = asyncio.get_running_loop()
            found: list[float] = []

            def know(room: ActiveRoom, head: int) -> None:
                found.append(loop.time())
                room.feed.advance(head)

            scene.check = HeadCheck(
                cast(History, scene.store),
                scene.rooms,
                scene.fanout,
                know=know,
                on_gone=lambda room: None,
                on_ahead=lambda *_: None,
            )
            scene.check.start()
            scene.check.start()
            delays: list[float] = []
            for _ in range(50):
                began = loop.time()
                scene.store.send("a")
                while len(found) <= len(delays):
                    await asyncio.sleep(0.05)
                delays.append(found[-1] - began)
            assert max(delays) <= 5
            assert len({round(delay, 3) for delay in delays}) > 10
            assert scene.asked == 50
            scene.check.stop()
            await asyncio.sleep(60)
            assert scene.asked == 50

        run_in_virtual_time(test())

    def test_hurrying_brings_one_check_soon(self) -> None:
        async def test() -> None:
            scene = Scene("a")
            scene.check.start()
            await asyncio.sleep(0)
            for _ in range(3):
                scene.check.hurry()
            await asyncio.sleep(module.HURRY_S + 0.01)
            assert scene.asked == 1
            await asyncio.sleep(2)
            assert scene.asked == 1
            scene.check.stop()

        run_in_virtual_time(test())

    def test_a_store_that_is_away_is_asked_once_a_second_and_logged_once(self) -> None:
        async def test() -> None:
            scene = Scene("a")
            scene.store.is_down = True
            scene.store.send("a")
            with structlog.testing.capture_logs() as logs:
                scene.check.start()
                await asyncio.sleep(60)
                assert 40 <= scene.asked <= 80
                scene.store.is_down = False
                await asyncio.sleep(1.5)
            assert scene.known == [("a", 1)]
            assert [line["event"] for line in logs] == ["feed.check_fails", "feed.checks_again"]
            scene.check.stop()

        run_in_virtual_time(test())

    def test_a_fault_of_ours_does_not_end_it(self) -> None:
        async def test() -> None:
            scene = Scene("a")
            scene.store.send("a")

            def know(room: ActiveRoom, head: int) -> None:
                scene.known.append((room.uid, head))
                raise ZeroDivisionError

            scene.check = HeadCheck(
                cast(History, scene.store),
                scene.rooms,
                scene.fanout,
                know=know,
                on_gone=lambda room: None,
                on_ahead=lambda *_: None,
            )
            with structlog.testing.capture_logs() as logs:
                scene.check.start()
                await asyncio.sleep(10)
            assert len(scene.known) >= 2
            assert {line["event"] for line in logs} == {"feed.check_broken"}
            scene.check.stop()

        run_in_virtual_time(test())


class TestOnTheStore:
    async def test_a_write_whose_outcome_was_unknown_reaches_every_subscriber_in_order(self, house: ChatHouse) -> None:
        """The store commits, and its answer is lost: the sender is told `unavailable`, and nobody announces it."""
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(ada)
        await house.join(bob)

        async def lose() -> None:
            raise HubbubError("unavailable", retry_after=1)

        house.store.meanwhile("commit", lose)
        with pytest.raises(HubbubError, match="unavailable"):
            await house.send(ada, "one")
        del house.store._meanwhile["commit"]
        assert outlet_of(bob).of("message") == []
        room = house.chat.house.rooms.by_uid(house.uid())
        assert room is not None
        await house.chat._delivery._check.check()
        await room.wait_delivered(1)
        await house.send(ada, "two")
        for client in (ada, bob):
            events = [(each["rev"], each["body"]) for each in outlet_of(client).of("message")]
            assert events == [(1, "one"), (2, "two")]

    async def test_readings_that_fail_meanwhile_only_make_it_later(
        self, house: ChatHouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("EVERY_S", "RETRY_S"):
            monkeypatch.setattr(module, name, (0.01, 0.02))
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(bob)
        room = house.chat.house.rooms.by_uid(house.uid())
        assert room is not None
        await say(house.chat.house.history, room.uid, "one", "two")
        away = HubbubError("unavailable", retry_after=1)
        house.store.fail("heads", away, away, away)
        house.store.fail("revisions", away, away)
        house.store.fail("page", away)
        house.chat.start()
        # What needs no reading goes on all the while, and what needs one is refused with a code.
        await house.chat.posting.typing(ada, {"room": "tea", "on": True})
        assert outlet_of(bob).of("typing") == [{"room": "tea", "user": "ada", "on": True}]
        with pytest.raises(HubbubError, match="unavailable"):
            await house.chat.reading.fetch(bob, {"room": "tea", "before": 3})
        async with asyncio.timeout(20):
            await room.wait_delivered(2)
        assert [each["body"] for each in outlet_of(bob).of("message")] == ["one", "two"]
        assert house.store.calls.count("heads") >= 4
        assert house.store.calls.count("revisions") == 3

    async def test_a_room_that_was_deleted_without_a_word_is_closed(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(bob)
        await house.chat.house.history.delete_room(house.uid())
        await house.chat._delivery._check.check()
        for client in (ada, bob):
            assert outlet_of(client).of("room:removed") == [{"room": "tea", "reason": "deleted"}]
        assert bob.joined == set()
        with pytest.raises(HubbubError, match="not_found"):
            await house.send(bob)
