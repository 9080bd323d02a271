"""CPU per acknowledged message: Hubbub's durable acks beside acks of servers that check and store nothing."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console

from bench.goals import Goal
from bench.processes import ROOT, data_directory, filesystem_of, pin_load
from bench.report import Report, load_note, percentile, progress, spread, terminal
from bench.senders import Sender, body_of, senders
from bench.servers import HUBBUB, NODE, STOCK, Target, targets

__all__ = ["acks", "measure_acks"]

OWN: Final = "own rooms"
SHARED: Final = "one room"
WARM_UP_S: Final = 0.5
BODY_BYTES: Final = 100


@dataclass
class Case:
    """One row of the table: a server, how the senders share rooms, and how many sends each has in flight."""

    target: Target
    wires: list[Sender]
    rooms: str
    window: int
    cpu_us: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    pushed: list[float] = field(default_factory=list)
    stored: Counter[str] = field(default_factory=Counter)
    """By room, the acks that its senders got."""

    def room(self, number: int) -> str:
        return "bench-shared" if self.rooms == SHARED else f"bench-{number}"

    async def round(self, number: int, *, duration_s: float, body: str) -> None:
        """One round: begin, warm up, measure, drain."""
        loop = asyncio.get_running_loop()
        key = f"{self.rooms[0]}{self.window}-{number}"
        counts = [wire.acks for wire in self.wires]
        for index, wire in enumerate(self.wires):
            wire.begin(room=self.room(index), event="message:send", key=key, body=body, window=self.window)
        await asyncio.sleep(WARM_UP_S)
        for wire in self.wires:
            wire.latencies_ms.clear()
        before = (
            self.target.server.cpu_s(),
            loop.time(),
            sum(w.acks for w in self.wires),
            sum(w.events for w in self.wires),
        )
        await asyncio.sleep(duration_s)
        after = (
            self.target.server.cpu_s(),
            loop.time(),
            sum(w.acks for w in self.wires),
            sum(w.events for w in self.wires),
        )
        cpu_s, wall_s, acks, pushed = (now - then for now, then in zip(after, before, strict=True))
        await asyncio.gather(*(wire.finish() for wire in self.wires))
        for index, wire in enumerate(self.wires):
            self.stored[self.room(index)] += wire.acks - counts[index]
        if not acks:
            raise RuntimeError(f"{self.target.name} acknowledged nothing")
        self.cpu_us.append(cpu_s / acks * 1e6)
        self.per_s.append(acks / wall_s)
        self.busy.append(cpu_s / wall_s * 100)
        self.pushed.append(pushed / acks)
        for wire in self.wires:
            self.latencies_ms += wire.latencies_ms


async def measure_acks(
    console: Console, *, connections: int, windows: Sequence[int], rounds: int, duration_s: float, data: Path
) -> Report:
    """Measure all servers in one run, round by round in turn."""
    with data_directory(data) as directory:
        async with targets([HUBBUB, STOCK, NODE], data=directory) as started:
            cases = await _cases(started, connections, windows)
            with progress(console) as bar:
                task = bar.add_task("acks", total=rounds * len(cases))
                for number in range(rounds):
                    for case in cases:
                        bar.update(
                            task, description=f"{case.target.name}, {case.rooms}, window {case.window}", refresh=True
                        )
                        await case.round(number, duration_s=duration_s, body=body_of(BODY_BYTES))
                        bar.advance(task)
            await _check_stored(cases)
        return _report(cases, connections, rounds, duration_s, filesystem_of(directory))


async def _cases(started: list[Target], connections: int, windows: Sequence[int]) -> list[Case]:
    wires: dict[str, list[Sender]] = {}
    for target in started:
        if target.is_hubbub:
            await _make_members(target, connections)
        wires[target.name] = await senders(target, connections, prefix="sender")
    return [
        Case(target, wires[target.name], rooms, window)
        for window in windows
        for target in started
        for rooms in ((OWN, SHARED) if target.is_hubbub else (OWN,))
    ]


async def _make_members(target: Target, connections: int) -> None:
    """Give each sender a room of its own and all one room together. Their connections end, and with them the
    subscriptions; membership stays.
    """
    wires = await senders(target, connections, prefix="sender")
    await wires[0].call("room:create", {"id": "bench-shared", "title": "Shared", "kind": "public"})
    for number, wire in enumerate(wires):
        await wire.call("room:create", {"id": f"bench-{number}", "title": f"Room {number}", "kind": "public"})
        await wire.call("room:join", {"room": "bench-shared", "limit": 1})
    for wire in wires:
        await wire.close()


async def _check_stored(cases: list[Case]) -> None:
    """Every acknowledged message must be in its room: that many, and the last of them has that revision."""
    expected: Counter[str] = Counter()
    for case in cases:
        if case.target.is_hubbub:
            expected.update(case.stored)
    wire = next(case.wires[0] for case in cases if case.target.is_hubbub)
    for room, count in expected.items():
        last = (await wire.call("history:fetch", {"room": room, "limit": 1}))["messages"][-1]
        if last["rev"] != count:
            raise RuntimeError(f"{count} messages were acknowledged in {room}, but its last revision is {last['rev']}")


def _report(cases: list[Case], connections: int, rounds: int, duration_s: float, filesystem: str) -> Report:
    report = Report(
        title="CPU per ack",
        method=(
            f"{connections} senders over WebSocket, each a user of its own with `window` sends in flight, bodies of "
            f"{BODY_BYTES} bytes; median (least-most) of {rounds} rounds of {duration_s:g} s, servers in turn. Hubbub "
            "is the whole service: tokens checked, requests validated, members checked, stored with "
            f"`synchronous=FULL` on {filesystem}, sequenced. The others answer `{{ok: true}}` and do nothing else. "
            "CPU is user and system time of all threads of the server process. 2 cores, shared: the server on one, "
            "the load on the other."
        ),
        columns=[
            "server",
            "window",
            "CPU us/ack",
            "x stock",
            "x Node",
            "acks/s, full core",
            "acks/s seen",
            "busy %",
            "p50 ms",
            "p99 ms",
            "pushed/ack",
        ],
    )
    for case in cases:
        title = f"{case.target.name}, {case.rooms}" if case.target.is_hubbub else f"{case.target.name}, bare"
        latencies = sorted(case.latencies_ms)
        report.rows.append(
            [
                title,
                str(case.window),
                spread(case.cpu_us),
                f"{_ratio(case, cases, STOCK):.2f}",
                f"{_ratio(case, cases, NODE):.2f}",
                f"{1e6 / statistics.median(case.cpu_us):,.0f}",
                f"{statistics.median(case.per_s):,.0f}",
                f"{statistics.median(case.busy):.0f}",
                f"{percentile(latencies, 50):.1f}",
                f"{percentile(latencies, 99):.1f}",
                f"{statistics.median(case.pushed):.3f}",
            ]
        )
    report.goals += [
        Goal(
            f"CPU per durable ack, {case.rooms}, window {case.window}, beside a bare one of python-socketio", 1.0, ratio
        )
        for case in cases
        if case.target.is_hubbub
        for ratio in (_ratio(case, cases, STOCK),)
    ]
    report.notes += [
        "`x stock` and `x Node` are medians of the ratios of each round to that server with the same window.",
        "`acks/s, full core` is what the CPU per ack allows; `seen` is what came, with the core busy for `busy %`.",
        "Latencies are those of a queue that is never empty: senders times window sends are always waiting.",
        load_note(),
    ]
    return report


def _ratio(case: Case, cases: list[Case], name: str) -> float:
    other = next(c for c in cases if c.target.name == name and c.window == case.window)
    return statistics.median(a / b for a, b in zip(case.cpu_us, other.cpu_us, strict=True))


@click.command()
@click.option("--connections", default=64, show_default=True, help="Senders.")
@click.option(
    "--window", "windows", multiple=True, type=int, default=(1, 8), show_default=True, help="Sends in flight."
)
@click.option("--rounds", default=5, show_default=True, help="Rounds of each server and window.")
@click.option("--duration", "duration_s", default=3.0, show_default=True, help="Seconds per round.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def acks(
    connections: int, windows: tuple[int, ...], rounds: int, duration_s: float, data: Path, save: Path | None
) -> None:
    """CPU per ack: Hubbub's durable ones, stock python-socketio's and Node's bare ones."""
    console = terminal()
    pin_load()
    report = uvloop.run(
        measure_acks(console, connections=connections, windows=windows, rounds=rounds, duration_s=duration_s, data=data)
    )
    report.show(console)
    if save is not None:
        report.write(save)


if __name__ == "__main__":
    acks()
