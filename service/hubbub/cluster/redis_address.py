"""Where Redis is, by the address that the operator gives (`HUBBUB_REDIS`), and clients for it.

* `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `rediss://…` over TLS, `unix://[USER:PASSWORD@]PATH[?db=DB]`: one server.
* `redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/DB/SERVICE`: the master that these sentinels name, also after a
  failover; `rediss+sentinel://` with TLS to sentinels and servers. User and password are those of the servers, and
  sentinels that want some themselves get `?sentinel_username=…&sentinel_password=…`. Without options and percent
  codes it is written as python-socketio writes it, so that the same address serves for outside processes.
* `redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT`: Redis Cluster, found from those of its servers that live;
  `rediss+cluster://` over TLS.

What is special in a user or password is written by its percent code. With TLS the certificate of the server is always
verified: by what the system trusts, or by `?ssl_ca_certs=PATH`. `ssl_certfile` and `ssl_keyfile` are this node's own,
and `ssl_check_hostname=false` is for certificates that name another host.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

__all__ = ["CALL_S", "CONNECT_S", "RedisAddress"]

CONNECT_S: Final = 2.0
CALL_S: Final = 2.0
"""A Redis that has not answered by then is away: everything that is asked of it can do without."""

_SCHEMES: Final = (
    *("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)
_TIMES: Final[dict[str, Any]] = {"socket_connect_timeout": CONNECT_S, "socket_timeout": CALL_S}
_OPTIONS: Final[dict[str, Any]] = {
    **_TIMES,
    "protocol": 2,
    # Whoever calls knows what comes of a call that failed; one that is repeated by itself would take the time of two.
    "retry": Retry(NoBackoff(), 0),
}
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OF_TLS: Final = (*_FILES, "ssl_check_hostname")
_OF_SENTINELS: Final = ("sentinel_username", "sentinel_password")
_TRUTH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_ADDRESS: Final = re.compile(
    r"(?:(?P<user>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?@)?(?P<hosts>[^@/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?"
)
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\s:,\[\]]+))(?::(?P<port>\d{1,5}))?")

_NONE: Final = "is not an address of Redis; what is special in a password is written by its percent code, as %23 for #"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """An address that was checked. Making clients opens nothing.

    `place` is it as a log may show it, without user and password; `hosts` are the servers, or the sentinels.
    """

    place: str
    hosts: tuple[tuple[str, int], ...]
    path: str | None
    """Of a socket of this machine, in place of hosts."""

    service: str | None
    """The name that sentinels know the master by."""

    is_cluster: bool
    _login: Mapping[str, Any] = field(repr=False)
    """For each connection to a server: user, password, database."""

    _sentinel_login: Mapping[str, Any] = field(repr=False)
    _tls: Mapping[str, Any]

    @classmethod
    def of(cls, url: str) -> RedisAddress:
        """The address, or `ValueError` with a clause that repeats none of it, since it may hold a password."""
        scheme, _, rest = url.partition("://")
        if scheme not in _SCHEMES:
            raise ValueError(f"must begin with one of {', '.join(f'{each}://' for each in _SCHEMES)}")
        found = _ADDRESS.fullmatch(rest)
        if found is None:
            raise ValueError(_NONE)
        base, _, kind = scheme.partition("+")
        path = unquote(found["path"] or "")
        options = _options(found["query"] or "", scheme)
        database, service = _database(base, kind, path, options)
        login: dict[str, Any] = {"username": unquote(found["user"] or "") or None, "db": database}
        login["password"] = unquote(found["password"] or "") or None
        return cls(
            place=(found["hosts"] + path) if base == "unix" else (found["hosts"] or "localhost"),
            hosts=() if base == "unix" else _hosts(found["hosts"], kind),
            path=found["hosts"] + path if base == "unix" else None,
            service=service,
            is_cluster=kind == "cluster",
            _login={name: value for name, value in login.items() if value is not None},
            _sentinel_login={name[9:]: value for name, value in options.items() if name in _OF_SENTINELS},
            _tls=_tls(options) if base == "rediss" else {},
        )

    def at(self, host: str, port: int) -> RedisAddress:
        """One server and no sentinels, with the same user, password and options."""
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return replace(self, place=place, hosts=((host, port),), service=None)

    def client(self) -> Redis | RedisCluster:
        """A client for commands. Close it with `aclose`."""
        if self.is_cluster:
            nodes = [ClusterNode(host, port) for host, port in self.hosts]
            login = {name: value for name, value in self._login.items() if name != "db"}
            return RedisCluster(startup_nodes=nodes, **_TIMES, protocol=2, **login, **self._tls)
        return self._plain()

    def connection(self) -> AbstractConnection:
        """A connection of its own, not opened, to a server that takes PUBLISH and SUBSCRIBE. Not where there are
        sentinels: with them, `at` the master.
        """
        assert self.service is None
        pool = self._plain().connection_pool
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    def sentinels(self) -> list[Redis]:
        """A client for each of the sentinels, in the order of the address. Close them with `aclose`."""
        return [] if self.service is None else list(self._sentinel().sentinels)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _plain(self) -> Redis:
        options: dict[str, Any] = {**_OPTIONS, **self._login, **self._tls}
        if self.path is not None:
            return Redis(unix_socket_path=self.path, **options)
        if self.service is not None:
            master: Redis = self._sentinel(**options).master_for(self.service, redis_class=Redis)
            return master
        # Any server of a cluster passes on what is published to all the others; one that is away is not drawn for ever.
        host, port = random.choice(self.hosts)  # noqa: S311 - Spread, not a secret.
        return Redis(host=host, port=port, **options)

    def _sentinel(self, **options: Any) -> Sentinel:
        """`options` are for the servers that they name."""
        own = {**_OPTIONS, **self._sentinel_login, **self._tls}
        return Sentinel(self.hosts, sentinel_kwargs=own, **options)  # type: ignore[no-untyped-call]


def _options(query: str, scheme: str) -> dict[str, str]:
    """What stands behind the question mark. Names are not repeated either: they may be the rest of a password."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = [
        *(["db"] if scheme == "unix" else []),
        *(_OF_TLS if scheme.startswith("rediss") else []),
        *(_OF_SENTINELS if scheme.endswith("+sentinel") else []),
    ]
    if options.keys() - set(known):
        if options.keys() <= {*known, *_OF_TLS}:
            raise ValueError("has options for TLS, which only addresses that begin with rediss have")
        raise ValueError(f"has an option that is not known here; known are {', '.join(known) or 'none'}")
    return options


def _database(base: str, kind: str, path: str, options: Mapping[str, str]) -> tuple[int, str | None]:
    """The number of the database, and the service that sentinels are asked for."""
    text, service = path.removeprefix("/"), None
    if base == "unix":
        text = options.get("db", "")
    elif kind == "sentinel":
        text, slash, service = text.partition("/")
        if not slash or not service or "/" in service:
            raise ValueError("is not an address of Redis behind sentinels, which ends with /DB/SERVICE")
    if not re.fullmatch(r"\d{0,6}", text):
        raise ValueError(_NONE)
    if kind == "cluster" and int(text or 0):
        raise ValueError("is not an address of Redis Cluster, which has no databases but 0")
    return int(text or 0), service


def _hosts(text: str, kind: str) -> tuple[tuple[str, int], ...]:
    hosts = []
    for each in text.split(",") if text or kind else ["localhost"]:
        found = _HOST.fullmatch(each)
        if found is None or int(found["port"] or 6379) > 65_535 or (kind == "sentinel" and found["port"] is None):
            raise ValueError(_NONE)
        hosts.append((found["v6"] or found["name"], int(found["port"] or 6379)))
    if len(hosts) > 1 and not kind:
        raise ValueError("is not an address of Redis: one server has one host")
    return tuple(hosts)


def _tls(options: Mapping[str, str]) -> dict[str, Any]:
    for name in _FILES:
        if name in options and not os.access(options[name], os.R_OK):
            raise ValueError(f"names a file in {name} that cannot be read")
    tls: dict[str, Any] = {"ssl": True, **{name: options[name] for name in _FILES if name in options}}
    if "ssl_check_hostname" in options:
        try:
            tls["ssl_check_hostname"] = _TRUTH[options["ssl_check_hostname"].lower()]
        except KeyError:
            raise ValueError("has an ssl_check_hostname that is neither true nor false") from None
    return tls
