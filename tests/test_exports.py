"""Every module can be imported first, and says what it exports."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support import lone_imports
from tests.support.tree import PACKAGE, module_name, modules

MODULES: Final = modules()
NAMES: Final = [module_name(path) for path in MODULES]


def import_alone(names: list[str], path: Path) -> dict[str, str]:
    """From each module that cannot be imported alone to why."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", lone_imports.__file__],
        input="\n".join(names),
        env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    failures: dict[str, str] = json.loads(finished.stdout)
    return failures


def public_names(tree: ast.Module) -> set[str]:
    """The public names that a module defines at its top level; what it imports is not among them."""
    return {name for statement in tree.body for name in _defined(statement) if not name.startswith("_")}


def passed_on(tree: ast.Module) -> set[str]:
    """What a module imports from other modules of the service, and may export in their place."""
    return {
        alias.asname or alias.name
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("hubbub.")
        for alias in statement.names
    }


def _defined(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def exported_names(tree: ast.Module) -> list[str] | None:
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                names: list[str] = ast.literal_eval(value)
                return names
    return None


class TestImports:
    """The order in which modules are imported does not matter."""

    def test_every_module_imports_alone(self) -> None:
        assert import_alone(NAMES, PACKAGE.parent) == {}

    def test_a_circle_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "one.py").write_text("import two\nfirst = 1\n")
        (tmp_path / "two.py").write_text("from one import first\n")
        (tmp_path / "three.py").write_text("third = 3\n")
        assert sorted(import_alone(["one", "two", "three"], tmp_path)) == ["one"]


class TestExports:
    """`__all__` is what a module has for others: what it defines, and what it passes on from the modules behind it.

    A constant in capitals may be left out: it may have a name only to say why it has its value. So may a `logger`.
    """

    @pytest.mark.parametrize("path", MODULES, ids=NAMES)
    def test_the_list_equals_the_public_names(self, path: Path) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "__init__.py" and not tree.body[1:]:
            return  # A package that is only a docstring has nothing to say.
        exported = exported_names(tree)
        assert exported is not None, "no __all__"
        assert len(exported) == len(set(exported))
        defined = public_names(tree)
        assert {name for name in defined if not name.isupper() and name != "logger"} - set(exported) == set(), (
            "private, or missing in __all__"
        )
        assert set(exported) - defined - passed_on(tree) == set(), "in __all__, but not there"
