"""Redis' protocol, as far as a connection that only publishes or listens needs it (RESP 2).

Pure: bytes in, replies out. The driver's own way costs more than twenty microseconds for each message of a channel,
which is more than the delivery of that message to a client; here a read of the socket is taken apart in one go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["ProtocolError", "RedisError", "Reply", "RespReader", "command", "commands"]

LONGEST: Final = 64 * 1024 * 1024
"""Bytes of one reply. Nothing that is published here is nearly as large, so it is not Redis that says this."""

_MOST: Final = 1024 * 1024
_DEEPEST: Final = 8


class ProtocolError(Exception):
    """The peer does not speak RESP."""


class RedisError(Exception):
    """What Redis answers to a command that it does not carry out; a reply like others, not raised by the reader."""


Reply = bytes | int | None | RedisError | list["Reply"]
"""A bulk or simple string, a number, nothing, an error, or several replies."""


class RespReader:
    """Collects what comes from the socket."""

    def __init__(self) -> None:
        self._data = b""
        self._wanted = 0

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete now, in order. Raises `ProtocolError`; the connection is of no use then."""
        if self._data:
            data = self._data + data
        replies: list[Reply] = []
        at = 0
        # A large reply comes in many pieces, and is looked at again when it can be whole.
        if len(data) >= self._wanted:
            self._wanted = 0
            while at < len(data):
                found = self._parse(data, at, 0)
                if found is None:
                    break
                reply, at = found
                replies.append(reply)
        self._data = data[at:]
        if self._wanted:
            self._wanted -= at
        if len(self._data) > LONGEST:
            raise ProtocolError("a reply without an end")
        return replies

    def _parse(self, data: bytes, at: int, depth: int) -> tuple[Reply, int] | None:
        """The reply that begins at `at`, and where the next one does; None if it is not whole yet."""
        end = data.find(b"\r\n", at)
        if end < 0:
            if len(data) - at > 65_536:
                raise ProtocolError("a line without an end")
            return None
        kind, line, behind = data[at], data[at + 1 : end], end + 2
        if kind == 36:  # $
            return self._bulk(data, _number(line), behind)
        if kind == 42:  # *
            return self._several(data, _number(line), behind, depth)
        if kind == 58:  # :
            return _number(line), behind
        if kind == 43:  # +
            return line, behind
        if kind == 45:  # -
            return RedisError(line.decode(errors="replace")), behind
        raise ProtocolError("a reply of no known kind")

    def _bulk(self, data: bytes, length: int, at: int) -> tuple[Reply, int] | None:
        if length < 0:
            return None, at
        if length > LONGEST:
            raise ProtocolError("a reply that is too long")
        end = at + length
        if end + 2 > len(data):
            self._wanted = end + 2
            return None
        if data[end : end + 2] != b"\r\n":
            raise ProtocolError("a text that is longer than it says")
        return data[at:end], end + 2

    def _several(self, data: bytes, count: int, at: int, depth: int) -> tuple[Reply, int] | None:
        if count < 0:
            return None, at
        if count > _MOST or depth == _DEEPEST:
            raise ProtocolError("too many replies in one")
        replies: list[Reply] = []
        for _ in range(count):
            found = self._parse(data, at, depth + 1)
            if found is None:
                return None
            reply, at = found
            replies.append(reply)
        return replies, at


def command(*words: bytes) -> bytes:
    """One command as it is sent."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def commands(all_words: Iterable[Sequence[bytes]]) -> bytes:
    """Several, one behind the other."""
    return b"".join(command(*words) for words in all_words)


def _number(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        raise ProtocolError("a number that is none") from None
