"""Rooms, messages and stores for the tests of the history."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history.base import (
    Change,
    History,
    Insert,
    Message,
    Outcome,
    Person,
    Role,
    Room,
    RoomKind,
    Sender,
    Standing,
    Written,
)
from hubbub.history.sqlite import SqliteHistory
from hubbub.history.sqlite_log import RoomLog
from tests.support.tree import PACKAGE

__all__ = [
    "AMPLE_BYTES",
    "LOG",
    "Op",
    "all_messages",
    "child",
    "code_of",
    "deleting",
    "draft",
    "editing",
    "eventually",
    "make_room",
    "member",
    "new_room",
    "open_sqlite",
    "say",
    "walks",
    "written",
]

Op = Insert | Change

AMPLE_BYTES: Final = 2**30

LOG: Final = RoomLog("test", lambda: 0)
"""For the units of SQLite's writer: nobody reads what it says."""

_numbers: Final = itertools.count(1)


@asynccontextmanager
async def open_sqlite(path: Path) -> AsyncIterator[SqliteHistory]:
    history = SqliteHistory(path)
    await history.open()
    try:
        yield history
    finally:
        await history.close()


def make_room(kind: RoomKind = "public", *, id: str | None = None, title: str = "", capacity: int = 1000) -> Room:
    """A room with a uid that no other has."""
    number = next(_numbers)
    return Room(f"uid{number}", id or f"room{number}", kind, title, "", capacity, 0, 1)


def member(user: str, role: Role | None = "member", *, at: int = 1) -> tuple[Standing, Person]:
    return Standing(user, role, at), Person(user, user.title())


async def new_room(
    history: History,
    *members: tuple[Standing, Person],
    kind: RoomKind = "public",
    id: str | None = None,
    title: str = "",
    capacity: int = 1000,
) -> Room:
    """A room in the store; without members it has the owner Ann."""
    room = make_room(kind, id=id, title=title, capacity=capacity)
    return await history.create_room(room, members or [member("ann", "owner")])


def draft(uid: str, key: str, *, body: str = "hello", sender: str = "ann", at: int = 1000) -> Insert:
    return Insert(Message(uid, 0, 0, key, Sender(sender, sender.title()), body, None, (), at))


def editing(uid: str, seq: int, body: str) -> Change:
    return Change(uid, seq, lambda message: replace(message, body=body, edited_at=2000))


def deleting(uid: str, seq: int) -> Change:
    return Change(uid, seq, lambda message: None if message.deleted else replace(message, body="", deleted=True))


async def say(
    history: History, uid: str, *bodies: str, sender: str = "ann", at: Callable[[int], int] = lambda number: number
) -> list[Message]:
    """Send messages, in order, under keys of their own; `at` is their time by a number that rises."""
    ops = [
        draft(uid, f"key{number}", body=body, sender=sender, at=at(number))
        for number, body in zip(_numbers, bodies, strict=False)
    ]
    return [written(outcome).message for outcome in await history.commit(ops)]


def written(outcome: Outcome) -> Written:
    assert isinstance(outcome, Written), outcome
    return outcome


def code_of(outcome: Outcome) -> str:
    assert isinstance(outcome, HubbubError), outcome
    return outcome.code


async def all_messages(history: History, uid: str, *, limit: int = 500) -> Mapping[int, Message]:
    """The room as a new reader sees it, page by page."""
    messages: list[Message] = []
    after = 0
    while True:
        page = await history.page(uid, after=after, limit=limit, max_bytes=AMPLE_BYTES)
        messages += page.messages
        if not page.more_after:
            return {message.seq: message for message in messages}
        after = page.messages[-1].seq


async def eventually(look: Callable[[], Awaitable[object]], expected: object) -> None:
    """Look until it is as expected; the time limit is for a test that fails."""
    seen: object = None
    try:
        async with asyncio.timeout(20):
            while (seen := await look()) != expected:
                await asyncio.sleep(0)  # Each look is a read of the store: it takes its time.
    except TimeoutError:
        assert seen == expected


@contextmanager
def child(code: str, *arguments: str | Path, under: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that runs this code, with the service to import; `under` is a program to run it under.

    It is killed at the end, if it is still there.
    """
    with subprocess.Popen(
        [*under, sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def walks(connection: sqlite3.Connection, query: str, parameters: Mapping[str, object]) -> list[str]:
    """The steps of a query's plan that walk over a whole table; what the query made itself is none."""
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
    made = {step.split()[-1] for step in plan if step.startswith(("CO-ROUTINE", "MATERIALIZE"))} | {"ROW"}
    scans = [step for step in plan if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
    return [step for step in scans if step.split()[-1] not in made]
