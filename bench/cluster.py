"""What a cluster costs: what a node spends on a message of another, and on each delivery, beside one node that has
nobody, and beside stock python-socketio with its own Redis manager.

    python -m bench cluster --save bench/results/cluster.md
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console

from bench.cluster_hearing import Hearing, driver_us, measure_hearing, stock_us
from bench.cluster_nodes import BODY_BYTES, Place, Round, members_of, pair, place
from bench.cluster_redis import Publishing, measure_publishing
from bench.goals import Goal
from bench.processes import ROOT, data_directory, filesystem_of, pin_load
from bench.report import Report, load_note, progress, ratio, spread, terminal
from bench.servers import Target
from tests.support.redisserver import running_redis

__all__ = ["cluster"]

MEMBERS: Final = 1000
BATCHES: Final = (1, 16)
LANES: Final = 8
"""Rooms that are written to at once, where the node that listens is to be busy."""

MOST_US: Final = {1: 40.0, 16: 10.0}
"""What a message of another node may cost beyond the fan-out, by how many come at once."""

MOST_TWO_NODES: Final = 1.15
MESSAGES: Final = 1600


# -- in one process --------------------------------------------------------------------------------------------------


async def _hearing(data: Path, messages: int, rounds: int, tick: Callable[[], None]) -> Report:
    cases = [Hearing(subscribers, batch) for subscribers in (None, 1, 100) for batch in BATCHES]
    driver: list[float] = []
    stock: list[float] = []
    with running_redis() as server:
        for number, case in enumerate(cases):
            path = data / f"hearing{number}.db"
            await measure_hearing(
                case, path, server.url, server.port, messages=messages, rounds=rounds, on_round=tick
            )  # fmt: skip
        for _ in range(rounds):
            driver.append(await driver_us(server.url, server.port, messages))
            stock.append(await stock_us(server.url, server.port, messages))
            tick()
    report = Report(
        "Hearing a message of another node",
        f"In one process on one core: the bytes that a real Redis sent, taken apart, put in order, encoded for the "
        f"clients and written to the subscribers' sockets, beside messages of the node's own that are published to "
        f"the same ones. Bodies of {BODY_BYTES} bytes, {messages} messages a round; median (least-most) of {rounds} "
        "rounds. Reading the socket is not in it; for the stock way it is.",
        ["", "messages at once", "heard, CPU us/message", "own, CPU us/message", "more, us"],
    )
    for case in cases:
        who = "one subscriber, not written to" if case.subscribers is None else f"{case.subscribers} on sockets"
        report.rows.append(
            [who, str(case.batch), spread(case.heard_us), spread(case.own_us), spread(_more(case))],
        )
        if case.subscribers == 1:
            report.goals.append(
                Goal(
                    f"CPU to hear a message, {case.batch} at once, beyond the fan-out, in process",
                    MOST_US[case.batch], statistics.median(_more(case)), "us",
                )
            )  # fmt: skip
    report.rows += [
        ["pub/sub of redis.asyncio, to nobody", "1", spread(driver), "", ""],
        ["stock AsyncRedisManager, nobody in the room", "1", spread(stock), "", ""],
    ]
    return report


def _more(case: Hearing) -> list[float]:
    return [heard - own for heard, own in zip(case.heard_us, case.own_us, strict=True)]


# -- Redis -----------------------------------------------------------------------------------------------------------


def _publishing(rounds: int, tick: Callable[[], None]) -> Report:
    cases = [Publishing(nodes, batch) for batch in BATCHES for nodes in (0, 2, 20)]
    with running_redis() as server:
        for _ in range(rounds):
            for case in cases:
                measure_publishing(case, server)
            tick()
    report = Report(
        "What Redis spends on a PUBLISH",
        "One redis-server and one room; as many connections listen as nodes have somebody in it. Each PUBLISH is "
        "answered before the next; a busy Redis reads several from a socket at once, and is cheaper. "
        f"CPU of the server process, user and system; median (least-most) of {rounds} rounds.",
        ["nodes that listen", "messages in it", "CPU us/PUBLISH", "PUBLISHes/s, full core", "messages/s, full core"],
    )
    for case in cases:
        per_s = 1e6 / statistics.median(case.us)
        report.rows.append(
            [str(case.nodes), str(case.batch), spread(case.us), f"{per_s:,.0f}", f"{per_s * case.batch:,.0f}"]
        )
    return report


# -- processes -------------------------------------------------------------------------------------------------------


@dataclass
class _Case:
    """One row: who sends how, who listens, and whose CPU is counted."""

    name: str
    rooms: Sequence[str]
    window: int
    sender: Target
    audience: Sequence[tuple[Target, int]]
    counted: Sequence[Target]
    rounds: list[Round] = field(default_factory=list)

    def us(self, per: int = 1) -> list[float]:
        """Microseconds of CPU of those who are counted, per message and for each of `per` deliveries."""
        return [
            sum(each.cpu_s[target.server] for target in self.counted) / each.messages / per * 1e6
            for each in self.rounds
        ]


def _receiving(at: Place) -> list[_Case]:
    one, none = [f"one{number}" for number in range(LANES)], [f"none{number}" for number in range(LANES)]
    first, second = at.stock
    return [
        _Case("Hubbub, one room, a member here", one[:1], 1, at.n1, [(at.n2, 1)], [at.n2]),
        *(
            _Case(f"Hubbub, {LANES} rooms, a member of each here", one, window, at.n1, [(at.n2, 1)], [at.n2])
            for window in BATCHES
        ),
        *(
            _Case(f"the floor: a relay of bytes, {LANES} rooms", one, window, at.n1, [(at.n2, 1)], [at.relay])
            for window in BATCHES
        ),
        _Case(f"Hubbub, {LANES} rooms, nobody here", none, 16, at.n1, [(at.n1, 1)], [at.n2]),
        _Case(f"stock, {LANES} rooms, a member of each here", one, 16, first, [(second, 1)], [second]),
        _Case(f"stock, {LANES} rooms, nobody here", none, 16, first, [(first, 1)], [second]),
    ]


def _deliveries(at: Place) -> list[_Case]:
    half = MEMBERS // 2
    both = [(at.n1, half), (at.n2, half)]
    stock = [(at.stock[0], half), (at.stock[1], half)]
    return [
        case
        for window in (4, 64)
        for case in (
            _Case("one node, joined to nobody", ["crowd"], window, at.alone, [(at.alone, MEMBERS)], [at.alone]),
            _Case("two nodes, half on each", ["crowd"], window, at.n1, both, [at.n1, at.n2]),
            _Case("two stock servers, half on each", ["crowd"], window, at.stock[0], stock, list(at.stock)),
        )
    ]


async def _run(
    at: Place, cases: Sequence[_Case], rounds: int, duration_s: float, tick: Callable[[], None]
) -> None:  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        opened = {}
        for case in cases:
            for room in case.rooms:
                if (room, case.sender) not in opened:
                    opened[room, case.sender] = await pair(stack, room, case.sender, case.audience)
        for number in range(rounds):
            for index, case in enumerate(cases):
                pairs = [opened[room, case.sender] for room in case.rooms]
                key = f"{index}-{number}"
                case.rounds.append(await Round.of(at, pairs, case.counted, key, case.window, duration_s))
                tick()


def _receiving_report(cases: Sequence[_Case], rounds: int, duration_s: float, filesystem: str) -> Report:
    report = Report(
        "What the other node spends",
        f"Two services over one Redis and one MongoDB-wire server on {filesystem}: a sender on the first has `window` "
        "sends in flight to each room, and what is counted is the CPU of the second, user and system, less what it "
        f"spends idle; all of it, with reading the socket and writing to its members. Median (least-most) of "
        f"{rounds} rounds of {duration_s:g} s. `Bytes` is what the second had from Redis meanwhile, its own canary and "
        "answers to its pings included. The relay is a program on the same loop that writes what it reads "
        "from Redis to one socket, and looks at none of it.",
        ["", "window", "CPU us/message", "messages/s", "messages per PUBLISH", "bytes/message", "bytes/s"],
    )
    for case in cases:
        is_hubbub = case.name.startswith("Hubbub")
        report.rows.append(
            [
                case.name,
                str(case.window),
                spread(case.us()),
                f"{statistics.median(each.messages / each.wall_s for each in case.rounds):,.0f}",
                f"{statistics.median(each.messages / max(each.published, 1) for each in case.rounds):.1f}",
                "" if not is_hubbub else f"{statistics.median(each.bytes / each.messages for each in case.rounds):.0f}",
                "" if not is_hubbub else f"{statistics.median(each.bytes / each.wall_s for each in case.rounds):,.0f}",
            ]
        )
    return report


def _deliveries_report(cases: Sequence[_Case], rounds: int, duration_s: float, filesystem: str) -> Report:
    report = Report(
        "CPU per delivery with two nodes",
        f"A room of {MEMBERS:,} connections, one sender with `window` sends in flight; everything that the services "
        f"spend, over everything that was delivered: taking the message, storing it (MongoDB's wire, {filesystem}), "
        "Redis, and writing it to each member. All services share one core. Median (least-most) of "
        f"{rounds} rounds of {duration_s:g} s, in turn; ratios are medians of the ratios of the rounds.",
        ["", "window", "CPU us/delivery", "x one node", "messages/s"],
    )
    one = {case.window: case for case in cases if case.name.startswith("one")}
    for case in cases:
        per_delivery = case.us(MEMBERS)
        factor = ratio(per_delivery, one[case.window].us(MEMBERS))
        report.rows.append(
            [
                case.name,
                str(case.window),
                spread(per_delivery, digits=2),
                f"{factor:.2f}",
                f"{statistics.median(each.messages / each.wall_s for each in case.rounds):,.0f}",
            ]
        )
        if case.name.startswith("two nodes"):
            name = f"CPU per delivery, two nodes to one, window {case.window}"
            report.goals.append(Goal(name, MOST_TWO_NODES, factor))
    return report


# -- the command -----------------------------------------------------------------------------------------------------


async def _measure(console: Console, *, data: Path, messages: int, rounds: int, duration_s: float) -> list[Report]:
    rooms = {f"{name}{number}": members_of(f"{name}{number}", 1) for name in ("one", "none") for number in range(LANES)}
    rooms["crowd"] = members_of("crowd", MEMBERS)
    with data_directory(data) as directory, progress(console) as bar:
        task = bar.add_task("cluster", total=rounds * (7 + 1 + 8 + 6))

        def tick() -> None:
            bar.advance(task)
            bar.refresh()

        reports = [await _hearing(directory, messages, rounds, tick), _publishing(rounds, tick)]
        async with place(directory, rooms) as at:
            receiving, deliveries = _receiving(at), _deliveries(at)
            await _run(at, receiving, rounds, duration_s, tick)
            await _run(at, deliveries, rounds, duration_s, tick)
        filesystem = filesystem_of(directory)
        reports.append(_receiving_report(receiving, rounds, duration_s, filesystem))
        reports.append(_deliveries_report(deliveries, rounds, duration_s, filesystem))
        reports[-1].notes.append(load_note())
    return reports


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--duration", "duration_s", default=1.5, show_default=True, help="Seconds per round.")
@click.option("--messages", default=MESSAGES, show_default=True, help="Of a round in one process.")
@click.option("--data", type=click.Path(path_type=Path), default=ROOT / "var/bench", help="Where databases go: a disk.")
@click.option("--save", type=click.Path(path_type=Path), help="Also write the tables to this file.")
def cluster(rounds: int, duration_s: float, messages: int, data: Path, save: Path | None) -> None:
    """What a message costs the other nodes, and two nodes beside one."""
    console = terminal()
    pin_load()
    reports = uvloop.run(
        _measure(console, data=data, messages=messages, rounds=rounds, duration_s=duration_s)
    )  # fmt: skip
    for report in reports:
        report.show(console)
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(report.markdown(level=2) for report in reports)
        save.write_text(f"# What a cluster costs\n\n{text}")
