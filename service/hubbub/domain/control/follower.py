"""Following the control log: record by record, in order, from the last one that was applied.

A node asks for what is behind the last number that it has applied, about twice a second, so that what was ordered on
one node takes effect on the others within a second; while somebody waits for an answer from another node, more often.
The pause after a failure is short, and a question that is not answered is asked again beside the first (`patience`): so
the store's return is noticed at once.

`Place` is the pure part. The rules:

* It asks for the last record that it knows along with those behind it: the store keeps the newest one for ever.
* That record is there and is the same: what is behind it is news.
* It is not the first in the answer: those between were pruned, and too much was missed.
* It is there, and is another: this is another log, which was put back from a copy and has grown since.
* Nothing is there: the log is shorter than it was. A server that has just lost its place may answer from the past, so
  it is believed the second time in a row.

In the last three cases everything may have changed: the owner looks at everything anew (`recover`), and goes on from
the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import structlog

from hubbub.domain.control.patience import ask_again
from hubbub.errors import HubbubError
from hubbub.history.base import Ledger, Record

__all__ = ["Follower", "Place"]

_log = structlog.get_logger("hubbub.control")

EVERY_S: Final = (0.5, 0.7)
"""From one poll to the next, at least and at most: with the poll itself an order is seen within a second."""

SOON_S: Final = 0.1
"""The same while an answer of another node is waited for."""

RETRY_S: Final = (0.1, 0.3)
"""The same after a poll that failed. What keeps a store that is away from being asked too often is that a question to
it takes its time."""

APART_S: Final = 0.05
"""Polls that somebody hurries are as far apart at least: where a thousand users join a room elsewhere, a few polls find
them all.
"""

PAGE: Final = 256
"""Records of one read."""

PAGES: Final = 20
"""Reads of one poll, after which what they came to is seen to before more are read."""

_LAST_STRAW: Final = 2
"""As many times in a row the log has to be shorter than it was."""


class Place:
    """Where in the log a node is: the number of the last record that it applied, and that record's key, None at the
    beginning of a log that had no record yet.
    """

    def __init__(self, n: int, key: str | None) -> None:
        self.n = n
        self.key = key
        self._shorter = 0

    @property
    def after(self) -> int:
        """What to read behind."""
        return max(self.n - 1, 0)

    def take(self, records: Sequence[Record]) -> Sequence[Record] | None:
        """The news in what was read behind `after`, which count as applied now; None if everything may have changed."""
        if not records:
            self._shorter += self.n > 0
            return None if self._shorter >= _LAST_STRAW else ()
        self._shorter = 0
        news = records
        if self.n > 0:
            if records[0].n != self.n or records[0].key != self.key:
                return None
            news = records[1:]
        if any(record.n != self.n + number for number, record in enumerate(news, 1)):
            return None
        if news:
            self.n, self.key = news[-1].n, news[-1].key
        return news


class Follower:
    """Reads `ledger` and hands on what is new: `apply` gets records in order, each once, `settle` is awaited after
    them, and at every poll, for what takes the store. `recover` is awaited where everything may have changed, and
    returns the place to go on from. The last two are awaited again after they raised a `HubbubError`.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        apply: Callable[[Sequence[Record]], None],
        settle: Callable[[], Awaitable[None]],
        recover: Callable[[], Awaitable[Place]],
    ) -> None:
        self._ledger = ledger
        self._apply = apply
        self._settle = settle
        self._recover = recover
        self._place: Place | None = None
        self._is_lost = True
        self._is_failing = False
        self._hurry = asyncio.Event()
        self._awaited = 0
        self._task: asyncio.Task[None] | None = None
        self._known_at = 0.0
        self._polled_at = -APART_S

    @property
    def applied(self) -> int:
        """The number of the last record that was applied; 0 before the first."""
        return self._place.n if self._place is not None else 0

    @property
    def lag_s(self) -> float:
        """How long ago the end of the log was known for the last time."""
        return asyncio.get_running_loop().time() - self._known_at if self._task is not None else 0.0

    async def load(self) -> None:
        """Find the place to begin at. Raises what `recover` raises."""
        self._place = await self._recover()
        self._is_lost = False
        self._known_at = asyncio.get_running_loop().time()

    def start(self) -> None:
        """Follow from now on, until `stop`. The place was found."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def hurry(self) -> None:
        """Poll now: something was logged. Costs nothing when it is called again meanwhile."""
        self._hurry.set()

    @contextlib.contextmanager
    def awaiting(self) -> Iterator[None]:
        """Poll often while this lasts."""
        self._awaited += 1
        self._hurry.set()
        try:
            yield
        finally:
            self._awaited -= 1

    async def poll(self) -> None:
        """Apply what is new. Raises a `HubbubError` if the store does not answer; what was read before is applied."""
        if self._is_lost:
            _log.warning("control.recovering", applied=self.applied)
            await self.load()
        assert self._place is not None
        for _ in range(PAGES):
            began = asyncio.get_running_loop().time()
            place = self._place
            records = await ask_again(self._read)
            news = place.take(records)
            if news is None:
                self._is_lost = True
                self._hurry.set()
                return
            if not news:
                self._known_at = began
                break
            self._apply(news)
        await self._settle()

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _read(self) -> Sequence[Record]:
        assert self._place is not None
        return await self._ledger.read(after=self._place.after, limit=PAGE)

    async def _run(self) -> None:
        while True:
            await self._wait()
            try:
                await self.poll()
            except HubbubError as error:
                if not self._is_failing:
                    _log.warning("control.poll_fails", code=error.code, reason=error.message)
                self._is_failing = True
            except Exception as error:
                _log.error("control.poll_broken", exc_info=error)
                self._is_failing = True
            else:
                if self._is_failing:
                    _log.info("control.polls_again", applied=self.applied)
                self._is_failing = False

    async def _wait(self) -> None:
        if self._is_failing:
            # Nobody hurries a store that is away.
            await asyncio.sleep(random.uniform(*RETRY_S))  # noqa: S311 - Jitter, not a secret.
        else:
            pause_s = SOON_S if self._awaited else random.uniform(*EVERY_S)  # noqa: S311
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._hurry.wait()
                    await asyncio.sleep(self._polled_at + APART_S - asyncio.get_running_loop().time())
        self._hurry.clear()
        self._polled_at = asyncio.get_running_loop().time()
