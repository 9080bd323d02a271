"""How far floors rise, and that rooms are counted once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubbub.history.floors import Counts, rising

places = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), max_size=12).map(
    lambda rows: sorted(dict(rows).items())
)


class TestRising:
    @given(places, st.integers(0, 31), st.one_of(st.none(), st.integers(0, 10)), st.integers(-3, 14))
    def test_it_takes_the_longest_prefix_that_a_rule_asks_for(
        self, oldest: list[tuple[int, int]], newest: int, before: int | None, excess: int
    ) -> None:
        floor, count = rising(oldest, newest=newest, before=before, excess=excess)
        assert [seq for seq, _ in oldest if seq <= floor] == [seq for seq, _ in oldest[:count]]
        asked = [
            seq < newest and (number < excess or (before is not None and at < before))
            for number, (seq, at) in enumerate(oldest)
        ]
        assert all(asked[:count])
        assert count == len(oldest) or not asked[count]

    def test_nothing_is_taken_from_nothing(self) -> None:
        assert rising([], newest=0, before=9, excess=9) == (0, 0)


class TestCounts:
    def test_what_is_known_is_followed(self) -> None:
        counts = Counts()
        assert counts.unknown("room", 2, 10) == ((2, 10), None)
        assert counts.learn("room", 2, 10, came=8, went=None) == 8
        assert counts.unknown("room", 5, 14) == ((10, 14), (2, 5))
        assert counts.learn("room", 5, 14, came=3, went=2) == 9
        assert counts.unknown("other", 5, 14) == ((5, 14), None)

    def test_what_cannot_be_followed_is_counted_anew(self) -> None:
        counts = Counts()
        counts.learn("room", 2, 10, came=8, went=None)
        for floor, newest in [(1, 10), (2, 9), (10, 20)]:
            assert counts.unknown("room", floor, newest) == ((floor, newest), None)

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=10))
    def test_it_comes_to_the_number_that_there_is(self, steps: list[tuple[bool, int]]) -> None:
        seqs: list[int] = []
        floor, newest = 0, 0
        counts = Counts()

        def between(gap: tuple[int, int]) -> int:
            return sum(gap[0] < seq <= gap[1] for seq in seqs)

        for rises, number in steps:
            if rises:
                floor = min(floor + number, max(newest - 1, floor))
            else:
                newest += 1 + number  # Some revisions are changes, and have no message of their own.
                seqs.append(newest)
            came, went = counts.unknown("room", floor, newest)
            count = counts.learn(
                "room", floor, newest, came=between(came), went=None if went is None else between(went)
            )
            assert count == between((floor, newest))
