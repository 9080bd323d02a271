"""A mouth says what it can at once, drops what it cannot, and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from hubbub.cluster import redis_mouth
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_mouth import Mouth, expect_no_refusal
from hubbub.cluster.resp import RedisError, Reply
from hubbub.errors import HubbubError
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.waiting import until


@pytest.fixture(scope="module")
def server() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


class Speaker:
    def __init__(self, server: RunningRedis) -> None:
        self.opened = 0
        self.replies: list[Reply] = []
        address = RedisAddress.of(server.url)
        self.mouth = Mouth(lambda: address, on_open=self._on_open, on_replies=self._on_replies)

    def _on_open(self) -> None:
        self.opened += 1

    def _on_replies(self, replies: list[Reply]) -> None:
        self.replies += replies
        expect_no_refusal(replies)


@pytest.fixture
async def speaker(server: RunningRedis) -> AsyncIterator[Speaker]:
    speaker = Speaker(server)
    yield speaker
    await speaker.mouth.close()
    await speaker.mouth.close()


class TestSaying:
    async def test_what_is_said_is_heard_in_order(self, server: RunningRedis, speaker: Speaker) -> None:
        assert not speaker.mouth.publish(b"PUBLISH", b"tea", b"too early")
        speaker.mouth.start()
        speaker.mouth.start()
        client = Redis.from_url(server.url)
        ears = client.pubsub()
        await ears.subscribe("tea")
        await until(lambda: speaker.mouth.can_speak)
        assert speaker.opened == 1
        for number in range(20):
            assert speaker.mouth.publish(b"PUBLISH", b"tea", b"%d" % number)
        heard: list[bytes] = []
        async for message in ears.listen():
            if message["type"] == "message":
                heard.append(message["data"])
            if len(heard) == 20:
                break
        assert heard == [b"%d" % number for number in range(20)]
        await until(lambda: speaker.replies == [1] * 20)
        await ears.aclose()  # type: ignore[no-untyped-call]
        await client.aclose()

    async def test_a_refusal_makes_another_connection(self, speaker: Speaker) -> None:
        speaker.mouth.start()
        await until(lambda: speaker.mouth.can_speak)
        assert speaker.mouth.publish(b"NONSENSE", b"tea", b"x")
        await until(lambda: speaker.opened == 2)
        assert isinstance(speaker.replies[0], RedisError)

    async def test_a_server_that_reads_nothing_is_given_up(
        self, server: RunningRedis, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_mouth, "UNSENT_MOST", 200_000)
        speaker.mouth.start()
        await until(lambda: speaker.mouth.can_speak)
        server.freeze()
        try:
            said = [speaker.mouth.publish(b"PUBLISH", b"tea", b"x" * 100_000) for _ in range(200)]
        finally:
            server.thaw()
        assert said[0]
        assert not said[-1]
        assert not speaker.mouth.can_speak
        await until(lambda: speaker.opened == 2)


class TestRefusals:
    def test_an_error_among_replies_is_raised(self) -> None:
        expect_no_refusal([1, b"OK", None])
        with pytest.raises(HubbubError, match="unavailable"):
            expect_no_refusal([1, RedisError("READONLY You can't write against a read only replica.")])
