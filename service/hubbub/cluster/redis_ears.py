"""Listening to channels: one connection for all that a node wants to hear, kept alive and made anew as often as needed.

Word that was said while there was no connection is lost, and nobody can know how much it was. So whoever listens is
told when the ears hear again (`on_again`), and looks at the store. How soon that is decides how late others are: a
connection that says nothing is asked each second whether it lives, is given up after three, and is tried again within a
second.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Final

import structlog

from hubbub.cluster.errand import Errand
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_reasons import refusal
from hubbub.cluster.redis_wire import RedisWire
from hubbub.cluster.resp import RedisError, Reply, command
from hubbub.errors import HubbubError

__all__ = ["Ears"]

_log = structlog.get_logger("hubbub.cluster")

PING_S: Final = 1.0
SILENT_S: Final = 3.0
"""A connection on which nothing has come for so long, not even an answer to the pings, is dead."""

RETRY_S: Final = (0.1, 1.0)
"""Before the connection is tried again: the first time, and at most. Doubled in between, and jittered."""

_CHANNELS_AT_ONCE: Final = 500

_Take = Callable[[bytes], None]


class Ears:
    """`on_again` is called each time when the connection stands, and everything that is listened to is heard from then
    on; the first time, too. What takes a message is called on the event loop and must not raise.
    """

    def __init__(self, address: RedisAddress, *, on_again: Callable[[], None] = lambda: None) -> None:
        self._where: Callable[[], RedisAddress] = lambda: address
        self._on_again = on_again
        self._wire: RedisWire | None = None
        self._errand = Errand(self._run)
        self._takes: dict[bytes, _Take] = {}
        self._heard: set[bytes] = set()
        self._waiting: dict[bytes, list[asyncio.Future[None]]] = {}
        self._last_at = 0.0
        self._is_away = False
        self._told: set[str] = set()
        self._pause_s = RETRY_S[0]
        self.trouble: str | None = None
        """Why there is no connection, as far as it is known; or why the one before was lost, until this one stands."""
        self._facts: dict[str, str] = {}

    @property
    def can_hear(self) -> bool:
        """Whether the connection stands, as far as anybody knows."""
        return self._wire is not None and not self._is_away

    @property
    def place(self) -> tuple[str, int] | None:
        """The server that is listened to, where sentinels have named it."""
        return None if self._wire is None else self._wire.place

    def look(self, where: Callable[[], RedisAddress]) -> None:
        """Ask this for the address of each further connection, in place of going to one address."""
        self._where = where

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        self._errand.begin()

    async def close(self) -> None:
        """Hear nothing more. Safe to call twice."""
        await self._errand.end()
        self._fail_waiting()

    def listen(self, channel: str, take: _Take) -> None:
        """Hear this channel from now on, or from when the connection stands."""
        name = channel.encode()
        new = name not in self._takes
        self._takes[name] = take
        if new:
            self._say(b"SUBSCRIBE", name)

    def leave(self, channel: str) -> None:
        """Hear this channel no more. No error if it was not listened to."""
        name = channel.encode()
        if self._takes.pop(name, None) is not None:
            self._heard.discard(name)
            self._say(b"UNSUBSCRIBE", name)
            self._let_go(name)

    async def hears(self, channel: str) -> None:
        """Return when this channel, which is listened to, is heard: what is said now arrives. Returns as well when
        somebody leaves it meanwhile, for then no answer would ever come. Raises `unavailable` when the connection is
        lost before that, or `close` is called.
        """
        name = channel.encode()
        if name not in self._heard:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(name, []).append(future)
            await future

    def start_over(self) -> None:
        """Give up the connection, because it cannot hear, for all that it looks alive; and make another."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _say(self, word: bytes, name: bytes) -> None:
        if self._wire is not None:
            with contextlib.suppress(HubbubError):  # The connection is lost; the next one subscribes to everything.
                self._wire.write(command(word, name))

    async def _run(self) -> None:
        while True:
            wire = RedisWire(self._where())
            try:
                await wire.open()
                await self._hear(wire)
            except HubbubError as error:
                self._is_away, self.trouble = True, error.message
                if error.message not in self._told:  # There is often a second reason behind the first.
                    self._told.add(error.message)
                    _log.warning("cluster.ears_lost", reason=error.message, **self._facts)
            except Exception as error:
                _log.error("cluster.ears_broken", exc_info=error)
                self._is_away = True
            finally:
                self._wire = None
                self._heard.clear()
                await wire.close()
                self._fail_waiting()
                self._end()
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - Jitter, not a secret.
            self._pause_s = min(2 * self._pause_s, RETRY_S[1])

    async def _hear(self, wire: RedisWire) -> None:
        """Hear until the connection is lost, which is raised."""
        self._wire = wire
        self._last_at = time.monotonic()
        self._begin(wire)
        beat = asyncio.ensure_future(self._beat(wire))
        try:
            await wire.each(self._take_all)
        finally:
            beat.cancel()

    def _end(self) -> None:
        """The connection was lost, or none could be made."""

    def _begin(self, wire: RedisWire) -> None:
        """Subscribe to everything on a new connection."""
        names = list(self._takes)
        for begin in range(0, len(names), _CHANNELS_AT_ONCE):
            wire.write(command(b"SUBSCRIBE", *names[begin : begin + _CHANNELS_AT_ONCE]))
        # Its answer comes behind those to what was said before: then everything is heard.
        wire.write(command(b"SUBSCRIBE", _ALL))

    def _take_all(self, replies: list[Reply]) -> None:
        self._last_at = time.monotonic()
        for reply in replies:
            self._take(reply)

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, RedisError):
            raise HubbubError("unavailable", f"{refusal(str(reply))}.", retry_after=1)
        if not isinstance(reply, list) or len(reply) != 3:
            return  # An answer to a ping.
        kind, name, body = reply
        if kind == b"message":
            take = self._takes.get(name) if isinstance(name, bytes) else None
            if take is not None and isinstance(body, bytes):
                take(body)
        elif kind == b"subscribe" and isinstance(name, bytes):
            self._on_subscribed(name)

    def _on_subscribed(self, name: bytes) -> None:
        if name == _ALL:
            self._on_all()
        elif name in self._takes:
            self._confirm(name)

    def _confirm(self, name: bytes) -> None:
        """This channel is heard."""
        self._heard.add(name)
        for future in self._waiting.pop(name, ()):
            if not future.done():
                future.set_result(None)

    def _let_go(self, name: bytes) -> None:
        """Nobody has to wait for this channel any more."""
        for future in self._waiting.pop(name, ()):
            if not future.done():
                future.set_result(None)

    def _on_all(self) -> None:
        """Everything that is listened to is heard from now on."""
        if self._is_away:
            _log.info("cluster.ears_back", **self._facts)
        self._is_away, self.trouble = False, None
        self._told.clear()
        self._pause_s = RETRY_S[0]  # Not at once: one that refuses to be listened to is not tried without a pause.
        self._on_again()

    async def _beat(self, wire: RedisWire) -> None:
        """Ask whether the connection lives, and end it when it does not."""
        while True:
            await asyncio.sleep(PING_S)
            if time.monotonic() - self._last_at > SILENT_S:
                wire.abort()
                return
            with contextlib.suppress(HubbubError):
                wire.write(command(b"PING"))

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for futures in waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(HubbubError("unavailable", "Redis is out of reach.", retry_after=1))
                    future.exception()  # Seen: whoever waited may have gone.


_ALL: Final = b"hubbub:all"
"""A channel that nobody says anything on; that it is subscribed to tells that all before it are."""
