"""A tab of a browser, as far as presence goes: the stock client in /chat and /presence over one transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import socketio

__all__ = ["Tab"]

TIMEOUT_S = 20.0


class Tab:
    """`events` are all that came, as (namespace, name, document), in order."""

    def __init__(self, *namespaces: str) -> None:
        self.namespaces = namespaces or ("/chat", "/presence")
        self.sio = socketio.AsyncClient(reconnection=False)
        self.events: list[tuple[str, str, Any]] = []
        self.news = asyncio.Condition()
        for namespace in self.namespaces:
            self._listen(namespace)

    async def connect(self, url: str, token: str) -> None:
        await self.sio.connect(
            url,
            auth={"token": token},
            namespaces=list(self.namespaces),
            transports=["websocket"],
            wait_timeout=TIMEOUT_S,
        )

    async def ask(self, event: str, request: dict[str, Any]) -> Any:
        """The ack as it came, from the namespace that the event is of."""
        namespace = "/presence" if event.startswith("presence:") else "/chat"
        return await self.sio.call(event, request, namespace=namespace, timeout=TIMEOUT_S)

    async def ok(self, event: str, request: dict[str, Any]) -> Any:
        """`data` of an event that must succeed."""
        ack = await self.ask(event, request)
        assert ack["ok"], (event, request, ack)
        return ack["data"]

    def of(self, name: str) -> list[Any]:
        return [document for namespace, event, document in self.events if event == name]

    async def wait_for(self, name: str, condition: Callable[[Any], bool] = lambda document: True) -> Any:
        """The first event of this name that fits, past or future."""

        def found() -> Any:
            return next((document for document in self.of(name) if condition(document)), None)

        async with self.news, asyncio.timeout(TIMEOUT_S):
            await self.news.wait_for(lambda: found() is not None)
        return found()

    async def goodbye(self) -> None:
        """A DISCONNECT for each namespace, and then the transport, as the JavaScript client does. The Python one closes
        its WebSocket before they are written; so they are waited for here.
        """
        if self.sio.eio.state == "connected":
            for namespace in list(self.sio.namespaces):
                await self.sio.eio.send(f"1{namespace},")  # Engine.IO puts the 4 before it.
            await self.sio.eio.queue.join()
        await self.sio.disconnect()
        await self._close()

    async def reload(self) -> None:
        """End the transport without a word, as a browser does with a page that goes."""
        await self.sio.eio.disconnect()
        await self._close()

    async def _close(self) -> None:
        await self.sio.shutdown()
        http = self.sio.eio.http
        if http is not None and not http.closed:
            await http.close()

    def _listen(self, namespace: str) -> None:
        async def on_event(name: str, document: Any = None) -> None:
            async with self.news:
                self.events.append((namespace, name, document))
                self.news.notify_all()

        self.sio.on("*", on_event, namespace=namespace)
