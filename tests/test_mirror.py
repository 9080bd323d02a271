"""The tests mirror the service: whoever looks for the tests of a module knows where they are."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest

from tests.support.tree import PACKAGE, ROOT, TESTS, modules

KINDS: Final = frozenset({"faults", "chaos", "conformance", "contract", "deploy", "integration", "rolling", "support"})
"""Folders of tests that are about more than one module."""

WHOLE_TREE: Final = frozenset(
    {"test_blocking.py", "test_docs.py", "test_exports.py", "test_layers.py", "test_mirror.py"}
)
"""Tests at the top that are about the tree as a whole or about the tests."""

SMALL: Final = 5
"""Modules with fewer statements in functions are tested through those that use them."""

OF_PACKAGES: Final = frozenset(
    {
        "history/test_mongo_concerns.py",
        "history/test_mongo_failover.py",
        "history/test_mongo_failover_ledger.py",
        "history/test_mongo_failover_rooms.py",
        "transport/test_fuzz.py",
        "transport/test_private_names.py",
    }
)
"""Tests of a package as a whole: of all that can happen to its store, of all that peers can send it, and of what is
private to the libraries beneath.
"""

ELSEWHERE: Final = {
    "history/base.py": "tests/contract/test_history.py",
    "history/mongo*.py": "tests/contract/test_history.py",
    "history/sqlite*.py": "tests/contract/test_history.py",
}
"""Modules without a file of their own, and who tests them: one body of tests is run over every adapter."""


def mirrored_tests() -> list[Path]:
    return sorted(
        path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] not in KINDS | WHOLE_TREE
    )


def has_module(test: Path) -> bool:
    if str(test.relative_to(TESTS)) in OF_PACKAGES:
        return True
    module = PACKAGE / test.relative_to(TESTS).parent / test.name.removeprefix("test_")
    return module.exists() or module.with_suffix("").is_dir()


def statements(path: Path) -> int:
    """How many statements in functions there are to get wrong: declarations, texts and imports are none."""
    harmless = (ast.Import, ast.ImportFrom, ast.Expr, ast.Pass)
    functions = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if _is_function(node))
    inner = {node for function in functions for node in ast.walk(function) if isinstance(node, ast.stmt)}
    return sum(not isinstance(node, harmless) and not _is_function(node) for node in inner)


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def homes_of(module: Path) -> list[Path]:
    """Where the tests of a module may be: its own file first, then one that is shared."""
    relative = module.relative_to(PACKAGE)
    shared = [ROOT / home for pattern, home in ELSEWHERE.items() if fnmatchcase(str(relative), pattern)]
    return [TESTS / relative.parent / f"test_{relative.stem}.py", *shared]


LARGE: Final = [path for path in modules() if path.name != "__init__.py" and statements(path) >= SMALL]


class TestMirror:
    def test_every_test_has_its_module(self) -> None:
        assert [str(path.relative_to(ROOT)) for path in mirrored_tests() if not has_module(path)] == []

    @pytest.mark.parametrize("path", LARGE, ids=lambda path: str(path.relative_to(PACKAGE)))
    def test_a_module_has_its_tests(self, path: Path) -> None:
        homes = homes_of(path)
        assert any(home.exists() for home in homes), f"{homes[0].relative_to(ROOT)} is missing"

    def test_the_list_of_exceptions_is_current(self) -> None:
        assert [pattern for pattern in ELSEWHERE if not list(PACKAGE.glob(pattern))] == []
