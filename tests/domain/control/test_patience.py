"""Asking a store that may be away: again and again, but not too often, and the first answer counts."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.domain.control import patience as module
from hubbub.domain.control.patience import ask_again
from hubbub.errors import HubbubError
from tests.support.virtualtime import run_in_virtual_time


class Store:
    """Answers each question after what the test says: seconds, an error, or never."""

    def __init__(self, *answers: float | HubbubError | None) -> None:
        self.answers = list(answers)
        self.asked_at: list[float] = []
        self.under_way = 0
        self.under_way_most = 0

    async def ask(self) -> int:
        number = len(self.asked_at)
        self.asked_at.append(asyncio.get_running_loop().time())
        answer = self.answers[min(number, len(self.answers) - 1)]
        self.under_way += 1
        self.under_way_most = max(self.under_way_most, self.under_way)
        try:
            if isinstance(answer, HubbubError):
                raise answer
            await asyncio.sleep(3600 if answer is None else answer)
            return number
        finally:
            self.under_way -= 1


async def timed(store: Store) -> tuple[int, float]:
    answer = await ask_again(store.ask)
    return answer, round(asyncio.get_running_loop().time(), 3)


class TestAskAgain:
    def test_a_store_that_answers_is_asked_once(self) -> None:
        store = Store(0.01)
        assert run_in_virtual_time(timed(store)) == (0, 0.01)
        assert len(store.asked_at) == 1

    def test_a_question_that_got_lost_is_asked_beside_it(self) -> None:
        store = Store(None, 0.01)
        assert run_in_virtual_time(timed(store)) == (1, round(module.AGAIN_S + 0.01, 3))
        assert store.under_way == 0

    def test_a_slow_store_is_given_the_time_that_it_takes(self) -> None:
        store = Store(4.0)
        assert run_in_virtual_time(timed(store)) == (0, 4.0)
        assert store.under_way_most == module.AT_ONCE

    def test_there_is_always_a_question_that_is_new(self) -> None:
        store = Store(None)

        async def test() -> None:
            with pytest.raises(HubbubError, match="unavailable"):
                await ask_again(store.ask)

        run_in_virtual_time(test())
        pauses = [later - before for before, later in zip(store.asked_at, store.asked_at[1:], strict=False)]
        assert pauses == pytest.approx([module.AGAIN_S] * 7)
        assert (store.under_way, store.under_way_most) == (0, module.AT_ONCE)

    def test_a_store_that_never_answers_is_unavailable(self) -> None:
        async def test() -> float:
            with pytest.raises(HubbubError, match="unavailable"):
                await ask_again(Store(None).ask)
            return asyncio.get_running_loop().time()

        assert run_in_virtual_time(test()) == module.LONGEST_S

    def test_an_error_is_raised_at_once_if_nothing_else_is_under_way(self) -> None:
        async def test() -> float:
            with pytest.raises(HubbubError, match="not_found"):
                await ask_again(Store(HubbubError("not_found")).ask)
            return asyncio.get_running_loop().time()

        assert run_in_virtual_time(test()) == 0

    def test_an_error_beside_another_question_does_not_make_it_ask_in_a_hurry(self) -> None:
        store = Store(None, HubbubError("unavailable"), HubbubError("unavailable"), 0.01)
        assert run_in_virtual_time(timed(store)) == (3, round(3 * module.AGAIN_S + 0.01, 3))

    def test_whoever_is_cancelled_leaves_no_question_behind(self) -> None:
        async def test() -> int:
            store = Store(None)
            asking = asyncio.ensure_future(ask_again(store.ask))
            await asyncio.sleep(1.0)
            asking.cancel()
            await asyncio.wait({asking})
            return store.under_way

        assert run_in_virtual_time(test()) == 0
