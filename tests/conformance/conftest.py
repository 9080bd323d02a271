"""A served application, and a peer on each transport."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.conformance import TRANSPORTS, Peer, open_peer, served


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with served() as url:
        yield url


@pytest.fixture(params=TRANSPORTS)
async def peer(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Peer]:
    """Through the handshake of Engine.IO, and in no namespace yet."""
    async with open_peer(url, request.param) as peer:
        yield peer
