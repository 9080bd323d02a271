"""People: what users are called, and when that was last recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from hubbub.history.base import Person
from hubbub.history.mongo_errors import DUPLICATE
from hubbub.history.mongo_server import Documents

__all__ = ["AT_ONCE", "read_people", "remember", "remember_new", "write_all"]

AT_ONCE: Final = 5000
"""How many documents an answer may have. Left to itself a server sends 101, and waits to be asked for more."""


async def read_people(people: Documents, ids: Iterable[str]) -> dict[str, tuple[Person, int]]:
    """As `History.people`."""
    wanted = [*dict.fromkeys(ids)]
    if not wanted:
        return {}
    found = await people.find({"_id": {"$in": wanted}}, batch_size=AT_ONCE).to_list(None)
    return {
        document["_id"]: (Person(document["_id"], document["name"], bool(document["guest"])), int(document["seen_at"]))
        for document in found
    }


async def remember(people: Documents, person: Person, *, at: int) -> None:
    """As `History.remember`."""
    await people.bulk_write([_update(person, at)])


async def remember_new(
    people: Documents, seen: Sequence[tuple[Person, int]], *, known: Mapping[str, tuple[Person, int]]
) -> None:
    """Record those whose name is not the `known` one, with the times at which they were seen.

    A crowd that comes in was remembered when it connected, so this costs nothing as a rule.
    """
    new = [(person, at) for person, at in seen if person.id not in known]
    renamed = [(person, at) for person, at in seen if person.id in known and known[person.id][0] != person]
    inserts = [InsertOne({"_id": person.id, **_values(person, at)}) for person, at in new]
    refused = await write_all(people, [*inserts, *(_update(*each) for each in renamed)])
    await write_all(people, [_update(*new[index]) for index in refused])


async def write_all(documents: Documents, writes: Sequence[Any]) -> list[int]:
    """Do all of these writes, in any order; the numbers of those that ran into a document which is there."""
    if not writes:
        return []
    try:
        await documents.bulk_write(writes, ordered=False)
    except BulkWriteError as error:
        errors: Sequence[Mapping[str, Any]] = error.details.get("writeErrors", ())
        if error.details.get("writeConcernErrors") or any(each["code"] != DUPLICATE for each in errors):
            raise
        return [each["index"] for each in errors]
    return []


def _update(person: Person, at: int) -> UpdateOne:
    return UpdateOne({"_id": person.id}, {"$set": _values(person, at)}, upsert=True)


def _values(person: Person, at: int) -> dict[str, Any]:
    return {"name": person.name, "guest": person.guest, "seen_at": at}
