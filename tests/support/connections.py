"""Connections without a wire, for tests of what is above the seam."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from hubbub.transport.base import Handshake, Link

__all__ = ["LooseConnection", "link_of"]

_numbers = itertools.count(1)


class LooseConnection:
    """A connection of a link that leads nowhere: it keeps what was done to it, in order."""

    def __init__(self, link: Link, namespace: str = "/chat", *, is_open: bool = True) -> None:
        self.id = f"connection-{next(_numbers)}"
        self.link = link
        self.namespace = namespace
        self.state: Any = None
        self.is_open = is_open
        self.transport = "websocket"
        self.did: list[tuple[str, Any]] = []
        link.connections[namespace] = self

    def emit(self, event: str, data: Any) -> None:
        if self.is_open:
            self.did.append((event, data))

    async def wait_room(self) -> None:
        """There is always room."""

    def disconnect(self) -> None:
        if self.is_open:
            self.did.append(("<disconnect>", None))
            self.is_open = False
            self.link.connections.pop(self.namespace, None)

    def drop(self, *, restart: bool = False) -> None:
        self.did.append(("<drop>", None))
        self.is_open = False


def link_of(
    *,
    headers: Mapping[str, str] | None = None,
    cookies: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> Link:
    """A link whose first request carried these."""
    return Link(f"link-{next(_numbers)}", Handshake(headers or {}, cookies or {}, query or {}, "192.0.2.7"))
