"""Every event is answered, whatever its handler does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog.testing

from hubbub.errors import HubbubError
from hubbub.pipeline.answers import Answers, error_answer
from hubbub.pipeline.base import CONNECT, Call
from hubbub.transport.base import Incoming
from tests.support.connections import LooseConnection, link_of

Endpoint = Callable[[Call], Awaitable[Any]]


def event() -> Call:
    return Call(LooseConnection(link_of()), "typing", (), None, Incoming("typing", (), lambda: None))


def connect() -> Call:
    return Call(LooseConnection(link_of()), CONNECT, None)


async def returns(call: Call) -> Any:
    return {"n": 1}


async def refuses(call: Call) -> Any:
    raise HubbubError("slow_mode", retry_after=2)


async def breaks(call: Call) -> Any:
    raise RuntimeError("the secret of another user")


async def is_cancelled(call: Call) -> Any:
    raise asyncio.CancelledError


async def times_out(call: Call) -> Any:
    raise TimeoutError


async def hangs(call: Call) -> Any:
    await asyncio.get_running_loop().create_future()


class TestEvents:
    async def test_a_result_is_data(self) -> None:
        assert await Answers()(event(), returns) == {"ok": True, "data": {"n": 1}}

    async def test_a_refusal_is_an_error_object(self) -> None:
        answer = await Answers()(event(), refuses)
        assert answer == {"ok": False, "error": HubbubError("slow_mode", retry_after=2).document()}

    async def test_a_fault_is_told_as_internal_and_no_more(self) -> None:
        with structlog.testing.capture_logs() as logs:
            answer = await Answers()(event(), breaks)
        assert answer["error"]["code"] == "internal"
        assert "secret" not in str(answer)
        (line,) = logs
        assert (line["event"], line["log_level"], line["exc_info"]) == ("call.failed", "error", True)
        assert line["call"] == "unknown"

    @pytest.mark.parametrize("endpoint", [is_cancelled, times_out])
    async def test_a_handler_that_is_stopped_has_an_unknown_outcome(self, endpoint: Endpoint) -> None:
        answer = await Answers()(event(), endpoint)
        assert answer["error"]["code"] == "unavailable"
        assert answer["error"]["retry_after"] == 1

    async def test_a_task_that_is_cancelled_answers_before_it_ends(self) -> None:
        begun = asyncio.Event()

        async def endpoint(call: Call) -> Any:
            begun.set()
            await hangs(call)

        task = asyncio.ensure_future(Answers()(event(), endpoint))
        await begun.wait()
        task.cancel()
        assert (await task)["error"]["code"] == "unavailable"


class TestConnects:
    async def test_a_result_is_passed_on_as_it_is(self) -> None:
        assert await Answers()(connect(), returns) == {"n": 1}

    @pytest.mark.parametrize(
        ("endpoint", "code"),
        [
            (refuses, "slow_mode"),
            (breaks, "internal"),
            (is_cancelled, "unavailable"),
            (times_out, "unavailable"),
        ],
    )
    async def test_every_failure_is_a_refusal_with_a_code(self, endpoint: Endpoint, code: str) -> None:
        with structlog.testing.capture_logs(), pytest.raises(HubbubError) as caught:
            await Answers()(connect(), endpoint)
        assert caught.value.code == code


def test_an_error_becomes_an_ack() -> None:
    assert error_answer(HubbubError("not_found")) == {"ok": False, "error": HubbubError("not_found").document()}
