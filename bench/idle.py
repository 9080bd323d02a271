"""Memory per idle connection, with compression offered by the clients and without."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console

from bench.crowd import as_many_as_fit, crowd, member_of
from bench.goals import Goal
from bench.processes import ROOT, data_directory, pin_load
from bench.report import Report, load_note, progress, spread, terminal
from bench.seed import seed, users
from bench.servers import HUBBUB, NODE, STOCK, Target, store_path, targets

__all__ = ["idle", "measure_idle"]

ROOM: Final = "bench-crowd"
WARM_UP: Final = 100
"""Connections that come and go before, so that what is set up once is not counted."""
SETTLE_S: Final = 2.0
GOAL_KB: Final = 8.0


@dataclass
class Case:
    """One row: a server, and whether its clients offer permessage-deflate."""

    name: str
    deflate: bool
    kb: list[float] = field(default_factory=list)
    before_mb: list[float] = field(default_factory=list)
    idle_cpu: list[float] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.name}, {'deflate offered' if self.deflate else 'no deflate'}"

    async def round(self, directory: Path, *, count: int) -> None:
        """A new process each time: what connections leave behind would hide what they take."""
        if self.name == HUBBUB:
            await seed(store_path(directory), {ROOM: users("member", count)})
        async with targets([self.name], data=directory) as (target,):
            nobody = target.server.sockets()
            await self._fill(target, min(count, WARM_UP))
            await target.server.wait_sockets(nobody)
            await asyncio.sleep(0.5)
            before_kb = target.server.memory_kb()
            after_kb = await self._fill(target, count)
        self.kb.append((after_kb - before_kb) / count)
        self.before_mb.append(before_kb / 1024)

    async def _fill(self, target: Target, count: int) -> int:
        """Open `count` connections; returns what memory the server then takes, in KiB."""
        async with crowd() as clients:
            await clients.open(target, users("member", count), member_of(target, ROOM), deflate=self.deflate)
            cpu_s = target.server.cpu_s()
            await asyncio.sleep(SETTLE_S)
            self.idle_cpu.append((target.server.cpu_s() - cpu_s) / SETTLE_S * 100)
            clients.check()
            return target.server.memory_kb()


async def measure_idle(console: Console, *, count: int, rounds: int, data: Path) -> Report:
    """Measure the servers one after the other, round by round."""
    count = as_many_as_fit(count)
    cases = [Case(name, deflate) for deflate in (False, True) for name in (HUBBUB, STOCK, NODE)]
    with progress(console) as bar:
        task = bar.add_task("idle", total=rounds * len(cases))
        for _ in range(rounds):
            for case in cases:
                bar.update(task, description=case.title, refresh=True)
                with data_directory(data) as directory:
                    await case.round(directory, count=count)
                bar.advance(task)
    return _report(cases, count, rounds)


def _report(cases: list[Case], count: int, rounds: int) -> Report:
    report = Report(
        title="Memory per idle connection",
        method=(
            f"By how much the resident memory of a server has grown {SETTLE_S:g} s after {count:,} WebSocket clients "
            f"have joined one room, per client. For Hubbub each is a user of its own, and a member. The server is a "
            f"new process, which {WARM_UP} clients have visited before. Median (least-most) of {rounds} rounds. "
            "*Deflate offered*: the clients offer permessage-deflate, as browsers do, and the server takes it or not."
        ),
        columns=["server", "KiB/connection", "MiB without them", "CPU of the idle server %"],
        rows=[
            [
                case.title,
                spread(case.kb),
                f"{statistics.median(case.before_mb):.0f}",
                f"{statistics.median(case.idle_cpu[1::2]):.1f}",
            ]
            for case in cases
        ],
        notes=[
            "Memory of the kernel, for the sockets, is the same for all and not counted.",
            load_note(),
        ],
    )
    for case in cases:
        if case.name == HUBBUB:
            how = "deflate offered" if case.deflate else "no deflate"
            report.goals.append(
                Goal(f"memory per idle connection, {how}", GOAL_KB, statistics.median(case.kb), unit="KiB")
            )
    return report


@click.command()
@click.option("--count", default=5000, show_default=True, help="Connections.")
@click.option("--rounds", default=1, show_default=True, help="Rounds of each server; memory hardly varies.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def idle(count: int, rounds: int, data: Path, save: Path | None) -> None:
    """Memory per idle connection, with and without permessage-deflate."""
    console = terminal()
    pin_load()
    report = uvloop.run(measure_idle(console, count=count, rounds=rounds, data=data))
    report.show(console)
    if save is not None:
        report.write(save)
