"""python-socketio's client manager, on our sessions: who is in which room of namespaces with plain handlers.

The base keeps rooms; here are an index from a client to its rooms, so that an end costs what the client was in, and an
`emit` that encodes once and writes at once. Other managers (the Redis one) work too, on the slower way of the library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import socketio

from hubbub.transport.base import Handler
from hubbub.transport.message import Keep
from hubbub.transport.packets import EVENT, data_message

__all__ = ["LocalClients", "Manager", "is_session_id"]

_SESSION_ID = re.compile(r"[a-z0-9-]{1,32}\.[A-Za-z0-9_-]{20}")


def is_session_id(room: Any) -> bool:
    """Whether a room is somebody's own, here or on another node: such a room cannot be entered by others."""
    return isinstance(room, str) and _SESSION_ID.fullmatch(room) is not None


class LocalClients:
    """What a manager keeps of its own clients. Put before a manager of python-socketio in the bases of a class."""

    server: Any
    rooms: dict[str, Any]
    callbacks: dict[str, dict[int, Any]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rooms_of: dict[tuple[str, str], set[Any]] = {}

    # -- the index ---------------------------------------------------------------------------------------------------

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Raises `ValueError` for the room of another client, and for a client that is not connected here."""
        if sid != room and is_session_id(room):
            raise ValueError("cannot enter a sid room")
        if eio_sid is None and sid not in self.rooms.get(namespace, {}).get(None, {}):
            raise ValueError("sid is not connected to requested namespace")
        super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)  # type: ignore[misc]
        self._rooms_of.setdefault((namespace, sid), set()).add(room)

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        super().basic_leave_room(sid, namespace, room)  # type: ignore[misc]
        known = self._rooms_of.get((namespace, sid))
        if known is not None:
            known.discard(room)
            if not known:
                del self._rooms_of[namespace, sid]

    def basic_disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        for room in list(self._rooms_of.get((namespace, sid), ())):
            self.basic_leave_room(sid, namespace, room)
        self.callbacks.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):  # type: ignore[attr-defined]
            waiting = pending.get(namespace)
            if waiting is not None and sid in waiting:
                waiting.remove(sid)
                if not waiting:
                    del pending[namespace]

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        return [room for room in self._rooms_of.get((namespace, sid), ()) if room is not None]

    # -- sending -----------------------------------------------------------------------------------------------------

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Any = None,
        to: Any = None,
        *,
        volatile: bool = False,
        except_rooms: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        """As python-socketio documents; `volatile` may be lost, `except_rooms` get nothing."""
        room = to or room
        handler = self.server.mounted.get(namespace)
        if handler is not None:
            self._emit_mounted(handler, event, data, room, skip_sid)
            return
        args = [event, *(data if isinstance(data, tuple) else () if data is None else (data,))]
        skipped = set(skip_sid if isinstance(skip_sid, (list, tuple, set)) else [skip_sid])
        places = self.rooms.get(namespace, {})
        for excluded in except_rooms:
            skipped.update(places.get(excluded, ()))
        message = None
        for sid, eio_sid in self.get_participants(namespace, room):  # type: ignore[attr-defined]
            if sid in skipped:
                continue
            if callback is not None:
                number = self._generate_ack_id(sid, callback)  # type: ignore[attr-defined]
                self.server.send_to(eio_sid, data_message(EVENT, namespace, args, id=number))
                continue
            if message is None:
                message = data_message(EVENT, namespace, args, keep=Keep.DROP if volatile else Keep.MUST)
            self.server.send_to(eio_sid, message)

    def _emit_mounted(self, handler: Handler, event: str, data: Any, room: Any, skip_sid: Any) -> None:
        """Who is in a room of a namespace with a handler of its own is the handler's to say; there are no callbacks."""
        skipped = skip_sid if isinstance(skip_sid, (list, tuple, set)) else (skip_sid,)
        for each in room if isinstance(room, (list, tuple, set)) else (room,):
            for connection in handler.outside(event, data, each):
                if connection.id not in skipped:
                    connection.emit(event, data)

    async def trigger_callback(self, sid: str, id: int, data: Any) -> None:
        """An id that nobody waits for is passed over, without a word of the library in the log; 0 counts the others."""
        if id > 0 and id in self.callbacks.get(sid, ()):
            await super().trigger_callback(sid, id, data)  # type: ignore[misc]


class Manager(LocalClients, socketio.AsyncManager):  # type: ignore[misc]  # python-socketio has no annotations.
    """The manager of one node."""
