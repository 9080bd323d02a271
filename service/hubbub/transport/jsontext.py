"""JSON as this server reads and writes it: orjson, within bounds that are looked at before anything is decoded.

orjson refuses `NaN`, `Infinity` and lone surrogates, which the standard library lets through and which make every
JavaScript client that receives them drop its connection.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, Never

import orjson

from hubbub.transport.bounds import Bounds

__all__ = ["JsonError", "NestingError", "dumps", "loads"]

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or what begins as one and never ends. It never looks back: a search that starts anew at each escaped quote
of a string without an end takes minutes for one packet.
"""

_BRACKET: Final = re.compile(rb"[\[\]{}]")


class JsonError(ValueError):
    """The text is not JSON."""


class NestingError(ValueError):
    """The text is nested too deep, or holds too many arrays and objects."""


def dumps(value: Any) -> bytes:
    """Raises `TypeError` for what JSON cannot hold. Not-a-number and infinities become null."""
    return orjson.dumps(value)


def loads(text: bytes, bounds: Bounds) -> Any:
    """Raises `JsonError` or `NestingError`."""
    if text.count(b"[") + text.count(b"{") > bounds.depth:
        _check_nesting(text, bounds)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _read_slowly(text)


def _check_nesting(text: bytes, bounds: Bounds) -> None:
    """What is in strings does not count, so strings go first; each step looks at every byte once."""
    bare = _STRING.sub(b"", text)
    if bare.count(b"[") + bare.count(b"{") > bounds.containers:
        raise NestingError("too many arrays and objects")
    depth = 0
    for match in _BRACKET.finditer(bare):
        depth += 1 if match[0] in b"[{" else -1
        if depth > bounds.depth:
            raise NestingError("nested too deep")


def _read_slowly(text: bytes) -> Any:
    """What orjson refuses and the standard library does not: lone surrogates (`JSON.stringify` writes them). Whoever
    checks the fields can then name the one that is wrong.
    """
    try:
        return json.loads(text.decode(), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise JsonError("not JSON") from error


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")
