"""A record is a dataclass in all but that nothing stops who writes to it."""

from __future__ import annotations

import copy
import pickle
from dataclasses import field, fields, replace

import pytest

from hubbub.history.base import Insert, Message, Sender
from hubbub.history.records import record


@record
class Point:
    x: int
    y: int = 0
    tags: tuple[str, ...] = field(default=())


class TestRecords:
    def test_it_is_made_compared_hashed_and_replaced_by_its_fields(self) -> None:
        assert Point(1) == Point(1, 0) != Point(1, 2)
        assert len({Point(1), Point(1, 0), Point(2)}) == 2
        assert replace(Point(1, 2), y=3) == Point(1, 3)
        assert repr(Point(1)) == "Point(x=1, y=0, tags=())"
        assert [each.name for each in fields(Point)] == ["x", "y", "tags"]

    def test_it_has_slots_and_nothing_else(self) -> None:
        assert not hasattr(Point(1), "__dict__")
        with pytest.raises(AttributeError):
            Point(1).z = 1  # type: ignore[attr-defined]

    def test_it_is_copied_and_pickled(self) -> None:
        assert copy.deepcopy(Point(1, 2)) == pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)

    def test_who_checks_types_sees_it_frozen(self) -> None:
        point = Point(1)
        point.x = 2  # type: ignore[misc]  # An ignore that is not needed is an error.
        assert point.x == 2


class TestWhatIsMadeForEveryMessage:
    @pytest.mark.parametrize("kind", [Message, Sender, Insert])
    def test_it_is_a_record(self, kind: type) -> None:
        assert "__setattr__" not in vars(kind)
