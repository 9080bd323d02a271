"""The language of searches: words and quoted phrases, and nothing else (WIRE, `history:search`)."""

from __future__ import annotations

from typing import Final

import regex

__all__ = ["phrases_of"]

_PART = regex.compile(r'"([^"]*)"?|([^\s"]+)')
_WORD = regex.compile(r"[\p{L}\p{N}]")
_MOST: Final = 16
"""More phrases than this are not looked at: nobody types them, and each costs."""


def phrases_of(query: str) -> list[str]:
    """Each a word, or several words that must follow each other. An unclosed quote reaches to the end.

    >>> phrases_of('lunch "at noon"')
    ['lunch', 'at noon']
    """
    found: list[str] = []
    for quoted, bare in _PART.findall(query):
        phrase = (quoted or bare).strip()
        if _WORD.search(phrase):
            found.append(phrase)
    return found[:_MOST]
