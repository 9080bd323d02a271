"""The ledger in its file: what survives being killed, what is on the disk, and who waits for whom."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
from pathlib import Path
from typing import Final

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Ban, Beat, Change, Revocation
from hubbub.history.sqlite_file import MIGRATIONS, open_database
from hubbub.history.sqlite_rooms import create_room
from tests.support.control_log import entry, records_after
from tests.support.history import child, make_room, member, new_room, open_sqlite, say

WANDERER: Final = """
import asyncio, sys
from pathlib import Path
from hubbub.history.base import Entry, Person, Room, Standing
from hubbub.history.sqlite import SqliteHistory

async def wander(history, user):
    for n in range(10**9):
        if n % 2:
            await history.leave("uid", user)
        else:
            await history.join("uid", Person(user, "U"), at=n)
        (number,) = await history.ledger.append([Entry("notice", f"{sys.argv[2]}-{user}-{n}", n, {})])
        print(f"{sys.argv[2]}-{user}-{n}", number, flush=True)

async def main():
    history = SqliteHistory(Path(sys.argv[1]))
    await history.open()
    if await history.room("general") is None:
        room = Room("uid", "general", "public", "", "", 99, 0, 1)
        await history.create_room(room, [(Standing("ann", "owner"), Person("ann", "Ann"))])
    await asyncio.gather(*(wander(history, f"u{n}") for n in range(4)))

asyncio.run(main())
"""

STEPS: Final = """
import asyncio, os, sys
from pathlib import Path
from hubbub.history.base import Ban, Entry
from hubbub.history.sqlite import SqliteHistory

async def main():
    history = SqliteHistory(Path(sys.argv[1]))
    await history.open()
    ledger = history.ledger
    await ledger.append([Entry("notice", "first", 1, {})])
    for step in (
        lambda: ledger.append([Entry("notice", "k", 1, {})]),
        lambda: ledger.put_ban(Ban("bob", 9, "", "ann", 1, 1)),
        lambda: ledger.audit_begin(at=1, actor="ann", action="ban", target={}, reason=""),
        lambda: ledger.audit_end("1", "ok"),
    ):
        os.write(1, b"MARK begin\\n")
        await step()
        os.write(1, b"MARK end\\n")
    await history.close()

asyncio.run(main())
"""


class TestCrashes:
    @pytest.mark.parametrize("lines", [1, 50, 333])
    def test_what_was_told_is_there_and_each_change_has_its_record(self, tmp_path: Path, lines: int) -> None:
        told: dict[str, int] = {}
        for life in range(3):
            told |= self.live_and_die(tmp_path / "hubbub.db", f"life{life}", lines)
        assert len(told) >= 3 * lines
        asyncio.run(self.check(tmp_path / "hubbub.db", told))

    def live_and_die(self, path: Path, name: str, lines: int) -> dict[str, int]:
        """From key to number, for the records that a process was told of before it was killed."""
        with child(WANDERER, path, name) as process:
            assert process.stdout is not None
            seen = [process.stdout.readline() for _ in range(lines)]
            process.send_signal(signal.SIGKILL)
            seen += process.stdout.readlines()
        whole = [line.split() for line in seen if line.endswith("\n")]
        return {key: int(number) for key, number in whole}

    async def check(self, path: Path, told: dict[str, int]) -> None:
        async with open_sqlite(path) as history:
            records = await records_after(history.ledger, 0)  # Which finds no hole.
            assert await history.ledger.head() == len(records)
            assert told.items() <= {record.key: record.n for record in records}.items()
            roles: dict[str, str | None] = {}
            for record in records:
                if record.kind == "standing":
                    assert record.data["was"] == roles.get(record.data["user"])
                    roles[record.data["user"]] = record.data["role"]
            for user, role in roles.items():
                standing = await history.standing("uid", user)
                assert (standing.role if standing else None) == role


class TestDurability:
    def test_the_disk_is_synced_before_the_answer(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        strace = ["strace", "-f", "-y", "-s", "32", "-o", str(trace), "-e", "trace=write,pwrite64,fsync,fdatasync"]
        with child(STEPS, tmp_path / "hubbub.db", under=strace) as process:
            said, _ = process.communicate(timeout=60)
        assert said.count("MARK end") == 4
        windows = re.findall(r"MARK begin(.*?)MARK end", trace.read_text(errors="replace"), re.DOTALL)
        assert len(windows) == 4
        for window in windows:
            written = [match.end() for match in re.finditer(r"pwrite64\(\d+<[^>]*/hubbub\.db-wal>", window)]
            synced = [match.start() for match in re.finditer(r"f(?:data)?sync\(\d+<[^>]*/hubbub\.db-wal>", window)]
            assert written, "nothing was written between the marks"
            assert synced, "the log was not synced between the marks"
            assert synced[-1] > written[-1]


class TestReading:
    async def test_it_goes_on_while_a_write_is_held_up(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            ledger = history.ledger
            room = await new_room(history)
            await say(history, room.uid, "hello")
            await ledger.append([entry("a")])
            await ledger.put_ban(Ban("bob", 9, "", "ann", 1, 1))
            await ledger.audit_begin(at=1, actor="ann", action="ban", target={}, reason="")
            await ledger.beat(Beat("n", "o", 1))
            started, gate = threading.Event(), threading.Event()

            def hold(message: object) -> None:
                started.set()
                gate.wait(20)

            held = asyncio.ensure_future(history.commit([Change(room.uid, 1, hold)]))
            await asyncio.to_thread(started.wait, 20)
            pending = asyncio.ensure_future(ledger.append([entry("b")]))
            async with asyncio.timeout(10):
                assert await ledger.head() == 2
                assert len(await ledger.read(after=0, limit=9)) == 2
                assert len((await ledger.sanctions(now=1)).bans) == 1
                assert len((await ledger.audit(limit=1, cursor=None)).entries) == 1
                assert len(await ledger.beats(since=0)) == 1
                assert list(await history.seqs_of(room.uid, "ann", below=9, limit=9)) == [1]
                assert len(await history.rooms_at([room.uid])) == 1
                assert len(await history.standings_at([(room.uid, "ann")])) == 1
                await ledger.mend()
            assert not held.done()
            assert not pending.done()
            gate.set()
            await held
            assert await pending == [3]


class TestOlderFiles:
    def test_one_that_had_no_log_begins_with_an_empty_one(self, tmp_path: Path) -> None:
        steps = tmp_path / "steps"
        steps.mkdir()
        for step in MIGRATIONS.glob("*.sql"):
            if step.name < "0005":
                (steps / step.name).write_bytes(step.read_bytes())
        path = tmp_path / "hubbub.db"
        old = open_database(path, migrations=steps)
        room = create_room(old, make_room(), [member("ann", "owner")])
        old.close()
        asyncio.run(self.check(path, room.uid))

    async def check(self, path: Path, uid: str) -> None:
        async with open_sqlite(path) as history:
            assert await history.ledger.head() == 0
            await history.leave(uid, "ann")
            assert [record.data["user"] for record in await records_after(history.ledger, 0)] == ["ann"]


class TestSanctions:
    async def test_a_revocation_of_nobody_is_a_fault(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            for user, jti in ((None, None), ("bob", "j")):
                with pytest.raises(HubbubError, match="internal"):
                    await history.ledger.put_revocation(Revocation(user, jti, 1, "", "ann", 1, 1))
