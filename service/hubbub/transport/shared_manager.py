"""The client manager of a node among several: python-socketio's Redis manager, on the node's own way to Redis.

Outside processes talk to all nodes with a plain `socketio.AsyncRedisManager(url, write_only=True)`: the channel and
what is said on it are the library's. What the library would do to get there is not used: a connection for each of more
than a hundred emits at once, ten seconds for each while Redis hangs, up to a minute until a lost subscription is made
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
import socketio
import structlog

from hubbub.seldom import Seldom
from hubbub.transport.manager import Manager

__all__ = ["CHANNEL", "SharedManager"]

_log = structlog.get_logger("hubbub.transport")

CHANNEL: Final = "socketio"
"""python-socketio's own default."""

WAITING_MOST: Final = 10_000
"""What was said on the channel and not carried out yet. More is dropped: outside processes get no answers."""

_NONE: Final = type(None)
_ROOM: Final = (str, int, float)

_KINDS: Final[Mapping[str, Mapping[str, tuple[type, ...]]]] = {
    "emit": {
        "event": (str,),
        "data": (list,),
        "namespace": (str, _NONE),
        "room": (*_ROOM, list, _NONE),
        "skip_sid": (str, list, _NONE),
        "callback": (list, _NONE),
        "host_id": (str, _NONE),
    },
    "callback": {"host_id": (str,), "sid": _ROOM, "namespace": (str,), "id": (int,), "args": (list,)},
    "disconnect": {"sid": (str,), "namespace": (str,)},
    "enter_room": {"sid": (str,), "namespace": (str,), "room": _ROOM},
    "leave_room": {"sid": (str,), "namespace": (str,), "room": _ROOM},
    "close_room": {"namespace": (str,), "room": _ROOM},
}
"""What each method has, and of which types, as python-socketio writes it."""


class SharedManager(socketio.AsyncRedisManager, Manager):  # type: ignore[misc]  # python-socketio has no annotations.
    """`say(channel, body)` tells all nodes, without waiting; `listen(channel, take)` has `take` called with what is
    said. Both are called when the first client has come, and later. What cannot be said is lost.

    Whoever may publish can say anything: what is no message is told in the log, once a second at most, and is read as
    JSON and as nothing else.
    """

    def __init__(
        self,
        *,
        say: Callable[[str, bytes], None],
        listen: Callable[[str, Callable[[bytes], None]], None],
        channel: str = CHANNEL,
    ) -> None:
        super().__init__(channel=channel)
        self._say = say
        self._listen_to = listen
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MOST)
        self._unreadable = Seldom(_log, "manager.unreadable")
        self._failed = Seldom(_log, "manager.failed")
        self._too_much = Seldom(_log, "manager.too_much")

    def _redis_connect(self) -> None:
        """The node has its own connections."""

    async def _publish(self, data: Any) -> None:
        self._say(self.channel, orjson.dumps(data))

    async def _thread(self) -> None:
        """Instead of the library's: that one takes up listening anew, with a traceback, whenever it cannot read what
        came, and older ones of it unpickled what is no JSON.
        """
        self._listen_to(self.channel, self._take)
        try:
            while True:
                body = await self._waiting.get()
                try:
                    message = _message(body)
                except ValueError as error:
                    self._unreadable.warn(bytes=len(body), reason=str(error))
                    continue
                await self._try(message)
        finally:
            for seldom in (self._unreadable, self._failed, self._too_much):
                seldom.close()

    async def _try(self, message: dict[str, Any]) -> None:
        """Carry out what another process said, as the library does; of this one's own word nothing but answers to its
        emits. Whatever is wrong with it, the next message may be right.
        """
        method = message["method"]
        if method == "callback":
            try:
                await self._handle_callback(message)
            except Exception as error:  # Of a function of this process.
                _log.error("manager.callback_failed", exc_info=error)
        elif message.get("host_id") != self.host_id:
            try:
                await getattr(self, f"_handle_{method}")(message)
            except Exception as error:
                self._failed.warn(method=method, kind=type(error).__name__)

    def _take(self, body: bytes) -> None:
        try:
            self._waiting.put_nowait(body)
        except asyncio.QueueFull:
            self._too_much.warn(dropped_bytes=len(body))


def _message(body: bytes) -> dict[str, Any]:
    """What was said, of the right types as far as the library relies on them. Raises `ValueError`."""
    message = orjson.loads(body)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    method = message.get("method")
    kinds = _KINDS.get(method) if isinstance(method, str) else None
    if kinds is None:
        raise ValueError("no method that there is")
    for name, kind in kinds.items():
        if not isinstance(message.get(name), kind):
            raise ValueError(f"{name} is missing or of a wrong type")
    if method == "emit":
        _check_emit(message)
    return message


def _check_emit(message: Mapping[str, Any]) -> None:
    """What is in the lists of an emit. Raises `ValueError`."""
    callback = message.get("callback")
    if callback is not None:
        match callback:
            case [str() | int() | float(), str(), int()]:
                pass
            case _:
                raise ValueError("callback is not a room, a namespace and a number")
    for name in ("room", "skip_sid"):
        several = message.get(name)
        if isinstance(several, list) and not all(isinstance(each, _ROOM) for each in several):
            raise ValueError(f"{name} is not a list of names")
