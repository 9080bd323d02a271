"""Motor beside PyMongo's AsyncMongoClient, on what Hubbub does with MongoDB.

Hubbub does not depend on Motor, so this runs in an environment of its own:

    python3.11 -m venv var/mongo-bench
    var/mongo-bench/bin/pip install pymongo motor secantusdb uvloop click rich
    var/mongo-bench/bin/python -m bench.mongo_clients

SecantusDB speaks MongoDB's wire protocol; it is started here, as a process of its own that syncs on commit. `--uri`
measures against another server, such as MongoDB's own. What is measured is the client, not the server.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from bench.processes import LOAD_CORE, ROOT, SERVER_CORE, data_directory, filesystem_of
from bench.report import Report, load_note, progress, spread, terminal

__all__ = ["mongo"]

DRIVERS: Final = ("pymongo", "motor")
START_TIMEOUT_S: Final = 20.0

Figures = dict[str, dict[str, float]]


@contextlib.contextmanager
def _server(directory: Path) -> Iterator[str]:
    """A SecantusDB that syncs on commit, on its core; yields its URI."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "secantus", "--port", str(port), "--storage-path", str(directory)]
    process = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), *command, "--sync-on-commit", "--log-level", "ERROR"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_listening(port)
        yield f"mongodb://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_listening(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _round(driver: str, uri: str, scale: float) -> Figures:
    command = [sys.executable, "-m", "bench.mongo_worker", driver, uri, str(scale)]
    done = subprocess.run(
        ["taskset", "-c", str(LOAD_CORE), *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{driver} failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout)
    return figures


def _measure(console: Console, uri: str, *, rounds: int, scale: float) -> dict[str, list[Figures]]:
    """All rounds of each driver; who goes first alternates."""
    found: dict[str, list[Figures]] = {driver: [] for driver in DRIVERS}
    with progress(console) as bar:
        task = bar.add_task("drivers", total=rounds * len(DRIVERS))
        for number in range(rounds):
            for driver in DRIVERS if number % 2 == 0 else reversed(DRIVERS):
                bar.update(task, description=driver, refresh=True)
                found[driver].append(_round(driver, uri, scale))
                bar.advance(task)
    return found


def _report(found: dict[str, list[Figures]], rounds: int, server: str) -> Report:
    report = Report(
        title="Motor beside PyMongo's AsyncMongoClient",
        method=(
            f"Eight rooms at a time, `w: majority, j: true`, read concern majority, uvloop, {server}. "
            f"Median (least-most) of {rounds} rounds, drivers in turn, each round a fresh process. CPU is that of the "
            "whole client process; 'on the loop' is the event loop's own thread. Late is how late a timer of 5 ms "
            "fires meanwhile. 2 cores, shared: the client on one, the server on the other."
        ),
        columns=[
            "operation",
            "CPU us, PyMongo",
            "CPU us, Motor",
            "Motor / PyMongo",
            "on the loop us, PyMongo",
            "on the loop us, Motor",
            "late p50 ms, PyMongo",
            "late p50 ms, Motor",
            "late p99 ms, PyMongo",
            "late p99 ms, Motor",
        ],
    )
    for title in found["pymongo"][0]:

        def of(driver: str, figure: str, title: str = title) -> list[float]:
            return [figures[title][figure] for figures in found[driver]]

        ratios = [m / p for m, p in zip(of("motor", "cpu_us"), of("pymongo", "cpu_us"), strict=True)]
        row: list[Any] = [title]
        row += [spread(of(driver, "cpu_us"), digits=0) for driver in DRIVERS]
        row.append(spread(ratios, digits=2))
        row += [f"{statistics.median(of(driver, 'loop_us')):.0f}" for driver in DRIVERS]
        for figure in ("late_p50_ms", "late_p99_ms"):
            row += [f"{statistics.median(of(driver, figure)):.2f}" for driver in DRIVERS]
        report.rows.append(row)
    report.notes.append(load_note())
    return report


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Rounds of each driver.")
@click.option("--scale", default=1.0, show_default=True, help="Operations per round, as a factor.")
@click.option("--uri", help="A server that is running already.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where SecantusDB writes.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def mongo(rounds: int, scale: float, uri: str | None, data: Path, save: Path | None) -> None:
    """Motor beside PyMongo's AsyncMongoClient (needs an environment with both; see the module)."""
    missing = [name for name in ("pymongo", "motor", "uvloop") if importlib.util.find_spec(name) is None]
    if uri is None and importlib.util.find_spec("secantus") is None:
        missing.append("secantusdb")
    if missing:
        raise click.ClickException(f"This needs {', '.join(missing)}. How to install them:\n\n{__doc__}")
    console = terminal()
    with contextlib.ExitStack() as stack:
        server = "against a server that was running"
        if uri is None:
            directory = stack.enter_context(data_directory(data))
            uri = stack.enter_context(_server(directory))
            server = f"against SecantusDB with `--sync-on-commit` on {filesystem_of(directory)}"
        report = _report(_measure(console, uri, rounds=rounds, scale=scale), rounds, server)
    report.show(console)
    if save is not None:
        report.write(save)


if __name__ == "__main__":
    mongo()
