"""The adapters that the contract is tested on: every test here runs once for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from hubbub.history.base import History
from hubbub.history.sqlite import SqliteHistory

Reopen = Callable[[], Awaitable[History]]


class Stores:
    """A store that can be closed and opened again, as a restart of the service does."""

    def __init__(self, make: Callable[[], History]) -> None:
        self._make = make
        self._history: History | None = None

    async def reopen(self) -> History:
        await self.close()
        self._history = self._make()
        await self._history.open()
        return self._history

    async def close(self) -> None:
        if self._history is not None:
            await self._history.close()


@pytest.fixture(params=["sqlite"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    assert request.param == "sqlite"
    stores = Stores(lambda: SqliteHistory(tmp_path / "hubbub.db"))
    yield stores
    await stores.close()


@pytest.fixture
async def history(stores: Stores) -> History:
    return await stores.reopen()


@pytest.fixture
def reopen(stores: Stores) -> Reopen:
    """Closes the store and opens it again."""
    return stores.reopen
