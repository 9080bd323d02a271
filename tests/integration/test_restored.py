"""A back-up is put back under clients that saw more than it holds: they are told to forget what they had."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service
from tests.support.tree import PACKAGE

BEFORE, LOST, AFTER = 10, 5, 7
"""Messages before the back-up, after it, and after it was put back: the head is past what the client has seen."""


async def send(client: ChatClient, life: str, count: int) -> None:
    for n in range(count):
        await client.ok("message:send", {"room": "lobby", "key": f"{life}-{n}", "body": f"{life} {n}"})


def user(service: RunningService, name: str = "ann") -> contextlib.AbstractAsyncContextManager[ChatClient]:
    return chat_client(service.url, service.token(user=name))


async def first_life(client: ChatClient) -> dict[str, Any]:
    await client.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
    await client.ok("room:join", {"room": "lobby"})
    await send(client, "before", BEFORE)
    listed = await client.ok("room:list", {})
    room: dict[str, Any] = next(each for each in listed["rooms"] if each["id"] == "lobby")
    return room


async def check_reset(client: ChatClient, epoch: str) -> None:
    """What the client is told that was there for the messages that were lost, and what it is told from then on."""
    await client.ok("room:join", {"room": "lobby"})
    await send(client, "after", AFTER)
    asked = {"room": "lobby", "since": BEFORE + LOST, "epoch": epoch, "limit": 500}
    synced = await client.ok("history:sync", asked)
    joined = await client.ok("room:join", asked)
    bodies = [*(f"before {n}" for n in range(BEFORE)), *(f"after {n}" for n in range(AFTER))]
    for answer in (synced, joined):
        assert (answer["outcome"], answer["head"], answer["next"]) == ("reset", BEFORE + AFTER, BEFORE + AFTER)
        assert [each["body"] for each in answer["messages"]] == bodies
    now = joined["room"]["epoch"]
    assert now != epoch
    listed = await client.ok("room:list", {})
    assert [each["epoch"] for each in listed["rooms"]] == [now]
    changed = await client.ok("room:update", {"room": "lobby", "topic": "tea"})
    assert changed["room"]["epoch"] == now
    assert (await client.wait_for("room"))["epoch"] == now
    again = await client.ok("room:join", {"room": "lobby", "since": BEFORE + LOST, "epoch": now, "limit": 500})
    assert (again["outcome"], [each["body"] for each in again["messages"]]) == ("full", bodies[BEFORE + LOST :])


def back_up(path: Path, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])


def put_back(path: Path, copy: Path, way: str) -> None:
    for suffix in ("-wal", "-shm", "-search"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if way != "written over":
        path.unlink()
    shutil.copy(copy, path)


def say_restored(service: RunningService) -> None:
    subprocess.run(
        [sys.executable, "-m", "hubbub", "restored"],
        env={**os.environ, **service.environ, "PYTHONPATH": str(PACKAGE.parent)},
        check=True,
    )


class TestSqlite:
    @pytest.mark.parametrize("way", ["in its place", "written over"])
    async def test_a_copy_resets_clients_that_saw_more(self, tmp_path: Path, way: str) -> None:
        path, copy = tmp_path / "hubbub.db", tmp_path / "copy.db"
        async with running_service(tmp_path, limits="off") as service:
            async with user(service) as ann:
                epoch = (await first_life(ann))["epoch"]
                await asyncio.to_thread(back_up, path, copy)
                await send(ann, "lost", LOST)
            await service.stop()
        await asyncio.to_thread(put_back, path, copy, way)
        if way == "written over":
            await asyncio.to_thread(say_restored, service)
        async with running_service(tmp_path, limits="off") as service:
            async with user(service) as ann:
                await check_reset(ann, epoch)
            await service.stop()
        told = [json.loads(line) for line in service.output if "taken for a copy" in line]
        assert len(told) == (way == "in its place")
        # A restart is no new life: who comes back goes on.
        async with running_service(tmp_path, limits="off") as service, user(service) as ann:
            room = (await ann.ok("room:join", {"room": "lobby"}))["room"]
            asked = {"room": "lobby", "since": BEFORE + AFTER, "epoch": room["epoch"]}
            assert (await ann.ok("room:join", asked))["outcome"] == "full"
        assert "taken for a copy" not in service.log


class TestMongo:
    async def test_a_dump_that_was_put_back_resets_clients_that_saw_more(self, tmp_path: Path, mongo_uri: str) -> None:
        async with AsyncMongoClient[dict[str, Any]](mongo_uri) as driver:
            database = driver.get_default_database()
            async with running_service(tmp_path, store=mongo_uri, limits="off") as service:
                async with user(service) as ann:
                    epoch = (await first_life(ann))["epoch"]
                    names = await database.list_collection_names()
                    dump = {name: await database[name].find().to_list() for name in names}
                    await send(ann, "lost", LOST)
                await service.stop()
            for name, documents in dump.items():
                await database[name].delete_many({})
                if documents:
                    await database[name].insert_many(documents)
        await asyncio.to_thread(say_restored, service)
        async with running_service(tmp_path, store=mongo_uri, limits="off") as service, user(service) as ann:
            await check_reset(ann, epoch)
