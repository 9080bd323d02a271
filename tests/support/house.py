"""The whole of chat without a wire: the real store, the real writer, real groups, outlets that keep what comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

from hubbub.cluster.base import Node
from hubbub.cluster.bus import Bus
from hubbub.cluster.memory import LoneRegistry
from hubbub.domain.chat import Chat
from hubbub.domain.control.ports import Doors
from hubbub.domain.limits import Limits
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.filters.base import Reviewer
from hubbub.history.base import History
from hubbub.history.writer import Writer
from hubbub.transport.fanout import Fanout
from tests.support.domain import ManualClock, PromptBatch, RecordingOutlet, as_read, identity_of
from tests.support.history import open_sqlite

__all__ = ["ChatHouse", "Held", "Interposed", "chat_house", "outlet_of", "refusal_of"]

TIMEOUT_S = 20.0


class Held:
    """Calls of one method of the store whose answers are kept back. `arrived` is how many were asked."""

    def __init__(self) -> None:
        self.arrived = asyncio.Semaphore(0)
        self._gate = asyncio.Event()

    async def wait(self) -> None:
        """Until one more call was made, and the store has answered it."""
        async with asyncio.timeout(TIMEOUT_S):
            await self.arrived.acquire()

    def release(self) -> None:
        self._gate.set()

    async def pass_on(self, answer: Any) -> Any:
        self.arrived.release()
        await self._gate.wait()
        return answer


class Interposed:
    """A store in front of another: it holds answers back, refuses, and counts calls, as the test says."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._held: dict[str, Held] = {}
        self._failures: dict[str, list[HubbubError]] = {}
        self._meanwhile: dict[str, Callable[[], Awaitable[object]]] = {}
        self.calls: list[str] = []

    def hold(self, method: str) -> Held:
        """From now on answers of this method are kept back, until `release` is called on what this returns."""
        held = self._held[method] = Held()
        return held

    def let_go(self, method: str) -> None:
        self._held.pop(method).release()

    def fail(self, method: str, *errors: HubbubError) -> None:
        """The next calls of this method fail with these."""
        self._failures.setdefault(method, []).extend(errors)

    def meanwhile(self, method: str, work: Callable[[], Awaitable[object]]) -> None:
        """From now on this happens between the answer of the store to this method and its arrival."""
        self._meanwhile[method] = work

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._history, name)
        if not asyncio.iscoroutinefunction(member):
            return member

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            held = self._held.get(name)
            if self._failures.get(name):
                raise self._failures[name].pop(0)
            answer = await member(*args, **kwargs)
            if name in self._meanwhile:
                await self._meanwhile[name]()
            return await held.pass_on(answer) if held is not None else answer

        return call


class ChatHouse:
    """`chat` over a store in a file. `store` is what stands in front of it."""

    def __init__(
        self,
        history: History,
        *,
        limits: Limits,
        reviewer: Reviewer | None = None,
        clock: ManualClock | None = None,
        doors: Doors | None = None,
        node: str = "n",
        bus: Bus | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.store = Interposed(history)
        self.fanout = Fanout("/chat", batch=PromptBatch())
        seen_by_chat = cast(History, self.store)
        self.writer = Writer(
            seen_by_chat,
            max_queued=10_000,
            max_queued_bytes=2**26,
            max_batch=256,
            on_written=lambda uid, written: self.chat.written(uid, written),
        )
        self.watch_fanout = Fanout("/presence", batch=PromptBatch())
        self.chat = Chat(
            history=seen_by_chat,
            writer=self.writer,
            channel=self.fanout,
            clock=self.clock,
            limits=limits,
            registry=LoneRegistry(Node(node, "1")),
            watch_channel=self.watch_fanout,
            quiet_above=100,
            bus=bus,
            doors=doors,
            now=self.clock,
            reviewer=reviewer,
        )
        self._keys = 0

    async def enter(
        self, user: str, *, roles: Sequence[str] = (), rooms: Sequence[str] | None = None, name: str | None = None
    ) -> Client:
        """A connection of a user."""
        identity = identity_of(user, roles=roles, rooms=rooms, name=name)
        return await self.chat.house.roster.enter(RecordingOutlet(), identity)

    def leave(self, client: Client, *, clean: bool = True) -> None:
        outlet = outlet_of(client)
        outlet.is_open = False
        self.fanout.forget(outlet)
        self.chat.house.roster.leave(client, clean=clean)

    async def room(self, owner: Client, room_id: str = "tea", *, kind: str = "public", **more: Any) -> str:
        """A new room, by its id."""
        request = {"kind": kind, "title": room_id, **({"id": room_id} if kind == "public" else {}), **more}
        room: str = (await self.chat.rooms.create(owner, request))["room"]["id"]
        return room

    async def join(self, client: Client, room: str = "tea", **more: Any) -> dict[str, Any]:
        """`room:join` as the wire does it: the ack is kept in the outlet, then what must follow it."""
        behind: list[Callable[[], None]] = []
        answer: dict[str, Any] = as_read(
            await self.chat.reading.join(client, {"room": room, **more}, after_ack=behind.append)
        )
        client.outlet.emit("<ack>", {"head": answer["head"], "outcome": answer["outcome"]})
        for callback in behind:
            callback()
        return answer

    async def sync(self, client: Client, since: int, room: str = "tea", **more: Any) -> dict[str, Any]:
        """`history:sync`, as the client reads the answer."""
        answer: dict[str, Any] = as_read(await self.chat.reading.sync(client, {"room": room, "since": since, **more}))
        return answer

    async def send(self, client: Client, body: str = "hello", room: str = "tea", **more: Any) -> dict[str, Any]:
        """`message:send`, under a key of its own unless one is given; returns the message."""
        self._keys += 1
        request = {"room": room, "key": f"k{self._keys}", "body": body, **more}
        message: dict[str, Any] = (await self.chat.posting.send(client, request, admitted=lambda: None))["message"]
        return message

    def uid(self, room: str = "tea") -> str:
        active = self.chat.house.rooms._by_id[room]
        return active.uid


def outlet_of(client: Client) -> RecordingOutlet:
    assert isinstance(client.outlet, RecordingOutlet)
    return client.outlet


@contextlib.asynccontextmanager
async def chat_house(
    path: Path, *, limits: Limits | None = None, reviewer: Reviewer | None = None
) -> AsyncIterator[ChatHouse]:
    async with open_sqlite(path / "hubbub.db") as history:
        house = ChatHouse(history, limits=limits or Limits(), reviewer=reviewer)
        try:
            yield house
        finally:
            await house.chat.close()
            await house.writer.drain(TIMEOUT_S)


async def refusal_of(work: Any) -> str:
    """The code with which an awaitable is refused."""
    try:
        await work
    except HubbubError as error:
        return error.code
    raise AssertionError("It was not refused.")
