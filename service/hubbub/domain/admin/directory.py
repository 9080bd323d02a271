"""The connections of all nodes as one list, ordered by node and age.

Other nodes are asked through the control log, and answer with a page of their own. Where few of all connections are
wanted (a user's, a room's) all nodes are asked at once; else one after the other, until the page is full. A node that
does not answer in time is named, and what it has is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from hubbub.domain.admin.connections import PAGE_BYTES, ConnectionPage, Connections, Wanted, size_of
from hubbub.errors import HubbubError
from hubbub.history.base import Beat
from hubbub.history.cursors import decode_cursor, encode_cursor

__all__ = ["HAS", "LIST", "Directory", "Listing", "Nodes"]

LIST: Final = "connections"
HAS: Final = "connection"
"""The questions that nodes ask each other."""


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
        while waiting:
            asked, waiting = (waiting, []) if is_narrow else (waiting[:1], waiting[1:])
            wanted = [
                Wanted(begin.since if place == begin[:2] else 0, user, room, limit - len(found)) for place in asked
            ]
            pages = await asyncio.gather(*map(self._page_of, asked, wanted))
            for (name, origin), each, page in zip(asked, wanted, pages, strict=True):
                if page is None:
                    missing.append(name)
                    continue
                shown = _cut(page.connections[: limit - len(found)], name, room_left)
                room_left -= sum(map(size_of, shown))
                found += shown
                if len(page.connections) > len(shown) or page.more:
                    since = shown[-1]["since"] if shown else each.after
                    return Listing(found, encode_cursor("connections", name, origin, since), missing)
            if len(found) == limit and waiting:
                name, origin = waiting[0]
                return Listing(found, encode_cursor("connections", name, origin, 0), missing)
        return Listing(found, None, missing)

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

    async def _page_of(self, place: tuple[str, str], wanted: Wanted) -> ConnectionPage | None:
        _, origin = place
        if origin == self._origin:
            return await self._own.page(wanted)
        about = {"after": wanted.after, "user": wanted.user, "room": wanted.room, "limit": wanted.limit}
        answer = await self._ask(origin, LIST, about)
        try:
            return ConnectionPage(list(answer["connections"]), bool(answer["more"]))
        except (TypeError, KeyError):
            return None

    async def _ask(self, origin: str, question: str, about: Mapping[str, Any]) -> Any:
        """The answer of another node, None if it gives none."""
        try:
            return await self._nodes.ask(origin, question, about)
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


class _Begin(NamedTuple):
    name: str
    origin: str
    since: int
