"""What a node has of its cluster: the registry of who is where, the bus between the nodes, and the manager that outside
processes talk to. Alone, or joined by Redis; part of the composition, and the only other importer of adapters.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import structlog

from hubbub.cluster.base import LEASE_MS, Node, Registry
from hubbub.cluster.bus import Bus
from hubbub.cluster.memory import LoneRegistry
from hubbub.domain.shares import Shares
from hubbub.errors import HubbubError, StoreError
from hubbub.history.base import Beat
from hubbub.settings import Settings
from hubbub.transport.manager import Manager

__all__ = ["Alone", "Cluster", "Joined", "Trouble", "join"]

_log = structlog.get_logger("hubbub.cluster")

CLAIM_AGAIN_S: Final = 0.5

ASK_S: Final = 2.0
"""How often a node reads what the others tell of themselves: whether they hear, and how many sessions they have. It is
one small query, and what it brings is up to 3.3 s old.
"""

ASK_DEAF_S: Final = 1.0
"""The same while it does not hear."""

LOOK_S: Final = 0.5
"""How often a node looks whether it hears and has its name, which costs nothing."""

UNAWARE_MS: Final = 2_000
"""When a Redis fails that all nodes use, they notice within a second of each other, and clocks may be another second
apart. Until then some still say that they hear.
"""

FIRST_S: Final = 6.0
"""How long a node that has not heard anything yet counts as starting. By then it knows whether others hear."""

_NOT_YET: Final = "nothing has come by way of Redis yet"
_DEAF: Final = "Redis does not carry what other nodes say; it is read from the store, some seconds late"
_ALONE_DEAF: Final = "other nodes hear each other by Redis, and this one does not"


class _Control(Protocol):
    """What is asked of the nodes that live (`hubbub.domain.control.service.Control`)."""

    about: Callable[[], Mapping[str, Any]]

    async def nodes(self) -> list[Beat]: ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """`reason` is a clause. A node that is `starting` or `deaf` should get no newcomers, one that is `degraded` may."""

    status: Literal["starting", "deaf", "degraded"]
    reason: str


class Cluster(Protocol):
    """One node's part. `bus` is None if there is no other node and never will be."""

    registry: Registry
    bus: Bus | None
    manager: Manager

    async def start(self) -> None:
        """Begin. Raises `StoreError` if another process has this node's name."""

    def watch(self, control: Any, count: Callable[[], int], on_taken: Callable[[], None]) -> None:
        """Tell the others in this node's beats whether it hears and how many sessions it has open, which `count` says,
        and read what they tell. `on_taken` is called, again and again, when another process has this node's name: two
        of one name would be one to the others, so the one that had lost it has to go.
        """

    def passes_on(self) -> bool:
        """Whether a newcomer who can as well go to another node should."""

    async def close(self) -> None:
        """Safe to call twice."""

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong with it."""


@dataclass(slots=True)
class Alone:
    """The one node there is."""

    registry: Registry
    manager: Manager
    bus: Bus | None = None
    trouble: Trouble | None = None

    async def start(self) -> None:
        """There is nothing to begin."""

    def watch(self, control: Any, count: Callable[[], int], on_taken: Callable[[], None]) -> None:
        """Nobody has to know."""

    def passes_on(self) -> bool:
        """There is nobody to whom."""
        return False

    async def close(self) -> None:
        """Nothing was begun."""


class Joined:
    """A node among others. Redis that is away keeps nobody from starting: everything that matters is in the store."""

    def __init__(self, settings: Settings, *, on_dropped: Callable[[int], None]) -> None:
        try:
            from hubbub.cluster.redis_address import RedisAddress
            from hubbub.cluster.redis_bus import RedisBus
            from hubbub.cluster.redis_ears import Ears
            from hubbub.cluster.redis_registry import RedisRegistry
            from hubbub.transport.shared_manager import SharedManager
        except ImportError as error:
            raise StoreError("Redis' driver is not installed: pip install 'hubbub[redis]'.") from error
        try:
            address = RedisAddress.of(settings.redis or "")
        except ValueError as error:
            raise StoreError(f"HUBBUB_REDIS {error}.") from None
        node = Node(settings.node, secrets.token_hex(8))
        self._place = address.place
        self._ears = Ears(address, on_again=self._ears_again)
        self._bus = RedisBus(address, self._ears, f"{node.name}.{node.boot}", on_dropped=on_dropped)
        self.bus: Bus | None = self._bus
        self._registry = RedisRegistry(address, self._ears, node)
        self.registry: Registry = self._registry
        self.manager: Manager = SharedManager(say=self._bus.say, listen=self._ears.listen)
        self._on_taken: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None
        self._begun_at = 0.0
        self._was_heard = False
        self._deaf_since_ms: float | None = None
        self._others_hear = False
        self._is_taken = False
        self._shares = Shares(node.name)
        self._count: Callable[[], int] = lambda: 0

    async def start(self) -> None:
        """Listen, and claim the name. A name whose holder was killed is free when its lease is over."""
        self._begun_at = asyncio.get_running_loop().time()
        self._ears.start()
        deadline = asyncio.get_running_loop().time() + LEASE_MS / 1000 + 2
        while True:
            try:
                await self.registry.open(lambda news: None)
                return
            except HubbubError as error:
                if error.code != "conflict":
                    _log.warning("cluster.redis_away", place=self._place, reason=error.message)
                    return
                if asyncio.get_running_loop().time() > deadline:
                    raise StoreError(f"{error.message} Give each node a HUBBUB_NODE of its own.") from None
            await asyncio.sleep(CLAIM_AGAIN_S)

    def watch(self, control: _Control, count: Callable[[], int], on_taken: Callable[[], None]) -> None:
        tell = control.about
        control.about = lambda: {**tell(), "hears": self._bus.hears, "sessions": count()}
        self._count, self._on_taken = count, on_taken
        self._task = asyncio.ensure_future(self._watch(control))

    def passes_on(self) -> bool:
        """A node that alone is deaf does so with everybody: it is no place for newcomers, and Nginx does not ask after
        its health. Else it depends on what the others have.
        """
        trouble = self.trouble
        if trouble is not None and trouble.status == "deaf":
            return True
        return self._shares.is_exceeded(self._count(), now_s=asyncio.get_running_loop().time())

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._bus.close()
        await self.registry.close()
        await self._ears.close()

    @property
    def trouble(self) -> Trouble | None:
        if self._bus.hears:
            return None
        why = self._bus.trouble
        because = "" if why is None else f": {why.removesuffix('.')}"
        if not self._was_heard and asyncio.get_running_loop().time() - self._begun_at < FIRST_S:
            return Trouble("starting", _NOT_YET + because)
        return Trouble("deaf", _ALONE_DEAF + because) if self._others_hear else Trouble("degraded", _DEAF + because)

    def _ears_again(self) -> None:
        self._bus.ears_again()
        self._registry.ears_again()

    async def _watch(self, control: _Control) -> None:
        asked_at = 0.0
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()
            now_s = asyncio.get_running_loop().time()
            if now_s - asked_at < (ASK_S if self._deaf_since_ms is None else ASK_DEAF_S):
                continue
            asked_at = now_s
            others = False
            try:
                nodes = await control.nodes()
                self._shares.learn(nodes, now_s=asyncio.get_running_loop().time())
                others = any(self._is_witness(beat) for beat in nodes)
            except HubbubError:
                pass  # With the store away nobody can say, and nobody is better off elsewhere.
            except Exception as error:
                _log.error("cluster.watch_broken", exc_info=error)
            self._others_hear = others

    def _look(self) -> None:
        """Whether it hears, and has its name."""
        if self._bus.hears:
            self._was_heard, self._deaf_since_ms = True, None
        elif self._deaf_since_ms is None:
            self._deaf_since_ms = time.time() * 1000
        if self._registry.is_taken:
            if not self._is_taken:
                _log.error("cluster.name_taken", node=self._registry.node.name)
            self._is_taken = True
            self._on_taken()

    def _is_witness(self, beat: Beat) -> bool:
        """Whether this shows that others hear while this node does not. What was said before, by nodes that did not
        know yet that Redis is away, or died with it, shows nothing.
        """
        since = self._deaf_since_ms
        return since is not None and beat.at > since + UNAWARE_MS and beat.about.get("hears") is True


def join(settings: Settings, *, on_dropped: Callable[[int], None]) -> Cluster:
    """The cluster that the settings ask for."""
    if settings.redis is None:
        return Alone(LoneRegistry(Node(settings.node, secrets.token_hex(8))), Manager())
    return Joined(settings, on_dropped=on_dropped)
