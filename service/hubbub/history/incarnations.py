"""The names of incarnations: which life of a store it is (`History.incarnation`)."""

from __future__ import annotations

import secrets
from typing import Final

__all__ = ["new_incarnation"]

NAME_BYTES: Final = 5


def new_incarnation() -> str:
    """A name that no life of this store has had: lives are few, and forty bits tell them apart.

    It is random and not a number, because a copy does not know how many lives the store has had since it was made.
    """
    return secrets.token_hex(NAME_BYTES)
