"""Asking a store that may be away, so that its return is noticed at once, and a slow one is not asked in vain.

A question that got lost with its connection is never answered, and one to a slow server is answered late. So nobody
waits for one question alone: while it is not answered it is asked again every now and then, beside the first and some
of those before; the first answer counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from hubbub.errors import HubbubError

__all__ = ["ask_again"]

T = TypeVar("T")

AGAIN_S: Final = 0.7
"""After this long without an answer the same is asked once more."""

AT_ONCE: Final = 4
"""As many questions wait for an answer at most."""

LONGEST_S: Final = 5.0
"""None waits longer."""


async def ask_again(question: Callable[[], Awaitable[T]]) -> T:
    """The first answer. Raises the error of the question that failed if none is under way any more; `unavailable` after
    `LONGEST_S`.
    """
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.Future[T]] = []
    ask_at = loop.time()
    try:
        async with asyncio.timeout(LONGEST_S):
            while True:
                if loop.time() >= ask_at:
                    ask_at = loop.time() + AGAIN_S
                    if len(waiting) == AT_ONCE:
                        # The first may be with a slow server; the second has had its time.
                        await _give_up([waiting.pop(1)])
                    waiting.append(asyncio.ensure_future(question()))
                pause_s = ask_at - loop.time()
                done, _ = await asyncio.wait(waiting, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                failed: BaseException | None = None
                for each in done:
                    waiting.remove(each)
                    failed = each.exception()
                    if failed is None:
                        return each.result()
                if failed is not None and not waiting:
                    raise failed
    except TimeoutError:
        raise HubbubError("unavailable", "The store took too long.") from None
    finally:
        await _give_up(waiting)


async def _give_up(waiting: Sequence[asyncio.Future[T]]) -> None:
    for each in waiting:
        each.cancel()
    if waiting:
        await asyncio.wait(waiting)
        for each in waiting:
            if not each.cancelled():
                each.exception()  # Seen: another was quicker.
