"""The entry point of all measurements: `python -m bench`, or `python -m bench acks --rounds 7`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import uvloop

from bench.ack_latency_under_fanout import fanout, measure_fanout
from bench.acks import acks, measure_acks
from bench.history_pages import main as history
from bench.mongo_clients import mongo
from bench.processes import ROOT, pin_load
from bench.report import terminal

__all__ = ["main"]

SHORT_ROUNDS: Final = 2
SHORT_DURATION_S: Final = 1.0


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure Hubbub beside its peers. Without a command: all of it, too short for more than a direction."""
    if context.invoked_subcommand is None:
        context.invoke(everything)


@main.command("all")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
def everything(data: Path) -> None:
    """Everything that needs no environment of its own, in a short form."""
    console = terminal()
    pin_load()
    for measure in (
        measure_acks(
            console, connections=64, windows=(1, 8), rounds=SHORT_ROUNDS, duration_s=SHORT_DURATION_S, data=data
        ),
        measure_fanout(
            console,
            audience=200,
            windows=(1, 4),
            rounds=SHORT_ROUNDS,
            duration_s=SHORT_DURATION_S,
            peers=True,
            data=data,
        ),
    ):
        uvloop.run(measure).show(console)


for name, command in (("acks", acks), ("fanout", fanout), ("history", history), ("mongo", mongo)):
    main.add_command(command, name)

if __name__ == "__main__":
    main()
