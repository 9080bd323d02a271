"""Faults between the driver and its server, and the store behind them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from hubbub.errors import HubbubError
from hubbub.history.mongo import MongoHistory
from tests.support.mongo_proxy import Action, MongoProxy, Rule, after, before, concern, lost, not_primary
from tests.support.mongodb import with_database

__all__ = ["FAULTS", "NO_RETRIES", "WRITES", "at_each_command", "behind", "insist_on", "opened"]

WRITES: Final = frozenset({"insert", "update", "delete", "findAndModify"})

FAULTS: Final[dict[str, Action]] = {
    "cut before": before,
    "cut after": after,
    "no primary": not_primary,
    "concern timed out": concern(64),
    "concern in shutdown": concern(91),
    "concern timed out, rolled back": lost(64),
    "concern in shutdown, rolled back": lost(91),
}

NO_RETRIES: Final = "retryWrites=false&retryReads=false"
"""Options of the address with which the driver tries once, so that every fault reaches the service."""


SESSIONS_AT_ONCE: Final = 8
TRIES_MOST: Final = 100

Result = TypeVar("Result")


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[MongoHistory]:
    """The store at an address, which is asked until it lets itself be opened."""
    history = MongoHistory(address)
    assert await insist_on(history.open) is None
    try:
        yield history
    finally:
        await history.close()


@asynccontextmanager
async def behind(proxy: MongoProxy, mongo_uri: str, options: str = "") -> AsyncIterator[MongoHistory]:
    """The store through the proxy."""
    name = mongo_uri.partition("?")[0].rpartition("/")[2]
    async with opened(f"{with_database(proxy.uri, name)}?{options}") as history:
        try:
            yield history
        finally:
            proxy.heal()


BESIDE = 3
"""Commands that the store may send by itself while a session runs, or a moment later."""


async def at_each_command(fault: str, session: Callable[[Rule], Awaitable[Result]], *, stride: int = 1) -> list[Result]:
    """Have a session meet a fault at its first command, another at its second, and so on to its last. Several run at
    the same time: the driver looks for a lost primary once in half a second, so that most of it is waiting. A write
    concern can fail at writes alone. With a `stride`, one command in so many has its turn, from one that is drawn.
    """
    names = WRITES if "concern" in fault else frozenset[str]()
    without = Rule(before, names, times=0)
    await session(without)
    first = random.SystemRandom().randint(1, stride)
    print(f"commands {first} and every {stride}th behind it, of {without.seen}")
    rules = [Rule(FAULTS[fault], names, nth) for nth in range(first, without.seen + 1, stride)]
    places = asyncio.Semaphore(SESSIONS_AT_ONCE)

    async def meet(rule: Rule) -> Result:
        async with places:
            return await session(rule)

    results = await asyncio.gather(*(meet(rule) for rule in rules))
    # What the store does by itself beside the session (it gives back the space of a deleted room, for one) makes a few
    # commands more or fewer: in a short session they are many of all.
    surely = min(without.seen * 0.9, without.seen - BESIDE)
    assert all(rule.hits == 1 for rule in rules if rule.nth <= surely)
    assert any(rule.hits == 1 for rule in rules)
    return results


async def insist_on(call: Callable[[], Awaitable[Result]]) -> Result | HubbubError:
    """Call until the store is not unavailable; the result, or the error that it is."""
    for _ in range(TRIES_MOST):
        try:
            return await call()
        except HubbubError as error:
            if error.code != "unavailable":
                return error
            if not error.retry_after:
                raise AssertionError("nobody was told when to come again") from error
    raise AssertionError(f"there was no answer after {TRIES_MOST} tries")
