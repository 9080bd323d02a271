"""Whole histories moved by the command, which is killed, beside a store that goes away; and rooms that are large."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from tests.support.archives import Whole, counted_room, exported, fill, sqlite_store
from tests.support.history import draft
from tests.support.mongodb import MongoProcess, with_database
from tests.support.stores import open_history
from tests.support.tree import PACKAGE

KILLS_MOST = 12
RUNS_MOST = 30
UNANSWERED = (b"The store does not answer.", b"can be used: ")

MEASURED = """
import re, sys
from hubbub.cli import main
try:
    main(sys.argv[1:])
finally:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
    print("peak kB", peak[1], file=sys.stderr)
"""


def environ() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    return {**clean, "PYTHONPATH": str(PACKAGE.parent)}


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "hubbub", *arguments],
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def went_unanswered(status: int, err: bytes) -> bool:
    """Whether a command gave up on a server that is well, but slow among other tests: it is run again then."""
    return status == 1 and any(text in err for text in UNANSWERED)


def finish(*arguments: str) -> tuple[int, str, str]:
    for _ in range(RUNS_MOST):
        with command(*arguments) as process:
            out, err = process.communicate()
        if not went_unanswered(process.returncode, err):
            break
    return process.returncode, out.decode(), err.decode()


class TestKilled:
    """`kill -9` or Ctrl-C, at a moment that chance chooses, over and over; then one run comes to its end."""

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
    @pytest.mark.parametrize("way", ["sqlite", "mongo"])
    def test_it_ends_at_the_same_result(
        self, way: str, number: signal.Signals, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        target = request.getfixturevalue("mongo_uri") if way == "mongo" else sqlite_store(tmp_path / "to.db")
        source, file = sqlite_store(tmp_path / "from.db"), str(tmp_path / "export.jsonl.gz")
        whole = Whole(rooms=[counted_room("a", 4000, floor=100), counted_room("b", 1500), counted_room("c", 1)])
        asyncio.run(fill(source, whole, page=1000))
        assert finish("export", file, "--store", source)[0] == 0
        chance = random.Random(way)
        kills = 0
        for _ in range(RUNS_MOST):
            with command("import", file, "--store", target) as process:
                timer = threading.Timer(chance.uniform(0.2, 0.7) * (1.2**kills), process.send_signal, [number])
                if kills < KILLS_MOST:
                    timer.start()
                out, err = process.communicate()
                timer.cancel()
            if process.returncode == 0:
                break
            if went_unanswered(process.returncode, err):
                continue
            # While the commands are loaded, Ctrl-C ends the process as the system does.
            assert process.returncode in (-number, 130 if number == signal.SIGINT else -number), err
            assert b"Traceback" not in err
            kills += 1
        assert b"are the same" in out
        assert kills > 0
        assert asyncio.run(exported(target)) == asyncio.run(exported(source))


class TestStoreAway:
    def test_a_copy_to_a_server_that_dies_is_gone_on_with(self, mongo_server: MongoProcess, tmp_path: Path) -> None:
        source, target = sqlite_store(tmp_path / "from.db"), with_database(mongo_server.uri, "chat")
        whole = Whole(rooms=[counted_room("a", 6000), counted_room("b", 50)])
        asyncio.run(fill(source, whole, page=1000))
        with command("copy", "--from", source, "--to", target) as process:
            asyncio.run(arrived(target))
            mongo_server.kill()
            out, err = process.communicate()
        assert process.returncode == 1
        assert out == b""
        assert b"run the command again to go on" in err
        assert b"Traceback" not in err
        mongo_server.start()
        status, said, _ = finish("copy", "--from", source, "--to", target)
        assert (status, "are the same" in said) == (0, True)
        written = re.search(r"; (\d+) messages were written", said)
        assert written is not None
        assert 0 < int(written[1]) < sum(len(room.messages) for room in whole.rooms)
        assert asyncio.run(exported(target)) == asyncio.run(exported(source))


async def arrived(target: str) -> None:
    """Wait until something of the first room has arrived."""
    async with AsyncMongoClient[dict[str, object]](target) as client:
        async with asyncio.timeout(60):
            while await client.get_default_database()["messages"].find_one({}) is None:
                await asyncio.sleep(0)  # Each look is a question to the server: it takes its time.


class TestBesideAService:
    @pytest.mark.parametrize("way", ["sqlite", "mongo"])
    async def test_an_export_while_messages_are_sent_can_be_imported(
        self, way: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        source = request.getfixturevalue("mongo_uri") if way == "mongo" else sqlite_store(tmp_path / "from.db")
        target, file = sqlite_store(tmp_path / "to.db"), str(tmp_path / "export.jsonl")
        await fill(source, Whole(rooms=[counted_room("a", 3000)]), page=1000)
        async with open_history(source.replace("sqlite:///", "sqlite://")) as history:
            exporting = asyncio.ensure_future(asyncio.to_thread(finish, "export", file, "--store", source))
            sent = 0
            while not exporting.done():
                await history.commit([draft("a", f"new{sent}-{number}") for number in range(20)])
                sent += 20
            assert (await exporting)[0] == 0
        assert sent > 0
        status, said, _ = await asyncio.to_thread(finish, "import", file, "--store", target)
        assert (status, "are the same" in said) == (0, True)
        async with open_history(target.replace("sqlite:///", "sqlite://")) as history:
            head = await history.head("a")
            assert 3000 <= head <= 3000 + sent
            assert [rev for rev, _ in await history.revisions("a", after=0, upto=head)] == list(range(1, head + 1))


class TestLargeRooms:
    """What a transfer holds in memory does not grow with the room. 100,000 messages with `--full`."""

    def peak_kb(self, *arguments: str) -> int:
        finished = subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments], env=environ(), capture_output=True, text=True, check=True
        )
        return int(finished.stderr.rsplit(maxsplit=1)[1])

    async def test_memory_is_bounded(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        count = 125_000 if request.config.getoption("--full") else 25_000
        peaks: list[list[int]] = []
        for name, size in (("small", 5000), ("large", count)):
            store, file = sqlite_store(tmp_path / f"{name}.db"), str(tmp_path / f"{name}.jsonl")
            await fill(store, Whole(rooms=[counted_room("a", size)]), page=1000)
            ways = (
                ("export", file, "--store", store),
                ("import", file, "--store", f"{store}.imported"),
                ("copy", "--from", store, "--to", f"{store}.copied"),
            )
            peaks.append([await asyncio.to_thread(self.peak_kb, *way) for way in ways])
        for small, large in zip(*peaks, strict=True):
            assert large < small + 10_000
