"""Many clients come back at once, and slow ones ask for much: over the wire, with stock clients, on every transport."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.integration.test_slow_reader import TIMEOUT_S, metrics, slow_client
from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service

CLIENTS = 24
SENT = 300
LARGE = "é" * 4000


def reads_of(text: str) -> float:
    return sum(float(value) for value in re.findall(r"^hubbub_history_reads_total\S* (\S+)$", text, re.MULTILINE))


async def crowd(stack: AsyncExitStack, service: RunningService) -> list[ChatClient]:
    """Stock clients, each a user of its own; every third one polls."""
    return [
        await stack.enter_async_context(
            chat_client(
                service.url,
                service.token(user=f"user-{number}"),
                transports=["polling" if number % 3 == 0 else "websocket"],
            )
        )
        for number in range(CLIENTS)
    ]


async def compressed_join(service: RunningService, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a join on a WebSocket that takes compressed frames."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{service.url}/socket.io/?EIO=4&transport=websocket", compress=15, max_msg_size=2**20
        ) as socket,
    ):
        await socket.send_str("40/chat," + orjson.dumps({"token": service.token(user="zoe")}).decode())
        while not (await socket.receive_str(timeout=10)).startswith('42/chat,["hello"'):
            pass
        await socket.send_str("42/chat,1" + orjson.dumps(["room:join", request]).decode())
        while not (text := await socket.receive_str(timeout=10)).startswith("43/chat,1["):
            pass
        answer: dict[str, Any] = orjson.loads(text.removeprefix("43/chat,1"))[0]["data"]
        return answer


class TestAfterARestart:
    async def test_everybody_gets_what_was_missed_and_the_store_is_hardly_asked(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"limits": "off", "deflate_bytes": 1000}
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(running_service(tmp_path, **settings))
            clients = await crowd(stack, service)
            await clients[0].ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
            joined = [await client.ok("room:join", {"room": "lobby"}) for client in clients]
            epoch = joined[0]["room"]["epoch"]
            for first in range(0, SENT, 50):
                await asyncio.gather(
                    *(
                        clients[1].ok("message:send", {"room": "lobby", "key": f"k{n}", "body": f"message {n}"})
                        for n in range(first, first + 50)
                    )
                )
            await service.stop()
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(running_service(tmp_path, **settings))
            clients = await crowd(stack, service)
            asked = [{"room": "lobby", "since": 10 + n % 5, "epoch": epoch, "limit": 500} for n in range(CLIENTS)]
            before = reads_of(await metrics(service.url))
            answers = await asyncio.gather(
                *(client.ok("room:join", request) for client, request in zip(clients, asked, strict=True))
            )
            reads = reads_of(await metrics(service.url)) - before
            for request, answer in zip(asked, answers, strict=True):
                assert (answer["outcome"], answer["head"], answer["next"]) == ("full", SENT, SENT)
                assert [each["rev"] for each in answer["messages"]] == [*range(request["since"] + 1, SENT + 1)]
                assert answer["messages"] == answers[0]["messages"][-len(answer["messages"]) :]
            assert 0 < reads <= 8
            compressed = await compressed_join(service, asked[0])
            assert compressed["messages"] == answers[0]["messages"]
            last = await clients[2].ok("message:send", {"room": "lobby", "key": "last", "body": "and on"})
            for client in clients:
                (event,) = await client.wait_count("message", 1)
                assert event == last["message"]


class TestSlowReaders:
    async def test_one_who_asks_for_many_large_pages_gets_them_as_it_reads(self, tmp_path: Path) -> None:
        """They are three times what may wait for it."""
        rooms = [f"room-{number}" for number in range(7)]
        async with (
            running_service(tmp_path, limits="off", outbox_bytes=524_288, ping_interval_s=300) as service,
            chat_client(service.url, service.token(user="alice"), transports=["websocket"]) as alice,
            slow_client(service.url, service.token(user="bob")) as bob,
        ):
            for room in rooms:
                await alice.ok("room:create", {"kind": "public", "id": room, "title": room})
                await asyncio.gather(
                    *(alice.ok("message:send", {"room": room, "key": f"k{n}", "body": LARGE}) for n in range(40))
                )
            for number, room in enumerate(rooms):
                await bob.send(f'42/chat,{number}["room:join",{{"room":"{room}","limit":500}}]')
            # The first answers are on their way, and those behind them wait.
            async with asyncio.timeout(TIMEOUT_S):
                while 'hubbub_events_total{code="ok",event="room:join"} 2.0' not in await metrics(service.url):
                    pass
            seen: list[str] = []
            while len(seen) < len(rooms):
                text = await bob.receive()
                assert text is not None, service.log
                if text.startswith("43/chat,"):
                    answer = orjson.loads(text.removeprefix(f"43/chat,{len(seen)}"))[0]["data"]
                    assert 25 < len(answer["messages"]) < 40
                    seen.append(answer["room"]["id"])
            assert seen == rooms
            assert "slow_consumer" not in await metrics(service.url)
