"""Metrics and logs of every call: one line per connect, a count and a duration per event."""

from __future__ import annotations

import time
from typing import Any

import structlog
from prometheus_client import Counter, Histogram

from hubbub.errors import HubbubError
from hubbub.pipeline.base import Call, Proceed
from hubbub.telemetry import Metrics

__all__ = ["Observe"]

_log = structlog.get_logger("hubbub.connection")


class Observe:
    """Stands first in the list, so that it sees what everything after it made of the call."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # Finding a metric's child by its labels costs more than counting; there are few, so each is found once.
        self._counters: dict[tuple[str, str], Counter] = {}
        self._durations: dict[str, Histogram] = {}

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        begun = time.perf_counter()
        if call.is_connect:
            return await self._connect(call, proceed, begun)
        answer = await proceed(call)
        code = "ok" if answer["ok"] else answer["error"]["code"]
        self._count(call.label, code, time.perf_counter() - begun)
        return answer

    def _count(self, label: str, code: str, seconds: float) -> None:
        counter = self._counters.get((label, code))
        if counter is None:
            counter = self._counters[label, code] = self._metrics.events.labels(label, code)
        counter.inc()
        duration = self._durations.get(label)
        if duration is None:
            duration = self._durations[label] = self._metrics.event_seconds.labels(label)
        duration.observe(seconds)

    async def _connect(self, call: Call, proceed: Proceed, begun: float) -> Any:
        code = "ok"
        try:
            return await proceed(call)
        except HubbubError as error:
            code = error.code
            raise
        finally:
            connection = call.connection
            self._metrics.connects.labels(connection.namespace, code).inc()
            _log.info(
                "connection.opened" if code == "ok" else "connection.refused",
                connection=connection.id,
                namespace=connection.namespace,
                address=connection.link.handshake.address,
                code=code,
                ms=round((time.perf_counter() - begun) * 1000, 1),
            )
