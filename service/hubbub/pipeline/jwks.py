"""The keys that an issuer publishes under a URL (RFC 7517), held in memory.

A known key is found without waiting, whatever its age. Keys older than `max_age_s` are fetched anew in the
background; if that fails, the old ones go on working. An unknown key is fetched for, at most once each `cooldown_s`,
by one request however many ask.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

import aiohttp
import jwt
import orjson
import structlog

from hubbub.errors import HubbubError
from hubbub.settings import PublicKey, algorithm_of

__all__ = ["JwksSource", "KeySet", "read_jwks"]

MAX_DOCUMENT_BYTES: Final = 256 * 1024
"""Issuers publish a handful of keys of about a kilobyte each."""

_MAX_KEYS: Final = 100

KeySet = Mapping[tuple[str | None, str], PublicKey]
"""Keys by key id and algorithm: a key id may be shared by keys of several kinds (RFC 7517, section 4.5)."""

_log = structlog.get_logger("hubbub.jwks")


class _UnusableError(Exception):
    """What came is not a set of keys; the text is a clause that says why."""


def read_jwks(document: object) -> KeySet:
    """The usable keys of a JWK set: public, for signatures, of a kind and algorithm that Hubbub takes; others are
    passed over (RFC 7517, section 5). Empty for what is no JWK set at all.
    """
    members = document.get("keys") if isinstance(document, dict) else None
    found: dict[tuple[str | None, str], PublicKey] = {}
    for member in members[:_MAX_KEYS] if isinstance(members, list) else ():
        key = _public_key(member)
        algorithm = algorithm_of(key)
        if key is not None and algorithm is not None and member.get("alg", algorithm) == algorithm:
            kid = member.get("kid")
            found.setdefault((kid if isinstance(kid, str) else None, algorithm), key)
    return found


def _public_key(member: Any) -> PublicKey | None:
    if not isinstance(member, dict) or member.get("use", "sig") != "sig":
        return None
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = jwt.PyJWK(member).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        return None
    return key if algorithm_of(key) is not None else None


class JwksSource:
    """The keys under one URL. `close` it, or use it as an async context manager. Times are in seconds.

    No redirect is followed: the URL that the operator checked is the one that decides who is who.
    """

    def __init__(
        self,
        url: str,
        *,
        max_age_s: float = 600.0,
        cooldown_s: float = 10.0,
        timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._max_age_s = max_age_s
        self._cooldown_s = cooldown_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._clock = clock
        self._keys: KeySet = {}
        self._fetched_at = -math.inf
        self._tried_at = -math.inf
        self._failed = False
        self._flight: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> JwksSource:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def find_nowait(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """A key that is known now. Starts a fetch in the background if what is known is old. Needs a running loop."""
        key = self._lookup(kid, algorithm)
        if key is not None and self._clock() - self._fetched_at > self._max_age_s and self._may_try():
            self._start()
        return key

    async def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """A key, fetched for if it is not known; None if the issuer has no such key.

        Raises `HubbubError("unavailable")` if it is not known and the issuer does not answer.
        """
        key = self.find_nowait(kid, algorithm)
        if key is not None:
            return key
        await self.refresh()
        key = self._lookup(kid, algorithm)
        if key is None and self._failed:
            wait_s = max(0.0, self._tried_at + self._cooldown_s - self._clock())
            raise HubbubError("unavailable", "The issuer of tokens does not answer.", retry_after=wait_s)
        return key

    async def refresh(self) -> None:
        """Fetch the keys, unless that was tried a moment ago; join a fetch that is under way. Never raises."""
        if self._flight is None and self._may_try():
            self._start()
        if self._flight is not None:
            # Not awaited itself: one who is cancelled while waiting must not end the fetch that others wait for.
            await asyncio.wait([self._flight])

    async def close(self) -> None:
        """End the fetch under way, and the connection. Safe to call twice."""
        flight, self._flight = self._flight, None
        if flight is not None:
            self._failed = True
            flight.cancel()
            await asyncio.wait([flight])
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _lookup(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """By id and algorithm; a token without an id fits if there is but one key of its algorithm."""
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fitting = [key for (_, kind), key in self._keys.items() if kind == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _may_try(self) -> bool:
        return self._flight is None and self._clock() - self._tried_at >= self._cooldown_s

    def _start(self) -> None:
        self._tried_at = self._clock()
        self._flight = asyncio.get_running_loop().create_task(self._fetch())
        self._flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        if self._flight is flight:
            self._flight = None

    async def _fetch(self) -> None:
        try:
            keys = read_jwks(orjson.loads(await self._download()))
            if not keys:
                raise _UnusableError("holds no key that can be used")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, _UnusableError) as error:
            if not self._failed:
                _log.warning("jwks_failed", url=self._url, reason=str(error) or type(error).__name__)
            self._failed = True
            return
        if self._failed:
            _log.info("jwks_recovered", url=self._url, keys=len(keys))
        self._keys, self._failed, self._fetched_at = keys, False, self._clock()

    async def _download(self) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        async with self._session.get(self._url, allow_redirects=False) as response:
            if response.status != 200:
                raise _UnusableError(f"answers with status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(16384):
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise _UnusableError(f"is larger than {MAX_DOCUMENT_BYTES} bytes")
            return bytes(body)
