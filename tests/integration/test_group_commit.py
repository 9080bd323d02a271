"""Batches grow with the load by themselves, as the service's own histogram shows."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Final

import aiohttp

from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service

SENDERS: Final = 32
MESSAGES: Final = 10
BATCH: Final = "hubbub_commit_batch"


async def batches(service: RunningService) -> dict[str, int]:
    """From the upper bound of each bucket to how many batches are in it or in a smaller one; `count` and `sum`."""
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/metrics") as response:
        text = await response.text()
    lines = (line.split() for line in text.splitlines() if line.startswith(BATCH))
    values = {name.removeprefix(BATCH): int(float(value)) for name, value in lines}
    buckets = {name.split('"')[1]: value for name, value in values.items() if name.startswith("_bucket")}
    return {**buckets, "count": values["_count"], "sum": values["_sum"]}


async def send(client: ChatClient, room: int, name: str) -> None:
    """One after the other: the next goes when the ack is there."""
    for number in range(MESSAGES):
        request = {"room": f"room-{room}", "key": f"{name}-{number}", "body": "Hello."}
        await client.ok("message:send", request)


class TestGroupCommit:
    async def test_a_lone_write_goes_alone_and_many_go_together(self, tmp_path: Path) -> None:
        async with running_service(tmp_path, limits="off") as service, contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(chat_client(service.url, service.token(user=f"user{number}")))
                for number in range(SENDERS)
            ]
            for number, client in enumerate(clients):
                await client.ok("room:create", {"kind": "public", "id": f"room-{number}", "title": "A room"})
            await send(clients[0], 0, "alone")
            alone = await batches(service)
            assert (alone["1.0"], alone["count"], alone["sum"]) == (MESSAGES, MESSAGES, MESSAGES)
            await asyncio.gather(*(send(client, number, "all") for number, client in enumerate(clients)))
            all_sent = await batches(service)
            writes = all_sent["sum"] - alone["sum"]
            assert writes == SENDERS * MESSAGES
            assert (all_sent["count"] - alone["count"]) * 3 < writes
            assert all_sent["count"] > all_sent["4.0"]
