"""The administrators' services, put together: what other nodes ask of this one."""

from __future__ import annotations

from hubbub.domain.admin.directory import HAS, LIST
from tests.support.administrators import Office
from tests.support.house import ChatHouse


class TestQuestions:
    async def test_this_node_answers_for_its_connections(self, house: ChatHouse) -> None:
        office = Office(house)
        office.crowd.add("ada")
        office.crowd.add("bob")
        control, origin = house.chat.control, house.store.ledger.origin
        answer = await control.ask(origin, LIST, {"after": 0, "user": None, "room": None, "limit": 1})
        assert [each["user"]["id"] for each in answer["connections"]] == ["ada"]
        assert answer["more"] is True
        assert await control.ask(origin, HAS, {"id": "n.2-chat"}) == {"here": True}
        assert await control.ask(origin, HAS, {"id": "n.3-chat"}) == {"here": False}

    async def test_its_beat_tells_what_it_counts(self, house: ChatHouse) -> None:
        office = Office(house)
        office.metrics.connections.labels("/chat").inc(3)
        assert house.chat.control.about()["connections"] == {"/chat": 3}
