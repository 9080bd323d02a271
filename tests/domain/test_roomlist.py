"""The list of rooms for tokens that are limited to some."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from hubbub.domain.roomlist import RoomList
from hubbub.history.base import History
from tests.support.domain import identity_of
from tests.support.house import ChatHouse, chat_house, refusal_of


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ChatHouse]:
    async with chat_house(tmp_path) as made:
        ada = await made.enter("ada")
        for number in range(20):
            await made.room(ada, f"r{number:02}-{'team' if number % 4 == 0 else 'other'}")
        yield made


def listing(house: ChatHouse, *, rooms: Sequence[str] | None) -> RoomList:
    return RoomList(cast(History, house.store), identity_of("bob", rooms=rooms))


async def walk(rooms: RoomList, limit: int) -> list[list[str]]:
    """The ids of all pages."""
    pages: list[list[str]] = []
    cursor: str | None = None
    while not pages or cursor is not None:
        page = await rooms.page(limit=limit, cursor=cursor)
        pages.append([view.room.id for view in page.rooms])
        cursor = page.cursor
    return pages


class TestList:
    """Pages are full of what the token reaches, and of nothing else."""

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 50])
    async def test_every_room_comes_once(self, house: ChatHouse, limit: int) -> None:
        pages = await walk(listing(house, rooms=["*-team"]), limit)
        assert [id for page in pages for id in page] == [f"r{number:02}-team" for number in range(0, 20, 4)]
        assert all(len(page) == limit for page in pages[:-1])

    async def test_a_token_without_limits_is_asked_of_the_store_alone(self, house: ChatHouse) -> None:
        pages = await walk(listing(house, rooms=None), 8)
        assert [len(page) for page in pages] == [8, 8, 4]
        assert house.store.calls.count("rooms") == 3

    async def test_a_token_that_reaches_nothing_gets_an_empty_page(self, house: ChatHouse) -> None:
        assert await walk(listing(house, rooms=["nothing"]), 5) == [[]]

    async def test_a_list_that_never_stands_still_is_given_up(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        names = iter(f"a{number:03}-other" for number in range(999, 0, -1))

        async def grow() -> None:
            await house.room(ada, next(names))

        house.store.meanwhile("rooms", grow)
        assert await refusal_of(listing(house, rooms=["*-team"]).page(limit=1, cursor=None)) == "unavailable"
