"""The stores that every test of the contract is run over, each by an address, so that other processes can open them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hubbub.history.base import History
from hubbub.history.mongo import MongoHistory
from hubbub.history.sqlite import SqliteHistory

__all__ = ["SQLITE", "Stores", "history_at", "open_history"]

SQLITE = "sqlite://"


def history_at(address: str) -> History:
    """The history at `sqlite://PATH` or `mongodb://…/DATABASE`, not open yet."""
    if address.startswith(SQLITE):
        return SqliteHistory(Path(address.removeprefix(SQLITE)))
    return MongoHistory(address)


@asynccontextmanager
async def open_history(address: str) -> AsyncIterator[History]:
    history = history_at(address)
    await history.open()
    try:
        yield history
    finally:
        await history.close()


class Stores:
    """A store that can be closed and opened again, as a restart of the service does. `address` is where it is, for
    processes of their own.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._history: History | None = None

    async def reopen(self) -> History:
        await self.close()
        self._history = history_at(self.address)
        await self._history.open()
        return self._history

    @asynccontextmanager
    async def another(self) -> AsyncIterator[History]:
        """A second node at the same store; the same one again where only one process may have it open."""
        if self.address.startswith(SQLITE):
            assert self._history is not None
            yield self._history
        else:
            async with open_history(self.address) as history:
                yield history

    async def close(self) -> None:
        if self._history is not None:
            await self._history.close()
