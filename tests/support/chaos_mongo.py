"""A MongoDB that is killed, frozen and slow while the service uses it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from hubbub.history.base import History
from hubbub.history.mongo import MongoHistory
from tests.support.links import Link
from tests.support.mongodb import MongoProcess

__all__ = ["MongoStore"]


class MongoStore:
    """A SecantusDB of the run's own, since it is killed: `HUBBUB_TEST_MONGODB` is somebody's. The service reaches it
    over a line that is made slow. What was killed comes back on the same data and the same port.
    """

    def __init__(self, directory: Path) -> None:
        self._server = MongoProcess(directory / "mongo")
        self._link = Link(0)

    @property
    def settings(self) -> Mapping[str, object]:
        # Else the driver goes where the server says that it is, past the line.
        return {"store": f"mongodb://127.0.0.1:{self._link.port}/chaos?directConnection=true"}

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)
        if self._link.port == 0:
            self._link.target = self._server.port
            await self._link.start()

    async def stop(self) -> None:
        await self._link.stop()
        await asyncio.to_thread(self._server.kill)

    async def kill(self) -> None:
        await asyncio.to_thread(self._server.kill)

    @contextlib.asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        self._server.freeze()
        try:
            yield
        finally:
            self._server.thaw()

    @contextlib.asynccontextmanager
    async def slow(self, service_pid: int, delay_ms: int) -> AsyncIterator[None]:
        self._link.delay(delay_ms / 1000)
        try:
            yield
        finally:
            self._link.delay(0)

    def history(self) -> History:
        return MongoHistory(f"{self._server.uri}chaos")
