"""A run: stock clients write in rooms behind Nginx while every node is deployed anew, one is killed, and Redis is
restarted and frozen. What is done when is the seed's; what counts in the end is said by `rolling_judge`.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hubbub.transport.drain import CROWD
from tests.support.chat import chat_client
from tests.support.halting import halt
from tests.support.mongodb import MongoProcess
from tests.support.rolling_clients import Place, PythonMember, swarm
from tests.support.rolling_judge import Judge
from tests.support.rolling_site import NAMES, Site, running_site

__all__ = ["FULL", "SMALL", "Plan", "Run", "Size", "make_plan"]

WAYS: Final = (("polling", ["polling"]), ("websocket", ["websocket"]), ("upgrade", ["polling", "websocket"]))
ROOMS_OF_ONE: Final = 2
SETTLE_S: Final = 45.0
"""How long clients may take until all of them are connected, or have everything. They come back in a few seconds."""

SPREAD_MOST: Final = 0.20
"""The share of a node's clients that may be back in any one second. Of a few, one is more than that."""

SPREAD_FROM_S: Final = 30.0
"""The time for a drain from which on that holds."""

END_LATE_S: Final = 1.0
"""How much longer than `HUBBUB_DRAIN_S` a node may take to end."""

APART_S: Final = 0.02

UNKNOWN: Final = 5
"""How many sends have no ack when a node is killed."""


@dataclass(frozen=True, slots=True)
class Size:
    """`every_s`: how often a client writes; `pause`: the acks between two disturbances."""

    clients: int
    rooms: int
    drain_s: int
    freeze_s: float
    every_s: float
    pause: int


SMALL: Final = Size(clients=24, rooms=4, drain_s=6, freeze_s=3.0, every_s=1.0, pause=20)
FULL: Final = Size(clients=300, rooms=30, drain_s=30, freeze_s=10.0, every_s=15.0, pause=100)


@dataclass(frozen=True, slots=True)
class Plan:
    """Groups of disturbances: those of a group are at the same time, one group is after another."""

    seed: int
    order: tuple[str, ...]
    """Of the nodes, when they are deployed."""

    groups: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        names = {"deploys": f"deploys of {', '.join(self.order)}", "kill": "kill -9 of the fullest node"}
        return "; ".join(" with ".join(names.get(each, each) for each in group) for group in self.groups)


def make_plan(seed: int) -> Plan:
    """Every disturbance once. In half of the runs Redis fails in the middle of the deploys, or of a node's death."""
    chance = random.Random(seed)
    order = tuple(chance.sample(NAMES, len(NAMES)))
    groups = [["deploys"], ["kill"], ["restart of Redis"], ["freeze of Redis"]]
    if chance.random() < 0.5:
        together = groups.pop(chance.choice((2, 3)))
        groups[chance.choice((0, 1))] += together
    chance.shuffle(groups)
    return Plan(seed, order, tuple(map(tuple, groups)))


class Run:
    """`note` is given a line for each thing that is done."""

    def __init__(
        self, plan: Plan, size: Size, directory: Path, mongo: MongoProcess, *, note: Callable[[str], None]
    ) -> None:
        self.judge = Judge()
        self.answers: collections.Counter[str] = collections.Counter()
        """What Nginx answered, with what the nodes that it asked did."""
        self._plan = plan
        self._size = size
        self._directory = directory
        self._mongo = mongo
        self._note = note
        self._python: dict[str, PythonMember] = {}
        self._rooms = [f"room-{number}" for number in range(size.rooms)]

    async def run(self) -> None:
        """`judge.violations` says afterwards what was broken."""
        settings = {"drain_s": self._size.drain_s}
        async with running_site(self._directory, self._mongo, **settings) as site, contextlib.AsyncExitStack() as stack:
            stack.callback(self._look_at_nginx, site)
            await self._make_rooms(site)
            places = self._places(site)
            crowd = await stack.enter_async_context(swarm(site.url, places["javascript"], self.judge.take))
            stack.push_async_callback(self._close)
            for place in places["python"]:
                chance = random.Random(f"{self._plan.seed} {place.name}")
                member = self.judge.members[place.name]
                self._python[place.name] = PythonMember(place, member, self.judge.take, chance)
                await self._python[place.name].begin(site.url)
                await asyncio.sleep(APART_S)
            await self._all_open("the beginning")
            for group in self._plan.groups:
                await self._traffic()
                await asyncio.gather(*(self._disturb(site, each) for each in group))
                await site.wait_ready()
                await self._all_open(" and ".join(group))
            await self._traffic()
            crowd.stop()
            for client in self._python.values():
                client.stop()
            await self._quiet(site)

    def _look_at_nginx(self, site: Site) -> None:
        assert site.nginx is not None
        self.answers = collections.Counter(f"{line.status} ({line.answers})" for line in site.nginx.log())

    # -- the crowd ---------------------------------------------------------------------------------------------------

    async def _make_rooms(self, site: Site) -> None:
        async with chat_client(site.url, site.token("founder")) as founder:
            for room in self._rooms:
                await founder.ok("room:create", {"kind": "public", "id": room, "title": room})

    def _places(self, site: Site) -> dict[str, list[Place]]:
        """Half of each kind; each kind comes in each way; the rooms are dealt in turn."""
        places: dict[str, list[Place]] = {"javascript": [], "python": []}
        for number in range(self._size.clients):
            kind = ("javascript", "python")[number % 2]
            way, transports = WAYS[number // 2 % len(WAYS)]
            name = f"{kind}-{way}-{number}"
            rooms = [self._rooms[(number * ROOMS_OF_ONE + each) % len(self._rooms)] for each in range(ROOMS_OF_ONE)]
            self.judge.add(name, f"{kind} {way}", rooms)
            places[kind].append(Place(name, site.token(name), transports, rooms, self._size.every_s))
        return places

    async def _close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._python.values()))

    # -- disturbances ------------------------------------------------------------------------------------------------

    async def _disturb(self, site: Site, what: str) -> None:
        begun = time.monotonic()
        match what:
            case "deploys":
                for name in self._plan.order:
                    await self._deploy(site, name)
            case "kill":
                # Of a node with hardly any clients nobody waits for an ack.
                name = max(NAMES, key=lambda each: len(self.judge.at_node(each)))
                node = site.nodes[name]
                # It is frozen for as long as it takes that some wait for acks, so that there are unknown outcomes.
                halt(node.process.pid)
                await self._until(lambda: self.judge.outstanding >= UNKNOWN, "sends to wait")
                await node.kill()
                await site.start(name)
            case "restart of Redis":
                await asyncio.to_thread(site.redis.kill)
                await self._traffic()
                await asyncio.to_thread(site.redis.start)
            case "freeze of Redis":
                site.redis.freeze()
                try:
                    await asyncio.sleep(self._size.freeze_s)
                finally:
                    site.redis.thaw()
            case _:
                raise AssertionError(what)
        self._note(f"{what}: {time.monotonic() - begun:.1f} s")

    async def _deploy(self, site: Site, name: str) -> None:
        clients, at = self.judge.at_node(name), time.time()
        took_s = await site.stop(name)
        if took_s > self._size.drain_s + END_LATE_S:
            self.judge.violations.append(f"{name} took {took_s:.2f} s to end, and has {self._size.drain_s} s")
        begun = time.monotonic()
        await site.start(name)
        started_s = time.monotonic() - begun
        await self._all_open(f"the deploy of {name}")
        self._note(f"{name} ended in {took_s:.1f} s and was there again after {started_s:.1f} s")
        self.judge.deployed(name, clients, at, took_s)
        deploy = self.judge.deploys[-1]
        is_crowd = deploy.clients >= CROWD and self._size.drain_s >= SPREAD_FROM_S
        if is_crowd and deploy.worst_share > SPREAD_MOST:
            self.judge.violations.append(f"of {deploy.clients} clients of {name} {deploy.worst} came in one second")

    # -- conditions --------------------------------------------------------------------------------------------------

    async def _traffic(self) -> None:
        """Until some more has been written."""
        acks = self.judge.ledger.acks + self._size.pause
        await self._until(lambda: self.judge.ledger.acks >= acks, "acks")

    async def _all_open(self, after: str) -> None:
        def missing() -> list[str]:
            return [member.name for member in self.judge.members.values() if member.node is None]

        for name, client in self._python.items():
            if client.library_gave_up:
                self._note(f"the library of {name} has given up reconnecting")
        await self._until(lambda: self.judge.all_open, f"all to be connected after {after}", missing)

    async def _quiet(self, site: Site) -> None:
        """Until every send has its ack and everybody has everything; then the store is asked."""
        await self._until(lambda: self.judge.outstanding == 0, "the last acks")
        rooms = await site.rooms(self._rooms)
        heads = {room.id: room.head for room in rooms}
        with contextlib.suppress(AssertionError):  # Who has not is named by the judge.
            everybody = self.judge.members.values()
            await self._until(lambda: all(member.is_at(heads) for member in everybody), "everybody to have everything")
        self.judge.finish(rooms)

    async def _until(
        self, condition: Callable[[], bool], what: str, missing: Callable[[], object] = lambda: ""
    ) -> None:
        try:
            async with asyncio.timeout(SETTLE_S):
                await self.judge.ledger.wait(condition)
        except TimeoutError:
            raise AssertionError(
                f"waited in vain for {what}: {missing()}; violations: {self.judge.violations[:10]}"
            ) from None

    # -- the table ---------------------------------------------------------------------------------------------------

    def table(self) -> str:
        judge = self.judge
        lines = [f"rolling: seed {self._plan.seed}, {self._size.clients} clients: {self._plan}"]
        for deploy in judge.deploys:
            after = max(deploy.back, default=deploy.at) - deploy.at
            lines.append(
                f"  {deploy.node}: ended in {deploy.took_s:5.2f} s; {deploy.clients:3} clients back in {after:5.1f} s, "
                f"{deploy.worst:3} in the worst second ({deploy.worst_share:.0%})"
            )
        kinds: dict[str, list[Any]] = {}
        for member in judge.members.values():
            kinds.setdefault(member.kind, []).append(member)
        for kind, members in sorted(kinds.items()):
            reconnects = sum(len(member.opened) - 1 for member in members)
            away = [member.longest_away_s for member in members]
            lines.append(
                f"  {kind:21}: {len(members):3} clients, {reconnects:4} reconnects, away at most "
                f"{max(away):5.2f} s (median {statistics.median(away):4.2f} s)"
            )
        events = sum(replica.events for member in judge.members.values() for replica in member.replicas.values())
        lines += [
            f"  acks {judge.ledger.acks}, of these written while away {judge.written_away}, repeated "
            f"{dict(judge.unknown)}; events {events}",
            f"  lost {dict(judge.lost)}; refused {dict(judge.refused)}; told {dict(judge.told)}",
            f"  answers of Nginx (and of the nodes) {dict(self.answers.most_common())}",
            f"  violations: {len(judge.violations)}",
            *(f"    {each}" for each in judge.violations[:20]),
        ]
        return "\n".join(lines)
