"""The words of a message, as SQLite's search index has them: in small letters, without marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hubbub.history.unicode61 import TABLE

__all__ = ["WORDS_MOST", "WORD_MOST", "contains", "split_words", "words_of"]

WORD_MOST: Final = 64
"""So many characters of a word are kept. What is longer is a number or an address; whoever looks for one finds those
that begin alike, and `contains` says which it is.
"""

WORDS_MOST: Final = 1000
"""So many different words of a message are kept, its first. A long letter has some 600; without a bound, a text of
single letters would make an index entry of every two characters.
"""


def split_words(text: str) -> list[str]:
    """All words of a text in their order.

    >>> split_words("Naïve Café, no. 42!")
    ['naive', 'cafe', 'no', '42']
    """
    return text.translate(TABLE).split()


def words_of(body: str) -> list[str]:
    """The different words that a message is found by, in the order in which they come first."""
    return list(dict.fromkeys(word[:WORD_MOST] for word in split_words(body)))[:WORDS_MOST]


def contains(words: Sequence[str], phrase: Sequence[str]) -> bool:
    """Whether the words of the phrase follow each other somewhere in these.

    >>> contains(["meet", "at", "noon"], ["at", "noon"])
    True
    """
    count = len(phrase)
    return any(words[start : start + count] == phrase for start in range(len(words) - count + 1))
