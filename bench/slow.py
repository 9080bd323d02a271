"""One of a thousand members never reads: what it costs the server, what it costs the others, and when it has to go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import uvloop
from rich.console import Console

from bench.crowd import Crowd, crowd, member_of, percentile_ms
from bench.processes import ROOT, Server, data_directory, pin_load
from bench.report import Report, load_note, progress, ratio, spread, terminal
from bench.seed import seed, users
from bench.senders import body_of
from bench.servers import HUBBUB, NODE, STOCK, Target, store_path, targets
from bench.wire import Wire, connect, frame

__all__ = ["measure_slow", "slow"]

ROOM: Final = "bench-crowd"
SENDER: Final = "slow-sender"
BODY_BYTES: Final = 4096
WARM_UP_S: Final = 2.0
WATCH_EVERY_S: Final = 0.25
PONG_EVERY_S: Final = 5.0
RECEIVE_BYTES: Final = 65536
SEGMENT_BYTES: Final = 1460
"""As over Ethernet. Loopback's segments of 64 KB would have the kernel hold megabytes for a connection."""
_ESTABLISHED: Final = "01"


@dataclass
class Seen:
    """What was seen in one run. `gone_s`: when the server closed the slow connection, None if it never did."""

    growth_mb: float
    p50_ms: float
    p99_ms: float
    per_s: float
    cpu_us: float
    gone_s: float | None = None


class SlowMember:
    """A member who has joined and reads nothing from then on. It may still answer pings, without having read them."""

    def __init__(self, connection: socket.socket, server: Server, *, pongs: bool) -> None:
        self.gone_at: float | None = None
        self._connection = connection
        self._port = connection.getsockname()[1]
        self._server_port = urlsplit(server.url).port
        self._pongs = pongs
        self._pong_at = time.monotonic() + PONG_EVERY_S

    def look(self) -> None:
        """See whether the server still has the connection; what it says itself stands behind what is unread."""
        now = time.monotonic()
        if self.gone_at is None and not self._is_established():
            self.gone_at = now
        if self._pongs and self.gone_at is None and now >= self._pong_at:
            self._pong_at = now + PONG_EVERY_S
            with contextlib.suppress(OSError):
                self._connection.send(frame(b"3"), socket.MSG_DONTWAIT)

    def _is_established(self) -> bool:
        """By proc(5), net/tcp: the entry of the server's socket, whose local port is the server's."""
        local, remote = f":{self._server_port:04X}", f":{self._port:04X}"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, near, far, state = line.split(maxsplit=4)[:4]
            if near.endswith(local) and far.endswith(remote):
                return state == _ESTABLISHED
        return False


@dataclass
class Case:
    """One server: a row without a slow member, and one with it."""

    target: Target
    sender: Wire
    others: Crowd
    calm: list[Seen] = field(default_factory=list)
    slowed: list[Seen] = field(default_factory=list)

    async def run(self, *, slow: SlowMember | None, key: str, rate: float, duration_s: float, size: int) -> Seen:
        """Send for so long, at most `rate` messages a second and one at a time."""
        server, others = self.target.server, self.others
        await self._send(f"{key}-w", rate=rate, duration_s=WARM_UP_S)
        latencies, messages, memory_kb = others.latencies(), others.messages, server.memory_kb()
        cpu_s, began = server.cpu_s(), time.monotonic()
        most_kb, sending = memory_kb, asyncio.create_task(self._send(key, rate=rate, duration_s=duration_s))
        while not sending.done():
            await asyncio.wait([sending], timeout=WATCH_EVERY_S)
            most_kb = max(most_kb, server.memory_kb())
            if slow is not None:
                slow.look()
        sent = sending.result()
        await others.wait_messages(messages + sent * size)
        others.check()
        after, wall_s = others.latencies(), time.monotonic() - began
        return Seen(
            growth_mb=(most_kb - memory_kb) / 1024,
            p50_ms=percentile_ms(latencies, after, 50),
            p99_ms=percentile_ms(latencies, after, 99),
            per_s=sent * size / wall_s,
            cpu_us=(server.cpu_s() - cpu_s) / (sent * size) * 1e6,
            gone_s=None if slow is None or slow.gone_at is None else slow.gone_at - began,
        )

    async def _send(self, key: str, *, rate: float, duration_s: float) -> int:
        """Each body begins with when it was sent. Returns how many were."""
        due = began = time.monotonic()
        sent = 0
        while due < began + duration_s:
            stamp = f"t={time.monotonic_ns()} "
            request = {"room": ROOM, "key": f"{key}-{sent}", "body": stamp + body_of(BODY_BYTES - len(stamp))}
            await self.sender.call(self.target.spread_event, request)
            sent += 1
            due = max(due + 1 / rate, time.monotonic())  # What could not be sent in time is not sent later.
            await asyncio.sleep(due - time.monotonic())
        return sent


async def measure_slow(
    console: Console, *, members: int, rate: float, rounds: int, duration_s: float, pongs: bool, data: Path
) -> Report:
    """Measure the servers one after the other: without a slow member, then with one."""
    calm: dict[str, list[Seen]] = {name: [] for name in (HUBBUB, STOCK, NODE)}
    slowed: dict[str, list[Seen]] = {name: [] for name in calm}
    how: dict[str, Any] = {"rate": rate, "duration_s": duration_s, "size": members - 1}
    with progress(console) as bar:
        task = bar.add_task("slow", total=2 * rounds * len(calm))
        for number in range(rounds):
            for name in calm:
                bar.update(task, description=f"{name}, all read", refresh=True)
                with data_directory(data) as directory:
                    async with _case(name, directory, members) as case:
                        calm[name].append(await case.run(slow=None, key=f"{number}-calm", **how))
                        bar.update(task, advance=1, description=f"{name}, one does not", refresh=True)
                        async with _slow_member(case.target, pongs=pongs) as slow:
                            slowed[name].append(await case.run(slow=slow, key=f"{number}-slow", **how))
                bar.advance(task)
    return _report(calm, slowed, members, rate, rounds, duration_s, pongs)


@contextlib.asynccontextmanager
async def _case(name: str, directory: Path, members: int) -> AsyncIterator[Case]:
    if name == HUBBUB:
        await seed(store_path(directory), {ROOM: [SENDER, *users("member", members)]})
    async with targets([name], data=directory) as (target,), crowd() as others:
        await others.open(target, users("member", members - 1, first=1), member_of(target, ROOM))
        sender = await connect(target.server.url, target.token(SENDER), Wire)
        yield Case(target, sender, others)


@contextlib.asynccontextmanager
async def _slow_member(target: Target, *, pongs: bool) -> AsyncIterator[SlowMember]:
    def limit(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)

    wire = await connect(target.server.url, target.token("member-0"), Wire, prepare=limit)
    await member_of(target, ROOM)(wire)
    with socket.socket(fileno=wire.detach()) as connection:
        yield SlowMember(connection, target.server, pongs=pongs)


def _report(
    calm: dict[str, list[Seen]],
    slowed: dict[str, list[Seen]],
    members: int,
    rate: float,
    rounds: int,
    duration_s: float,
    pongs: bool,
) -> Report:
    report = Report(
        title="One member does not read",
        method=(
            f"A room that {members - 1:,} WebSocket connections of as many users have joined, and bodies of "
            f"{BODY_BYTES} bytes: one after the other, {rate:g} a second or as fast as the server acknowledges them, "
            f"for {duration_s:g} s. Then the same with one member more, who reads nothing from its join on"
            f"{' but answers pings, so that no heartbeat finds it' if pongs else ' and answers no pings either'}. "
            f"Median (least-most) of {rounds} rounds, each with a new process. Latency is from before the send to the "
            "read of each delivery to the others. Growth is the most resident memory since the first message."
        ),
        columns=[
            "server",
            "deliveries/s",
            "p50 ms",
            "p99 ms",
            "p99, x without",
            "memory growth MiB",
            "more than without MiB",
            "CPU us/delivery",
            "let go after s",
        ],
    )
    for name in calm:
        report.rows += [
            _row(f"{name}, all read", calm[name], []),
            _row(f"{name}, one does not", slowed[name], calm[name]),
        ]
    report.notes += [
        f"The kernel holds some for the slow one too: {RECEIVE_BYTES // 1024} KiB on its side, and on the server's "
        f"what it allows for segments of {SEGMENT_BYTES} bytes.",
        "`Let go`: the server closed its side, as the kernel says; what it says itself would stand behind the unread.",
        load_note(),
    ]
    return report


def _row(title: str, seen: list[Seen], without: list[Seen]) -> list[str]:
    gone = [each.gone_s for each in seen if each.gone_s is not None]
    more = [a.growth_mb - b.growth_mb for a, b in zip(seen, without, strict=False)]
    compared = f"{ratio([s.p99_ms for s in seen], [s.p99_ms for s in without]):.2f}" if without else ""
    return [
        title,
        f"{statistics.median(s.per_s for s in seen):,.0f}",
        f"{statistics.median(s.p50_ms for s in seen):.1f}",
        spread([s.p99_ms for s in seen]),
        compared,
        spread([s.growth_mb for s in seen]),
        f"{statistics.median(more):.1f}" if more else "",
        f"{statistics.median(s.cpu_us for s in seen):.1f}",
        (f"{statistics.median(gone):.1f}" if gone else "never") if without else "",
    ]


@click.command()
@click.option("--members", default=1000, show_default=True, help="Connections in the room, the slow one included.")
@click.option("--rate", default=25.0, show_default=True, help="Messages a second, at most.")
@click.option("--rounds", default=1, show_default=True, help="Rounds of each server.")
@click.option("--duration", "duration_s", default=60.0, show_default=True, help="Seconds, without and with.")
@click.option("--pongs/--no-pongs", default=True, show_default=True, help="Whether the slow one answers pings.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the table to this file.")
def slow(members: int, rate: float, rounds: int, duration_s: float, pongs: bool, data: Path, save: Path | None) -> None:
    """What one member who never reads costs the server and the others."""
    console = terminal()
    pin_load()
    report = uvloop.run(
        measure_slow(console, members=members, rate=rate, rounds=rounds, duration_s=duration_s, pongs=pongs, data=data)
    )
    report.show(console)
    if save is not None:
        report.write(save)
