"""python-socketio's own server on aiohttp, as it comes: the stack whose faults the transport must not have."""

from __future__ import annotations

import logging
from typing import Any, Final

import socketio

__all__ = ["make_stock_server"]

_SILENT: Final = logging.getLogger("tests.stock")
_SILENT.setLevel(logging.CRITICAL + 1)


def make_stock_server(*, ping_interval_s: float, ping_timeout_s: float, packet_bytes: int, **options: Any) -> Any:
    """An `AsyncServer` with nothing changed but these settings; what it logs goes nowhere."""
    return socketio.AsyncServer(
        async_mode="aiohttp",
        ping_interval=ping_interval_s,
        ping_timeout=ping_timeout_s,
        max_http_buffer_size=packet_bytes,
        logger=_SILENT,
        engineio_logger=_SILENT,
        **options,
    )
