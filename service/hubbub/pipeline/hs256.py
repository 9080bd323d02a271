"""The short way for the commonest token: signed with HS256, in the form that every library writes.

PyJWT looks at each character of a token in Python, twice; most of the CPU of a connect went there. What is taken here
is a subset of what PyJWT takes, and whatever is not taken, for whatever reason, is left to PyJWT to judge.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import jwt
import orjson
from jwt.algorithms import HMACAlgorithm

__all__ = ["Hs256", "PlainHeader", "plain_header"]

_FIELDS: Final = frozenset({"alg", "typ", "kid"})
_HEADERS_KEPT: Final = 64
"""An issuer has as many headers as keys."""

_LONGEST_HEADER: Final = 512


@dataclass(frozen=True, slots=True)
class PlainHeader:
    """A header that says HS256, perhaps which key, and nothing else that matters."""

    kid: str | None


def plain_header(text: str) -> PlainHeader | None:
    """The header of a token, None if it is not a plain one."""
    segment = text[: text.find(".") + 1]
    return _plain(segment[:-1]) if 1 < len(segment) <= _LONGEST_HEADER else None


@lru_cache(maxsize=_HEADERS_KEPT)
def _plain(segment: str) -> PlainHeader | None:
    header = _object(segment)
    if header is None or not _FIELDS.issuperset(header) or header.get("alg") != "HS256":
        return None
    kid = header.get("kid")
    return PlainHeader(kid) if kid is None or isinstance(kid, str) else None


class Hs256:
    """Checks signatures with one secret; with one that PyJWT refuses, none fits."""

    def __init__(self, secret: bytes) -> None:
        self._secret: bytes | None = None
        algorithm = HMACAlgorithm(HMACAlgorithm.SHA256)
        try:
            key = algorithm.prepare_key(secret)
        except jwt.InvalidKeyError:
            return
        if algorithm.check_key_length(key) is None:
            self._secret = key

    def claims(self, text: str) -> dict[str, Any] | None:
        """The claims of a token with a plain header; None if it has to be looked at closely."""
        signed, _, signature = text.rpartition(".")
        if self._secret is None or "=" in signed:
            return None
        digest = hmac.digest(self._secret, signed.encode(), "sha256")
        if not hmac.compare_digest(_encoded(digest), signature.encode()):
            return None
        return _object(signed.partition(".")[2])


def _object(segment: str) -> dict[str, Any] | None:
    """The JSON object in a segment that is written as RFC 7515 has it: base64url without padding or loose bits."""
    try:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        value = orjson.loads(data) if _encoded(data) == segment.encode() else None
    except (binascii.Error, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
