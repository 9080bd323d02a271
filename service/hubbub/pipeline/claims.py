"""From the claims of a token whose signature is right to an identity (WIRE, "Connecting").

Pure: the time is passed in.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hubbub.domain.identity import Identity, Person
from hubbub.errors import HubbubError

__all__ = ["GUEST_PREFIX", "MAX_NAME", "MAX_USER", "Expectations", "check_claims", "check_name", "check_user"]

GUEST_PREFIX: Final = "guest-"
"""Ids of guests begin so, and no others do; so no guest can be taken for a user, nor a user for a guest."""

MAX_USER: Final = 128
MAX_NAME: Final = 64
"""Code points."""

_MAX_LIST: Final = 100
"""Roles or room patterns in one token: more than anybody needs, few enough to match on every event."""

_NO_ROLES: Final[frozenset[str]] = frozenset()

_MAX_TIME_S: Final = 253_402_300_799
"""The end of the year 9999; times beyond it are mistakes (milliseconds for seconds, most often)."""

_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, lone surrogates, line and paragraph separators."""

_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of the text around them: in a name they rewrite the line that it is shown in."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a token's claims have to say. `audience` None refuses tokens that name one (RFC 7519, section 4.1.3).

    `early_s` and `late_s` are by how much a token may come before its beginning and after its end.
    """

    issuer: str | None = None
    audience: str | None = None
    early_s: float = 0.0
    late_s: float = 0.0
    local: bool = False


def check_user(user: str) -> str:
    """A user id as it is, or `ValueError` with a clause: 1 to 128 characters in NFC, all of them visible."""
    if not 1 <= len(user) <= MAX_USER:
        raise ValueError(f"must have 1 to {MAX_USER} characters")
    _check_visible(user)
    if not user.isascii() and not unicodedata.is_normalized("NFC", user):
        raise ValueError("must be in Unicode's normal form C")
    return user


def check_name(name: str) -> str:
    """A name in NFC without white space around it, or `ValueError` with a clause: 1 to 64 characters, all visible."""
    _check_visible(name)
    clean = (name if name.isascii() else unicodedata.normalize("NFC", name)).strip()
    if not 1 <= len(clean) <= MAX_NAME:
        raise ValueError(f"must have 1 to {MAX_NAME} characters")
    return clean


def _check_visible(text: str) -> None:
    if text.isascii() and text.isprintable():
        return
    if any(unicodedata.category(char) in _UNSEEN or char in _TURNING for char in text):
        raise ValueError("must not contain control characters")


def check_claims(claims: Mapping[str, Any], expected: Expectations, *, now_s: float) -> Identity:
    """The identity that the claims describe.

    Raises `HubbubError("token_expired")`, or `HubbubError("unauthorized")` for all else. No message repeats a claim.
    """
    user = _user(claims)
    _check_origin(claims, expected)
    issued_s, expires_s = _times(claims, expected, now_s=now_s)
    guest = expected.local and claims.get("guest") is True
    if user.startswith(GUEST_PREFIX) != guest:
        raise _refusal("The claim `sub` may begin with `guest-` in a guest's token only, and there it must.")
    return Identity(
        person=Person(user, _name(claims, user=user), guest=guest),
        roles=_NO_ROLES if guest else frozenset(_texts(claims, "roles") or _NO_ROLES),
        issued_at=round(issued_s * 1000),
        expires_at=round(expires_s * 1000),
        rooms=_rooms(claims),
        jti=_jti(claims),
    )


def _refusal(message: str) -> HubbubError:
    return HubbubError("unauthorized", message)


def _user(claims: Mapping[str, Any]) -> str:
    user = claims.get("sub")
    if not isinstance(user, str):
        raise _refusal("The claim `sub` is missing or not text.")
    try:
        return check_user(user)
    except ValueError as error:
        raise _refusal(f"The claim `sub` {error}.") from None


def _name(claims: Mapping[str, Any], *, user: str) -> str:
    """The claim `name`; without it the user id, cut to the length of a name."""
    name = claims.get("name")
    if name is None:
        return user[:MAX_NAME].strip() or user[:MAX_NAME]
    if not isinstance(name, str):
        raise _refusal("The claim `name` is not text.")
    try:
        return check_name(name)
    except ValueError as error:
        raise _refusal(f"The claim `name` {error}.") from None


def _check_origin(claims: Mapping[str, Any], expected: Expectations) -> None:
    if expected.issuer is not None and claims.get("iss") != expected.issuer:
        raise _refusal("The claim `iss` does not name the issuer that is trusted here.")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [] if audience is None else [audience]
    if (expected.audience is None and named) or (expected.audience is not None and expected.audience not in named):
        raise _refusal("The claim `aud` does not name this service.")


def _times(claims: Mapping[str, Any], expected: Expectations, *, now_s: float) -> tuple[float, float]:
    """When the token was issued and when it ends, in seconds.

    A token that is let in by leeway alone holds until the leeway ends; any other ends when it says.
    """
    expires_s, issued_s = _time(claims, "exp"), _time(claims, "iat")
    not_before_s = issued_s if claims.get("nbf") is None else _time(claims, "nbf")
    if expires_s + expected.late_s <= now_s:
        raise HubbubError("token_expired")
    if max(issued_s, not_before_s) > now_s + expected.early_s:
        raise _refusal("The token is not valid yet; is the issuer's clock right?")
    return issued_s, expires_s if expires_s > now_s else expires_s + expected.late_s


def _time(claims: Mapping[str, Any], claim: str) -> float:
    value = claims.get(claim)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _refusal(f"The claim `{claim}` is missing or not a number of seconds.")
    if not 0 <= value <= _MAX_TIME_S:
        raise _refusal(f"The claim `{claim}` is not a time in seconds since 1970.")
    return float(value)


def _texts(claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
    value = claims.get(claim)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > _MAX_LIST:
        raise _refusal(f"The claim `{claim}` is not a list of at most {_MAX_LIST} texts.")
    if not all(isinstance(item, str) and 1 <= len(item) <= MAX_USER for item in value):
        raise _refusal(f"The claim `{claim}` holds something else than texts of 1 to {MAX_USER} characters.")
    return tuple(value)


def _rooms(claims: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What the token is limited to. A claim without a value is an issuer's mistake, and not a token without a limit."""
    if "rooms" in claims and claims["rooms"] is None:
        raise _refusal("The claim `rooms` has no value; leave it out where there is no limit.")
    return _texts(claims, "rooms")


def _jti(claims: Mapping[str, Any]) -> str | None:
    value = claims.get("jti")
    if value is not None and not (isinstance(value, str) and 1 <= len(value) <= MAX_USER):
        raise _refusal(f"The claim `jti` is not a text of 1 to {MAX_USER} characters.")
    return value
