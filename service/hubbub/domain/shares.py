"""Which nodes have more than their share of the clients: the rule by which newcomers are passed on to where there is
room.

A node knows its own count as it is at every moment, and those of the others as they were some seconds ago. That is
enough, and nothing has to be guessed of the seconds between. Whoever rushes to an empty node is counted there at once,
and that node is the first to see that it has had its share: it stops a tenth above the mean, however many come. What
others have got meanwhile only makes a node think that the mean is lower than it is, and pass on more; when all pass on,
newcomers are spread at random until the next beats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hubbub.history.base import Beat

__all__ = ["Shares", "is_more_than_a_share"]

APART: Final = 0.1
APART_LEAST: Final = 10
"""A node is clearly above or below the mean if it is so by a tenth, and by ten sessions at least: what chance does to
small numbers costs less than asking a second node.
"""

STALE_MS: Final = 10_000
"""Three beats. What is older says nothing."""

_TAKING: Final = ("ready", "degraded")


def is_more_than_a_share(own: int, others: Sequence[int]) -> bool:
    """Whether a node with `own` sessions is clearly above the mean of all, or is above it while another is clearly
    below: of twenty nodes an empty one hardly moves the mean, and would be filled by chance alone.
    """
    if not others:
        return False
    mean = (own + sum(others)) / (1 + len(others))
    apart = max(mean * APART, APART_LEAST)
    return own > mean + apart or (own > mean and min(others) < mean - apart)


class Shares:
    """What the node `name` knows of the others."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._others: Sequence[int] = ()
        self._until_s = 0.0

    def learn(self, beats: Sequence[Beat], *, now_s: float) -> None:
        """Take in what the nodes that live tell of themselves, this one among them. `now_s` is of any clock that does
        not jump, in seconds. Of those that take no clients nothing is counted, nor of those that are deaf while this
        one hears: newcomers would not be better off there.
        """
        own = next((beat for beat in beats if beat.name == self._name), None)
        if own is None:
            return
        counts: list[int] = []
        hears = own.about.get("hears") is True
        for beat in beats:
            about, sessions = beat.about, beat.about.get("sessions")
            if beat is own or own.at - beat.at > STALE_MS or about.get("status") not in _TAKING:
                continue
            if isinstance(sessions, int) and sessions >= 0 and (about.get("hears") is True or not hears):
                counts.append(sessions)
        self._others = counts
        self._until_s = now_s + STALE_MS / 1000

    def is_exceeded(self, own: int, *, now_s: float) -> bool:
        """Whether this node, with `own` sessions, has more than its share. Without fresh news of others it has not."""
        return now_s < self._until_s and is_more_than_a_share(own, self._others)
