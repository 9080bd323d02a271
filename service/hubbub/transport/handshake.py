"""What the first request of a connection carried, kept small: text for as long as nobody asks.

Most of it is never looked at again once the token has been found, and ten thousand dictionaries are megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web

from hubbub.transport.base import Handshake

__all__ = ["CompactHandshake", "read_handshake"]


class CompactHandshake(Handshake):
    """A `Handshake` that is taken apart each time it is asked."""

    __slots__ = ("_raw", "_raw_query")

    def __init__(self, raw: bytes, query: str, address: str) -> None:
        object.__setattr__(self, "_raw", raw)
        object.__setattr__(self, "_raw_query", query)
        object.__setattr__(self, "address", address)

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; of one that comes twice, the first."""
        found: dict[str, str] = {}
        for line in self._raw.split(b"\n"):  # type: ignore[attr-defined]
            name, _, value = line.partition(b":")
            found.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape"))
        return found

    @property
    def cookies(self) -> Mapping[str, str]:
        """By name; one with an odd name or value does not hide the others."""
        found: dict[str, str] = {}
        for pair in self.headers.get("cookie", "").split(";"):
            name, sign, value = pair.strip().partition("=")
            if sign:
                found.setdefault(name.strip(), value.strip().removeprefix('"').removesuffix('"'))
        return found

    @property
    def query(self) -> Mapping[str, str]:
        return dict(parse_qsl(self._raw_query, keep_blank_values=True))  # type: ignore[attr-defined]


def read_handshake(request: web.Request, address: str) -> Handshake:
    raw = b"\n".join([name + b":" + value for name, value in request.raw_headers])
    return CompactHandshake(raw, request.rel_url.raw_query_string, address)
