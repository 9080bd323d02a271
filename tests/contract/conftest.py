"""The adapters that the contract is tested on: every test here runs once for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from hubbub.history.base import History
from tests.support.stores import SQLITE, Stores

Reopen = Callable[[], Awaitable[History]]


@pytest.fixture(params=["sqlite", "mongo"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """One of each kind; `mongo` is the server of `HUBBUB_TEST_MONGODB` if that is set (`tests/support/mongodb.py`)."""
    if request.param == "mongo":
        stores = Stores(request.getfixturevalue("mongo_uri"))
    else:
        stores = Stores(f"{SQLITE}{tmp_path / 'hubbub.db'}")
    yield stores
    await stores.close()


@pytest.fixture
async def history(stores: Stores) -> History:
    return await stores.reopen()


@pytest.fixture
def reopen(stores: Stores) -> Reopen:
    """Closes the store and opens it again."""
    return stores.reopen
