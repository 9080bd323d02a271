"""A thousand clients come back at once: what the pages that they missed cost, beside writing as many bytes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import orjson
import uvloop
from rich.console import Console

from bench.crowd import Crowd, as_many_as_fit, bare, crowd
from bench.goals import Goal
from bench.processes import ROOT, data_directory, pin_load
from bench.report import Report, load_note, progress, ratio, spread, terminal
from bench.scrape import samples
from bench.servers import HUBBUB, PAGES, Target, store_path, targets
from bench.wire import Wire, connect, frame
from hubbub.history.base import Insert, Message, Person, Room, Sender, Standing
from hubbub.history.sqlite import SqliteHistory

__all__ = ["measure_resume", "resume"]

ROOM: Final = "bench-room"
BEHIND: Final = 500
OWN_MESSAGES: Final = 100
BODY: Final = "the quick brown fox jumps over a lazy dog while we talk about lunch and the weather in a chat room ok"
BATCH: Final = 2000
FORGOTTEN_S: Final = 1.6
"""After this long the service has let go of what it read for others."""

QUIET_S: Final = 0.3
READS: Final = "hubbub_history_reads_total"
PAGING: Final = 50
"""Clients that were away for long. They are driven from Python, which reads more slowly than the crowd does."""

PAGES_MISSED: Final = 20
PROBE: Final = "probe-00000"
GOAL: Final = 3.0


@dataclass
class Case:
    """One row: what each of the clients asks for, by its number and the room's head. `sizes` are those of the answers,
    as frames, at that head.
    """

    title: str
    request: Callable[[int, int], tuple[str, dict[str, Any]]]
    head: int = 0
    sizes: list[int] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    floor_us: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    floor_ms: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    grown_mb: list[float] = field(default_factory=list)
    writes_per_s: int = 0
    pages: int = 0
    """More than one: a few of the clients were away for long, and ask for page after page. Figures are per page."""

    async def probe(self, target: Target, count: int) -> None:
        """Learn how large the answers are. What the service read for that is forgotten when this returns."""
        known: dict[bytes, int] = {}
        async with _wire(target, PROBE) as wire:
            head = (await wire.call("history:fetch", {"room": ROOM, "limit": 1}))["messages"][-1]["rev"]
            if head == self.head:
                return
            self.head, self.sizes = head, []
            for number in range(count):
                event, request = self.request(number, head)
                alike = request if request["room"] == ROOM else {**request, "room": "own", "epoch": "own"}
                key = orjson.dumps([event, alike])
                if key not in known:
                    ack = await wire.request(b"42/chat,0" + orjson.dumps([event, request]), answer=b"43/chat,0[")
                    _check(ack, event)
                    known[key] = len(ack) + (10 if len(ack) > 65535 else 4)
                self.sizes.append(known[key])
        await asyncio.sleep(FORGOTTEN_S)

    async def round(self, hubbub: Target, pages: Target, *, count: int) -> None:
        """One round on either server."""
        await self.probe(hubbub, count)
        if self.pages:
            await self._page_round(hubbub, pages)
            return
        requests = [frame(b"42/chat,0" + orjson.dumps([*self.request(number, self.head)])) for number in range(count)]
        before = await samples(hubbub.server.url, READS)
        cpu_s, wall_s, grown_kb = await self._storm(hubbub, requests)
        after = await samples(hubbub.server.url, READS)
        self.reads.append(sum(after.values()) - sum(before.values()))
        self.cpu_us.append(cpu_s / count * 1e6)
        self.wall_ms.append(wall_s * 1000)
        self.grown_mb.append(grown_kb / 1024)
        if not self.writes_per_s:
            requests = [frame(b'42/chat,0["page",{"size":%d}]' % size) for size in self.sizes]
            cpu_s, wall_s, _ = await self._storm(pages, requests)
            self.floor_us.append(cpu_s / count * 1e6)
            self.floor_ms.append(wall_s * 1000)

    async def _page_round(self, hubbub: Target, pages: Target) -> None:
        """As `round`, of clients that page through a long absence, all at once."""
        size, count = self.sizes[0], PAGING * self.pages
        floor_request = b'42/chat,0["page",{"size":%d}]' % size

        async def catch_up(wire: Wire) -> None:
            since, asked = self.head - self.pages * 500, 0
            while since < self.head:
                request = {"room": ROOM, "since": since, "limit": 500}
                ack = await wire.request(b"42/chat,0" + orjson.dumps(["history:sync", request]), answer=b"43/chat,0[")
                since, asked = int(ack[ack.rindex(b'"next":') + 7 :].partition(b",")[0]), asked + 1
            if asked != self.pages:
                raise RuntimeError(f"{asked} pages where {self.pages} were expected")

        async def take(wire: Wire) -> None:
            for _ in range(self.pages):
                await wire.request(floor_request, answer=b"43/chat,0[")

        before = await samples(hubbub.server.url, READS)
        for target, work, cpu_us, wall_ms in (
            (hubbub, catch_up, self.cpu_us, self.wall_ms),
            (pages, take, self.floor_us, self.floor_ms),
        ):
            async with contextlib.AsyncExitStack() as stack:
                wires = [await stack.enter_async_context(_wire(target, user)) for user in _members(PAGING)]
                await asyncio.sleep(FORGOTTEN_S)
                memory_kb, cpu_s, began = target.server.memory_kb(), target.server.cpu_s(), time.monotonic()
                await asyncio.gather(*map(work, wires))
                wall_ms.append((time.monotonic() - began) * 1000)
                await asyncio.sleep(QUIET_S)
                cpu_us.append((target.server.cpu_s() - cpu_s) / count * 1e6)
                if target is hubbub:
                    self.grown_mb.append(max(target.server.memory_kb() - memory_kb, 0) / 1024)
        after = await samples(hubbub.server.url, READS)
        self.reads.append(sum(after.values()) - sum(before.values()))

    async def _storm(self, target: Target, requests: Sequence[bytes]) -> tuple[float, float, float]:
        """All ask at once. Returns CPU seconds, seconds until all is here, and by how many KiB the server grew."""
        server = target.server
        async with crowd() as clients:
            kept: list[int] = []
            try:
                await clients.open(target, _members(len(requests)), bare, keep=kept)
                await asyncio.sleep(QUIET_S)
                memory_kb, cpu_s = server.memory_kb(), server.cpu_s()
                bytes_before, began = clients.bytes, time.monotonic()
                async with _writing(target, self.writes_per_s):
                    for descriptor, request in zip(kept, requests, strict=True):
                        os.write(descriptor, request)
                    wall_s, most_kb = await _wait_bytes(
                        clients, server, bytes_before + sum(self.sizes), began, exact=not self.writes_per_s
                    )
                await asyncio.sleep(QUIET_S)
                cpu_s = server.cpu_s() - cpu_s
                clients.check()
                return cpu_s, wall_s, most_kb - memory_kb
            finally:
                for descriptor in kept:
                    os.close(descriptor)


def _check(ack: bytes, event: str) -> None:
    answer = orjson.loads(ack[9:])[0]
    if not answer["ok"]:
        raise RuntimeError(f"{event} was refused: {answer}")
    data = answer["data"]
    if not data["messages"] or data["outcome"] == "reset":
        raise RuntimeError(f"{event} brought {len(data['messages'])} messages, {data['outcome']}")


@contextlib.asynccontextmanager
async def _wire(target: Target, user: str) -> AsyncIterator[Wire]:
    wire = await connect(target.server.url, target.token(user), Wire)
    try:
        yield wire
    finally:
        await wire.close()


async def _wait_bytes(clients: Crowd, server: Any, wanted: int, began: float, *, exact: bool) -> tuple[float, float]:
    """Wait until so many bytes came; returns how long that took, and the server's most memory meanwhile."""
    most_kb, seen, since = 0.0, clients.bytes, time.monotonic()
    while clients.bytes < wanted:
        most_kb = max(most_kb, server.memory_kb())
        await asyncio.sleep(0.002)
        now = clients.bytes
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > 10:
            raise RuntimeError(f"{wanted - seen:,} of the bytes are missing; {clients.lost} connections were lost")
    wall_s = time.monotonic() - began
    await asyncio.sleep(QUIET_S)
    if exact and clients.bytes - wanted > 8192:  # Heartbeats.
        raise RuntimeError(f"{clients.bytes - wanted:,} bytes more than expected came")
    return wall_s, most_kb


@contextlib.asynccontextmanager
async def _writing(target: Target, per_s: int) -> AsyncIterator[None]:
    """Somebody sends messages meanwhile."""
    if not per_s:
        yield
        return
    async with _wire(target, PROBE) as wire:
        stopped = asyncio.Event()

        async def write() -> None:
            number = 0
            while not stopped.is_set():
                key = f"{time.monotonic_ns()}-{number}"
                await wire.call("message:send", {"room": ROOM, "key": key, "body": BODY})
                number += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), 1 / per_s)

        writing = asyncio.create_task(write())
        await asyncio.sleep(QUIET_S)
        try:
            yield
        finally:
            stopped.set()
            await writing


def _members(count: int) -> list[str]:
    """Ids that are equally long, so that answers are."""
    return [f"member-{number:05}" for number in range(count)]


async def _fill(path: Path, *, messages: int, count: int) -> None:
    """One room with many messages and all clients in it, and a room of their own for each."""
    history = SqliteHistory(path)
    await history.open()
    try:
        now = int(time.time() * 1000)
        everybody = [*_members(count), PROBE]
        standings = [
            (Standing(user, "member" if n else "owner", joined_at=now, read_seq=messages - BEHIND), Person(user, user))
            for n, user in enumerate(["owner", *everybody])
        ]
        await history.create_room(
            Room("bench-uid", ROOM, "public", "A room", "", 2 * len(everybody), 0, now), standings
        )
        await _say(history, "bench-uid", messages, now)
        for number, member in enumerate(_members(count)):
            room = Room(f"own-uid-{number:05}", f"own-{number:05}", "public", "A room", "", 10, 0, now)
            members = [member, PROBE if number == 0 else "other-00000"]
            await history.create_room(
                room, [(Standing(user, "member", joined_at=now), Person(user, user)) for user in ["owner", *members]]
            )
            await _say(history, room.uid, OWN_MESSAGES, now)
    finally:
        await history.close()


async def _say(history: SqliteHistory, uid: str, count: int, now: int) -> None:
    for first in range(0, count, BATCH):
        await history.commit(
            [
                Insert(
                    Message(uid, 0, 0, f"key-{n:08}", Sender(f"user-{n % 90 + 10}", "A User"), BODY, None, (), now + n)
                )
                for n in range(first, min(first + BATCH, count))
            ]
        )


def _cases() -> list[Case]:
    def join(head: int, behind: int) -> tuple[str, dict[str, Any]]:
        return "room:join", {"room": ROOM, "since": head - behind, "epoch": "bench-uid", "limit": 500}

    def sync(number: int, head: int) -> tuple[str, dict[str, Any]]:
        return "history:sync", {"room": ROOM, "since": head - BEHIND, "limit": 500}

    def own(number: int, head: int) -> tuple[str, dict[str, Any]]:
        uid = f"own-uid-{number:05}"
        return "room:join", {"room": f"own-{number:05}", "since": 0, "epoch": uid, "limit": 500}

    def away(number: int, head: int) -> tuple[str, dict[str, Any]]:
        return "history:sync", {"room": ROOM, "since": head - 2 * BEHIND, "limit": 500}

    def anew(number: int, head: int) -> tuple[str, dict[str, Any]]:
        return "room:join", {"room": ROOM, "limit": 500}

    return [
        Case(f"join, {BEHIND} behind", lambda _, head: join(head, BEHIND)),
        Case(f"join, {BEHIND - 20} to {BEHIND + 20} behind", lambda n, head: join(head, BEHIND - 20 + 7 * n % 41)),
        Case(f"sync, {BEHIND} behind", sync),
        Case("join anew, the newest 500", anew),
        Case(f"{PAGING} page through {PAGES_MISSED * 500:,} changes", away, pages=PAGES_MISSED),
        Case(f"a room each, {OWN_MESSAGES} behind", own),
        Case(f"join, {BEHIND} behind, amid 50 messages/s", lambda _, head: join(head, BEHIND), writes_per_s=50),
    ]


async def measure_resume(console: Console, *, count: int, messages: int, rounds: int, data: Path) -> Report:
    """Measure both servers in one run, round by round in turn."""
    count = as_many_as_fit(count)
    with data_directory(data) as directory:
        await _fill(store_path(directory), messages=messages, count=count)
        async with targets([HUBBUB, PAGES], data=directory) as (hubbub, pages):
            cases = _cases()
            with progress(console) as bar:
                task = bar.add_task("resume", total=rounds * len(cases))
                # What is written in the room changes what the others would get.
                for some in ([case for case in cases if not case.writes_per_s], [cases[-1]]):
                    for _ in range(rounds):
                        for case in some:
                            bar.update(task, description=case.title, refresh=True)
                            await case.round(hubbub, pages, count=count)
                            bar.advance(task)
    return _report(cases, count, messages, rounds)


def _report(cases: Sequence[Case], count: int, messages: int, rounds: int) -> Report:
    report = Report(
        title="A thousand clients come back at once",
        method=(
            f"{count:,} WebSocket clients, each a user of its own and a member of one room of {messages:,} messages "
            f"with bodies of {len(BODY)} bytes, are connected; then each sends one request, all in some milliseconds, "
            "and every byte of the answers is waited for. Median (least-most) of "
            f"{rounds} rounds. *Floor* is the CPU of a server in the same run, on the same loop (uvloop) and from the "
            "same process on the other side, that answers the same requests by as many bytes, which it has in memory "
            "as whole frames: no check, no store, no JSON ([page_server.py](../page_server.py)). CPU is user and "
            "system time of all threads of the server process, the kernel's sending included. What the service had "
            "read for others is forgotten before each round. 2 cores, shared: the server on one, the load on the other."
        ),
        columns=[
            "what",
            "KB/answer",
            "CPU us/client",
            "floor us/client",
            "x floor",
            "reads of the store",
            "all answered after ms",
            "floor ms",
            "memory grew MB",
        ],
    )
    for case in cases:
        report.rows.append(
            [
                case.title,
                f"{statistics.mean(case.sizes) / 1024:.0f}",
                spread(case.cpu_us, digits=0),
                spread(case.floor_us, digits=0) if case.floor_us else "",
                f"{ratio(case.cpu_us, case.floor_us):.2f}" if case.floor_us else "",
                f"{statistics.median(case.reads):.0f}",
                spread(case.wall_ms, digits=0),
                spread(case.floor_ms, digits=0) if case.floor_ms else "",
                spread(case.grown_mb, digits=0),
            ]
        )
    for case in cases[:2]:
        name = f"CPU of {count:,} clients that {case.title}, to sending the bytes"
        report.goals.append(Goal(name, GOAL, ratio(case.cpu_us, case.floor_us)))
    report.notes += [
        "`Reads of the store`: all of them for the round, as the service counts them (`hubbub_history_reads_total`).",
        "`Memory grew`: the most resident memory while answers were on their way, less what there was before.",
        f"`{PAGING} page through`: per page and not per client; they ask for one after the other.",
        "`Amid 50 messages/s`: the CPU is also that of the sends and of their delivery to those who are back, so it "
        "is not set beside the floor.",
        load_note(),
    ]
    return report


@click.command()
@click.option("--count", default=1000, show_default=True, help="Clients, or as many as a process may have.")
@click.option("--messages", default=100_000, show_default=True, help="How many messages the room has.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each case.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def resume(count: int, messages: int, rounds: int, data: Path, save: Path | None) -> None:
    """CPU of a thousand clients that come back at once, each 500 changes behind, beside sending as many bytes."""
    console = terminal()
    pin_load()
    report = uvloop.run(measure_resume(console, count=count, messages=messages, rounds=rounds, data=data))
    report.show(console)
    if save is not None:
        report.write(save)


if __name__ == "__main__":
    resume()
