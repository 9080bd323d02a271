"""What an export looks like as a whole."""

from __future__ import annotations

import json

from hubbub.history.base import Person
from tests.support.archives import Whole, counted_room, lines_of


class TestExport:
    async def test_its_lines_are_in_order(self) -> None:
        whole = Whole([(Person("ann", "Ann"), 1)], [counted_room("a", 2), counted_room("b", 0)])
        lines = [json.loads(line) for line in await lines_of(whole)]
        assert lines[0]["hubbub"] == "export"
        kinds = [line["type"] for line in lines[1:]]
        standings = ["standing"] * 3
        messages = ["message"] * len(whole.rooms[0].messages)
        assert kinds == ["person", "room", *standings, *messages, "room_end", "room", *standings, "room_end", "end"]

    async def test_it_says_at_its_end_what_is_in_it(self) -> None:
        *_, end = await lines_of(Whole([(Person("ann", "Ann"), 1)], [counted_room("a", 9)]))
        line = json.loads(end)
        assert (line["rooms"], line["people"], line["standings"]) == (1, 1, 3)

    async def test_nothing_makes_three_lines_less_one(self) -> None:
        assert [*map(json.loads, await lines_of(Whole()))][1]["type"] == "end"
