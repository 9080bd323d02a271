"""The SQLite adapter as a whole, with real disks, real crashes and real threads."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Change, Person
from hubbub.history.sqlite import SqliteHistory
from tests.support.history import (
    AMPLE_BYTES,
    all_messages,
    child,
    draft,
    editing,
    eventually,
    member,
    new_room,
    open_sqlite,
    say,
    written,
)

TALKER: Final = """
import asyncio, dataclasses, sys
from pathlib import Path
from hubbub.history.base import Change, Insert, Message, Person, Room, Sender, Standing
from hubbub.history.sqlite import SqliteHistory

async def main():
    history = SqliteHistory(Path(sys.argv[1]))
    await history.open()
    if await history.room("general") is None:
        room = Room("uid", "general", "public", "", "", 9, 0, 1)
        await history.create_room(room, [(Standing("ann", "owner"), Person("ann", "Ann"))])
    for n in range(10**9):
        key = f"{sys.argv[2]}-{n}"
        ann = Sender("ann", "Ann")
        ops = [Insert(Message("uid", 0, 0, f"{key}-{i}", ann, "x" * 500, None, (), n)) for i in range(5)]
        ops.append(Change("uid", 1, lambda message: dataclasses.replace(message, body=key)))
        for outcome in await history.commit(ops):
            print(outcome.message.key, outcome.claimed, flush=True)

asyncio.run(main())
"""

ONE_COMMIT: Final = """
import asyncio, os, sys
from pathlib import Path
from hubbub.history.base import Insert, Message, Person, Room, Sender, Standing
from hubbub.history.sqlite import SqliteHistory

async def main():
    history = SqliteHistory(Path(sys.argv[1]))
    await history.open()
    room = Room("uid", "general", "public", "", "", 9, 0, 1)
    await history.create_room(room, [(Standing("ann", "owner"), Person("ann", "Ann"))])
    for n in range(3):
        os.write(1, b"MARK begin\\n")
        await history.commit([Insert(Message("uid", 0, 0, f"k{n}", Sender("ann", "Ann"), "hello", None, (), 1))])
        os.write(1, b"MARK end\\n")
    await history.close()

asyncio.run(main())
"""

FULL_DISK: Final = """
import asyncio, resource, sys
from pathlib import Path
from hubbub.errors import HubbubError
from hubbub.history.base import Insert, Message, Person, Room, Sender, Standing, Written
from hubbub.history.sqlite import SqliteHistory

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def batch(name, size):
    ann = Sender("ann", "Ann")
    return [Insert(Message("uid", 0, 0, f"{name}{n}", ann, "x" * 4000, None, (), 1)) for n in range(size)]

async def main():
    path = Path(sys.argv[1])
    history = SqliteHistory(path)
    await history.open()
    room = Room("uid", "general", "public", "", "", 9, 0, 1)
    await history.create_room(room, [(Standing("ann", "owner"), Person("ann", "Ann"))])
    print([outcome.claimed for outcome in await history.commit(batch("before", 1))])
    limit(max(file.stat().st_size for file in path.parent.iterdir()) + 20_000)
    for _ in range(3):
        try:
            await history.commit(batch("full", 50))
        except HubbubError as error:
            print(error.code)
    print(await history.head("uid"), (await history.message("uid", 1)).key)
    limit(resource.RLIM_INFINITY)
    print([outcome.claimed for outcome in await history.commit(batch("full", 2))])
    await history.check()
    await history.close()

asyncio.run(main())
"""


class TestCrashes:
    @pytest.mark.parametrize("lines", [1, 40, 333])
    def test_what_was_acknowledged_survives_being_killed(self, tmp_path: Path, lines: int) -> None:
        acknowledged: dict[str, int] = {}
        for life in range(2):
            acknowledged |= self.live_and_die(tmp_path / "hubbub.db", f"life{life}", lines)
        asyncio.run(self.check(tmp_path / "hubbub.db", acknowledged))

    def live_and_die(self, path: Path, name: str, lines: int) -> dict[str, int]:
        """From key to revision, for the messages that a process acknowledged before it was killed."""
        with child(TALKER, path, name) as talker:
            assert talker.stdout is not None
            seen = [talker.stdout.readline() for _ in range(lines)]
            talker.send_signal(signal.SIGKILL)
            seen += talker.stdout.readlines()
        whole = [line.split() for line in seen if line.endswith("\n")]
        return {key: int(claimed) for key, claimed in whole if key.startswith(name)}

    async def check(self, path: Path, acknowledged: dict[str, int]) -> None:
        async with open_sqlite(path) as history:
            head = await history.head("uid")
            feed = await history.revisions("uid", after=0, upto=head)
            assert [rev for rev, _ in feed] == list(range(1, head + 1))
            messages = await all_messages(history, "uid")
            by_key = {message.key: message for message in messages.values()}
            assert len(by_key) == len(messages)
            assert acknowledged.keys() <= by_key.keys()
            firsts = {key: message.seq for key, message in by_key.items() if message.seq > 1}
            assert {key: firsts[key] for key in acknowledged if key in firsts} == {
                key: claimed for key, claimed in acknowledged.items() if key in firsts
            }
            repeats = [written(o) for o in await history.commit([draft("uid", key) for key in acknowledged])]
            assert all(repeat.duplicate for repeat in repeats)


@dataclass(frozen=True)
class Call:
    """One finished system call: by which thread, which, on which file."""

    thread: str
    name: str
    what: str


def calls_of(trace: str) -> Iterator[Call]:
    """The calls in the order in which they ended, from what strace wrote."""
    begun: dict[str, tuple[str, str]] = {}
    for line in trace.splitlines():
        thread, _, rest = line.partition(" ")
        rest = rest.strip()
        if (match := re.match(r"(\w+)\((.*) <unfinished \.\.\.>", rest)) is not None:
            begun[thread] = (match[1], match[2])
        elif re.match(r"<\.\.\. \w+ resumed>", rest) and thread in begun:
            yield Call(thread, *begun.pop(thread))
        elif (match := re.match(r"(\w+)\((.*)\) += ", rest)) is not None:
            yield Call(thread, match[1], match[2])


class TestDurability:
    def test_the_disk_is_synced_between_the_write_and_the_answer(self, tmp_path: Path) -> None:
        """Killing a process proves nothing about power; so the system calls themselves are looked at."""
        trace = tmp_path / "trace"
        strace = ["strace", "-f", "-y", "-s", "32", "-o", str(trace), "-e", "trace=write,pwrite64,fsync,fdatasync"]
        with child(ONE_COMMIT, tmp_path / "hubbub.db", under=strace) as process:
            said, _ = process.communicate(timeout=60)
        assert said.count("MARK end") == 3
        windows = self.windows([*calls_of(trace.read_text(errors="replace"))])
        assert len(windows) == 3
        for window in windows:
            writes = [i for i, call in enumerate(window) if self.is_on_log(call) and call.name == "pwrite64"]
            assert writes, "the batch was not written between the marks"
            writer = window[writes[-1]].thread
            synced = [
                call
                for call in window[writes[-1] :]
                if self.is_on_log(call) and call.name in ("fsync", "fdatasync") and call.thread == writer
            ]
            assert synced, "the log was not synced after the last write of the batch"

    def is_on_log(self, call: Call) -> bool:
        return "/hubbub.db-wal>" in call.what

    def windows(self, calls: list[Call]) -> list[list[Call]]:
        """What was called between each two marks."""
        windows: list[list[Call]] = []
        inside = False
        for call in calls:
            if "MARK begin" in call.what:
                windows.append([])
            inside = "MARK begin" in call.what or (inside and "MARK end" not in call.what)
            if inside:
                windows[-1].append(call)
        return windows


class TestTrouble:
    def test_a_full_disk_is_unavailable_until_there_is_space(self, tmp_path: Path) -> None:
        with child(FULL_DISK, tmp_path / "hubbub.db") as process:
            said, _ = process.communicate(timeout=60)
        assert said.splitlines() == ["[1]", *["unavailable"] * 3, "1 before0", "[2, 3]"]

    async def test_a_file_that_another_program_locks_is_unavailable_for_now(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            room = await new_room(history)
            other = sqlite3.connect(tmp_path / "hubbub.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(HubbubError, match="locked by another program") as caught:
                await history.commit([draft(room.uid, "a")])
            assert (caught.value.code, caught.value.retry_after) == ("unavailable", 1.0)
            with pytest.raises(HubbubError, match="unavailable"):
                await history.check()
            assert await history.head(room.uid) == 0
            other.execute("ROLLBACK")
            other.close()
            assert written((await history.commit([draft(room.uid, "a")]))[0]).claimed == 1
            await history.check()

    def test_a_damaged_page_harms_only_what_is_on_it(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        bad, good = asyncio.run(self.fill(path))
        content = bytearray(path.read_bytes())
        found = [match.start() for match in re.finditer(b"(BADPAGE){100}", content)]
        at = found[len(found) // 2] // 4096 * 4096
        content[at : at + 4096] = b"\xff" * 4096
        path.write_bytes(content)
        asyncio.run(self.check_damaged(path, bad, good))

    async def fill(self, path: Path) -> tuple[str, str]:
        async with open_sqlite(path) as history:
            bad, good = (await new_room(history)).uid, (await new_room(history)).uid
            await say(history, bad, *["whole" * 100] * 50, *["BADPAGE" * 100] * 50)
            await say(history, good, *["fine" * 100] * 100)
        return bad, good

    async def check_damaged(self, path: Path, bad: str, good: str) -> None:
        async with open_sqlite(path) as history:
            with pytest.raises(HubbubError) as caught:
                await all_messages(history, bad)
            assert (caught.value.code, caught.value.message) == ("unavailable", "A part of the store is damaged.")
            assert len(await all_messages(history, good)) == 100
            assert written((await history.commit([draft(good, "new")]))[0]).claimed == 101


class TestThreads:
    async def test_two_loops_share_a_history(self, tmp_path: Path) -> None:
        """Two threads with a loop each write to the same rooms as fast as they can."""
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            uids = [(await new_room(history)).uid for _ in range(2)]

            async def race(name: str) -> list[tuple[str, int]]:
                claimed = []
                for number in range(60):
                    ops = [draft(uid, f"{name}{number}") for uid in uids]
                    shared = draft(uids[0], f"shared{number}")
                    outcomes = [written(outcome) for outcome in await history.commit([*ops, shared])]
                    claimed += [(outcome.message.uid, outcome.claimed) for outcome in outcomes if outcome.claimed]
                return claimed

            one, two = await asyncio.gather(
                asyncio.to_thread(asyncio.run, race("one")), asyncio.to_thread(asyncio.run, race("two"))
            )
            for uid, expected in zip(uids, (180, 120), strict=True):
                claims = sorted(rev for room, rev in one + two if room == uid)
                assert claims == list(range(1, expected + 1))

    async def test_reads_go_on_while_a_write_is_held_up(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            room = await new_room(history)
            await say(history, room.uid, "hello")
            started, gate = threading.Event(), threading.Event()

            def hold(message: object) -> None:
                started.set()
                gate.wait(20)

            held = asyncio.ensure_future(history.commit([Change(room.uid, 1, hold)]))
            await asyncio.to_thread(started.wait, 20)
            assert (await history.page(room.uid, limit=1, max_bytes=AMPLE_BYTES)).head == 1
            assert await history.view(room.uid, "ann") is not None
            gate.set()
            await held

    async def test_a_thousand_joins_share_their_syncs(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            room = await new_room(history, member("ann", "owner"), capacity=2000)
            joins = [history.join(room.uid, Person(f"u{n}", "U"), at=1) for n in range(1000)]
            counts = sorted(count for _, _, count in await asyncio.gather(*joins))
            assert counts == list(range(2, 1002))


class TestDeletedRooms:
    def remains(self, path: Path) -> tuple[int, int, int]:
        connection = sqlite3.connect(path)
        counts = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
                  for name in ("messages", "changes", "graveyard")]  # fmt: skip
        connection.close()
        return counts[0], counts[1], counts[2]

    async def test_their_space_is_given_back_in_the_background(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            gone, stays = await new_room(history), await new_room(history)
            for room in (gone, stays):
                await say(history, room.uid, *["hello"] * 1200)
                await history.commit([editing(room.uid, seq, "x") for seq in range(1, 601)])
            await history.delete_room(gone.uid)
            await eventually(lambda: asyncio.to_thread(self.remains, path), (1200, 600, 0))
            assert len(await all_messages(history, stays.uid)) == 1200

    async def test_it_goes_on_after_a_restart(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            gone = await new_room(history)
            await say(history, gone.uid, *["hello"] * 1200)
            await history.delete_room(gone.uid)
        assert (await asyncio.to_thread(self.remains, path))[2] == 1
        async with open_sqlite(path):
            await eventually(lambda: asyncio.to_thread(self.remains, path), (0, 0, 0))


class TestOpening:
    async def test_closing_before_opening_is_harmless(self, tmp_path: Path) -> None:
        await SqliteHistory(tmp_path / "hubbub.db").close()

    async def test_closing_leaves_one_whole_file(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            await say(history, (await new_room(history)).uid, "hello")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["hubbub.db", "hubbub.db-lock", "hubbub.db-search"]

    async def test_all_rooms_share_one_lane(self, tmp_path: Path) -> None:
        history = SqliteHistory(tmp_path / "hubbub.db")
        assert history.lane("a") == history.lane("b")
