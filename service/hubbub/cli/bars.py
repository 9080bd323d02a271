"""Progress bars on standard error, if somebody watches it."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

__all__ = ["Bars"]


class Bars:
    """A bar for each step, as long as the context lasts; none where standard error is no terminal.

    `step` is the one under way, "" before the first. Speeds are measured whether or not there is a bar.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("", total=None, visible=False)
        self._began = self._count = 0.0
        self._steps: dict[str, tuple[float, float]] = {}
        self.step = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_step()
        self._bars.stop()

    def begin(self, step: str, total: int) -> None:
        self._end_step()
        self.step = step
        self._began, self._count = time.monotonic(), 0.0
        # A history grows while it is read, and one that was empty has no share that is done.
        self._task = self._bars.add_task(step, total=total or None)

    def advance(self, count: int) -> None:
        self._count += count
        self._bars.advance(self._task, count)

    def per_s(self, step: str) -> float:
        """Messages a second in a step; 0 if it was not taken."""
        lasted, count = self._steps.get(step, (0.0, 0.0))
        return count / lasted if lasted else 0.0

    def _end_step(self) -> None:
        if self._began:
            self._steps[self.step] = (time.monotonic() - self._began, self._count)
            self._bars.update(self._task, total=self._count, completed=self._count)
        self._began = 0.0


class _Speed(ProgressColumn):
    """Messages a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")
