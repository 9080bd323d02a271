"""What can be done to a store from outside while the service uses it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from hubbub.history.base import History
from hubbub.history.sqlite import SqliteHistory
from tests.support.chaos_ledger import StoredRoom

__all__ = ["ChaosStore", "SqliteStore", "read_rooms"]

TIMEOUT_S: Final = 30.0

_HOLDER: Final = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


class ChaosStore(Protocol):
    """One store of one run, in a directory of its own."""

    @property
    def settings(self) -> Mapping[str, object]:
        """Settings of the service that uses it."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Everything that was started for it is gone."""

    async def kill(self) -> None:
        """`kill -9`, if it is a process of its own."""

    def frozen(self) -> contextlib.AbstractAsyncContextManager[None]:
        """It neither answers nor fails."""

    def slow(self, service_pid: int, delay_ms: int) -> contextlib.AbstractAsyncContextManager[None]:
        """It takes so much longer for each step that reaches it."""

    def history(self) -> History:
        """To read it without the service."""


class SqliteStore:
    """A database file. It is killed with the service, frozen by another process that holds the right to write, and
    slow as a disk is whose sync takes long: strace makes each `fdatasync` of the service late.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "hubbub.db"

    @property
    def settings(self) -> Mapping[str, object]:
        return {"store": f"sqlite:///{self._path}"}

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def kill(self) -> None:
        raise NotImplementedError("the service is SQLite's process")

    @contextlib.asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        pipe = asyncio.subprocess.PIPE
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _HOLDER, str(self._path), stdin=pipe, stdout=pipe
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                assert await holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.stdin.close()
            await _ended(holder)

    @contextlib.asynccontextmanager
    async def slow(self, service_pid: int, delay_ms: int) -> AsyncIterator[None]:
        strace = shutil.which("strace")
        assert strace is not None, "strace is needed for this test; `make chaos` brings it."
        inject = f"inject=fsync,fdatasync:delay_enter={delay_ms * 1000}"
        tracer = await asyncio.create_subprocess_exec(
            *(strace, "-f", "-o", os.devnull, "-e", "trace=fsync,fdatasync", "-e", inject, "-p", str(service_pid)),
            stderr=asyncio.subprocess.PIPE,
        )
        assert tracer.stderr is not None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                said = await tracer.stderr.readline()
            # The service may have been killed a moment ago; that is no slow store, but no fault of the run either.
            assert b"attached" in said or b"No such process" in said, said.decode(errors="replace")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                tracer.terminate()
            await _ended(tracer)

    def history(self) -> History:
        return SqliteHistory(self._path)


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise


async def read_rooms(store: ChaosStore, rooms: Sequence[str]) -> list[StoredRoom]:
    """The rooms as the store itself has them."""
    history: Any = store.history()
    await history.open()
    try:
        found = []
        for room_id in rooms:
            room = await history.room(room_id)
            assert room is not None
            revisions = await history.revisions(room.uid, after=0, upto=room.head)
            found.append(StoredRoom(room_id, room.head, revisions))
        return found
    finally:
        await history.close()
