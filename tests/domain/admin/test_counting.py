"""What a node counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.domain.admin import counting
from hubbub.domain.admin.counting import count, memory_bytes
from hubbub.telemetry import Metrics


class TestCounting:
    def test_the_counters_are_those_of_the_metrics(self) -> None:
        metrics = Metrics()
        metrics.connections.labels("/chat").inc(3)
        metrics.connections.labels("/admin").inc()
        metrics.messages.inc(7)
        metrics.deliveries.inc(70)
        for code in ("ok", "ok", "muted"):
            metrics.events.add("message:send", code, 0.001)
        counters = count(metrics, users=2, rooms=5)
        assert counters.connections == {"/chat": 3, "/admin": 1}
        assert (counters.users, counters.rooms) == (2, 5)
        assert (counters.messages, counters.deliveries) == (7, 70)
        assert (counters.events, counters.refusals) == (3, 1)
        assert counters.cpu_s > 0

    def test_memory_is_in_bytes_also_where_the_system_only_knows_the_most(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        now = memory_bytes()
        monkeypatch.setattr(counting, "_STATM", tmp_path / "none")
        most = memory_bytes()
        assert 10_000_000 < now < 10 * most
        assert 10_000_000 < most < 100 * now
