"""Letting clients go when a node ends: a few at a time, each when nothing of it is under way.

Stock clients know no word that would make them wait: whoever is cut off comes back at once. So what spreads their
return is when they are cut off. Each is told beforehand when its time comes (`draining`), for those that can use it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from hubbub.transport.session import Session

__all__ = ["CROWD", "CROWD_S", "LEAST_PER_S", "let_go", "times"]

LEAST_PER_S: Final = 10.0
"""Sessions per second that are let go at least. So the one client of a developer does not wait for the end of the time
that is given, and a hundred take ten seconds: another node can take ten newcomers a second whatever it does.
"""

CROWD: Final = 20
CROWD_S: Final = 10.0
"""So many sessions take so long at least, if that is given: no second has more than a tenth of them go, and, as clients
come back after a time that they draw, not more than a fifth of them return.
"""

_TICK_S: Final = 0.05
_BUSY_S: Final = 2.0
"""How long a session that has unanswered events may stay beyond its time."""


def times(count: int, *, within_s: float) -> list[float]:
    """When each of `count` sessions is let go, in seconds from now: evenly, the last at the end of the time at most."""
    spread_s = min(within_s, max(count / LEAST_PER_S, CROWD_S if count >= CROWD else 0.0))
    return [spread_s * number / count for number in range(1, count + 1)]


async def let_go(
    sessions: Iterable[Session],
    *,
    within_s: float,
    tell: Callable[[Session, int], None],
    end: Callable[[Session], None],
) -> None:
    """Tell each session in how many milliseconds it ends, then end each at about that time, in no order that the
    outside knows. Returns once all have ended, by themselves or not: `within_s` and two seconds from now at the latest.
    """
    order = list(sessions)
    random.shuffle(order)  # Who came first would else go first, deploy after deploy.
    loop = asyncio.get_running_loop()
    begun = loop.time()
    waiting: deque[tuple[float, Session]] = deque()
    for at, session in zip(times(len(order), within_s=within_s), order, strict=True):
        tell(session, round(at * 1000))
        waiting.append((at, session))
    busy: list[tuple[float, Session]] = []
    while waiting or busy:
        now = loop.time() - begun
        due = busy
        busy = []
        while waiting and waiting[0][0] <= now:
            due.append(waiting.popleft())
        for at, session in due:
            if session.is_open and session.lane is not None and now < at + _BUSY_S:
                busy.append((at, session))
            elif session.is_open:
                end(session)
        while waiting and not waiting[0][1].is_open:
            waiting.popleft()
        if waiting or busy:
            next_s = _TICK_S if busy else max(waiting[0][0] - (loop.time() - begun), _TICK_S)
            await asyncio.sleep(next_s)
