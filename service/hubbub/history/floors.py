"""How far a room's floor rises: what retention decides, apart from any store.

A store is asked for little: which rooms may have something to empty, the oldest messages of such a room, and how many
messages lie between two of its places. How many a room has is counted once and then followed, since counting anew in
each round would walk over all that is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Counts", "Gap", "rising"]

COUNTS_KEPT: Final = 100_000
"""Of as many rooms it is remembered how many messages they have: some 20 MB. Of others it is counted anew."""

Gap = tuple[int, int]
"""The messages of a room with `low < seq <= high`."""


def rising(oldest: Sequence[tuple[int, int]], *, newest: int, before: int | None, excess: int) -> tuple[int, int]:
    """Where the floor comes to be, and how many messages that empties; `(0, 0)` if it stays.

    `oldest` has `(seq, created_at)` of the first messages above the floor, ascending by seq; `newest` is the seq of the
    room's newest message, which stays; `excess` is by how many messages the room has more than it may keep.
    """
    floor, count = 0, 0
    for seq, created_at in oldest:
        if seq >= newest or not (count < excess or (before is not None and created_at < before)):
            break
        floor, count = seq, count + 1
    return floor, count


@dataclass(frozen=True, slots=True)
class _Counted:
    floor: int
    newest: int
    count: int


class Counts:
    """How many messages rooms have above their floor. `Key` is whatever the store knows a room by."""

    def __init__(self) -> None:
        self._counted: OrderedDict[object, _Counted] = OrderedDict()

    def unknown(self, key: object, floor: int, newest: int) -> tuple[Gap, Gap | None]:
        """What has to be counted to know the number: what came, and what went (None: nothing is known to have been)."""
        known = self._counted.get(key)
        if known is None or known.floor > floor or known.newest > newest or floor >= known.newest:
            return (floor, newest), None
        return (known.newest, newest), (known.floor, floor)

    def learn(self, key: object, floor: int, newest: int, *, came: int, went: int | None) -> int:
        """Take in what was counted; returns how many messages have `floor < seq <= newest`."""
        count = came if went is None else self._counted[key].count + came - went
        self._counted[key] = _Counted(floor, newest, count)
        self._counted.move_to_end(key)
        if len(self._counted) > COUNTS_KEPT:
            self._counted.popitem(last=False)
        return count
