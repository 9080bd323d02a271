"""Which server is the master, as sentinels tell it.

A failover closes the connections to a master that is dead, and not always those to one that lives: after one that an
operator asked for, the old master is a master to all who have a connection to it for ten seconds more, while those who
come anew go to the new one, and neither hears the other. So sentinels are asked for each connection, and every two
seconds besides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
from redis.exceptions import RedisError as DriverError

from hubbub.cluster.errand import Errand
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_reasons import away
from hubbub.errors import HubbubError

__all__ = ["ASK_S", "MasterWatch", "Sentinels"]

_log = structlog.get_logger("hubbub.cluster")

_Place = tuple[str, int]

ASK_S: Final = 1.0
"""A sentinel that has not answered by then is passed over."""

WATCH_S: Final = 2.0

_ASK: Final = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME")


class Sentinels:
    """Those of an address that has them. They are asked in its order, so that all nodes believe the same one."""

    def __init__(self, address: RedisAddress) -> None:
        self._service = address.service
        self._clients: list[Any] = list(address.sentinels())

    async def master(self) -> _Place:
        """Where the master is. Raises `HubbubError("unavailable")` if none of them can say."""
        error: BaseException | None = None
        has_answered = False
        for client in self._clients:
            try:
                async with asyncio.timeout(ASK_S):
                    found = await client.execute_command(*_ASK, self._service)
            except (DriverError, OSError, TimeoutError) as failure:
                error = failure
                continue
            if found:
                return found[0].decode(), int(found[1])
            has_answered = True
        if has_answered:
            raise HubbubError("unavailable", "The sentinels know no service of this name.", retry_after=1)
        raise away(error, "The sentinels") from error

    async def close(self) -> None:
        """Safe to call twice."""
        for client in self._clients:
            await client.aclose()


class MasterWatch:
    """`stand` tells the servers to which there are connections now, `on_moved` is called if one of them is not the
    master.
    """

    def __init__(self, address: RedisAddress, stand: Callable[[], Iterable[_Place]], on_moved: Callable[[], None]):
        self._sentinels = Sentinels(address)
        self._stand = stand
        self._on_moved = on_moved
        self._errand = Errand(self._run)

    def start(self) -> None:
        """Watch until `close`."""
        self._errand.begin()

    async def close(self) -> None:
        """Safe to call twice."""
        await self._errand.end()
        await self._sentinels.close()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                master = await self._sentinels.master()
            except HubbubError:
                continue  # Whoever has a connection keeps it, and who has none tells that sentinels are away.
            except Exception as error:
                _log.error("cluster.watch_broken", exc_info=error)
                continue
            if any(place != master for place in self._stand()):
                _log.info("cluster.master_moved", place="{}:{}".format(*master))
                self._on_moved()
