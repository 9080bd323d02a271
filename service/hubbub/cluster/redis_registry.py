"""The registry in Redis.

Everything that a node says lies under its name, in one slot of a cluster: `hubbub:{NAME}:lease` has the boot that holds
the name, for as long as the lease runs; `…:parting` the boot if it has said that it ends; `…:said:BOOT` what was said
of each user; `…:in:BOOT:UID` who is in a room, and `…:rooms:BOOT` which rooms those are. Whoever reads asks each node's
slot, and in it the boot that has the lease: so all that a node said is gone at the moment its lease is, though it still
lies there until some other node sweeps it away.

Word goes out on a channel per room, in the same step in which it is recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib import resources
from typing import Any, Final, cast

import orjson
import structlog
from redis.exceptions import RedisError as DriverError

from hubbub.cluster.base import (
    HANDOVER_MS,
    LEASE_MS,
    PARTING_MS,
    Announcement,
    News,
    Node,
    Renewal,
    RoomReading,
    Share,
    Status,
)
from hubbub.cluster.redis_address import CALL_S, RedisAddress
from hubbub.cluster.redis_ears import Ears
from hubbub.cluster.redis_reasons import away
from hubbub.errors import HubbubError

__all__ = ["RedisRegistry"]

_log = structlog.get_logger("hubbub.cluster")

NODES: Final = "hubbub:nodes"
"""A hash of the nodes that were here of late: name and boot, and when they were first missed (ms)."""

_CHANNEL: Final = "hubbub:presence:"
_SWEPT_ROOMS: Final = 200
_HEARD_MOST: Final = 4096
_USERS_AT_ONCE: Final = 1000

AT_ONCE: Final = 4
"""How many other nodes are asked about at the same time, for the lease and for what clients want to see. Each call has
a connection while it lasts; the driver keeps it then, and has no more than a hundred. All at once, twenty nodes had
420 of them, and when clients began to watch six rooms at the same time, reading them failed.
"""

PART_S: Final = 0.5
"""How long a node that ends waits for Redis to take note of it."""


def _script(name: str) -> str:
    return resources.files("hubbub.cluster").joinpath(f"lua/{name}.lua").read_text("utf-8")


class RedisRegistry:
    """See `base.Registry`. `ears` are those of the node; they are started and closed by whoever made them, and
    `ears_again` is to be called by them.
    """

    is_lone = False

    def __init__(self, address: RedisAddress, ears: Ears, node: Node) -> None:
        self._node = node
        self._ears = ears
        self._client: Any = address.client()
        self._scripts = {
            name: self._client.register_script(_script(name))
            for name in ("take", "announce", "room", "users", "living", "sweep", "withdraw", "part")
        }
        self._on_news: Callable[[News], None] | None = None
        self._watched: set[str] = set()
        self._heard: OrderedDict[tuple[str, str, int], None] = OrderedDict()
        self._sweeping: set[asyncio.Task[None]] = set()
        self._renewing = asyncio.Semaphore(AT_ONCE)
        self._reading = asyncio.Semaphore(AT_ONCE)
        self.is_taken = False
        """Whether another process has this node's name, as the last renewal found."""
        self._has_taken = False
        self._has_missed = False
        self._has_sentinels = address.service is not None
        self._may_have_moved = False
        self._is_listed = False

    @property
    def node(self) -> Node:
        return self._node

    async def open(self, on_news: Callable[[News], None]) -> None:
        if await self._take() == 0:
            raise HubbubError("conflict", f"Another process is the node {self._node.name}, or was until a moment ago.")
        self._on_news = on_news
        await self._call(self._client.hset(NODES, _member(self._node), 0))

    async def close(self) -> None:
        self._on_news = None
        for uid in self._watched:
            self._ears.leave(_CHANNEL + uid)
        self._watched.clear()
        for task in self._sweeping:
            task.cancel()
        if self._sweeping:
            await asyncio.wait(self._sweeping)
        if self._has_taken:
            self._has_taken = False
            # A node ends in its time whatever Redis does. Then its lease is as long as it was.
            with contextlib.suppress(HubbubError, TimeoutError):
                async with asyncio.timeout(PART_S):
                    keys = [_lease(self._node.name), _parting(self._node.name)]
                    await self._run("part", keys, [self._node.boot, PARTING_MS])
        await self._client.aclose()
        if self._has_sentinels:
            for sentinel in self._client.connection_pool.sentinel_manager.sentinels:
                await sentinel.aclose()

    async def withdraw(self) -> None:
        await self._run("withdraw", [_lease(self._node.name)], [self._node.boot])
        self._has_taken = False
        await self._call(self._client.hset(NODES, _member(self._node), 1))
        await self.close()

    def ears_again(self) -> None:
        """The ears have a connection: what was said before it is lost."""
        self._has_missed = self._may_have_moved = True

    async def renew(self) -> Renewal:
        if self._has_sentinels and self._may_have_moved:
            # An old master that lives is a master for a while to those who are connected to it. Who comes anew is sent
            # to the new one.
            self._may_have_moved = False
            await self._client.connection_pool.disconnect(inuse_connections=False)
        taken = await self._take()
        self.is_taken = taken == 0
        if self.is_taken:
            raise HubbubError("unavailable", "Another process has taken this node's name meanwhile.", retry_after=1)
        nodes = await self._others(self._renewing)
        if not self._is_listed:
            # Redis lost it, or a node that missed this one swept it away just when it was back.
            await self._call(self._client.hset(NODES, _member(self._node), 0))
        names = sorted({node.name for node in nodes})
        found = await self._of_each("living", names, lambda name: (), self._renewing)
        held = {name: answer for name, answer in zip(names, found, strict=True) if answer}
        living: dict[Node, int] = {}
        for node in nodes:
            boot, left = held.get(node.name, (b"", 0))
            if boot == node.boot.encode():
                living[node] = max(int(left), 0)
            else:
                self._sweep_soon(node)
        missed, self._has_missed = self._has_missed, False
        return Renewal(taken == 2, living, missed)

    async def announce(self, announcements: Sequence[Announcement]) -> None:
        words: list[Any] = [self._node.boot, _in(self._node), _CHANNEL]
        for each in announcements:
            share = each.share
            rooms = sorted(share.rooms) if share is not None else []
            shown = b"" if share is None else orjson.dumps(_share_document(share))
            words += (each.number, each.user, shown, _word(self._node, each), "".join(f"{uid} " for uid in rooms))
        await self._run("announce", [_lease(self._node.name), _said(self._node), _rooms(self._node)], words)

    async def watch(self, uid: str) -> None:
        if uid not in self._watched:
            self._watched.add(uid)
            self._ears.listen(_CHANNEL + uid, self._hear)
        await self._ears.hears(_CHANNEL + uid)

    async def unwatch(self, uid: str) -> None:
        if uid in self._watched:
            self._watched.discard(uid)
            self._ears.leave(_CHANNEL + uid)

    async def room(self, uid: str) -> RoomReading:
        names = sorted({node.name for node in await self._others(self._reading)})
        found = await self._of_each(
            "room", names, lambda name: (f"hubbub:{{{name}}}:said:", f"hubbub:{{{name}}}:in:", uid), self._reading
        )
        announcements: list[tuple[Node, Announcement]] = []
        as_of: dict[Node, int] = {}
        for name, answer in zip(names, found, strict=True):
            if not answer:
                continue
            node = Node(name, answer[0].decode())
            as_of[node] = int(answer[1])
            for user, said in zip(answer[2::2], answer[3::2], strict=True):
                number, _, shown = said.split(b"\t", 2)
                announcements.append((node, Announcement(int(number), user.decode(), _share(user.decode(), shown))))
        return RoomReading(announcements, as_of)

    async def users(self, ids: Sequence[str]) -> Mapping[str, Sequence[Share]]:
        names = sorted({node.name for node in await self._others(self._reading)})
        shares: dict[str, list[Share]] = {}
        for begin in range(0, len(ids), _USERS_AT_ONCE):
            some = list(ids[begin : begin + _USERS_AT_ONCE])
            found = await self._of_each("users", names, functools.partial(_of_users, some), self._reading)
            for answer in found:
                for user, said in zip(some, answer or (), strict=False):
                    if said:
                        shares.setdefault(user, []).append(_share(user, said.split(b"\t", 2)[2]))
        return shares

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _take(self) -> int:
        keys = [_lease(self._node.name), _said(self._node), _rooms(self._node), _parting(self._node.name)]
        words = [self._node.boot, LEASE_MS, _in(self._node), PARTING_MS - HANDOVER_MS]
        taken = int(await self._run("take", keys, words))
        self._has_taken = taken != 0
        return taken

    async def _others(self, turns: asyncio.Semaphore) -> list[Node]:
        """The other nodes that were here of late, living or not."""
        async with _turn(turns):
            members = await self._call(self._client.hkeys(NODES))
        nodes = [Node(*member.decode().split(" ", 1)) for member in members]
        self._is_listed = self._node in nodes
        return [node for node in nodes if node != self._node]

    async def _of_each(
        self, script: str, names: Sequence[str], words: Callable[[str], Sequence[Any]], turns: asyncio.Semaphore
    ) -> list[Any]:
        """What a script answers about each of these nodes, a few at once."""

        async def of(name: str) -> Any:
            async with _turn(turns):
                return await self._run(script, [_lease(name)], words(name))

        return await asyncio.gather(*map(of, names))

    async def _run(self, script: str, keys: Sequence[str], words: Sequence[Any] = ()) -> Any:
        return await self._call(self._scripts[script](keys=list(keys), args=list(words)))

    async def _call(self, call: Any) -> Any:
        try:
            return await call
        except (DriverError, OSError, TimeoutError) as error:
            raise away(error) from error

    def _hear(self, body: bytes) -> None:
        """Word came. A share in several watched rooms comes once for each of them."""
        if self._on_news is None:
            return
        try:
            name, boot, number, user, shown, left = orjson.loads(body)
        except (orjson.JSONDecodeError, ValueError, TypeError):
            _log.warning("cluster.word_unreadable", bytes=len(body))
            return
        key = (name, boot, number)
        if (name, boot) == (self._node.name, self._node.boot) or key in self._heard:
            return
        self._heard[key] = None
        if len(self._heard) > _HEARD_MOST:
            self._heard.popitem(last=False)
        share = None if shown is None else _share_from(user, shown)
        self._on_news(News(Node(name, boot), Announcement(number, user, share, frozenset(left))))

    def _sweep_soon(self, node: Node) -> None:
        """Another node's lease is over, and what it said lies about. Any node may clear it away; twice is no harm."""
        if not self._sweeping:
            task = asyncio.ensure_future(self._sweep(node))
            self._sweeping.add(task)
            task.add_done_callback(self._sweeping.discard)

    async def _sweep(self, node: Node) -> None:
        try:
            keys = [_lease(node.name), _said(node), _rooms(node)]
            words = [node.boot, _in(node), _SWEPT_ROOMS]
            is_left = True
            while is_left:
                is_left = bool(await self._run("sweep", keys, words))
            await self._call(self._client.hdel(NODES, _member(node)))
        except HubbubError:
            return  # The next renewal sees it again.


@contextlib.asynccontextmanager
async def _turn(turns: asyncio.Semaphore) -> AsyncIterator[None]:
    """Wait for one of them. Raises `HubbubError("unavailable")` if those before take longer than a call may."""
    try:
        async with asyncio.timeout(CALL_S):
            await turns.acquire()
    except TimeoutError:
        raise HubbubError("unavailable", "Redis is too slow.", retry_after=1) from None
    try:
        yield
    finally:
        turns.release()


def _of_users(ids: Sequence[str], name: str) -> Sequence[str]:
    return (f"hubbub:{{{name}}}:said:", *ids)


def _lease(name: str) -> str:
    return f"hubbub:{{{name}}}:lease"


def _parting(name: str) -> str:
    return f"hubbub:{{{name}}}:parting"


def _said(node: Node) -> str:
    return f"hubbub:{{{node.name}}}:said:{node.boot}"


def _in(node: Node) -> str:
    """What the key of each room begins with."""
    return f"hubbub:{{{node.name}}}:in:{node.boot}:"


def _rooms(node: Node) -> str:
    return f"hubbub:{{{node.name}}}:rooms:{node.boot}"


def _member(node: Node) -> str:
    return f"{node.name} {node.boot}"


def _word(node: Node, announcement: Announcement) -> bytes:
    share = announcement.share
    shown = None if share is None else _share_document(share)
    return orjson.dumps(
        [node.name, node.boot, announcement.number, announcement.user, shown, sorted(announcement.left)]
    )


def _share_document(share: Share) -> list[Any]:
    return [
        share.name,
        share.guest,
        share.status,
        share.text,
        share.text_at,
        share.hidden_at,
        share.live,
        sorted(share.rooms),
    ]


def _share(user: str, shown: bytes) -> Share:
    return _share_from(user, orjson.loads(shown))


def _share_from(user: str, shown: Sequence[Any]) -> Share:
    name, guest, status, text, text_at, hidden_at, live, rooms = shown
    return Share(user, name, guest, cast(Status, status), text, text_at, hidden_at, live, frozenset(rooms))
