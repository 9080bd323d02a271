"""Cursors of paged lists: where the page before ended, as a text that clients hand back and do not look into.

URL-safe base64 of a JSON list, a word first that says which list it is of. A cursor holds nothing that its bearer has
not seen and grants nothing, so it is not signed; but only what `encode_cursor` writes is taken, to the letter.
"""

from __future__ import annotations

import base64
import binascii

import orjson

from hubbub.errors import HubbubError

__all__ = ["decode_cursor", "encode_cursor"]

LONGEST = 1024
"""Characters, as the contract of the wire says. Ours hold a number and a room's id or a user's: at most 128 visible
characters of four bytes each, which JSON keeps as they are, so that about 740 are the most that is made."""

GREATEST = 2**63 - 1
"""Of the numbers in cursors, and 0 is the least: an integer that the store does not take must not come as far as the
store. Not 2^53-1, since the places in a search are beyond that; clients hold a cursor as a text, and lose nothing."""


def encode_cursor(kind: str, *values: str | int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([kind, *values])).rstrip(b"=").decode("ascii")


def decode_cursor(cursor: str, kind: str, *types: type[str] | type[int]) -> list[str | int]:
    """The values of a cursor of this kind, of exactly these types and no number beyond 0 to 2^63-1; else
    `HubbubError("bad_request")`.
    """
    try:
        if len(cursor) > LONGEST:
            raise ValueError
        values = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(values, list) or values[:1] != [kind] or [type(value) for value in values[1:]] != [*types]:
            raise ValueError
        if not all(0 <= value <= GREATEST for value in values if isinstance(value, int)):
            raise ValueError
        if encode_cursor(*values) != cursor:
            raise ValueError
    except (ValueError, binascii.Error):
        raise HubbubError(
            "bad_request", "This cursor was not made here.", fields={"cursor": ["Not a cursor of this list."]}
        ) from None
    return values[1:]
