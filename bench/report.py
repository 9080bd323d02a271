"""Results as tables: on the terminal while working, as Markdown in results/ for the record."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.goals import Goal, section

__all__ = ["Report", "load_note", "percentile", "progress", "ratio", "spread", "terminal"]


@dataclass
class Report:
    """One table: its title, the sentences above it, the notes below. The first column is text, the others figures."""

    title: str
    method: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def show(self, console: Console) -> None:
        table = Table(title=self.title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for note in self.notes:
            console.print(f"[dim]{note}[/dim]")
        for goal in self.goals:
            colour, word = ("green", "met") if goal.is_met else ("red", "missed")
            console.print(
                f"[{colour}]{word}[/{colour}]: {goal.name}: {goal.measured:.3g} {goal.unit} (at most {goal.most:.3g})"
            )

    def markdown(self, *, level: int = 1) -> str:
        lines = [f"{'#' * level} {self.title}", "", self.method, ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("| --- |" + " ---: |" * (len(self.columns) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        if self.goals:
            lines += ["", section(self.goals, level=level + 1).rstrip()]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.markdown())


def progress(console: Console) -> Progress:
    """A bar that is drawn between rounds only: drawing during one would be measured."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
    )


def terminal() -> Console:
    """A console that is wide enough for the tables where the output is a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=170)


def load_note() -> str:
    """How busy the machine was, for whoever reads the figures later."""
    return (
        f"The load average of the last minute was {os.getloadavg()[0]:.1f} at the end; one to two of it were this run."
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Of sorted values; 0 if there are none."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else 0.0


def ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(values, others, strict=True))


def spread(values: Sequence[float], *, digits: int = 1) -> str:
    """`median (least-most)`."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
