"""Questions between nodes, by way of the control log: for what one node alone knows, such as its connections.

A question is a record with the process that is asked, an answer one with the process that asked. Nodes that have
nothing else in common can ask each other, at the price of a poll for each way; while somebody waits the log is polled
more often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from hubbub.domain.control.follower import Follower
from hubbub.errors import CATALOGUE, Code, HubbubError
from hubbub.history.base import Record, RecordKind

__all__ = ["Questions"]

_log = structlog.get_logger("hubbub.control")

_Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]

UNDER_WAY: Final = 32
"""Questions that are being answered at once, at most. Whoever asks more waits in vain, and asks again."""


class Questions:
    """Asks and answers for the process `origin`. `append` logs a record and returns its key."""

    def __init__(
        self,
        *,
        origin: str,
        append: Callable[[RecordKind, Mapping[str, Any], Callable[[str], None] | None], Awaitable[None]],
        follower: Follower,
    ) -> None:
        self._origin = origin
        self._append = append
        self._follower = follower
        self._answers: dict[str, _Answer] = {}
        self._asked: dict[str, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def on_question(self, question: str, answer: _Answer) -> None:
        """What answers this question from now on: JSON for JSON. A `HubbubError` is an answer too."""
        self._answers[question] = answer

    async def ask(self, origin: str, question: str, about: Mapping[str, Any], *, timeout_s: float) -> Any:
        """The answer of a process, of this one without a detour. Raises what the answer raised, and `unavailable` if
        none comes in time.
        """
        if origin == self._origin:
            return await self._answer(question, about)
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        keys: list[str] = []

        def expect(key: str) -> None:
            keys.append(key)
            self._asked[key] = answered

        try:
            with self._follower.awaiting():
                async with asyncio.timeout(timeout_s):
                    await self._append("ask", {"to": origin, "question": question, "about": about}, expect)
                    return await answered
        except TimeoutError:
            raise HubbubError("unavailable", "The node did not answer in time.", retry_after=1) from None
        finally:
            for key in keys:
                del self._asked[key]

    def take(self, record: Record) -> None:
        """A record of a question or of an answer came by."""
        if record.data["to"] != self._origin:
            return
        if record.kind == "answer":
            answered = self._asked.get(record.data["asked"])
            if answered is not None and not answered.done():
                _resolve(answered, record.data["answer"])
        elif len(self._tasks) < UNDER_WAY:
            task = asyncio.ensure_future(self._reply(record))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Answer no more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _answer(self, question: str, about: Mapping[str, Any]) -> Any:
        answer = self._answers.get(question)
        if answer is None:
            raise HubbubError("bad_request", "This node does not know the question.")
        return await answer(about)

    async def _reply(self, record: Record) -> None:
        """What cannot be logged is not answered: whoever asked stops waiting by themselves."""
        try:
            try:
                answer = {"ok": await self._answer(record.data["question"], record.data["about"])}
            except HubbubError as error:
                answer = {"error": {"code": error.code, "message": error.message}}
            data = {"to": record.origin, "asked": record.key, "answer": answer}
            await self._append("answer", data, None)
        except HubbubError as error:
            _log.warning("control.answer_fails", code=error.code, reason=error.message)
        except Exception as error:
            _log.error("control.answer_broken", exc_info=error)


def _resolve(answered: asyncio.Future[Any], answer: Mapping[str, Any]) -> None:
    error = answer.get("error")
    if error is None:
        answered.set_result(answer.get("ok"))
    else:
        code: Code = next((code for code in CATALOGUE if code == error["code"]), "internal")
        answered.set_exception(HubbubError(code, error["message"]))
