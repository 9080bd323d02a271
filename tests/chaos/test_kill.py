"""`kill -9` while fifty clients write as fast as they get acks: nothing acknowledged is lost, or there twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import socketio

from hubbub.history.sqlite import SqliteHistory
from tests.support.chat import ChatClient
from tests.support.service import RunningService, start_service

CLIENTS = 50
ROOMS = 5
ACKS_BEFORE_KILL = (300, 1500)
EMOJI = ("👍", "🎉", "🙈")


@dataclass
class Ledger:
    """What the clients know: their sends by key, and the newest acknowledged document of each message."""

    sent: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    """(room, user, key) to the id in the ack, None while there was no ack."""
    newest: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Message id to the document with the highest revision that any ack carried."""
    acks: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    kill_at: int = 0

    def acknowledged(self, document: dict[str, Any]) -> None:
        held = self.newest.get(document["id"])
        if held is None or document["rev"] > held["rev"]:
            self.newest[document["id"]] = document
        self.acks += 1
        if self.acks >= self.kill_at:
            self.enough.set()


class Writer:
    """One client that sends, edits, deletes and reacts without a pause."""

    def __init__(self, number: int, ledger: Ledger, seed: int) -> None:
        self.user = f"user-{number}"
        self.room = f"room-{number % ROOMS}"
        self.random = random.Random(f"{seed}-{number}")
        self.ledger = ledger
        self.own: list[str] = []
        self.count = 0

    async def run(self, url: str, token: str) -> None:
        """Write until the service is gone."""
        client = ChatClient()
        writing = asyncio.create_task(self.write(client, url, token))
        # The stock client lets a call wait for its ack until it times out, also when the connection is gone.
        gone = asyncio.create_task(client.disconnected.wait())
        await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (writing, gone):
            task.cancel()
        results = await asyncio.gather(writing, gone, return_exceptions=True)
        # The library may wait without end for a connection that was cut in the middle of its making.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(10):
                await client.close()
        for result in results:
            if isinstance(result, AssertionError):
                raise result

    async def write(self, client: ChatClient, url: str, token: str) -> None:
        try:
            await client.connect(url, token)
            await client.ok("room:join", {"room": self.room, "limit": 1})
            while True:
                await self.step(client)
        except (socketio.exceptions.SocketIOError, TimeoutError, OSError):
            return

    async def step(self, client: ChatClient) -> None:
        action = self.random.random()
        request: dict[str, Any]
        known = [message for message in self.ledger.newest.values() if message["room"] == self.room]
        if action < 0.5 or not self.own:
            await self.send(client)
        elif action < 0.7:
            request = {"room": self.room, "id": self.random.choice(self.own), "body": f"edited {self.count}"}
            await self.change(client, "message:edit", request)
        elif action < 0.8:
            request = {"room": self.room, "id": self.random.choice(self.own)}
            await self.change(client, "message:delete", request)
        else:
            target = self.random.choice(known)["id"]
            request = {"room": self.room, "id": target, "on": True}
            request["emoji"] = self.random.choice(EMOJI)
            await self.change(client, "message:react", request)

    async def send(self, client: ChatClient) -> None:
        self.count += 1
        key = f"k{self.random.getrandbits(64):x}"
        self.ledger.sent[self.room, self.user, key] = None
        data = await client.ok("message:send", {"room": self.room, "key": key, "body": f"number {self.count}"})
        self.ledger.sent[self.room, self.user, key] = data["message"]["id"]
        self.own.append(data["message"]["id"])
        self.ledger.acknowledged(data["message"])

    async def change(self, client: ChatClient, event: str, request: dict[str, Any]) -> None:
        ack = await client.call(event, request)
        if ack["ok"]:
            self.ledger.acknowledged(ack["data"]["message"])
        else:
            assert ack["error"]["code"] == "conflict", ack  # The message was deleted meanwhile.


async def check_revisions(path: Path) -> int:
    """In the store itself, every room's revisions are 1..n. Returns how many there are."""
    history = SqliteHistory(path)
    await history.open()
    try:
        total = 0
        for number in range(ROOMS):
            room = await history.room(f"room-{number}")
            assert room is not None
            revisions = await history.revisions(room.uid, after=0, upto=room.head)
            assert [rev for rev, _ in revisions] == list(range(1, room.head + 1))
            total += room.head
        return total
    finally:
        await history.close()


async def check_documents(client: ChatClient, ledger: Ledger) -> None:
    """What a fresh reader gets holds every acknowledged change, and every key once."""
    documents: dict[str, dict[str, Any]] = {}
    for number in range(ROOMS):
        since, head = 0, 1
        while since < head:
            page = await client.ok("history:sync", {"room": f"room-{number}", "since": since, "limit": 500})
            since, head = page["next"], page["head"]
            for document in page["messages"]:
                documents[document["id"]] = document
    for message_id, acknowledged in ledger.newest.items():
        stored = documents[message_id]
        assert stored["rev"] >= acknowledged["rev"]
        if stored["rev"] == acknowledged["rev"]:
            assert stored == acknowledged
    stored_keys = [(each["room"], each["sender"]["id"], each["key"]) for each in documents.values()]
    assert len(set(stored_keys)) == len(stored_keys)
    for key, first in ledger.sent.items():
        if first is not None:
            assert documents[first]["key"] == key[2]


async def check_repeats(service: RunningService, ledger: Ledger) -> None:
    """A repeat of every send returns the first message; one without an ack is stored now, once."""
    by_user: dict[str, list[tuple[str, str, str]]] = {}
    for key in ledger.sent:
        by_user.setdefault(key[1], []).append(key)

    async def repeat(user: str, keys: list[tuple[str, str, str]]) -> None:
        client = ChatClient()
        await client.connect(service.url, service.token(user=user))
        try:
            for room, _, key in keys:
                data = await client.ok("message:send", {"room": room, "key": key, "body": "again"})
                first = ledger.sent[room, user, key]
                if first is not None:
                    assert data["duplicate"]
                    assert data["message"]["id"] == first
                else:
                    ledger.sent[room, user, key] = data["message"]["id"]
                    twice = await client.ok("message:send", {"room": room, "key": key, "body": "again"})
                    assert twice["duplicate"]
                    assert twice["message"]["id"] == data["message"]["id"]
        finally:
            await client.close()

    await asyncio.gather(*(repeat(user, keys) for user, keys in by_user.items()))


class TestKill:
    """The service's process is killed in the middle of everything."""

    # The library's client drops the connection of a handshake in whose middle the service was killed, without closing
    # it; that says nothing of the service, and a full run meets it.
    @pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
    async def test_what_was_acknowledged_is_there_once_after_every_kill(
        self, tmp_path: Path, pytestconfig: pytest.Config
    ) -> None:
        rounds = 20 if pytestconfig.getoption("--full") else 5
        seed = random.SystemRandom().getrandbits(32)
        print(f"seed {seed}")
        chance = random.Random(seed)
        ledger = Ledger()
        service = await start_service(tmp_path, limits="off")
        try:
            await make_rooms(service)
            for number in range(rounds):
                ledger.acks, ledger.kill_at = 0, chance.randint(*ACKS_BEFORE_KILL)
                ledger.enough.clear()
                writers = [Writer(each, ledger, seed + number) for each in range(CLIENTS)]
                tasks = [
                    asyncio.create_task(writer.run(service.url, service.token(user=writer.user))) for writer in writers
                ]
                await asyncio.wait_for(ledger.enough.wait(), 60)
                await service.kill()
                await asyncio.gather(*tasks)
                assert await check_revisions(tmp_path / "hubbub.db") >= len(ledger.newest)
                service = await start_service(tmp_path, limits="off")
                reader = ChatClient()
                await reader.connect(service.url, service.token(user="reader"))
                await check_documents(reader, ledger)
                await reader.close()
                await check_repeats(service, ledger)
        finally:
            await service.kill()


async def make_rooms(service: RunningService) -> None:
    client = ChatClient()
    await client.connect(service.url, service.token(user="maker"))
    for number in range(ROOMS):
        await client.ok("room:create", {"kind": "public", "id": f"room-{number}", "title": f"Room {number}"})
    await client.close()
