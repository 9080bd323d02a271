"""Which life of its store a database in MongoDB is (`History.incarnation`).

Nothing in a database that was put back tells it from the one that was there, so the operator says so.
"""

from __future__ import annotations

from typing import Final

from pymongo.errors import PyMongoError

from hubbub.errors import HubbubError, StoreError
from hubbub.history.incarnations import new_incarnation
from hubbub.history.mongo_errors import as_store_error
from hubbub.history.mongo_server import MongoServer, place

__all__ = ["read_incarnation", "say_restored"]

ID: Final = "incarnation"


async def read_incarnation(server: MongoServer) -> str:
    """Empty until somebody says that the store was put back."""
    found = await server.meta.find_one({"_id": ID})
    return "" if found is None else str(found["name"])


async def say_restored(uri: str) -> str:
    """Give the store at `uri` a new incarnation, and return it. Services that run take it up when they start again.

    Raises `StoreError`.
    """
    where = place(uri)
    server = MongoServer(uri)
    try:
        if await server.meta.find_one({"_id": "schema"}) is None:
            raise StoreError(f"There is no history in the database {server.database.name} at {where}.")
        await server.connect()
        name = new_incarnation()
        await server.meta.update_one({"_id": ID}, {"$set": {"name": name}}, upsert=True)
    except (PyMongoError, OSError, HubbubError) as error:
        told = as_store_error(error, where)
        if isinstance(told, HubbubError):
            told = StoreError(f"The store at {where} cannot be opened: {told.message}")
        raise told from error
    else:
        return name
    finally:
        await server.close()
