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
        assert bars.per_s("copying") > 0

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

    def test_the_speed_is_that_of_the_step_that_is_asked_for(self) -> None:
        bars = Bars()
        bars._steps = {"copying": (1.0, 100.0), "verifying": (4.0, 200.0)}
        assert bars.per_s("copying") == 100
        assert bars.per_s("verifying") == 50
        assert Bars().per_s("copying") == 0

    def test_the_step_that_is_under_way_has_a_name(self) -> None:
        bars = Bars()
        assert bars.step == ""
        bars.begin("copying", 10)
        assert bars.step == "copying"
