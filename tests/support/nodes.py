"""Two nodes over one store, in one process: `ChatHouse`s that have nothing else in common.

SQLite belongs to one process, and so has one origin in the log. It is told before each action who acts; so each node
takes the other's records for those of another process, as with a store that several processes share.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from hubbub.domain.clock import Clock
from hubbub.domain.control.ports import Doors
from hubbub.domain.limits import Limits
from hubbub.errors import HubbubError
from hubbub.history.base import History
from hubbub.history.sqlite import SqliteHistory
from hubbub.history.sqlite_log import RoomLog
from tests.support.domain import ManualClock
from tests.support.history import open_sqlite
from tests.support.house import TIMEOUT_S, ChatHouse
from tests.support.stores import open_history

__all__ = ["Doorkeeper", "Nodes", "become", "two_nodes", "two_nodes_on_mongo"]


class Doorkeeper:
    """As `Doors`: keeps what it was told to end."""

    def __init__(self) -> None:
        self.ended: list[tuple[Any, ...]] = []

    def end_user(
        self, user: str, error: HubbubError, *, issued_before: int | None = None, opened_before: int | None = None
    ) -> int:
        self.ended.append((user, error.code, issued_before, opened_before))
        return 1

    def end_jti(self, jti: str, error: HubbubError) -> int:
        self.ended.append((jti, error.code))
        return 1

    def end_connection(self, id: str, error: HubbubError) -> bool:
        self.ended.append((id, error.code))
        return True

    def drain(self) -> None:
        self.ended.append(("drain",))


class Nodes:
    """`a` and `b`. Whoever does something says so first: `at(a)`."""

    def __init__(self, a: History, b: History, *, clock: ManualClock, become: Callable[[str], None]) -> None:
        self.history = a
        self.clock = clock
        self._become = become
        self.doors = {name: Doorkeeper() for name in "ab"}
        self.a = self._house("a", a, self.doors["a"])
        self.b = self._house("b", b, self.doors["b"])

    def at(self, node: ChatHouse) -> ChatHouse:
        """This node acts from now on."""
        self._become("a" if node is self.a else "b")
        return node

    async def poll(self) -> None:
        """Both nodes have read the log, and looked once more at what they did themselves."""
        for _ in range(2):
            for node in (self.a, self.b):
                await self.at(node).chat.control.poll()

    def _house(self, name: str, history: History, doors: Doors) -> ChatHouse:
        self._become(name)
        return ChatHouse(history, limits=Limits(), clock=self.clock, doors=doors, node=name)


def become(history: SqliteHistory, name: str, clock: Clock) -> None:
    """What is logged from now on is this process's."""
    history._ledger._origin = name
    history._log = RoomLog(name, clock)


@contextlib.asynccontextmanager
async def two_nodes(path: Path) -> AsyncIterator[Nodes]:
    """On SQLite, in this folder."""
    clock = ManualClock()
    async with open_sqlite(path / "hubbub.db") as history:
        nodes = Nodes(history, history, clock=clock, become=lambda name: become(history, name, clock))
        async with _running(nodes):
            yield nodes


@contextlib.asynccontextmanager
async def two_nodes_on_mongo(uri: str) -> AsyncIterator[Nodes]:
    """On MongoDB, each with a client of its own."""
    async with open_history(uri) as a, open_history(uri) as b:
        nodes = Nodes(a, b, clock=ManualClock(), become=lambda name: None)
        async with _running(nodes):
            yield nodes


@contextlib.asynccontextmanager
async def _running(nodes: Nodes) -> AsyncIterator[None]:
    try:
        for node in (nodes.a, nodes.b):
            await node.chat.load()
        yield
    finally:
        for node in (nodes.a, nodes.b):
            await node.chat.close()
            await node.writer.drain(TIMEOUT_S)
