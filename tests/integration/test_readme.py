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
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

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


class OneGo:
    """A service by script, which says everything over polling: an answer and the events behind it come in one body, so
    that the stock client has taken the events before any code behind an `await` runs. Who has sent a message is sent
    away, and asked what it has when it comes back.
    """

    PAGES: Final = ((1, 2, 4), (3, 4, 5))
    """What is in each page, and the event behind it; the second is what is missing of the first."""
    SENT: Final = 6
    AFTER: Final = 7

    def __init__(self) -> None:
        self.joined: list[dict[str, Any]] = []
        """The fields of each `room:join`."""
        self.came_back = asyncio.Event()
        self._bodies: asyncio.Queue[str] = asyncio.Queue()

    def server(self) -> TestServer:
        app = web.Application()
        app.router.add_post("/api/guest", self._guest)
        app.router.add_get("/socket.io/", self._poll)
        app.router.add_post("/socket.io/", self._take)
        return TestServer(app)

    async def _guest(self, request: web.Request) -> web.Response:
        return web.json_response({"token": "a token"}, status=201)

    async def _poll(self, request: web.Request) -> web.Response:
        if "sid" not in request.query:
            limits = {"pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 1_000_000}
            return web.Response(text="0" + orjson.dumps({"sid": "s", "upgrades": [], **limits}).decode())
        return web.Response(text=await self._bodies.get())

    async def _take(self, request: web.Request) -> web.Response:
        for packet in (await request.text()).split("\x1e"):
            if packet.startswith("40/chat,"):
                self._bodies.put_nowait('40/chat,{"sid": "c"}')
            elif packet.startswith("42/chat,"):
                number, bracket, rest = packet.removeprefix("42/chat,").partition("[")
                self._answer(int(number), *orjson.loads(bracket + rest))
        return web.Response(text="ok")

    def _answer(self, number: int, name: str, fields: dict[str, Any]) -> None:
        data: dict[str, Any] = {}
        events: list[int] = []
        if name == "room:join" and self.joined:
            self.joined.append(fields)
            self.came_back.set()
            data = {"room": {"epoch": "e"}, **self._page(head=self.AFTER)}
        elif name == "room:join":
            self.joined.append(fields)
            *page, event = self.PAGES[0]
            data, events = {"room": {"epoch": "e"}, **self._page(*page, head=3)}, [event]
        elif name == "history:sync":
            *page, event = self.PAGES[1]
            data, events = self._page(*page, head=4), [event]
        elif name == "message:send":
            data, events = {"message": self._message(self.SENT)}, [self.SENT, self.AFTER]
        ack = orjson.dumps([{"ok": True, "data": data}]).decode()
        packets = [f"43/chat,{number}{ack}"]
        packets += [f"42/chat,{orjson.dumps(['message', self._message(rev)]).decode()}" for rev in events]
        if name == "message:send":
            packets.append("1")  # This ends the session.
        self._bodies.put_nowait("\x1e".join(packets))

    def _page(self, *revs: int, head: int) -> dict[str, Any]:
        outcome = "partial" if revs and revs[-1] < head else "full"
        page = {"outcome": outcome, "messages": [self._message(rev) for rev in revs]}
        return {**page, "next": revs[-1] if revs else head, "head": head}

    def _message(self, rev: int) -> dict[str, Any]:
        return {"id": f"m{rev}", "seq": rev, "rev": rev, "sender": {"name": "Bob"}, "body": f"word {rev}"}


class TestTutorial:
    async def test_a_program_in_javascript_sends_a_message(self, tmp_path: Path) -> None:
        async with (
            running_service(tmp_path) as service,
            running("node", install_javascript(tmp_path), service.url) as hello,
        ):
            await hello.wait_for_line(r"^1\. Ada: Hello! Is the bot here\?$")
            await hello.wait_for_line(r"^stored as number 1$")

    async def test_the_program_counts_what_comes_in_one_go_with_the_answer_to_its_join(self, tmp_path: Path) -> None:
        script = OneGo()
        server = script.server()
        async with server, running("node", install_javascript(tmp_path), str(server.make_url(""))) as hello:
            await hello.wait_for_line("^7\\. Bob: word 7$")
            async with asyncio.timeout(TIMEOUT_S):
                await script.came_back.wait()
            assert re.findall(r"^(\d)\. ", hello.output, re.MULTILINE) == list("1234567")
        assert script.joined == [{"room": "lobby"}, {"room": "lobby", "since": script.AFTER, "epoch": "e"}]

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
