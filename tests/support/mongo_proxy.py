"""A proxy between the driver and MongoDB, which does to commands and replies what elections and bad networks do.

One machine has no elections, so what they look like from the driver is played here, on the wire (OP_MSG of the MongoDB
wire protocol): a server that is no longer primary, a reply that got lost after the write took effect, a write concern
that failed, a reader that answers from the past. To the driver the proxy is the only member of a replica set: what the
server says of itself in `hello` is rewritten, so that all traffic comes this way and the driver retries as it would
with a real set. Numbers of transactions go through, and the server finds retried writes by them; the proxy does not.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import bson

from tests.support.mongodb import host_and_port

__all__ = [
    "READS",
    "WRITES",
    "Action",
    "Document",
    "Exchange",
    "MongoProxy",
    "Rule",
    "Snapshot",
    "after",
    "answers",
    "before",
    "concern",
    "delayed",
    "lost",
    "not_primary",
    "running_proxy",
]

Document = dict[str, Any]

OP_REPLY: Final = 1
OP_QUERY: Final = 2004
OP_MSG: Final = 2013
MORE_TO_COME: Final = 1 << 1

WRITES: Final = frozenset(
    {"insert", "update", "delete", "findAndModify", "bulkWrite", "create", "createIndexes", "drop"}
)
READS: Final = frozenset({"find", "aggregate", "getMore", "count", "distinct", "listIndexes", "listCollections"})
GREETINGS: Final = frozenset({"hello", "isMaster", "ismaster"})

NOT_PRIMARY: Final = 10107
NOT_PRIMARY_NO_SECONDARY_OK: Final = 13435
SHUTDOWN_IN_PROGRESS: Final = 91
CONCERN_FAILED: Final = 64
RETRYABLE: Final = frozenset({SHUTDOWN_IN_PROGRESS, NOT_PRIMARY, 11600, 11602, 189})


class _CutError(Exception):
    """The connection is to be cut."""


@dataclass(slots=True)
class Exchange:
    """One command and what becomes of it. `body` has the documents of all its sections under their names."""

    name: str
    body: Document
    _request: bytes
    _upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    forwarded: bool = False

    @property
    def is_retryable(self) -> bool:
        """Whether the driver would repeat it: it has numbered it, and it is in no transaction."""
        return "txnNumber" in self.body and "autocommit" not in self.body

    async def forward(self) -> Document:
        """Have the server execute it; the server's reply."""
        reader, writer = self._upstream
        self.forwarded = True
        writer.write(self._request)
        await writer.drain()
        return document_of(await _read(reader))


Action = Callable[[Exchange], Awaitable[Mapping[str, Any] | None]]
"""What is done to a command: returns what its sender is answered. None cuts the connection."""


async def before(exchange: Exchange) -> None:
    """The connection breaks before the command reached the server."""


async def after(exchange: Exchange) -> None:
    """The connection breaks after the server has executed the command: its reply is lost."""
    await exchange.forward()


def answers(code: int, name: str, text: str) -> Action:
    """The command is refused with this error, and not executed."""

    async def action(exchange: Exchange) -> Document:
        refusal: Document = {"ok": 0.0, "code": code, "codeName": name, "errmsg": text}
        if code in RETRYABLE and exchange.is_retryable:
            refusal["errorLabels"] = ["RetryableWriteError"]
        return refusal

    return action


not_primary: Final = answers(NOT_PRIMARY, "NotWritablePrimary", "not primary")


def concern(code: int) -> Action:
    """The command is executed, but its write concern fails: 64 for a timeout, 91 where the server shuts down."""

    async def action(exchange: Exchange) -> Document:
        return _with_concern_error(exchange, await exchange.forward(), code)

    return action


def lost(code: int) -> Action:
    """As `concern`, of a primary whose write is then rolled back: it is as if it had never been executed."""

    async def action(exchange: Exchange) -> Document:
        parts = [exchange.body[part] for part in ("documents", "updates", "deletes") if part in exchange.body]
        count = sum(len(part) for part in parts)
        reply: Document = {"ok": 1.0, "n": count}
        if exchange.name == "update":
            reply["nModified"] = count
        if exchange.name == "findAndModify":
            reply = {"ok": 1.0, "lastErrorObject": {"n": 0, "updatedExisting": False}, "value": None}
        return _with_concern_error(exchange, reply, code)

    return action


def delayed(until: asyncio.Event, action: Action | None = None) -> Action:
    """The command waits for the event, then it goes on its way, or has `action` done to it."""

    async def wait(exchange: Exchange) -> Mapping[str, Any] | None:
        await until.wait()
        return await (action(exchange) if action is not None else exchange.forward())

    return wait


def _with_concern_error(exchange: Exchange, reply: Document, code: int) -> Document:
    name = {CONCERN_FAILED: "WriteConcernFailed", SHUTDOWN_IN_PROGRESS: "ShutdownInProgress"}[code]
    error = {"code": code, "codeName": name, "errmsg": "waiting for replication failed"}
    labels = ["RetryableWriteError"] if code in RETRYABLE and exchange.is_retryable else []
    return {**reply, "writeConcernError": error} | ({"errorLabels": labels} if labels else {})


class Snapshot:
    """The replies of reads as they are now, to be given again later: a server that has fallen behind.

    `remember` is an action that keeps what the server answers; `repeat` answers the same question in the same way, and
    asks the server what was never asked.
    """

    def __init__(self) -> None:
        self._replies: dict[bytes, Document] = {}
        self.repeated = 0

    async def remember(self, exchange: Exchange) -> Document:
        reply = await exchange.forward()
        self._replies.setdefault(_question(exchange), reply)
        return reply

    async def repeat(self, exchange: Exchange) -> Document:
        reply = self._replies.get(_question(exchange))
        if reply is None:
            return await exchange.forward()
        self.repeated += 1
        return reply


def _question(exchange: Exchange) -> bytes:
    """The command without what differs each time it is sent."""
    passing = {"lsid", "$clusterTime", "txnNumber", "maxTimeMS"}
    return bson.encode({key: value for key, value in exchange.body.items() if key not in passing})


@dataclass(slots=True)
class Rule:
    """Does `action` to the commands with one of `names` (no names: all but greetings) for which `where` holds: from the
    `nth` on, `times` times. `seen` counts those that matched, `hits` those to which it was done.
    """

    action: Action
    names: frozenset[str] = frozenset()
    nth: int = 1
    times: float = 1
    where: Callable[[Mapping[str, Any]], bool] = lambda body: True
    seen: int = 0
    hits: int = 0

    def strikes(self, name: str, body: Mapping[str, Any]) -> bool:
        if (name not in self.names if self.names else name in GREETINGS) or not self.where(body):
            return False
        self.seen += 1
        if self.seen < self.nth or self.hits >= self.times:
            return False
        self.hits += 1
        return True


@dataclass(eq=False)
class MongoProxy:
    """Listens on 127.0.0.1, on a port that the system chose, for a server at `upstream`.

    While `primary` is False it says of itself that it is a secondary and refuses as one. `commands` are the names of
    all commands but greetings, in the order in which they came.
    """

    upstream: tuple[str, int]
    port: int = 0
    primary: bool = True
    rules: list[Rule] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def uri(self) -> str:
        return f"mongodb://{self.address}/"

    def rule(
        self,
        action: Action,
        *names: str,
        nth: int = 1,
        times: float = 1,
        where: Callable[[Mapping[str, Any]], bool] = lambda body: True,
    ) -> Rule:
        """Add a rule; the first one that strikes is followed."""
        rule = Rule(action, frozenset(names), nth, times, where)
        self.rules.append(rule)
        return rule

    def heal(self) -> None:
        """No more rules; commands flow, and the server is a primary."""
        self.rules.clear()
        self.primary = True
        self._flowing.set()

    def freeze(self) -> None:
        """Whatever comes is kept and not answered, until `heal`."""
        self._flowing.clear()

    def lose(self) -> None:
        """As `heal`, but whatever was kept is lost, and its connections never answer again."""
        self._flowing = asyncio.Event()
        self.heal()

    async def listen(self) -> None:
        """Take connections; on the same port if it was closed in between."""
        self._flowing.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.cut()

    async def cut(self) -> None:
        """Cut all connections that there are."""
        tasks = [*self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers = [writer]
        try:
            upstream = await asyncio.open_connection(*self.upstream)
            open_writers.append(upstream[1])
            while True:
                request = await _read(reader)
                await self._flowing.wait()
                await self._handle(request, upstream, writer)
        except (OSError, EOFError, _CutError):
            pass  # Either side is gone, or the connection was to be cut: so it is, on both sides.
        finally:
            for each in open_writers:
                each.transport.abort()

    async def _handle(
        self,
        request: bytes,
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        writer: asyncio.StreamWriter,
    ) -> None:
        body = document_of(request)
        name = next(iter(body))
        if name not in GREETINGS:
            self.commands.append(name)
        exchange = Exchange(name, body, request, upstream)
        action = self._action_for(exchange)
        reply = await (action(exchange) if action is not None else exchange.forward())
        await self._flowing.wait()  # A server that froze meanwhile does not answer either.
        if _flags_of(request) & MORE_TO_COME:
            raise AssertionError("a command without an answer came: its write concern is 0")
        if reply is None:
            raise _CutError
        if name in GREETINGS:
            reply = self._introduced(reply)
        writer.write(_encode(request, reply))
        await writer.drain()

    def _action_for(self, exchange: Exchange) -> Action | None:
        for rule in self.rules:
            if rule.strikes(exchange.name, exchange.body):
                return rule.action
        if self.primary:
            return None
        if exchange.name in WRITES:
            return not_primary
        if exchange.name in READS and exchange.body.get("$readPreference", {}).get("mode", "primary") == "primary":
            return answers(NOT_PRIMARY_NO_SECONDARY_OK, "NotPrimaryNoSecondaryOk", "not primary")
        return None

    def _introduced(self, reply: Mapping[str, Any]) -> Document:
        """What the server says of itself, with the proxy in its place.

        Without a topology version the driver asks from time to time, in place of waiting for news on a connection.
        """
        hidden = {"topologyVersion", "passives", "arbiters", "primary"}
        mine = {key: value for key, value in reply.items() if key not in hidden}
        mine |= {
            "setName": reply.get("setName", "hubbub"),
            "setVersion": 1,
            "hosts": [self.address],
            "me": self.address,
        }
        mine |= {"isWritablePrimary": self.primary, "ismaster": self.primary, "secondary": not self.primary}
        if self.primary:
            mine["primary"] = self.address
        else:
            mine.pop("electionId", None)
        return mine


@asynccontextmanager
async def running_proxy(uri: str) -> AsyncIterator[MongoProxy]:
    """A proxy for the first server of an address; it is gone at the end."""
    proxy = MongoProxy(host_and_port(uri))
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    (length,) = struct.unpack("<i", head)
    return head + await reader.readexactly(length - 4)


def _flags_of(message: bytes) -> int:
    kind, flags = struct.unpack_from("<iI", message, 12)
    return int(flags) if kind == OP_MSG else 0


def document_of(message: bytes) -> Document:
    """The document of a message; of a command with all its sections, each sequence of documents under its name."""
    (kind,) = struct.unpack_from("<i", message, 12)
    if kind == OP_QUERY:
        start = message.index(b"\0", 20) + 9
        return _decode(message[start:])[0]
    if kind == OP_REPLY:
        return _decode(message[36:])[0]
    if kind != OP_MSG:
        raise ValueError(f"a message of kind {kind} came")
    body: Document = {}
    sequences: Document = {}
    end = len(message) - (4 if _flags_of(message) & 1 else 0)  # A checksum may be at the end.
    at = 20
    while at < end:
        section, (length,) = message[at], struct.unpack_from("<i", message, at + 1)
        part = message[at + 1 : at + 1 + length]
        if section == 0:
            body = _decode(part)[0]
        else:
            name_end = part.index(b"\0", 4)
            sequences[part[4:name_end].decode()] = _decode(part[name_end + 1 :])
        at += 1 + length
    return body | sequences


def _decode(data: bytes) -> list[Document]:
    return bson.decode_all(data)


def _encode(request: bytes, reply: Mapping[str, Any]) -> bytes:
    """A reply to this request, in the same kind of message."""
    number, _, kind = struct.unpack_from("<iii", request, 4)
    document = bson.encode(reply)
    if kind == OP_QUERY:
        payload, kind = struct.pack("<iqii", 0, 0, 0, 1) + document, OP_REPLY
    else:
        payload = struct.pack("<IB", 0, 0) + document
    return struct.pack("<iiii", 16 + len(payload), 0, number, kind) + payload
