"""Newcomers are passed on to where there is room, and nothing swings."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hubbub.domain.shares import Shares, is_more_than_a_share
from hubbub.history.base import Beat

TAKING = {"status": "ready", "hears": True}


def beats(*others: Mapping[str, Any], own: Mapping[str, Any] | None = None, age_ms: int = 0) -> list[Beat]:
    """Those of n1, which is this node, and of the others."""
    about = [{**TAKING, "sessions": 0, **(own or {})}, *({**TAKING, **other} for other in others)]
    return [Beat(f"n{n}", f"o{n}", 100_000 - (age_ms if n > 1 else 0), told) for n, told in enumerate(about, 1)]


def shares(told: Sequence[Beat]) -> Shares:
    known = Shares("n1")
    known.learn(told, now_s=50.0)
    return known


class TestTheRule:
    @pytest.mark.parametrize(
        ("own", "others", "exceeded"),
        [
            (0, [100, 100], False),
            (100, [100, 100], False),
            (80, [80, 0], True),
            (15, [0, 0], False),  # Ten above the mean is nothing.
            (16, [0, 0], True),
            (1200, [1000, 1000], True),  # A tenth above the mean of 1067 is 1173.
            (1150, [1000, 1000], False),
            (500, [500] * 18 + [0], True),  # Above the mean of 475, and there is room elsewhere.
            (500, [500] * 18 + [450], False),
            (450, [500] * 18 + [0], False),
            (5, [], False),
            (10_000, [], False),
        ],
    )
    def test_a_tenth_more_than_the_mean_and_ten_at_least(self, own: int, others: list[int], exceeded: bool) -> None:
        assert is_more_than_a_share(own, others) is exceeded

    def test_of_any_nodes_one_at_least_has_not_too_much(self) -> None:
        draw = random.Random(7)
        for _ in range(500):
            counts = [draw.randrange(1000) for _ in range(draw.randrange(1, 9))]
            least = min(counts)
            others = list(counts)
            others.remove(least)
            assert not is_more_than_a_share(least, others)


class TestWhoCounts:
    def test_without_news_nobody_has_too_much(self) -> None:
        assert not Shares("n1").is_exceeded(10_000, now_s=0.0)
        assert not shares([]).is_exceeded(10_000, now_s=50.0)

    def test_news_are_good_for_ten_seconds(self) -> None:
        known = shares(beats({"sessions": 0}))
        assert known.is_exceeded(100, now_s=59.9)
        assert not known.is_exceeded(100, now_s=60.1)

    def test_beats_that_are_old_when_they_come_say_nothing(self) -> None:
        assert shares(beats({"sessions": 0}, age_ms=10_000)).is_exceeded(100, now_s=50.0)
        assert not shares(beats({"sessions": 0}, age_ms=10_001)).is_exceeded(100, now_s=50.0)

    @pytest.mark.parametrize(
        "other", [{"status": "draining"}, {"status": "starting"}, {"status": 3}, {"hears": False}, {"hears": None}]
    )
    def test_a_node_that_is_no_place_for_newcomers_does_not_count(self, other: dict[str, Any]) -> None:
        assert not shares(beats({"sessions": 0, **other})).is_exceeded(100, now_s=50.0)

    def test_with_redis_away_all_are_deaf_and_count(self) -> None:
        told = beats({"sessions": 0, "hears": False, "status": "degraded"}, own={"hears": False})
        assert shares(told).is_exceeded(100, now_s=50.0)

    @pytest.mark.parametrize("sessions", [None, "many", -1])
    def test_a_node_that_does_not_say_how_many_it_has_does_not_count(self, sessions: object) -> None:
        assert not shares(beats({"sessions": sessions})).is_exceeded(100, now_s=50.0)


class Model:
    """Nodes with counts, Nginx that asks up to six of them and then takes any, beats of 3 s that are read each 2 s."""

    def __init__(self, counts: Sequence[int], *, rule: bool, seed: int) -> None:
        self.counts = list(counts)
        self.refusals = 0
        self._rule = rule
        self._draw = random.Random(seed)
        self._told = list(counts)
        self._known = [list(counts) for _ in counts]
        self._beats_at = [self._draw.uniform(0, 3) for _ in counts]
        self._reads_at = [self._draw.uniform(0, 2) for _ in counts]

    def run(self, newcomers: int, *, within_s: float) -> None:
        nodes = range(len(self.counts))
        for number in range(newcomers):
            now_s = within_s * number / newcomers
            for node in nodes:
                while self._beats_at[node] <= now_s:
                    self._told[node] = self.counts[node]
                    self._beats_at[node] += self._draw.uniform(2.7, 3.3)
                while self._reads_at[node] <= now_s:
                    self._known[node] = list(self._told)
                    self._reads_at[node] += 2
            self.counts[self._taker(self._draw.sample(nodes, len(nodes))[:6])] += 1

    def _taker(self, asked: Sequence[int]) -> int:
        for node in asked if self._rule else ():
            others = [count for other, count in enumerate(self._known[node]) if other != node]
            if not is_more_than_a_share(self.counts[node], others):
                return node
            self.refusals += 1
        return self._draw.randrange(len(self.counts))


class TestTheModel:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("within_s", [0.5, 5, 60])
    def test_a_node_that_came_back_empty_gets_its_share_and_not_more(self, within_s: float, seed: int) -> None:
        with_rule, without = (Model([500, 500, 0], rule=rule, seed=seed) for rule in (True, False))
        for model in (with_rule, without):
            model.run(500, within_s=within_s)
        assert without.counts[2] < 220
        assert 400 <= with_rule.counts[2] <= 1.15 * sum(with_rule.counts) / 3, with_rule.counts

    @pytest.mark.parametrize("seed", range(5))
    def test_twenty_nodes_of_which_one_is_new(self, seed: int) -> None:
        with_rule, without = (Model([500] * 19 + [0], rule=rule, seed=seed) for rule in (True, False))
        for model in (with_rule, without):
            model.run(1000, within_s=10)
        assert without.counts[-1] < 80
        assert 200 <= with_rule.counts[-1] <= 550, with_rule.counts

    @pytest.mark.parametrize("seed", range(5))
    def test_even_nodes_stay_even_however_many_come_at_once(self, seed: int) -> None:
        model = Model([300, 300, 300], rule=True, seed=seed)
        model.run(3000, within_s=1)
        assert max(model.counts) - min(model.counts) < 200, model.counts
