"""Settings from the environment, a TOML file and flags, validated before anything opens (DESIGN, section 5).

Later sources win: environment, then file, then flags. All that is wrong is collected and told at once.

The modules `settings_declared`, `settings_fields` and `settings_keys` are parts of this one; others import this one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from marshmallow import RAISE, Schema

from hubbub.settings_declared import Settings, default_store
from hubbub.settings_fields import Choice, Declaration, Switch, declaration_of
from hubbub.settings_keys import Algorithm, PublicKey, algorithm_of, read_pem

__all__ = [
    "Algorithm",
    "Choice",
    "Declaration",
    "PublicKey",
    "Settings",
    "SettingsError",
    "Switch",
    "algorithm_of",
    "declaration_of",
    "load",
    "read_pem",
]

_PREFIX: Final = "HUBBUB_"
_FOREIGN_PREFIXES: Final = ("HUBBUB_TEST_", "HUBBUB_BENCH_")
"""Names that tests and benchmarks use; the service neither reads nor refuses them."""

_NAMES: Final = tuple(field.name for field in fields(Settings))


class SettingsError(Exception):
    """The settings are wrong. `problems` has one sentence each, for the operator."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class _Given:
    """A value, and what the operator calls the place it came from."""

    value: object
    called: str


def load(environ: Mapping[str, str], *, config: Path | None, overrides: Mapping[str, object]) -> Settings:
    """The effective settings, or `SettingsError` with all that is wrong.

    `environ` gives `HUBBUB_<NAME>`, the TOML file `config` and `overrides` (the flags; a value of None is a flag that
    was not given) give `<name>`.
    """
    problems: list[str] = []
    given: dict[str, _Given] = {}
    given.update(_from_environ(environ, problems=problems))
    given.update(_from_file(config, problems=problems))
    given.update(_from_flags(overrides))
    values = _validated(given, problems=problems)
    values.setdefault("store", default_store(environ))
    settings = Settings(**values)
    problems.extend(_contradictions(settings, given=given))
    if problems:
        raise SettingsError(tuple(problems))
    return settings


def _from_environ(environ: Mapping[str, str], *, problems: list[str]) -> Iterator[tuple[str, _Given]]:
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable.startswith(_FOREIGN_PREFIXES):
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name in _NAMES and variable == variable.upper():
            yield name, _Given(environ[variable], variable)
        else:
            problems.append(f"{variable} is not a setting; did you mean {_PREFIX}{_nearest(name).upper()}?")


def _from_file(config: Path | None, *, problems: list[str]) -> Iterator[tuple[str, _Given]]:
    if config is None:
        return
    try:
        document = tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        problems.append(f"The file {config} cannot be read: {error.strerror}.")
        return
    except ValueError as error:
        problems.append(f"The file {config} is not valid TOML: {error}.")
        return
    for key, value in document.items():
        if key in _NAMES:
            yield key, _Given(value, f"{key} in {config}")
        else:
            problems.append(f"{key} in {config} is not a setting; did you mean {_nearest(key)}?")


def _from_flags(overrides: Mapping[str, object]) -> Iterator[tuple[str, _Given]]:
    for name, value in overrides.items():
        if value is not None:
            yield name, _Given(value, f"--{name.replace('_', '-')}")


def _nearest(name: str) -> str:
    return difflib.get_close_matches(name.lower(), _NAMES, n=1, cutoff=0.0)[0]


def _validated(given: Mapping[str, _Given], *, problems: list[str]) -> dict[str, Any]:
    """What is right, typed; what is wrong goes to `problems`."""
    schema = Schema.from_dict({field.name: declaration_of(field.metadata).field for field in fields(Settings)})
    faults: dict[str, list[str]] = schema(unknown=RAISE).validate({name: each.value for name, each in given.items()})
    for name, clauses in faults.items():
        problems.extend(f"{given[name].called} {clause}." for clause in clauses)
    right = {name: each.value for name, each in given.items() if name not in faults}
    loaded: dict[str, Any] = schema().load(right)
    return loaded


def _contradictions(settings: Settings, *, given: Mapping[str, _Given]) -> Iterator[str]:
    """What is wrong only together. Judged by what was given, so that one mistake is not told twice."""
    keys = [given[name].called for name in ("jwt_secret", "jwt_public_key", "jwks_url") if name in given]
    if len(keys) > 1:
        yield f"{' and '.join(keys)} exclude each other; give one of them."
    for name in ("jwt_audience", "jwt_issuer"):
        if name in given and not keys:
            yield f"{given[name].called} has no effect without a key, and without a key anybody may come in as a guest."
    if "redis" in given and "node" not in given:
        yield f"{given['redis'].called} needs HUBBUB_NODE: each node has a name of its own, which stays over a restart."
    needed_bytes = 12 * settings.max_body + 4096
    if settings.max_packet_bytes < needed_bytes:
        yield (
            f"HUBBUB_MAX_PACKET_BYTES is {settings.max_packet_bytes}, too small for HUBBUB_MAX_BODY"
            f" ({settings.max_body}); it must be at least {needed_bytes}."
        )
    if settings.room_capacity > settings.room_capacity_max:
        yield (
            f"HUBBUB_ROOM_CAPACITY is {settings.room_capacity}, larger than HUBBUB_ROOM_CAPACITY_MAX"
            f" ({settings.room_capacity_max})."
        )
