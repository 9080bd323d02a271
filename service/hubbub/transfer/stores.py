"""From the address of a store to its archive: where adapters are chosen."""

from __future__ import annotations

from pathlib import Path

from hubbub.history.archive import Archive
from hubbub.history.sqlite_archive import SqliteArchive

__all__ = ["archive_of"]


def archive_of(store: str) -> Archive:
    """Of an address that the settings allow: `sqlite:///PATH` or `mongodb://…`. Nothing is opened yet."""
    if store.startswith("sqlite:///"):
        return SqliteArchive(Path(store.removeprefix("sqlite:///")).expanduser())
    # Imported here: the driver is installed for those who keep their history in MongoDB.
    from hubbub.history.mongo_archive import MongoArchive

    return MongoArchive(store)
