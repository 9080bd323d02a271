"""The rules of a rule file: what each looks for, for whom it holds, and what it does.

`docs/howto/moderate.md` is the reference of the file. Everything in it is checked when it is read, and what is wrong is
told with the rule's name: a rule that is silently not there is worse than a service that does not start.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any, Final, Protocol, cast

import regex

from hubbub.filters.base import Draft, Verdict, refuse, replace
from hubbub.filters.folding import Folded, masked
from hubbub.filters.links import HostList
from hubbub.filters.wordlists import WordList

__all__ = ["Rules", "RulesError", "parse"]

PATTERNS_S: Final = 0.05
"""How long the patterns of all rules may look at one message, together: they run on the event loop's thread."""

_COMMON: Final = frozenset({"name", "action", "message", "mask", "rooms", "exempt"})
_SOUGHT: Final = ("words", "links", "pattern")
_ROLES: Final = frozenset({"admin", "moderator", "bot", "owner", "member"})
_LONGEST_MASK: Final = 40
_LONGEST_MESSAGE: Final = 500

_MESSAGE: Final = "A rule of this service does not allow the message."


class RulesError(Exception):
    """A rule file is wrong. The text is a clause that says where and why."""


class _Sought(Protocol):
    """What a rule looks for. A pattern that takes too long raises `TimeoutError`."""

    def hits(self, text: Folded) -> bool: ...

    def stretches(self, text: Folded) -> list[tuple[int, int]]: ...


class _Pattern:
    def __init__(self, pattern: str, clock: Callable[[], float]) -> None:
        try:
            self._regex = regex.compile(pattern, regex.VERSION1)
        except (regex.error, OverflowError) as error:
            raise ValueError(f"is no regular expression: {error}") from None
        if self._regex.match("") is not None:
            raise ValueError("matches the empty text, and so every message")
        self._clock = clock
        self.end = 0.0
        """When the time for the message that is looked at is over; set by `Rules`."""

    def hits(self, text: Folded) -> bool:
        return self._regex.search(text.text, timeout=self._left(), concurrent=False) is not None

    def stretches(self, text: Folded) -> list[tuple[int, int]]:
        found = self._regex.finditer(text.text, timeout=self._left(), concurrent=False)
        return [match.span() for match in found if match.end() > match.start()]

    def _left(self) -> float:
        left = self.end - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


@dataclass(frozen=True, slots=True)
class _Rule:
    sought: _Sought
    message: str | None
    """What a sender is told who is refused; None if the rule masks."""
    mask: str
    rooms: re.Pattern[str] | None
    exempt: frozenset[str]

    def holds_for(self, draft: Draft) -> bool:
        if self.exempt and (draft.sender.role in self.exempt or not self.exempt.isdisjoint(draft.sender.roles)):
            return False
        return self.rooms is None or self.rooms.match(draft.room.id) is not None


class Rules:
    """The rules of a file, as a filter. The first that refuses decides; one that masks changes the text for others."""

    def __init__(self, rules: Sequence[_Rule], clock: Callable[[], float]) -> None:
        self._rules = tuple(rules)
        self._patterns = [rule.sought for rule in rules if isinstance(rule.sought, _Pattern)]
        self._clock = clock

    def __len__(self) -> int:
        return len(self._rules)

    def __call__(self, draft: Draft) -> Verdict | None:
        if self._patterns:
            end = self._clock() + PATTERNS_S
            for pattern in self._patterns:
                pattern.end = end
        text: Folded | None = None
        for rule in self._rules:
            if not rule.holds_for(draft):
                continue
            if text is None:
                text = Folded(draft.body)
            if not rule.sought.hits(text):
                continue
            if rule.message is not None:
                return refuse(rule.message)
            # What is found in the whole is found in its pieces, but for letters of other scripts' corners; then the
            # whole is masked, rather than shown.
            stretches = rule.sought.stretches(text) or [(0, len(text.text))]
            text = Folded(masked(text.text, stretches, rule.mask))
        return None if text is None or text.text == draft.body else replace(text.text)


def parse(text: str, *, clock: Callable[[], float] = time.monotonic) -> Rules:
    """The rules in the text of a rule file. Raises `RulesError`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"is not valid TOML: {error}") from None
    rules = document.pop("rule", [])
    if document:
        raise RulesError(f"has {next(iter(document))!r}, which means nothing; rules are tables [[rule]]")
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise RulesError("has a rule that is not a table [[rule]]")
    names: set[str] = set()
    parsed = []
    for number, rule in enumerate(rules, 1):
        name = rule.get("name", str(number))
        try:
            if not isinstance(name, str) or not name:
                raise ValueError("has a name that is no text")
            if name in names:
                raise ValueError("has the name of another rule")
            names.add(name)
            parsed.append(_rule(rule, clock))
        except ValueError as error:
            raise RulesError(f"has a mistake in rule {name!r}: it {error}") from None
    return Rules(parsed, clock)


def _rule(rule: Mapping[str, Any], clock: Callable[[], float]) -> _Rule:
    sought = [key for key in _SOUGHT if key in rule]
    if len(sought) != 1:
        raise ValueError("must have one of words, links and pattern")
    unknown = sorted(rule.keys() - _COMMON - set(sought))
    if unknown:
        raise ValueError(f"has {unknown[0]!r}, which means nothing in a rule")
    action = rule.get("action")
    if action not in ("refuse", "replace"):
        raise ValueError('must have an action, "refuse" or "replace"')
    if action == "refuse" and "mask" in rule:
        raise ValueError("has a mask, but refuses")
    if action == "replace" and "message" in rule:
        raise ValueError("has a message, but replaces")
    exempt = frozenset(_texts(rule, "exempt"))
    if exempt - _ROLES:
        raise ValueError(f"exempts {min(exempt - _ROLES)!r}, which is none of the roles {', '.join(sorted(_ROLES))}")
    if "message" in rule and not _text(rule, "message", _MESSAGE, _LONGEST_MESSAGE).strip():
        raise ValueError("has a message that says nothing")
    rooms = _texts(rule, "rooms")
    if "rooms" in rule and not rooms:
        raise ValueError("has rooms that are no list of patterns such as support-*")
    return _Rule(
        sought=_sought(sought[0], rule[sought[0]], clock),
        message=_text(rule, "message", _MESSAGE, _LONGEST_MESSAGE) if action == "refuse" else None,
        mask=_text(rule, "mask", "*", _LONGEST_MASK),
        rooms=re.compile("|".join(map(translate, rooms))) if rooms else None,
        exempt=exempt,
    )


def _sought(kind: str, value: Any, clock: Callable[[], float]) -> _Sought:
    if kind == "words":
        if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            raise ValueError("has words that are no list of words")
        return WordList(value)
    if kind == "pattern":
        if not isinstance(value, str) or not value:
            raise ValueError("has a pattern that is no text")
        return _Pattern(value, clock)
    if (
        not isinstance(value, dict)
        or len(value.keys() & {"allow", "deny"}) != 1
        or value.keys() - {"allow", "deny", "bare"}
    ):
        raise ValueError("has links that are not { allow = [...] } or { deny = [...] }, with or without bare = false")
    bare = value.get("bare", True)
    if not isinstance(bare, bool):
        raise ValueError("has links whose bare is neither true nor false")
    if "allow" in value:
        return HostList(allow=_texts(value, "allow"), bare=bare)
    return HostList(deny=_texts(value, "deny"), bare=bare)


def _texts(table: Mapping[str, Any], key: str) -> list[str]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"has {key!r}, which is no list of texts")
    return cast(list[str], value)


def _text(table: Mapping[str, Any], key: str, default: str, longest: int) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"has a {key} that is no text of at most {longest} characters")
    if "\0" in value:
        raise ValueError(f"has a {key} with NUL in it")
    return value
