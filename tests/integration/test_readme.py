"""The programs that the README and the tutorial show do what these say, against a service that is really running."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from tests.support.service import running_service, start_service
from tests.support.tree import ROOT

PROGRAMS: Final = ROOT / "docs" / "tutorial"
NODE_MODULES: Final = ROOT / "clients" / "web" / "node_modules"
"""Where the stock socket.io-client is installed anyway."""
TIMEOUT_S: Final = 30.0


class Program:
    """A program that runs for the time of a test, and what it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""

    async def wait_for_line(self, pattern: str) -> None:
        """Read on until a line matches; fails with what was printed if the program ends before, or takes too long."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while not re.search(pattern, self.output, re.MULTILINE):
                    line = await self.process.stdout.readline()
                    assert line, f"the program ended: {self.output}"
                    self.output += line.decode()
        except TimeoutError:
            raise AssertionError(f"no line matches {pattern}: {self.output}") from None


@contextlib.asynccontextmanager
async def running(*command: str | Path) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def install_javascript(folder: Path) -> Path:
    """The JavaScript program in a folder of its own, as the tutorial has it."""
    (folder / "node_modules").symlink_to(NODE_MODULES)
    return Path(shutil.copy(PROGRAMS / "hello.mjs", folder))


class TestTutorial:
    async def test_a_program_in_javascript_sends_a_message(self, tmp_path: Path) -> None:
        async with (
            running_service(tmp_path) as service,
            running("node", install_javascript(tmp_path), service.url) as hello,
        ):
            await hello.wait_for_line(r"^1\. Ada: Hello! Is the bot here\?$")
            await hello.wait_for_line(r"^stored as number 1$")

    async def test_the_bot_answers_the_program(self, tmp_path: Path) -> None:
        async with (
            running_service(tmp_path) as service,
            running(sys.executable, PROGRAMS / "greeter.py", service.url) as bot,
        ):
            await bot.wait_for_line("^listening$")
            async with running("node", install_javascript(tmp_path), service.url) as hello:
                await hello.wait_for_line(r"^2\. Greeter: Welcome, Ada!$")
            await bot.wait_for_line("^answered$")

    async def test_both_go_on_after_the_service_was_killed(self, tmp_path: Path) -> None:
        service = await start_service(tmp_path)
        try:
            async with running(sys.executable, PROGRAMS / "greeter.py", service.url) as bot:
                await bot.wait_for_line("^listening$")
                port = service.port
                await service.kill()
                service = await start_service(tmp_path, port=port)
                await bot.wait_for_line("^listening\n(.*\n)*listening$")
                async with running("node", install_javascript(tmp_path), service.url) as hello:
                    await hello.wait_for_line(r"^2\. Greeter: Welcome, Ada!$")
        finally:
            await service.kill()
