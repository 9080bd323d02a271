"""Asking the servers of a Redis Cluster for the map of its slots.

Several are asked at once, so that one that hangs costs no time. A server that was cut off, or has not heard of a
failover yet, tells an old map; so whoever is behind what was known before is believed only if nobody knows better.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Collection, Sequence
from typing import Any, Final

from redis.exceptions import RedisError as DriverError

from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_slots import Place, SlotMap, read_map

__all__ = ["ask_map"]

ASK_S: Final = 1.0
"""A server that has not told its map by then is passed over."""

GRACE_S: Final = 0.05
"""How long those are waited for who answer after the first: one of them may know of what has just happened."""

_AT_ONCE: Final = 3


async def ask_map(
    address: RedisAddress, known: Collection[Place], *, first: Place | None, epoch: int
) -> SlotMap | None:
    """The map, from `first`, some of the places that are `known`, or those that the operator named. None if nobody
    tells one. `epoch` is that of the map that was known before.
    """
    places = random.sample(sorted(known), len(known))
    order = list(dict.fromkeys([*([first] if first else []), *places, *(Place(*host) for host in address.hosts)]))
    best: SlotMap | None = None
    for begin in range(0, len(order), _AT_ONCE):
        told = [one for one in await _ask_several(address, order[begin : begin + _AT_ONCE]) if one is not None]
        best = max((*told, *([best] if best else [])), key=_rank, default=None)
        if best is not None and best.is_whole and best.epoch >= epoch:
            break
    return best


def _rank(told: SlotMap) -> tuple[bool, int]:
    return told.is_whole, told.epoch


async def _ask_several(address: RedisAddress, places: Sequence[Place]) -> list[SlotMap | None]:
    """What they tell: all who answer in about the time of the first."""
    asking = [asyncio.ensure_future(_ask(address, place)) for place in places]
    try:
        for next_one in asyncio.as_completed(asking):
            if await next_one is not None:
                break
        await asyncio.wait(asking, timeout=GRACE_S)
        return [task.result() for task in asking if task.done()]
    finally:
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)


async def _ask(address: RedisAddress, place: Place) -> SlotMap | None:
    connection: Any = address.at(*place).connection()
    try:
        async with asyncio.timeout(ASK_S):
            await connection.connect()
            await connection.send_command("CLUSTER", "INFO")
            info = await connection.read_response()
            await connection.send_command("CLUSTER", "SLOTS")
            return read_map(await connection.read_response(), info, place)
    except (DriverError, OSError, TimeoutError, ValueError):
        return None
    finally:
        with contextlib.suppress(Exception):
            await connection.disconnect(nowait=True)
