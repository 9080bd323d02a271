"""The manager of one node among several, and outside processes that talk with python-socketio's own."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
import socketio
from structlog.testing import capture_logs

from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_bus import RedisBus
from hubbub.cluster.redis_ears import Ears
from hubbub.transport import shared_manager
from hubbub.transport.shared_manager import SharedManager
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.waiting import until
from tests.support.wire import RawClient, Wire, raw_client, wire


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, traces: Path) -> None:
        self.traces = traces

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.traces,)


class Said:
    """What a manager says, kept here; what it listens to is heard when the test says something."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []
        self.takes: dict[str, Callable[[bytes], None]] = {}

    def manager(self) -> SharedManager:
        return SharedManager(
            say=lambda channel, body: self.said.append((channel, orjson.loads(body))), listen=self.takes.__setitem__
        )


class TestTheManager:
    async def test_an_emit_is_carried_out_here_and_said_to_the_others_once(self) -> None:
        said = Said()
        async with wire(client_manager=said.manager()) as tiny, raw_client(tiny.url) as client:
            await greeted(client)
            await tiny.server.emit("news", {"n": 1}, namespace="/chat")
            assert await client.receive() == '42/chat,["news",{"n":1}]'
            [(channel, message)] = said.said
            assert channel == "socketio"
            assert (message["method"], message["event"], message["data"]) == ("emit", "news", [{"n": 1}])
            # Its own word comes back to it, and is not carried out twice.
            said.takes["socketio"](orjson.dumps(message))
            said.takes["socketio"](orjson.dumps(message | {"host_id": "another", "event": "other"}))
            assert await client.receive() == '42/chat,["other",{"n":1}]'

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff\xfe",
            b"[]",
            b"7",
            b"[" * 5000,
            b'"method"',
            b'{"method":"emit"}',
            b'{"method":["emit"],"host_id":"x"}',
            b'{"method":"nonsense","host_id":"x"}',
            b'{"method":"emit","host_id":"x","event":["news"],"data":["1"],"namespace":"/chat"}',
            b'{"method":"emit","host_id":"x","event":"news","data":"1","namespace":"/chat"}',
            b'{"method":"emit","host_id":"x","event":"news","data":["1"],"namespace":["/chat"]}',
            b'{"method":"emit","host_id":"x","event":"news","data":["1"],"namespace":"/chat","room":{"a":1}}',
            b'{"method":"emit","host_id":"x","event":"news","data":["1"],"namespace":"/chat","room":[["a"]]}',
            b'{"method":"emit","host_id":"x","event":"news","data":["1"],"namespace":"/chat","skip_sid":7}',
            b'{"method":"emit","host_id":"x","event":"news","data":["1"],"namespace":"/chat","callback":[1,2,3]}',
            b'{"method":"emit","host_id":"x","event":"news","data":["1"],"namespace":"/chat","callback":["a"]}',
            b'{"method":"callback","host_id":"x","sid":{},"namespace":"/chat","id":1,"args":[]}',
            b'{"method":"disconnect","host_id":"x","sid":[],"namespace":"/chat"}',
            b'{"method":"enter_room","host_id":"x","sid":"a","namespace":"/chat","room":{}}',
            b'{"method":"leave_room","host_id":"x","sid":"a","namespace":[],"room":"r"}',
            b'{"method":"close_room","host_id":"x","namespace":"/chat","room":null}',
        ],
    )
    async def test_what_is_no_message_is_one_line_and_passed_over(self, body: bytes) -> None:
        lines = await self._says_nothing(body)
        assert [(line["event"], line["log_level"], line["bytes"]) for line in lines] == [
            ("manager.unreadable", "warning", len(body))
        ]
        assert "exc_info" not in lines[0]

    @pytest.mark.parametrize(
        "data",
        [[], [{"_placeholder": True, "num": 5}], ["x", "a"], ["x", 7]],
        ids=["empty", "far", "no", "int"],
    )
    async def test_a_message_that_cannot_be_carried_out_is_one_line(self, data: list[Any]) -> None:
        emit = {"method": "emit", "host_id": "x", "event": "news", "data": data, "binary": True, "namespace": "/chat"}
        lines = await self._says_nothing(orjson.dumps(emit))
        assert [(line["event"], line["method"]) for line in lines] == [("manager.failed", "emit")]
        assert "exc_info" not in lines[0]

    async def test_nothing_is_ever_unpickled(self, tmp_path: Path) -> None:
        """Older versions of the library said and took pickles, and a pickle is a program."""
        traces = tmp_path / "traces"
        pickled = pickle.dumps(Trap(traces), protocol=0)
        lines = await self._says_nothing(pickled)
        assert [line["event"] for line in lines] == ["manager.unreadable"]
        assert not traces.exists()
        pickle.loads(pickled)  # The trap is one.
        assert traces.exists()

    async def test_a_flood_is_told_together(self) -> None:
        lines = await self._says_nothing(*[b"{"] * 500)
        assert sum(line["times"] for line in lines) == 500
        assert len(lines) < 50

    async def test_a_function_of_ours_that_fails_with_an_answer_is_told_with_its_traceback(self) -> None:
        def fail(*answer: Any) -> None:
            raise LookupError("ours")

        said = Said()
        manager = said.manager()
        async with wire(client_manager=manager):
            number = manager._generate_ack_id("elsewhere", fail)
            answer = {"method": "callback", "host_id": manager.host_id, "sid": "elsewhere", "namespace": "/chat"}
            with capture_logs() as lines:
                manager.server._initialize_manager()
                await until(lambda: "socketio" in said.takes)
                said.takes["socketio"](orjson.dumps({**answer, "id": number, "args": [1]}))
                await until(lambda: any(line["event"].startswith("manager.") for line in lines))
        lines = [line for line in lines if line["event"].startswith("manager.")]
        assert [line["event"] for line in lines] == ["manager.callback_failed"]
        assert isinstance(lines[0]["exc_info"], LookupError)

    async def _says_nothing(self, *bodies: bytes) -> list[MutableMapping[str, Any]]:
        """None of these comes out as anything, and what is said after them does. What the manager told in the log."""
        said = Said()
        with capture_logs() as lines:
            async with wire(client_manager=said.manager()) as tiny, raw_client(tiny.url) as client:
                await greeted(client)
                for body in bodies:
                    said.takes["socketio"](body)
                said.takes["socketio"](
                    b'{"method":"emit","host_id":"x","event":"news","data":["1"],"namespace":"/chat"}'
                )
                assert await client.receive() == '42/chat,["news","1"]'
                thread: asyncio.Task[None] = tiny.server.manager.thread
                thread.cancel()
                await asyncio.wait({thread})
        return [line for line in lines if line["event"].startswith("manager.")]

    async def test_more_than_can_be_carried_out_is_dropped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared_manager, "WAITING_MOST", 3)
        said = Said()
        manager = said.manager()
        async with wire(client_manager=manager) as tiny, raw_client(tiny.url) as client:
            await greeted(client)
            for number in range(10):
                body = {"method": "emit", "host_id": "x", "event": "news", "data": [number], "namespace": "/chat"}
                said.takes["socketio"](orjson.dumps(body))
            assert await client.receive() == '42/chat,["news",0]'
            assert manager._waiting.qsize() <= 3


@pytest.fixture(scope="module")
def redis() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


class TestOutsideProcesses:
    """With a real Redis, and the library's own manager in the role of an outside process."""

    @pytest.fixture
    async def nodes(self, redis: RunningRedis) -> AsyncIterator[list[Wire]]:
        async with AsyncExitStack() as stack:
            nodes: list[Wire] = []
            self.ears: list[Ears] = []
            for name in ("one", "two"):
                address = RedisAddress.of(redis.url)
                ears = Ears(address)
                bus = RedisBus(address, ears, name)
                self.ears.append(ears)
                ears.start()
                stack.push_async_callback(ears.close)
                await bus.open(lambda *told: None, on_lost=lambda: None, on_hurry=lambda: None)
                stack.push_async_callback(bus.close)
                manager = SharedManager(say=bus.say, listen=ears.listen)
                nodes.append(await stack.enter_async_context(wire(client_manager=manager)))
                async with asyncio.timeout(20):
                    while not bus.hears:
                        await asyncio.sleep(0.005)
            yield nodes

    async def test_an_emit_of_an_outside_process_reaches_the_clients_of_every_node(
        self, redis: RunningRedis, nodes: list[Wire]
    ) -> None:
        outside = socketio.AsyncRedisManager(redis.url, write_only=True)
        async with raw_client(nodes[0].url) as one, raw_client(nodes[1].url) as two:
            for client in (one, two):
                await greeted(client)
            for ears in self.ears:
                await ears.hears("socketio")
            await outside.emit("news", {"n": 1}, namespace="/chat")
            for client in (one, two):
                assert await client.receive() == '42/chat,["news",{"n":1}]'
            await outside.emit("news", 2, namespace="/chat", room=nodes[1].handler.connections[0].id)
            assert await two.receive() == '42/chat,["news",2]'
        await outside.redis.aclose()


async def greeted(client: RawClient) -> None:
    await client.send("40/chat,")
    for _ in range(2):
        await client.receive()
