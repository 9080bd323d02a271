"""The flags of settings, made from their declarations.

Secrets have none: a command line can be read by every user of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from hubbub.settings import Choice, Declaration, Settings, Switch, declaration_of

__all__ = ["Command", "config_flag", "setting_flags"]

Command = Callable[..., Any]

config_flag = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read settings from this TOML file; they win over the environment, and flags over both.",
)


def setting_flags(only: Collection[str] | None = None) -> Callable[[Command], Command]:
    """A decorator that adds a flag for each setting that may have one, or for those named."""

    def decorate(command: Command) -> Command:
        for field in reversed(fields(Settings)):
            declared = declaration_of(field.metadata)
            if not declared.secret and (only is None or field.name in only):
                command = _flag(field.name, declared)(command)
        return command

    return decorate


def _flag(name: str, declared: Declaration) -> Callable[[Command], Command]:
    help_text = declared.what.replace("`", "")
    return click.option(f"--{name.replace('_', '-')}", name, metavar=_metavar(declared), help=help_text)


def _metavar(declared: Declaration) -> str:
    """Values are checked with those of the other sources, so that a mistake is told in the same words."""
    if isinstance(declared.field, Switch):
        return "on|off"
    if isinstance(declared.field, Choice):
        return "|".join(declared.field.choices)
    return {"seconds": "SECONDS", "bytes": "BYTES"}.get(declared.unit, "VALUE")
