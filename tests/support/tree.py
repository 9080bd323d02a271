"""The modules of the service, for the tests that look at all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["PACKAGE", "ROOT", "TESTS", "module_name", "modules"]

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "service" / "hubbub"
TESTS: Final = ROOT / "tests"


def modules() -> list[Path]:
    """Every module of the service, packages by their `__init__.py`, sorted."""
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """`hubbub.history.base` for its path; a package for its `__init__.py`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
