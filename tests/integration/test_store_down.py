"""The store goes away under a running service, and comes back: nobody is thrown out, nothing is lost or repeated."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pymongo import MongoClient

from tests.support.chat import ChatClient, chat_client
from tests.support.mongodb import MongoProcess
from tests.support.service import RunningService, running_service, start_service, stop_traced

TIMEOUT_S = 30.0
SECRET = "a secret for tests, which is long enough"


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


async def wait_logged(service: RunningService, prefix: str, events: list[str]) -> None:
    """Until just these are in the log: a line is written beside what it tells of, and read here a moment later."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while log_events(service, prefix) != events:
                await asyncio.sleep(0.01)
    assert log_events(service, prefix) == events


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
            await wait_logged(service, "store.", ["store.up", "store.away", "store.up"])
            assert log_events(service, "connection.closed") == []

    async def test_a_disk_that_is_slower_than_what_comes_in_has_writes_acknowledged_late_or_refused(
        self, tmp_path: Path
    ) -> None:
        """Each sync takes 0.2 s more, and ten writes may wait: what was acknowledged is there, and nothing twice."""
        slow = "--inject=fsync,fdatasync:delay_enter=200000"
        prefix = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", slow, "-o", str(tmp_path / "trace")]
        service = await start_service(tmp_path, prefix=prefix, limits="off", max_queued=10)
        try:
            async with two_in_a_room(service) as (ada, bob):
                acknowledged: list[str] = []
                waits: list[float] = []

                async def insist(key: str) -> None:
                    while True:
                        ack = await ada.call("message:send", send(key))
                        if ack["ok"]:
                            acknowledged.append(key)
                            return
                        assert ack["error"]["code"] == "unavailable"
                        waits.append(ack["error"]["retry_after"])
                        await asyncio.sleep(ack["error"]["retry_after"] * random.random())

                await asyncio.gather(*(insist(f"k{number}") for number in range(40)))
                assert waits
                assert min(waits) >= 1
                events = await bob.wait_count("message", 40)
                assert [event["rev"] for event in events] == list(range(1, 41))
                assert sorted(event["key"] for event in events) == sorted(acknowledged)
                assert (await metrics(service))["hubbub_writer_refused_total"] == len(waits)
            await stop_traced(service)
        finally:
            await service.kill()

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


def on_mongodb(server: MongoProcess) -> dict[str, Any]:
    """The settings of a service on this server."""
    return {"store": f"{server.uri}hubbub_test", "jwt_secret": SECRET, "limits": "off"}


class TestMongodbAtTheStart:
    async def test_a_server_that_is_not_there_yet_is_waited_for(
        self, tmp_path: Path, mongo_server: MongoProcess
    ) -> None:
        mongo_server.kill()
        async with running_service(tmp_path, **on_mongodb(mongo_server)) as service:
            status, document = await ready(service)
            assert (status, document["status"]) == (503, "starting")
            assert document["reasons"][0].startswith("the store cannot be reached yet: No server at 127.0.0.1:")
            assert "Connect call failed" in document["reasons"][0]
            async with aiohttp.ClientSession() as session:
                handshake = f"{service.url}/socket.io/?EIO=4&transport=polling"
                async with session.get(handshake) as response:
                    assert (response.status, await response.text()) == (503, "This node is starting.")
                async with session.get(f"{service.url}/healthz") as response:
                    assert response.status == 200
            await asyncio.to_thread(mongo_server.start)
            assert (await wait_ready(service, "ready"))[0] == 200
            async with two_in_a_room(service) as (ada, bob):
                await ada.ok("message:send", send("k"))
                await bob.wait_count("message", 1)
            await wait_logged(service, "store.", ["store.away", "store.up"])
            assert "It takes no clients yet: the store cannot be reached yet" in service.log

    async def test_a_node_that_waits_for_its_store_ends_when_it_is_asked_to(
        self, tmp_path: Path, mongo_server: MongoProcess
    ) -> None:
        mongo_server.kill()
        async with running_service(tmp_path, **on_mongodb(mongo_server)) as service, asyncio.timeout(5):
            assert await service.stop() == 0

    async def test_data_of_a_newer_version_end_the_process_whenever_they_are_met(
        self, tmp_path: Path, mongo_server: MongoProcess
    ) -> None:
        settings = on_mongodb(mongo_server)
        with MongoClient[dict[str, Any]](mongo_server.uri) as client:
            await asyncio.to_thread(client["hubbub_test"]["meta"].insert_one, {"_id": "schema", "version": 999})
        with pytest.raises(RuntimeError, match="written by a newer version of Hubbub") as caught:
            await start_service(tmp_path, **settings)
        mongo_server.kill()
        async with running_service(tmp_path, **settings) as service:
            await asyncio.to_thread(mongo_server.start)
            assert await asyncio.wait_for(service.process.wait(), TIMEOUT_S) == 1
            assert service.reader is not None
            await service.reader
            for log in (str(caught.value), service.log):
                assert log.count("written by a newer version of Hubbub") == 1
                assert "Traceback" not in log

    async def test_a_wrong_password_ends_the_process_and_is_in_no_line(
        self, tmp_path: Path, mongo_server: MongoProcess
    ) -> None:
        settings = on_mongodb(mongo_server)
        settings["store"] = settings["store"].replace("//", "//ann:WrongPassword@", 1)
        with pytest.raises(RuntimeError, match="refuses this user or password") as caught:
            await start_service(tmp_path, **settings)
        assert "WrongPassword" not in str(caught.value)
        assert "Traceback" not in str(caught.value)

    async def test_a_node_whose_first_attempt_still_hangs_ends_when_it_is_asked_to(self, tmp_path: Path) -> None:
        """Nothing listens yet. That the attempt is under way is seen by a server that takes connections and is mute."""
        tried = asyncio.Event()

        async def be_mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tried.set()
            await reader.read()
            writer.close()

        async with await asyncio.start_server(be_mute, "127.0.0.1", 0) as mute:
            port = mute.sockets[0].getsockname()[1]
            environ = {key: value for key, value in os.environ.items() if not key.startswith("HUBBUB_")}
            environ |= {"HUBBUB_STORE": f"mongodb://127.0.0.1:{port}/x", "HUBBUB_JWT_SECRET": SECRET}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "hubbub", "serve", "--port", "0", env=environ, stdout=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(TIMEOUT_S):
                await tried.wait()
            process.terminate()
            async with asyncio.timeout(3):  # The attempt would take five seconds.
                output, _ = await process.communicate()
            assert (process.returncode, output) == (0, b"")


class TestMongodb:
    async def test_while_the_server_is_gone_the_node_is_degraded_and_keeps_its_clients(
        self, tmp_path: Path, mongo_server: MongoProcess
    ) -> None:
        async with (
            running_service(tmp_path, **on_mongodb(mongo_server)) as service,
            two_in_a_room(service) as (ada, bob),
        ):
            await ada.ok("message:send", send("before"))
            mongo_server.kill()
            answers = await asyncio.gather(*(ada.call("message:send", send(f"k{number}")) for number in range(20)))
            assert [answer["error"]["code"] for answer in answers] == ["unavailable"] * 20
            assert all(answer["error"]["retry_after"] >= 1 for answer in answers)
            assert (await wait_ready(service, "degraded"))[0] == 200
            await ada.emit("typing", {"room": "tea", "on": True})
            await bob.wait_for("typing")
            refused = await bob.error("history:fetch", {"room": "tea"})
            assert (refused["code"], refused["retry_after"] > 0) == ("unavailable", True)
            newcomer = ChatClient()
            coming = asyncio.ensure_future(newcomer.connect(service.url, service.token(user="cyd")))
            await asyncio.to_thread(mongo_server.start)
            await wait_ready(service, "ready")
            await coming  # Was not refused, which stock clients take for final.
            await newcomer.close()
            for number in range(20):
                await ada.ok("message:send", send(f"k{number}"))
            events = await bob.wait_count("message", 21)
            assert [event["rev"] for event in events] == list(range(1, 22))
            for client in (ada, bob):
                assert not client.disconnected.is_set()
            await wait_logged(service, "store.", ["store.up", "store.away", "store.up"])
            assert len(log_events(service, "connection.closed")) == 1  # The newcomer has gone.

    async def test_what_a_frozen_server_wrote_after_all_reaches_everybody_within_five_seconds(
        self, tmp_path: Path, mongo_server: MongoProcess
    ) -> None:
        """Nobody announces it, and nobody sends it again: the sender was told that the outcome is unknown."""
        async with (
            running_service(tmp_path, **on_mongodb(mongo_server)) as service,
            two_in_a_room(service) as (ada, bob),
        ):
            await ada.ok("message:send", send("before"))
            mongo_server.freeze()
            try:
                answer = await ada.call("message:send", send("unknown"))
                assert answer["error"]["code"] == "unavailable"
            finally:
                mongo_server.thaw()
            await wait_ready(service, "ready")
            async with asyncio.timeout(5.5):
                page = await ada.ok("history:fetch", {"room": "tea"})
                events = await bob.wait_count("message", len(page["messages"]))
            assert events == page["messages"]
            await ada.ok("message:send", send("unknown"))
            await ada.ok("message:send", send("after"))
            for client in (ada, bob):
                keys = [event["key"] for event in await client.wait_count("message", 3)]
                assert keys == ["before", "unknown", "after"]

    async def test_a_node_whose_server_hangs_ends_when_it_is_asked_to(
        self, tmp_path: Path, mongo_server: MongoProcess
    ) -> None:
        settings = on_mongodb(mongo_server)
        async with running_service(tmp_path, drain_s=1, **settings) as service, two_in_a_room(service) as (ada, _):
            await ada.ok("message:send", send("before"))
            mongo_server.freeze()
            try:
                sent = asyncio.ensure_future(ada.call("message:send", send("late")))
                await ada.emit("typing", {"room": "tea", "on": True})
                # Two times `drain_s`, five seconds for the store to close, and what two busy cores add.
                async with asyncio.timeout(7 + 5):
                    assert await service.stop() == 0
                sent.cancel()
            finally:
                mongo_server.thaw()
            assert "Traceback" not in service.log
