"""A real redis-server as a process of its own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from tests.support.halting import halt

__all__ = ["RunningRedis", "running_redis"]

START_S = 20.0
_TRIES = 5


@dataclass(eq=False)
class RunningRedis:
    """A server on a port of its own; it keeps nothing on disk. `options` are further ones, as on its command line."""

    port: int
    directory: Path
    options: Sequence[str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and return when it answers. Raises `RuntimeError` if it ends by itself."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("redis-server is not installed: apt-get install redis-server")
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, *arguments, "--dir", str(self.directory), *self.options], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"redis-server ended: {(self.directory / 'redis.log').read_text()}")
            try:
                with Redis(port=self.port, socket_timeout=1) as client:
                    client.ping()
                return
            except AuthenticationError:
                return  # It wants a password, so it is there.
            except RedisError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError("redis-server does not answer")
            time.sleep(0.01)

    def kill(self) -> None:
        """`kill -9`, whatever state it is in."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """It answers nothing, and its connections stay."""
        assert self.process is not None
        halt(self.process.pid)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def empty(self) -> None:
        """Everything is gone from it."""
        with Redis(port=self.port) as client:
            client.flushall()


@contextlib.contextmanager
def running_redis(*options: str) -> Iterator[RunningRedis]:
    """A server, ended at the end. It cannot be told to choose a port, so one that was free a moment ago is tried."""
    with tempfile.TemporaryDirectory(prefix="hubbub-redis-") as directory:
        for number in range(_TRIES):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            running = RunningRedis(port, Path(directory), options)
            try:
                running.start()
            except RuntimeError:
                running.kill()
                if number == _TRIES - 1:
                    raise
            else:
                break
        try:
            yield running
        finally:
            running.kill()
