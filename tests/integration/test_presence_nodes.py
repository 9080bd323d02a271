"""Who is seen by whom, over three real nodes: how soon each end of a connection, and of a node, shows elsewhere."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.support.chat import ChatClient, chat_client
from tests.support.halting import halt
from tests.support.linked import Cluster, Watcher, running_cluster
from tests.support.links import running_link
from tests.support.waiting import until

HEARTBEAT: Final = {"ping_interval_s": 2, "ping_timeout_s": 3}
HEARTBEAT_S: Final = 2 + 3
"""Of the nodes here. By default it is 30, so that a pulled cable shows after 45 s."""

GRACE_S: Final = 15.0
LEASE_S: Final = 15.0
PARTED_S: Final = 20.0
LATE_S: Final = 12.0
"""After the end of a node that was stopped: later than what was known of its lease would hold, and soon enough."""

AT_ONCE_S: Final = 2.0
SLACK_S: Final = 3.0
"""What tests beside these may take of the machine."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path, **HEARTBEAT) as cluster:
        yield cluster


@pytest.fixture
async def stack(cluster: Cluster) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


class Cast:
    """Clients in `tea`, and a watcher of it on the first and on the third node. `w1` is the first's."""

    def __init__(self, cluster: Cluster, stack: AsyncExitStack) -> None:
        self.cluster = cluster
        self._stack = stack

    async def begin(self) -> None:
        self.ada = await self.cluster.enter(self._stack, "ada", "n1")
        await self.ada.ok("room:create", {"kind": "public", "id": "tea", "title": "Tea"})
        await self.ada.ok("room:join", {"room": "tea"})
        self.w1 = await self._stack.enter_async_context(Watcher.watching(self.cluster, "n1", "tea"))
        self.w3 = await self._stack.enter_async_context(Watcher.watching(self.cluster, "n3", "tea"))

    async def enter(self, user: str, node: str, *, port: int | None = None) -> ChatClient:
        url = self.cluster.nodes[node].url if port is None else f"http://127.0.0.1:{port}"
        client = await self._stack.enter_async_context(chat_client(url, self.cluster.token(user)))
        await client.ok("room:join", {"room": "tea"})
        return client

    async def gone(self, user: str, began: float, within_s: float) -> float:
        """How long after that the first node's watcher is told that the user left."""
        try:
            await until(lambda: user not in self.w1.present, within_s + SLACK_S)
        except TimeoutError:
            raise AssertionError(f"{user} is still seen after {within_s + SLACK_S} s") from None
        return self.w1.times("left", user)[-1] - began


async def back_late(cast: Cast, user: str, began: float) -> ChatClient:
    await asyncio.sleep(began + LATE_S - time.monotonic())
    return await cast.enter(user, "n1")


async def goodbye(client: ChatClient) -> None:
    """A Socket.IO DISCONNECT. The library's own `disconnect` closes a WebSocket before it has written it."""
    await client.sio.eio.send("1/chat,")


async def breaks(client: ChatClient) -> None:
    """The transport ends without a word."""
    await client.sio.eio.disconnect(abort=True)
    await client.disconnected.wait()


class TestPresence:
    async def test_each_end_shows_elsewhere_when_it_should_and_who_is_back_was_never_gone(
        self, cluster: Cluster, stack: AsyncExitStack
    ) -> None:
        cast = Cast(cluster, stack)
        await cast.begin()
        w1, w3 = cast.w1, cast.w3
        wire = await stack.enter_async_context(running_link(cluster.nodes["n1"].port))
        names = ("bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ivy")
        on_n2 = {user: await cast.enter(user, "n2") for user in names}
        on_n3 = {user: await cast.enter(user, "n3") for user in ("jan", "kim")}
        await cluster.start("n4", **HEARTBEAT)
        on_n4 = {user: await cast.enter(user, "n4") for user in ("oli", "quin")}
        two = await cast.enter("fay", "n1")
        await cast.enter("liv", "n1", port=wire.port)
        everybody = {"ada", "liv", *on_n2, *on_n3, *on_n4}
        await until(lambda: w1.present == w3.present == everybody)

        # What is said on purpose shows at once, on every node.
        await on_n2["bob"].ok("room:leave", {"room": "tea"})
        await goodbye(on_n2["cyd"])
        began = time.monotonic()
        await until(lambda: w1.present == w3.present == everybody - {"bob", "cyd"})
        assert time.monotonic() - began < AT_ONCE_S
        again = await cast.enter("bob", "n3")
        began = time.monotonic()
        await until(lambda: "bob" in w1.present & w3.present)
        assert time.monotonic() - began < AT_ONCE_S
        # Who is on two nodes stays while one of them has a connection of theirs.
        await goodbye(two)
        await again.ok("room:leave", {"room": "tea"})
        await until(lambda: "bob" not in w1.present | w3.present)
        assert w1.present == w3.present == everybody - {"bob", "cyd"}

        # What breaks has its grace, on a node that stays, and what a cable is pulled from has its heartbeat before.
        # Meanwhile a node is killed, another freezes, and one is deployed.
        broken = [await cast.enter(user, "n1") for user in ("max", "ned")]
        await until(lambda: {"max", "ned"} <= w1.present)
        assert await cluster.nodes["n4"].stop() == 0
        began = time.monotonic()
        for client in broken:
            await breaks(client)
        wire.stall()
        cluster.nodes["n2"].process.kill()
        halt(cluster.nodes["n3"].process.pid)
        limits = {"max": GRACE_S, "liv": HEARTBEAT_S + GRACE_S, "quin": PARTED_S}
        limits |= dict.fromkeys(("dan", "fay", "gus", "hal", "jan"), LEASE_S)
        try:
            back = [await cast.enter(user, "n1") for user in ("ned", "eve", "ivy", "kim")]
            times, late, _ = await asyncio.gather(
                asyncio.gather(*(cast.gone(user, began, limit) for user, limit in limits.items())),
                back_late(cast, "oli", began),
                cluster.start("n4", **HEARTBEAT),
            )
            took = dict(zip(limits, times, strict=True))
            assert took["max"] > GRACE_S - 1
            assert took["liv"] > GRACE_S
            assert took["quin"] > LATE_S
            assert w1.present == {"ada", "ned", "eve", "ivy", "kim", "oli"}
            for user in w1.present:
                assert w1.times("left", user) == [], user
            assert not any(client.disconnected.is_set() for client in (cast.ada, late, *back))
        finally:
            cluster.nodes["n3"].process.send_signal(signal.SIGCONT)

        # The one that froze says again who is there, and is told of the others.
        await cluster.wait_ready(["n3"])
        pat = await cast.enter("pat", "n3")
        await until(lambda: "pat" in w1.present)
        w4 = await stack.enter_async_context(Watcher.watching(cluster, "n3", "tea"))
        await until(lambda: {"ada", "ned", "eve", "ivy", "kim", "pat"} <= w4.present)
        assert not pat.disconnected.is_set()
