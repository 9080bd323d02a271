"""How many requests a user may make."""

from __future__ import annotations

import contextlib

import pytest

from hubbub.errors import HubbubError
from hubbub.http.rest.buckets import Buckets


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(buckets: Buckets, user: str, times: int) -> int:
    """How many of so many requests are let through."""
    passed = 0
    for _ in range(times):
        with contextlib.suppress(HubbubError):
            buckets.take(user)
            passed += 1
    return passed


class TestBuckets:
    """A burst at once, then so many per second, each user for themselves."""

    def test_a_burst_passes_and_then_only_what_has_flowed_in(self) -> None:
        clock = Clock()
        buckets = Buckets(enabled=True, rate=2.0, burst=5.0, clock=clock)
        assert taken(buckets, "ada", 10) == 5
        assert taken(buckets, "bob", 10) == 5
        clock.now += 1.0
        assert taken(buckets, "ada", 10) == 2
        clock.now += 3600.0
        assert taken(buckets, "ada", 10) == 5

    def test_whoever_is_refused_is_told_when_to_come_again(self) -> None:
        clock = Clock()
        buckets = Buckets(enabled=True, rate=2.0, burst=1.0, clock=clock)
        buckets.take("ada")
        with pytest.raises(HubbubError) as caught:
            buckets.take("ada")
        assert (caught.value.code, caught.value.retry_after) == ("rate_limited", 0.5)
        clock.now += 0.5
        buckets.take("ada")

    def test_buckets_that_are_full_again_are_forgotten(self) -> None:
        clock = Clock()
        buckets = Buckets(enabled=True, rate=2.0, burst=4.0, clock=clock)
        for number in range(1000):
            buckets.take(f"user-{number}")
            clock.now += 0.1
        assert len(buckets._buckets) <= 21

    def test_there_are_never_more_than_so_many(self) -> None:
        buckets = Buckets(enabled=True, most=10, clock=Clock())
        for number in range(100):
            buckets.take(f"user-{number}")
        assert len(buckets._buckets) == 10

    def test_there_is_no_limit_where_limits_are_off(self) -> None:
        assert taken(Buckets(enabled=False, rate=1.0, burst=1.0, clock=Clock()), "ada", 100) == 100
