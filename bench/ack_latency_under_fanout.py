"""Latency of one sender's acks in one room while fan-out in another keeps the server's loop busy.

Hubbub commits on a thread. Python runs one thread at a time, so a loop that never rests could starve it; this shows
whether it does. A peer stores nothing: its column shows how much of the latency is waiting for the loop alone.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console

from bench.processes import ROOT, data_directory, filesystem_of, pin_load
from bench.report import Report, load_note, percentile, progress, terminal
from bench.scrape import Samples, mean_ms, samples, upper_bound_ms
from bench.senders import Listener, Sender, body_of, listeners, senders
from bench.servers import HUBBUB, NODE, STOCK, Target, targets

__all__ = ["fanout", "measure_fanout"]

QUIET: Final = "bench-quiet"
BUSY: Final = "bench-busy"
BODY_BYTES: Final = 100
WARM_UP_S: Final = 0.5
_COMMIT: Final = "hubbub_commit_seconds"


@dataclass
class Scene:
    """A server with a sender in a quiet room, and a sender and listeners in a busy one."""

    target: Target
    quiet: Sender
    busy: Sender
    audience: list[Listener]

    @property
    def deliveries(self) -> int:
        return sum(listener.deliveries for listener in self.audience)


@dataclass
class Case:
    """One row: a scene, and how many sends the busy room's sender has in flight (0: the room is silent)."""

    scene: Scene
    window: int
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    worst_ms: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    commit_ms: list[float] = field(default_factory=list)
    commit_p99_ms: list[float] = field(default_factory=list)

    async def round(self, number: int, *, duration_s: float) -> None:
        """One round; what the busy room gets begins first and ends last."""
        scene, server, loop = self.scene, self.scene.target.server, asyncio.get_running_loop()
        body = body_of(BODY_BYTES)
        key = f"{self.window}-{number}"
        if self.window:
            scene.busy.begin(room=BUSY, event=scene.target.spread_event, key=key, body=body, window=self.window)
        scene.quiet.begin(room=QUIET, event="message:send", key=key, body=body, window=1)
        await asyncio.sleep(WARM_UP_S)
        scene.quiet.latencies_ms.clear()
        commits = await self._commits()
        before = server.cpu_s(), loop.time(), scene.deliveries
        await asyncio.sleep(duration_s)
        cpu_s, wall_s, delivered = (
            now - then for now, then in zip((server.cpu_s(), loop.time(), scene.deliveries), before, strict=True)
        )
        latencies = sorted(scene.quiet.latencies_ms)
        self._add_commits(commits, await self._commits())
        await scene.quiet.finish()
        await scene.busy.finish()
        if not latencies:
            raise RuntimeError(f"{server.name} acknowledged nothing in the quiet room within {duration_s:g} s")
        self.p50_ms.append(percentile(latencies, 50))
        self.p99_ms.append(percentile(latencies, 99))
        self.worst_ms.append(latencies[-1])
        self.per_s.append(delivered / wall_s)
        self.busy.append(cpu_s / wall_s * 100)

    async def _commits(self) -> Samples:
        return await samples(self.scene.target.server.url, _COMMIT) if self.scene.target.is_hubbub else {}

    def _add_commits(self, before: Samples, after: Samples) -> None:
        if after:
            self.commit_ms.append(mean_ms(before, after, _COMMIT))
            self.commit_p99_ms.append(upper_bound_ms(before, after, _COMMIT, 99))

    def cells(self) -> list[str]:
        load = f"{self.window} in flight" if self.window else "silent"
        commits = ["", ""]
        if self.commit_ms:
            commits = [f"{statistics.median(self.commit_ms):.1f}", f"{statistics.median(self.commit_p99_ms):g}"]
        return [
            f"{self.scene.target.name}, busy room {load}",
            f"{statistics.median(self.per_s):,.0f}",
            f"{statistics.median(self.busy):.0f}",
            f"{statistics.median(self.p50_ms):.1f}",
            f"{statistics.median(self.p99_ms):.1f}",
            f"{max(self.worst_ms):.1f}",
            *commits,
        ]


async def measure_fanout(
    console: Console, *, audience: int, windows: Sequence[int], rounds: int, duration_s: float, peers: bool, data: Path
) -> Report:
    """Measure all scenes in one run, round by round in turn."""
    names = [HUBBUB, STOCK, NODE] if peers else [HUBBUB]
    with data_directory(data) as directory:
        async with targets(names, data=directory) as started:
            scenes = [await _scene(target, audience) for target in started]
            cases = [Case(scene, window) for scene in scenes for window in (0, *windows)]
            with progress(console) as bar:
                task = bar.add_task("fan-out", total=rounds * len(cases))
                for number in range(rounds):
                    for case in cases:
                        bar.update(task, description=case.scene.target.name, refresh=True)
                        await case.round(number, duration_s=duration_s)
                        bar.advance(task)
        report = _report(audience, rounds, duration_s, filesystem_of(directory))
    report.rows = [case.cells() for case in cases]
    report.notes.append(load_note())
    return report


async def _scene(target: Target, audience: int) -> Scene:
    quiet, busy = await senders(target, 2, prefix="fanout-sender")
    if target.is_hubbub:
        await quiet.call("room:create", {"id": QUIET, "title": "Quiet", "kind": "public"})
        await busy.call("room:create", {"id": BUSY, "title": "Busy", "kind": "public", "capacity": audience + 1})
    return Scene(target, quiet, busy, await listeners(target, audience, prefix="listener", room=BUSY))


def _report(audience: int, rounds: int, duration_s: float, filesystem: str) -> Report:
    return Report(
        title="Acks while fan-out keeps the loop busy",
        method=(
            "One sender in a quiet room, one send in flight; beside it a room with "
            f"{audience} subscribed connections, each a user of its own, and a sender with some sends in flight. "
            f"Bodies of {BODY_BYTES} bytes, WebSocket; medians of {rounds} rounds of {duration_s:g} s, in turn. "
            f"Hubbub's acks are durable (`synchronous=FULL` on {filesystem}); the others' are bare. Latencies are of "
            "the quiet room's sender, as the load generator sees them, which reads the deliveries too. Commits are "
            "what Hubbub's own metric says: the mean, and the upper bound of the bucket with the 99th percentile. "
            "2 cores, shared: the server on one, the load on the other."
        ),
        columns=[
            "server and load",
            "deliveries/s",
            "busy %",
            "ack p50 ms",
            "ack p99 ms",
            "ack worst ms",
            "commit mean ms",
            "commit p99 below ms",
        ],
    )


@click.command()
@click.option("--audience", default=200, show_default=True, help="Subscribed connections in the busy room.")
@click.option(
    "--window", "windows", multiple=True, type=int, default=(1, 4), show_default=True, help="Sends in flight."
)
@click.option("--rounds", default=5, show_default=True, help="Rounds of each server and load.")
@click.option("--duration", "duration_s", default=3.0, show_default=True, help="Seconds per round.")
@click.option("--peers/--no-peers", default=True, show_default=True, help="Measure the other servers too.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def fanout(
    audience: int,
    windows: tuple[int, ...],
    rounds: int,
    duration_s: float,
    peers: bool,
    data: Path,
    save: Path | None,
) -> None:
    """Latency of acks in one room while fan-out in another keeps the loop busy."""
    console = terminal()
    pin_load()
    report = uvloop.run(
        measure_fanout(
            console, audience=audience, windows=windows, rounds=rounds, duration_s=duration_s, peers=peers, data=data
        )
    )
    report.show(console)
    if save is not None:
        report.write(save)


if __name__ == "__main__":
    fanout()
