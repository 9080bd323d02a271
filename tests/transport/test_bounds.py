"""The bounds by themselves: they fit each other."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from hubbub.transport.bounds import Bounds


class TestBounds:
    def test_each_is_a_bound(self) -> None:
        bounds = Bounds()
        for field in fields(Bounds):
            value = getattr(bounds, field.name)
            assert value > 0 or field.name == "deflate_bytes", field.name
            assert field.name.endswith("_s") == isinstance(value, float), field.name

    def test_a_packet_fits_where_it_may_have_to_wait(self) -> None:
        bounds = Bounds()
        assert bounds.packet_bytes <= bounds.pending_bytes
        assert bounds.packet_bytes <= bounds.outbox_bytes // 2

    def test_who_does_not_read_is_given_up_before_a_heartbeat_fails(self) -> None:
        bounds = Bounds()
        assert bounds.stall_s < bounds.ping_interval_s + bounds.ping_timeout_s

    def test_nobody_changes_them(self) -> None:
        with pytest.raises(FrozenInstanceError):
            Bounds().depth = 1  # type: ignore[misc]

    def test_they_are_named_where_they_are_given(self) -> None:
        with pytest.raises(TypeError):
            Bounds(1)  # type: ignore[call-arg]
