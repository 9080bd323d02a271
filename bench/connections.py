"""What a page of the administrators' list of connections costs on a node with a hundred thousand of them.

    python -m bench connections --count 100000

They are the service's own links, sessions, groups and list, without sockets: what is measured is the list.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, cast

import click
import uvloop
from rich.console import Console

from bench.goals import Goal
from bench.headcheck import pulse, timed
from bench.processes import pin_load
from bench.report import Report, load_note, progress, spread, terminal
from hubbub.app import _Lines
from hubbub.domain.activerooms import ActiveRooms
from hubbub.domain.admin.connections import Connections, Wanted
from hubbub.domain.clock import system_clock
from hubbub.domain.identity import Identity
from hubbub.domain.roster import Client, User
from hubbub.history.base import History, Person, Room
from hubbub.pipeline.sessions import Sessions
from hubbub.process import GC_THRESHOLDS, SWITCH_INTERVAL_S
from hubbub.transport.base import Handler, Handshake, Link
from hubbub.transport.connection import NamespaceConnection
from hubbub.transport.server import Server
from hubbub.transport.session import Session, Shell
from hubbub.transport.states import State

__all__ = ["connections"]

PAGE: Final = 50
LARGE: Final = 500
"""The default of `limit`, and the most that may be asked for."""

SHARED: Final = 1000
"""As many connections have one user, and as many are in the smaller room."""

ID: Final = "whether an id is here, the youngest"

PAGE_MS: Final = 50.0
STALL_MS: Final = 20.0


class _Verifier:
    """Takes the id of a user for a token."""

    async def verify(self, token: str) -> Identity:
        return Identity(Person(token, token.title()), frozenset(), 0, 2**53 - 1)


class World:
    """A node `n1` with so many connections, all of them in one room."""

    def __init__(self) -> None:
        self.server = Server(node="n1")
        self.sessions = Sessions(_Verifier(), clock=system_clock, expiring_s=0)
        self.fanout = self.server.fanout("/chat")
        self.rooms = ActiveRooms(cast(History, None), self.fanout)  # Nothing is read from the store.
        for name in ("everybody", "some"):
            self.rooms.put(Room(name, name, "public", name.title(), "", 10**6, 0, 1))
        self.connections = Connections(_Lines(self.server, self.sessions, self.fanout), self.rooms, node="n1")
        self.last = ""

    async def fill(self, count: int) -> None:
        for number in range(count):
            user = "many" if number % (count // SHARED) == 0 else f"user{number}"
            await self.open(number, user, ["everybody", "some"] if number % (count // SHARED) == 1 else ["everybody"])

    async def open(self, number: int, user: str, rooms: list[str]) -> None:
        eio = self.server.eio
        link = Link(eio.generate_id(), Handshake({}, {}, {}, "192.0.2.7"), opened_at=1_700_000_000_000 + number)
        session = Session(
            link, self.server, eio.wheel, self.server.bounds, state=State.WEBSOCKET, shell=cast(Shell, None)
        )
        eio.sessions[link.id] = session
        connection = NamespaceConnection(self.server, session, "/chat", eio.generate_id(), cast(Handler, None))
        connection.is_open = True
        link.connections["/chat"] = connection
        identity = (await self.sessions.open(link, user)).identity
        client = connection.state = Client(connection, User(identity.person), identity)
        for room in rooms:
            client.joined.add(room)
            self.fanout.subscribe(connection, room)
        self.last = connection.id


def cases(world: World, count: int) -> dict[str, Callable[[], Awaitable[Any]]]:
    page, middle = world.connections.page, 1_700_000_000_000 + count // 2
    return {
        "all, the first page": lambda: page(Wanted(limit=PAGE)),
        "all, a page in the middle": lambda: page(Wanted(after=middle, limit=PAGE)),
        f"all, a page of {LARGE}": lambda: page(Wanted(after=middle, limit=LARGE)),
        "a user with one connection": lambda: page(Wanted(user=f"user{count // 2 + 3}", limit=PAGE)),
        f"a user with {SHARED:,}": lambda: page(Wanted(user="many", limit=PAGE)),
        f"a room with {SHARED:,}": lambda: page(Wanted(room="some", limit=PAGE)),
        f"a room with all {count:,}": lambda: page(Wanted(room="everybody", limit=PAGE)),
        f"the same, a page of {LARGE} in the middle": lambda: page(Wanted(room="everybody", after=middle, limit=LARGE)),
        "a user in a room": lambda: page(Wanted(room="everybody", user="many", limit=PAGE)),
        ID: lambda: world.connections.has(world.last),
    }


async def measure(count: int, rounds: int, console: Console) -> Report:
    world = World()
    await world.fill(count)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    report = Report(
        f"The list of {count:,} connections",
        f"{count:,} connections of one node, in one process on one core, without sockets; the list is asked for on the "
        "node that has them. A stall is by how much a timer of one millisecond was late; its own part is at most the "
        "CPU that the process took meanwhile. Median (least-most) of "
        f"{rounds} rounds.",
        ["what is asked for", "took ms", "CPU ms", "longest stall, its own part ms"],
    )
    slowest, longest = 0.0, 0.0
    todo = cases(world, count)
    with progress(console) as bar:
        task = bar.add_task("pages", total=len(todo))
        for title, work in todo.items():
            took_ms, cpu_ms, own_ms = [], [], []
            for _ in range(rounds):
                took, cpu = await timed(work)
                took_ms.append(took)
                cpu_ms.append(cpu)
                async with pulse() as beats:
                    # Long enough for the pulse to begin, and to see the last turn.
                    await asyncio.sleep(0.003)
                    await work()
                    await asyncio.sleep(0.003)
                own_ms.append(beats.own_ms)
            if title != ID:
                slowest = max(slowest, statistics.median(took_ms))
            longest = max(longest, max(own_ms))
            report.rows.append([title, spread(took_ms), spread(cpu_ms), spread(own_ms)])
            bar.advance(task)
            bar.refresh()
    report.notes.append(load_note())
    report.goals += [
        Goal("the slowest page, its median", PAGE_MS, slowest, "ms"),
        Goal("the longest stall of all rounds, its own part", STALL_MS, longest, "ms"),
    ]
    return report


@click.command()
@click.option("--count", default=100_000, show_default=True, help="How many connections there are.")
@click.option("--rounds", default=20, show_default=True)
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def connections(count: int, rounds: int, save: Path | None) -> None:
    """What a page of the administrators' list of connections costs."""
    console = terminal()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    pin_load()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(measure(count, rounds, console))
    report.show(console)
    if save is not None:
        report.write(save)
