"""Ten thousand clients leave at once: how long does the server answer nobody, and how long until it has let them go?"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console

from bench.crowd import as_many_as_fit, crowd, member_of
from bench.processes import LET_GO_TIMEOUT_S, ROOT, data_directory, pin_load
from bench.pulse import taken
from bench.report import Report, load_note, progress, spread, terminal
from bench.scrape import samples
from bench.seed import seed, users
from bench.servers import HUBBUB, NODE, STOCK, Target, store_path, targets

__all__ = ["leave", "measure_leave"]

ROOM: Final = "bench-crowd"
CALM_S: Final = 2.0
LONG_MS: Final = 50.0
_CONNECTIONS: Final = "hubbub_connections"


@dataclass
class Case:
    """One row: a server that is left."""

    name: str
    calm_ms: list[float] = field(default_factory=list)
    worst_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    long: list[int] = field(default_factory=list)
    let_go_s: list[float] = field(default_factory=list)
    counted_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    async def round(self, directory: Path, *, count: int) -> None:
        """A new process each time: fill it, and leave it."""
        if self.name == HUBBUB:
            await seed(store_path(directory), {ROOM: users("member", count)})
        async with targets([self.name], data=directory) as (target,), crowd() as clients:
            nobody = target.server.sockets()
            await clients.open(target, users("member", count), member_of(target, ROOM))
            await asyncio.sleep(1)
            async with taken(target.server.url) as pulse:
                await asyncio.sleep(CALM_S)
                clients.check()
                cpu_s, left = target.server.cpu_s(), time.monotonic()
                await clients.kill()
                await target.server.wait_sockets(nobody + 1)  # The one on which the pulse is taken.
                gone = time.monotonic()
                await self._wait_counted(target)
                await asyncio.sleep(0.5)
                self.cpu_us.append((target.server.cpu_s() - cpu_s) / count * 1e6)
                end = time.monotonic()
            calm, storm = pulse.between(left - CALM_S + 0.5, left - 0.1), pulse.between(left, end)
        self.calm_ms.append(calm.worst_ms)
        self.worst_ms.append(storm.worst_ms)
        self.late_ms.append(storm.worst_pause_ms)
        self.long.append(storm.over(LONG_MS))
        self.let_go_s.append(gone - left)

    async def _wait_counted(self, target: Target) -> None:
        """Wait until Hubbub itself says that nobody is there."""

        async def count() -> float:
            return sum((await samples(target.server.url, _CONNECTIONS)).values())

        if not target.is_hubbub:
            return
        began = time.monotonic()
        async with asyncio.timeout(LET_GO_TIMEOUT_S):
            while await count():  # noqa: ASYNC110 (another process, which tells us nothing)
                await asyncio.sleep(0.02)
        self.counted_s.append(time.monotonic() - began)


async def measure_leave(console: Console, *, count: int, rounds: int, data: Path) -> Report:
    """Measure the servers one after the other, round by round."""
    count = as_many_as_fit(count)
    cases = [Case(name) for name in (HUBBUB, STOCK, NODE)]
    with progress(console) as bar:
        task = bar.add_task("leave", total=rounds * len(cases))
        for _ in range(rounds):
            for case in cases:
                bar.update(task, description=case.name, refresh=True)
                with data_directory(data) as directory:
                    await case.round(directory, count=count)
                bar.advance(task)
    return _report(cases, count, rounds)


def _report(cases: list[Case], count: int, rounds: int) -> Report:
    return Report(
        title="Everybody leaves at once",
        method=(
            f"{count:,} WebSocket clients have joined one room; then the process that holds them is killed. Meanwhile "
            "another one asks for `GET /healthz` on a connection of its own, again a millisecond after each answer: "
            "the longest wait for an answer is how long the server's loop was held up. Median (least-most) of "
            f"{rounds} rounds, each with a new process. The server is on one core, the load on the other."
        ),
        columns=[
            "server",
            "longest wait ms",
            f"waits over {LONG_MS:g} ms",
            "before, ms",
            "of it the load's own ms, at most",
            "all let go after s",
            "0 in /metrics after s",
            "CPU us/leave",
        ],
        rows=[
            [
                case.name,
                spread(case.worst_ms),
                f"{statistics.median(case.long):g}",
                f"{statistics.median(case.calm_ms):.1f}",
                f"{statistics.median(case.late_ms):.1f}",
                spread(case.let_go_s, digits=2),
                f"{statistics.median(a + b for a, b in zip(case.let_go_s, case.counted_s, strict=True)):.2f}"
                if case.counted_s
                else "",
                spread(case.cpu_us),
            ]
            for case in cases
        ],
        notes=[
            "`before`: the longest wait while all were there and silent. `The load's own`: the most by which a pause "
            "of the process that asks was too long, because the core of the load was busy closing.",
            "`All let go`: the server has closed its side of every connection.",
            load_note(),
        ],
    )


@click.command()
@click.option("--count", default=10_000, show_default=True, help="Connections, or as many as a process may have.")
@click.option("--rounds", default=3, show_default=True, help="Rounds of each server.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def leave(count: int, rounds: int, data: Path, save: Path | None) -> None:
    """For how long the server answers nobody when ten thousand clients leave at once."""
    console = terminal()
    pin_load()
    report = uvloop.run(measure_leave(console, count=count, rounds=rounds, data=data))
    report.show(console)
    if save is not None:
        report.write(save)
