"""Socket.IO packets with orjson beneath, for this server alone.

python-socketio's `json=` argument changes the codec of the whole process; a packet class of our own (`serializer=`)
changes ours only. orjson refuses `NaN`, `Infinity` and lone surrogates, which the standard library lets through and
which make every JavaScript client that receives them drop its connection.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, Never

import orjson
from engineio import packet as eio_packet
from socketio import packet as sio_packet

__all__ = ["UNREADABLE", "Json", "Packet", "ack_packet", "event_packet"]


class _Unreadable:
    """Stands for a payload that is not JSON."""


UNREADABLE: Final = _Unreadable()
"""The data of an EVENT whose payload is not valid JSON. Its ack id was readable, so the client can be told."""


class Json:
    """The two functions of the `json` module that python-socketio calls, done by orjson."""

    @staticmethod
    def dumps(value: Any, separators: tuple[str, str] | None = None) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        return orjson.loads(text)


class _ForgivingJson(Json):
    """Reads what is not JSON as `UNREADABLE`, so that the packet around it survives."""

    @staticmethod
    def loads(text: str | bytes) -> Any:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return _read_slowly(text)


def _read_slowly(text: str | bytes) -> Any:
    """What orjson refuses and the standard library does not: lone surrogates (`JSON.stringify` writes them). Whoever
    checks the fields can then name the one that is wrong.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return UNREADABLE


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")


class Packet(sio_packet.Packet):  # type: ignore[misc]  # python-socketio has no annotations.
    """A Socket.IO packet without binary attachments: Hubbub's contract has none."""

    json = _ForgivingJson
    uses_binary_events = False


def event_packet(namespace: str, event: str, data: Any) -> eio_packet.Packet:
    """An EVENT packet, encoded once: the same object goes to every recipient."""
    encoded = f"2{namespace},{Json.dumps([event, data])}"
    return eio_packet.Packet(eio_packet.MESSAGE, encoded)


def ack_packet(namespace: str, ack_id: int, data: Any) -> eio_packet.Packet:
    """The ACK packet for an event that carried `ack_id`."""
    return eio_packet.Packet(eio_packet.MESSAGE, f"3{namespace},{ack_id}{Json.dumps([data])}")
