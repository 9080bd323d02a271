"""What the regular look at the heads costs: ten thousand rooms with a listener each, in one process.

    python -m bench headcheck --rooms 10000

It is the service's own `Delivery` over its own store, without a wire: what is measured is the check, not the clients.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
import uvloop
from rich.console import Console

from bench.goals import Goal
from bench.processes import ROOT, data_directory, pin_load
from bench.report import Report, load_note, progress, spread, terminal
from hubbub.cluster.base import Node
from hubbub.cluster.memory import LoneRegistry
from hubbub.domain.activerooms import ActiveRooms
from hubbub.domain.activity import Activity
from hubbub.domain.clock import system_clock
from hubbub.domain.delivery import Delivery
from hubbub.domain.presence.service import Presence
from hubbub.domain.roster import Roster
from hubbub.history.base import Insert, Message, Person, Room, Sender, Standing
from hubbub.history.sqlite import SqliteHistory
from hubbub.process import GC_THRESHOLDS, SWITCH_INTERVAL_S
from hubbub.transport import message as wire
from hubbub.transport.fanout import Fanout
from hubbub.transport.outbox import Verdict

__all__ = ["headcheck"]

MESSAGES: Final = 10
WATCH_S: Final = 30.0
STALL_MS: Final = 20.0


class _Listener:
    """A recipient that counts."""

    clear = False

    def __init__(self) -> None:
        self.session: Any = self
        self.count = 0

    def send(self, message: wire.Message) -> Verdict:
        self.count += 1
        return Verdict.OK


class _Counted(SqliteHistory):
    """The store, which counts the questions for heads."""

    asked = 0

    async def heads(self, uids: Sequence[str]) -> Mapping[str, int]:
        self.asked += 1
        return await super().heads(uids)


class World:
    """Rooms, a listener in each, and the delivery over them."""

    def __init__(self, path: Path, count: int) -> None:
        self.history = _Counted(path)
        self.count = count
        self.fanout = Fanout("/chat")
        self.rooms = ActiveRooms(self.history, self.fanout)
        presence = Presence(self.history, LoneRegistry(Node("bench", "1")), system_clock)
        activity = Activity(Roster(self.history, system_clock, presence), self.fanout, room_id=lambda uid: uid)
        self.delivery = Delivery(self.history, self.rooms, self.fanout, activity, on_gone=lambda room: None)
        self.listeners: list[_Listener] = []
        self._keys = 0

    async def fill(self) -> None:
        for number in range(self.count):
            record = Room(f"uid{number:08}", f"room{number}", "public", "A room", "", 100, 0, 1)
            await self.history.create_room(record, [(Standing("ann", "owner"), Person("ann", "Ann"))])
        for _ in range(MESSAGES):
            await self.say()
        for number in range(self.count):
            room = await self.rooms.get(f"room{number}")
            assert room is not None
            listener = _Listener()
            self.fanout.subscribe(listener, room.uid)
            self.listeners.append(listener)

    async def say(self) -> None:
        """A message in each room, of which nobody is told."""
        self._keys += 1
        for start in range(0, self.count, 1000):
            await self.history.commit(
                [
                    Insert(
                        Message(f"uid{number:08}", 0, 0, f"key{self._keys}", Sender("ann", "Ann"), "hello", None, (), 1)
                    )
                    for number in range(start, min(start + 1000, self.count))
                ]
            )

    async def wait_told(self, count: int) -> None:
        while sum(listener.count for listener in self.listeners) < count:  # noqa: ASYNC110 - Counting costs them less.
            await asyncio.sleep(0.05)


class Pulse:
    """How late the loop is with a timer of a millisecond, at worst; and how late by its own doing, which is at most the
    CPU that this process took meanwhile: the rest is other processes on the same core.
    """

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self.own_ms = 0.0

    async def beat(self) -> None:
        while True:
            due, cpu_s = time.perf_counter() + 0.001, time.process_time()
            await asyncio.sleep(0.001)
            late_ms = (time.perf_counter() - due) * 1000
            self.worst_ms = max(self.worst_ms, late_ms)
            self.own_ms = max(self.own_ms, min(late_ms, (time.process_time() - cpu_s) * 1000))


@asynccontextmanager
async def pulse() -> AsyncIterator[Pulse]:
    taken = Pulse()
    task = asyncio.ensure_future(taken.beat())
    yield taken
    task.cancel()


async def timed(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Milliseconds of a piece of work, and of the CPU of all threads meanwhile."""
    began, cpu = time.perf_counter(), time.process_time()
    await work()
    return (time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000


async def measure(path: Path, rooms: int, rounds: int, console: Console) -> Report:
    world = World(path, rooms)
    await world.history.open()
    try:
        return await _measure(world, rounds, console)
    finally:
        world.delivery.stop()
        await world.history.close()


async def _measure(world: World, rounds: int, console: Console) -> Report:
    await world.fill()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    check = world.delivery._check.check
    took_ms: list[float] = []
    cpu_ms: list[float] = []
    stall_ms: list[float] = []
    own_ms: list[float] = []
    with progress(console) as bar:
        task = bar.add_task("checks", total=rounds)
        for _ in range(rounds):
            took, cpu = await timed(check)
            took_ms.append(took)
            cpu_ms.append(cpu)
            async with pulse() as beats:
                await check()
            stall_ms.append(beats.worst_ms)
            own_ms.append(beats.own_ms)
            bar.advance(task)
            bar.refresh()
    world.history.asked = 0
    world.delivery.start()
    async with pulse() as beats:
        await asyncio.sleep(WATCH_S)
    asked, idle_ms = world.history.asked, beats.own_ms
    world.delivery.stop()
    await world.say()
    async with pulse() as beats:
        caught_ms, caught_cpu_ms = await timed(lambda: _catch_up(world))
    report = Report(
        f"The check of {world.count:,} rooms",
        f"{world.count:,} rooms with {MESSAGES} messages and one listener each, in an SQLite file on a disk; the "
        "service's own delivery without a wire, in one process on one core. A stall is by how much a timer of one "
        "millisecond was late; its own part is at most the CPU that the process took meanwhile. Median (least-most) "
        "of the rounds.",
        ["", "took ms", "CPU ms", "longest stall ms", "its own part ms"],
        [
            ["a check that finds nothing", spread(took_ms), spread(cpu_ms), spread(stall_ms), spread(own_ms)],
            ["every room behind by one revision, until all listeners have it", f"{caught_ms:.0f}",
             f"{caught_cpu_ms:.0f}", f"{beats.worst_ms:.1f}", f"{beats.own_ms:.1f}"],
        ],
    )  # fmt: skip
    report.notes += [
        f"With nothing to do, {asked} queries in {WATCH_S:.0f} s, {WATCH_S / max(asked, 1):.1f} s apart; the longest "
        f"stall of its own meanwhile was {idle_ms:.1f} ms.",
        f"That is {statistics.median(cpu_ms) * asked / WATCH_S / 10:.2f} % of a core.",
        load_note(),
    ]
    report.goals += [
        Goal("queries in 30 s with nothing to do", 9, asked, ""),
        Goal("longest stall of a check, its own part", STALL_MS, max(own_ms), "ms"),
    ]
    return report


async def _catch_up(world: World) -> None:
    world.delivery.start()
    world.delivery.refill_all()
    await world.wait_told(world.count)


@click.command()
@click.option("--rooms", default=10_000, show_default=True, help="How many rooms have a listener.")
@click.option("--rounds", default=20, show_default=True)
@click.option(
    "--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where the file goes: a disk."
)
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def headcheck(rooms: int, rounds: int, data: Path, save: Path | None) -> None:
    """What it costs to compare the feeds of many rooms with the store."""
    console = terminal()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    pin_load()
    with data_directory(data) as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(measure(directory / "hubbub.db", rooms, rounds, console))
    report.show(console)
    if save is not None:
        report.write(save)
