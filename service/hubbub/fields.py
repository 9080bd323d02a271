"""The kinds of values that the wire contract knows, as marshmallow fields.

They are stricter than marshmallow's own: `"1"` is no integer, `1` is no boolean, and text has a normal form. A value
that passes is safe to store, to compare and to send to a JavaScript client.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import regex
from marshmallow import RAISE, Schema, ValidationError, fields

__all__ = ["MAX_INTEGER", "Checked", "Emoji", "Flag", "Identifier", "Request", "Text", "Whole", "quick_loader"]

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader carries exactly (RFC 8259, section 6)."""

_GRAPHEME = regex.compile(r"\X")
_VISIBLE = regex.compile(r"[^\p{Z}\p{C}\p{M}\p{Default_Ignorable_Code_Point}\u2800]")
_CONTROL = regex.compile(r"[\x00-\x1f\x7f]")
# `concurrent=False` below: else the module hands over the interpreter lock at every search, and beside a thread that
# is busy writing each search waits for its return.

T = TypeVar("T")


class Request(Schema):
    """What every request has in common: fields that are not in the contract are named and refused."""

    class Meta:
        unknown = RAISE


class Checked(fields.Field[T]):
    """A field whose whole meaning is one function of the value."""

    def check(self, value: Any) -> T:
        """The value as it is to be kept; `ValidationError` if it cannot be."""
        raise ValidationError("Not a value.")

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> T:
        return self.check(value)


class Text(Checked[str]):
    """A string in NFC, counted in code points; without NUL and lone surrogates.

    `single_line` refuses control characters as well (tab and newline among them); `blank=False` refuses text in
    which there is nothing to see.
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

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Not a string.")
        shortest, longest = _plain_lengths(self)
        if shortest <= len(value) <= longest and _is_plain(value):
            return value
        text = value if value.isascii() else unicodedata.normalize("NFC", value)
        if "\x00" in text or not _is_unicode(text):
            raise ValidationError("Holds a NUL or a lone surrogate.")
        if self.single_line and _CONTROL.search(text, concurrent=False) is not None:
            raise ValidationError("Holds a control character.")
        if len(text) < self.shortest or (not self.blank and _VISIBLE.search(text, concurrent=False) is None):
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

    def check(self, value: Any) -> str:
        text = super().check(value)
        if _GRAPHEME.fullmatch(text) is None:
            raise ValidationError("Not one single character as a reader sees it.")
        return text


class Whole(Checked[int]):
    """An integer in a range; never a boolean, a float or a numeral in a string."""

    def __init__(
        self, *, least: int = 0, most: int = MAX_INTEGER, required: bool = False, allow_none: bool = False
    ) -> None:
        super().__init__(required=required, allow_none=allow_none)
        self.least = least
        self.most = most

    def check(self, value: Any) -> int:
        if type(value) is not int:
            raise ValidationError("Not an integer.")
        if not self.least <= value <= self.most:
            raise ValidationError(f"Not between {self.least} and {self.most}.")
        return value


class Flag(Checked[bool]):
    """true or false, and nothing that merely looks like it."""

    def __init__(self, *, required: bool = False) -> None:
        super().__init__(required=required)

    def check(self, value: Any) -> bool:
        if value is not True and value is not False:
            raise ValidationError("Not a boolean.")
        return bool(value)


def quick_loader(
    schema: Schema, *, also: Callable[[Mapping[str, Any]], None] | None = None
) -> Callable[[Mapping[str, Any]], dict[str, Any] | None]:
    """A function that loads what is right as `schema.load` does, and answers None to everything else.

    marshmallow takes most of the time of a small event; its errors are needed only for what is wrong, so what is wrong
    is left to it. Only for schemas without hooks beside `also`, which raises `ValidationError` if the fields do not fit
    together; one with a field that is not `Checked` is left to it altogether.
    """
    checks = [
        (name, field.check, field.required, bool(field.allow_none), *_plain_lengths(field))
        for name, field in schema.fields.items()
        if isinstance(field, Checked)
    ]
    if len(checks) != len(schema.fields):
        return lambda data: None

    def load(data: Mapping[str, Any]) -> dict[str, Any] | None:
        loaded: dict[str, Any] = {}
        for name, check, required, allow_none, shortest, longest in checks:
            if name in data:
                value = data[name]
                if type(value) is str and shortest <= len(value) <= longest and _is_plain(value):
                    loaded[name] = value
                    continue
                if value is None and allow_none:
                    loaded[name] = None
                    continue
                try:
                    loaded[name] = check(value)
                except ValidationError:
                    return None
            elif required:
                return None
        if len(loaded) != len(data):
            return None
        if also is not None:
            try:
                also(loaded)
            except ValidationError:
                return None
        return loaded

    return load


def _is_plain(text: str) -> bool:
    """Whether only its length can be wrong with a text: printable ASCII (nearly every id and most messages) that begins
    with something to see.
    """
    return text.isascii() and text.isprintable() and text[:1] > " "


def _plain_lengths(field: Checked[Any]) -> tuple[int, int]:
    """How short and how long a text may be that is right for this field if it is plain; no length if it takes more."""
    if not isinstance(field, Text) or type(field).check is not Text.check or field.pattern is not None:
        return 1, 0
    return field.shortest, MAX_INTEGER if field.longest is None else field.longest


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False
