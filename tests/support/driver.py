"""What has to be set right in PyMongo so that a test is judged by what Hubbub leaves behind alone."""

from __future__ import annotations

import asyncio
import functools
import socket
import traceback
from typing import Any, cast

from pymongo import pool_shared

__all__ = ["close_what_was_connecting"]


def close_what_was_connecting() -> None:
    """Have the driver close the socket of a connect that is cancelled.

    A client that is closed while its server is away cancels the tasks that were trying to connect, and a deadline
    cancels whoever waits for a connection. The driver then closes its socket only if there was an `OSError`; it is left
    to the garbage collector, which closes it with a `ResourceWarning` in the midst of a later test that has nothing to
    do with it. That is PyMongo 4.20, and 4.20.1. This can go when `_async_create_connection` closes its socket itself.

    To let the warning pass in place of this would hide sockets that Hubbub forgets.
    """
    create = pool_shared._async_create_connection  # An error here says that the driver has changed: look again.

    @functools.wraps(create)
    async def create_or_close(*arguments: Any) -> socket.socket:
        try:
            return await create(*arguments)
        except asyncio.CancelledError as error:
            for frame, _ in traceback.walk_tb(error.__traceback__):
                if frame.f_code is create.__code__ and "sock" in frame.f_locals:
                    frame.f_locals["sock"].close()
            raise

    pool_shared._async_create_connection = cast("Any", create_or_close)
