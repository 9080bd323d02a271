"""Saying things: one connection over which a node publishes, kept alive and made anew as often as needed.

Nobody waits for what is said. While there is no connection it is dropped, and so it is when a connection takes nothing
for a while, so that what waits for it stays small.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final

import structlog

from hubbub.cluster.errand import Errand
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_ears import RETRY_S
from hubbub.cluster.redis_reasons import refusal
from hubbub.cluster.redis_wire import RedisWire
from hubbub.cluster.resp import RedisError, Reply, command
from hubbub.errors import HubbubError

__all__ = ["Mouth", "expect_no_refusal"]

_log = structlog.get_logger("hubbub.cluster")

UNSENT_MOST: Final = 4 * 1024 * 1024
"""Bytes that may wait for the socket. A Redis that does not read them is away."""


def expect_no_refusal(replies: list[Reply]) -> None:
    """Raises `unavailable` if one of the replies is an error."""
    for reply in replies:
        if isinstance(reply, RedisError):
            raise HubbubError("unavailable", f"{refusal(str(reply))}.", retry_after=1)


class Mouth:
    """`where` is asked for each connection. `on_open` is called when one stands, and `on_replies` with what comes over
    it: an answer for each command, in order. It may raise `HubbubError`, which ends the connection.
    """

    def __init__(
        self,
        where: Callable[[], RedisAddress],
        *,
        on_open: Callable[[], None] = lambda: None,
        on_replies: Callable[[list[Reply]], None] = expect_no_refusal,
    ) -> None:
        self._where = where
        self._on_open = on_open
        self._on_replies = on_replies
        self._wire: RedisWire | None = None
        self._errand = Errand(self._run)
        self._pause_s = RETRY_S[0]

    @property
    def can_speak(self) -> bool:
        """Whether the connection stands, as far as anybody knows."""
        return self._wire is not None

    @property
    def place(self) -> tuple[str, int] | None:
        """The server that is spoken to, where sentinels have named it."""
        return None if self._wire is None else self._wire.place

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        self._errand.begin()

    async def close(self) -> None:
        """Say nothing more; what the socket takes at once still goes out. Safe to call twice."""
        await self._errand.end()

    def publish(self, word: bytes, channel: bytes, body: bytes) -> bool:
        """Say this in the channel; `word` is the command for it. False if it was dropped."""
        return self.say(word, channel, body)

    def say(self, *words: bytes) -> bool:
        """Have this command carried out. False if it was dropped."""
        wire = self._wire
        if wire is not None:
            if wire.unsent > UNSENT_MOST:
                self.start_over()
            else:
                with contextlib.suppress(HubbubError):
                    wire.write(command(*words))
                    return True
        return False

    def start_over(self) -> None:
        """Give up the connection, and make another."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        self._pause_s = RETRY_S[0]
        while True:
            wire = RedisWire(self._where())
            try:
                await wire.open()
                self._wire = wire
                self._on_open()
                await wire.each(self._on_answers)
            except HubbubError:
                pass  # The ears say in the log that Redis is away, and the canary whether word arrives.
            except Exception as error:
                _log.error("cluster.mouth_broken", exc_info=error)
            finally:
                self._wire = None
                await wire.close()
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - Jitter, not a secret.
            self._pause_s = min(2 * self._pause_s, RETRY_S[1])

    def _on_answers(self, replies: list[Reply]) -> None:
        self._on_replies(replies)
        self._pause_s = RETRY_S[0]  # One that refuses what is said is not tried again and again without a pause.
