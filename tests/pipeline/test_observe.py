"""What is counted and logged of each call."""

from __future__ import annotations

from typing import Any

import pytest
import structlog.testing

from hubbub.errors import HubbubError
from hubbub.events import chat_event
from hubbub.pipeline.base import CONNECT, Call
from hubbub.pipeline.observe import Observe
from hubbub.telemetry import Metrics
from hubbub.transport.base import Incoming
from tests.support.connections import LooseConnection, link_of


def event(name: str) -> Call:
    return Call(LooseConnection(link_of()), name, (), chat_event(name), Incoming(name, (), lambda: None))


async def succeed(call: Call) -> Any:
    return {"ok": True, "data": {"body": "a secret"}}


async def refuse(call: Call) -> Any:
    return {"ok": False, "error": {"code": "muted"}}


class TestEvents:
    async def test_each_is_counted_by_name_and_outcome(self) -> None:
        metrics = Metrics()
        observe = Observe(metrics)
        for name, proceed in (("typing", succeed), ("typing", succeed), ("typing", refuse), ("made:up", refuse)):
            await observe(event(name), proceed)
        value = metrics.registry.get_sample_value
        assert value("hubbub_events_total", {"event": "typing", "code": "ok"}) == 2
        assert value("hubbub_events_total", {"event": "typing", "code": "muted"}) == 1
        assert value("hubbub_events_total", {"event": "unknown", "code": "muted"}) == 1
        assert value("hubbub_event_seconds_count", {"event": "typing"}) == 3

    async def test_the_answer_is_passed_on_and_not_logged(self) -> None:
        with structlog.testing.capture_logs() as logs:
            answer = await Observe(Metrics())(event("typing"), succeed)
        assert answer == {"ok": True, "data": {"body": "a secret"}}
        assert logs == []


class TestConnects:
    async def test_who_is_let_in_is_logged_once_with_id_code_and_duration(self) -> None:
        metrics = Metrics()
        call = Call(LooseConnection(link_of()), CONNECT, {"token": "a secret"})

        async def greet(call: Call) -> Any:
            return "greet"

        with structlog.testing.capture_logs() as logs:
            assert await Observe(metrics)(call, greet) == "greet"
        (line,) = logs
        assert line["event"] == "connection.opened"
        assert (line["connection"], line["code"], line["address"]) == (call.connection.id, "ok", "192.0.2.7")
        assert line["ms"] >= 0
        assert "secret" not in str(line)
        labels = {"namespace": "/chat", "code": "ok"}
        assert metrics.registry.get_sample_value("hubbub_connects_total", labels) == 1

    async def test_who_is_refused_is_logged_with_the_code(self) -> None:
        metrics = Metrics()

        async def refuse(call: Call) -> Any:
            raise HubbubError("unauthorized")

        with structlog.testing.capture_logs() as logs, pytest.raises(HubbubError):
            await Observe(metrics)(Call(LooseConnection(link_of()), CONNECT, None), refuse)
        assert [(line["event"], line["code"]) for line in logs] == [("connection.refused", "unauthorized")]
        labels = {"namespace": "/chat", "code": "unauthorized"}
        assert metrics.registry.get_sample_value("hubbub_connects_total", labels) == 1
