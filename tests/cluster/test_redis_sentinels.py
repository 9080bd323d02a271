"""Sentinels name the master, and whoever is connected to another server finds out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hubbub.cluster import redis_sentinels
from hubbub.cluster.base import Node
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_registry import RedisRegistry
from hubbub.cluster.redis_sentinels import MasterWatch, Sentinels
from hubbub.errors import HubbubError
from tests.support.busnode import BusNode, offer
from tests.support.rediskinds import RunningSentinels, running_guard, running_sentinels, running_tls
from tests.support.waiting import until


@pytest.fixture(scope="module")
def redis() -> Iterator[RunningSentinels]:
    with running_sentinels() as redis:
        yield redis


async def answer(url: str) -> tuple[str, int]:
    sentinels = Sentinels(RedisAddress.of(url))
    try:
        return await sentinels.master()
    finally:
        await sentinels.close()
        await sentinels.close()


class TestSentinels:
    async def test_they_name_the_master_also_when_the_first_is_away(self, redis: RunningSentinels) -> None:
        assert await answer(redis.url) == ("127.0.0.1", redis.master.port)
        assert await answer(redis.url.replace("://", "://127.0.0.1:1,")) == ("127.0.0.1", redis.master.port)

    async def test_a_service_that_they_do_not_know_is_told_apart_from_sentinels_that_are_away(
        self, redis: RunningSentinels
    ) -> None:
        with pytest.raises(HubbubError) as caught:
            await answer(redis.url.removesuffix("chat") + "tea")
        assert caught.value.message == "The sentinels know no service of this name."
        with pytest.raises(HubbubError) as caught:
            await answer("redis+sentinel://127.0.0.1:1,127.0.0.1:2/0/chat")
        assert caught.value.message == "The sentinels are out of reach (ConnectionRefusedError)."

    async def test_they_may_speak_tls_and_want_a_password_of_their_own(self) -> None:
        with running_tls("of-the-server") as server, running_guard(server, "of-the-sentinel") as url:
            node = BusNode(f"{url}&sentinel_password=of-the-sentinel", "one")
            await node.open()
            assert (node.ears.place, node.bus._mouth.place) == (("127.0.0.1", server.port),) * 2
            registry = RedisRegistry(
                RedisAddress.of(f"{url}&sentinel_password=of-the-sentinel"), node.ears, Node("n", "b")
            )
            await registry.open(lambda news: None)
            assert not (await registry.renew()).lapsed
            await registry.close()
            await node.close()
            for wrong in (url, f"{url}&sentinel_password=another"):
                with pytest.raises(HubbubError) as caught:
                    await answer(wrong)
                assert caught.value.message == "The sentinels refused the user or the password."
            with pytest.raises(HubbubError) as caught:
                await answer(url.removesuffix(server.query))
            assert caught.value.message.startswith("The sentinels: the certificate is not trusted (")


class TestTheWatch:
    async def test_it_tells_of_connections_to_another_server_and_of_no_others(
        self, redis: RunningSentinels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_sentinels, "WATCH_S", 0.02)
        places = [("127.0.0.1", redis.master.port)]
        looks: list[int] = []
        moved: list[int] = []

        def stand() -> list[tuple[str, int]]:
            looks.append(1)
            return places

        watch = MasterWatch(RedisAddress.of(redis.url), stand, lambda: moved.append(1))
        watch.start()
        await until(lambda: len(looks) > 3)
        assert not moved
        places.append(("127.0.0.1", redis.other.port))
        await until(lambda: moved)
        await watch.close()
        await watch.close()

    async def test_nodes_leave_an_old_master_that_lives_and_hear_who_came_to_the_new_one(
        self, redis: RunningSentinels
    ) -> None:
        """The old one says that it is a master for ten seconds more, and carries word among those who stay."""
        old, new = redis.master, redis.other
        one = BusNode(redis.url, "one")
        await one.open()
        one.bus.listen("tea")
        registry = RedisRegistry(RedisAddress.of(redis.url), one.ears, Node("one", "boot"))
        await registry.open(lambda news: None)
        redis.ask("SENTINEL", "FAILOVER", "chat")
        await until(lambda: redis.master is new)
        other = BusNode(redis.url, "other")
        await other.open()
        assert other.ears.place == ("127.0.0.1", new.port)
        await until(lambda: one.ears.place == ("127.0.0.1", new.port) and one.bus.hears)
        assert redis.role(old)[0] == "master", "nobody has told it, so nobody was thrown out by it"
        await one.ears.hears("hubbub:room:tea")
        other.bus.offer("tea", offer(1))
        await until(lambda: one.heard == [1])
        redis.ask("DEL", "hubbub:{one}:lease", port=new.port)
        registry.ears_again()
        assert (await registry.renew()).lapsed
        assert redis.ask("GET", "hubbub:{one}:lease", port=new.port) == "boot"
        await registry.close()
        await one.close()
        await other.close()
