"""Many clients in a process of their own, so that they can vanish all at once: run as a program.

Connects as many WebSockets to a port as it is told, has each join a room, says so, and waits to be killed.
"""

from __future__ import annotations

import resource
import socket
import sys

__all__ = ["main"]

_ROOMS = 50
_REQUEST = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def _frame(text: bytes) -> bytes:
    return bytes((0x81, 0x80 | len(text))) + bytes(4) + text


def _read_until(peer: socket.socket, wanted: bytes) -> None:
    got = b""
    while wanted not in got:
        part = peer.recv(4096)
        if not part:
            raise EOFError(wanted)
        got += part


def main(port: int, count: int) -> None:
    """Returns when its standard input ends."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    peers: list[socket.socket] = []
    for _ in range(count):
        peers.append(socket.create_connection(("127.0.0.1", port)))
        peers[-1].sendall(_REQUEST + _frame(b"40"))
    for number, peer in enumerate(peers):
        _read_until(peer, b"40{")
        peer.sendall(_frame(b'420["join","room%d"]' % (number % _ROOMS)))
    for peer in peers:
        _read_until(peer, b"430[]")
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
