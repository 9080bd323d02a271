"""From the names in the settings to filters that can be called."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from hubbub.errors import FilterError
from hubbub.filters.base import Filter
from hubbub.filters.rulefile import RuleFile

__all__ = ["GROUP", "load_filters", "open_rules"]

GROUP: Final = "hubbub.filters"
"""The group of entry points in which packages announce their filters."""


def load_filters(names: Sequence[str]) -> list[tuple[str, Filter]]:
    """The filters of these names, in their order: each `module:callable`, or the name of an entry point of the group
    `hubbub.filters`. Raises `FilterError` with a sentence that names the one that cannot be had.
    """
    return [(name, _load(name)) for name in names]


def open_rules(path: str | None) -> RuleFile | None:
    """The rule file, if there is to be one. Raises `FilterError`."""
    return None if path is None else RuleFile(Path(path).expanduser())


def _load(name: str) -> Filter:
    try:
        loaded = _from_module(name) if ":" in name else _entry_point(name).load()
    except FilterError:
        raise
    except Exception as error:  # A module that is imported may raise anything.
        raise FilterError(f"The filter {name} cannot be loaded: {type(error).__name__}: {error}.") from error
    if not callable(loaded) or isinstance(loaded, type):
        raise FilterError(f"The filter {name} is not a function, nor anything else that can be called with a draft.")
    return loaded  # type: ignore[no-any-return]  # What it returns is checked at each call.


def _from_module(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _entry_point(name: str) -> EntryPoint:
    found = entry_points(group=GROUP, name=name)
    if not found:
        known = sorted({each.name for each in entry_points(group=GROUP)})
        there = f"there are {', '.join(known)}" if known else "there are none"
        raise FilterError(
            f"No installed package announces a filter {name} (of the entry points {GROUP}, {there});"
            " a function is named as module:function."
        )
    return next(iter(found))
