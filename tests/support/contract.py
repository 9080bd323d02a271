"""What the service sends, held against `GET /api/spec`: a stock client that checks everything that it gets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import socketio
from jsonschema import Draft7Validator
from jsonschema.protocols import Validator

__all__ = ["Contract", "ContractClient", "closed", "contract_client"]

TIMEOUT_S = 20.0

Json = Mapping[str, Any]


def closed(schema: Any) -> Any:
    """The same schema, that refuses fields which it does not name. Readers put up with these; the service must not send
    what it does not describe.
    """
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema and "additionalProperties" not in schema:
        inside["additionalProperties"] = False
    return inside


class Contract:
    """The AsyncAPI document of a service. `seen` are the keys of messages that were checked, by channel."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._components = closed(document["components"])
        self._validators: dict[tuple[str, str], Validator] = {}
        self.seen: set[tuple[str, str]] = set()

    def keys(self) -> set[tuple[str, str]]:
        """All messages that the server sends: what it pushes, and its acknowledgements."""
        return {
            (channel, key)
            for channel, about in self._document["channels"].items()
            for key in about["messages"]
            if key.endswith((".event", ".ack"))
        }

    def check(self, channel: str, key: str, payload: Any) -> None:
        """Raises `jsonschema.ValidationError` if the payload is not as described; `KeyError` if it is not at all."""
        validator = self._validators.get((channel, key))
        if validator is None:
            message = self._document["channels"][channel]["messages"][key]
            schema = closed(message["payload"]) | {"components": self._components}
            validator = self._validators[channel, key] = Draft7Validator(schema)
        validator.validate(payload)
        if not key.endswith(".ack") or payload["ok"]:
            self.seen.add((channel, key))


class ContractClient:
    """A stock client in one namespace; what does not fit is kept in `faults`."""

    def __init__(self, contract: Contract, channel: str) -> None:
        self._contract = contract
        self._channel = channel
        self._news = asyncio.Condition()
        self.sio = socketio.AsyncClient(reconnection=False)
        self.events: list[tuple[str, Any]] = []
        self.faults: list[str] = []
        self.sio.on("*", self._on_event, namespace=f"/{channel}")

    async def connect(self, url: str, token: str) -> None:
        await self.sio.connect(
            url,
            auth={"token": token},
            namespaces=[f"/{self._channel}"],
            transports=["websocket"],
            wait_timeout=TIMEOUT_S,
        )

    async def call(self, event: str, request: Json) -> Any:
        """Send an event, check its ack, return what it holds: the data, or the error."""
        ack = await self.sio.call(event, dict(request), namespace=f"/{self._channel}", timeout=TIMEOUT_S)
        self._contract.check(self._channel, f"{event.replace(':', '.')}.ack", ack)
        return ack["data"] if ack["ok"] else ack["error"]

    async def emit(self, event: str, request: Json) -> None:
        await self.sio.emit(event, dict(request), namespace=f"/{self._channel}")

    async def wait_for(self, name: str, fits: Callable[[Any], bool] = lambda document: True) -> Any:
        """The first event of this name that fits, past or future."""

        def found() -> Any:
            return next((document for event, document in self.events if event == name and fits(document)), None)

        async with self._news, asyncio.timeout(TIMEOUT_S):
            await self._news.wait_for(lambda: found() is not None)
        return found()

    async def _on_event(self, name: str, document: Any = None) -> None:
        try:
            self._contract.check(self._channel, f"{name.replace(':', '.')}.event", document)
        except Exception as error:
            self.faults.append(f"{name}: {error}")
        async with self._news:
            self.events.append((name, document))
            self._news.notify_all()


@contextlib.asynccontextmanager
async def contract_client(contract: Contract, channel: str, url: str, token: str) -> AsyncIterator[ContractClient]:
    """A connected client; at the end all that it got was as described."""
    client = ContractClient(contract, channel)
    try:
        await client.connect(url, token)
        yield client
        assert client.faults == []
    finally:
        await client.sio.disconnect()
        await client.sio.shutdown()
        if client.sio.eio.http is not None and not client.sio.eio.http.closed:
            await client.sio.eio.http.close()
