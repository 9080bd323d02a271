"""Lists of words and phrases, found in one pass however many they are.

A text is taken apart into words, and each is looked up: the cost grows with the text, not with the list.
"""

from __future__ import annotations

from collections.abc import Iterable

from hubbub.filters.folding import Folded, fold, words_in

__all__ = ["WordList"]


class WordList:
    """Whole words, without regard to case; several words in one entry must follow each other, whatever marks and spaces
    are between them. An entry without letters and digits is a `ValueError`.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        singles: set[str] = set()
        phrases: dict[str, set[tuple[str, ...]]] = {}
        for entry in entries:
            words = words_in(fold(entry))
            if not words:
                raise ValueError(f"{entry!r} has neither letters nor digits; a pattern can find it")
            if len(words) == 1:
                singles.add(words[0])
            else:
                phrases.setdefault(words[0], set()).add(tuple(words))
        self._singles = frozenset(singles)
        # The longest first, so that a stretch covers as much as any entry does.
        self._phrases = {first: sorted(each, key=len, reverse=True) for first, each in phrases.items()}

    def hits(self, text: Folded) -> bool:
        """Whether any of them is in the text."""
        words = text.words
        if not self._singles.isdisjoint(words):
            return True
        if not self._phrases or self._phrases.keys().isdisjoint(words):
            return False
        in_order = words_in(text.folded)
        return any(self._longest(in_order, at) > 1 for at in range(len(in_order)))

    def stretches(self, text: Folded) -> list[tuple[int, int]]:
        """Where they are in the original text."""
        places = text.places_of_words()
        in_order = [word for word, _, _ in places]
        found = []
        for at, (_, start, _) in enumerate(places):
            count = self._longest(in_order, at)
            if count:
                found.append(text.original(start, places[at + count - 1][2]))
        return found

    def _longest(self, words: list[str], at: int) -> int:
        """How many words the longest entry has that begins here; 0 if none does."""
        for phrase in self._phrases.get(words[at], ()):
            if tuple(words[at : at + len(phrase)]) == phrase:
                return len(phrase)
        return 1 if words[at] in self._singles else 0
