"""What a node has of its cluster. With other nodes: `tests/integration/test_cluster.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from hubbub import clustering
from hubbub.clustering import Alone, Joined, join
from hubbub.errors import HubbubError, StoreError
from hubbub.history.base import Beat
from hubbub.settings import load
from tests.support.redisserver import running_redis
from tests.support.waiting import until


class Control:
    """Says which nodes live."""

    def __init__(self) -> None:
        self.about: Callable[[], Mapping[str, Any]] = lambda: {"users": 3}
        self.others: list[Beat] = []
        self.asked = 0
        self.failure: Exception | None = None

    async def nodes(self) -> list[Beat]:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return [Beat("n1", "o", 1, {"status": "ready", **self.about()}), *self.others]


def joined(url: str, dropped: list[int] | None = None) -> Joined:
    settings = load({"HUBBUB_REDIS": url, "HUBBUB_NODE": "n1"}, config=None, overrides={})
    cluster = join(settings, on_dropped=(dropped if dropped is not None else []).append)
    assert isinstance(cluster, Joined)
    return cluster


def unexpected() -> None:
    raise AssertionError("nobody has its name")


def status(cluster: Joined) -> str | None:
    return None if cluster.trouble is None else cluster.trouble.status


class TestAlone:
    async def test_without_redis_there_is_nobody_to_talk_to_and_nothing_to_go_wrong(self) -> None:
        cluster = join(load({"HUBBUB_NODE": "n1"}, config=None, overrides={}), on_dropped=print)
        assert isinstance(cluster, Alone)
        await cluster.start()
        cluster.watch(Control(), lambda: 500, unexpected)
        assert not cluster.passes_on()
        assert (cluster.bus, cluster.trouble, cluster.registry.is_lone) == (None, None, True)
        assert cluster.registry.node.name == "n1"
        await cluster.close()


class TestJoined:
    def test_an_address_that_is_none_is_told_without_its_password(self) -> None:
        with pytest.raises(StoreError, match="HUBBUB_REDIS is not an address") as refused:
            joined("redis://:s3cret@host:port")
        assert "s3cret" not in str(refused.value)

    async def test_it_hears_itself_and_says_so_to_the_others(self) -> None:
        with running_redis() as redis:
            cluster, control = joined(redis.url), Control()
            await cluster.start()
            assert cluster.bus is not None
            await cluster.bus.open(lambda *told: None, on_lost=lambda: None, on_hurry=lambda: None)
            cluster.watch(control, lambda: 7, unexpected)
            await until(lambda: cluster.trouble is None)
            assert control.about() == {"users": 3, "hears": True, "sessions": 7}
            await cluster.close()
            await cluster.close()

    async def test_deaf_among_the_deaf_it_takes_newcomers_and_deaf_among_the_hearing_it_does_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("LOOK_S", "ASK_S", "ASK_DEAF_S"):
            monkeypatch.setattr(clustering, name, 0.02)
        cluster, control = joined("redis://127.0.0.1:1/0"), Control()
        await cluster.start()
        assert cluster.bus is not None
        await cluster.bus.open(lambda *told: None, on_lost=lambda: None, on_hurry=lambda: None)
        cluster.watch(control, lambda: 7, unexpected)
        assert status(cluster) == "starting"
        now = round(time.time() * 1000)
        control.others = [Beat("n2", "p", 10 * now, {"hears": False}), Beat("n3", "q", 10 * now, {})]
        await until(lambda: control.asked > 2)
        monkeypatch.setattr(clustering, "FIRST_S", 0.0)
        assert status(cluster) == "degraded"
        assert not cluster.passes_on()
        # Said before Redis failed, by a node that did not know it yet, or died with it.
        control.others = [Beat("n2", "p", now + clustering.UNAWARE_MS // 2, {"hears": True})]
        asked = control.asked
        await until(lambda: control.asked > asked + 2)
        assert status(cluster) == "degraded"
        control.others = [Beat("n2", "p", now + 60_000, {"hears": True})]
        await until(lambda: status(cluster) == "deaf")
        assert cluster.passes_on()
        control.others = []
        await until(lambda: status(cluster) == "degraded")
        await cluster.close()

    async def test_a_node_whose_name_another_process_has_has_to_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clustering, "LOOK_S", 0.02)
        with running_redis() as redis:
            cluster, gone = joined(redis.url), asyncio.Event()
            await cluster.start()
            cluster.watch(Control(), lambda: 7, gone.set)
            await cluster.registry.renew()
            client = Redis.from_url(redis.url)
            await client.delete("hubbub:{n1}:lease")
            other = joined(redis.url)
            await other.start()
            with pytest.raises(HubbubError, match="Another process has taken this node's name"):
                await cluster.registry.renew()
            await asyncio.wait_for(gone.wait(), 10)
            await client.aclose()
            await cluster.close()
            await other.close()

    async def test_it_passes_newcomers_on_by_what_it_has_now_and_what_the_others_said_last(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("LOOK_S", "ASK_S", "ASK_DEAF_S"):
            monkeypatch.setattr(clustering, name, 0.02)
        cluster, control, sessions = joined("redis://127.0.0.1:1/0"), Control(), [100]
        control.others = [Beat("n2", "p", 1, {"status": "ready", "sessions": 0})]
        cluster.watch(control, lambda: sessions[0], unexpected)
        assert not cluster.passes_on()
        await until(cluster.passes_on)
        sessions[0] = 20
        assert not cluster.passes_on()
        await cluster.close()

    @pytest.mark.parametrize("failure", [HubbubError("unavailable"), KeyError("sessions")])
    async def test_a_question_that_fails_is_asked_again(
        self, failure: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("LOOK_S", "ASK_S", "ASK_DEAF_S"):
            monkeypatch.setattr(clustering, name, 0.02)
        cluster, control = joined("redis://127.0.0.1:1/0"), Control()
        control.others = [Beat("n2", "p", 1, {"status": "ready", "sessions": 0})]
        control.failure = failure
        cluster.watch(control, lambda: 100, unexpected)
        await until(lambda: control.asked > 2)
        assert not cluster.passes_on()
        control.failure = None
        await until(cluster.passes_on)
        await cluster.close()
