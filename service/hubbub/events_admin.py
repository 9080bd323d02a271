"""The requests of `/admin`. The table that they belong to is in `hubbub.events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from hubbub.fields import Identifier, Request, Text, Whole

__all__ = [
    "AuditList",
    "BansList",
    "ConnectionDisconnect",
    "ConnectionsList",
    "NodeDrain",
    "NodesList",
    "NoticeSend",
    "RoomDelete",
    "RoomsList",
    "StatsWatch",
    "TokenRevoke",
    "UserBan",
    "UserDisconnect",
    "UserUnban",
]

_MAX_PAGE: Final = 500
_CURSOR: Final = 1024
_TEN_YEARS_S: Final = 10 * 366 * 24 * 3600
_LEAST_EVERY_MS: Final = 500
_MOST_EVERY_MS: Final = 60_000


def _reason() -> Text:
    """Why it is done: it stays in the audit log, and those who are concerned may be told."""
    return Text(required=True, longest=200, single_line=True, blank=False)


class _Page(Request):
    cursor = Text(longest=_CURSOR, allow_none=True)
    limit = Whole(least=1, most=_MAX_PAGE)


class StatsWatch(Request):
    every_ms = Whole(most=_MOST_EVERY_MS, required=True)

    @validates_schema
    def fit_together(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if 0 < data.get("every_ms", 0) < _LEAST_EVERY_MS:
            raise ValidationError(f"0, or between {_LEAST_EVERY_MS} and {_MOST_EVERY_MS}.", "every_ms")


class NodesList(Request):
    """Takes nothing."""


class RoomsList(_Page):
    query = Text(longest=100, single_line=True)


class ConnectionsList(_Page):
    room = Identifier(required=False)
    user = Identifier(required=False)
    node = Identifier(required=False)


class ConnectionDisconnect(Request):
    id = Identifier()
    reason = _reason()


class UserDisconnect(Request):
    user = Identifier()
    reason = _reason()


class UserBan(Request):
    user = Identifier()
    seconds = Whole(least=1, most=_TEN_YEARS_S)
    reason = _reason()


class UserUnban(Request):
    user = Identifier()


class BansList(_Page):
    """Takes what every list takes."""


class TokenRevoke(Request):
    user = Identifier(required=False)
    jti = Identifier(required=False)
    reason = _reason()

    @validates_schema
    def fit_together(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if ("user" in data) == ("jti" in data):
            raise ValidationError("Either user or jti.", "user")


class RoomDelete(Request):
    room = Identifier()
    reason = _reason()


class NoticeSend(Request):
    room = Identifier(required=False)
    level = fields.String(required=True, validate=validate.OneOf(["info", "warning", "critical"]))
    text = Text(required=True, longest=1000, blank=False)


class NodeDrain(Request):
    node = Identifier()


class AuditList(_Page):
    """Takes what every list takes."""
