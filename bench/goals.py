"""What Hubbub is to reach beside its peers, whether it does, and the chart of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import click

from bench.processes import ROOT

__all__ = ["Goal", "chart", "draw", "section"]

_HEAD: Final = "| goal | at most | measured |"
_ROW: Final = re.compile(
    r"^\| (?P<name>[^|]+) \| (?P<most>[\d.]+) ?(?P<unit>[^|\d]*) \| (?P<measured>[\d.]+) ?[^|]* \|$"
)

_ROW_PX: Final = 34
_LABEL_PX: Final = 370
_UNIT_PX: Final = 220
"""The width of a bar that is just at its goal."""
_MOST_SHOWN: Final = 2.0
"""What misses its goal by more is drawn cut off."""


@dataclass(frozen=True)
class Goal:
    """`measured` is to be `most` or less; both are in `unit`, `x` for ratios."""

    name: str
    most: float
    measured: float
    unit: str = "x"

    @property
    def is_met(self) -> bool:
        return self.measured <= self.most


def section(goals: Iterable[Goal], *, level: int = 2) -> str:
    """The goals as a part of a result in Markdown, from which `chart` reads them again."""
    rows = [f"| {goal.name} | {goal.most:.3g} {goal.unit} | {goal.measured:.3g} {goal.unit} |" for goal in goals]
    return "\n".join([f"{'#' * level} Goals", "", _HEAD, "| --- | ---: | ---: |", *rows]) + "\n"


def read(text: str) -> list[Goal]:
    """The goals in a result that was written by `section`."""
    _, found, rest = text.partition(_HEAD)
    matches = (_ROW.match(line) for line in rest.splitlines()) if found else ()
    return [
        Goal(match["name"], float(match["most"]), float(match["measured"]), match["unit"].strip())
        for match in matches
        if match is not None
    ]


def draw(goals: list[Goal]) -> str:
    """An SVG: a bar for each goal, as long as the measured is of it. The line is the goal: shorter is better."""
    width, height = _LABEL_PX + int(_UNIT_PX * _MOST_SHOWN) + 190, _ROW_PX * len(goals) + 46
    line, bottom = _LABEL_PX + _UNIT_PX, height - 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        "<title>Measured against the goals</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, goal in enumerate(goals):
        y = 12 + number * _ROW_PX
        share = goal.measured / goal.most
        length = min(share, _MOST_SHOWN) * _UNIT_PX
        end = "… " if share > _MOST_SHOWN else ""
        colour = "#2e7d5b" if goal.is_met else "#b5482f"
        parts += [
            f'<text x="{_LABEL_PX - 10}" y="{y + 17}" text-anchor="end" fill="#222222">{escape(goal.name)}</text>',
            f'<rect x="{_LABEL_PX}" y="{y + 3}" width="{length:.1f}" height="20" fill="{colour}"/>',
            f'<text x="{_LABEL_PX + length + 8:.1f}" y="{y + 17}" fill="#222222">{end}{goal.measured:.3g} {goal.unit}'
            f' <tspan fill="#777777">(goal {goal.most:.3g})</tspan></text>',
        ]
    parts += [
        f'<line x1="{line}" y1="6" x2="{line}" y2="{bottom}" stroke="#222222" stroke-dasharray="4 3"/>',
        f'<text x="{line}" y="{bottom + 16}" text-anchor="middle" fill="#222222">the goal: shorter is better</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=ROOT / "bench/results", help="Where tables are.")
def chart(results: Path) -> None:
    """Draw results/goals.svg anew from the goals in the tables that are there."""
    goals = [goal for path in sorted(results.glob("*.md")) for goal in read(path.read_text())]
    if not goals:
        raise click.ClickException(f"no table in {results} has goals: run the measurements with --save first")
    (results / "goals.svg").write_text(draw(goals))
    click.echo(f"{sum(goal.is_met for goal in goals)} of {len(goals)} goals are met")
