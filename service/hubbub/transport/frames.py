"""WebSocket frames (RFC 6455, section 5) for the side of a server: bytes in, frames out, and no I/O.

`read_frame` looks at a buffer and returns the frame that begins there, or how many bytes are missing. `text_frame`,
`binary_frame` and `close_frame` make what a server sends: never masked, never fragmented. `text_head` is the beginning
of a frame whose text is written in pieces.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from typing import Final, NamedTuple

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "FrameError",
    "accept_key",
    "binary_frame",
    "close_frame",
    "deflate",
    "inflate",
    "pong_frame",
    "read_close",
    "read_frame",
    "text_frame",
    "text_head",
]

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FIN: Final = 0x80
_RSV1: Final = 0x40
_MASKED: Final = 0x80
_LONGEST_CONTROL: Final = 125
_TAIL: Final = b"\x00\x00\xff\xff"
"""What RFC 7692, section 7.2.1, takes off the end of a compressed message."""


class FrameError(Exception):
    """The peer broke the protocol. `code` is the close code that says how (RFC 6455, section 7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class Frame(NamedTuple):
    """One frame, unmasked. `end` is where the next begins."""

    opcode: int
    fin: bool
    compressed: bool
    payload: bytes
    end: int


def accept_key(key: bytes) -> bytes:
    """`Sec-WebSocket-Accept` (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def read_frame(data: bytes, at: int, *, limit: int, deflate: bool) -> Frame | int:
    """The frame at this place of the buffer, or the number of bytes that are missing at least.

    Raises `FrameError` for what no client may send: unmasked, reserved bits or opcodes, long or fragmented control
    frames, lengths that are not minimal, and payloads of more than `limit` bytes (1009).
    """
    have = len(data) - at
    if have < 2:
        return 6 - have
    first, second = data[at], data[at + 1]
    size = second & 0x7F
    head = at + 2
    if not second & _MASKED:
        raise FrameError(1002, "a client's frame is not masked")
    if have < 6:
        return 6 - have
    if size == 126:
        size = int.from_bytes(data[head : head + 2], "big")
        head += 2
        if size < 126:
            raise FrameError(1002, "a length is not written in the shortest way")
    elif size == 127:
        if have < 14:
            return 14 - have
        size = int.from_bytes(data[head : head + 8], "big")
        head += 8
        if size < 65536:
            raise FrameError(1002, "a length is not written in the shortest way")
    opcode = first & 0x0F
    if first & 0x30 or (first & _RSV1 and not (deflate and opcode in (TEXT, BINARY))):
        raise FrameError(1002, "a reserved bit is set")
    if opcode >= CLOSE:
        if opcode > PONG:
            raise FrameError(1002, "an opcode is unknown")
        if size > _LONGEST_CONTROL or not first & _FIN:
            raise FrameError(1002, "a control frame is long or fragmented")
    elif opcode > BINARY:
        raise FrameError(1002, "an opcode is unknown")
    if size > limit:
        raise FrameError(1009, "a frame is larger than this server takes")
    body = head + 4
    end = body + size
    if end > len(data):
        return end - len(data)
    return Frame(opcode, first & _FIN != 0, first & _RSV1 != 0, _unmask(data, head, size), end)


def _unmask(data: bytes, head: int, size: int) -> bytes:
    """The payload behind a mask. One operation on two long integers is the fastest way the standard library has."""
    if not size:
        return b""
    body = head + 4
    mask = int.from_bytes((data[head:body] * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data[body : body + size], "little") ^ mask).to_bytes(size, "little")


def _head(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return struct.pack("!BBH", first, 126, size)
    return struct.pack("!BBQ", first, 127, size)


def _frame(first: int, payload: bytes) -> bytes:
    return _head(first, len(payload)) + payload


def text_head(size: int) -> bytes:
    """What precedes a text of so many bytes."""
    return _head(_FIN | TEXT, size)


def text_frame(payload: bytes, *, compressed: bool = False) -> bytes:
    return _frame(_FIN | TEXT | (_RSV1 if compressed else 0), payload)


def binary_frame(payload: bytes) -> bytes:
    return _frame(_FIN | BINARY, payload)


def pong_frame(payload: bytes) -> bytes:
    return _frame(_FIN | PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; a reason that is too long is cut, between characters."""
    text = reason.encode()[: _LONGEST_CONTROL - 2].decode(errors="ignore").encode()
    return _frame(_FIN | CLOSE, code.to_bytes(2, "big") + text)


def read_close(payload: bytes) -> int:
    """The code of a close frame; 1005 for none. Raises `FrameError` for one that may not be sent (section 7.4)."""
    if not payload:
        return 1005
    code = int.from_bytes(payload[:2], "big")
    known = 1000 <= code <= 1014 and code not in (1004, 1005, 1006)
    if len(payload) == 1 or not (known or 3000 <= code <= 4999):
        raise FrameError(1002, "a close code is not valid")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(1007, "a close reason is not UTF-8") from None
    return code


def deflate(payload: bytes) -> bytes:
    """Compress one message with no context before it, so that the result is the same for every peer (RFC 7692)."""
    packer = zlib.compressobj(level=1, wbits=-15, memLevel=8)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def inflate(payload: bytes, *, limit: int) -> bytes:
    """A message that a peer compressed with no context before it. Raises `FrameError` past `limit` bytes (1009)."""
    unpacker = zlib.decompressobj(wbits=-15)
    try:
        message = unpacker.decompress(payload + _TAIL, limit + 1)
    except zlib.error:
        raise FrameError(1007, "a compressed message cannot be read") from None
    if len(message) > limit:
        raise FrameError(1009, "a message is larger than this server takes")
    return message
