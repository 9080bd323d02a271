"""What a Redis Cluster spends on a parcel: said to all its servers, and said to the shard of its room alone.

python -m bench shards --save bench/results/shards.md
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from bench.cluster_hearing import UID, offers_of
from bench.processes import pin_load
from bench.report import Report, load_note, spread, terminal
from hubbub.cluster.parcels import pack
from hubbub.cluster.redis_slots import slot_of
from hubbub.cluster.resp import command
from tests.support.rediscluster import RunningCluster, running_cluster
from tests.support.redisserver import RunningRedis

__all__ = ["shards"]

NODES: Final = (3, 21)
PUBLISHES: Final = 3000
"""Of a round. Each has come to everybody before the next, so that no server reads several at once."""

_ROOM: Final = b"hubbub:room:" + UID.encode()


@dataclass
class _Case:
    """One row: how it is said, to how many, and the CPU of the shard of the room and of another, in us per word."""

    word: bytes
    nodes: int
    own_us: list[float] = field(default_factory=list)
    other_us: list[float] = field(default_factory=list)
    all_us: list[float] = field(default_factory=list)


def _measure(case: _Case, cluster: RunningCluster) -> None:
    """One more round of a row."""
    owner = cluster.owner(slot_of(_ROOM))
    owner_server = cluster.masters[owner]
    (parcel,) = pack("n1.fedcba9876543210", offers_of(1), ())
    piece = command(case.word, _ROOM, parcel)
    # Plain listeners may be anywhere, so each server has its part of them; those of a shard are at its master.
    is_sharded = case.word == b"SPUBLISH"
    size = len(command(b"smessage" if is_sharded else b"message", _ROOM, parcel))
    at = [cluster.masters[owner if is_sharded else number % 3] for number in range(case.nodes)]
    with _listeners(at, b"SSUBSCRIBE" if is_sharded else b"SUBSCRIBE") as ears, _connected(owner_server) as mouth:
        _say(mouth, ears, piece, size)
        began = [_cpu_s(server) for server in cluster.masters]
        for _ in range(PUBLISHES):
            _say(mouth, ears, piece, size)
        spent = [
            (_cpu_s(server) - before) / PUBLISHES * 1e6
            for server, before in zip(cluster.masters, began, strict=True)
        ]  # fmt: skip
    case.own_us.append(spent[owner])
    case.other_us.append((sum(spent) - spent[owner]) / 2)
    case.all_us.append(sum(spent))


def _cpu_s(server: RunningRedis) -> float:
    assert server.process is not None
    return time.clock_gettime(~server.process.pid << 3 | 2)  # As in processes.Server.cpu_s.


@contextlib.contextmanager
def _connected(server: RunningRedis) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def _say(mouth: socket.socket, ears: Sequence[socket.socket], piece: bytes, size: int) -> None:
    """Say it, and return when everybody has it: so many bytes."""
    mouth.sendall(piece)
    if not mouth.recv(100).startswith(b":"):
        raise RuntimeError("Redis refused to publish")
    for ear in ears:
        heard = 0
        while heard < size:
            heard += len(ear.recv(1 << 16))


@contextlib.contextmanager
def _listeners(servers: Sequence[RunningRedis], word: bytes) -> Iterator[list[socket.socket]]:
    """Connections that listen to the room."""
    with contextlib.ExitStack() as stack:
        ears = [stack.enter_context(_connected(server)) for server in servers]
        for ear in ears:
            ear.sendall(command(word, _ROOM))
            if _ROOM not in ear.recv(4096):
                raise RuntimeError("Redis refused to be listened to")
        yield ears


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def shards(rounds: int, save: Path | None) -> None:
    """What a Redis Cluster spends on a parcel, said plainly and by shard."""
    pin_load()
    cases = [_Case(word, nodes) for nodes in NODES for word in (b"PUBLISH", b"SPUBLISH")]
    with running_cluster() as cluster:
        for _ in range(rounds):
            for case in cases:
                _measure(case, cluster)
    report = Report(
        "What a Redis Cluster spends on a PUBLISH and on an SPUBLISH",
        "Three masters without replicas and one room; as many connections listen as nodes have somebody in it: to a "
        "PUBLISH a third of them at each master, to an SPUBLISH all at the master of the room's slot. One message in "
        f"each, {PUBLISHES:,} a round; each has come to everybody before the next, so a busy server is cheaper. "
        f"CPU of the server processes, user and system, in us for each; median (least-most) of {rounds} rounds, in "
        "turn. `Rooms' traffic` is what three masters carry with a core each when rooms are spread evenly.",
        ["", "nodes that listen", "the room's master", "each other master", "all three", "rooms' traffic, 3 cores"],
    )
    for case in cases:
        row = [case.word.decode(), str(case.nodes), spread(case.own_us), spread(case.other_us), spread(case.all_us)]
        report.rows.append([*row, f"{3e6 / statistics.median(case.all_us):,.0f}/s"])
    report.notes.append(load_note())
    report.show(terminal())
    if save is not None:
        report.write(save)
