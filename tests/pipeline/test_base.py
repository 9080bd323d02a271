"""How middleware is put together."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.errors import HubbubError
from hubbub.events import chat_event
from hubbub.pipeline.base import CONNECT, Call, Middleware, Proceed, compose
from hubbub.transport.base import Incoming
from tests.support.connections import LooseConnection, link_of


def call_of(name: str = "typing", data: Any = None) -> Call:
    incoming = None if name == CONNECT else Incoming(name, (), lambda: None)
    return Call(LooseConnection(link_of()), name, data, chat_event(name), incoming)


class Step:
    """Writes down when a call passes it, on its way in and on its way out."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        self.log.append(f"{self.name} in")
        result = await proceed(call)
        self.log.append(f"{self.name} out")
        return result


async def answer(call: Call, proceed: Proceed) -> Any:
    """Answers itself."""
    return "early"


async def refuse(call: Call, proceed: Proceed) -> Any:
    raise HubbubError("forbidden")


async def endpoint(call: Call) -> Any:
    return call.data


class TestComposition:
    async def test_a_call_passes_the_list_in_its_order_and_back(self) -> None:
        log: list[str] = []
        run = compose([Step("first", log), Step("second", log)], endpoint)
        assert await run(call_of(data=5)) == 5
        assert log == ["first in", "second in", "second out", "first out"]

    async def test_without_middleware_there_is_the_endpoint(self) -> None:
        assert await compose([], endpoint)(call_of(data=5)) == 5

    async def test_a_step_that_answers_keeps_the_call_from_those_behind_it(self) -> None:
        log: list[str] = []
        run = compose([Step("first", log), answer, Step("never", log)], endpoint)
        assert await run(call_of(data=5)) == "early"
        assert log == ["first in", "first out"]

    async def test_a_refusal_passes_those_before_it(self) -> None:
        log: list[str] = []
        run = compose([Step("first", log), refuse, Step("never", log)], endpoint)
        with pytest.raises(HubbubError):
            await run(call_of())
        assert log == ["first in"]

    async def test_a_step_may_change_what_those_behind_it_see(self) -> None:
        async def double(call: Call, proceed: Proceed) -> Any:
            call.data *= 2
            return await proceed(call)

        assert await compose([double, double], endpoint)(call_of(data=5)) == 20

    async def test_one_pipeline_serves_many_calls(self) -> None:
        steps: list[Middleware] = [Step("x", [])]
        run = compose(steps, endpoint)
        steps.clear()
        assert [await run(call_of(data=n)) for n in range(3)] == [0, 1, 2]


class TestCalls:
    def test_a_connect_is_a_call_that_no_event_brought(self) -> None:
        assert call_of(CONNECT).is_connect
        assert not call_of("typing").is_connect

    def test_an_event_called_connect_is_no_connect(self) -> None:
        forged = Call(LooseConnection(link_of()), CONNECT, (), None, Incoming(CONNECT, (), lambda: None))
        assert not forged.is_connect
        assert forged.label == "unknown"

    def test_metrics_have_no_label_that_a_client_chose(self) -> None:
        assert call_of("typing").label == "typing"
        assert call_of(CONNECT).label == "connect"
        assert call_of("any:thing").label == "unknown"
