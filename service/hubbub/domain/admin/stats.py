"""How the service does, in figures: this node's own, and those that other nodes tell of themselves in their beats.

Rates are differences of counters that are kept anyway, over the last few seconds. A reading is made once per moment,
however many ask.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from hubbub.domain.clock import Clock
from hubbub.errors import HubbubError
from hubbub.history.base import Beat

__all__ = ["Beats", "Counters", "NodeStats", "ServiceStats"]

_log = structlog.get_logger("hubbub.admin")

FRESH_S: Final = 0.4
"""A reading of the counters serves all who ask within this time: a little less than the shortest interval."""

OVER_S: Final = 5.0
"""Rates are over about this long, or over what there is."""

OTHERS_S: Final = 1.0
"""The beats of other nodes are read this often at most. A node beats every three seconds."""

SUMMED: Final = (
    "users",
    "rooms",
    "messages_per_s",
    "deliveries_per_s",
    "events_per_s",
    "refusals_per_s",
    "memory_bytes",
    "cpu_share",
)
"""Figures of nodes that are added up for the service. A user or a room on two nodes counts twice."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a node counts: connections by namespace, users, and rooms in memory as they are now; since its start, new
    messages, deliveries, events handled, and those of them that were refused; seconds of CPU; bytes of memory.
    """

    connections: Mapping[str, int]
    users: int
    rooms: int
    messages: int
    deliveries: int
    events: int
    refusals: int
    cpu_s: float
    memory_bytes: int


class Beats(Protocol):
    """The part of `control.service.Control` that is needed here."""

    async def nodes(self) -> Sequence[Beat]: ...


class NodeStats:
    """The figures of this node. `count` reads the counters; `state` says how the node is and how its store is; `now` is
    monotonic, in seconds, and `clock` in milliseconds since the Unix epoch.
    """

    def __init__(
        self,
        *,
        version: str,
        count: Callable[[], Counters],
        state: Callable[[], tuple[str, str]],
        clock: Clock,
        now: Callable[[], float],
    ) -> None:
        self._version = version
        self._count = count
        self._state = state
        self._now = now
        self._started_at = clock()
        self._began = now()
        self._readings: deque[tuple[float, Counters]] = deque()

    def figures(self) -> dict[str, Any]:
        """Names say their units: `_per_s`, `_s`, `_bytes`, `_at` (ms since the Unix epoch), `_share` (of one core)."""
        now = self._now()
        if not self._readings or now - self._readings[-1][0] >= FRESH_S:
            self._readings.append((now, self._count()))
            while len(self._readings) > 2 and now - self._readings[1][0] >= OVER_S:
                self._readings.popleft()
        (before_s, before), (at_s, at) = self._readings[0], self._readings[-1]
        status, store = self._state()

        def rate(name: str) -> float:
            passed = at_s - before_s
            return round((getattr(at, name) - getattr(before, name)) / passed, 3) if passed > 0 else 0.0

        return {
            "status": status,
            "store": store,
            "version": self._version,
            "started_at": self._started_at,
            "uptime_s": round(now - self._began),
            "connections": dict(at.connections),
            "users": at.users,
            "rooms": at.rooms,
            "messages_per_s": rate("messages"),
            "deliveries_per_s": rate("deliveries"),
            "events_per_s": rate("events"),
            "refusals_per_s": rate("refusals"),
            "memory_bytes": at.memory_bytes,
            "cpu_share": rate("cpu_s"),
        }


class ServiceStats:
    """The figures of all nodes that live. `name` and `origin` are this node's name and process."""

    def __init__(
        self, own: NodeStats, beats: Beats, *, clock: Clock, now: Callable[[], float], name: str, origin: str
    ) -> None:
        self._own = own
        self._beats = beats
        self._clock = clock
        self._now = now
        self._name = name
        self._origin = origin
        self._others: Sequence[Beat] = ()
        self._read_s: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Read what the other nodes tell, unless that was done a moment ago. Raises `unavailable` if the store does not
        answer; what was known stays.
        """
        if self._read_s is not None and self._now() - self._read_s < OTHERS_S:
            return
        await asyncio.shield(self._reading or self._begin())

    def refresh_soon(self) -> None:
        """The same beside; nobody waits for it, and a failure is seen by the figures' `store`."""
        if self._reading is None and (self._read_s is None or self._now() - self._read_s >= OTHERS_S):
            self._begin()

    async def close(self) -> None:
        """Wait for nothing any more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    def nodes(self) -> list[dict[str, Any]]:
        """The figures of each node, by name; with them `node`, its name, `at`, when it told them, and `own`."""
        own = (self._name, self._origin, self._clock(), True, self._own.figures())
        others = ((beat.name, beat.origin, beat.at, False, beat.about) for beat in self._others)
        listed = sorted((own, *others), key=lambda each: each[:2])
        return [{"node": name, "at": at, "own": is_own, **about} for name, _, at, is_own, about in listed]

    def stats(self) -> dict[str, Any]:
        """The figures of the whole service: sums; this node's `node`, `store`, `version` and `uptime_s`."""
        nodes = self.nodes()
        own = next(node for node in nodes if node["own"])
        connections: dict[str, int] = {}
        for node in nodes:
            for namespace, count in _mapping(node.get("connections")).items():
                connections[namespace] = connections.get(namespace, 0) + int(_number(count))
        return {
            "at": own["at"],
            "node": own["node"],
            "nodes": [node["node"] for node in nodes],
            "store": own["store"],
            "version": own["version"],
            "uptime_s": own["uptime_s"],
            "connections": connections,
            **{name: _sum(node.get(name) for node in nodes) for name in SUMMED},
        }

    # -- inside ------------------------------------------------------------------------------------------------------

    def _begin(self) -> asyncio.Task[None]:
        self._reading = asyncio.ensure_future(self._read())
        self._reading.add_done_callback(self._on_read)
        return self._reading

    async def _read(self) -> None:
        beats = await self._beats.nodes()
        self._others = [beat for beat in beats if beat.origin != self._origin]
        self._read_s = self._now()

    def _on_read(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, HubbubError):
            _log.error("stats.beats_broken", exc_info=error)


def _mapping(value: Any) -> Mapping[str, Any]:
    """What another node tells is taken for what it is, also if that node is of another version."""
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _sum(values: Any) -> float:
    return round(sum(map(_number, values)), 3)
