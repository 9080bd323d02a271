"""An administrator for tests: the stock python-socketio client, in `/admin` alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import socketio

from tests.support.chat import RefusedError
from tests.support.tabs import TIMEOUT_S, Tab

__all__ = ["AdminClient", "admin_client"]


class AdminClient(Tab):
    """A stock client in `/admin`, or in other namespaces as well. `left` is set once it is in `/admin` no more."""

    def __init__(self, *namespaces: str) -> None:
        super().__init__(*(namespaces or ("/admin",)))
        self.left = asyncio.Event()
        self._refusal: Any = None
        self.sio.on("connect_error", self._on_refusal, namespace="/admin")
        self.sio.on("disconnect", self._on_disconnect, namespace="/admin")

    async def connect(self, url: str, token: str) -> None:
        """Connect, or raise `RefusedError`."""
        try:
            await super().connect(url, token)
        except socketio.exceptions.ConnectionError:
            if isinstance(self._refusal, dict) and "data" in self._refusal:
                raise RefusedError(self._refusal["message"], self._refusal["data"]) from None
            raise

    async def ask(self, event: str, request: Any) -> Any:
        return await self.sio.call(event, request, namespace="/admin", timeout=TIMEOUT_S)

    async def error(self, event: str, request: Any) -> dict[str, Any]:
        """The error of an event that must be refused."""
        ack = await self.ask(event, request)
        assert not ack["ok"], (event, request, ack)
        error: dict[str, Any] = ack["error"]
        return error

    async def _on_refusal(self, data: Any = None) -> None:
        self._refusal = data

    async def _on_disconnect(self, reason: str = "") -> None:
        self.left.set()


@contextlib.asynccontextmanager
async def admin_client(url: str, token: str, *namespaces: str) -> AsyncIterator[AdminClient]:
    """A connected administrator, gone at the end."""
    client = AdminClient(*namespaces)
    try:
        await client.connect(url, token)
        yield client
    finally:
        await client.goodbye()
