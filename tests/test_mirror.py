"""The tests mirror the service: whoever looks for the tests of a module knows where they are."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

from tests.support.tree import PACKAGE, ROOT, TESTS, modules

KINDS: Final = frozenset({"chaos", "conformance", "contract", "integration", "support"})
"""Folders of tests that are about more than one module."""

WHOLE_TREE: Final = frozenset(
    {"test_blocking.py", "test_docs.py", "test_exports.py", "test_layers.py", "test_mirror.py"}
)
"""Tests at the top that are about the tree as a whole or about the tests."""

SMALL: Final = 12
"""Modules with fewer statements are tested through those that use them."""

ELSEWHERE: Final = {
    "history/base.py": "tests/contract/test_history.py",
}
"""Modules that another file tests, because one body of tests is run over several adapters."""


def mirrored_tests() -> list[Path]:
    return sorted(
        path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] not in KINDS | WHOLE_TREE
    )


def has_module(test: Path) -> bool:
    module = PACKAGE / test.relative_to(TESTS).parent / test.name.removeprefix("test_")
    return module.exists() or module.with_suffix("").is_dir()


def statements(path: Path) -> int:
    """How many statements there are to get wrong; texts and imports are none."""
    harmless = (ast.Import, ast.ImportFrom, ast.Expr, ast.Pass)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return sum(isinstance(node, ast.stmt) and not isinstance(node, harmless) for node in ast.walk(tree))


def home_of(module: Path) -> Path:
    relative = module.relative_to(PACKAGE)
    if str(relative) in ELSEWHERE:
        return ROOT / ELSEWHERE[str(relative)]
    return TESTS / relative.parent / f"test_{relative.stem}.py"


LARGE: Final = [path for path in modules() if path.name != "__init__.py" and statements(path) >= SMALL]


class TestMirror:
    def test_every_test_has_its_module(self) -> None:
        assert [str(path.relative_to(ROOT)) for path in mirrored_tests() if not has_module(path)] == []

    @pytest.mark.parametrize("path", LARGE, ids=lambda path: str(path.relative_to(PACKAGE)))
    def test_a_module_has_its_tests(self, path: Path) -> None:
        assert home_of(path).exists(), f"{home_of(path).relative_to(ROOT)} is missing"

    def test_the_list_of_exceptions_is_current(self) -> None:
        assert [name for name in ELSEWHERE if not (PACKAGE / name).exists()] == []
