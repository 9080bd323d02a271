"""CPU per connect: a client of Hubbub comes in with a token and joins a room; a client of its peers just comes in."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import uvloop
from rich.console import Console

from bench.crowd import OPEN_AT_ONCE, as_many_as_fit, bare, crowd
from bench.goals import Goal
from bench.processes import ROOT, data_directory, filesystem_of, pin_load
from bench.report import Report, load_note, progress, ratio, spread, terminal
from bench.seed import seed, users
from bench.servers import HUBBUB, NODE, STOCK, Target, store_path, targets
from bench.wire import Wire

__all__ = ["connects", "measure_connects"]

ROOM: Final = "bench-crowd"
SETTLE_S: Final = 0.1
GOAL: Final = 1.25
"""A connect with token and join, beside Node's with nothing."""


@dataclass
class Case:
    """One row. `greet` is what a client does once it is connected, given its number."""

    title: str
    target: Target
    prefix: str
    greet: Callable[[int, Wire], Awaitable[Any]]
    cpu_us: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    sockets: int = 0

    async def round(self, number: int, *, count: int) -> None:
        """Let `count` users connect, and then go."""
        server, loop = self.target.server, asyncio.get_running_loop()
        names = users(self.prefix, count, first=number * count)
        numbers = iter(range(count))
        self.sockets = self.sockets or server.sockets()
        async with crowd() as clients:
            cpu_s, began = server.cpu_s(), loop.time()
            await clients.open(self.target, names, lambda wire: self.greet(next(numbers), wire))
            wall_s = loop.time() - began
            await asyncio.sleep(SETTLE_S)
            cpu_s = server.cpu_s() - cpu_s
            clients.check()
        await server.wait_sockets(self.sockets)
        await asyncio.sleep(SETTLE_S)
        self.cpu_us.append(cpu_s / count * 1e6)
        self.per_s.append(count / wall_s)
        self.busy.append(cpu_s / wall_s * 100)


async def measure_connects(console: Console, *, count: int, rounds: int, data: Path) -> Report:
    """Measure all servers in one run, round by round in turn. The first round warms up."""
    count = as_many_as_fit(count)
    with data_directory(data) as directory:
        rooms = {ROOM: users("member", count * (rounds + 1))} | {f"bench-{n}": ["owner"] for n in range(count)}
        await seed(store_path(directory), rooms)
        async with targets([HUBBUB, STOCK, NODE], data=directory) as started:
            cases = [case for target in started for case in _cases(target)]
            with progress(console) as bar:
                task = bar.add_task("connects", total=(rounds + 1) * len(cases))
                for number in range(rounds + 1):
                    for case in cases:
                        bar.update(task, description=case.title, refresh=True)
                        await case.round(number, count=count)
                        bar.advance(task)
        return _report(cases, count, rounds, filesystem_of(directory))


def _cases(target: Target) -> list[Case]:
    async def nothing(number: int, wire: Wire) -> None:
        await bare(wire)

    async def join(number: int, wire: Wire) -> None:
        await wire.call("room:join", {"room": ROOM, "limit": 1})

    async def join_first(number: int, wire: Wire) -> None:
        await wire.call("room:join", {"room": f"bench-{number}", "limit": 1})

    if not target.is_hubbub:
        return [Case(f"{target.name}, bare", target, "client", nothing)]
    return [
        Case(f"{HUBBUB}, token and join", target, "member", join),
        Case(f"{HUBBUB}, token only", target, "member", nothing),
        Case(f"{HUBBUB}, token and first join", target, "stranger", join_first),
    ]


def _report(cases: list[Case], count: int, rounds: int, filesystem: str) -> Report:
    node = next(case for case in cases if case.target.name == NODE)
    stock = next(case for case in cases if case.target.name == STOCK)
    report = Report(
        title="CPU per connect",
        method=(
            f"{count:,} WebSocket clients, each a user of its own, connect {OPEN_AT_ONCE} at a time and stay until "
            f"all are there; median (least-most) of {rounds} rounds, servers in turn, after one that does not count. "
            "*Bare* is the upgrade and the CONNECT of `/chat`. For Hubbub the CONNECT brings a token signed with "
            "HS256, which is checked, and is answered by `hello` too; with *join* a member joins one room that all "
            "of them join (`limit: 1`, nothing written in it); with *first join* a stranger joins a public room and "
            f"becomes a member, which is stored with `synchronous=FULL` on {filesystem}. CPU is user and system time "
            "of all threads of the server process. 2 cores, shared: the server on one, the load on the other."
        ),
        columns=[
            "server",
            "CPU us/connect",
            "x Node, bare",
            "x stock, bare",
            "connects/s seen",
            "busy %",
            "us, round by round",
        ],
    )
    for case in cases:
        # The first round is the warm-up.
        report.rows.append(
            [
                case.title,
                spread(case.cpu_us[1:], digits=0),
                f"{ratio(case.cpu_us[1:], node.cpu_us[1:]):.2f}",
                f"{ratio(case.cpu_us[1:], stock.cpu_us[1:]):.2f}",
                f"{statistics.median(case.per_s[1:]):,.0f}",
                f"{statistics.median(case.busy[1:]):.0f}",
                " ".join(f"{each:.0f}" for each in case.cpu_us),
            ]
        )
    report.goals.append(
        Goal("connect with token and join, to Node's bare one", GOAL, ratio(cases[0].cpu_us[1:], node.cpu_us[1:]))
    )
    report.notes += [
        "`Round by round` begins with the round that does not count, in which nothing is warm yet.",
        "`x` are medians of the ratios of each round. A connect ends with the last answer that its client waits for.",
        load_note(),
    ]
    return report


@click.command()
@click.option("--count", default=500, show_default=True, help="Connects in a round.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each server.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def connects(count: int, rounds: int, data: Path, save: Path | None) -> None:
    """CPU per connect: Hubbub's with token and join, its peers' with nothing."""
    console = terminal()
    pin_load()
    report = uvloop.run(measure_connects(console, count=count, rounds=rounds, data=data))
    report.show(console)
    if save is not None:
        report.write(save)
