"""Filters are asked in order, and one that fails does not decide by that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from structlog.testing import capture_logs

from hubbub.errors import HubbubError
from hubbub.filters.base import Draft, Filter, Room, Sender, Verdict, allow, refuse, replace
from hubbub.filters.gate import LOG_EVERY_S, Gate

DRAFT = Draft(Room("tea", "public", "Tea"), Sender("bob", "Bob", False, frozenset(), "member"), "secret words")


class Counted:
    """A gate, and what it counted."""

    def __init__(
        self, *filters: Filter, on_failure: Literal["refuse", "pass"] = "refuse", limit_s: float = 20.0
    ) -> None:
        self.now = 1000.0
        self.verdicts: list[tuple[str, str]] = []
        self.gate = Gate(
            [(f"f{number}", each) for number, each in enumerate(filters)],
            on_failure=on_failure,
            on_verdict=lambda name, verdict: self.verdicts.append((name, verdict)),
            limit_s=limit_s,
            clock=lambda: self.now,
        )


def saying(verdict: Verdict | None) -> Filter:
    return lambda draft: verdict


async def later(draft: Draft) -> Verdict | None:
    await asyncio.sleep(0)
    return replace(f"{draft.body}, later")


async def never(draft: Draft) -> Verdict | None:
    await asyncio.Event().wait()
    return None


def broken(draft: Draft) -> Verdict | None:
    raise ValueError(draft.body)


async def broken_later(draft: Draft) -> Verdict | None:
    await asyncio.sleep(0)
    raise ValueError(draft.body)


async def cancelled(draft: Draft) -> Verdict | None:
    raise asyncio.CancelledError


class Fatal(BaseException):
    """What `except Exception` lets through."""


def raising(error: type[BaseException]) -> Filter:
    def at_once(draft: Draft) -> Verdict | None:
        raise error

    return at_once


def raising_later(error: type[BaseException]) -> Filter:
    async def later(draft: Draft) -> Verdict | None:
        await asyncio.sleep(0)
        raise error

    return later


FAILING: Sequence[Any] = (
    *(make(error) for make in (raising, raising_later) for error in (Fatal, KeyboardInterrupt, SystemExit)),
    raising(asyncio.CancelledError),
    lambda draft: refuse(5),  # type: ignore[arg-type]
    lambda draft: refuse(""),
    lambda draft: refuse("a lone \ud800"),
    broken,
    broken_later,
    never,
    cancelled,
    lambda draft: True,
    lambda draft: "text",
    lambda draft: replace("a lone \ud800"),
    lambda draft: replace("NUL \0"),
    lambda draft: replace(" \u200b"),
    lambda draft: replace(7),  # type: ignore[arg-type]
)


class TestVerdicts:
    async def test_each_sees_what_the_one_before_made_of_it(self) -> None:
        seen: list[str] = []

        def look(draft: Draft) -> None:
            seen.append(draft.body)

        counted = Counted(look, saying(replace("other")), look, later, look)
        assert await counted.gate.review(DRAFT) == "other, later"
        assert seen == ["secret words", "other", "other, later"]
        assert [verdict for _, verdict in counted.verdicts] == ["allow", "replace", "allow", "replace", "allow"]

    async def test_the_first_that_refuses_decides(self) -> None:
        counted = Counted(saying(allow()), saying(refuse("Not here.")), broken)
        with pytest.raises(HubbubError) as caught:
            await counted.gate.review(DRAFT)
        assert caught.value.document() == {
            "code": "forbidden",
            "message": "Not here.",
            "retryable": False,
            "fields": {"body": ["Not here."]},
        }
        assert counted.verdicts == [("f0", "allow"), ("f1", "refuse")]

    async def test_a_body_that_is_put_in_place_is_in_its_normal_form(self) -> None:
        assert await Counted(saying(replace("Cafe\u0301"))).gate.review(DRAFT) == "Café"

    async def test_what_computes_needs_no_task_and_no_turn_of_the_loop(self) -> None:
        reviewing = Counted(saying(None), saying(allow()), saying(replace("x"))).gate.review(DRAFT)
        with pytest.raises(StopIteration) as done:
            reviewing.send(None)
        assert done.value.value == "x"


class TestFailures:
    @pytest.mark.parametrize("failing", FAILING)
    async def test_a_message_is_refused_for_now(self, failing: Filter) -> None:
        counted = Counted(failing, limit_s=0.05)
        with pytest.raises(HubbubError) as caught:
            await counted.gate.review(DRAFT)
        assert (caught.value.code, caught.value.kind.retryable) == ("unavailable", True)
        assert caught.value.retry_after is not None
        assert counted.verdicts == [("f0", "failed")]

    @pytest.mark.parametrize("failing", FAILING)
    async def test_or_passes_where_the_operator_says_so(self, failing: Filter) -> None:
        counted = Counted(failing, later, on_failure="pass", limit_s=0.05)
        assert await counted.gate.review(DRAFT) == "secret words, later"
        assert counted.verdicts == [("f0", "failed"), ("f1", "replace")]

    @pytest.mark.parametrize("failing", [broken, broken_later])
    async def test_the_log_says_which_and_where_once_a_minute_and_never_what_was_said(self, failing: Filter) -> None:
        counted = Counted(failing, on_failure="pass")
        with capture_logs() as lines:
            for _ in range(3):
                await counted.gate.review(DRAFT)
        [line] = lines
        assert (line["event"], line["filter"], line["kind"]) == ("filter.failed", "f0", "ValueError")
        assert failing.__name__ in line["at"]
        assert "secret" not in repr(line)
        counted.now += LOG_EVERY_S
        with capture_logs() as lines:
            await counted.gate.review(DRAFT)
        assert len(lines) == 1

    @pytest.mark.parametrize("make", [raising, raising_later])
    async def test_what_would_end_the_service_is_logged_with_the_filter_s_name(self, make: Any) -> None:
        with capture_logs() as lines:
            assert await Counted(make(SystemExit), on_failure="pass").gate.review(DRAFT) == DRAFT.body
        assert [(line["event"], line["filter"], line["kind"]) for line in lines] == [
            ("filter.failed", "f0", "SystemExit")
        ]

    async def test_what_is_waited_for_in_vain_is_cancelled(self) -> None:
        ended = asyncio.Event()

        async def hangs(draft: Draft) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        assert await Counted(hangs, on_failure="pass", limit_s=0.01).gate.review(DRAFT) == DRAFT.body
        async with asyncio.timeout(20):
            await ended.wait()

    async def test_so_it_is_when_nobody_waits_any_more(self) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def hangs(draft: Draft) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        reviewing = asyncio.ensure_future(Counted(hangs).gate.review(DRAFT))
        async with asyncio.timeout(20):
            await begun.wait()
            reviewing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reviewing
            await ended.wait()

    async def test_a_filter_that_waits_needs_no_task_around_it(self) -> None:
        """The lane of a connection drives an event by hand, as far as it gets."""
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        reviewing = Counted(later).gate.review(DRAFT)

        def step(_: object = None) -> None:
            try:
                assert asyncio.current_task() is None
                waits_for: Any = reviewing.send(None)
            except StopIteration as done:
                answered.set_result(done.value)
            except BaseException as error:
                answered.set_exception(error)
            else:
                waits_for._asyncio_future_blocking = False
                waits_for.add_done_callback(step)

        asyncio.get_running_loop().call_soon(step)
        async with asyncio.timeout(20):
            assert await answered == "secret words, later"
