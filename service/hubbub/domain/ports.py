"""What the domain needs of the layers around it, as protocols: who can be talked to, and where writes go."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Protocol

from hubbub.history.base import Change, Insert, Written

__all__ = ["Channel", "Outlet", "WritePort"]


class Outlet(Protocol):
    """One live connection to a client."""

    id: str

    @property
    def is_open(self) -> bool: ...

    def emit(self, event: str, data: Any) -> None:
        """Send an event. A `memoryview` in `data` is a piece of JSON that was encoded already; so it is in acks."""

    async def wait_room(self) -> None:
        """Return when there is room for a page of history: little waits for this client. Or when it is gone."""


class Channel(Protocol):
    """Groups of outlets, to which an event goes encoded once. A group is a room's uid.

    What is `volatile` may be lost by a slow reader, who gets the newest of each `key`. Whoever cannot keep up with the
    rest of a group is taken out of it (`Chat.suspended`).
    """

    def subscribe(self, recipient: Any, group: str) -> None: ...

    def unsubscribe(self, recipient: Any, group: str) -> None: ...

    def forget(self, recipient: Any) -> None: ...

    def close(self, group: str) -> None: ...

    def suspend(self, group: str) -> None:
        """Take everybody out of a group; each is told to join again (`Chat.suspended`)."""

    def size(self, group: str) -> int: ...

    def members(self, group: str) -> Sequence[Any]: ...

    def publish(
        self,
        group: str,
        event: str,
        data: Any,
        *,
        skip: object = None,
        volatile: bool = False,
        key: Hashable = None,
    ) -> int: ...

    def send_many(
        self,
        recipients: Iterable[Any],
        event: str,
        data: Any,
        *,
        skip: object = None,
        volatile: bool = False,
        key: Hashable = None,
    ) -> int: ...


class WritePort(Protocol):
    """The writer: takes a write into its queue at once, and says later what became of it.

    The future's error is a `HubbubError`. Cancelling the future does not cancel the write.
    """

    def submit(self, op: Insert | Change) -> asyncio.Future[Written]: ...
