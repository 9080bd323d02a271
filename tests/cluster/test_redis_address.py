"""What the operator may write for Redis, and what is never repeated of it."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.cluster.redis_address import RedisAddress

GOOD = [
    ("redis://cache", "cache"),
    ("redis://:s3cret@cache:6380/2", "cache:6380"),
    ("rediss://ada:s3cret@cache.example:6380", "cache.example:6380"),
    ("unix:///run/redis.sock", "/run/redis.sock"),
    ("redis+sentinel://ada:s3cret@one:26379,two:26379/0/chat", "one:26379,two:26379"),
    ("redis+cluster://:s3cret@one:7000", "one:7000"),
    ("rediss+cluster://one:7000", "one:7000"),
]


class TestAddresses:
    @pytest.mark.parametrize(("url", "place"), GOOD)
    def test_a_log_shows_where_and_no_password(self, url: str, place: str) -> None:
        address = RedisAddress.of(url)
        assert address.place == place
        assert address.is_cluster == ("+cluster" in url)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "cache:6379",
            "http://:s3cret@cache",
            "redis://:s3cret@cache:port",
            "redis://:s3cret@cache/database?nonsense=1&socket_timeout=soon",
            "redis+sentinel://:s3cret@one:26379",
            "redis+sentinel://:s3cret@one/0/chat",
        ],
    )
    def test_what_is_none_is_refused_without_being_repeated(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"^(must begin with one of|is not an address)") as refused:
            RedisAddress.of(url)
        assert "s3cret" not in str(refused.value)
        assert refused.value.__cause__ is None

    async def test_a_sentinel_is_asked_for_the_service_with_the_password_of_the_servers(self) -> None:
        address = RedisAddress.of("redis+sentinel://ada:s3%20cret@one:26379,two:26380/3/chat")
        pool: Any = address.client().connection_pool  # type: ignore[union-attr]
        assert pool.service_name == "chat"
        assert [sentinel.connection_pool.connection_kwargs["port"] for sentinel in pool.sentinel_manager.sentinels] == [
            26379,
            26380,
        ]
        wanted = {name: pool.connection_kwargs[name] for name in ("db", "username", "password")}
        assert wanted == {"db": 3, "username": "ada", "password": "s3 cret"}
