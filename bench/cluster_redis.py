"""What Redis itself spends on a parcel: one PUBLISH, to as many nodes as listen to the room."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from bench.cluster_hearing import UID, offers_of
from hubbub.cluster.parcels import pack
from hubbub.cluster.resp import command
from tests.support.redisserver import RunningRedis

__all__ = ["Publishing", "measure_publishing"]

BYTES: Final = 40_000_000
"""About as much as Redis sends in a round."""

MOST: Final = 6000
"""PUBLISHes of a round. Each is answered before the next; a busy Redis reads several at once, and is cheaper."""


@dataclass
class Publishing:
    """One row: microseconds of Redis' CPU per PUBLISH, by round."""

    nodes: int
    batch: int
    us: list[float] = field(default_factory=list)


def measure_publishing(case: Publishing, server: RunningRedis) -> None:
    """One more round of a row."""
    channel = b"hubbub:room:" + UID.encode()
    (parcel,) = pack("n1.fedcba9876543210", offers_of(case.batch), ())
    count = min(MOST, BYTES // len(parcel) // max(case.nodes, 1))
    piece = command(b"PUBLISH", channel, parcel)
    with _listeners(server.port, channel, case.nodes), socket.create_connection(("127.0.0.1", server.port)) as mouth:
        assert server.process is not None
        clock = ~server.process.pid << 3 | 2  # As in processes.Server.cpu_s.
        _say(mouth, piece)
        began = time.clock_gettime(clock)
        for _ in range(count):
            _say(mouth, piece)
        case.us.append((time.clock_gettime(clock) - began) / count * 1e6)


def _say(mouth: socket.socket, piece: bytes) -> None:
    mouth.sendall(piece)
    if not mouth.recv(100).startswith(b":"):
        raise RuntimeError("Redis refused to publish")


@contextmanager
def _listeners(port: int, channel: bytes, count: int) -> Iterator[None]:
    """Connections that listen, and a thread that reads what comes and looks at none of it."""
    selector = selectors.DefaultSelector()
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(command(b"SUBSCRIBE", channel))
        connection.recv(4096)
        selector.register(connection, selectors.EVENT_READ)
        connections.append(connection)
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            for key, _ in selector.select(timeout=0.05):
                key.fileobj.recv(1 << 20)  # type: ignore[union-attr]

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        for connection in connections:
            connection.close()
        selector.close()
