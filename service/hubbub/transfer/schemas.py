"""What each line of an export has to be. It is kept as it is, so nothing is put into a normal form here.

Text is any that the stores keep, of any length: the bounds of the service are settings, and what was sent under other
ones is history all the same. Only ids and keys have to be free of NUL, at which SQLite ends a text that it compares.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError

from hubbub.fields import Checked, Flag, Whole
from hubbub.history.archive import SEQ_MOST
from hubbub.history.base import FOREVER
from hubbub.transfer.lines import FORMAT

__all__ = ["SCHEMAS", "Digest", "Exact", "Format", "From", "Ids", "OneOf", "Reactions", "Revisions"]


class Exact(Checked[str]):
    """A string as it is."""

    def __init__(self, *, is_id: bool = False, allow_none: bool = False) -> None:
        super().__init__(required=True, allow_none=allow_none)
        self._is_id = is_id

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Not a string.")
        if self._is_id and (not value or "\0" in value):
            raise ValidationError("Is empty, or holds a NUL.")
        return value


class OneOf(Checked[str | None]):
    """One of these texts; null where None is one of them."""

    def __init__(self, *choices: str | None) -> None:
        super().__init__(required=True, allow_none=None in choices)
        self._choices = choices

    def check(self, value: Any) -> str | None:
        if isinstance(value, str) and value in self._choices:
            return value
        raise ValidationError(f"Not one of {', '.join(each for each in self._choices if each is not None)}.")


class Ids(Checked[list[str]]):
    """A list of users' ids."""

    def __init__(self) -> None:
        super().__init__(required=True)

    def check(self, value: Any) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ValidationError("Not a list of strings.")
        return value


class Revisions(Checked[list[int]]):
    """All revisions that a message claimed."""

    def __init__(self) -> None:
        super().__init__(required=True)

    def check(self, value: Any) -> list[int]:
        if not isinstance(value, list) or not value or not all(type(each) is int for each in value):
            raise ValidationError("Not a list of integers.")
        if any(before >= after for before, after in itertools.pairwise(value)) or value[-1] > SEQ_MOST:
            raise ValidationError("Not ascending.")
        return value


class Reactions(Checked[list[Any]]):
    """Pairs of an emoji and the users who gave it; each emoji once."""

    def __init__(self) -> None:
        super().__init__(required=True)

    def check(self, value: Any) -> list[Any]:
        if not value and isinstance(value, list):
            return value
        if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
            raise ValidationError("Not a list of pairs.")
        for emoji, users in value:
            if not isinstance(emoji, str) or not isinstance(users, list):
                raise ValidationError("Not a list of pairs of an emoji and users.")
            if not all(isinstance(user, str) for user in users):
                raise ValidationError("Not a list of pairs of an emoji and users.")
        if len({emoji for emoji, _ in value}) < len(value):
            raise ValidationError("Has an emoji twice.")
        return value


class From(Checked[dict[str, Any]]):
    """Who sent a message, as they were called then."""

    def __init__(self) -> None:
        super().__init__(required=True)

    def check(self, value: Any) -> dict[str, Any]:
        if (
            not isinstance(value, dict)
            or value.keys() != {"id", "name", "guest"}
            or not all(isinstance(value[name], str) for name in ("id", "name"))
            or not isinstance(value["guest"], bool)
        ):
            raise ValidationError("Not an object of id, name and guest.")
        if not value["id"] or "\0" in value["id"]:
            raise ValidationError("Has an id that is empty, or holds a NUL.")
        return value


class Digest(Exact):
    """A checksum in hexadecimal digits."""

    def check(self, value: Any) -> str:
        text = super().check(value)
        if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
            raise ValidationError("Not a SHA-256 in hexadecimal digits.")
        return text


class Format(Whole):
    """The number of the format: this version reads one."""

    def __init__(self) -> None:
        super().__init__(required=True)

    def check(self, value: Any) -> int:
        number = super().check(value)
        if number != FORMAT:
            raise ValidationError(f"Not the format that this version of Hubbub reads, which is {FORMAT}.")
        return number


def _count() -> Whole:
    return Whole(required=True)


def _time() -> Whole:
    return Whole(required=True, most=FOREVER)


def _id() -> Exact:
    return Exact(is_id=True)


FIELDS: Final[Mapping[str, Mapping[str, Checked[Any]]]] = {
    "header": {
        "hubbub": OneOf("export"),
        "format": Format(),
        "version": Exact(),
        "made_at": _time(),
        "rooms": _count(),
        "people": _count(),
        "messages": _count(),
    },
    "person": {"id": _id(), "name": Exact(), "guest": Flag(required=True), "seen_at": _time()},
    "room": {
        "uid": _id(),
        "id": _id(),
        "kind": OneOf("public", "private", "direct"),
        "title": Exact(),
        "topic": Exact(),
        "capacity": _count(),
        "slow_mode_s": _count(),
        "created_at": _time(),
        "head": Whole(required=True, most=SEQ_MOST),
        "floor": Whole(required=True, most=SEQ_MOST),
    },
    "standing": {
        "room": _id(),
        "user": _id(),
        "role": OneOf("owner", "moderator", "member", "invited", None),
        "joined_at": _time(),
        "muted_until": _time(),
        "banned_until": _time(),
        "knew": Flag(required=True),
        "read_seq": Whole(required=True, most=SEQ_MOST),
    },
    "message": {
        "room": _id(),
        "seq": Whole(required=True, least=1, most=SEQ_MOST),
        "revs": Revisions(),
        "key": _id(),
        "sender": From(),
        "body": Exact(),
        "reply_to": Exact(allow_none=True),
        "mentions": Ids(),
        "created_at": _time(),
        "edited_at": Whole(required=True, allow_none=True),
        "deleted": Flag(required=True),
        "reactions": Reactions(),
    },
    "room_end": {"room": _id(), "standings": _count(), "messages": _count(), "sha256": Digest()},
    "end": {"rooms": _count(), "people": _count(), "standings": _count(), "messages": _count(), "sha256": Digest()},
}
"""By type of line, the fields beside `type`. All have to be there, and no others."""

SCHEMAS: Final[Mapping[str, Schema]] = {
    name: Schema.from_dict(dict(fields))(unknown=RAISE) for name, fields in FIELDS.items()
}
