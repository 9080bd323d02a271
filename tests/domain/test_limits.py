"""The bounds that clients are told of."""

from __future__ import annotations

from hubbub.domain.limits import PAGE_BYTES, Limits
from hubbub.events import HistoryFetch
from hubbub.fields import Whole


class TestLimits:
    def test_clients_are_told_of_every_bound(self) -> None:
        assert Limits(body=5).document()["body"] == 5
        assert set(Limits().document()) == set(Limits.__slots__)

    def test_every_bound_is_a_positive_number(self) -> None:
        assert all(type(value) is int and value > 0 for value in Limits().document().values())

    def test_the_page_that_clients_are_told_of_is_the_one_that_the_schema_takes(self) -> None:
        field = HistoryFetch().fields["limit"]
        assert isinstance(field, Whole)
        assert field.most == Limits().page
        assert Limits().page_default <= Limits().page

    def test_a_page_has_room_for_a_message_of_any_length(self) -> None:
        assert Limits().body * 4 <= PAGE_BYTES
