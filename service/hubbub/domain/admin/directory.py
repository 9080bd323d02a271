"""The connections of all nodes as one list, ordered by node and age.

Other nodes are asked through the control log, and answer with a page of their own. Where few of all connections are
wanted (a user's, a room's) all nodes are asked at once; else one after the other, until the page is full, for a second;
then all others at once. A node that does not answer in time is named, and what it has is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from hubbub.domain.admin.connections import PAGE_BYTES, ConnectionPage, Connections, Wanted, size_of
from hubbub.errors import HubbubError
from hubbub.history.base import Beat
from hubbub.history.cursors import decode_cursor, encode_cursor

__all__ = ["HAS", "LIST", "Directory", "Listing", "Nodes"]

LIST: Final = "connections"
HAS: Final = "connection"
"""The questions that nodes ask each other."""

PAGE_S: Final = 3.0
"""A page takes about this long at most, however many nodes are silent."""

ONE_BY_ONE_S: Final = 1.0
"""For this long nodes are asked one after the other. It is more than an answer takes, so that a silent one is noticed.
"""


class Nodes(Protocol):
    """The part of `control.service.Control` that is needed here."""

    async def nodes(self) -> Sequence[Beat]: ...

    async def ask(self, origin: str, question: str, about: Mapping[str, Any], *, timeout_s: float = 3.0) -> Any: ...


class Listing(NamedTuple):
    """A page of the whole list: documents, where the next page begins, and the nodes that did not answer."""

    connections: list[dict[str, Any]]
    cursor: str | None
    missing: list[str]


class Directory:
    """See above. `node` and `origin` are this node's name and process; `own` are its connections."""

    def __init__(self, own: Connections, nodes: Nodes, *, node: str, origin: str) -> None:
        self._own = own
        self._nodes = nodes
        self._node = node
        self._origin = origin

    async def page(
        self,
        *,
        user: str | None = None,
        room: str | None = None,
        node: str | None = None,
        cursor: str | None = None,
        limit: int,
    ) -> Listing:
        """A page of the connections of a user, in a room (its uid), on a node, as far as these are given. A node that
        does not live is `not_found`.
        """
        begin = _Begin("", "", 0)
        if cursor is not None:
            name, origin, since = decode_cursor(cursor, "connections", str, str, int)
            begin = _Begin(str(name), str(origin), int(since))
        living = await self._living(node)
        if node is not None and all(name != node for name, _ in living):
            raise HubbubError("not_found", "There is no such node.")
        waiting = [each for each in living if each >= begin[:2] and node in (None, each[0])]
        is_narrow = user is not None or room is not None
        found: list[dict[str, Any]] = []
        room_left = PAGE_BYTES
        missing: list[str] = []
        pages = _Pages(self._page_of, one_by_one_s=0 if is_narrow else ONE_BY_ONE_S)
        try:
            while waiting:
                if not is_narrow and len(found) == limit:
                    name, origin = waiting[0]
                    return Listing(found, encode_cursor("connections", name, origin, 0), missing)
                wanted = {
                    place: Wanted(begin.since if place == begin[:2] else 0, user, room, limit - len(found))
                    for place in waiting
                }
                place = name, origin = waiting.pop(0)
                page = await pages.next(wanted)
                if page is None:
                    missing.append(name)
                    continue
                shown = _cut(page.connections[: limit - len(found)], name, room_left)
                room_left -= sum(map(size_of, shown))
                found += shown
                if len(page.connections) > len(shown) or page.more:
                    since = shown[-1]["since"] if shown else wanted[place].after
                    return Listing(found, encode_cursor("connections", name, origin, since), missing)
            return Listing(found, None, missing)
        finally:
            pages.close()

    async def has(self, id: str) -> bool | None:
        """Whether a connection is there; None if that cannot be known, because its node does not answer."""
        if self._own.may_have(id) and await self._own.has(id):
            return True
        name = id.rpartition(".")[0]
        others = [each for each in await self._living() if each[0] == name and each[1] != self._origin]
        answers = await asyncio.gather(*(self._ask(origin, HAS, {"id": id}) for _, origin in others))
        if any(isinstance(answer, dict) and answer.get("here") is True for answer in answers):
            return True
        return None if None in answers else False

    async def answer_list(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """What another node asks for with `connections`."""
        page = await self._own.page(Wanted(about["after"], about["user"], about["room"], about["limit"]))
        return {"connections": page.connections, "more": page.more}

    async def answer_has(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """What another node asks for with `connection`."""
        return {"here": await self._own.has(about["id"])}

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _living(self, wanted: str | None = None) -> list[tuple[str, str]]:
        """The nodes that live, by name and process. Where only this one is wanted, the store need not answer."""
        own = {(self._node, self._origin)}
        try:
            return sorted(own | {(beat.name, beat.origin) for beat in await self._nodes.nodes()})
        except HubbubError:
            if wanted != self._node:
                raise
            return sorted(own)

    async def _page_of(self, place: tuple[str, str], wanted: Wanted, timeout_s: float) -> ConnectionPage | None:
        _, origin = place
        if origin == self._origin:
            return await self._own.page(wanted)
        about = {"after": wanted.after, "user": wanted.user, "room": wanted.room, "limit": wanted.limit}
        answer = await self._ask(origin, LIST, about, timeout_s=timeout_s)
        try:
            return ConnectionPage(list(answer["connections"]), bool(answer["more"]))
        except (TypeError, KeyError):
            return None

    async def _ask(self, origin: str, question: str, about: Mapping[str, Any], *, timeout_s: float = PAGE_S) -> Any:
        """The answer of another node, None if it gives none."""
        try:
            return await self._nodes.ask(origin, question, about, timeout_s=timeout_s)
        except HubbubError:
            return None


def _cut(documents: list[dict[str, Any]], node: str, room_left: int) -> list[dict[str, Any]]:
    """As many of a node's documents as there is room for, with its name."""
    shown: list[dict[str, Any]] = []
    for document in documents:
        named = {**document, "node": node}
        room_left -= size_of(named)
        if room_left < 0:
            break
        shown.append(named)
    return shown


class _Pages:
    """What the nodes answer for one page: asked one after the other for a time, then all that are left at once, with
    what is left of the time for the whole.
    """

    def __init__(
        self,
        ask: Callable[[tuple[str, str], Wanted, float], Coroutine[Any, Any, ConnectionPage | None]],
        *,
        one_by_one_s: float,
    ) -> None:
        self._ask = ask
        self._one_by_one_s = one_by_one_s
        self._begun = asyncio.get_running_loop().time()
        self._asked: dict[tuple[str, str], asyncio.Task[ConnectionPage | None]] = {}

    async def next(self, wanted: Mapping[tuple[str, str], Wanted]) -> ConnectionPage | None:
        """The answer of the first of these; the others are what is wanted of those that follow."""
        first = next(iter(wanted))
        answer = self._begin(first, wanted[first])
        if self._passed_s < self._one_by_one_s:
            await asyncio.wait({answer}, timeout=self._one_by_one_s - self._passed_s)
        if not answer.done():
            for place, each in wanted.items():
                self._begin(place, each)
        return await answer

    def close(self) -> None:
        """Nobody waits for the answers any more."""
        for task in self._asked.values():
            task.cancel()

    @property
    def _passed_s(self) -> float:
        return asyncio.get_running_loop().time() - self._begun

    def _begin(self, place: tuple[str, str], wanted: Wanted) -> asyncio.Task[ConnectionPage | None]:
        if place not in self._asked:
            left_s = max(PAGE_S - self._passed_s, 0)
            self._asked[place] = asyncio.ensure_future(self._ask(place, wanted, left_s))
        return self._asked[place]


class _Begin(NamedTuple):
    name: str
    origin: str
    since: int
