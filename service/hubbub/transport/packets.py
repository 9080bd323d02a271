"""Socket.IO packets (protocol 5), read strictly and written once.

`read_packet` takes what an Engine.IO message holds and returns a `Packet`, or raises `ViolationError` for what is none:
the connection ends then, because there is nothing that could be answered. A payload that is not JSON is another matter:
the ack id was readable, so the client is told.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
from socketio import packet as sio_packet

from hubbub.transport.bounds import Bounds
from hubbub.transport.jsontext import JsonError, NestingError, dumps, loads
from hubbub.transport.message import Keep, Message
from hubbub.transport.states import ViolationError

__all__ = [
    "ACK",
    "BINARY_ACK",
    "BINARY_EVENT",
    "CONNECT",
    "CONNECT_ERROR",
    "DISCONNECT",
    "EVENT",
    "NESTED",
    "UNREADABLE",
    "Attachments",
    "LibraryPacket",
    "Packet",
    "ack_message",
    "connect_error_message",
    "connect_message",
    "data_message",
    "disconnect_message",
    "event_message",
    "read_packet",
]

CONNECT: Final = 0
DISCONNECT: Final = 1
EVENT: Final = 2
ACK: Final = 3
CONNECT_ERROR: Final = 4
BINARY_EVENT: Final = 5
BINARY_ACK: Final = 6


class _Marker:
    def __init__(self, text: str) -> None:
        self.text = text


UNREADABLE: Final = _Marker("Not valid JSON.")
"""The data of an EVENT whose payload is not valid JSON."""

NESTED: Final = _Marker("Nested too deep, or too many arrays and objects.")
"""The data of an EVENT whose payload is beyond the bounds."""

_REFUSED_NAMES: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
_MOST_ATTACHMENTS: Final = 10
"""Stock JavaScript clients end the connection for events of these names, and for packets with more attachments."""

_HEAD: Final = re.compile(rb"([0-6])(?:([0-9]{1,10})-)?(?:(/[^,\x00-\x1f]*)(?:,|\Z))?([0-9]*)")
_PLAIN: Final = re.compile(rb"/[A-Za-z0-9_.-]*")
_MOST_ID_DIGITS: Final = 15
"""Below 2^53, so that every language holds it."""


class Packet:
    """A packet that came. `data` is decoded JSON; None where there is none."""

    __slots__ = ("attachments", "data", "id", "kind", "namespace")

    def __init__(self, kind: int, namespace: str, id: int | None, data: Any, attachments: int) -> None:
        self.kind = kind
        self.namespace = namespace
        self.id = id
        self.data = data
        self.attachments = attachments


def read_packet(text: bytes, bounds: Bounds) -> Packet:
    """The packet in a message. Raises `ViolationError`."""
    if text[:2] == b"2/":
        # Nearly everything that comes is an EVENT for a namespace, and needs no pattern.
        comma = text.find(b",", 2, bounds.name_chars + 1)
        start = text.find(b"[", comma + 1, comma + 2 + _MOST_ID_DIGITS)
        if comma > 0 and start > 0:
            known = _plain_namespace(text[1:comma])
            number = text[comma + 1 : start]
            if known is not None and (not number or number.isdigit()):
                return Packet(EVENT, known, int(number) if number else None, _event(text[start:], EVENT, bounds), 0)
    head = _HEAD.match(text)
    if head is None:
        raise ViolationError("not a Socket.IO packet")
    kind = text[0] - 48
    _, count, place, digits = head.groups()
    namespace = _namespace(place, bounds) if place is not None else "/"
    attachments = int(count) if count is not None else 0
    if (count is not None) != (kind in (BINARY_EVENT, BINARY_ACK)):
        raise ViolationError("attachments where there are none")
    if count is not None and attachments == 0:
        raise ViolationError("no attachments where there are some")
    if attachments > bounds.attachments:
        raise ViolationError("too many attachments")
    if len(digits) > _MOST_ID_DIGITS:
        raise ViolationError("an ack id is too long")
    id = int(digits) if digits else None
    payload = text[head.end() :]
    if kind in (EVENT, BINARY_EVENT):
        return Packet(kind, namespace, id, _event(payload, kind, bounds), attachments)
    if kind in (ACK, BINARY_ACK):
        data = _strict(payload, bounds)
        if id is None or not isinstance(data, list):
            raise ViolationError("an ACK is an id and an array")
        return Packet(kind, namespace, id, data, attachments)
    if id is not None:
        raise ViolationError("an id where there is none")
    if kind == CONNECT:
        data = _strict(payload, bounds) if payload else None
        if payload and not isinstance(data, dict):
            raise ViolationError("the payload of a CONNECT is an object")
        return Packet(kind, namespace, None, data, 0)
    if kind == DISCONNECT and not payload:
        return Packet(kind, namespace, None, None, 0)
    raise ViolationError("a packet that clients do not send")


@lru_cache(256)
def _plain_namespace(place: bytes) -> str | None:
    """A namespace that needs no second look; None for any other."""
    return place.decode() if _PLAIN.fullmatch(place) else None


def _namespace(place: bytes, bounds: Bounds) -> str:
    if len(place) > bounds.name_chars:
        raise ViolationError("a namespace is too long")
    return place.partition(b"?")[0].decode()


def _strict(payload: bytes, bounds: Bounds) -> Any:
    try:
        return loads(payload, bounds)
    except (JsonError, NestingError) as error:
        raise ViolationError(str(error)) from None


def _event(payload: bytes, kind: int, bounds: Bounds) -> Any:
    if payload[:1] != b"[" and payload.lstrip(b" \t\r\n")[:1] != b"[":
        raise ViolationError("an EVENT is an array that begins with a name")
    try:
        data = loads(payload, bounds)
    except NestingError:
        return NESTED
    except JsonError:
        if kind == BINARY_EVENT:
            raise ViolationError("not JSON") from None
        return UNREADABLE
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise ViolationError("an EVENT is an array that begins with a name")
    if len(data[0]) > bounds.name_chars:
        raise ViolationError("an event name is too long")
    return data


class Attachments:
    """A packet that waits for its attachments. They count together with its text against the bound of a packet."""

    __slots__ = ("_bounds", "_bytes", "_parts", "packet")

    def __init__(self, packet: Packet, size: int, bounds: Bounds) -> None:
        self.packet = packet
        self._parts: list[bytes] = []
        self._bytes = size
        self._bounds = bounds

    def add(self, data: bytes) -> bool:
        """Take one; whether that was the last: the packet is whole then. Raises `ViolationError`."""
        self._bytes += len(data)
        if self._bytes > self._bounds.packet_bytes:
            raise ViolationError("the attachments of a packet are too large")
        self._parts.append(data)
        if len(self._parts) < self.packet.attachments:
            return False
        used: set[int] = set()
        self.packet.data = self._fill(self.packet.data, used)
        if len(used) != len(self._parts):
            raise ViolationError("an attachment has no place")
        return True

    @property
    def size(self) -> int:
        return self._bytes

    def _fill(self, data: Any, used: set[int]) -> Any:
        if isinstance(data, list):
            return [self._fill(each, used) for each in data]
        if not isinstance(data, dict):
            return data
        if data.get("_placeholder") is True:
            number = data.get("num")
            if type(number) is not int or not 0 <= number < len(self._parts):
                raise ViolationError("a placeholder stands for no attachment")
            used.add(number)
            return self._parts[number]
        return {key: self._fill(value, used) for key, value in data.items()}


_HOLE_MARK: Final = b"\x00"
"""Where something encoded has its place: JSON has no such byte, since strings escape it."""

_SHARED_BYTES: Final = 8192
"""What is smaller is copied: that costs less than writing it in pieces."""

_HOLE: Final = orjson.Fragment(_HOLE_MARK)


# -- writing ---------------------------------------------------------------------------------------------------------


def _place(namespace: str) -> bytes:
    return b"" if namespace == "/" else namespace.encode() + b","


def event_message(namespace: str, event: str, data: Any, *, keep: Keep = Keep.MUST, key: Hashable = None) -> Message:
    """An EVENT with one argument that holds no binary: what Hubbub's own namespaces send."""
    text = b"42" + _place(namespace) + _encode([event, data])
    return Message(text, keep=keep, key=key) if not _left_out.views else _around_encoded(text, keep=keep, key=key)


def ack_message(namespace: str, ack_id: int, data: Any) -> Message:
    """The ACK for an event that carried `ack_id`, with one argument that holds no binary."""
    text = b"43%b%d%b" % (_place(namespace), ack_id, _encode([data]))
    return Message(text) if not _left_out.views else _around_encoded(text)


class _LeftOut(threading.local):
    """What was left out of the JSON that is being written on this thread."""

    def __init__(self) -> None:
        self.views: list[memoryview] = []


_left_out: Final = _LeftOut()


def _encode(data: list[Any]) -> bytes:
    """JSON without what is encoded already. Raises `TypeError`, also for text that is not Unicode."""
    try:
        return orjson.dumps(data, default=_leave_out)
    except TypeError:
        _left_out.views = []
        raise


def _leave_out(value: Any) -> orjson.Fragment:
    """What is encoded already, as a `memoryview`, has its place kept. Raises `TypeError` for what JSON cannot hold."""
    if type(value) is not memoryview:
        raise TypeError(f"{type(value).__name__} has no place in JSON")
    _left_out.views.append(value)
    return _HOLE


def _around_encoded(text: bytes, *, keep: Keep = Keep.MUST, key: Hashable = None) -> Message:
    """A packet with what was left out of it in its places: copied, or as pieces where it is large."""
    views, _left_out.views = _left_out.views, []
    first, *rest = text.split(_HOLE_MARK)
    pieces: list[bytes | memoryview] = [first]
    for view, after in zip(views, rest, strict=True):
        pieces += (view, after)
    if sum(map(len, views)) < _SHARED_BYTES:
        return Message(b"".join(pieces), keep=keep, key=key)
    return Message(b"", keep=keep, key=key, pieces=pieces)


def data_message(
    kind: int, namespace: str, args: Sequence[Any], *, id: int | None = None, keep: Keep = Keep.MUST
) -> Message:
    """An EVENT or ACK with any arguments; `bytes` in them go as attachments. Raises `TypeError` for what JSON cannot
    hold, `ValueError` for what JavaScript clients do not take.
    """
    if kind == EVENT and args[0] in _REFUSED_NAMES:
        raise ValueError("an event with a reserved name")
    parts: list[bytes] = []
    data = _take_out(list(args), parts)
    if len(parts) > _MOST_ATTACHMENTS:
        raise ValueError(f"more than {_MOST_ATTACHMENTS} attachments")
    number = b"" if id is None else b"%d" % id
    if not parts:
        return Message(b"4%d%b%b%b" % (kind, _place(namespace), number, dumps(data)), keep=keep)
    binary = BINARY_EVENT if kind == EVENT else BINARY_ACK
    text = b"4%d%d-%b%b%b" % (binary, len(parts), _place(namespace), number, dumps(data))
    return Message(text, parts, keep=keep)


def _take_out(data: Any, parts: list[bytes]) -> Any:
    if isinstance(data, (bytes, bytearray, memoryview)):
        parts.append(bytes(data))
        return {"_placeholder": True, "num": len(parts) - 1}
    if isinstance(data, (list, tuple)):
        return [_take_out(each, parts) for each in data]
    if isinstance(data, dict):
        return {key: _take_out(value, parts) for key, value in data.items()}
    return data


def connect_message(namespace: str, sid: str) -> Message:
    return Message(b"40" + _place(namespace) + orjson.dumps({"sid": sid}))


def connect_error_message(namespace: str, data: Any) -> Message:
    """JavaScript clients show `message`, so data that is none is put there."""
    document = data if isinstance(data, dict) and "message" in data else {"message": str(data)}
    return Message(b"44" + _place(namespace) + orjson.dumps(document))


def disconnect_message(namespace: str) -> Message:
    return Message(b"41" + (namespace.encode() + b"," if namespace != "/" else b""))


class _LibraryJson:
    """The two functions of the `json` module that python-socketio calls, done by orjson."""

    @staticmethod
    def dumps(value: Any, separators: tuple[str, str] | None = None) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        return orjson.loads(text)


class LibraryPacket(sio_packet.Packet):  # type: ignore[misc]  # python-socketio has no annotations.
    """python-socketio's own packet, with orjson for this server alone: its `json=` would change the whole process."""

    json = _LibraryJson
