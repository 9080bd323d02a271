"""`make cluster` and `deploy/rolling-restart`, as somebody at a terminal uses them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import socketio

from deploy.cluster import planned
from tests.support.tree import ROOT

START_S: Final = 90.0
SCRIPT: Final = (sys.executable, str(ROOT / "deploy" / "cluster.py"))
RESTART: Final = ROOT / "deploy" / "rolling-restart"


def environ_of(directory: Path, **settings: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("HUBBUB_", "MAKE", "MFLAGS"))}
    named = {f"HUBBUB_{name.upper()}": value for name, value in settings.items()}
    return {**others, "XDG_STATE_HOME": str(directory / "state"), "HUBBUB_DRAIN_S": "4", **named}


class Terminal:
    """A program in front of a terminal of its own; `text` is what it has shown."""

    def __init__(self, directory: Path, command: Sequence[str], **settings: str) -> None:
        self.directory = directory
        self.text = ""
        self._terminal, end = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ_of(directory, **settings),
            stdin=end,
            stdout=end,
            stderr=end,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(end, termios.TIOCSCTTY, 0),
        )
        os.close(end)
        self._is_open = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # How a terminal says that nobody writes to it any more.
            while self._is_open:  # Nobody may be reading when it is closed: it would stay open until they are done.
                if select.select([self._terminal], [], [], 0.1)[0]:
                    self.text += os.read(self._terminal, 4096).decode(errors="replace").replace("\r\n", "\n")

    def press(self, key: bytes) -> None:
        os.write(self._terminal, key)

    def until(self, pattern: str, *, within_s: float = START_S) -> re.Match[str]:
        deadline = time.monotonic() + within_s
        while not (match := re.search(pattern, self.text, re.MULTILINE)):
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)
        return match

    def ended(self, *, within_s: float = 60) -> int:
        status = self.process.wait(within_s)
        self._reader.join(10)
        return status

    def close(self) -> None:
        """The terminal goes away, as when its window is closed; and whatever a failed test has left is ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGHUP)
            self.process.wait(60)
        for pid in processes_of(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.hang_up()

    def hang_up(self) -> None:
        """The terminal goes away, and whoever writes to it hears of an error."""
        if self._is_open:
            self._is_open = False
            self._reader.join(10)
            os.close(self._terminal)

    @property
    def url(self) -> str:
        return self.until(r"the page  (http://\S+)/$").group(1)

    def pid(self, name: str) -> int:
        return int((self.directory / "run" / f"{name}.pid").read_text())


@contextlib.contextmanager
def running_cluster(directory: Path, *, by_make: bool = False, **settings: str) -> Iterator[Terminal]:
    command = ["make", "--no-print-directory", "cluster", f"ARGS=--directory {directory}"]
    terminal = Terminal(directory, command if by_make else [*SCRIPT, "--directory", str(directory)], **settings)
    try:
        terminal.until(r"Ctrl-C stops everything\.$")
        yield terminal
    finally:
        terminal.close()


def processes_of(directory: Path) -> dict[int, str]:
    """Every process that works in the directory of a cluster, or was told of it."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # It ended meanwhile, or is somebody else's.
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(directory) in words or (process / "cwd").readlink().is_relative_to(directory):
                found[int(process.name)] = words
    return found


def until(condition: Callable[[], bool], *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Visitor:
    """A stock client that comes back by itself, and asks for what it missed."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.5)
        self.nodes: list[str] = []
        self.bodies: dict[int, str] = {}
        self._since: dict[str, Any] = {}
        self._joined = asyncio.Event()
        self._in_turn = asyncio.Lock()
        self.sio.on("hello", self._on_hello, namespace="/chat")
        self.sio.on("message", self._on_message, namespace="/chat")

    async def call(self, event: str, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self.sio.call(event, request, namespace="/chat", timeout=20)
        return answer

    async def _on_hello(self, document: Any) -> None:
        async with self._in_turn:
            self.nodes.append(document["node"])
            await self.call("room:create", {"id": "tea", "title": "Tea", "kind": "public"})
            page = (await self.call("room:join", {"room": "tea", **self._since}))["data"]
            epoch = page["room"]["epoch"]
            while True:
                for message in page["messages"]:
                    self.bodies[message["rev"]] = message["body"]
                self._since = {"since": page["next"], "epoch": epoch}
                if page["next"] >= page["head"]:
                    break
                page = (await self.call("history:sync", {"room": "tea", **self._since}))["data"]
            self._joined.set()

    async def _on_message(self, message: Any) -> None:
        async with self._in_turn:
            self.bodies[message["rev"]] = message["body"]
            if message["rev"] == self._since["since"] + 1:
                self._since["since"] += 1

    async def say(self, body: str) -> None:
        """Until it is acknowledged, always with the same key, as clients do."""
        async with asyncio.timeout(60):
            await self._joined.wait()
            while True:
                with contextlib.suppress(socketio.exceptions.SocketIOError):
                    answer = await self.call("message:send", {"room": "tea", "key": f"the key of {body}", "body": body})
                    if answer["ok"]:
                        return
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def visitor(url: str, name: str) -> AsyncIterator[Visitor]:
    one = Visitor()
    async with aiohttp.ClientSession() as http, http.post(f"{url}/api/guest", json={"name": name}) as answer:
        assert answer.status == 200
        token = (await answer.json())["token"]
    await one.sio.connect(url, namespaces=["/chat"], auth={"token": token}, wait_timeout=20)
    try:
        yield one
    finally:
        await one.sio.disconnect()


async def until_all_have(visitors: Sequence[Visitor], bodies: Sequence[str]) -> None:
    async with asyncio.timeout(30):
        while any(sorted(one.bodies.values()) != sorted(bodies) for one in visitors):
            await asyncio.sleep(0.05)
    assert all(sorted(one.bodies) == list(range(1, len(bodies) + 1)) for one in visitors)


async def restart(directory: Path, *arguments: str) -> tuple[int, str]:
    """What `deploy/rolling-restart` came to, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(str(RESTART), "--cluster", str(directory), "--pause", "4", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


class TestMakeCluster:
    def test_a_node_is_killed_its_client_goes_on_and_ctrl_c_ends_everything(self, tmp_path: Path) -> None:
        async def chat(url: str) -> None:
            async with visitor(url, "Ada") as ada, visitor(url, "Bob") as bob:
                await ada.say("one")
                await bob.say("two")
                [name] = ada.nodes
                os.kill(terminal.pid(name), signal.SIGKILL)
                await ada.say("three")
                assert ada.nodes[-1] != name
                await bob.say("four")
                await until_all_have([ada, bob], ["one", "two", "three", "four"])
                await asyncio.to_thread(terminal.until, rf"^hubbub: {name} was ended by SIGKILL; its log is {tmp_path}")
                others = sorted({"n1", "n2", "n3"} - {name})
                # Two nodes at once would be too many.
                said = (1, f"hubbub: {name} is not ready, so {others[0]} is left as it is\n")
                assert await restart(tmp_path, *others) == said
                status, _ = await restart(tmp_path, name)
                assert status == 0
                assert f"hubbub: {name} is started again\n" in terminal.text

        with running_cluster(tmp_path, by_make=True) as terminal:
            for address in re.findall(r"http://\S+", terminal.text):
                asyncio.run(answers(address))
            command = terminal.until(r"`(\S+ token --user me --role admin)`").group(1).split()
            token = subprocess.run(command, cwd=ROOT, env=environ_of(tmp_path), capture_output=True, check=True).stdout
            asyncio.run(answers(f"{terminal.url}/api/rooms", token=token.decode().strip()))
            asyncio.run(chat(terminal.url))
            started = processes_of(tmp_path)
            assert {terminal.pid(name) for name in ("n1", "n2", "n3", "nginx", "redis", "mongo")} <= set(started)
            terminal.press(b"\x03")
            terminal.ended()
            assert "hubbub: stopped\n" in terminal.text
            assert "killed" not in terminal.text.partition("stopping;")[2]
            assert processes_of(tmp_path) == {}
            assert list((tmp_path / "run").iterdir()) == []

    def test_it_is_killed_and_nothing_stays(self, tmp_path: Path) -> None:
        with running_cluster(tmp_path) as terminal:
            terminal.process.kill()
            terminal.ended()
            until(lambda: processes_of(tmp_path) == {})

    def test_its_window_is_closed_and_nothing_stays(self, tmp_path: Path) -> None:
        with running_cluster(tmp_path) as terminal:
            terminal.hang_up()
            assert terminal.process.wait(60) == 0
            assert processes_of(tmp_path) == {}
            assert "Traceback" not in (tmp_path / "n1.log").read_text()

    def test_what_it_was_not_asked_to_start_it_leaves_alone(self, tmp_path: Path, mongo_uri: str) -> None:
        with running_cluster(tmp_path, store=mongo_uri) as terminal:
            assert "MongoDB   as HUBBUB_STORE says\n" in terminal.text
            assert not (tmp_path / "run" / "mongo.pid").exists()
            second = subprocess.run(
                [*SCRIPT, "--directory", tmp_path], capture_output=True, text=True, env=environ_of(tmp_path), timeout=60
            )
            runs = f"hubbub: A cluster runs in {tmp_path} already, by process {terminal.process.pid}.\n"
            assert (second.returncode, second.stdout) == (1, runs)


class TestRollingRestart:
    def test_every_node_is_new_and_nothing_is_lost(self, tmp_path: Path) -> None:
        async def chat(url: str) -> None:
            async with contextlib.AsyncExitStack() as stack:
                visitors = [await stack.enter_async_context(visitor(url, f"User {n}")) for n in range(6)]
                bodies: list[str] = []
                restarting = asyncio.create_task(restart(tmp_path))
                while not restarting.done():
                    bodies.append(f"number {len(bodies)}")
                    await visitors[len(bodies) % 6].say(bodies[-1])
                    await asyncio.sleep(0.1)
                status, said = await restarting
                assert status == 0
                assert re.findall(r"^hubbub: (n\d) is back after \d+ s$", said, re.MULTILINE) == ["n1", "n2", "n3"]
                assert len(bodies) > 10
                await until_all_have(visitors, bodies)

        with running_cluster(tmp_path) as terminal:
            before = {terminal.pid(name) for name in ("n1", "n2", "n3")}
            asyncio.run(chat(terminal.url))
            assert before.isdisjoint({terminal.pid(name) for name in ("n1", "n2", "n3")})

    def test_it_stops_at_the_first_that_does_not_come_back(self, tmp_path: Path) -> None:
        with running_cluster(tmp_path) as terminal:
            before = {name: terminal.pid(name) for name in ("n2", "n3")}
            port = re.search(r"^n1 127\.0\.0\.1:(\d+)$", (tmp_path / "nodes.txt").read_text(), re.MULTILINE)
            assert port is not None
            os.kill(terminal.pid("n1"), signal.SIGKILL)
            terminal.until(r"^hubbub: n1 was ended")
            with socket.create_server(("127.0.0.1", int(port[1]))):  # So it cannot have it again.
                status, said = asyncio.run(restart(tmp_path, "--within", "6"))
            assert (status, said.splitlines()[-1]) == (
                1,
                "hubbub: n1 is not ready after 6 s; the others are left as they are",
            )
            assert {name: terminal.pid(name) for name in before} == before


class TestTheUnitsOfSystemd:
    """There is none in the tests: in its place stands a program that writes down what it is told."""

    def run(self, tmp_path: Path, *arguments: str, ready: int = 200) -> tuple[int, str, list[str]]:
        told = tmp_path / "told"
        told.touch()
        for name in ("systemctl", "ssh"):
            program = tmp_path / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> {told}\n')
            program.chmod(0o755)
        with serving(ready) as port:
            (tmp_path / "nodes.txt").write_text(f"# A comment.\nn1 127.0.0.1:{port}\nn2 127.0.0.1:{port}\n")
            done = subprocess.run(
                [RESTART, "--nodes", tmp_path / "nodes.txt", "--pause", "0", "--within", "1", *arguments],
                capture_output=True,
                text=True,
                env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
                timeout=60,
            )
        return done.returncode, done.stderr, told.read_text().splitlines()

    def test_each_is_stopped_and_started(self, tmp_path: Path) -> None:
        told = [f"systemctl {what} hubbub@{name}" for name in ("n1", "n2") for what in ("stop", "start")]
        assert self.run(tmp_path) == (0, "", told)

    def test_on_the_host_where_the_node_is(self, tmp_path: Path) -> None:
        told = [f"ssh -o BatchMode=yes 127.0.0.1 sudo -n systemctl {what} hubbub@n2" for what in ("stop", "start")]
        assert self.run(tmp_path, "--ssh", "n2") == (0, "", told)

    def test_nothing_is_stopped_while_another_is_not_ready(self, tmp_path: Path) -> None:
        said = "hubbub: n2 is not ready, so n1 is left as it is\n"
        assert self.run(tmp_path, ready=503) == (1, said, [])

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("n4",), "n4 is not in "),
            (("--within", "soon"), "--within soon is no number of seconds"),
            (("--fast",), "--fast is not known"),
            (("--pause",), "--pause needs a value"),
            (("--nodes", "/nowhere"), "/nowhere cannot be read"),
        ],
    )
    def test_it_says_what_it_does_not_understand(self, tmp_path: Path, arguments: Sequence[str], words: str) -> None:
        status, said, told = self.run(tmp_path, *arguments)
        assert status in (1, 2)
        assert words in said
        assert told == []


class TestPlan:
    def test_ports_that_are_taken_are_passed_over(self) -> None:
        first = planned({}, nodes=3)
        with socket.create_server(("127.0.0.1", first.nodes["n1"])):
            second = planned({}, nodes=3)
        assert first.front >= 8080
        assert first.nodes["n1"] not in {second.front, *second.nodes.values()}
        ports = [second.front, *second.nodes.values(), second.redis_port, second.mongo_port]
        assert len(set(ports)) == 6

    def test_what_is_given_is_used(self) -> None:
        plan = planned({"HUBBUB_STORE": "mongodb://db/chat", "HUBBUB_REDIS": "redis://there"}, nodes=1)
        assert (plan.store_url, plan.redis_url, list(plan.nodes)) == ("mongodb://db/chat", "redis://there", ["n1"])
        own = planned({}, nodes=1)
        assert (own.store_url, own.redis_url) == (
            f"mongodb://127.0.0.1:{own.mongo_port}/hubbub",
            f"redis://127.0.0.1:{own.redis_port}/0",
        )

    def test_the_front_door_is_on_loopback_unless_somebody_says_otherwise(self) -> None:
        assert planned({}, nodes=1).url.startswith("http://127.0.0.1:")
        assert planned({"HUBBUB_HOST": "::1"}, nodes=1).url.startswith("http://[::1]:")


class TestRefusals:
    def refusal(self, directory: Path, **settings: str) -> str:
        done = subprocess.run(
            [*SCRIPT, "--directory", directory],
            capture_output=True,
            text=True,
            env=environ_of(directory, **settings),
            timeout=60,
        )
        assert done.returncode == 1
        assert processes_of(directory) == {}
        return done.stdout

    def test_a_store_that_cannot_be_shared(self, tmp_path: Path) -> None:
        said = self.refusal(tmp_path, store="sqlite:///chat.db")
        assert said == "hubbub: HUBBUB_STORE is no MongoDB, and several nodes cannot share anything else.\n"

    @pytest.mark.parametrize("number", ["0", "100", "-1", "many"])
    def test_a_number_of_nodes_that_is_none(self, tmp_path: Path, number: str) -> None:
        command = [*SCRIPT, "--directory", str(tmp_path), f"--nodes={number}"]
        done = subprocess.run(command, capture_output=True, text=True, env=environ_of(tmp_path), timeout=60)
        assert done.returncode == 2
        assert f"{number} is no number from 1 to 99" in done.stderr

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said = self.refusal(tmp_path, port=str(port))
        assert said == f"hubbub: Port {port} of 127.0.0.1 is taken; choose another by HUBBUB_PORT.\n"

    def test_what_no_node_would_take(self, tmp_path: Path) -> None:
        said = self.refusal(tmp_path, port="http", jwt_secret="short", drain_s="soon")
        assert {"HUBBUB_PORT", "HUBBUB_JWT_SECRET", "HUBBUB_DRAIN_S"} <= set(re.findall(r"HUBBUB_\w+", said))
        assert "Traceback" not in said
        assert "short" not in said.replace("shorter", "")


@contextlib.contextmanager
def serving(status: int) -> Iterator[int]:
    """A port where every request has this answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


async def answers(address: str, *, token: str | None = None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as http, http.get(address, headers=headers) as answer:
        assert answer.status == 200, address
