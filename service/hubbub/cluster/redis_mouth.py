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

from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_ears import RETRY_S
from hubbub.cluster.redis_wire import RedisWire
from hubbub.cluster.resp import RedisError, Reply, command
from hubbub.errors import HubbubError

__all__ = ["Mouth", "expect_no_refusal"]

_log = structlog.get_logger("hubbub.cluster")

UNSENT_MOST: Final = 4 * 1024 * 1024
"""Bytes that may wait for the socket. A Redis that does not read them is away."""


def expect_no_refusal(replies: list[Reply]) -> None:
    """Raises `unavailable` if one of the replies is an error."""
    if any(isinstance(reply, RedisError) for reply in replies):
        # A replica, or a server without a master: what is said there goes nowhere.
        raise HubbubError("unavailable", "Redis refused to pass on what was said.")


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
        self._task: asyncio.Task[None] | None = None

    @property
    def can_speak(self) -> bool:
        """Whether the connection stands, as far as anybody knows."""
        return self._wire is not None

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Say nothing more; what the socket takes at once still goes out. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def publish(self, word: bytes, channel: bytes, body: bytes) -> bool:
        """Say this in the channel; `word` is the command for it. False if it was dropped."""
        wire = self._wire
        if wire is not None:
            if wire.unsent > UNSENT_MOST:
                self.start_over()
            else:
                with contextlib.suppress(HubbubError):
                    wire.write(command(word, channel, body))
                    return True
        return False

    def start_over(self) -> None:
        """Give up the connection, and make another."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        pause_s = RETRY_S[0]
        while True:
            wire = RedisWire(self._where())
            try:
                await wire.open()
                self._wire, pause_s = wire, RETRY_S[0]
                self._on_open()
                await wire.each(self._on_replies)
            except HubbubError:
                pass  # The ears say in the log that Redis is away, and the canary whether word arrives.
            except Exception as error:
                _log.error("cluster.mouth_broken", exc_info=error)
            finally:
                self._wire = None
                await wire.close()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - Jitter, not a secret.
            pause_s = min(2 * pause_s, RETRY_S[1])
