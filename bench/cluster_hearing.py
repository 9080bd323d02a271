"""What it costs to hear a message of another node, in one process: the bytes that Redis sent, taken apart, put in order
and written to the subscribers; beside it, a message of the node's own, written to the same ones.

The difference is the price of the message having come from elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import redis.asyncio
import socketio

from bench.crowd import Crowd, crowd
from bench.senders import body_of
from hubbub.cluster.base import Node
from hubbub.cluster.bus import Offer
from hubbub.cluster.memory import LoneRegistry
from hubbub.cluster.parcels import pack
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_bus import RedisBus
from hubbub.cluster.redis_ears import Ears
from hubbub.cluster.resp import RespReader, command
from hubbub.domain.activerooms import ActiveRoom, ActiveRooms
from hubbub.domain.activity import Activity
from hubbub.domain.clock import system_clock
from hubbub.domain.delivery import Delivery, offer_of
from hubbub.domain.documents import message_document
from hubbub.domain.feeds import Feed
from hubbub.domain.presence.service import Presence
from hubbub.domain.roster import Roster
from hubbub.history.base import Message, Person, Room, Sender, Standing
from hubbub.history.sqlite import SqliteHistory
from hubbub.transport.fanout import Fanout

__all__ = ["UID", "Hearing", "driver_us", "measure_hearing", "offers_of", "stock_us"]

UID: Final = "seed0"
ROOM: Final = "bench-room"
BODY_BYTES: Final = 100
CHUNK: Final = 160
"""So many messages are written before the sockets are left alone until all is read."""


@dataclass
class Hearing:
    """One row: microseconds of CPU per message, by round. `subscribers` is None where there are no sockets: one
    subscriber that counts.
    """

    subscribers: int | None
    batch: int
    heard_us: list[float] = field(default_factory=list)
    own_us: list[float] = field(default_factory=list)


class _Counting:
    """A subscriber that costs nothing."""

    clear, deflate = True, False

    def __init__(self) -> None:
        self.session: Any = self

    def send(self, message: Any) -> Any:
        raise RuntimeError("nobody is slow here")

    def write(self, data: bytes) -> None:
        """Nothing is written."""


class _Wired(_Counting):
    """A subscriber on a socket."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        super().__init__()
        self.write = transport.write  # type: ignore[method-assign]


class _World:
    """A room, the delivery to it, and the bus as it is when it has a connection."""

    def __init__(self, path: Path, address: RedisAddress) -> None:
        self.history = SqliteHistory(path)
        self.fanout = Fanout("/chat")
        self.rooms = ActiveRooms(self.history, self.fanout)
        presence = Presence(self.history, LoneRegistry(Node("bench", "1")), system_clock)
        activity = Activity(Roster(self.history, system_clock, presence), self.fanout, room_id=lambda uid: uid)
        self.delivery = Delivery(self.history, self.rooms, self.fanout, activity, on_gone=lambda room: None)
        self.ears = Ears(address)
        self.bus = RedisBus(address, self.ears, "n2.0123456789abcdef")
        self.room: ActiveRoom | None = None

    async def open(self) -> None:
        await self.history.open()
        record = Room(UID, ROOM, "public", "A room", "", 5000, 0, 1)
        await self.history.create_room(record, [(Standing("ann", "owner"), Person("ann", "Ann"))])
        self.room = await self.rooms.get(ROOM)
        self.bus._take = lambda uid, offers, whispers: self.delivery.hear(uid, offers)
        self.bus.listen(UID)

    async def close(self) -> None:
        self.delivery.stop()
        await self.history.close()

    def begin(self) -> None:
        assert self.room is not None
        self.room.feed = Feed(0)

    def hear(self, reader: RespReader, data: bytes) -> None:
        for reply in reader.feed(data):
            self.ears._take(reply)


def _message(number: int) -> Message:
    now = int(time.time() * 1000)
    sender = Sender("ann", "Ann")
    return Message(UID, number, number, f"4-0-{number}", sender, body_of(BODY_BYTES), None, (), now)


def _documents(count: int) -> tuple[list[dict[str, Any]], list[Offer]]:
    messages = [_message(number + 1) for number in range(count)]
    documents = [message_document(ROOM, message) for message in messages]
    offers = [offer_of(message, document) for message, document in zip(messages, documents, strict=True)]
    return documents, offers


def offers_of(count: int) -> list[Offer]:
    """Messages with bodies of a hundred bytes, as they are told to other nodes."""
    return _documents(count)[1]


def record(port: int, offers: Sequence[Offer], batch: int) -> list[bytes]:
    """What a listening connection gets from a real Redis when these offers are published `batch` at a time."""
    pieces = []
    with (
        socket.create_connection(("127.0.0.1", port)) as ears,
        socket.create_connection(("127.0.0.1", port)) as mouth,
    ):
        channel = b"hubbub:room:" + UID.encode()
        ears.sendall(command(b"SUBSCRIBE", channel))
        _one(ears)
        for first in range(0, len(offers), batch):
            for parcel in pack("n1.fedcba9876543210", offers[first : first + batch], ()):
                mouth.sendall(command(b"PUBLISH", channel, parcel))
                _one(mouth)
                pieces.append(_one(ears))
    return pieces


def _one(connection: socket.socket) -> bytes:
    """The bytes of the next reply, which is all that is on its way."""
    data = b""
    while True:
        data += connection.recv(1 << 20)
        if RespReader().feed(data):
            return data


async def measure_hearing(
    case: Hearing, path: Path, url: str, port: int, *, messages: int, rounds: int, on_round: Callable[[], None]
) -> None:
    """Fill in a row: a round of hearing beside a round of the node's own."""
    world = _World(path, RedisAddress.of(url))
    await world.open()
    documents, offers = _documents(messages)
    pieces = record(port, offers, case.batch)
    reader = RespReader()
    try:
        async with _subscribers(world.fanout, case.subscribers) as audience:

            async def hear(first: int) -> None:
                for piece in pieces[first // case.batch : (first + CHUNK) // case.batch]:
                    world.hear(reader, piece)
                    await asyncio.sleep(0)

            async def say(first: int) -> None:
                for begin in range(first, min(first + CHUNK, messages), case.batch):
                    for document in documents[begin : begin + case.batch]:
                        world.fanout.publish(UID, "message", document)
                    await asyncio.sleep(0)

            for number in range(rounds + 1):
                world.begin()
                heard = await _timed(hear, messages, audience)
                own = await _timed(say, messages, audience)
                if number:  # The first warms up.
                    case.heard_us.append(heard)
                    case.own_us.append(own)
                    on_round()
    finally:
        await world.close()


async def _timed(work: Callable[[int], Awaitable[None]], messages: int, audience: _Audience) -> float:
    spent = 0.0
    for first in range(0, messages, CHUNK):
        began = time.process_time()
        await work(first)
        spent += time.process_time() - began
        await audience.wait(min(CHUNK, messages - first))
    return spent / messages * 1e6


@dataclass
class _Audience:
    """Whoever reads the sockets."""

    size: int = 0
    crowd: Crowd | None = None
    seen: int = 0

    async def wait(self, messages: int) -> None:
        if self.crowd is not None:
            self.seen += messages * self.size
            await self.crowd.wait_messages(self.seen)


@asynccontextmanager
async def _subscribers(fanout: Fanout, count: int | None) -> AsyncIterator[_Audience]:
    if count is None:
        fanout.subscribe(_Counting(), UID)  # type: ignore[arg-type]
        yield _Audience()
        return
    transports = []
    async with crowd() as audience:
        for _ in range(count):
            ours, theirs = socket.socketpair()
            audience.give([theirs.detach()])
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
            transports.append(transport)
            fanout.subscribe(_Wired(transport), UID)  # type: ignore[arg-type]
        yield _Audience(count, audience)
        for transport in transports:
            transport.abort()


async def driver_us(url: str, port: int, messages: int) -> float:
    """Microseconds of CPU that the driver's own pub/sub takes per message, from the socket to whoever asks for it."""
    client = redis.asyncio.from_url(url)
    channel = client.pubsub()
    await channel.subscribe("bench")
    await channel.get_message(timeout=5)
    _publish(port, b"bench", orjson.dumps(_documents(1)[0][0]), messages)
    began = time.process_time()
    count = 0
    async for _ in channel.listen():
        count += 1
        if count == messages:
            break
    spent = time.process_time() - began
    await channel.aclose()
    await client.aclose()
    return spent / messages * 1e6


async def stock_us(url: str, port: int, messages: int) -> float:
    """The same of stock python-socketio's Redis manager, for a room in which this node has nobody."""
    manager = _Heard(url)
    server = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager)
    manager.set_server(server)
    manager.initialize()
    document = _documents(1)[0][0]
    packet = {
        "method": "emit",
        "event": "message",
        "binary": False,
        "data": document,
        "namespace": "/chat",
        "room": ROOM,
        "skip_sid": None,
        "callback": None,
        "host_id": "another",
    }
    await manager.canary(port)
    manager.count = 0
    _publish(port, b"socketio", orjson.dumps(packet), messages)
    began = time.process_time()
    await manager.until(messages)
    spent = time.process_time() - began
    manager.thread.cancel()
    await asyncio.wait({manager.thread})
    return spent / messages * 1e6


class _Heard(socketio.AsyncRedisManager):  # type: ignore[misc]
    """Counts what it has been told."""

    count = 0
    wanted = 1
    _come: asyncio.Event

    async def _handle_emit(self, message: Any) -> None:
        await super()._handle_emit(message)
        self.count += 1
        if self.count == self.wanted:
            self._come.set()

    async def until(self, count: int) -> None:
        self.wanted, self._come = count, asyncio.Event()
        if self.count < count:
            await asyncio.wait_for(self._come.wait(), 30)

    async def canary(self, port: int) -> None:
        """Return when it listens."""
        packet = orjson.dumps({"method": "emit", "event": "x", "data": 1, "namespace": "/chat", "room": ROOM})
        self._come = asyncio.Event()
        while self.count == 0:
            _publish(port, b"socketio", packet, 1)
            await asyncio.sleep(0.1)


def _publish(port: int, channel: bytes, body: bytes, count: int) -> None:
    """Have Redis send this so many times; returns when all of it is on its way."""
    with socket.create_connection(("127.0.0.1", port)) as mouth:
        mouth.sendall(command(b"PUBLISH", channel, body) * count)
        got = 0
        while got < count:
            got += mouth.recv(1 << 16).count(b"\r\n")
