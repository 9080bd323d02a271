"""The real service as a process of its own, on a port that the system chose."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hubbub.pipeline.local import issuer_signer, local_signer
from hubbub.settings import load

__all__ = ["RunningService", "running_service", "start_service", "stop_traced"]

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
_OPEN = re.compile(r"is open at (http://\S+)")


@dataclass(eq=False)
class RunningService:
    """A service process. `output` is what it has written, both streams."""

    process: asyncio.subprocess.Process
    environ: dict[str, str]
    url: str = ""
    output: list[str] = field(default_factory=list)
    reader: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def log(self) -> str:
        return "".join(self.output)

    def token(
        self,
        *,
        user: str,
        name: str | None = None,
        roles: Sequence[str] = (),
        rooms: Sequence[str] | None = None,
        ttl_s: float = 3600,
    ) -> str:
        """A token that this service takes."""
        settings = load(self.environ, config=None, overrides={})
        signer = issuer_signer(settings) or local_signer(settings)
        return signer.mint(user=user, name=name, roles=roles, rooms=rooms, now_s=time.time(), ttl_s=ttl_s)

    async def stop(self) -> int:
        """Ask it to stop; returns its exit status."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self._ended()

    async def kill(self) -> None:
        """`kill -9`."""
        if self.process.returncode is None:
            self.process.kill()
        await self._ended()

    async def _ended(self) -> int:
        status = await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)
        if self.reader is not None:
            await self.reader
        return status


async def start_service(tmp_path: Path, *, prefix: Sequence[str] = (), **settings: object) -> RunningService:
    """Start a service whose store is in `tmp_path`; settings as `port=0, limits="off"`. `prefix` is a command to run it
    under. Returns when it listens; raises `RuntimeError` with its output if it ends instead.
    """
    values: dict[str, object] = {"port": 0, "store": f"sqlite:///{tmp_path / 'hubbub.db'}", "log_format": "json"}
    values.update(settings)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HUBBUB_")}
    environ.update({f"HUBBUB_{key.upper()}": str(value) for key, value in values.items()})
    process = await asyncio.create_subprocess_exec(
        *prefix,
        sys.executable,
        "-m",
        "hubbub",
        "serve",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environ,
    )
    service = RunningService(process, {key: value for key, value in environ.items() if key.startswith("HUBBUB_")})
    opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    service.reader = asyncio.create_task(_read(service, opened))
    try:
        service.url = await asyncio.wait_for(opened, START_TIMEOUT_S)
    except BaseException:
        await service.kill()
        raise
    return service


@contextlib.asynccontextmanager
async def running_service(
    tmp_path: Path, *, prefix: Sequence[str] = (), **settings: object
) -> AsyncIterator[RunningService]:
    """As `start_service`; the process is gone at the end, whatever happened."""
    service = await start_service(tmp_path, prefix=prefix, **settings)
    try:
        yield service
    finally:
        await service.kill()


async def stop_traced(service: RunningService) -> None:
    """strace ends by itself once the service did, and has then written everything; its child is told to stop."""
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    stopper = await asyncio.create_subprocess_exec("kill", "-TERM", *children)
    await stopper.wait()
    await asyncio.wait_for(service.process.wait(), 30)


async def _read(service: RunningService, opened: asyncio.Future[str]) -> None:
    assert service.process.stdout is not None
    async for line in service.process.stdout:
        text = line.decode(errors="replace")
        service.output.append(text)
        match = _OPEN.search(text)
        if match and not opened.done():
            opened.set_result(match.group(1))
    if not opened.done():
        opened.set_exception(RuntimeError(f"the service ended: {service.log}"))
