"""The connections of a node, in pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.domain.activerooms import ActiveRooms
from hubbub.domain.admin.connections import LOOKED_AT, PAGE_BYTES, Connections, Wanted
from hubbub.transport.base import Link
from hubbub.transport.fanout import Fanout
from tests.support.domain import room_of
from tests.support.lines import Crowd


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


def listed(crowd: Crowd, *rooms: Any) -> Connections:
    """The list of a crowd on a node that knows these rooms."""
    known = ActiveRooms(None, Fanout("/chat"))  # type: ignore[arg-type]  # Nothing is read from the store.
    for room in rooms or (room_of("tea"), room_of("cake"), room_of("two", kind="direct", id="direct:two")):
        known.put(room)
    return Connections(crowd, known, node=crowd.node)


async def users_of(connections: Connections, **wanted: Any) -> list[str]:
    """All pages, one after the other."""
    found: list[str] = []
    after = 0
    while True:
        page = await connections.page(Wanted(**({"after": after, "limit": 2} | wanted)))
        found += [each["user"]["id"] for each in page.connections]
        if not page.more:
            return found
        after = page.connections[-1]["since"]


class TestDocuments:
    async def test_one_says_who_from_where_since_when_and_in_which_rooms(self, crowd: Crowd) -> None:
        crowd.add("ada", rooms=["tea", "cake"], namespaces=("/presence", "/chat"), address="198.51.100.4")
        page = await listed(crowd).page(Wanted())
        assert page.more is False
        assert page.connections == [
            {
                "id": "n1.1-chat",
                "user": {"id": "ada", "name": "Ada", "guest": False},
                "namespaces": ["/presence", "/chat"],
                "transport": "websocket",
                "address": "198.51.100.4",
                "since": 1001,
                "rooms": ["room-cake", "room-tea"],
            }
        ]

    async def test_nothing_in_it_opens_the_connection_to_others(self, crowd: Crowd) -> None:
        link = crowd.add("ada", rooms=["tea"])
        assert link.id not in repr(await listed(crowd).page(Wanted()))

    async def test_without_chat_it_goes_by_its_first_namespace(self, crowd: Crowd) -> None:
        crowd.add("ada", rooms=["tea"], namespaces=("/presence",))
        (shown,) = (await listed(crowd).page(Wanted())).connections
        assert (shown["id"], shown["rooms"]) == ("n1.1-presence", [])

    async def test_direct_rooms_stay_closed(self, crowd: Crowd) -> None:
        crowd.add("ada", rooms=["two", "tea"])
        (shown,) = (await listed(crowd).page(Wanted())).connections
        assert shown["rooms"] == ["room-tea"]

    async def test_no_more_than_fifty_rooms_are_shown_with_the_one_that_was_asked_for(self, crowd: Crowd) -> None:
        uids = [f"r{number:03}" for number in range(70)]
        crowd.add("ada", rooms=uids)
        connections = listed(crowd, *map(room_of, uids))
        for uid in ("r000", "r069"):
            (shown,) = (await connections.page(Wanted(room=uid))).connections
            assert len(shown["rooms"]) == 50
            assert f"room-{uid}" in shown["rooms"]

    async def test_whoever_was_not_let_in_yet_is_not_there(self, crowd: Crowd) -> None:
        (connection,) = crowd.add("ada", rooms=["tea"]).connections.values()
        connection.is_open = False  # type: ignore[misc]
        for wanted in (Wanted(), Wanted(user="ada"), Wanted(room="tea")):
            assert (await listed(crowd).page(wanted)).connections == []
        crowd.links["early"] = Link("early", connection.link.handshake, opened_at=5000)
        assert (await listed(crowd).page(Wanted())).connections == []


class TestPages:
    async def test_the_oldest_come_first_whatever_is_asked_for(self, crowd: Crowd) -> None:
        for user in ("ada", "bob", "ada", "eve", "ada"):
            crowd.add(user, rooms=["tea"])
        connections = listed(crowd)
        assert await users_of(connections) == ["ada", "bob", "ada", "eve", "ada"]
        assert await users_of(connections, room="tea") == ["ada", "bob", "ada", "eve", "ada"]
        assert await users_of(connections, user="ada") == ["ada"] * 3
        assert await users_of(connections, user="ada", room="cake") == []
        assert await users_of(connections, user="nobody") == []

    @pytest.mark.parametrize("wanted", [{}, {"user": "ada"}, {"room": "tea"}])
    async def test_a_page_says_whether_others_follow(self, crowd: Crowd, wanted: dict[str, str]) -> None:
        for _ in range(3):
            crowd.add("ada", rooms=["tea"])
        for limit, more in ((2, True), (3, False), (4, False)):
            page = await listed(crowd).page(Wanted(limit=limit, **wanted))  # type: ignore[arg-type]
            assert (len(page.connections), page.more) == (min(limit, 3), more)

    @given(data=st.data())
    def test_pages_stay_what_they_are_while_connections_come_and_go(self, data: st.DataObject) -> None:
        """Whoever is there all the time is listed once, and nobody twice, whatever happens between two pages."""

        async def run() -> None:
            crowd = Crowd()
            links = [crowd.add("ada", rooms=["tea"]) for _ in range(data.draw(st.integers(0, 12)))]
            staying = set(range(len(links)))
            connections = listed(crowd)
            wanted = data.draw(st.sampled_from([{}, {"user": "ada"}, {"room": "tea"}]))
            found: list[int] = []
            after, more = 0, True
            while more:
                page = await connections.page(Wanted(after=after, limit=data.draw(st.integers(1, 4)), **wanted))
                found += [each["since"] for each in page.connections]
                after, more = (found or [0])[-1], page.more
                for number in data.draw(st.lists(st.sampled_from(sorted(staying) or [-1]), max_size=2, unique=True)):
                    if number >= 0:
                        crowd.remove(links[number])
                        staying.discard(number)
                if data.draw(st.booleans()) and len(crowd.links) < 20:
                    crowd.add("ada", rooms=["tea"])
            assert found == sorted(set(found))
            assert {links[number].opened_at for number in staying} <= set(found)

        asyncio.run(run())

    async def test_a_page_ends_before_it_is_too_large_but_has_something(self, crowd: Crowd) -> None:
        crowd.add("ada", address="x" * 2 * PAGE_BYTES)
        crowd.add("bob")
        connections = listed(crowd)
        first = await connections.page(Wanted())
        second = await connections.page(Wanted(after=first.connections[-1]["since"]))
        assert [[each["user"]["id"] for each in page.connections] for page in (first, second)] == [["ada"], ["bob"]]
        assert (first.more, second.more) == (True, False)


class TestIds:
    async def test_a_connection_is_known_by_the_id_of_any_of_its_namespaces(self, crowd: Crowd) -> None:
        link = crowd.add("ada", namespaces=("/chat", "/presence"))
        connections = listed(crowd)
        assert [await connections.has(id) for id in ("n1.1-chat", "n1.1-presence")] == [True, True]
        assert await connections.has(link.id) is False

    async def test_an_id_of_another_node_is_not_looked_for(self, crowd: Crowd) -> None:
        crowd.add("ada")
        connections = listed(crowd)
        assert [connections.may_have(id) for id in ("n1.x", "n2.x", "n1", "", "n1.a.b")] == [True, *[False] * 4]
        assert await connections.has("n2.1-chat") is False


class TestLargeNodes:
    """What is looked at for a page is looked at a portion at a time: the loop goes on in between."""

    COUNT = 12_500

    @pytest.mark.parametrize("wanted", [{"user": "u"}, {"room": "cake", "user": "u"}])
    async def test_others_have_their_turn_meanwhile(self, crowd: Crowd, wanted: dict[str, str]) -> None:
        for _ in range(self.COUNT):
            crowd.add("u", rooms=["tea"])
        turns = await turns_during(lambda: listed(crowd).page(Wanted(**wanted)))  # type: ignore[arg-type]
        assert turns >= self.COUNT // LOOKED_AT

    async def test_the_oldest_of_a_user_are_found_in_whatever_order_they_are_known(self, crowd: Crowd) -> None:
        times = [crowd.add("u").opened_at for _ in range(self.COUNT)]
        for after in (0, times[self.COUNT // 2]):
            page = await listed(crowd).page(Wanted(user="u", after=after))
            first = 0 if after == 0 else self.COUNT // 2 + 1
            assert [each["since"] for each in page.connections] == times[first : first + 50]

    @pytest.mark.parametrize("share", [1, 2, 10, 40])
    async def test_a_room_is_listed_wherever_in_the_order_its_people_are(self, crowd: Crowd, share: int) -> None:
        """Whether few or many are in it, and also if all of them came last."""
        count = self.COUNT // share
        for _ in range(self.COUNT - count):
            crowd.add("other")
        oldest = [crowd.add("u", rooms=["tea"]).opened_at for _ in range(count)][:50]
        pages = [await listed(crowd).page(Wanted(room="tea", after=after)) for after in (0, oldest[9])]
        assert [each["since"] for each in pages[0].connections] == oldest
        assert [each["since"] for each in pages[1].connections][:40] == oldest[10:]
        assert all(page.more for page in pages)

    async def test_so_they_have_while_an_id_is_looked_for(self, crowd: Crowd) -> None:
        for _ in range(self.COUNT):
            crowd.add("u")
        assert await turns_during(lambda: listed(crowd).has("n1.none")) >= self.COUNT // LOOKED_AT

    async def test_the_longest_turn_is_a_small_part_of_looking_at_everything(self, crowd: Crowd) -> None:
        """By CPU time, and the best of several, so that the machine is not judged."""
        for number in range(self.COUNT):
            crowd.add(f"u{number}", rooms=["tea"])
        connections = listed(crowd)
        shares = []
        for _ in range(5):
            began = time.thread_time()
            longest = await longest_turn(lambda: connections.has("n1.none"))
            shares.append(longest / (time.thread_time() - began))
        assert min(shares) < 0.6


async def turns_during(work: Callable[[], Any]) -> int:
    """How many turns of the loop others had while something was at work."""
    turns = 0
    task = asyncio.ensure_future(work())
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    return turns


async def longest_turn(work: Callable[[], Any]) -> float:
    """The most CPU, in seconds, that passed between two turns of somebody who has one whenever there is one."""
    longest = 0.0
    task = asyncio.ensure_future(work())
    while not task.done():
        began = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - began)
    await task
    return longest
