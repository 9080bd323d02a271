"""A MongoDB for the tests: the one that `HUBBUB_TEST_MONGODB` names, else a SecantusDB of this process.

SecantusDB is a process of its own that speaks MongoDB's wire protocol and syncs on commit, so it can be killed, frozen
and started again on the same data and the same port. It starts in a fifth of a second and is shared by all tests of a
process; each of them has a database of its own.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from pymongo import MongoClient

from tests.support.halting import halt

__all__ = [
    "MongoProcess",
    "SharedMongo",
    "given_uri",
    "host_and_port",
    "own_mongo",
    "shared_mongo",
    "with_database",
]

VARIABLE: Final = "HUBBUB_TEST_MONGODB"
START_TIMEOUT_S: Final = 30.0
_LISTENS: Final = re.compile(r"listening on \S+:(\d+)$")

# The server ends with whoever started it, however that ended: its standard input is a pipe that only they hold.
_CODE: Final = """
import os, sys, threading

def end_with_the_tests():
    sys.stdin.read()
    os._exit(1)

threading.Thread(target=end_with_the_tests, daemon=True).start()
from secantus.cli import main
sys.exit(main(sys.argv[1:]))
"""


def given_uri() -> str | None:
    """The MongoDB that the tests were told to use, if there is one."""
    return os.environ.get(VARIABLE) or None


def with_database(uri: str, name: str) -> str:
    """The same address, with this database."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))


def host_and_port(uri: str) -> tuple[str, int]:
    """Where the first server of an address is."""
    first = urlsplit(uri).netloc.rpartition("@")[2].split(",")[0]
    host, _, port = first.partition(":")
    return host, int(port or 27017)


class MongoProcess:
    """A SecantusDB process with its data in `folder`. At the first start the system chooses the port, which the server
    tells; later starts are on the same port.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.port = 0
        self.output: list[str] = []

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it listens; raises `RuntimeError` with its output if it ends instead."""
        self._folder.mkdir(parents=True, exist_ok=True)
        arguments = {"--port": self.port, "--storage-path": self._folder, "--cache-size": "64M", "--log-level": "INFO"}
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _CODE,
                *(str(part) for pair in arguments.items() for part in pair),
                "--sync-on-commit",
            ],
            cwd=self._folder,
            env=os.environ | {"HOME": str(self._folder)},  # No configuration of the user is read.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        opened = threading.Event()
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process, opened), daemon=True)
        self._reader.start()
        if not opened.wait(START_TIMEOUT_S) or process.poll() is not None:
            self.kill()
            raise RuntimeError(f"SecantusDB did not start: {''.join(self.output)}")

    def _read(self, process: subprocess.Popen[str], opened: threading.Event) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if match := _LISTENS.search(line.rstrip()):
                self.port = int(match.group(1))
                opened.set()
            self.output = [*self.output[-99:], line]
        opened.set()

    def kill(self) -> None:
        """`kill -9`; also how it is ended in the end, since an orderly stop takes it two seconds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._reader is not None:
                self._reader.join()
            for stream in (self._process.stdin, self._process.stderr):
                if stream is not None:
                    stream.close()
            self._process = None

    def freeze(self) -> None:
        """Connections stay open and nothing is answered, as when a machine hangs."""
        halt(self.pid)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class SharedMongo:
    """The MongoDB that all tests of a process share."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a database that is not there yet. A server that is not ours is left as it was found; with ours
        its data goes, and dropping would take it seconds: it syncs each row that it deletes.
        """
        name = f"hubbub_test_{os.getpid()}_{secrets.token_hex(4)}"
        try:
            yield with_database(self.uri, name)
        finally:
            if given_uri():
                with MongoClient[dict[str, Any]](self.uri, serverSelectionTimeoutMS=10_000) as client:
                    client.drop_database(name)


@contextmanager
def own_mongo(folder: Path) -> Iterator[MongoProcess]:
    """A SecantusDB for whoever wants to kill it."""
    server = MongoProcess(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def shared_mongo(folder: Path) -> Iterator[SharedMongo]:
    """The given MongoDB, or one that is started, with its data in `folder`."""
    uri = given_uri()
    if uri:
        yield SharedMongo(uri)
        return
    with own_mongo(folder) as server:
        yield SharedMongo(server.uri)
