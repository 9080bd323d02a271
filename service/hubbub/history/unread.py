"""How many messages many users have not read, counted together.

Counting is a walk over all that is unread, and users who come back at the same time have mostly the same before them.
So a store walks once, over the newest messages of the room, and everybody's number is found in that. Who has not read
for so long that the walk ended before their mark, and yet has too few to be sure of them, is counted alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["UNREAD_MOST", "WALKED", "unread_counts"]

UNREAD_MOST: Final = 1000
"""As many are counted; it means "or more"."""

WALKED: Final = 2 * UNREAD_MOST
"""Messages that are looked at for all: enough for everybody who did not write more than half of them."""


def unread_counts(newest: Sequence[tuple[int, str]], marks: Mapping[str, int]) -> dict[str, int | None]:
    """For each user with a mark how many messages by others have a higher `seq`; None if `newest` does not tell.

    `newest` has `(seq, sender)` of the room's newest messages that are not deleted, descending: `WALKED` of them, or
    all that are above the lowest mark.
    """
    seqs = [seq for seq, _ in reversed(newest)]
    own: dict[str, list[int]] = {}
    for seq, sender in reversed(newest):
        if sender in marks:
            own.setdefault(sender, []).append(seq)
    is_cut = len(seqs) >= WALKED
    counts: dict[str, int | None] = {}
    for user, mark in marks.items():
        written = own.get(user, [])
        count = len(seqs) - bisect_right(seqs, mark) - (len(written) - bisect_right(written, mark))
        is_told = not is_cut or count >= UNREAD_MOST or mark >= seqs[0]
        counts[user] = min(count, UNREAD_MOST) if is_told else None
    return counts
