"""The servers that are compared, and how each is started."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt

from bench.native import built
from bench.processes import ROOT, Server, running

__all__ = ["C_LOOP", "HUBBUB", "NODE", "PAGES", "SECRET", "STOCK", "Target", "c_loop", "store_path", "targets"]

HUBBUB: Final = "Hubbub"
STOCK: Final = "stock python-socketio"
NODE: Final = "Node socket.io"
C_LOOP: Final = "C loop"
PAGES: Final = "page server"

SECRET: Final = "a secret that only benchmarks know, 32 bytes or more"
TOKEN_TTL_S: Final = 24 * 3600


@dataclass(frozen=True, eq=False)
class Target:
    """A server under load. `spread_event` is what sends a message to a room's subscribers."""

    server: Server
    is_hubbub: bool
    spread_event: str

    @property
    def name(self) -> str:
        return self.server.name

    def token(self, user: str) -> str | None:
        """A token of `user`, for the server that checks one."""
        if not self.is_hubbub:
            return None
        now = time.time()
        claims = {"sub": user, "name": user, "iat": now, "exp": now + TOKEN_TTL_S}
        return jwt.encode(claims, SECRET, algorithm="HS256")


@contextlib.asynccontextmanager
async def targets(names: list[str], *, data: Path) -> AsyncIterator[list[Target]]:
    """Run these servers side by side; Hubbub's database goes to `data`."""
    async with contextlib.AsyncExitStack() as stack:
        started = []
        for name in names:
            server = await stack.enter_async_context(_START[name](data))
            is_hubbub = name == HUBBUB
            started.append(Target(server, is_hubbub, "message:send" if is_hubbub else "room:spread"))
        yield started


def store_path(data: Path) -> Path:
    """Where Hubbub's database is, for who fills it before the service starts (seed.py)."""
    return data / "hubbub.db"


def c_loop(packet: str) -> contextlib.AbstractAsyncContextManager[Server]:
    """The floor of fan-out: writes this packet in a frame of its own to each connection (native/sendloop.c)."""
    return running(C_LOOP, [str(built("sendloop")), packet])


def _hubbub(data: Path) -> contextlib.AbstractAsyncContextManager[Server]:
    environ = {
        "PYTHONPATH": str(ROOT / "service"),
        "HUBBUB_STORE": f"sqlite:///{store_path(data)}",
        "HUBBUB_PORT": "0",
        "HUBBUB_LIMITS": "off",
        "HUBBUB_LOG_FORMAT": "json",
        "HUBBUB_JWT_SECRET": SECRET,
    }
    return running(HUBBUB, [sys.executable, "-m", "hubbub", "serve"], environ=environ)


def _stock(data: Path) -> contextlib.AbstractAsyncContextManager[Server]:
    return running(STOCK, [sys.executable, "-m", "bench.stock_server"])


def _node(data: Path) -> contextlib.AbstractAsyncContextManager[Server]:
    if not (ROOT / "bench/node/node_modules").is_dir():
        subprocess.run([".ci/node", "bench/node", "true"], cwd=ROOT, check=True)
    if shutil.which("node") is None:
        raise RuntimeError("Node is not on the PATH: `make bench` provides it where the machine does not")
    return running(NODE, ["node", "bench/node/server.mjs"])


def _pages(data: Path) -> contextlib.AbstractAsyncContextManager[Server]:
    return running(PAGES, [sys.executable, "-m", "bench.page_server"])


_START: Final = {HUBBUB: _hubbub, STOCK: _stock, NODE: _node, PAGES: _pages}
