"""The audit log of a store, read beside a service that runs on it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hubbub.errors import StoreError
from hubbub.history.base import Audited, AuditPage
from hubbub.history.sqlite_audit import read_audit
from hubbub.history.sqlite_errors import sentence
from hubbub.history.sqlite_file import check_to_read, connect

__all__ = ["audit_entries"]

PAGE: Final = 500

_HAS_AUDIT: Final = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'audit'"


async def audit_entries(store: str) -> AsyncGenerator[Audited, None]:
    """The entries, newest first, of an address that the settings allow. An SQLite file is opened for reading alone, and
    no lock is taken. Raises `StoreError` with one sentence: there is no store, or it cannot be read.
    """
    if not store.startswith("sqlite:///"):
        async for entry in _of_mongo(store):
            yield entry
        return
    cursor: str | None = None
    while True:
        page = await asyncio.to_thread(_page_of_file, store.removeprefix("sqlite:///"), cursor)
        for entry in page.entries:
            yield entry
        cursor = page.cursor
        if cursor is None:
            return


def _page_of_file(name: str, cursor: str | None) -> AuditPage:
    path = Path(name).expanduser()
    with _opened(path) as connection:
        check_to_read(connection, path)
        # A file of a version before there was an audit log has none, and nothing happened that would be in it.
        if connection.execute(_HAS_AUDIT).fetchone() == (0,):
            return AuditPage((), None)
        return read_audit(connection, limit=PAGE, cursor=cursor)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise StoreError(f"There is no database {path}.")
    try:
        connection = connect(path, read_only=True)
        try:
            yield connection
        finally:
            connection.close()
    except OSError as error:
        raise StoreError(f"The database {path} cannot be read: {error.strerror or error}.") from error
    except sqlite3.Error as error:
        reason = (sentence(error) or str(error)).removesuffix(".")
        raise StoreError(f"The database {path} cannot be read: {reason}.") from error


async def _of_mongo(store: str) -> AsyncGenerator[Audited, None]:
    # Imported here: the driver is installed for those who keep their history in MongoDB.
    from hubbub.history.mongo import MongoHistory
    from hubbub.history.mongo_archive import MongoArchive

    # The archive says whether there is a history, and makes nothing.
    archive = MongoArchive(store)
    try:
        await archive.open(writable=False)
    finally:
        await archive.close()
    history = MongoHistory(store)
    try:
        await history.open()
        cursor: str | None = None
        while True:
            page = await history.ledger.audit(limit=PAGE, cursor=cursor)
            for entry in page.entries:
                yield entry
            cursor = page.cursor
            if cursor is None:
                return
    finally:
        await history.close()
