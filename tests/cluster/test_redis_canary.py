"""A canary tells within its time that it is not heard, starts over, and says when something may have been lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hubbub.cluster.redis_canary import CANARY_S, DEAF_S, Canary
from tests.support.virtualtime import run_in_virtual_time


class Cage:
    """A canary whose song comes back at once while `is_open`."""

    def __init__(self) -> None:
        self.is_open = True
        self.overs: list[float] = []
        self.backs = 0
        self.songs: list[bytes] = []
        self.canary = Canary(self._sing, self._over, on_back=self._back)

    def hears(self) -> bool:
        return self.canary.hears

    def _sing(self, body: bytes) -> None:
        self.songs.append(body)
        if self.is_open:
            asyncio.get_running_loop().call_soon(self.canary.hear, body)

    def _over(self) -> None:
        self.overs.append(asyncio.get_running_loop().time())

    def _back(self) -> None:
        self.backs += 1


def in_time(test: Callable[[Cage], Coroutine[Any, Any, None]]) -> None:
    async def work() -> None:
        cage = Cage()
        cage.canary.start()
        try:
            await test(cage)
        finally:
            await cage.canary.close()
            await cage.canary.close()

    run_in_virtual_time(work())


class TestDeafness:
    def test_it_hears_once_it_was_heard(self) -> None:
        async def test(cage: Cage) -> None:
            assert not cage.hears()
            await asyncio.sleep(0.01)
            assert cage.hears()
            assert not cage.overs

        in_time(test)

    def test_deafness_is_known_in_time_and_everything_starts_over_each_time(self) -> None:
        async def test(cage: Cage) -> None:
            await asyncio.sleep(0.5)
            cage.is_open = False
            await asyncio.sleep(DEAF_S - 0.6)
            assert cage.hears()
            await asyncio.sleep(0.2)
            assert not cage.hears()
            await asyncio.sleep(2 * DEAF_S + CANARY_S)
            assert [round(at) for at in cage.overs] == [DEAF_S, 2 * DEAF_S, 3 * DEAF_S]
            cage.is_open = True
            await asyncio.sleep(CANARY_S)
            assert cage.hears()

        in_time(test)

    def test_a_canary_that_never_sang_to_anybody_starts_over_too(self) -> None:
        async def test(cage: Cage) -> None:
            cage.is_open = False
            await asyncio.sleep(DEAF_S + 0.5)
            assert len(cage.overs) == 1

        in_time(test)


class TestLosses:
    def test_a_loss_is_told_once_when_it_is_heard_again(self) -> None:
        async def test(cage: Cage) -> None:
            await asyncio.sleep(0.1)
            assert cage.backs == 0
            cage.is_open = False
            cage.canary.lose()
            cage.canary.lose()
            await asyncio.sleep(0.2)
            assert cage.backs == 0
            cage.is_open = True
            await asyncio.sleep(CANARY_S)
            assert cage.backs == 1
            await asyncio.sleep(5 * CANARY_S)
            assert cage.backs == 1

        in_time(test)

    def test_it_sings_at_once_when_something_has_changed(self) -> None:
        async def test(cage: Cage) -> None:
            await asyncio.sleep(0.1)
            cage.canary.lose()
            await asyncio.sleep(0.01)
            assert cage.backs == 1
            assert cage.songs == [b"1", b"2"]

        in_time(test)

    def test_one_that_was_closed_sings_no_more(self) -> None:
        async def test(cage: Cage) -> None:
            await asyncio.sleep(0.1)
            await cage.canary.close()
            cage.canary.sing()
            await asyncio.sleep(5)
            assert cage.songs == [b"1"]

        in_time(test)


class TestWhatOthersSay:
    """Anybody who may publish can say something on the canary's channel."""

    @pytest.mark.parametrize(
        "body", [b"", b"la la", b"\xff", b"-1", b"+1", b" 1", b"01", b"1_0", b"1.0", b"9" * 10_000]
    )
    def test_what_is_no_song_is_passed_over(self, body: bytes) -> None:
        async def test(cage: Cage) -> None:
            cage.is_open = False
            for _ in range(20):  # So that a number that is read too generously is one that was sung.
                cage.canary.sing()
            cage.canary.lose()
            cage.canary.hear(body)
            assert not cage.hears()
            assert cage.backs == 0

        in_time(test)

    def test_a_song_of_the_future_does_not_count_and_keeps_no_true_one_from_counting(self) -> None:
        async def test(cage: Cage) -> None:
            cage.is_open = False
            await asyncio.sleep(0.1)
            cage.canary.hear(b"%d" % 10**9)
            assert not cage.hears()
            cage.canary.hear(b"1")
            assert cage.hears()

        in_time(test)

    def test_a_song_that_was_heard_is_no_sign_of_hearing_when_it_comes_again(self) -> None:
        async def test(cage: Cage) -> None:
            await asyncio.sleep(0.1)
            cage.is_open = False
            for _ in range(10):
                cage.canary.hear(b"1")
                await asyncio.sleep(CANARY_S / 2)
            assert not cage.hears()
            cage.canary.hear(b"1")
            assert not cage.hears()
            cage.canary.hear(b"2")
            assert cage.hears()

        in_time(test)
