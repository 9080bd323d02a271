"""The pulse of a server, taken from outside: bare GETs on a connection that is kept alive, one after the other.

    python -m bench.pulse http://127.0.0.1:8000/healthz

A process of its own, so that it does not wait for what the load generator does. It takes the pulse until its standard
input ends, and then writes all that it saw, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from bench.processes import ROOT

__all__ = ["Pulse", "taken"]

PAUSE_S: Final = 0.001
"""Between an answer and the next request: what blocks the loop for long is found, and asking costs it little."""


@dataclass
class Pulse:
    """`beats`: when each request was sent (seconds of the monotonic clock), how long its answer took, and by how much
    the pause before it was too long, which is how late this machine runs its processes (both in milliseconds).
    """

    beats: list[tuple[float, float, float]] = field(default_factory=list)

    def between(self, begin: float, end: float) -> Pulse:
        """What overlaps this time."""
        return Pulse([beat for beat in self.beats if beat[0] <= end and beat[0] + beat[1] / 1000 >= begin])

    @property
    def worst_ms(self) -> float:
        return max((beat[1] for beat in self.beats), default=0.0)

    @property
    def worst_pause_ms(self) -> float:
        return max((beat[2] for beat in self.beats), default=0.0)

    def over(self, limit_ms: float) -> int:
        """How many answers took longer."""
        return sum(beat[1] > limit_ms for beat in self.beats)


@contextlib.asynccontextmanager
async def taken(url: str) -> AsyncIterator[Pulse]:
    """Take the pulse meanwhile; the beats are there at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.pulse", f"{url}/healthz"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    pulse = Pulse()
    try:
        yield pulse
        output, _ = await asyncio.wait_for(process.communicate(b""), 60)  # Closes its standard input.
        pulse.beats += [(at, took, late) for at, took, late in json.loads(output)]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _take(url: str) -> None:
    address = urlsplit(url)
    request = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    beats: list[tuple[float, float, float]] = []
    with socket.create_connection((address.hostname or "", address.port or 80)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        paused_s = PAUSE_S
        while not select.select([0], [], [], 0)[0]:
            sent = time.monotonic()
            connection.sendall(request)
            _read_answer(connection)
            answered = time.monotonic()
            beats.append((sent, (answered - sent) * 1000, (paused_s - PAUSE_S) * 1000))
            time.sleep(PAUSE_S)
            paused_s = time.monotonic() - answered
    json.dump(beats, sys.stdout)


def _read_answer(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(head.decode())
    if b"transfer-encoding: chunked" in head.lower():
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection)
        return
    size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < size:
        body += _more(connection)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data


if __name__ == "__main__":
    _take(sys.argv[1])
