"""Lists of rooms, members and standings go by an index each, so that they cost what is on the page."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hubbub.history import sqlite_lists
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_lists import read_members, read_rooms
from hubbub.history.sqlite_rooms import create_room
from tests.support.history import make_room, member, walks

NAMES: Final = ("id", "uid", "user", "after", "query", "now", "most", "joined_at")
LISTS: Final = ("candidates", "ids", "uids", "pairs")
PARAMETERS: Final[dict[str, object]] = dict.fromkeys(NAMES, 1) | dict.fromkeys(LISTS, "[]")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "hubbub.db")
    yield connection
    connection.close()


def plan_of(connection: sqlite3.Connection, query: str) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", PARAMETERS)]


class TestPlans:
    @pytest.mark.parametrize(
        "name",
        [
            "BY_ID",
            "VIEW_OF",
            "OWN",
            "PUBLIC",
            "STANDING_OF",
            "STANDINGS_OF",
            "MEMBERS",
            "MEMBER_IDS",
            "PEOPLE",
            "ROOMS_AT",
            "STANDINGS_AT",
        ],
    )
    def test_no_query_walks_over_a_table(self, connection: sqlite3.Connection, name: str) -> None:
        assert walks(connection, getattr(sqlite_lists, name), PARAMETERS) == []

    def test_public_rooms_and_members_are_read_in_the_order_of_their_index(
        self, connection: sqlite3.Connection
    ) -> None:
        assert any("rooms_public" in step for step in plan_of(connection, sqlite_lists.PUBLIC))
        assert any("standings_members" in step for step in plan_of(connection, sqlite_lists.MEMBERS))
        for query in (sqlite_lists.PUBLIC, sqlite_lists.MEMBERS):
            assert [step for step in plan_of(connection, query) if "TEMP B-TREE" in step] == []


class TestMembers:
    def test_somebody_of_whom_nothing_is_known_is_called_by_the_id(self, connection: sqlite3.Connection) -> None:
        room = create_room(connection, make_room(), [member("ann", "owner")])
        connection.execute("DELETE FROM people")
        page = read_members(connection, room.uid, limit=5, cursor=None)
        assert [(person.id, person.name, person.guest) for _, person in page.members] == [("ann", "ann", False)]

    def test_a_room_that_is_not_there_has_none(self, connection: sqlite3.Connection) -> None:
        assert list(read_members(connection, "nowhere", limit=5, cursor=None).members) == []


class TestRooms:
    def test_a_room_that_is_known_in_two_ways_is_listed_once(self, connection: sqlite3.Connection) -> None:
        room = create_room(connection, make_room(), [member("ann", "owner")])
        page = read_rooms(connection, user="ann", query=None, mine=False, everything=True, limit=5, cursor=None, now=0)
        assert [view.room.id for view in page.rooms] == [room.id]
