"""Two services over one MongoDB, with nothing else between them: what is ordered on one is so on the other in a second.

The second service has its own way to the store, which can be cut and frozen while the first one's stands.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from hubbub.history.mongo_server import CONNECT_TIMEOUT_MS
from tests.support.admin import AdminClient, admin_client
from tests.support.chat import ChatClient, RefusedError, chat_client
from tests.support.mongo_proxy import MongoProxy, running_proxy
from tests.support.mongodb import MongoProcess, with_database
from tests.support.service import RunningService, running_service
from tests.support.tabs import Tab

SECRET = "a secret for tests, which is long enough"

WITHIN_S: Final = 1.0
"""What is promised."""

SLACK_S: Final = 0.6
"""Two cores are shared by many tests, and so is the store."""

OUTAGE_S: Final = 10.0


class Nodes:
    """Two services. On the first are `root`, an administrator, and `ada`; on the second is everybody else."""

    def __init__(self, stack: AsyncExitStack, first: RunningService, second: RunningService, proxy: MongoProxy) -> None:
        self._stack = stack
        self.first, self.second, self.proxy = first, second, proxy
        self.root: AdminClient
        self.ada: ChatClient

    async def begin(self) -> None:
        token = self.first.token(user="root", roles=["admin"])
        self.root = await self._stack.enter_async_context(admin_client(self.first.url, token))
        self.ada = await self.enter("ada", self.first)

    async def enter(self, user: str, service: RunningService | None = None, *, token: str | None = None) -> ChatClient:
        service = service or self.second
        return await self._stack.enter_async_context(chat_client(service.url, token or service.token(user=user)))

    async def watcher(self, user: str) -> Tab:
        """A user of the second node in /chat and /presence."""
        tab = Tab()
        self._stack.push_async_callback(tab.goodbye)
        await tab.connect(self.second.url, self.second.token(user=user))
        return tab

    async def in_room(self, user: str, room: str) -> ChatClient:
        """A user of the second node in a room that ada made on the first; the second node has caught up."""
        if not any(each["id"] == room for each in (await self.ada.ok("room:list", {"mine": True}))["rooms"]):
            await self.ada.ok("room:create", {"kind": "public", "id": room, "title": room})
            await self.ada.ok("room:join", {"room": room})
        client = await self.enter(user)
        await client.ok("room:join", {"room": room})
        await client.ok("message:send", {"room": room, "key": f"first {user}", "body": "hello"})
        return client


@pytest.fixture
async def nodes(tmp_path: Path, mongo_uri: str) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(running_proxy(mongo_uri))
        services = []
        for name, store in (("n1", mongo_uri), ("n2", proxy.uri + urlsplit(mongo_uri).path.removeprefix("/"))):
            (tmp_path / name).mkdir()
            service = running_service(tmp_path / name, store=store, node=name, jwt_secret=SECRET, limits="off")
            services.append(await stack.enter_async_context(service))
        nodes = Nodes(stack, services[0], services[1], proxy)
        await nodes.begin()
        yield nodes


async def refused(client: ChatClient, room: str, *codes: str) -> float:
    """When a send of this client is refused with one of these codes."""
    for number in range(1_000_000):
        key = f"{time.monotonic()} {number}"
        ack = await client.call("message:send", {"room": room, "key": key, "body": "still here"})
        if not ack["ok"] and ack["error"]["code"] in codes:
            break
        assert ack["ok"] or ack["error"]["code"] == "unavailable", ack
        await asyncio.sleep(0.01)
    return time.monotonic()


async def closed(client: ChatClient, code: str) -> float:
    """When this client was let go with this code."""
    assert (await client.wait_for("closing"))["code"] == code
    await client.disconnected.wait()
    return time.monotonic()


Effect = Callable[[Nodes, str], Awaitable[tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[float]]]]]
"""Made ready under a name that no other has: what orders it, and what returns when it is in force."""


async def ban(nodes: Nodes, name: str) -> Any:
    bob = await nodes.enter(name)
    return lambda: nodes.root.ok("user:ban", {"user": name, "reason": "spam"}), lambda: closed(bob, "banned")


async def revocation(nodes: Nodes, name: str) -> Any:
    bob = await nodes.enter(name)
    return lambda: nodes.root.ok("token:revoke", {"user": name, "reason": "lost"}), lambda: closed(bob, "unauthorized")


async def disconnection(nodes: Nodes, name: str) -> Any:
    bob = await nodes.enter(name)
    return lambda: nodes.root.ok("user:disconnect", {"user": name, "reason": "go"}), lambda: closed(bob, "forbidden")


async def kick(nodes: Nodes, name: str) -> Any:
    bob = await nodes.in_room(name, name)

    async def gone() -> float:
        removed = await bob.wait_for("room:removed")
        at = time.monotonic()
        assert removed == {"room": name, "reason": "kicked", "text": "enough"}
        await refused(bob, name, "forbidden")
        return at

    return lambda: nodes.ada.ok("room:kick", {"room": name, "user": name, "reason": "enough"}), gone


async def room_ban(nodes: Nodes, name: str) -> Any:
    bob = await nodes.in_room(name, name)

    async def gone() -> float:
        removed = await bob.wait_for("room:removed")
        at = time.monotonic()
        assert removed == {"room": name, "reason": "banned"}
        assert (await bob.error("room:join", {"room": name}))["code"] == "banned"
        return at

    return lambda: nodes.ada.ok("room:ban", {"room": name, "user": name}), gone


async def mute(nodes: Nodes, name: str) -> Any:
    bob = await nodes.in_room(name, name)
    return lambda: nodes.ada.ok("room:mute", {"room": name, "user": name}), lambda: refused(bob, name, "muted")


async def role(nodes: Nodes, name: str) -> Any:
    bob = await nodes.in_room(name, name)

    async def promoted() -> float:
        await bob.wait_for("member", lambda each: each["user"]["id"] == name and each.get("role") == "moderator")
        at = time.monotonic()
        await bob.ok("room:update", {"room": name, "topic": "Mine as well"})
        return at

    return lambda: nodes.ada.ok("room:role", {"room": name, "user": name, "role": "moderator"}), promoted


async def deletion(nodes: Nodes, name: str) -> Any:
    bob = await nodes.in_room(name, name)

    async def gone() -> float:
        removed = await bob.wait_for("room:removed")
        at = time.monotonic()
        assert removed == {"room": name, "reason": "deleted"}
        assert (await bob.error("message:send", {"room": name, "key": "k", "body": "x"}))["code"] == "not_found"
        return at

    return lambda: nodes.ada.ok("room:delete", {"room": name}), gone


async def invitation(nodes: Nodes, name: str) -> Any:
    bob = await nodes.enter(name)
    room = (await nodes.ada.ok("room:create", {"kind": "private", "title": name}))["room"]["id"]

    async def invited() -> float:
        await bob.wait_for("room:added", lambda each: each["room"]["id"] == room)
        at = time.monotonic()
        await bob.ok("room:join", {"room": room})
        return at

    return lambda: nodes.ada.ok("room:invite", {"room": room, "user": name}), invited


async def update(nodes: Nodes, name: str) -> Any:
    bob = await nodes.in_room(name, name)

    async def told() -> float:
        await bob.wait_for("room", lambda each: each["title"] == "Green")
        return time.monotonic()

    return lambda: nodes.ada.ok("room:update", {"room": name, "title": "Green"}), told


async def notice(nodes: Nodes, name: str) -> Any:
    bob = await nodes.enter(name)

    async def told() -> float:
        await bob.wait_for("notice", lambda each: each["text"] == name)
        return time.monotonic()

    return lambda: nodes.root.ok("notice:send", {"level": "info", "text": name}), told


async def watch(nodes: Nodes, name: str) -> Any:
    room = (await nodes.ada.ok("room:create", {"kind": "private", "title": name, "members": [name]}))["room"]["id"]
    bob = await nodes.watcher(name)
    await bob.ok("room:join", {"room": room})
    await bob.ok("presence:watch", {"rooms": [room]})

    async def ended() -> float:
        async with asyncio.timeout(20):
            while not any(each[:2] == ("/presence", "room:removed") for each in bob.events):
                async with bob.news:
                    await bob.news.wait()
        return time.monotonic()

    return lambda: nodes.ada.ok("room:kick", {"room": room, "user": name}), ended


EFFECTS: Final = (
    ban,
    revocation,
    disconnection,
    kick,
    room_ban,
    mute,
    role,
    deletion,
    invitation,
    update,
    watch,
    notice,
)


class TestWhileTheStoreAnswers:
    @pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
    async def test_what_is_ordered_on_one_node_is_so_on_the_other_within_a_second(
        self, nodes: Nodes, effect: Effect
    ) -> None:
        order, in_force = await effect(nodes, effect.__name__.replace("_", "-"))
        await order()
        ordered = time.monotonic()
        async with asyncio.timeout(20):
            assert await in_force() - ordered < WITHIN_S + SLACK_S


class TestAfterAnOutage:
    @pytest.mark.parametrize("how", ["frozen", "lost", "refused"])
    async def test_what_was_ordered_meanwhile_is_so_within_a_second_of_the_stores_return(
        self, nodes: Nodes, how: str
    ) -> None:
        made = [await effect(nodes, f"{effect.__name__.replace('_', '-')}") for effect in EFFECTS]
        bystander = await nodes.in_room("zoe", "lobby")
        if how != "refused":
            nodes.proxy.freeze()
        else:
            await nodes.proxy.close()
        await asyncio.sleep(OUTAGE_S / 2)
        for order, _ in made:
            await order()
        # Whoever is connected stays, and what this node knew before holds.
        assert not bystander.disconnected.is_set()
        await asyncio.sleep(OUTAGE_S / 2)
        waiting = [asyncio.ensure_future(in_force()) for _, in_force in made]
        await asyncio.sleep(0.1)
        if how == "frozen":
            nodes.proxy.heal()
        elif how == "lost":
            nodes.proxy.lose()
        else:
            await nodes.proxy.listen()
        returned = time.monotonic()
        async with asyncio.timeout(30):
            took = {
                effect.__name__: round(at - returned, 2)
                for effect, at in zip(EFFECTS, await asyncio.gather(*waiting), strict=True)
            }
        # The driver does not give up a connection whose answer was lost before its time for connects is over.
        more_s = CONNECT_TIMEOUT_MS / 1000 if how == "lost" else 0
        assert max(took.values()) < WITHIN_S + SLACK_S + more_s, took


class TestAfterTheStoreHasDied:
    async def test_both_nodes_are_back_and_orders_take_effect_within_a_second(
        self, tmp_path: Path, mongo_server: MongoProcess
    ) -> None:
        async with AsyncExitStack() as stack:
            store = with_database(mongo_server.uri, "hubbub")
            services = []
            for name in ("n1", "n2"):
                (tmp_path / name).mkdir()
                service = running_service(tmp_path / name, store=store, node=name, jwt_secret=SECRET, limits="off")
                services.append(await stack.enter_async_context(service))
            nodes = Nodes(stack, services[0], services[1], MongoProxy(("127.0.0.1", mongo_server.port)))
            await nodes.begin()
            order, in_force = await kick(nodes, "bob")
            mongo_server.kill()
            await asyncio.sleep(OUTAGE_S / 2)
            await asyncio.to_thread(mongo_server.start)
            async with asyncio.timeout(20):
                while not (await nodes.ada.call("room:list", {}))["ok"]:
                    await asyncio.sleep(0.05)
                await order()
                ordered = time.monotonic()
                assert await in_force() - ordered < WITHIN_S + SLACK_S


class TestAfterARestart:
    async def test_who_was_banned_is_kept_out_from_the_first_moment(self, nodes: Nodes, tmp_path: Path) -> None:
        await nodes.root.ok("user:ban", {"user": "bob", "reason": "spam"})
        await nodes.second.kill()
        (tmp_path / "n3").mkdir()
        store = nodes.first.environ["HUBBUB_STORE"]
        async with running_service(tmp_path / "n3", store=store, node="n3", jwt_secret=SECRET) as service:
            with pytest.raises(RefusedError) as caught:
                async with chat_client(service.url, service.token(user="bob")):
                    pass
            assert caught.value.error["code"] == "banned"
