"""How somebody is, put together from their devices.

A device is what one Socket.IO transport belongs to: a tab, a phone, a bot. It says how it is (`presence:set`), and one
that says nothing is online. Of a user with several:

* whoever is invisible on one is invisible, because a device that knows nothing of it must not betray them;
* whoever is busy on one is busy, because that is said on purpose, and no device's idle timer takes it back;
* else any device that is online wins over those that are away.

A device whose connection broke counts on for its grace. What it said on purpose holds (a reload must not show for a
moment whoever is invisible); being online or away it says no more, once another one is live.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hubbub.cluster.base import Share, Status
from hubbub.history.base import Person

__all__ = ["Face", "face_of", "merge"]

_ON_PURPOSE: Final[Sequence[Status]] = ("invisible", "busy")


@dataclass(frozen=True, slots=True)
class Face:
    """What others see of a user who is here; of one who is invisible, what administrators see. `hidden_at` is when the
    user became invisible, by integer milliseconds since the Unix epoch; 0 if they are not.
    """

    person: Person
    status: Status
    text: str
    hidden_at: int = 0

    @property
    def is_hidden(self) -> bool:
        return self.status == "invisible"


def merge(live: Iterable[Status], broken: Iterable[Status]) -> Status:
    """The status of a user with these devices; `broken` are those in their grace."""
    live, broken = list(live), list(broken)
    for status in _ON_PURPOSE:
        if status in live or status in broken:
            return status
    return "away" if "online" not in (live or broken) and (live or broken) else "online"


def face_of(shares: Sequence[Share]) -> Face | None:
    """The face that the shares of several nodes make together, None if there are none."""
    if not shares:
        return None
    newest = max(shares, key=lambda share: (share.text_at, share.live, share.name))
    status = merge(
        (share.status for share in shares if share.live),
        (share.status for share in shares if not share.live),
    )
    hidden = [share.hidden_at for share in shares if share.status == "invisible"]
    person = Person(newest.user, newest.name, newest.guest)
    return Face(person, status, newest.text, min(hidden) if status == "invisible" else 0)
