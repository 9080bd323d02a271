"""Where Redis is, by the address that the operator gives (`HUBBUB_REDIS`), and clients for it.

* `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `rediss://…` over TLS, `unix://PATH`: one server.
* `redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/DB/SERVICE`: the master that these sentinels name, also after a
  failover. As python-socketio writes it, so that the same address serves for outside processes.
* `redis+cluster://[USER:PASSWORD@]HOST:PORT`: Redis Cluster, found from one of its nodes; `rediss+cluster://` over TLS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

__all__ = ["CALL_S", "CONNECT_S", "RedisAddress"]

CONNECT_S: Final = 2.0
CALL_S: Final = 2.0
"""A Redis that has not answered by then is away: everything that is asked of it can do without."""

_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "rediss+cluster")
_OPTIONS: Final[dict[str, Any]] = {
    "socket_connect_timeout": CONNECT_S,
    "socket_timeout": CALL_S,
    "protocol": 2,
    # Whoever calls knows what comes of a call that failed; one that is repeated by itself would take the time of two.
    "retry": Retry(NoBackoff(), 0),
}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """An address that was checked. Making clients opens nothing."""

    url: str

    @classmethod
    def of(cls, url: str) -> RedisAddress:
        """The address, or `ValueError` with a clause that repeats none of it, since it may hold a password."""
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
        address = cls(url)
        try:
            address.client()
        except Exception:
            raise ValueError("is not an address of Redis") from None
        return address

    @property
    def place(self) -> str:
        """As a log may show it: without user and password."""
        return urlsplit(self.url).netloc.rpartition("@")[2] or urlsplit(self.url).path

    @property
    def is_cluster(self) -> bool:
        return "+cluster" in urlsplit(self.url).scheme

    def client(self) -> Redis | RedisCluster:
        """A client for commands. Close it with `aclose`."""
        if self.is_cluster:
            cluster: RedisCluster = RedisCluster.from_url(
                self.url.replace("+cluster", "", 1), protocol=2, socket_timeout=CALL_S, socket_connect_timeout=CONNECT_S
            )
            return cluster
        return self._plain()

    def connection(self) -> AbstractConnection:
        """A connection of its own, not opened, to a server that takes PUBLISH and SUBSCRIBE."""
        pool = self._plain().connection_pool
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    # -- inside ------------------------------------------------------------------------------------------------------

    def _plain(self) -> Redis:
        if urlsplit(self.url).scheme == "redis+sentinel":
            return self._behind_sentinels()
        # Any node of a cluster passes on what is published to all the others.
        client: Redis = Redis.from_url(self.url.replace("+cluster", "", 1), **_OPTIONS)
        return client

    def _behind_sentinels(self) -> Redis:
        parts = urlsplit(self.url)
        hosts = [host.rpartition(":") for host in parts.netloc.rpartition("@")[2].split(",")]
        found = re.fullmatch(r"/(\d*)/([^/]+)", parts.path)
        if found is None:
            raise ValueError("names no database and service")
        options = dict(_OPTIONS, db=int(found[1] or 0))
        if parts.username:
            options["username"] = unquote(parts.username)
        if parts.password:
            options["password"] = unquote(parts.password)
        sentinels = Sentinel(  # type: ignore[no-untyped-call]
            [(host, int(port)) for host, _, port in hosts],
            sentinel_kwargs={"socket_timeout": CALL_S, "socket_connect_timeout": CONNECT_S},
            **options,
        )
        master: Redis = sentinels.master_for(unquote(found[2]), redis_class=Redis)
        return master
