"""What happens in one run of chaos: a list of faults, made from a seed and from nothing else.

A fault comes when the clients have seen a number of acks, not at a time, so that a plan means the same on a machine
that is slow. A few faults last for a time, because that is what they are: a store that is frozen for two seconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["EVERYWHERE", "Fault", "Kind", "Plan", "StoreName", "make_plan"]


class StoreName(StrEnum):
    """The stores that a run can be had on."""

    SQLITE = "sqlite"
    MONGO = "mongo"


class Kind(StrEnum):
    """What can happen. `KILL_STORE` and `KILL_BOTH` are for stores that are processes of their own: SQLite's is the
    service's.
    """

    KILL_SERVICE = "kill the service"
    RESTART_SERVICE = "restart the service"
    FREEZE_SERVICE = "freeze the service"
    KILL_STORE = "kill the store"
    KILL_BOTH = "kill the store and the service"
    FREEZE_STORE = "freeze the store"
    SLOW_STORE = "slow the store"
    CUT_CLIENTS = "cut connections"
    STALL_CLIENTS = "let clients not read"


_LASTING: Final = {
    Kind.FREEZE_SERVICE: (0.2, 2.0),
    Kind.KILL_STORE: (0.0, 1.5),
    Kind.KILL_BOTH: (0.0, 1.0),
    Kind.FREEZE_STORE: (0.3, 3.0),
    Kind.SLOW_STORE: (0.5, 3.0),
}
"""Seconds, at least and at most. An SQLite store that is locked for more than one second answers `unavailable`."""

_LONG_FREEZE_S: Final = (5.5, 7.0)
"""A call to MongoDB takes five seconds at most: what is frozen for longer is `unavailable`. A few freezes are."""

_CROWDS: Final = {Kind.CUT_CLIENTS: (1, 40), Kind.STALL_CLIENTS: (1, 4)}
_STALL_ACKS: Final = (400, 900)
EVERYWHERE: Final = 10
"""Each tenth client is in all rooms. Those are the ones that do not read for a while: they miss the most."""

_DELAYS_MS: Final = (5, 150)
_MEANWHILE: Final = (Kind.KILL_SERVICE, Kind.RESTART_SERVICE, Kind.CUT_CLIENTS)
_SEED_SALT: Final = "hubbub chaos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong when the run has seen `after` acks.

    `seconds` is how long it lasts, `delay_ms` by how much a slow store is slower at each step, `clients` whom it
    concerns, `acks` how many acks of others those clients miss. `meanwhile` happens in the middle of it.
    """

    after: int
    kind: Kind
    seconds: float = 0.0
    delay_ms: int = 0
    clients: tuple[int, ...] = ()
    acks: int = 0
    meanwhile: Fault | None = None

    def __str__(self) -> str:
        parts = [str(self.kind)]
        if self.clients:
            parts.append(f"of {', '.join(map(str, self.clients))}")
        if self.seconds:
            parts.append(f"for {self.seconds} s")
        if self.delay_ms:
            parts.append(f"by {self.delay_ms} ms")
        if self.acks:
            parts.append(f"for {self.acks} acks")
        if self.meanwhile is not None:
            parts.append(f"and meanwhile {self.meanwhile}")
        return f"after {self.after}: {' '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run: its faults in order, and after how many acks it ends."""

    seed: int
    store: StoreName
    clients: int
    acks: int
    faults: Sequence[Fault]

    def __str__(self) -> str:
        title = f"seed {self.seed} on {self.store}: {self.clients} clients, {self.acks} acks"
        return "\n  ".join([title, *map(str, self.faults)])


def make_plan(seed: int, store: StoreName, *, clients: int, acks: int, faults: int) -> Plan:
    """The plan of a seed. Each has a kill of the service, each fault of the store, a cut and a stall; the rest is
    drawn. `faults` is at least the number of those.
    """
    chance = random.Random(f"{_SEED_SALT} {store} {seed}")
    certain = [Kind.KILL_SERVICE, Kind.FREEZE_STORE, Kind.SLOW_STORE, Kind.CUT_CLIENTS, Kind.STALL_CLIENTS]
    drawn = [Kind.KILL_SERVICE, Kind.KILL_SERVICE, Kind.RESTART_SERVICE, Kind.FREEZE_SERVICE, *certain]
    if store is StoreName.MONGO:
        certain.append(Kind.KILL_STORE)
        drawn.extend((Kind.KILL_STORE, Kind.KILL_STORE, Kind.KILL_BOTH))
    kinds = [*certain, *(chance.choice(drawn) for _ in range(faults - len(certain)))]
    chance.shuffle(kinds)
    places = sorted(chance.randint(acks // 20, acks * 9 // 10) for _ in kinds)
    made = [_fault(chance, store, kind, after, clients) for kind, after in zip(kinds, places, strict=True)]
    return Plan(seed, store, clients, acks, made)


def _fault(chance: random.Random, store: StoreName, kind: Kind, after: int, clients: int) -> Fault:
    meanwhile = None
    if kind in (Kind.FREEZE_STORE, Kind.SLOW_STORE) and chance.random() < 0.4:
        meanwhile = _fault(chance, store, chance.choice(_MEANWHILE), after, clients)
    crowd = _CROWDS.get(kind)
    candidates = range(0, clients, EVERYWHERE if kind is Kind.STALL_CLIENTS else 1)
    lasting = _LASTING.get(kind)
    if kind is Kind.FREEZE_STORE and store is StoreName.MONGO and chance.random() < 0.25:
        lasting = _LONG_FREEZE_S
    return Fault(
        after=after,
        kind=kind,
        seconds=round(chance.uniform(*lasting), 2) if lasting else 0.0,
        delay_ms=chance.randint(*_DELAYS_MS) if kind is Kind.SLOW_STORE else 0,
        clients=tuple(sorted(chance.sample(candidates, chance.randint(*crowd)))) if crowd else (),
        acks=chance.randint(*_STALL_ACKS) if kind is Kind.STALL_CLIENTS else 0,
        meanwhile=meanwhile,
    )
