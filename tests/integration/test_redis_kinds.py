"""Two real nodes over each kind of Redis that operators have: TLS with a user of few rights, and sentinels that move
the master. And what a node says of itself when Redis does not let it in.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import socketio
from click.testing import CliRunner

from hubbub.cli import main
from tests.support.chat import ChatClient, chat_client
from tests.support.linked import Watcher
from tests.support.rediskinds import RIGHTS, Authority, RunningSentinels, TlsRedis, running_sentinels, running_tls
from tests.support.service import RunningService, running_service
from tests.support.tree import ROOT
from tests.support.waiting import until

SECRET: Final = "a secret for tests, which is long enough"
PASSWORD: Final = "pass-of-tests-81f6c2"
WRONG: Final = "wrong-of-tests-5d07e9"


@dataclass
class Site:
    """`ada` is on the one node, `bob` on the other, both in the room. `said` are the numbers of their messages."""

    services: list[RunningService]
    ada: ChatClient
    bob: ChatClient
    said: list[int]
    numbers: Iterator[int]

    @property
    def clients(self) -> tuple[ChatClient, ChatClient]:
        return self.ada, self.bob

    async def say(self, within_s: float) -> None:
        """Each says something, and the other sees it in time."""
        for client in self.clients:
            self.said.append(next(self.numbers))
            await client.ok("message:send", {"room": "tea", "key": f"{self.said[-1]}", "body": f"{self.said[-1]}"})
        await until(lambda: all(bodies(client) == [*map(str, self.said)] for client in self.clients), within_s)

    async def until_typing_crosses(self) -> None:
        """Each types until the other has seen it. Only the bus tells of that: it is in no store."""
        for speaker, hearer in ((self.ada, self.bob), (self.bob, self.ada)):
            mark, is_on = len(hearer.events), True
            async with asyncio.timeout(40):
                while not any(name == "typing" and document["on"] for name, document in hearer.events[mark:]):
                    await speaker.emit("typing", {"room": "tea", "on": is_on})
                    is_on = not is_on
                    await asyncio.sleep(0.6)  # More often than each half second it is not passed on.

    async def until_ready(self, status: str) -> None:
        async with aiohttp.ClientSession() as session:
            for service in self.services:
                await until_readiness(session, service, status)


def bodies(client: ChatClient) -> list[str]:
    return [document["body"] for document in client.of("message")]


async def until_readiness(
    session: aiohttp.ClientSession, service: RunningService, status: str, reason: str = ""
) -> Any:
    """What `/readyz` says, once it has this status for this reason."""
    answer: Any = {}
    try:
        async with asyncio.timeout(40):
            while answer.get("status") != status or reason not in " ".join(answer["reasons"]):
                await asyncio.sleep(0.05)
                async with session.get(f"{service.url}/readyz") as response:
                    answer = await response.json()
    except TimeoutError:
        raise AssertionError(f"{answer} {service.log}") from None
    return answer


async def running_services(
    stack: AsyncExitStack, directory: Path, redis: dict[str, str], **settings: object
) -> list[RunningService]:
    """A node for each name, with this Redis."""
    starts = []
    for name, url in redis.items():
        (directory / name).mkdir()
        values: dict[str, Any] = {
            "redis": url,
            "node": name,
            "jwt_secret": SECRET,
            "limits": "off",
            "drain_s": 2,
            **settings,
        }
        starts.append(stack.enter_async_context(running_service(directory / name, **values)))
    return await asyncio.gather(*starts)


@asynccontextmanager
async def running_site(directory: Path, store: str, redis: str) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        services = await running_services(stack, directory, {"n1": redis, "n2": redis}, store=store)
        ada, bob = [
            await stack.enter_async_context(chat_client(service.url, service.token(user=user)))
            for user, service in zip(("ada", "bob"), services, strict=True)
        ]
        await ada.ok("room:create", {"kind": "public", "id": "tea", "title": "Tea"})
        for client in (ada, bob):
            await client.ok("room:join", {"room": "tea"})
        site = Site(services, ada, bob, [], itertools.count(1))
        await site.until_ready("ready")
        yield site


@asynccontextmanager
async def watching(service: RunningService) -> AsyncIterator[Watcher]:
    """Somebody who looks at who is in the room, at this node."""
    sio = socketio.AsyncClient(reconnection=False)
    watcher = Watcher(sio, "tea")
    auth = {"token": service.token(user="eve")}
    await sio.connect(service.url, auth=auth, namespaces=["/presence"], transports=["websocket"])
    try:
        await watcher.watch()
        yield watcher
    finally:
        await sio.disconnect()
        await sio.shutdown()


async def come_and_go(site: Site, watcher: Watcher, user: str) -> None:
    """A user of the other node is seen to come and to go."""
    service = site.services[1]
    async with chat_client(service.url, service.token(user=user)) as client:
        await client.ok("room:join", {"room": "tea"})
        await until(lambda: user in watcher.present)
        await client.ok("room:leave", {"room": "tea"})
    await until(lambda: user not in watcher.present, 40)


async def notice_from_outside(site: Site, url: str, options: dict[str, Any], text: str) -> None:
    """A process that is no node says something to a room, with python-socketio's own manager."""
    outside = socketio.AsyncRedisManager(url, write_only=True, redis_options=options)
    notice = {"level": "info", "text": text}
    await outside.emit("notice", notice, namespace="/chat", room="tea")
    await until(lambda: all(notice in client.of("notice") for client in site.clients))
    await outside.redis.aclose()
    sentinels = getattr(outside.redis.connection_pool, "sentinel_manager", None)
    for client in sentinels.sentinels if sentinels is not None else ():
        await client.aclose()


def checked(service: RunningService) -> str:
    """What `hubbub serve --check` prints about the settings of this node."""
    others: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HUBBUB_")}
    return CliRunner(env={**others, **service.environ}).invoke(main, ["serve", "--check"]).output


@pytest.fixture(scope="module")
def tls() -> Iterator[TlsRedis]:
    with running_tls(PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RunningSentinels]:
    with running_sentinels() as redis:
        yield redis


class TestTls:
    async def test_everything_crosses_as_a_user_with_the_rights_of_the_documentation(
        self, tls: TlsRedis, tmp_path: Path, mongo_uri: str
    ) -> None:
        async with running_site(tmp_path, mongo_uri, tls.url) as site:
            await site.until_typing_crosses()
            await site.say(within_s=20)
            async with watching(site.services[0]) as watcher:
                await until(lambda: watcher.present == {"ada", "bob"})
                await come_and_go(site, watcher, "cyd")
            options = {"ssl_ca_certs": str(tls.authority.ca)}
            for url in (tls.url, tls.url.removesuffix(tls.query)):
                await notice_from_outside(site, url, options, url[-9:])
            assert " ".join(("resetchannels", *RIGHTS)) in (ROOT / "docs/howto/run-several-nodes.md").read_text()
            denied = tls.ask("ACL", "LOG")
            assert denied == [], "nothing was tried that the user has no right to"
            told = [checked(site.services[0])]
            for service in site.services:
                assert await service.stop() == 0
                told.append(service.log)
            assert all(PASSWORD not in each for each in told)
            assert f"127.0.0.1:{tls.port}" in told[0]


class TestSentinels:
    async def test_a_master_that_dies_and_comes_back_costs_nobody_anything(
        self, redis: RunningSentinels, tmp_path: Path, mongo_uri: str
    ) -> None:
        async with running_site(tmp_path, mongo_uri, redis.url) as site, watching(site.services[0]) as watcher:
            await site.until_typing_crosses()
            await site.say(within_s=20)
            await notice_from_outside(site, redis.url, {}, "before")
            await until(lambda: watcher.present == {"ada", "bob"})

            old, new = redis.master, redis.other
            old.kill()
            await site.say(within_s=20)
            await site.until_typing_crosses()
            assert redis.master is new
            await site.until_ready("ready")
            await site.say(within_s=20)
            await come_and_go(site, watcher, "cyd")
            await notice_from_outside(site, redis.url, {}, "after")

            # As sentinels have it some ten seconds later: until then it is a master that nobody names.
            old.options = (*old.options, "--replicaof", f"127.0.0.1 {new.port}")
            old.start()
            await site.until_typing_crosses()
            await until(lambda: redis.follows(old, new), 40)
            await self.check_place(redis, new)
            await site.say(within_s=20)
            await come_and_go(site, watcher, "dan")
            for client in site.clients:
                revs = [document["rev"] for document in client.of("message")]
                assert revs == list(range(revs[0], revs[0] + len(site.said)))
                assert not client.disconnected.is_set()
            assert not {user for _, word, user in watcher.history if word == "left"} & {"ada", "bob"}

    async def check_place(self, redis: RunningSentinels, master: Any) -> None:
        """Each node listens at the master."""
        told = await asyncio.to_thread(redis.ask, "PUBSUB", "CHANNELS", "hubbub:canary:*", port=master.port)
        assert len(told) == 2


class TestBeingRefused:
    async def test_a_node_that_redis_does_not_let_in_says_why_and_chats_on(
        self, tls: TlsRedis, redis: RunningSentinels, tmp_path: Path
    ) -> None:
        other = Authority(tmp_path / "other")
        tls.ask("ACL", "SETUSER", "mute", "on", f">{PASSWORD}", "resetchannels", "~hubbub:*", "+@all", "-@dangerous")
        tls.ask("ACL", "SETUSER", "lost", "on", f">{PASSWORD}", "&*", "+@all", "-@dangerous")
        cases = {
            "Redis refused the user or the password": tls.url.replace(PASSWORD, WRONG),
            "Redis: the certificate is not trusted (": tls.url.replace(str(tls.authority.ca), str(other.ca)),
            "Redis does not let this user have the channels that nodes use": tls.url.replace("hubbub:", "mute:"),
            "Redis does not let this user have the keys that nodes use": tls.url.replace("hubbub:", "lost:"),
        }
        unknown = f"{redis.url.rpartition('/')[0]}/coffee".replace("://", f"://:{PASSWORD}@")
        cases["The sentinels know no service of this name"] = unknown
        async with AsyncExitStack() as stack:
            urls = {f"n{number}": url for number, url in enumerate(cases.values())}
            services = await running_services(stack, tmp_path, urls)
            await asyncio.gather(*map(self.check, services, cases))

    async def check(self, service: RunningService, reason: str) -> None:
        async with aiohttp.ClientSession() as session:
            answer = await until_readiness(session, service, "degraded", reason)
        async with (
            chat_client(service.url, service.token(user="ada")) as ada,
            chat_client(service.url, service.token(user="bob")) as bob,
        ):
            await ada.ok("room:create", {"kind": "public", "id": "tea", "title": "Tea"})
            await bob.ok("room:join", {"room": "tea"})
            await ada.ok("message:send", {"room": "tea", "key": "1", "body": "hello"})
            await bob.wait_for("message", lambda document: document["body"] == "hello")
        told = checked(service)
        assert "@127.0.0.1:" in told
        assert await service.stop() == 0
        lines = [line for line in service.output if reason in line]
        assert 1 <= len(lines) <= 3, service.log
        for each in (str(answer), told, service.log):
            assert PASSWORD not in each
            assert WRONG not in each
