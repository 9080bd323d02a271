"""The kinds of values that the wire contract knows, as marshmallow fields.

They are stricter than marshmallow's own: `"1"` is no integer, `1` is no boolean, and text has a normal form. A value
that passes is safe to store, to compare and to send to a JavaScript client.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

import regex
from marshmallow import ValidationError, fields

__all__ = ["MAX_INTEGER", "Emoji", "Flag", "Identifier", "Text", "Whole"]

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader carries exactly (RFC 8259, section 6)."""

_GRAPHEME = regex.compile(r"\X")
_CONTROL: Final = frozenset(chr(code) for code in (*range(0x20), 0x7F))


class Text(fields.Field[str]):
    """A string in NFC, counted in code points; without NUL and lone surrogates.

    `single_line` refuses control characters as well (tab and newline among them); `blank=False` refuses text of white
    space alone.
    """

    def __init__(
        self,
        *,
        longest: int | None = None,
        shortest: int = 0,
        single_line: bool = False,
        blank: bool = True,
        pattern: str | None = None,
        required: bool = False,
        allow_none: bool = False,
        expects: str | None = None,
    ) -> None:
        super().__init__(required=required, allow_none=allow_none)
        self.longest = longest
        self.shortest = shortest
        self.single_line = single_line
        self.blank = blank
        self.pattern = regex.compile(pattern) if pattern is not None else None
        self.expects = expects

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Not a string.")
        text = value if value.isascii() else unicodedata.normalize("NFC", value)
        if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text if not text.isascii()):
            raise ValidationError("Holds a NUL or a lone surrogate.")
        if self.single_line and not _CONTROL.isdisjoint(text):
            raise ValidationError("Holds a control character.")
        if len(text) < self.shortest or (not self.blank and not text.strip()):
            raise ValidationError("Is empty.")
        if self.longest is not None and len(text) > self.longest:
            raise ValidationError(f"Longer than {self.longest} characters.")
        if self.pattern is not None and self.pattern.fullmatch(text) is None:
            raise ValidationError(self.expects or "Does not have the form that is asked for.")
        return text


class Identifier(Text):
    """The id of a room, a user or a message: opaque to everybody but its maker."""

    def __init__(self, *, required: bool = True, longest: int = 128) -> None:
        super().__init__(required=required, longest=longest, shortest=1, single_line=True)


class Emoji(Text):
    """One grapheme: what a reader sees as one character (UAX #29)."""

    def __init__(self, *, required: bool = True) -> None:
        super().__init__(required=required, longest=32, shortest=1, single_line=True, blank=False)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if _GRAPHEME.fullmatch(text) is None:
            raise ValidationError("Not one single character as a reader sees it.")
        return text


class Whole(fields.Field[int]):
    """An integer in a range; never a boolean, a float or a numeral in a string."""

    def __init__(
        self, *, least: int = 0, most: int = MAX_INTEGER, required: bool = False, allow_none: bool = False
    ) -> None:
        super().__init__(required=required, allow_none=allow_none)
        self.least = least
        self.most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if type(value) is not int:
            raise ValidationError("Not an integer.")
        if not self.least <= value <= self.most:
            raise ValidationError(f"Not between {self.least} and {self.most}.")
        return value


class Flag(fields.Field[bool]):
    """true or false, and nothing that merely looks like it."""

    def __init__(self, *, required: bool = False) -> None:
        super().__init__(required=required)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if value is not True and value is not False:
            raise ValidationError("Not a boolean.")
        return bool(value)
