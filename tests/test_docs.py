"""What the documentation says is there and is current."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Final

import pytest

from docs import generate
from tests.support.tree import ROOT

PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROGRAMS: Final = {"js": "hello.mjs", "python": "greeter.py"}
LINK: Final = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def missing_targets(page: Path) -> list[str]:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    return [link for link in links if not (page.parent / link).exists()]


class TestPrograms:
    """The programs in the README are files, and tests/integration/test_readme.py runs them."""

    @pytest.mark.parametrize(("language", "name"), PROGRAMS.items())
    def test_the_readme_shows_a_program_as_it_is(self, language: str, name: str) -> None:
        program = (ROOT / "docs" / "tutorial" / name).read_text(encoding="utf-8")
        assert blocks(ROOT / "README.md", language) == [program]

    @pytest.mark.parametrize(("language", "name"), PROGRAMS.items())
    def test_the_tutorial_quotes_a_program_line_by_line(self, language: str, name: str) -> None:
        program = (ROOT / "docs" / "tutorial" / name).read_text(encoding="utf-8")
        quotes = blocks(ROOT / "docs" / "tutorial" / "first-chat.md", language)
        assert quotes
        assert [quote for quote in quotes if quote not in program] == []


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
    def test_every_link_leads_somewhere(self, page: Path) -> None:
        assert missing_targets(page) == []

    def test_a_dead_link_is_found(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("[here](page.md) [there](gone.md#part) [away](https://example.org/gone.md)")
        assert missing_targets(page) == ["gone.md"]

    def test_generated_pages_are_current(self) -> None:
        assert generate.stale() == []

    def test_every_direct_dependency_has_its_reason(self) -> None:
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
        names = set(re.findall(r"^([A-Za-z][\w-]*)", "\n".join(lists), re.MULTILINE)) - {"hubbub"}
        reasons = (ROOT / "docs" / "reference" / "dependencies.md").read_text(encoding="utf-8")
        assert [name for name in sorted(names) if not re.search(rf"^\|.*\b{name}\b", reasons, re.MULTILINE)] == []

    def test_every_decision_is_in_the_index(self) -> None:
        folder = ROOT / "docs" / "decisions"
        index = (folder / "README.md").read_text(encoding="utf-8")
        assert [path.name for path in sorted(folder.glob("0*.md")) if f"]({path.name})" not in index] == []
