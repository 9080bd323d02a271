"""Pages of rooms: read once for all who want them, never older than what this node knows, within a bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import orjson
import pytest

from hubbub.domain import pages as module
from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.feeds import Feed
from hubbub.domain.pages import KEPT_MS, SLACK, Pages
from hubbub.domain.stretch import Newest, Stretch
from hubbub.errors import HubbubError
from hubbub.history.base import History, MessagePage
from tests.support.domain import ManualClock, room_of
from tests.support.roommodel import RoomModel


class ModelStore:
    """A store of one room that answers when `gate` is set, with what was there when it was asked."""

    def __init__(self) -> None:
        self.model = RoomModel()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[HubbubError] = []
        self.floor: int | None = 0

    async def changes(self, uid: str, *, since: int, limit: int, max_bytes: int) -> MessagePage:
        return await self._answer(self.model.changes(since, limit=limit, floor=self.floor))

    async def page(self, uid: str, *, limit: int, max_bytes: int) -> MessagePage:
        return await self._answer(MessagePage([*self.model.state(self.model.head).values()][-limit:], self.model.head))

    async def _answer(self, page: MessagePage) -> MessagePage:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        return page


class Desk:
    """Pages of one room, and its feed."""

    def __init__(self) -> None:
        self.store = ModelStore()
        self.clock = ManualClock()
        self.reads: list[str] = []
        self.pages = Pages(cast(History, self.store), self.clock, on_read=self.reads.append)
        self.room = ActiveRoom(room_of("uid"))
        self.room.joining = 1

    def happen(self, count: int = 1, *, heard: bool = True) -> None:
        """Messages are sent, and the feed delivers them, or nobody here hears of them."""
        for _ in range(count):
            message = self.store.model.send()
            if heard:
                self.room.feed.offer(message.rev, message)

    async def changes(self, since: int, *, limit: int = 500, head: int | None = None) -> tuple[list[int], Stretch]:
        stretch = await self.pages.stretch(
            self.room, since=since, limit=limit, head=self.room.feed.known if head is None else head
        )
        cut = stretch.cut(since, upto=stretch.head, limit=limit, max_bytes=10**9)
        documents: list[dict[str, Any]] = orjson.loads(b"[" + b"".join(cut.messages) + b"]")
        return [each["rev"] for each in documents], stretch


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    desk.pages.stop()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class TestSharing:
    async def test_who_asks_while_it_is_read_gets_the_same(self, desk: Desk) -> None:
        desk.happen(520)
        desk.store.gate.clear()
        asking = [asyncio.ensure_future(desk.changes(since)) for since in (20, 40, 20, 500)]
        await turns()
        desk.store.gate.set()
        answers = await asyncio.gather(*asking)
        assert [revs for revs, _ in answers] == [[*range(since + 1, 521)] for since in (20, 40, 20, 500)]
        assert len({id(stretch) for _, stretch in answers}) == 1
        assert desk.reads == ["changes"]

    async def test_a_crowd_that_is_480_to_520_behind_is_a_few_reads(self, desk: Desk) -> None:
        desk.happen(2000)
        answers = await asyncio.gather(*(desk.changes(1480 + (7 * n) % 41) for n in range(1000)))
        assert [revs[0] for revs, _ in answers] == [1481 + (7 * n) % 41 for n in range(1000)]
        assert len(desk.reads) <= 6

    async def test_who_comes_soon_after_gets_it_with_what_has_happened_since(self, desk: Desk) -> None:
        desk.happen(20)
        await desk.changes(10)
        desk.happen(3)
        assert (await desk.changes(12))[0] == [*range(13, 24)]
        assert desk.reads == ["changes"]

    async def test_a_long_absence_is_paged_by_all_together(self, desk: Desk) -> None:
        desk.happen(2000)

        async def catch_up() -> list[int]:
            seen: list[int] = []
            since = 0
            while since < 2000:
                revs, _ = await desk.changes(since, limit=100)
                seen += revs
                since = revs[-1]
            return seen

        assert await asyncio.gather(*(catch_up() for _ in range(50))) == [[*range(1, 2001)]] * 50
        assert len(desk.reads) == 20

    async def test_what_another_read_is_made_longer_where_it_is_too_short(self, desk: Desk) -> None:
        desk.happen(200)
        await desk.changes(100, limit=20)
        for since, reads in ((118, 2), (119, 3), (123, 3), (90, 4), (90 - SLACK, 4), (0, 5)):
            assert (await desk.changes(since, limit=20))[0] == [*range(since + 1, since + 21)]
            assert len(desk.reads) == reads

    async def test_it_is_not_made_longer_without_end(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A few large messages are a page, whatever the limit."""
        desk.happen(40)
        _, stretch = await desk.changes(0, limit=10)
        monkeypatch.setattr(module, "FULL_BYTES", stretch.size)
        assert (await desk.changes(0, limit=500))[1] is stretch
        assert desk.reads == ["changes"]

    async def test_below_the_floor_nobody_is_given_what_another_read(self, desk: Desk) -> None:
        desk.store.floor = 30
        desk.happen(50)
        for since in (10, 20, 20, 40, 45):
            await desk.changes(since)
        assert len(desk.reads) == 3

    async def test_the_newest_page_is_read_once_as_well(self, desk: Desk) -> None:
        desk.happen(20)

        async def ask(limit: int) -> Newest:
            return await desk.pages.newest(desk.room, limit=limit, head=20)

        one, other, few = await asyncio.gather(ask(10), ask(10), ask(5))
        assert one is other
        assert one is not few
        assert await ask(10) is one
        assert desk.reads == ["newest", "newest"]
        desk.happen()
        assert (await ask(10)).head == 21

    async def test_events_are_encoded_once(self, desk: Desk) -> None:
        desk.happen(3)
        message = desk.store.model.revisions[2]
        loose = desk.pages.event(desk.room, 3, message)
        await desk.changes(0)
        kept = desk.pages.event(desk.room, 3, message)
        assert kept == loose
        assert desk.pages.event(desk.room, 3, message) is kept


class TestFreshness:
    async def test_what_this_node_knows_of_is_in_the_answer(self, desk: Desk) -> None:
        """A feed with a hole knows of revisions that it cannot deliver yet."""
        desk.happen(10)
        await desk.changes(5)
        desk.happen(2, heard=False)
        desk.room.feed.know(12)
        assert (await desk.changes(5))[0] == [*range(6, 13)]
        assert desk.reads == ["changes", "changes"]

    async def test_what_was_not_kept_is_read_anew(self, desk: Desk) -> None:
        desk.happen(10)
        await desk.changes(5)
        desk.happen(2)
        desk.room.feed.drop_backlog()
        assert (await desk.changes(5))[0] == [*range(6, 13)]
        assert desk.reads == ["changes", "changes"]

    async def test_a_read_that_began_too_early_is_not_enough(self, desk: Desk) -> None:
        desk.happen(10)
        desk.store.gate.clear()
        early = asyncio.ensure_future(desk.changes(5))
        await turns()
        desk.happen(2, heard=False)
        late = asyncio.ensure_future(desk.changes(5, head=12))
        await turns()
        desk.store.gate.set()
        assert (await early)[1].head == 10
        assert (await late)[0] == [*range(6, 13)]

    async def test_a_since_past_what_is_known_is_for_the_store_to_judge(self, desk: Desk) -> None:
        desk.happen(10)
        await desk.changes(5)
        desk.happen(2, heard=False)
        assert (await desk.changes(11))[0] == [12]
        stretch = await desk.pages.stretch(desk.room, since=99, limit=9, head=10)
        assert stretch.head == 12

    async def test_a_room_that_starts_over_has_another_history(self, desk: Desk) -> None:
        """Its store was put back from a copy, which had less; what was read before is not what it has now."""
        desk.happen(10)
        await desk.changes(3)
        await desk.pages.newest(desk.room, limit=5, head=10)
        old = desk.pages.event(desk.room, 9, desk.store.model.revisions[8])
        del desk.store.model.revisions[8:]
        desk.room.feed = Feed(8)
        assert (await desk.changes(3))[0] == [*range(4, 9)]
        assert (await desk.pages.newest(desk.room, limit=5, head=8)).head == 8
        changed = desk.store.model.change(0)
        desk.room.feed.offer(9, changed)
        assert desk.pages.event(desk.room, 9, changed) != old
        assert desk.reads == ["changes", "newest", "changes", "newest"]

    async def test_it_is_kept_for_a_moment_only(self, desk: Desk) -> None:
        desk.happen(10)
        await desk.changes(5)
        desk.clock.now += KEPT_MS
        await desk.changes(5)
        assert desk.reads == ["changes", "changes"]
        desk.clock.now -= 3 * KEPT_MS
        await desk.changes(5)
        assert len(desk.reads) == 3


class TestTrouble:
    async def test_a_failure_is_told_to_all_who_wait_and_to_nobody_after(self, desk: Desk) -> None:
        desk.happen(10)
        desk.store.gate.clear()
        desk.store.failures.append(HubbubError("unavailable"))
        asking = [asyncio.ensure_future(desk.changes(5)) for _ in range(3)]
        await turns()
        desk.store.gate.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [getattr(answer, "code", None) for answer in answers] == ["unavailable"] * 3
        assert desk.reads == ["changes"]
        assert (await desk.changes(5))[0] == [*range(6, 11)]

    async def test_one_who_goes_leaves_the_reading_to_the_others(self, desk: Desk) -> None:
        desk.happen(10)
        desk.store.gate.clear()
        first, *others = [asyncio.ensure_future(desk.changes(5)) for _ in range(3)]
        await turns()
        others[0].cancel()
        first.cancel()
        await turns()
        desk.store.gate.set()
        assert (await others[1])[0] == [*range(6, 11)]
        assert desk.reads == ["changes", "changes"]


class TestBounds:
    async def test_what_has_been_kept_for_long_enough_is_let_go(self, desk: Desk) -> None:
        desk.happen(10)
        await desk.changes(5)
        await desk.pages.newest(desk.room, limit=5, head=10)
        desk.pages.event(desk.room, 10, desk.store.model.revisions[9])
        assert desk.pages.size > 0
        desk.clock.now += KEPT_MS
        desk.pages.sweep()
        assert desk.pages.size == 0
        assert not desk.pages._shelves

    async def test_it_does_so_by_itself(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "KEPT_MS", 10)
        desk.happen(10)
        await desk.changes(5)
        desk.clock.now += 10
        async with asyncio.timeout(10):
            while desk.pages.size:
                await asyncio.sleep(0.001)

    async def test_rooms_that_were_asked_for_long_ago_make_room(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.happen(10)
        await desk.changes(0)
        one = desk.pages.size
        bound = 7 * one // 2
        monkeypatch.setattr(module, "KEPT_BYTES", bound)
        rooms = [ActiveRoom(room_of(f"uid{number}")) for number in range(10)]
        for room in rooms:
            await desk.pages.stretch(room, since=0, limit=500, head=10)
        assert 2 * one < desk.pages.size <= bound
        desk.reads.clear()
        for room in reversed(rooms[-3:]):
            await desk.pages.stretch(room, since=0, limit=500, head=0)
        assert desk.reads == []

    async def test_one_that_grows_too_large_is_dropped(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        desk.happen(10)
        _, stretch = await desk.changes(0)
        monkeypatch.setattr(module, "STRETCH_BYTES", stretch.size + 100)
        desk.happen(1)
        assert (await desk.changes(0))[1] is not stretch
        assert desk.reads == ["changes", "changes"]

    async def test_a_room_has_so_many(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "STRETCHES", 4)
        desk.happen(100)
        for since in range(90, 0, -10):
            await desk.changes(since, limit=5)
        for limit in range(1, 9):
            await desk.pages.newest(desk.room, limit=limit, head=100)
        (shelf,) = desk.pages._shelves.values()
        assert (len(shelf.stretches), len(shelf.newest)) == (4, 4)
