"""The store goes away under a running service, and comes back: nobody is thrown out, nothing is lost or repeated."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service

TIMEOUT_S = 30.0


async def ready(service: RunningService) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/readyz") as response:
        return response.status, await response.json()


async def wait_ready(service: RunningService, status: str) -> tuple[int, dict[str, Any]]:
    """`/readyz` once it says this."""
    async with asyncio.timeout(TIMEOUT_S):
        while (answer := await ready(service))[1]["status"] != status:
            await asyncio.sleep(0.05)
    return answer


async def metrics(service: RunningService) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def log_events(service: RunningService, prefix: str) -> list[str]:
    lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["event"].startswith(prefix)]


@contextlib.contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Another program has the right to write, and does not give it back."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def two_in_a_room(service: RunningService) -> AsyncIterator[tuple[ChatClient, ChatClient]]:
    async with (
        chat_client(service.url, service.token(user="ada")) as ada,
        chat_client(service.url, service.token(user="bob")) as bob,
    ):
        await ada.ok("room:create", {"kind": "public", "id": "tea", "title": "Tea"})
        for client in (ada, bob):
            await client.ok("room:join", {"room": "tea"})
        yield ada, bob


def send(key: str) -> dict[str, str]:
    return {"room": "tea", "key": key, "body": f"body of {key}"}


class TestSqlite:
    async def test_while_the_file_cannot_be_written_the_node_is_degraded_and_keeps_its_clients(
        self, tmp_path: Path
    ) -> None:
        async with running_service(tmp_path, limits="off") as service, two_in_a_room(service) as (ada, bob):
            first = await ada.ok("message:send", send("before"))
            with write_lock(tmp_path / "hubbub.db"):
                answers = await asyncio.gather(*(ada.call("message:send", send(f"k{number}")) for number in range(20)))
                assert [answer["error"]["code"] for answer in answers] == ["unavailable"] * 20
                assert all(answer["error"]["retry_after"] >= 1 for answer in answers)
                status, document = await wait_ready(service, "degraded")
                assert status == 200
                assert "locked by another program" in document["reasons"][0]
                values = await metrics(service)
                assert values["hubbub_store_up"] == 0
                assert values["hubbub_commit_failures_total"] >= 1
                # What needs no writing goes on, from memory and from the file.
                await ada.emit("typing", {"room": "tea", "on": True})
                await bob.wait_for("typing")
                page = await bob.ok("history:fetch", {"room": "tea"})
                assert page["messages"] == [first["message"]]
                assert len((await bob.ok("room:members", {"room": "tea"}))["members"]) == 2
                refused = await bob.error("room:create", {"kind": "public", "id": "new", "title": "New"})
                assert (refused["code"], refused["retryable"]) == ("unavailable", True)
                assert refused["retry_after"] > 0
            await wait_ready(service, "ready")
            again = [await ada.ok("message:send", send(f"k{number}")) for number in range(20)]
            assert len({answer["message"]["id"] for answer in again}) == 20
            events = await bob.wait_count("message", 21)
            assert [event["rev"] for event in events] == list(range(1, 22))
            for client in (ada, bob):
                assert not client.disconnected.is_set()
            assert log_events(service, "store.") == ["store.up", "store.away", "store.up"]
            assert log_events(service, "connection.closed") == []

    async def test_a_node_whose_store_is_away_still_ends_when_it_is_asked_to(self, tmp_path: Path) -> None:
        async with running_service(tmp_path, limits="off", drain_s=1) as service, two_in_a_room(service) as (ada, _):
            with write_lock(tmp_path / "hubbub.db"):
                await wait_ready(service, "degraded")
                sent = asyncio.ensure_future(ada.call("message:send", send("late")))
                async with asyncio.timeout(TIMEOUT_S / 2):
                    assert await service.stop() == 0
                # It was answered, or its connection ended: the stock client waits for an ack all the same.
                if sent.done():
                    assert (await sent)["ok"] is False
                sent.cancel()
