"""The reference pages are what the code makes of them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from hubbub.cli.reference import PAGES
from hubbub.settings import Settings
from tests.support.tree import ROOT


class TestPages:
    @pytest.mark.parametrize("name", sorted(PAGES))
    def test_a_page_is_current(self, name: str) -> None:
        page = ROOT / "docs" / "reference" / f"{name}.md"
        assert page.read_text(encoding="utf-8") == PAGES[name](), f"python -m hubbub.cli.reference {name}"

    @pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
    def test_every_setting_is_on_its_page(self, field: object) -> None:
        name: str = field.name  # type: ignore[attr-defined]
        assert f"\n## HUBBUB_{name.upper()}\n" in PAGES["settings"]()

    @pytest.mark.parametrize("text", ["## hubbub serve", "## hubbub token", "`--check`", "`--limits on\\|off`"])
    def test_every_command_is_on_its_page(self, text: str) -> None:
        assert text in PAGES["cli"]()

    def test_no_page_depends_on_where_it_is_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = {name: make() for name, make in PAGES.items()}
        monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
        monkeypatch.setenv("COLUMNS", "40")
        assert {name: make() for name, make in PAGES.items()} == before
