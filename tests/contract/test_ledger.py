"""What every ledger promises of the control log: dense numbers, each key once (`hubbub.history.ledger`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Entry, History, Ledger, Record
from tests.support.control_log import entry, records_after
from tests.support.stores import SQLITE, Stores

Reopen = Callable[[], Awaitable[History]]


def refusal(code: str) -> pytest.RaisesExc[HubbubError]:
    return pytest.RaisesExc(HubbubError, check=lambda error: error.code == code)


@pytest.fixture
def ledger(history: History) -> Ledger:
    return history.ledger


class TestNumbers:
    async def test_an_empty_log_has_no_head_and_nothing_to_read(self, ledger: Ledger) -> None:
        assert await ledger.head() == 0
        assert await ledger.read(after=0, limit=10) == []
        assert await ledger.append([]) == []
        assert await ledger.head() == 0

    async def test_they_count_from_one_in_the_order_of_what_is_appended(self, ledger: Ledger) -> None:
        assert await ledger.append([entry("a"), entry("b")]) == [1, 2]
        assert await ledger.append([entry("c")]) == [3]
        assert await ledger.head() == 3
        assert [record.key for record in await records_after(ledger, 0)] == ["a", "b", "c"]

    async def test_a_record_comes_back_as_it_was_appended(self, ledger: Ledger) -> None:
        data = {"to": "Ünï", "about": {"list": [1, "two", None, True, 2.5], "empty": {}}, "large": 2**53 - 1, "": "\n"}
        await ledger.append([Entry("ask", "k", 1234, data)])
        assert await ledger.read(after=0, limit=9) == [Record(1, "ask", "k", 1234, ledger.origin, data)]

    async def test_a_key_is_one_record(self, ledger: Ledger) -> None:
        await ledger.append([entry("a"), entry("b", first=True)])
        assert await ledger.append([entry("b", first=False), entry("c"), entry("a"), entry("c")]) == [2, 3, 1, 3]
        records = await records_after(ledger, 0)
        assert [record.key for record in records] == ["a", "b", "c"]
        assert records[1].data["first"] is True

    async def test_keys_are_told_apart_to_the_letter(self, ledger: Ledger) -> None:
        keys = ["a", "A", "a ", "ä", "a\u0308", "", "1", "01"]
        assert await ledger.append([entry(key) for key in keys]) == list(range(1, len(keys) + 1))
        assert [record.key for record in await records_after(ledger, 0)] == keys

    async def test_two_stores_that_append_at_once_leave_no_hole(self, stores: Stores, history: History) -> None:
        async with stores.another() as other:
            ledgers = [history.ledger, other.ledger]
            batches = [[entry(f"{number}.{each}") for each in range(1 + number % 3)] for number in range(60)]
            numbers = await asyncio.gather(*(ledgers[number % 2].append(batch) for number, batch in enumerate(batches)))
        assert all(list(each) == sorted(set(each)) for each in numbers)
        claimed = {batch[i].key: n for batch, each in zip(batches, numbers, strict=True) for i, n in enumerate(each)}
        records = await records_after(history.ledger, 0)
        assert {record.key: record.n for record in records} == claimed
        assert await history.ledger.head() == len(claimed) == len(records)

    async def test_one_key_appended_by_many_at_once_is_one_record(self, stores: Stores, history: History) -> None:
        async with stores.another() as other:
            keys = ["x", "y", "z"]
            appended = (
                node.ledger.append([entry(key) for key in (keys if turn % 2 else reversed(keys))])
                for turn in range(10)
                for node in (history, other)
            )
            numbers = await asyncio.gather(*appended)
        found = {record.key: record.n for record in await records_after(history.ledger, 0)}
        assert sorted(found.values()) == [1, 2, 3]
        for index, each in enumerate(numbers):
            order = keys if (index // 2) % 2 else [*reversed(keys)]
            assert list(each) == [found[key] for key in order]

    async def test_whoever_follows_never_sees_a_number_before_the_one_below_it(
        self, stores: Stores, history: History
    ) -> None:
        ended = asyncio.Event()

        async def follow(ledger: Ledger) -> int:
            last = 0
            while True:
                is_last = ended.is_set()
                head = await ledger.head()
                assert head >= last
                page = await ledger.read(after=last, limit=7)
                assert [record.n for record in page] == list(range(last + 1, last + 1 + len(page)))
                last += len(page)
                if is_last and not page:
                    return last

        async def append(ledger: Ledger, name: str) -> None:
            for number in range(15):
                await asyncio.gather(*(ledger.append([entry(f"{name}.{number}.{each}")]) for each in range(3)))

        async with stores.another() as other:
            followers = [asyncio.ensure_future(follow(node.ledger)) for node in (history, other)]
            await asyncio.gather(append(history.ledger, "one"), append(other.ledger, "two"))
            ended.set()
            assert await asyncio.gather(*followers) == [90, 90]

    async def test_every_process_has_an_origin_of_its_own(self, stores: Stores, history: History) -> None:
        first = history.ledger.origin
        assert 0 < len(first) <= 32
        await history.ledger.append([entry("a")])
        if not stores.address.startswith(SQLITE):
            async with stores.another() as other:
                assert other.ledger.origin != first
                await other.ledger.append([entry("b")])
                records = await records_after(history.ledger, 0)
                assert [record.origin for record in records] == [first, other.ledger.origin]
        history = await stores.reopen()
        assert history.ledger.origin != first
        assert (await history.ledger.read(after=0, limit=1))[0].origin == first


class TestReading:
    async def test_it_goes_on_behind_the_number_and_is_limited(self, ledger: Ledger) -> None:
        await ledger.append([entry(key) for key in "abcdef"])
        assert [record.n for record in await ledger.read(after=2, limit=3)] == [3, 4, 5]
        assert [record.n for record in await ledger.read(after=5, limit=3)] == [6]
        assert await ledger.read(after=6, limit=3) == []
        assert await ledger.read(after=99, limit=3) == []

    async def test_large_records_come_few_at_a_time(self, ledger: Ledger) -> None:
        large = "é" * 60_000
        await ledger.append([entry(f"k{number}", large=large) for number in range(12)])
        sizes: list[int] = []
        after = 0
        while page := await ledger.read(after=after, limit=100):
            assert [record.n for record in page] == list(range(after + 1, after + 1 + len(page)))
            assert all(record.data["large"] == large for record in page)
            sizes.append(len(page))
            after += len(page)
        assert after == 12
        assert max(sizes) * 120_000 < 1_000_000

    async def test_one_that_is_larger_than_any_page_comes_alone(self, ledger: Ledger) -> None:
        await ledger.append([entry("a"), entry("b", large="x" * 1_500_000), entry("c")])
        assert [record.key for record in await records_after(ledger, 0)] == ["a", "b", "c"]
        assert (await ledger.read(after=1, limit=9))[0].key == "b"


class TestPruning:
    async def prune(self, ledger: Ledger, *, before: int, keep: int) -> int:
        """As often as there is something to do; returns how many went."""
        gone = 0
        while pruned := await ledger.prune(before=before, keep=keep):
            assert pruned > 0
            gone += pruned
        return gone

    async def left(self, ledger: Ledger) -> list[int]:
        return [record.n for record in await ledger.read(after=0, limit=99)]

    @pytest.mark.parametrize(
        ("before", "keep", "gone"),
        [(10, 1, 0), (11, 1, 1), (31, 1, 3), (99, 1, 4), (99, 0, 4), (99, 3, 2), (11, 3, 1), (99, 5, 0), (99, 99, 0)],
    )
    async def test_what_is_old_goes_unless_it_is_among_the_newest(
        self, ledger: Ledger, before: int, keep: int, gone: int
    ) -> None:
        await ledger.append([entry(f"k{at}", at=at) for at in (10, 20, 30, 40, 50)])
        assert await self.prune(ledger, before=before, keep=keep) == gone
        assert await self.left(ledger) == list(range(gone + 1, 6))
        assert await ledger.head() == 5

    async def test_nothing_goes_from_behind_what_stays(self, ledger: Ledger) -> None:
        """A clock that was ahead may hold up the pruning, but never makes a hole behind the first record."""
        await ledger.append([entry(f"k{number}", at=at) for number, at in enumerate((1, 99, 1, 1, 1))])
        assert await self.prune(ledger, before=50, keep=1) == 1
        assert await self.left(ledger) == [2, 3, 4, 5]

    async def test_numbers_go_on_behind_what_was_pruned(self, ledger: Ledger, reopen: Reopen) -> None:
        await ledger.append([entry(key) for key in "abcd"])
        assert await self.prune(ledger, before=9, keep=0) == 3
        ledger = (await reopen()).ledger
        assert await ledger.head() == 4
        assert await ledger.append([entry("e")]) == [5]
        assert await self.prune(ledger, before=9, keep=0) == 1
        ledger = (await reopen()).ledger
        assert await ledger.append([entry("f")]) == [6]
        assert [record.key for record in await records_after(ledger, 4)] == ["e", "f"]

    async def test_whoever_is_behind_sees_the_gap(self, ledger: Ledger) -> None:
        await ledger.append([entry(key) for key in "abcdef"])
        await self.prune(ledger, before=9, keep=2)
        assert [record.n for record in await ledger.read(after=1, limit=9)] == [5, 6]
        assert [record.n for record in await ledger.read(after=4, limit=9)] == [5, 6]

    async def test_a_key_that_was_pruned_is_a_new_record(self, ledger: Ledger) -> None:
        await ledger.append([entry("a"), entry("b")])
        await self.prune(ledger, before=9, keep=1)
        assert await ledger.append([entry("b"), entry("a")]) == [2, 3]

    async def test_two_may_prune_while_others_append(self, stores: Stores, history: History) -> None:
        await history.ledger.append([entry(f"old{number}") for number in range(20)])
        async with stores.another() as other:
            *pruned, _, _ = await asyncio.gather(
                *(self.prune(node.ledger, before=5, keep=1) for node in (history, other)),
                *(node.ledger.append([entry(f"new{at}", at=9)]) for at, node in enumerate((history, other))),
            )
        await self.prune(history.ledger, before=5, keep=1)
        assert sum(gone for gone in pruned if isinstance(gone, int)) <= 20
        assert await self.left(history.ledger) == [21, 22]


class TestText:
    @pytest.mark.parametrize(
        "bad",
        [
            Entry("notice", "\ud800", 1, {}),
            Entry("notice", "k", 1, {"text": "\udfff"}),
            Entry("notice", "k", 1, {"list": [{"deep": "a\ud800b"}]}),
            Entry("notice", "k", 1, {"\ud800": "name"}),
        ],
    )
    async def test_what_is_not_unicode_is_refused_with_all_that_came_with_it(self, ledger: Ledger, bad: Entry) -> None:
        with refusal("bad_request"):
            await ledger.append([entry("good"), bad])
        assert await ledger.append([entry("after")]) == [1]

    async def test_one_that_is_refused_harms_nobody_who_appends_meanwhile(self, ledger: Ledger) -> None:
        good = [ledger.append([entry(f"k{number}")]) for number in range(6)]
        bad = [ledger.append([entry(f"bad{number}", text="\ud800")]) for number in range(3)]
        outcomes = await asyncio.gather(*good[:3], *bad, *good[3:], return_exceptions=True)
        codes = [outcome.code for outcome in outcomes if isinstance(outcome, HubbubError)]
        assert codes == ["bad_request"] * 3
        assert len(await records_after(ledger, 0)) == 6


class TestLife:
    async def test_what_was_appended_is_there_after_a_restart(self, ledger: Ledger, reopen: Reopen) -> None:
        await ledger.append([entry("a"), entry("b")])
        before = await records_after(ledger, 0)
        again = (await reopen()).ledger
        assert await records_after(again, 0) == before
        assert await again.append([entry("c"), entry("b")]) == [3, 2]

    async def test_a_store_that_is_closed_is_unavailable(self, history: History) -> None:
        ledger = history.ledger
        await history.close()
        for call in (
            ledger.head(),
            ledger.read(after=0, limit=1),
            ledger.append([entry("a")]),
            ledger.sanctions(now=1),
        ):
            with refusal("unavailable"):
                await call

    async def test_there_is_nothing_to_mend(self, history: History) -> None:
        await history.ledger.append([entry("a")])
        await history.ledger.mend()
        assert await history.ledger.head() == 1
