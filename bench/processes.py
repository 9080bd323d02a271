"""Server processes: pinned to a core, asked for the CPU time they have used, and ended for certain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "LOAD_CORE",
    "ROOT",
    "SERVER_CORE",
    "Server",
    "data_directory",
    "filesystem_of",
    "pin_load",
    "raise_descriptor_limit",
    "running",
]

ROOT: Final = Path(__file__).resolve().parent.parent

LOAD_CORE: Final = 0
SERVER_CORE: Final = 1

START_TIMEOUT_S: Final = 30.0
LET_GO_TIMEOUT_S: Final = 60.0
_OPEN: Final = re.compile(r"is open at (http://\S+)")


def raise_descriptor_limit() -> int:
    """Allow this process and its children as many descriptors as the system does; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def pin_load() -> None:
    """Keep this process, the load generator, off the servers' core. One core alone would measure the generator too.

    What it starts, servers and crowds, may have a descriptor for each of thousands of connections.
    """
    raise_descriptor_limit()
    if os.cpu_count() == 1:
        raise RuntimeError("two cores are needed: one for the server, one for the load")
    os.sched_setaffinity(0, {LOAD_CORE})


@dataclass(eq=False)
class Server:
    """A running server. Its CPU time counts all its threads, user and system."""

    name: str
    url: str
    process: asyncio.subprocess.Process

    def cpu_s(self) -> float:
        """CPU time used so far, in seconds: utime and stime of proc(5), but not rounded to ticks.

        Linux gives each process a CPU clock whose number is made of its id, as clock_getcpuclockid(3) does.
        """
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def memory_kb(self) -> int:
        """Resident memory, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+)", status)
        return int(match.group(1)) if match else 0

    def sockets(self) -> int:
        """How many sockets it has open."""
        directory, count = f"/proc/{self.process.pid}/fd", 0
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(f"{directory}/{name}").startswith("socket:")
        return count

    async def wait_sockets(self, most: int) -> None:
        """Wait until it has let all others go; raises `TimeoutError` after a minute."""
        async with asyncio.timeout(LET_GO_TIMEOUT_S):
            while self.sockets() > most:  # noqa: ASYNC110 (another process, which tells us nothing)
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(
    name: str, command: Sequence[str], *, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    """Run a server on its core from its announcement (`… is open at URL`) on; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *("taskset", "-c", str(SERVER_CORE), *command),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(environ or {})},
    )
    reader: asyncio.Task[None] | None = None
    try:
        url = await asyncio.wait_for(_announced(name, process), START_TIMEOUT_S)
        reader = asyncio.create_task(_discard(process))
        yield Server(name, url, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if reader is not None:
            await reader
        await process.wait()


async def _announced(name: str, process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    said: list[str] = []
    async for line in process.stdout:
        said.append(line.decode(errors="replace"))
        match = _OPEN.search(said[-1])
        if match:
            return match.group(1)
    raise RuntimeError(f"{name} did not start:\n{''.join(said)}")


async def _discard(process: asyncio.subprocess.Process) -> None:
    """A server must not block on a full pipe."""
    assert process.stdout is not None
    while await process.stdout.read(65536):
        pass


@contextlib.contextmanager
def data_directory(parent: Path) -> Iterator[Path]:
    """A new directory for databases, removed at the end. Refuses one in memory, where syncing costs nothing."""
    parent.mkdir(parents=True, exist_ok=True)
    kind = filesystem_of(parent)
    if kind in {"tmpfs", "ramfs"}:
        raise RuntimeError(f"{parent} is on {kind}: durable writes are measured on a disk")
    with tempfile.TemporaryDirectory(dir=parent, prefix="bench-") as name:
        yield Path(name)


def filesystem_of(path: Path) -> str:
    """The type of the file system that holds `path`, such as `ext4`."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, found = line.split()[:3]
        if path.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind
