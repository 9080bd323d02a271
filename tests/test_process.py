"""`hubbub serve` as an operator meets it: what it says when something is wrong, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.support.chat import chat_client
from tests.support.service import running_service


async def serve(*arguments: str, **environ: str) -> tuple[int, str]:
    """Run `hubbub serve` to its end; returns its exit status and what it wrote."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HUBBUB_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hubbub", "serve", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=inherited | environ,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode()


class TestStart:
    """A start that cannot succeed ends with one sentence, before anything listens."""

    async def test_a_taken_port_is_named(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            status, output = await serve(HUBBUB_PORT=str(port), HUBBUB_STORE=f"sqlite:///{tmp_path}/h.db")
        assert status == 1
        assert f"Port {port} on 127.0.0.1 is taken" in output
        assert "Traceback" not in output

    async def test_too_few_files_are_named(self, tmp_path: Path) -> None:
        store = f"HUBBUB_STORE=sqlite:///{tmp_path}/h.db"
        command = f"ulimit -n 256; exec env HUBBUB_PORT=0 {store} {sys.executable} -m hubbub serve"
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 1
        assert "This process may open 256 files" in output.decode()
        assert "Traceback" not in output.decode()

    async def test_a_database_that_another_process_serves_is_left_alone(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as first:
            status, output = await serve(HUBBUB_PORT="0", HUBBUB_STORE=f"sqlite:///{tmp_path}/hubbub.db")
            assert status == 1
            assert f"in use by process {first.process.pid}" in output
            assert "Traceback" not in output

    @pytest.mark.parametrize("damage", ["text", "foreign", "newer"])
    async def test_a_file_that_is_no_database_of_ours_is_left_alone(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "hubbub.db"
        if damage == "text":
            path.write_text("This is no database, and it is longer than a header. " * 50)
        elif damage == "foreign":
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE theirs (x)")
            connection.close()
        else:
            async with running_service(tmp_path) as service:
                await service.stop()
            with sqlite3.connect(path) as connection:
                connection.execute("PRAGMA user_version = 999")
            connection.close()
        before = path.read_bytes()
        status, output = await serve(HUBBUB_PORT="0", HUBBUB_STORE=f"sqlite:///{path}")
        assert status == 1
        assert str(path) in output
        assert "Traceback" not in output
        assert path.read_bytes() == before

    async def test_a_directory_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        status, output = await serve(HUBBUB_PORT="0", HUBBUB_STORE=f"sqlite:///{tmp_path}/file/h.db")
        assert status == 1
        assert f"{tmp_path}/file" in output
        assert "Traceback" not in output


class TestRunning:
    """What is open, and how it ends."""

    async def test_it_says_where_it_is_open_and_how_to_stop_it(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as service:
            assert service.url.startswith("http://127.0.0.1:")
            assert "Ctrl-C" in service.log
            async with aiohttp.ClientSession() as session:
                for path in ("/healthz", "/readyz", "/metrics", "/"):
                    async with session.get(service.url + path) as response:
                        assert response.status == 200, path
            assert await service.stop() == 0

    @pytest.mark.parametrize("name", ["n7", None])
    async def test_each_line_of_the_log_has_the_name_that_the_node_was_given(
        self, tmp_path: Path, name: str | None
    ) -> None:
        given = {} if name is None else {"node": name}
        async with running_service(tmp_path, log_format="json", **given) as service:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                await alice.wait_for("hello")
            assert await service.stop() == 0
        lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
        assert "connection.closed" in {line["event"] for line in lines}
        assert {line.get("node") for line in lines} == {name}

    async def test_a_second_signal_ends_it_at_once(self, tmp_path: Path) -> None:
        async with running_service(tmp_path, drain_s=3600) as service:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                await alice.wait_for("hello")
                service.process.send_signal(signal.SIGINT)
                service.process.send_signal(signal.SIGINT)
                assert await asyncio.wait_for(service.process.wait(), 10) in (0, 1)
