"""Metrics and logs of every call: one line per connect, a count and a duration per event."""

from __future__ import annotations

import time
from typing import Any

import structlog

from hubbub.errors import HubbubError
from hubbub.pipeline.base import Call, Proceed
from hubbub.telemetry import Metrics

__all__ = ["Observe"]

_log = structlog.get_logger("hubbub.connection")


class Observe:
    """Stands first in the list, so that it sees what everything after it made of the call."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        begun = time.perf_counter()
        if call.is_connect:
            return await self._connect(call, proceed, begun)
        answer = await proceed(call)
        code = "ok" if answer["ok"] else answer["error"]["code"]
        self._metrics.events.add(call.label, code, time.perf_counter() - begun)
        return answer

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
