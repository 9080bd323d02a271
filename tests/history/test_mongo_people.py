"""People in MongoDB: remembered one by one, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pymongo import InsertOne
from pymongo.errors import BulkWriteError

from hubbub.history.base import Person
from hubbub.history.mongo_people import read_people, remember, remember_new, write_all
from hubbub.history.mongo_server import Documents
from tests.support.mongo_members import node_at

ANN = Person("ann", "Ann")
BOB = Person("bob", "Bob", guest=True)


@pytest.fixture
async def people(mongo_uri: str) -> AsyncIterator[Documents]:
    async with node_at(mongo_uri) as node:
        yield node.server.people


class TestPeople:
    async def test_the_last_name_stays(self, people: Documents) -> None:
        await remember(people, ANN, at=1)
        await remember(people, Person("ann", "Anna", guest=True), at=2)
        assert await read_people(people, ["ann", "ann", "zoe"]) == {"ann": (Person("ann", "Anna", guest=True), 2)}

    async def test_only_what_is_new_is_written(self, people: Documents) -> None:
        await remember(people, ANN, at=1)
        known = await read_people(people, ["ann", "bob"])
        await remember_new(people, [(ANN, 5), (BOB, 5)], known=known)
        assert await read_people(people, ["ann", "bob"]) == {"ann": (ANN, 1), "bob": (BOB, 5)}
        await remember_new(people, [(Person("ann", "Anna"), 6), (BOB, 6)], known={"ann": (ANN, 1), "bob": (BOB, 5)})
        assert await read_people(people, ["ann", "bob"]) == {"ann": (Person("ann", "Anna"), 6), "bob": (BOB, 5)}

    async def test_who_was_remembered_meanwhile_is_renamed(self, people: Documents) -> None:
        await remember(people, Person("bob", "Robert"), at=1)
        await remember_new(people, [(ANN, 5), (BOB, 5)], known={})
        assert await read_people(people, ["ann", "bob"]) == {"ann": (ANN, 5), "bob": (BOB, 5)}

    async def test_many_may_remember_the_same_at_once(self, people: Documents) -> None:
        await asyncio.gather(*(remember(people, ANN, at=1) for _ in range(10)))
        assert await read_people(people, ["ann"]) == {"ann": (ANN, 1)}


class TestWriting:
    async def test_what_ran_into_another_is_told_by_its_number(self, people: Documents) -> None:
        await people.insert_one({"_id": "b"})
        assert await write_all(people, [InsertOne({"_id": id}) for id in "abcb"]) == [1, 3]
        assert await write_all(people, []) == []

    async def test_any_other_failure_is_one(self, people: Documents) -> None:
        await people.create_index([("loc", "2dsphere")])
        with pytest.raises(BulkWriteError):
            await write_all(people, [InsertOne({"_id": "a", "loc": "nowhere"})])
