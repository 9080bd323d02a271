"""CPU per delivery: one sender, a room of a thousand, and beside the servers a loop in C that only writes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
import uvloop
from rich.console import Console

from bench.crowd import Crowd, crowd, member_of
from bench.goals import Goal
from bench.processes import ROOT, Server, data_directory, filesystem_of, pin_load
from bench.report import Report, load_note, percentile, progress, ratio, terminal
from bench.report import spread as median_and_range
from bench.seed import seed, users
from bench.senders import Sender, body_of, senders
from bench.servers import C_LOOP, HUBBUB, NODE, STOCK, Target, c_loop, store_path, targets

__all__ = ["measure_spread", "spread"]

ROOM: Final = "bench-crowd"
SENDER: Final = "spread-sender-0"
BODY_BYTES: Final = 100
WARM_UP_S: Final = 0.3
GOALS: Final = {
    (4, NODE): 0.75,
    (4, C_LOOP): 1.3,
    (4, STOCK): 1 / 6,
    (64, NODE): 0.3,
}
"""By window and peer, the most CPU per delivery that Hubbub may take beside it."""


class Commander(asyncio.Protocol):
    """Commands the loop in C as a `Sender` does a server: `window` bytes are under way, each is one message to all."""

    def __init__(self) -> None:
        self.acks = 0
        self.latencies_ms: list[float] = []
        self._sent: list[float] = []
        self._running = False
        self._drained = asyncio.Event()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def begin(self, window: int) -> None:
        self.latencies_ms = []
        self._running = True
        self._drained.clear()
        self._send(window)

    async def finish(self) -> None:
        self._running = False
        await asyncio.wait_for(self._drained.wait(), 30)

    def data_received(self, data: bytes) -> None:
        self.acks += len(data)
        now = time.perf_counter()
        self.latencies_ms += [(now - sent) * 1000 for sent in self._sent[: len(data)]]
        del self._sent[: len(data)]
        if self._running:
            self._send(len(data))
        elif not self._sent:
            self._drained.set()

    def _send(self, count: int) -> None:
        assert self._transport is not None
        self._sent += [time.perf_counter()] * count
        self._transport.write(b"m" * count)


@dataclass
class Scene:
    """A server with a sender and the crowd that hears it."""

    server: Server
    sender: Sender | Commander
    audience: Crowd
    size: int
    event: str = ""

    def begin(self, key: str, window: int) -> None:
        if isinstance(self.sender, Commander):
            self.sender.begin(window)
        else:
            self.sender.begin(room=ROOM, event=self.event, key=key, body=body_of(BODY_BYTES), window=window)


@dataclass
class Case:
    """One row: a scene, and how many sends are in flight."""

    scene: Scene
    window: int
    cpu_us: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.scene.server.name

    async def round(self, key: str, *, duration_s: float) -> None:
        """Send for a while and wait until all of it has been delivered: what is counted is whole."""
        await self._send(f"{key}-w", duration_s=WARM_UP_S)
        cpu_s, wall_s, deliveries = await self._send(key, duration_s=duration_s)
        self.cpu_us.append(cpu_s / deliveries * 1e6)
        self.per_s.append(deliveries / wall_s)
        self.busy.append(cpu_s / wall_s * 100)
        self.latencies_ms += self.scene.sender.latencies_ms

    async def _send(self, key: str, *, duration_s: float) -> tuple[float, float, int]:
        scene = self.scene
        messages, acks, cpu_s, began = (
            scene.audience.messages,
            scene.sender.acks,
            scene.server.cpu_s(),
            time.monotonic(),
        )
        scene.begin(key, self.window)
        await asyncio.sleep(duration_s)
        await scene.sender.finish()
        deliveries = (scene.sender.acks - acks) * scene.size
        await scene.audience.wait_messages(messages + deliveries)
        figures = scene.server.cpu_s() - cpu_s, time.monotonic() - began, deliveries
        scene.audience.check()
        if scene.audience.messages != messages + deliveries:
            raise RuntimeError(f"{scene.server.name} delivered more than was sent")
        return figures


async def measure_spread(
    console: Console, *, members: int, windows: Sequence[int], rounds: int, duration_s: float, data: Path
) -> Report:
    """Measure all servers in one run, round by round in turn."""
    with data_directory(data) as directory:
        await seed(store_path(directory), {ROOM: [SENDER, *users("member", members)]})
        async with contextlib.AsyncExitStack() as stack:
            scenes = [
                await _scene(stack, target, members)
                for target in await stack.enter_async_context(targets([HUBBUB, STOCK, NODE], data=directory))
            ]
            scenes.append(await _loop_scene(stack, members))
            cases = [Case(scene, window) for window in windows for scene in scenes]
            with progress(console) as bar:
                task = bar.add_task("spread", total=rounds * len(cases))
                for number in range(rounds):
                    for case in cases:
                        bar.update(task, description=f"{case.name}, window {case.window}", refresh=True)
                        await case.round(f"{case.window}-{number}", duration_s=duration_s)
                        bar.advance(task)
        return _report(cases, members, rounds, duration_s, filesystem_of(directory))


async def _scene(stack: contextlib.AsyncExitStack, target: Target, members: int) -> Scene:
    audience = await stack.enter_async_context(crowd())
    await audience.open(target, users("member", members), member_of(target, ROOM))
    (sender,) = await senders(target, 1, prefix="spread-sender")
    return Scene(target.server, sender, audience, members, target.spread_event)


async def _loop_scene(stack: contextlib.AsyncExitStack, members: int) -> Scene:
    """The C loop writes what Node does: the same message, as its peers frame it."""
    packet = f'42/chat,["message",{{"room":"{ROOM}","key":"4-0-1000","body":"{body_of(BODY_BYTES)}"}}]'
    server = await stack.enter_async_context(c_loop(packet))
    audience = await stack.enter_async_context(crowd())
    address = urlsplit(server.url)
    assert address.hostname is not None
    assert address.port is not None
    _, sender = await asyncio.get_running_loop().create_connection(Commander, address.hostname, address.port)
    for _ in range(members):
        audience.give([socket.create_connection((address.hostname, address.port)).detach()])
    return Scene(server, sender, audience, members)


def _report(cases: list[Case], members: int, rounds: int, duration_s: float, filesystem: str) -> Report:
    report = Report(
        title="CPU per delivery",
        method=(
            f"One sender with `window` sends in flight to a room that {members:,} WebSocket connections of as many "
            f"users have joined, bodies of {BODY_BYTES} bytes; median (least-most) of {rounds} rounds of "
            f"{duration_s:g} s, servers in turn. Hubbub is the whole service: each message is authenticated, "
            f"validated, stored with `synchronous=FULL` on {filesystem}, sequenced, and its document delivered. The "
            "others forward what they get and store nothing. The C loop has nothing but `send(2)` of prepared bytes "
            "to each socket. CPU is user and system time of all threads of the server process, over everything that "
            "was delivered: a round ends when the last of it has come. 2 cores, shared: the server on one, the load "
            "on the other."
        ),
        columns=[
            "server",
            "window",
            "CPU us/delivery",
            "x Node",
            "x C loop",
            "x stock",
            "deliveries/s, full core",
            "deliveries/s seen",
            "busy %",
            "ack p50 ms",
            "ack p99 ms",
        ],
    )
    for case in cases:
        latencies = sorted(case.latencies_ms)
        report.rows.append(
            [
                case.name,
                str(case.window),
                median_and_range(case.cpu_us, digits=2),
                *(f"{_ratio(case, cases, peer):.2f}" for peer in (NODE, C_LOOP, STOCK)),
                f"{1e6 / statistics.median(case.cpu_us):,.0f}",
                f"{statistics.median(case.per_s):,.0f}",
                f"{statistics.median(case.busy):.0f}",
                f"{percentile(latencies, 50):.1f}",
                f"{percentile(latencies, 99):.1f}",
            ]
        )
        report.goals += [
            Goal(f"CPU per delivery, window {case.window}, to {peer}", most, _ratio(case, cases, peer))
            for (window, peer), most in GOALS.items()
            if case.name == HUBBUB and window == case.window
        ]
    report.notes += [
        "Ratios are medians of the ratios of each round to that server with the same window.",
        "`deliveries/s, full core` is what the CPU per delivery allows; `seen` is what came, with the core busy for "
        "`busy %`: the rest is waiting, for the disk where messages are stored and for the sender.",
        load_note(),
    ]
    return report


def _ratio(case: Case, cases: list[Case], name: str) -> float:
    other = next(each for each in cases if each.name == name and each.window == case.window)
    return ratio(case.cpu_us, other.cpu_us)


@click.command()
@click.option("--members", default=1000, show_default=True, help="Connections in the room, each a user of its own.")
@click.option(
    "--window", "windows", multiple=True, type=int, default=(4, 64), show_default=True, help="Sends in flight."
)
@click.option("--rounds", default=5, show_default=True, help="Rounds of each server and window.")
@click.option("--duration", "duration_s", default=2.0, show_default=True, help="Seconds per round.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def spread(
    members: int, windows: tuple[int, ...], rounds: int, duration_s: float, data: Path, save: Path | None
) -> None:
    """CPU per delivery of one sender's messages to a room of a thousand."""
    console = terminal()
    pin_load()
    report = uvloop.run(
        measure_spread(console, members=members, windows=windows, rounds=rounds, duration_s=duration_s, data=data)
    )
    report.show(console)
    if save is not None:
        report.write(save)
