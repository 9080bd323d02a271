"""Small sets, for what there is one of for each connection."""

from __future__ import annotations

from collections.abc import Iterator, MutableSet

__all__ = ["Few"]


class Few(MutableSet[str]):
    """A set of texts that mostly holds one: then it takes 40 bytes, where a `set` takes 216."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: str | set[str] | None = None

    def __contains__(self, item: object) -> bool:
        held = self._held
        return held is not None and (item in held if isinstance(held, set) else held == item)

    def __iter__(self) -> Iterator[str]:
        held = self._held
        return iter(held if isinstance(held, set) else () if held is None else (held,))

    def __len__(self) -> int:
        held = self._held
        return len(held) if isinstance(held, set) else held is not None

    def add(self, value: str) -> None:
        held = self._held
        if isinstance(held, set):
            held.add(value)
        else:
            self._held = value if held is None or held == value else {held, value}

    def discard(self, value: str) -> None:
        held = self._held
        if isinstance(held, set):
            held.discard(value)
        elif held == value:
            self._held = None
