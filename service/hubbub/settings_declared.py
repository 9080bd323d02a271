"""Every setting of the service, each declared once: kind, default, unit, meaning and reason.

The three sources, the flags of `hubbub serve` and `docs/reference/settings.md` are all made from these declarations.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal

from hubbub.settings_fields import (
    MONGODB,
    Choice,
    Filters,
    Network,
    Networks,
    NodeName,
    Origins,
    Seconds,
    Store,
    Switch,
    Text,
    Whole,
    check_host,
    check_jwks_url,
    check_redis,
    declaration_of,
    setting,
)
from hubbub.settings_keys import check_public_key, check_secret

__all__ = ["Settings", "default_store"]

_MASK: Final = "********"
_DAY_S: Final = 86400


def default_store(environ: Mapping[str, str]) -> str:
    """The store of a user who named none: the XDG state directory; a relative XDG path is ignored, as XDG asks. A user
    without a home, such as a number that a container runs as, has it where the process was started.
    """
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        try:
            state = Path(environ.get("HOME") or Path.home()) / ".local" / "state"
        except RuntimeError:
            state = Path.cwd()
    return f"sqlite:///{state / 'hubbub' / 'hubbub.db'}"


def _without_password(address: str) -> str:
    """The address with its password masked, and with it whatever options may hold a secret."""
    scheme, mark, rest = address.partition("://")
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    shown = f"{name}{colon}{_MASK}{at}{place}" if colon else rest
    return re.sub(r"((?i:password|token|passphrase)[^=&]*=)[^&]*", rf"\g<1>{_MASK}", f"{scheme}{mark}{shown}")


class _Nameless(str):
    """A name that was given by nobody, and is another one at the next start."""

    __slots__ = ()


def _random_node() -> str:
    return _Nameless(f"n-{secrets.token_hex(3)}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The effective settings of a process. Made by `hubbub.settings.load`, which validates; tests may make their own.

    Units are in the names: `_s` seconds, `_bytes` bytes; `max_body` counts code points.
    """

    host: str = setting(
        Text(check=check_host),
        "127.0.0.1",
        what="The address to listen on.",
        why="Nobody outside this machine gets in before the operator decides so.",
    )
    port: int = setting(
        Whole(low=0, high=65535),
        8000,
        what="The TCP port to listen on.",
        zero="0: the system chooses a free port.",
        why="8000 needs no privileges.",
    )
    store: str = setting(
        Store(),
        lambda: default_store(os.environ),
        shown_default="sqlite:///STATE/hubbub/hubbub.db, where STATE is XDG_STATE_HOME or ~/.local/state",
        what="Where history is kept: `sqlite:///PATH`, from the working directory, or with a fourth slash absolute; or "
        "`mongodb://USER:PASSWORD@HOSTS/DATABASE` with MongoDB's options (the database is `hubbub` if none is named). "
        "The password is masked wherever settings are shown.",
        why="A file in the user's state directory works with nothing installed, wherever the service is started from.",
    )
    redis: str | None = setting(
        Text(check=check_redis),
        None,
        what="The Redis server that joins nodes: `redis://USER:PASSWORD@HOST:PORT/DB`, `rediss://…` over TLS, "
        "`unix://PATH`, `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/DB/SERVICE` (`rediss+sentinel://`) or "
        "`redis+cluster://HOST:PORT,HOST:PORT` (`rediss+cluster://`). What is special in a password is written by its "
        "percent code. With TLS: `?ssl_ca_certs=PATH`, `ssl_certfile`, `ssl_keyfile`, `ssl_check_hostname`; with "
        "sentinels: `?sentinel_username=…&sentinel_password=…`. Needs `HUBBUB_NODE`. The password is masked wherever "
        "settings are shown.",
        zero="None: one node, or several that see each other's changes some seconds late.",
        why="One machine needs no cluster.",
    )
    node: str = setting(
        NodeName(),
        _random_node,
        shown_default="n- and six random digits",
        what="This node's name: 1 to 32 small letters, digits and hyphens. Session ids begin with it.",
        why="A balancer routes by it; alone any name will do.",
    )
    jwt_secret: str | None = setting(
        Text(check=check_secret),
        None,
        secret=True,
        what="The secret that signs and verifies tokens with HS256.",
        zero="None: not used.",
        why="At least 32 bytes, because a shorter one is easier to guess than the hash (RFC 7518, section 3.2).",
    )
    jwt_public_key: str | None = setting(
        Text(check=check_public_key),
        None,
        what="A public key in PEM form, or the path of one: RSA for RS256, EC P-256 for ES256, Ed25519 for EdDSA.",
        zero="None: not used.",
        why="The algorithm follows from the key, never from the token, so a token cannot talk its way in.",
    )
    jwks_url: str | None = setting(
        Text(check=check_jwks_url),
        None,
        what="Where the issuer publishes its keys (RFC 7517); kept for 10 minutes, fetched anew for an unknown key.",
        zero="None: not used.",
        why="https, or http on loopback: who can change the keys can be anybody.",
    )
    jwt_audience: str | None = setting(
        Text(),
        None,
        what="The audience that tokens have to name in `aud`.",
        zero="None: tokens that name any audience are refused, because they are meant for others (RFC 7519, 4.1.3).",
        why="An issuer that serves several services says with it which one a token is for.",
    )
    jwt_issuer: str | None = setting(
        Text(),
        None,
        what="The issuer that tokens have to name in `iss`.",
        zero="None: `iss` is not looked at.",
        why="The key alone says enough where one issuer uses it.",
    )
    jwt_leeway_s: float = setting(
        Seconds(low=0, high=300),
        5.0,
        unit="seconds",
        what="By how much the issuer's clock may differ from ours, either way.",
        zero="0: not at all.",
        why="Synchronised machines differ by less than a second; five forgive a bad day and no stolen token.",
    )
    guests: Literal["auto", "on", "off"] = setting(
        Choice("auto", "on", "off"),
        "auto",
        what="Whether anybody may come in under a name of their choice (`POST /api/guest`).",
        why="`auto` is on only while no key is configured: whoever has accounts decides about guests explicitly.",
    )
    guest_token_s: float = setting(
        Seconds(low=60, high=365 * _DAY_S),
        float(_DAY_S),
        unit="seconds",
        what="How long a guest's token is valid.",
        why="A day outlives a laptop's sleep, and a name nobody uses any more is not kept for ever.",
    )
    origins: tuple[str, ...] = setting(
        Origins(),
        (),
        what="Web origins whose pages may use the service, for CORS and WebSocket; `*` for all, with a warning.",
        zero="Empty: only pages that the service itself serves.",
        why="Any page in a user's browser could otherwise speak in that user's name where cookies carry the token.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        Networks(),
        (),
        what="Addresses and networks of our own proxies, whose `X-Forwarded-For` says who the client is.",
        zero="Empty: the peer of the connection is the client, and headers are not believed.",
        why="Anybody can write such a header; only who is known to add to it may be believed.",
    )
    connections_per_address: int = setting(
        Whole(low=0, high=1_000_000),
        500,
        unit="connections",
        what="How many connections one address may have; one more is answered 429. Loopback is not counted.",
        zero="0: any number.",
        why="An office behind one address fits in, and one machine does not fill the service. Not kept while `limits` "
        "is off. It counts sessions: a proxy in front bounds bare TCP connections.",
    )
    outbox_bytes: int = setting(
        Whole(low=524_288, high=2**30),
        1_048_576,
        unit="bytes",
        what="What may wait for one connection that reads slowly; past half of it rooms are suspended with `gap`.",
        why="Two of the largest pages and the traffic around them, and a thousand slow readers stay below a gigabyte.",
    )
    deflate_bytes: int = setting(
        Whole(low=0, high=16 * 2**20),
        0,
        unit="bytes",
        what="Packets of at least this size are compressed for WebSocket clients that offer it, once for all of them.",
        zero="0: never.",
        why="Compressing costs more CPU than sending, unless the line is slow or metered; then 1024 is a good start.",
    )
    limits: bool = setting(
        Switch(),
        True,
        what="Whether rates are limited.",
        why="Off is for benchmarks only, and warns loudly: without limits one client can starve the others.",
    )
    query_tokens: bool = setting(
        Switch(),
        False,
        what="Whether a token may come in the URL (`?token=`).",
        why="URLs end up in logs and histories.",
    )
    token_expiring_s: float = setting(
        Seconds(low=0, high=_DAY_S),
        60.0,
        unit="seconds",
        what="How long before its token expires a connection is sent `token:expiring`.",
        zero="0: never.",
        why="A minute is enough to fetch a token over a bad line.",
    )
    max_body: int = setting(
        Whole(low=1, high=65536),
        8192,
        unit="code points",
        what="The longest body of a message.",
        why="More than two printed pages; longer texts are documents, and belong elsewhere.",
    )
    max_packet_bytes: int = setting(
        Whole(low=1024, high=16 * 2**20),
        131072,
        unit="bytes",
        what="The largest frame that a client may send.",
        why="Has to hold the longest body as some stock clients write it, 12 bytes (`\\ud83d\\ude00`) for a code "
        "point, and 4096 for what is around it. What is larger is refused unread.",
    )
    room_capacity: int = setting(
        Whole(low=2, high=1_000_000),
        10_000,
        unit="members",
        what="The capacity of a room that is created without one.",
        why="Nobody is turned away by accident, and one room cannot fill the service.",
    )
    room_capacity_max: int = setting(
        Whole(low=2, high=1_000_000),
        100_000,
        unit="members",
        what="The largest capacity that may be asked for.",
        why="What a room costs grows with its members.",
    )
    rooms_per_user: int = setting(
        Whole(low=1, high=100_000),
        1000,
        unit="rooms",
        what="In how many rooms one user may be a member or invited.",
        why="A user's rooms are held in memory while they are connected, so their number is bounded.",
    )
    quiet_above: int = setting(
        Whole(low=0, high=1_000_000),
        100,
        unit="subscribers",
        what="Above how many a room is silent about who types and who has read how far.",
        zero="0: always.",
        why="Each tells all the others, so what it costs grows with the square of their number.",
    )
    max_queued: int = setting(
        Whole(low=1, high=1_000_000),
        10_000,
        unit="writes",
        what="How many writes may wait for the store; one more is answered `unavailable`.",
        why="A tenth of a second's work of a healthy store; if more is waiting, the store is in trouble.",
    )
    max_queued_bytes: int = setting(
        Whole(low=65536, high=2**32),
        32 * 2**20,
        unit="bytes",
        what="How much text may wait for the store; more is answered `unavailable`.",
        why="Bounds memory where the writes are large.",
    )
    retention_s: float = setting(
        Seconds(low=0, high=100 * 365 * _DAY_S),
        0.0,
        unit="seconds",
        what="How old a message may become before its text is removed for good; the newest of a room always stays.",
        zero="0: any age.",
        why="What a room said is its memory, and whoever has to forget knows after how long: 30 days are 2592000.",
    )
    retention_messages: int = setting(
        Whole(low=0, high=10**9),
        0,
        unit="messages",
        what="How many messages a room keeps, its newest; the text of older ones is removed for good.",
        zero="0: all.",
        why="A bound for rooms that machines write to. Of a removed message some 100 bytes stay for ever, so that a "
        "repeated send is still known.",
    )
    filters: tuple[str, ...] = setting(
        Filters(),
        (),
        what="The filters that every new or edited message passes before it is stored, in this order: names of entry "
        "points of the group `hubbub.filters`, or `module:function`.",
        zero="Empty: none, but for `filter_rules`.",
        why="What may be said differs from place to place, and is best decided before anybody has seen it.",
    )
    filter_failure: Literal["refuse", "pass"] = setting(
        Choice("refuse", "pass"),
        "refuse",
        what="What becomes of a message when a filter fails, or takes more than a second.",
        why="`refuse` answers `unavailable`, and clients send again: a check that is there for a reason is not left "
        "out because it is broken. `pass` is for filters that merely embellish.",
    )
    filter_rules: str | None = setting(
        Text(),
        None,
        what="The path of a TOML file of rules for words, links and patterns; applied before `filters`, and read again "
        "when it changes.",
        zero="None: no rules.",
        why="Most of what a filter is wanted for needs no program.",
    )
    ping_interval_s: float = setting(
        Seconds(low=1, high=300),
        15.0,
        unit="seconds",
        what="How often the server asks a connection whether it lives.",
        why="With the timeout it finds a pulled cable within 30 seconds, and proxies cut idle connections at 60.",
    )
    ping_timeout_s: float = setting(
        Seconds(low=1, high=300),
        15.0,
        unit="seconds",
        what="How long a connection may take to answer that.",
        why="Phones that wake up on a bad line need several seconds.",
    )
    drain_s: float = setting(
        Seconds(low=0, high=3600),
        20.0,
        unit="seconds",
        what="How long a shutdown may take to let clients go, before it closes what is left.",
        zero="0: at once.",
        why="Supervisors kill after 30 seconds; this leaves ten to finish writing.",
    )
    metrics_access: Literal["loopback", "all"] = setting(
        Choice("loopback", "all"),
        "loopback",
        what="Who may read `GET /metrics`.",
        why="Counts tell strangers how busy the place is. A request that came through a proxy is not from loopback.",
    )
    health_details: Literal["loopback", "all"] = setting(
        Choice("loopback", "all"),
        "loopback",
        what="Who is told the reasons in `GET /readyz`; its status is for everybody.",
        why="Reasons name what the service is built on.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        Choice("debug", "info", "warning", "error"),
        "info",
        what="The least severe log lines that are written.",
        why="One line per connect and disconnect; debug is for finding faults.",
    )
    log_format: Literal["auto", "console", "json"] = setting(
        Choice("auto", "console", "json"),
        "auto",
        what="How log lines look. Each has `node`, the name of this node, if `HUBBUB_NODE` gave it one.",
        why="`auto` is console on a terminal, for people, and else json, for machines.",
    )

    @property
    def key_configured(self) -> bool:
        """Whether tokens of an issuer are verified; if not, a local secret signs and verifies."""
        return not (self.jwt_secret is None and self.jwt_public_key is None and self.jwks_url is None)

    @property
    def guests_on(self) -> bool:
        return self.guests == "on" or (self.guests == "auto" and not self.key_configured)

    @property
    def json_logs(self) -> bool:
        """Whether log lines are JSON, `log_format=auto` decided by what standard error is."""
        return self.log_format == "json" or (self.log_format == "auto" and not sys.stderr.isatty())

    @property
    def name_of_node(self) -> str | None:
        """The node's name if it was given one; None if it has one by chance, which tells nobody anything."""
        return None if isinstance(self.node, _Nameless) else self.node

    @property
    def on_mongodb(self) -> bool:
        """Whether the store is MongoDB, at the address `store`."""
        return self.store.startswith(MONGODB)

    @property
    def store_path(self) -> Path:
        """The database file of an SQLite store; where it would be by default, if the store is MongoDB."""
        return Path(
            (default_store(os.environ) if self.on_mongodb else self.store).removeprefix("sqlite:///")
        ).expanduser()

    @property
    def local_secret_path(self) -> Path:
        """The file that keeps the secret of local tokens (`pipeline/tokens.py`): beside the database."""
        path = self.store_path
        return path.with_name(f"{path.name}-secret")

    def masked(self) -> dict[str, object]:
        """All settings by name, in the order of declaration, secrets hidden."""
        shown: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            hide = declaration_of(field.metadata).secret and value is not None
            shown[field.name] = _MASK if hide else value
        if self.on_mongodb:
            shown["store"] = _without_password(self.store)
        if self.redis is not None:
            shown["redis"] = _without_password(self.redis)
        return shown

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but dangerous, one sentence each."""
        doubts = (
            ("*" in self.origins, "Any web page may use this service, because HUBBUB_ORIGINS is *."),
            (not self.limits, "RATES ARE NOT LIMITED, because HUBBUB_LIMITS is off: never run this for others."),
            (
                self.redis is not None and not self.on_mongodb,
                "Nodes that HUBBUB_REDIS joins need one MongoDB (HUBBUB_STORE): with a file each has rooms of its own.",
            ),
            (
                self.redis is not None and not self.key_configured,
                "Without HUBBUB_JWT_SECRET or another key each machine makes its own, and knows no tokens of others.",
            ),
            (self.query_tokens, "Tokens are taken from URLs, which end up in logs, because HUBBUB_QUERY_TOKENS is on."),
        )
        return tuple(text for doubtful, text in doubts if doubtful)
