"""The seam between the wire and everything above it.

Above this line nothing imports python-socketio; below it nothing knows of rooms with members or of messages. Whoever
replaces what is beneath keeps these few names: `Connection` to talk to one client in one namespace, `Handler` to be
talked to, and `Order` to say which events may overtake which.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from hubbub.errors import HubbubError

__all__ = ["Connection", "Handler", "Handshake", "Incoming", "Link", "Order"]


class Order(Enum):
    """How an event stands to the events of the same connection that were admitted before it."""

    SERIAL = "serial"
    """Begins when all before it are done, and is done before any after it begins."""

    PIPELINED = "pipelined"
    """Begins when those before it are done, or pipelined and admitted; its ack follows theirs.

    It is begun in the turn of the loop in which its frame came, with no task around it. Once it has said that it is
    admitted, it may await nothing but plain futures.
    """

    FREE = "free"
    """Begins at once, with no task around it until it suspends, and waits for nothing: for what is worthless when
    late.
    """


@dataclass(frozen=True, slots=True)
class Handshake:
    """What the client's first HTTP request carried. Header names are lower case. `address` is the client's own, also
    behind proxies that are trusted.
    """

    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    query: Mapping[str, str]
    address: str


@dataclass(slots=True, eq=False)
class Link:
    """One Engine.IO connection: what its namespaces share.

    `state` belongs to the layers above (the identity of whoever connected). `connections` are the namespaces that are
    connected now, by name. `opened_at` is in milliseconds since the Unix epoch; no two links of a server have the same.
    """

    id: str
    handshake: Handshake
    state: Any = None
    connections: dict[str, Connection] = field(default_factory=dict)
    opened_at: int = 0


class Connection(Protocol):
    """One client in one namespace. All methods return at once; after the end they do nothing."""

    id: str
    namespace: str
    state: Any
    """Belongs to the layer above that handles this namespace."""

    @property
    def link(self) -> Link: ...

    @property
    def is_open(self) -> bool: ...

    @property
    def transport(self) -> str:
        """What carries it now: `polling` or `websocket`."""
        ...

    def emit(self, event: str, data: Any) -> None:
        """Send one event to this client.

        A `memoryview` in `data`, here and in what a handler returns as an ack, is a piece of JSON that was encoded
        already. Many may share it: it is sent as it is, and not copied.
        """

    async def wait_room(self) -> None:
        """Return when little waits for this client, so that a large answer has room; or when it is gone.

        Whoever asks for many pages at once, as after a reconnect to many rooms, gets them as fast as it reads them.
        """

    def disconnect(self) -> None:
        """End this namespace with a Socket.IO DISCONNECT, after what was sent before. Stock clients stay away.

        Where it was the last, the transport ends some seconds later, if the client does not end it.
        """

    def drop(self, *, restart: bool = False) -> None:
        """End the whole transport. Stock clients come back; a WebSocket is told 1012 if this is a `restart`."""


class Incoming:
    """One event as it came from a client: its name and its arguments, unchecked.

    The handler calls `admitted` when a pipelined event has taken its place in line (for a write: entered the writer's
    queue), so that the next may begin. What is put in `after_ack` runs in the same turn of the loop as the ack is sent,
    behind it: the place for whatever the client must not see before its ack.
    """

    __slots__ = ("_on_admitted", "after_ack", "args", "is_admitted", "name")

    def __init__(self, name: str, args: tuple[Any, ...], on_admitted: Callable[[], None]) -> None:
        self.name = name
        self.args = args
        self.is_admitted = False
        self.after_ack: list[Callable[[], None]] = []
        self._on_admitted = on_admitted

    def admitted(self) -> None:
        if not self.is_admitted:
            self.is_admitted = True
            self._on_admitted()


class Handler(Protocol):
    """What a namespace does. One handler serves all connections of its namespace."""

    def order(self, event: str) -> Order: ...

    async def connect(self, connection: Connection, auth: Any) -> Callable[[], None] | None:
        """Let the client in, or raise `HubbubError`: it becomes the connect_error. The callable that is returned runs
        once the client has been told that it is connected: the place for its first events.
        """

    def event(self, connection: Connection, incoming: Incoming) -> Coroutine[Any, Any, Any]:
        """Handle one event; what the coroutine returns is the ack. Never raises."""

    async def disconnected(self, connection: Connection, *, clean: bool) -> None:
        """The client is gone: `clean` if it said so (Socket.IO DISCONNECT), else the transport broke.

        Called once for each connection that `connect` let in, also when the peer vanished while `connect` ran.
        """

    def suspended(self, connection: Connection, group: str) -> None:
        """The client reads too slowly for a group: it has been taken out of it, and has to be told so."""

    def outside(self, event: str, data: object, room: object) -> Iterable[Connection]:
        """Who gets an event that the program around the server, or an outside process, emits to a room of this
        namespace (`Server.emit`); to all, if `room` is None. Nobody, where it is not theirs to send, or not like this.
        """

    def refused(self, error: HubbubError) -> dict[str, Any]:
        """The ack for an event that could not even be read."""
