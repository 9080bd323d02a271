"""One round of the MongoDB workload with one driver, in a process of its own, so that its CPU time is the driver's.

Run by mongo_clients.py as `python -m bench.mongo_worker DRIVER URI`; prints one line of JSON. `DRIVER` is `pymongo`
(AsyncMongoClient) or `motor`. The calls are the same; only where the client comes from differs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

import uvloop
from pymongo import UpdateOne

from bench.mongo_documents import INDEXES, edit_of, messages

__all__ = ["main"]

ROOMS: Final = 8
"""Rooms written at the same time. Each has one batch in flight, as the writer of the service has."""

WARM: Final = 65
"""Messages of each room that is edited and read. Few, because the test server sorts and scans slowly."""

TIMER_S: Final = 0.005
SWITCH_INTERVAL_S: Final = 0.0005  # As the service sets it.

Step = Callable[[str, int], Awaitable[object]]
"""One operation in a room; the number counts up from 0."""


class Lateness:
    """How late a timer of 5 ms is, in milliseconds, while something else runs on the loop."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._handle = self._arm()

    def _arm(self) -> asyncio.TimerHandle:
        self._due = time.perf_counter() + TIMER_S
        return self._loop.call_later(TIMER_S, self._fire)

    def _fire(self) -> None:
        self.late_ms.append((time.perf_counter() - self._due) * 1000)
        self._handle = self._arm()

    def stop(self) -> list[float]:
        self._handle.cancel()
        return sorted(self.late_ms)


def _client(driver: str, uri: str) -> Any:
    options: dict[str, Any] = {"w": "majority", "journal": True, "readConcernLevel": "majority"}
    if driver == "motor":
        from motor.motor_asyncio import AsyncIOMotorClient  # type: ignore[import-not-found]

        return AsyncIOMotorClient(uri, **options)
    from pymongo import AsyncMongoClient

    return AsyncMongoClient(uri, **options)


async def _measure(step: Step, rooms: list[str], count: int) -> dict[str, float]:
    """Run `count` operations in each room, rooms side by side."""

    async def run(room: str) -> None:
        for number in range(count):
            await step(room, number)

    lateness = Lateness()
    before = time.process_time(), time.thread_time(), time.perf_counter()
    await asyncio.gather(*(run(room) for room in rooms))
    cpu, loop, wall = (
        now - then
        for now, then in zip((time.process_time(), time.thread_time(), time.perf_counter()), before, strict=True)
    )
    late = lateness.stop()
    done = count * len(rooms)
    return {
        "cpu_us": cpu / done * 1e6,
        "loop_us": loop / done * 1e6,
        "wall_us": wall / done * 1e6,
        "late_p50_ms": late[len(late) // 2] if late else 0.0,
        "late_p99_ms": late[len(late) * 99 // 100] if late else 0.0,
        "late_max_ms": late[-1] if late else 0.0,
    }


def _inserts(collection: Any, size: int) -> Step:
    async def step(room: str, number: int) -> None:
        batch = messages(f"{room}-{size}", number * size + 1, size)
        await collection.insert_many(batch, ordered=True)

    return step


def _edits(collection: Any, size: int, at_once: int) -> Step:
    """Edits of the first messages of rooms that the inserts filled, as the service sends them: upserts, in order. Each
    must find what it expects.
    """

    async def step(room: str, number: int) -> None:
        first = 1_000_000 + number * at_once
        updates = [
            UpdateOne(
                *edit_of(
                    f"{room}-{size}", seq, expected=seq if number == 0 else first - at_once + seq, rev=first + seq
                ),
                upsert=True,
            )
            for seq in range(1, at_once + 1)
        ]
        result = await collection.bulk_write(updates, ordered=True)
        if result.matched_count != at_once:
            raise RuntimeError("an edit did not find its message")

    return step


def _pages(collection: Any, size: int) -> Step:
    async def step(room: str, number: int) -> None:
        cursor = collection.find({"room": f"{room}-{size}", "seq": {"$lte": 60 + number % 4}}).sort("seq", -1).limit(50)
        if len(await cursor.to_list(50)) != 50:
            raise RuntimeError("a page was not whole")

    return step


def _heads(collection: Any, size: int) -> Step:
    async def step(room: str, number: int) -> None:
        if await collection.find_one({"room": f"{room}-{size}"}, {"rev": 1}, sort=[("rev", -1)]) is None:
            raise RuntimeError("a head was not found")

    return step


async def _round(driver: str, uri: str, scale: float) -> dict[str, dict[str, float]]:
    client = _client(driver, uri)
    name = f"bench_{uuid4().hex}"
    collection = client[name]["messages"]
    for keys, unique in INDEXES:
        await collection.create_index(list(keys), unique=unique)
    rooms = [f"room{number}" for number in range(ROOMS)]
    await _measure(_inserts(collection, WARM), rooms, 1)  # Connections are made, code is warm.
    plan: list[tuple[str, Step, int]] = [
        ("insert 1", _inserts(collection, 1), 60),
        ("insert 16", _inserts(collection, 16), 12),
        ("insert 64", _inserts(collection, 64), 8),
        ("edit of 1", _edits(collection, WARM, 1), 60),
        ("edit of 16", _edits(collection, 16, 16), 8),
        ("page of 50", _pages(collection, WARM), 60),
        ("head", _heads(collection, WARM), 60),
    ]
    figures = {title: await _measure(step, rooms, max(2, int(count * scale))) for title, step, count in plan}
    await client.drop_database(name)
    closing = client.close()
    if closing is not None:
        await closing
    return figures


def main() -> None:
    driver, uri, scale = sys.argv[1:4]
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(runner.run(_round(driver, uri, float(scale))), sys.stdout)


if __name__ == "__main__":
    main()
