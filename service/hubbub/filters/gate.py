"""All filters of a service, asked one after the other, and what becomes of one that fails.

A filter fails if it raises, whatever that is, if what it returned does not come within a second, or if that is no
verdict. It must not decide by that what is stored: the operator has said which way it goes (`HUBBUB_FILTER_FAILURE`).
`refuse` answers `unavailable`, so that a client sends again under the same key; `pass` goes on as if the filter were
not there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import structlog
from marshmallow import ValidationError

from hubbub.errors import HubbubError
from hubbub.fields import Text
from hubbub.filters.base import Draft, Filter, Verdict

__all__ = ["Gate"]

_log = structlog.get_logger("hubbub.filters")

LIMIT_S: Final = 1.0
"""How long an answer may be waited for. Sends of a connection wait for each other meanwhile, to stay in order."""

LOG_EVERY_S: Final = 60.0
"""How often the failures of one filter are logged. A filter that is broken fails for every message."""

RETRY_AFTER_S: Final = 1.0

_BODY: Final = Text(blank=False)


class Gate:
    """See `base.Reviewer`. `on_verdict(filter, verdict)` is told of each: `allow`, `replace`, `refuse` or `failed`."""

    def __init__(
        self,
        filters: Sequence[tuple[str, Filter]],
        *,
        on_failure: Literal["refuse", "pass"],
        on_verdict: Callable[[str, str], None],
        limit_s: float = LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._filters = tuple(filters)
        self._lets_pass = on_failure == "pass"
        self._on_verdict = on_verdict
        self._limit_s = limit_s
        self._clock = clock
        self._logged: dict[str, float] = {}

    async def review(self, draft: Draft) -> str:
        for name, check in self._filters:
            # Only what is returned as an awaitable is awaited, so that a filter that computes costs its call. The
            # waiting is outside of what is caught: a cancellation there is the caller's.
            try:
                answer = check(draft)
            except BaseException as error:  # Whatever it raises, it is the filter that failed, and nothing else.
                self._fail(name, error)
                continue
            verdict = answer if answer is None or isinstance(answer, Verdict) else await self._wait(name, answer)
            if isinstance(verdict, BaseException):
                self._fail(name, verdict)
                continue
            if verdict is not None and verdict.action == "replace":
                try:
                    draft = dataclasses.replace(draft, body=_BODY.check(verdict.text))
                except ValidationError as error:
                    self._fail(name, error)
                    continue
            if verdict is None:
                self._on_verdict(name, "allow")
                continue
            self._on_verdict(name, verdict.action)
            if verdict.action == "refuse":
                raise HubbubError("forbidden", verdict.text, fields={"body": [verdict.text]})
        return draft.body

    async def _wait(self, name: str, answer: Awaitable[Verdict | None]) -> Verdict | BaseException | None:
        """What the filter says, or why it says nothing.

        No `asyncio.timeout`: the lane of a connection drives this by hand, and has no task to cancel.
        """
        task = asyncio.create_task(_caught(answer), name=f"filter {name}")
        try:
            await asyncio.wait({task}, timeout=self._limit_s)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_look_at)
        if not task.done():
            return TimeoutError()
        if task.cancelled():
            return RuntimeError("The filter was cancelled from within.")
        error = task.exception()
        if error is not None:
            return error
        verdict: object = task.result()
        if verdict is None or isinstance(verdict, Verdict | BaseException):
            return verdict
        return TypeError("Neither a verdict nor None.")

    def _fail(self, name: str, error: BaseException) -> None:
        """Log it now and then: by kind and place, since the text of an exception may quote the message."""
        self._on_verdict(name, "failed")
        now = self._clock()
        if now - self._logged.get(name, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged[name] = now
            _log.error("filter.failed", filter=name, kind=_kind(error), at=_place(error), passed=self._lets_pass)
        if not self._lets_pass:
            raise HubbubError(
                "unavailable", "What checks messages does not answer; nothing was stored.", retry_after=RETRY_AFTER_S
            ) from None


async def _caught(answer: Awaitable[Verdict | None]) -> Verdict | BaseException | None:
    """A task that raises one of these two ends the loop, and the whole service with it."""
    try:
        return await answer
    except (KeyboardInterrupt, SystemExit) as error:
        return error


def _look_at(task: asyncio.Future[Verdict | BaseException | None]) -> None:
    """What a filter that came too late raises is no reason for a warning: its failure was told already."""
    if not task.cancelled():
        task.exception()


def _kind(error: BaseException) -> str:
    return "not a body" if isinstance(error, ValidationError) else type(error).__name__


def _place(error: BaseException) -> str:
    """Where it was raised: `module.function:line`."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}:{trace.tb_lineno}"
