"""A store that was put back from a copy: clients are to forget what they had of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hubbub.history import sqlite_incarnation

__all__ = ["say_restored"]


async def say_restored(store: str) -> str:
    """Give the store a new incarnation (`History.incarnation`), and return it. The address is one that the settings
    allow. Raises `StoreError` with one sentence: there is no store, a service has the file open, the server is away.
    """
    if store.startswith("sqlite:///"):
        return await asyncio.to_thread(_say_restored_file, store.removeprefix("sqlite:///"))
    # Imported here: the driver is installed for those who keep their history in MongoDB.
    from hubbub.history import mongo_incarnation

    return await mongo_incarnation.say_restored(store)


def _say_restored_file(path: str) -> str:
    return sqlite_incarnation.say_restored(Path(path).expanduser())
