"""Text as it is compared: in lower case, without differences that readers do not see.

Folding is NFKC and case folding, and takes away what has no width (a zero-width space within a word hides nothing). It
may change the length of a text; where a place in the folded text is wanted in the original, `Folded.original` finds
it, at a cost that only a hit has to pay.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property
from typing import Final

import regex

__all__ = ["Folded", "fold", "masked", "words_in"]

_IGNORABLE: Final = regex.compile(r"\p{Default_Ignorable_Code_Point}+")
_CLUSTER: Final = regex.compile(r"\X")
_WORD: Final = regex.compile(r"[\p{L}\p{N}\p{M}]+")
_ASCII_WORD: Final = re.compile(r"[a-z0-9]+")


def fold(text: str) -> str:
    """The text as it is compared."""
    if text.isascii():
        return text.lower()
    text = _IGNORABLE.sub("", unicodedata.normalize("NFKC", text), concurrent=False)
    return unicodedata.normalize("NFKC", text.casefold())


def words_in(folded: str) -> list[str]:
    """The words of a folded text: runs of letters, digits and marks."""
    if folded.isascii():
        return _ASCII_WORD.findall(folded)
    return _WORD.findall(folded, concurrent=False)


class Folded:
    """A text, and what is made of it once for all rules that look at it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.folded = fold(text)

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(words_in(self.folded))

    @cached_property
    def mapped(self) -> tuple[str, list[int], list[int]]:
        """The text folded piece by piece, where each piece begins in that, and where it begins in the original.

        What a reader sees as one character is one piece. This is as good as always the same as the text folded at once.
        """
        if self.text.isascii():
            places = list(range(len(self.text) + 1))
            return self.folded, places, places
        pieces: list[str] = []
        starts, places = [0], [0]
        for match in _CLUSTER.finditer(self.text, concurrent=False):
            piece = fold(match.group())
            pieces.append(piece)
            starts.append(starts[-1] + len(piece))
            places.append(match.end())
        return "".join(pieces), starts, places

    def original(self, start: int, end: int) -> tuple[int, int]:
        """From a stretch of `mapped` to the whole pieces of the original that it is made of."""
        _, starts, places = self.mapped
        return places[bisect_right(starts, start) - 1], places[bisect_right(starts, end - 1)]

    def places_of_words(self) -> list[tuple[str, int, int]]:
        """The words in their order, each with its stretch of `mapped`."""
        folded = self.mapped[0]
        return [(match.group(), *match.span()) for match in _WORD.finditer(folded, concurrent=False)]


def masked(text: str, stretches: Iterable[tuple[int, int]], mask: str) -> str:
    """The text with these stretches masked. A mask of one character stands for each that a reader sees there; a longer
    one, or an empty one, stands for the whole stretch.
    """
    out: list[str] = []
    at = 0
    for start, end in sorted(stretches):
        if end <= at:
            continue
        start = max(start, at)
        out.append(text[at:start])
        if len(mask) == 1:
            pieces = (match.group() for match in _CLUSTER.finditer(text[start:end], concurrent=False))
            out.extend(piece if piece.isspace() else mask for piece in pieces if fold(piece))
        else:
            out.append(mask)
        at = end
    out.append(text[at:])
    return "".join(out)
