"""A chat client for tests: the stock python-socketio client, with the contract's names."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import socketio

__all__ = ["ChatClient", "RefusedError", "chat_client"]

TIMEOUT_S = 20.0


class RefusedError(Exception):
    """The server refused the connection; `error` is the error object."""

    def __init__(self, message: str, error: dict[str, Any]) -> None:
        self.message = message
        self.error = error
        super().__init__(message)


class ChatClient:
    """A stock client in `/chat`. `events` are all events that came, as (name, document), in order; `times` when each of
    them came, monotonic.
    """

    def __init__(self) -> None:
        self.sio = socketio.AsyncClient(reconnection=False)
        self.events: list[tuple[str, Any]] = []
        self.times: list[float] = []
        self.disconnected = asyncio.Event()
        self._refusal: Any = None
        self._news = asyncio.Condition()
        self.sio.on("*", self._on_event, namespace="/chat")
        self.sio.on("connect_error", self._on_refusal, namespace="/chat")
        self.sio.on("disconnect", self._on_disconnect, namespace="/chat")

    async def connect(
        self,
        url: str,
        token: str | None,
        *,
        transports: list[str] | None = None,
        headers: dict[str, str] | None = None,
        query: str = "",
    ) -> None:
        """Connect, or raise `RefusedError`."""
        try:
            await self.sio.connect(
                url + query,
                auth={"token": token} if token is not None else None,
                namespaces=["/chat"],
                transports=transports or ["websocket"],
                headers=headers or {},
                wait_timeout=TIMEOUT_S,
            )
        except socketio.exceptions.ConnectionError:
            refusal = self._refusal
            if isinstance(refusal, dict) and "data" in refusal:
                raise RefusedError(refusal["message"], refusal["data"]) from None
            raise

    async def call(self, event: str, *args: Any) -> Any:
        """Send an event, return its ack as it came."""
        return await self.sio.call(event, args if len(args) != 1 else args[0], namespace="/chat", timeout=TIMEOUT_S)

    async def ok(self, event: str, request: dict[str, Any]) -> Any:
        """Send an event that must succeed; returns `data`."""
        ack = await self.call(event, request)
        assert ack["ok"], (event, request, ack)
        return ack["data"]

    async def error(self, event: str, request: Any) -> dict[str, Any]:
        """Send an event that must be refused; returns the error object."""
        ack = await self.call(event, request)
        assert not ack["ok"], (event, request, ack)
        error: dict[str, Any] = ack["error"]
        return error

    async def emit(self, event: str, request: Any) -> None:
        await self.sio.emit(event, request, namespace="/chat")

    def of(self, name: str) -> list[Any]:
        """The documents of all events of this name so far."""
        return [document for event, document in self.events if event == name]

    async def wait_for(self, name: str, condition: Callable[[Any], bool] = lambda document: True) -> Any:
        """The first event of this name that fits, past or future."""

        def found() -> Any:
            return next((document for document in self.of(name) if condition(document)), None)

        async with self._news, asyncio.timeout(TIMEOUT_S):
            await self._news.wait_for(lambda: found() is not None)
        return found()

    async def wait_count(self, name: str, count: int) -> list[Any]:
        """The documents of this name, once there are that many."""
        async with self._news, asyncio.timeout(TIMEOUT_S):
            await self._news.wait_for(lambda: len(self.of(name)) >= count)
        return self.of(name)

    async def close(self) -> None:
        try:
            await self.sio.disconnect()
            await self.sio.shutdown()
        finally:
            # A connect that failed half-way leaves the library's HTTP session open.
            http = self.sio.eio.http
            if http is not None and not http.closed:
                await http.close()

    async def _on_event(self, name: str, document: Any = None) -> None:
        async with self._news:
            self.events.append((name, document))
            self.times.append(time.monotonic())
            self._news.notify_all()

    async def _on_refusal(self, data: Any = None) -> None:
        self._refusal = data

    async def _on_disconnect(self, reason: str = "") -> None:
        self.disconnected.set()


@contextlib.asynccontextmanager
async def chat_client(url: str, token: str | None, **options: Any) -> AsyncIterator[ChatClient]:
    """A connected client, closed at the end."""
    client = ChatClient()
    try:
        await client.connect(url, token, **options)
        yield client
    finally:
        await client.close()
