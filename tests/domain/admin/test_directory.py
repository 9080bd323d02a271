"""The connections of all nodes as one list."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hubbub.domain.admin.directory as module
from hubbub.domain.activerooms import ActiveRooms
from hubbub.domain.admin.connections import PAGE_BYTES, Connections
from hubbub.domain.admin.directory import HAS, LIST, Directory, Listing
from hubbub.errors import HubbubError
from hubbub.history.base import Beat
from hubbub.transport.fanout import Fanout
from tests.support.domain import as_read, room_of
from tests.support.lines import Crowd


class Cluster:
    """Nodes that ask each other without a store between them. Those in `silent` do not answer; while it `is_away`
    nobody knows who lives.
    """

    is_away = False

    def __init__(self, *names: str) -> None:
        self.crowds = {name: Crowd(name) for name in names}
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self.directories = {}
        for name, crowd in self.crowds.items():
            rooms = ActiveRooms(None, Fanout("/chat"))  # type: ignore[arg-type]  # Nothing is read from the store.
            rooms.put(room_of("tea"))
            own = Connections(crowd, rooms, node=name)
            self.directories[name] = Directory(own, self, node=name, origin=self.origin(name))

    @staticmethod
    def origin(name: str) -> str:
        return f"boot of {name}"

    async def nodes(self) -> Sequence[Beat]:
        if self.is_away:
            raise HubbubError("unavailable")
        return [Beat(name, self.origin(name), 0) for name in sorted(self.crowds)]

    async def ask(self, origin: str, question: str, about: Mapping[str, Any], *, timeout_s: float = 3.0) -> Any:
        name = origin.removeprefix("boot of ")
        self.asked.append(name)
        await asyncio.sleep(0)
        if name in self.silent:
            raise HubbubError("unavailable")
        directory = self.directories[name]
        answers = {LIST: directory.answer_list, HAS: directory.answer_has}
        return as_read(await answers[question](as_read(about)))

    async def page(self, name: str, *, limit: int = 50, **wanted: Any) -> Listing:
        return await self.directories[name].page(limit=limit, **wanted)

    async def pages(self, name: str, *, limit: int, **wanted: Any) -> list[tuple[str, str]]:
        """All pages from this node, as (node, id)."""
        found: list[tuple[str, str]] = []
        cursor: str | None = None
        while True:
            listing = await self.page(name, limit=limit, cursor=cursor, **wanted)
            assert len(listing.connections) <= limit
            found += [(each["node"], each["id"]) for each in listing.connections]
            cursor = listing.cursor
            if cursor is None:
                return found


class TestPages:
    @given(
        counts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
        limit=st.integers(1, 6),
        wanted=st.sampled_from([{}, {"user": "ada"}, {"room": "tea"}]),
    )
    def test_every_node_lists_the_same_by_node_and_age(
        self, counts: list[int], limit: int, wanted: dict[str, Any]
    ) -> None:
        async def run() -> None:
            cluster = Cluster(*(f"n{number}" for number in range(len(counts))))
            expected = []
            for count, (name, crowd) in zip(counts, cluster.crowds.items(), strict=True):
                for _ in range(count):
                    link = crowd.add("ada", rooms=["tea"])
                    expected.append((name, link.connections["/chat"].id))
            for name in cluster.crowds:
                assert await cluster.pages(name, limit=limit, **wanted) == expected

        asyncio.run(run())

    async def test_few_are_asked_of_all_at_once_many_of_one_after_the_other(self) -> None:
        cluster = Cluster("n1", "n2", "n3")
        for crowd in cluster.crowds.values():
            for _ in range(3):
                crowd.add("ada")
        await cluster.page("n1", limit=3)
        assert cluster.asked == []
        await cluster.page("n1", limit=4)
        assert cluster.asked == ["n2"]
        cluster.asked.clear()
        await cluster.page("n1", limit=3, user="ada")
        assert cluster.asked == ["n2", "n3"]

    async def test_a_page_goes_on_behind_a_node_that_is_gone(self) -> None:
        cluster = Cluster("n1", "n2", "n3")
        for crowd in cluster.crowds.values():
            crowd.add("ada")
            crowd.add("ada")
        first = await cluster.page("n1", limit=3)
        del cluster.crowds["n2"]
        rest = await cluster.page("n1", limit=3, cursor=first.cursor)
        assert [each["node"] for each in rest.connections] == ["n3", "n3"]
        assert (rest.cursor, rest.missing) == (None, [])

    async def test_a_page_without_anything_does_not_begin_anew(self) -> None:
        cluster = Cluster("n1", "n2")
        for _ in range(3):
            cluster.crowds["n2"].add("ada")
        first = await cluster.page("n1", limit=1)
        second = await cluster.page("n1", limit=1, cursor=first.cursor)
        assert [first.connections[0]["since"], second.connections[0]["since"]] == [1001, 1002]

    @pytest.mark.parametrize("cursor", ["", "x", "WyJ1c2VycyIsIm4xIl0", "n1", "é"])
    async def test_a_cursor_that_was_not_made_here_is_refused(self, cursor: str) -> None:
        with pytest.raises(HubbubError, match="bad_request"):
            await Cluster("n1").page("n1", cursor=cursor)

    @pytest.mark.parametrize("wanted", [{}, {"user": "ada"}])
    async def test_a_page_is_bounded_in_bytes_as_well(self, wanted: dict[str, Any]) -> None:
        """Names and addresses are long here, so that few connections are much."""
        cluster = Cluster("n1", "n2")
        for crowd in cluster.crowds.values():
            for _ in range(4):
                crowd.add("ada", address="x" * 60_000)
        cursor: str | None = None
        sizes: list[int] = []
        while cursor is not None or not sizes:
            listing = await cluster.page("n1", cursor=cursor, **wanted)
            assert len(orjson.dumps(listing.connections)) <= PAGE_BYTES + 100
            sizes.append(len(listing.connections))
            cursor = listing.cursor
        assert sizes == [4, 4]


class TestNodes:
    async def test_while_the_store_is_away_a_node_lists_its_own(self) -> None:
        cluster = Cluster("n1", "n2")
        cluster.crowds["n1"].add("ada")
        cluster.is_away = True
        assert len((await cluster.page("n1", node="n1")).connections) == 1
        for node in (None, "n2"):
            with pytest.raises(HubbubError, match="unavailable"):
                await cluster.page("n1", node=node)

    async def test_one_node_alone(self) -> None:
        cluster = Cluster("n1", "n2")
        for crowd in cluster.crowds.values():
            crowd.add("ada")
        assert await cluster.pages("n1", limit=5, node="n2") == [("n2", "n2.1-chat")]
        assert await cluster.pages("n1", limit=5, node="n1") == [("n1", "n1.1-chat")]
        with pytest.raises(HubbubError, match="not_found"):
            await cluster.page("n1", node="n3")

    @pytest.mark.parametrize("wanted", [{}, {"user": "ada"}])
    async def test_one_that_does_not_answer_is_named_and_passed_over(self, wanted: dict[str, Any]) -> None:
        cluster = Cluster("n1", "n2", "n3")
        for crowd in cluster.crowds.values():
            crowd.add("ada")
        cluster.silent.add("n2")
        listing = await cluster.page("n1", **wanted)
        assert [each["node"] for each in listing.connections] == ["n1", "n3"]
        assert listing.missing == ["n2"]

    @pytest.mark.parametrize("answer", [None, "yes", {}, {"connections": 5, "more": False}])
    async def test_one_whose_answer_is_none_is_named_too(self, answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
        cluster = Cluster("n1", "n2")

        async def odd(about: Mapping[str, Any]) -> Any:
            return answer

        monkeypatch.setattr(cluster.directories["n2"], "answer_list", odd)
        assert (await cluster.page("n1")).missing == ["n2"]


class TestSilence:
    async def test_a_page_waits_for_all_silent_nodes_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "ONE_BY_ONE_S", 0.02)
        cluster = Cluster("n1", "n2", "n3", "n4", "n5")
        for crowd in cluster.crowds.values():
            crowd.add("ada")
        asked: list[tuple[str, float]] = []
        all_asked = asyncio.Event()
        answer = cluster.ask

        async def ask(origin: str, question: str, about: Mapping[str, Any], *, timeout_s: float = 3.0) -> Any:
            asked.append((origin.removeprefix("boot of "), timeout_s))
            if len(asked) == 4:
                all_asked.set()
            if origin == cluster.origin("n5"):
                return await answer(origin, question, about)
            await all_asked.wait()
            raise HubbubError("unavailable")

        monkeypatch.setattr(cluster, "ask", ask)
        async with asyncio.timeout(20):
            listing = await cluster.page("n1")
        assert [each["node"] for each in listing.connections] == ["n1", "n5"]
        assert listing.missing == ["n2", "n3", "n4"]
        assert [name for name, _ in asked] == ["n2", "n3", "n4", "n5"]
        assert all(left_s < module.PAGE_S for _, left_s in asked[1:]), "what is left of the time for the page"


class TestIds:
    async def test_a_connection_is_found_on_its_node(self) -> None:
        cluster = Cluster("n1", "n2")
        for crowd in cluster.crowds.values():
            crowd.add("ada")
        directory = cluster.directories["n1"]
        assert [await directory.has(id) for id in ("n1.1-chat", "n2.1-chat", "n2.9-chat")] == [True, True, False]
        assert cluster.asked == ["n2", "n2"], "the name in an id says whom to ask"

    async def test_what_no_living_node_can_have_is_known_at_once(self) -> None:
        cluster = Cluster("n1", "n2")
        for id in ("n3.1-chat", "", "x", "n1"):
            assert await cluster.directories["n1"].has(id) is False
        assert cluster.asked == []

    async def test_of_a_silent_node_nobody_knows(self) -> None:
        cluster = Cluster("n1", "n2")
        cluster.silent.add("n2")
        assert await cluster.directories["n1"].has("n2.1-chat") is None
