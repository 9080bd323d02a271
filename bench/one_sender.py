"""The latency of acks where nothing else happens: one sender with one send in flight.

An ack cannot be sooner than the sync of its insert, and not sooner than an echo over the same wire. What Hubbub takes
is compared with both together, measured in the same run on the same disk and the same cores.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console

from bench.goals import Goal
from bench.processes import ROOT, SERVER_CORE, data_directory, filesystem_of, pin_load
from bench.report import Report, load_note, percentile, progress, spread, terminal
from bench.senders import Sender, body_of, senders
from bench.servers import HUBBUB, STOCK, store_path, targets

__all__ = ["measure_one_sender", "one_sender"]

INSERT: Final = "one synced insert, a plain script"
ROOM: Final = "bench-one"
BODY_BYTES: Final = 100
WARM_UP_S: Final = 0.3
WARM_UP_MOST_S: Final = 120.0
LOG_BYTES: Final = 16 * 2**20
"""Where Hubbub's store lets its log start anew."""

GOAL: Final = 1.3


async def measure_one_sender(console: Console, *, rounds: int, duration_s: float, data: Path) -> Report:
    """Measure the insert, the echo and Hubbub in turn, round by round."""
    found: dict[str, list[tuple[float, float]]] = {INSERT: [], STOCK: [], HUBBUB: []}
    with data_directory(data) as directory:
        async with targets([HUBBUB, STOCK], data=directory) as started:
            wires = {target.name: (await senders(target, 1, prefix="sender"))[0] for target in started}
            await wires[HUBBUB].call("room:create", {"id": ROOM, "title": "One", "kind": "public"})
            await _warm_up(wires[HUBBUB], store_path(directory))
            with progress(console) as bar:
                task = bar.add_task("one sender", total=rounds * len(found))
                for number in range(rounds):
                    for name in found:
                        bar.update(task, description=name, refresh=True)
                        if name == INSERT:
                            latencies = await _inserts(directory / "plain.db", duration_s)
                        else:
                            latencies = await _acks(wires[name], number, duration_s)
                        found[name].append((percentile(latencies, 50), percentile(latencies, 99)))
                        bar.advance(task)
        return _report(found, rounds, duration_s, filesystem_of(directory))


async def _warm_up(wire: Sender, store: Path) -> None:
    """Send until the log of the store has the size that it keeps, for the reason that `plain_insert.WARM_UP` has."""
    log = store.with_name(f"{store.name}-wal")
    wire.begin(room=ROOM, event="message:send", key="warm", body=body_of(BODY_BYTES), window=4)
    async with asyncio.timeout(WARM_UP_MOST_S):
        while log.stat().st_size < LOG_BYTES:  # noqa: ASYNC110 (another process, which tells us nothing)
            await asyncio.sleep(0.05)
    await wire.finish()


async def _inserts(path: Path, duration_s: float) -> Sequence[float]:
    command = [sys.executable, "-m", "bench.plain_insert", str(path), str(duration_s), body_of(BODY_BYTES)]
    process = await asyncio.create_subprocess_exec(
        *("taskset", "-c", str(SERVER_CORE), *command), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError("the plain inserts failed")
    return sorted(json.loads(output))


async def _acks(wire: Sender, number: int, duration_s: float) -> Sequence[float]:
    wire.begin(room=ROOM, event="message:send", key=f"{number}", body=body_of(BODY_BYTES), window=1)
    await asyncio.sleep(WARM_UP_S)
    wire.latencies_ms.clear()
    await asyncio.sleep(duration_s)
    latencies = sorted(wire.latencies_ms)
    await wire.finish()
    return latencies


def _report(found: dict[str, list[tuple[float, float]]], rounds: int, duration_s: float, filesystem: str) -> Report:
    middles = {name: [p50 for p50, _ in pairs] for name, pairs in found.items()}
    ratios = [
        ours / (insert + echo)
        for ours, insert, echo in zip(middles[HUBBUB], middles[INSERT], middles[STOCK], strict=True)
    ]
    report = Report(
        title="One sender",
        method=(
            f"One sender with one send in flight, bodies of {BODY_BYTES} bytes; median (least-most) of {rounds} rounds "
            f"of {duration_s:g} s, in turn. The insert is of a row with that body by a script that does nothing else, "
            f"in SQLite with `synchronous=FULL` on {filesystem}. The echo is stock python-socketio's bare ack. Hubbub "
            "is the whole service, with the same `synchronous=FULL` on the same disk."
        ),
        columns=["what", "p50 ms", "p99 ms", "x insert + echo"],
    )
    titles = {INSERT: INSERT, STOCK: f"{STOCK}, bare echo", HUBBUB: "Hubbub, durable ack"}
    for name, pairs in found.items():
        report.rows.append(
            [
                titles[name],
                spread([p50 for p50, _ in pairs], digits=3),
                spread([p99 for _, p99 in pairs], digits=2),
                spread(ratios, digits=2) if name == HUBBUB else "",
            ]
        )
    report.notes += [
        "`x insert + echo`: Hubbub's median beside the medians of the other two together, of each round.",
        load_note(),
    ]
    report.goals.append(Goal("latency of a lone ack, beside insert + echo", GOAL, statistics.median(ratios)))
    return report


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Rounds of each.")
@click.option("--duration", "duration_s", default=2.0, show_default=True, help="Seconds per round.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def one_sender(rounds: int, duration_s: float, data: Path, save: Path | None) -> None:
    """Latency of a lone ack, beside a synced insert and a bare echo."""
    console = terminal()
    pin_load()
    report = uvloop.run(measure_one_sender(console, rounds=rounds, duration_s=duration_s, data=data))
    report.show(console)
    if save is not None:
        report.write(save)


if __name__ == "__main__":
    one_sender()
