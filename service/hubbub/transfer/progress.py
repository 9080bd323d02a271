"""How far a transfer has come, for whoever watches."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NoProgress", "Progress"]


class Progress(Protocol):
    """Told by a transfer as it goes: a step begins, and so many more of its units are done."""

    def begin(self, step: str, total: int) -> None:
        """A step of which `total` units are to be done, about."""

    def advance(self, count: int) -> None: ...


class NoProgress:
    """Nobody watches."""

    def begin(self, step: str, total: int) -> None:
        pass

    def advance(self, count: int) -> None:
        pass
