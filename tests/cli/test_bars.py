"""Progress is shown to whoever watches, and measured in any case."""

from __future__ import annotations

import pytest

from hubbub.cli.bars import Bars


class TestBars:
    def test_nothing_is_written_where_nobody_watches(self, capfd: pytest.CaptureFixture[str]) -> None:
        with Bars() as bars:
            bars.begin("copying", 10)
            bars.advance(10)
        assert capfd.readouterr() == ("", "")
        assert bars.per_s() > 0

    def test_a_terminal_has_a_bar_for_each_step_on_standard_error(
        self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "120")
        with Bars() as bars:
            for step in ("copying", "verifying"):
                bars.begin(step, 1000)
                bars.advance(700)
        out, err = capfd.readouterr()
        assert out == ""
        assert "copying" in err
        assert "verifying" in err
        assert "700/700" in err

    def test_the_speed_is_that_of_the_longest_step(self) -> None:
        bars = Bars()
        bars._steps = [(1.0, 100.0), (4.0, 200.0)]
        assert bars.per_s() == 50
        assert Bars().per_s() == 0
