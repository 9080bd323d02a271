"""The kinds of value that a setting can have, and how a setting is declared.

Each kind is a marshmallow field that takes what any of the three sources gives (text from the environment and from
flags, typed values from TOML) and raises one clause that completes the sentence "NAME …", such as "must be on or off".
No clause repeats the value: it may be a secret.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields

__all__ = [
    "MONGODB",
    "Choice",
    "Declaration",
    "Filters",
    "Network",
    "Networks",
    "NodeName",
    "Origins",
    "Seconds",
    "Store",
    "Switch",
    "Text",
    "Whole",
    "check_host",
    "check_jwks_url",
    "check_mongodb",
    "check_origin",
    "check_redis",
    "declaration_of",
    "is_loopback_name",
    "setting",
]

_KEY: Final = "hubbub.setting"

MONGODB: Final = ("mongodb://", "mongodb+srv://")
"""How the address of a MongoDB store begins."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(frozen=True, slots=True)
class Declaration:
    """What there is to say of a setting beside its type: all that `docs/reference/settings.md` shows.

    `shown_default` replaces a default that is made at the start (a random name, a path). `zero` says what zero, None or
    an empty list means, where the value can be that.
    """

    field: fields.Field[Any]
    default: object
    what: str
    why: str
    unit: str
    zero: str
    secret: bool
    shown_default: str | None


def setting(
    field: fields.Field[Any],
    default: object,
    *,
    what: str,
    why: str,
    unit: str = "",
    zero: str = "",
    secret: bool = False,
    shown_default: str | None = None,
) -> Any:
    """Declare a setting: its kind, default and meaning, once for the environment, the file, the flags and the docs.

    A callable default is called for each new `Settings`, and then needs a `shown_default`.
    """
    declared = Declaration(field, default, what, why, unit, zero, secret, shown_default)
    metadata = {_KEY: declared}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def declaration_of(metadata: Mapping[Any, Any]) -> Declaration:
    """The declaration kept in a dataclass field's metadata."""
    declared: Declaration = metadata[_KEY]
    return declared


class Text(fields.Field[str]):
    """A line of text; `check` may refuse it with a `ValidationError`, or return it in another form."""

    def __init__(self, *, check: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._check = check

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("must be text")
        if not value.strip():
            raise ValidationError("is empty; leave it out, or give it a value")
        if "\0" in value:
            raise ValidationError("must not contain NUL")
        return value if self._check is None else self._check(value)


class Whole(fields.Field[int]):
    """A whole number from `low` to `high`, both included."""

    def __init__(self, *, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high = low, high

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        number: int | None = None
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip()):
            number = int(value)
        if number is None or not self.low <= number <= self.high:
            raise ValidationError(f"must be a whole number from {self.low} to {self.high}")
        return number


class Seconds(fields.Field[float]):
    """A number of seconds from `low` to `high`, both included; fractions are allowed."""

    def __init__(self, *, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= self.high
        is_text = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,9})?", value.strip())
        number = float(value) if is_number or is_text else math.nan
        if not self.low <= number <= self.high:
            raise ValidationError(f"must be a number of seconds from {self.low:g} to {self.high:g}")
        return number


class Choice(fields.Field[str]):
    """One of a few words, in lower case."""

    def __init__(self, *choices: str) -> None:
        super().__init__()
        self.choices = choices

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        word = value.strip().lower() if isinstance(value, str) else value
        if isinstance(word, bool) and {"on", "off"} <= set(self.choices):
            return "on" if word else "off"
        if word not in self.choices:
            *most, last = self.choices
            raise ValidationError(f"must be {', '.join(most)} or {last}")
        return str(word)


class Switch(fields.Field[bool]):
    """`on` or `off`; in TOML `true` and `false` as well."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in ("on", "off"):
            return value.strip().lower() == "on"
        raise ValidationError("must be on or off")


class NodeName(Text):
    """A node's name: it begins every session id, and stands literally in the balancer's table."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9-]{1,32}", value):
            raise ValidationError("must be 1 to 32 small letters, digits and hyphens")
        return value


class Store(Text):
    """Where history is kept: `sqlite:///PATH` or `mongodb://…/DATABASE`."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text.startswith(MONGODB):
            return check_mongodb(text)
        path = text.removeprefix("sqlite:///")
        if path == text or not path or path.endswith("/"):
            raise ValidationError(
                "must be sqlite:///PATH (with a fourth slash for an absolute path) or mongodb://HOST/DATABASE"
            )
        if path.startswith((":memory:", "file:")):
            raise ValidationError("must be the path of a file, because what is acknowledged has to outlive the process")
        return text


def check_mongodb(text: str) -> str:
    """What can be said of a connection string without its server; the driver says the rest at the start."""
    _, _, rest = text.partition("://")
    hosts, _, path = rest.partition("?")[0].partition("/")
    if not hosts.rpartition("@")[2]:
        raise ValidationError("must name a server: mongodb://HOST/DATABASE")
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,63}", path):
        raise ValidationError("must end with the name of a database: letters, digits, - and _, at most 63")
    return text


class Origins(fields.Field[tuple[str, ...]]):
    """Web origins, separated by commas or as a list; `*` for all."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
            raise ValidationError("must be a list of origins such as https://chat.example.org")
        return tuple(dict.fromkeys(check_origin(item.strip()) for item in items))


class Networks(fields.Field[tuple[Network, ...]]):
    """Addresses and networks, separated by commas or as a list."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> tuple[Network, ...]:
        items = value.split(",") if isinstance(value, str) else value
        try:
            return tuple(ipaddress.ip_network(item.strip()) for item in items)
        except (ValueError, TypeError, AttributeError):
            raise ValidationError("must be a list of addresses or networks such as 10.0.0.0/8") from None


class Filters(fields.Field[tuple[str, ...]]):
    """Names of filters, separated by commas or as a list; each once."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
            raise ValidationError("must be a list of filters such as profanity or mymodule:function")
        names = tuple(item.strip() for item in items)
        if not all(re.fullmatch(r"[\w.-]+(:\w+(\.\w+)*)?", name) for name in names):
            raise ValidationError("must list filters by the name of an entry point, or as module:function")
        if len(set(names)) < len(names):
            raise ValidationError("names a filter twice")
        return names


def check_host(text: str) -> str:
    """A name or an address to listen on; a scope (`fe80::1%eth0`) may follow an address."""
    if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_:-]{1,63}(\.[A-Za-z0-9_:-]{1,63})*\.?(%[A-Za-z0-9_.-]+)?", text):
        raise ValidationError("must be a name or an address, such as localhost, 0.0.0.0 or ::")
    return text


def check_origin(text: str) -> str:
    """An origin as browsers send it (RFC 6454, section 6.2): scheme, host in lower case, port unless it is implied."""
    if text == "*":
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc or "*" in host)
    if parts.scheme not in ("http", "https") or not plain or not re.fullmatch(r"[a-z0-9.:_-]+", host):
        raise ValidationError("must list origins such as https://chat.example.org: scheme, host and port, no path")
    shown = f"[{host}]" if ":" in host else host
    implied = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{shown}" + ("" if port in (None, implied) else f":{port}")


def is_loopback_name(host: str) -> bool:
    """Whether a host, named or numbered, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_jwks_url(text: str) -> str:
    """Keys decide who is who, so they come over TLS; within this machine plain HTTP will do."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback_name(parts.hostname or ""))
    if not secure or not parts.hostname or "@" in parts.netloc:
        raise ValidationError("must be an https URL without a password (http only on loopback)")
    return text


REDIS_SCHEMES: Final = (
    *("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)


def check_redis(text: str) -> str:
    """An address of Redis, by its scheme; whether it is one in all else is seen when it is used."""
    if text.partition("://")[0] not in REDIS_SCHEMES or not text.partition("://")[2]:
        raise ValidationError(
            f"must be an address that begins with {', '.join(f'{each}://' for each in REDIS_SCHEMES)}"
        )
    return text
