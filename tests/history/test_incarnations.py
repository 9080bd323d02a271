"""The names of incarnations."""

from __future__ import annotations

from hubbub.history.incarnations import new_incarnation


class TestNames:
    def test_none_comes_twice(self) -> None:
        assert len({new_incarnation() for _ in range(1000)}) == 1000

    def test_one_fits_into_an_epoch_as_clients_send_it(self) -> None:
        name = new_incarnation()
        assert name.isalnum()
        assert len(name) <= 16
