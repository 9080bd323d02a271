"""Filters are found by name, and what cannot be had is told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.errors import FilterError
from hubbub.filters.loading import load_filters, open_rules


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "hubbub_test_filters.py").write_text(
        "def kind(draft): pass\n"
        "class Filter:\n    def __call__(self, draft): pass\n    def method(self, draft): pass\n"
        "one = Filter()\nnumber = 7\n"
    )
    (tmp_path / "hubbub_test_broken.py").write_text("1 / 0\n")
    info = tmp_path / "hubbub_test_filters-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hubbub-test-filters\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hubbub.filters]\nkind = hubbub_test_filters:kind\ngone = nowhere:f\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "hubbub_test_filters"


class TestLoading:
    def test_functions_and_objects_of_modules_in_their_order(self, module: str) -> None:
        names = [f"{module}:one", f"{module}:kind", f"{module}:one.method"]
        loaded = load_filters(names)
        assert [name for name, _ in loaded] == names
        assert all(callable(each) for _, each in loaded)

    def test_entry_points_of_installed_packages(self, module: str) -> None:
        [(name, loaded)] = load_filters(["kind"])
        assert (name, getattr(loaded, "__name__", "")) == ("kind", "kind")

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("hubbub_test_nowhere:f", "cannot be loaded: ModuleNotFoundError"),
            ("hubbub_test_filters:nothing", "cannot be loaded: AttributeError"),
            ("hubbub_test_broken:f", "cannot be loaded: ZeroDivisionError"),
            ("hubbub_test_filters:number", "is not a function"),
            ("hubbub_test_filters:Filter", "is not a function"),
            ("gone", "cannot be loaded: ModuleNotFoundError"),
            ("profanity", "No installed package announces a filter profanity .*there are gone, kind"),
        ],
    )
    def test_what_cannot_be_had_is_named(self, module: str, name: str, told: str) -> None:
        with pytest.raises(FilterError, match=told) as caught:
            load_filters([f"{module}:kind", name])
        assert name in str(caught.value)


class TestRules:
    def test_no_path_is_no_file(self) -> None:
        assert open_rules(None) is None

    def test_a_file_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(FilterError, match="cannot be read"):
            open_rules(str(tmp_path / "rules.toml"))
