"""The entry point of all measurements: `python -m bench`, or `python -m bench acks --rounds 7`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from bench.ack_latency_under_fanout import fanout
from bench.acks import acks
from bench.cluster import cluster
from bench.cluster_shards import shards
from bench.connections import connections
from bench.connects import connects
from bench.goals import chart
from bench.headcheck import headcheck
from bench.history_pages import main as history
from bench.idle import idle
from bench.leave import leave
from bench.mongo_clients import mongo
from bench.one_sender import one_sender
from bench.processes import ROOT
from bench.resume import resume
from bench.slow import slow
from bench.spread import spread

__all__ = ["main"]

SIDE_BY_SIDE: Final[dict[str, click.Command]] = {
    "spread": spread,
    "connects": connects,
    "idle": idle,
    "leave": leave,
    "slow": slow,
    "resume": resume,
    "acks": acks,
    "alone": one_sender,
    "fanout": fanout,
}
"""What needs no environment of its own, in the order of `all`."""

SHORT: Final[dict[str, dict[str, Any]]] = {
    "spread": {"rounds": 2, "duration_s": 1.0},
    "connects": {"rounds": 2},
    "idle": {"count": 1000},
    "leave": {"count": 2000, "rounds": 1},
    "slow": {"duration_s": 10.0},
    "resume": {"rounds": 1},
    "acks": {"rounds": 2, "duration_s": 1.0},
    "alone": {"rounds": 3, "duration_s": 1.0},
    "fanout": {"rounds": 2, "duration_s": 1.0},
}
"""What `all` varies so that it takes minutes."""


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure Hubbub beside its peers. Without a command: all of it, too short for more than a direction."""
    if context.invoked_subcommand is None:
        context.invoke(everything)


@main.command("all")
@click.option("--full", is_flag=True, help="At the length that each measurement has by itself.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option(
    "--save", type=click.Path(path_type=Path), help="Also write the tables, and the chart, to this directory."
)
@click.pass_context
def everything(context: click.Context, full: bool, data: Path, save: Path | None) -> None:
    """Everything that needs no environment of its own, in a short form."""
    for name, command in SIDE_BY_SIDE.items():
        varied = {} if full else SHORT[name]
        context.invoke(command, data=data, save=save and save / f"{name}.md", **varied)
    if save is not None:
        context.invoke(chart, results=save)


ALONE: Final[dict[str, click.Command]] = {
    "chart": chart,
    "cluster": cluster,
    "connections": connections,
    "headcheck": headcheck,
    "history": history,
    "mongo": mongo,
    "shards": shards,
}

for name, command in {**SIDE_BY_SIDE, **ALONE}.items():
    main.add_command(command, name)

if __name__ == "__main__":
    main()
