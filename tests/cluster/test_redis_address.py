"""What the operator may write for Redis, and what is never repeated of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import RedisCluster
from redis.asyncio.connection import SSLConnection

from hubbub.cluster.redis_address import CALL_S, RedisAddress

GOOD = [
    ("redis://cache", "cache"),
    ("redis:///3", "localhost"),
    ("redis://:s3cret@cache:6380/2", "cache:6380"),
    ("rediss://ada:s3cret@cache.example:6380", "cache.example:6380"),
    ("redis://:s3cret@[::1]:6380", "[::1]:6380"),
    ("unix:///run/redis.sock", "/run/redis.sock"),
    ("unix://:s3cret@/run/redis.sock?db=2", "/run/redis.sock"),
    ("redis+sentinel://ada:s3cret@one:26379,two:26379/0/chat", "one:26379,two:26379"),
    ("rediss+sentinel://:s3cret@[::1]:26379/0/chat?sentinel_password=s3cret", "[::1]:26379"),
    ("redis+cluster://:s3cret@one:7000", "one:7000"),
    ("redis+cluster://:s3cret@one:7000,two:7001", "one:7000,two:7001"),
    ("rediss+cluster://one:7000", "one:7000"),
]


def options_of(url: str) -> dict[str, Any]:
    """What each connection to the server is opened with."""
    connection: Any = RedisAddress.of(url).connection()
    names = ("host", "port", "path", "db", "username", "password", "socket_timeout", "protocol")
    return {name: getattr(connection, name) for name in names if hasattr(connection, name)}


class TestAddresses:
    @pytest.mark.parametrize(("url", "place"), GOOD)
    def test_a_log_shows_where_and_no_password(self, url: str, place: str) -> None:
        address = RedisAddress.of(url)
        assert address.place == place
        assert address.is_cluster == ("+cluster" in url)
        assert "s3cret" not in repr(address)
        address.client()
        (address if address.service is None else address.at("one", 6379)).connection()

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("", "must begin with one of redis://, "),
            ("cache:6379", "must begin with one of "),
            ("http://:s3cret@cache", "must begin with one of "),
            ("redis://:s3cret@cache:port", "is not an address of Redis; what is special"),
            ("redis://:s3cret@cache:66000", "is not an address of Redis; "),
            ("redis://:s3/cret@cache", "is not an address of Redis; what is special in a password is written by its "),
            ("redis://:s3#cret@cache", "is not an address of Redis; "),
            ("redis://:s3@cret@cache", "is not an address of Redis; "),
            ("redis://:s3?cret@cache", "has an option that is not known here; known are none"),
            ("redis://:s3cret@cache/database", "is not an address of Redis; "),
            ("redis://:s3cret@one,two", "is not an address of Redis: one server has one host"),
            ("redis://cache?socket_timeout=60", "has an option that is not known"),
            ("redis://cache?protocol=3", "has an option that is not known"),
            (
                "redis://cache?ssl_ca_certs=/etc/ca.pem",
                "has options for TLS, which only addresses that begin with redi",
            ),
            ("rediss://cache?ssl_cert_reqs=none", "has an option that is not known here; known are ssl_ca_certs, "),
            ("rediss://cache?ssl_ca_certs=/nowhere/ca.pem", "names a file in ssl_ca_certs that cannot be read"),
            ("rediss://cache?ssl_check_hostname=perhaps", "has an ssl_check_hostname that is neither true nor false"),
            ("unix:///run/redis.sock?db=two", "is not an address of Redis; "),
            ("redis+sentinel://:s3cret@one:26379", "is not an address of Redis behind sentinels, which ends with /DB"),
            ("redis+sentinel://:s3cret@one:26379/0", "is not an address of Redis behind sentinels"),
            ("redis+sentinel://:s3cret@one/0/chat", "is not an address of Redis; "),
            ("redis+sentinel://one:26379/0/chat?ssl=true", "has an option that is not known here; known are sentinel_"),
            ("redis+cluster://one:7000/1", "is not an address of Redis Cluster, which has no databases but 0"),
            ("redis+cluster://one:7000,", "is not an address of Redis; "),
        ],
    )
    def test_what_is_none_is_refused_without_being_repeated(self, url: str, why: str) -> None:
        with pytest.raises(ValueError, match=r"^[a-z]") as refused:
            RedisAddress.of(url)
        assert str(refused.value).startswith(why)
        for part in ("s3", "cret", "nowhere"):
            assert part not in str(refused.value)
        assert refused.value.__cause__ is None

    async def test_what_it_says_is_what_connections_get(self) -> None:
        assert options_of("redis://ada:pa%40ss%2F@[::1]:6380/2") == {
            "host": "::1",
            "port": 6380,
            "db": 2,
            "username": "ada",
            "password": "pa@ss/",
            "socket_timeout": CALL_S,
            "protocol": 2,
        }
        on_this_machine = options_of("unix://:s3cret@/run/redis.sock?db=2")
        assert (on_this_machine["path"], on_this_machine["password"], on_this_machine["db"]) == (
            "/run/redis.sock",
            "s3cret",
            2,
        )

    @pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster"])
    async def test_tls_verifies_and_takes_files(self, scheme: str, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").touch()
        address = RedisAddress.of(f"{scheme}://cache?ssl_ca_certs={tmp_path}/ca.pem&ssl_check_hostname=no")
        connection: Any = address.connection()
        assert isinstance(connection, SSLConnection)
        context = connection.ssl_context
        assert (context.ca_certs, context.check_hostname, context.cert_reqs.name) == (
            f"{tmp_path}/ca.pem",
            False,
            "CERT_REQUIRED",
        )

    async def test_a_sentinel_is_asked_for_the_service_with_the_password_of_the_servers(self) -> None:
        address = RedisAddress.of("redis+sentinel://ada:s3%20cret@one:26379,two:26380/3/chat")
        pool: Any = address.client().connection_pool  # type: ignore[union-attr]
        assert pool.service_name == "chat"
        sentinels = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
        assert [each["port"] for each in sentinels] == [26379, 26380]
        assert [each["password"] for each in sentinels] == [None, None]
        wanted = {name: pool.connection_kwargs[name] for name in ("db", "username", "password")}
        assert wanted == {"db": 3, "username": "ada", "password": "s3 cret"}

    async def test_sentinels_may_have_a_password_of_their_own_and_tls(self) -> None:
        query = "sentinel_username=eve&sentinel_password=o%26ther"
        address = RedisAddress.of(f"rediss+sentinel://:s3cret@[::1]:26379/0/chat?{query}")
        pool: Any = address.client().connection_pool  # type: ignore[union-attr]
        [sentinel] = pool.sentinel_manager.sentinels
        asked = sentinel.connection_pool.connection_kwargs
        assert (asked["host"], asked["username"], asked["password"]) == ("::1", "eve", "o&ther")
        assert issubclass(sentinel.connection_pool.connection_class, SSLConnection)
        assert issubclass(pool.connection_class, SSLConnection)
        assert pool.connection_kwargs["password"] == "s3cret"

    async def test_another_server_of_a_cluster_has_the_same_password_and_options(self) -> None:
        address = RedisAddress.of("redis+cluster://ada:pa%40ss@seed:7000,other:7001/0")
        assert address.hosts == (("seed", 7000), ("other", 7001))
        assert isinstance(address.client(), RedisCluster)
        there = address.at("::1", 6381)
        assert (there.place, there.hosts, there.is_cluster) == ("[::1]:6381", (("::1", 6381),), True)
        connection: Any = there.connection()
        assert (connection.host, connection.port, connection.username, connection.password) == (
            "::1",
            6381,
            "ada",
            "pa@ss",
        )
        assert {RedisAddress.of("redis+cluster://a,b").connection().host for _ in range(64)} == {"a", "b"}
