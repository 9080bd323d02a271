"""`hubbub export`, `hubbub import` and `hubbub copy`: what they say, and with which status they end."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner, Result

from hubbub.cli import main
from hubbub.cli.bars import Bars
from hubbub.errors import StoreError
from hubbub.history.archive import Archive
from hubbub.history.base import Person
from hubbub.history.sqlite_archive import SqliteArchive
from hubbub.transfer.stores import archive_of
from tests.support.archives import Whole, counted_room, exported, fill, opened, sqlite_store
from tests.support.tree import PACKAGE

WHOLE = Whole([(Person("ann", "Ann"), 5)], [counted_room("a", 30), counted_room("b", 10)])
COUNTED = f"rooms 2, standings 6, people 1, messages {sum(len(room.messages) for room in WHOLE.rooms)}, SHA-256 "


class Machine:
    """A folder with stores, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = sqlite_store(folder / "hubbub.db")
        self.other = sqlite_store(folder / "other.db")
        self.file = str(folder / "export.jsonl")

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None, input: bytes | None = None) -> Result:
        others = {name: None for name in os.environ if name.startswith("HUBBUB_")}
        env = {**others, "HUBBUB_STORE": self.store, **(environ or {})}
        return CliRunner(env=env).invoke(main, [*arguments], input=input)

    def ok(self, *arguments: str, input: bytes | None = None) -> str:
        result = self.run(*arguments, input=input)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    def refusal(self, *arguments: str, status: int = 1) -> str:
        result = self.run(*arguments)
        assert result.exit_code == status, result.output
        return result.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    asyncio.run(fill(machine.store, WHOLE))
    return machine


class TestExport:
    def test_it_says_in_one_line_what_was_exported(self, machine: Machine) -> None:
        said = machine.ok("export", machine.file)
        assert said.startswith(f"Exported: {COUNTED}")
        assert said.endswith(" messages/s.\n")
        assert Path(machine.file).read_bytes().count(b"\n") > 40

    def test_standard_output_has_nothing_but_the_export(self, machine: Machine) -> None:
        machine.ok("export", machine.file)
        result = machine.run("export", "-")
        assert result.stdout_bytes.partition(b"\n")[2] == Path(machine.file).read_bytes().partition(b"\n")[2]
        assert result.stderr.startswith("Exported: ")

    def test_a_name_in_gz_is_compressed(self, machine: Machine) -> None:
        machine.ok("export", f"{machine.file}.gz")
        assert gzip.decompress(Path(f"{machine.file}.gz").read_bytes()).startswith(b'{"hubbub":"export"')

    def test_a_store_that_is_not_there_is_told(self, machine: Machine) -> None:
        refusal = machine.refusal("export", machine.file, "--store", machine.other)
        assert refusal == f"There is no database {machine.folder}/other.db.\n"
        assert not (machine.folder / "other.db").exists()

    def test_a_file_that_is_no_database_is_told(self, machine: Machine) -> None:
        (machine.folder / "other.db").write_bytes(b"hello" * 1000)
        assert "is not a database" in machine.refusal("export", machine.file, "--store", machine.other)

    def test_a_place_that_is_not_there_is_told(self, machine: Machine) -> None:
        place = str(machine.folder / "none" / "export.jsonl")
        assert machine.refusal("export", place) == f"{place}: No such file or directory.\n"


class TestImport:
    def test_it_says_in_one_line_that_all_is_there(self, machine: Machine) -> None:
        machine.ok("export", machine.file)
        said = machine.ok("import", machine.file, "--store", machine.other)
        assert said.startswith(f"Imported: {COUNTED}")
        assert "messages were written" in said
        assert said.endswith("verified, source and target are the same.\n")
        assert asyncio.run(exported(machine.other)) == asyncio.run(exported(machine.store))

    def test_it_may_come_from_standard_input(self, machine: Machine) -> None:
        machine.ok("export", machine.file)
        said = machine.ok("import", "-", "--store", machine.other, input=Path(machine.file).read_bytes())
        assert "are the same" in said

    def test_a_damaged_file_is_told_with_its_line(self, machine: Machine) -> None:
        machine.ok("export", machine.file)
        lines = Path(machine.file).read_bytes().splitlines(keepends=True)
        Path(machine.file).write_bytes(b"".join([*lines[:5], lines[5].replace(b'"', b"'"), *lines[6:]]))
        assert machine.refusal("import", machine.file, "--store", machine.other) == (
            "Line 6 of the export: it is not JSON.\n"
        )

    def test_a_room_that_differs_is_named_and_the_status_is_1(self, machine: Machine) -> None:
        machine.ok("export", machine.file)
        asyncio.run(fill(machine.other, Whole(rooms=[counted_room("a", 29)])))
        result = machine.run("import", machine.file, "--store", machine.other)
        assert result.exit_code == 1
        assert "The room room-a differs (" in result.stderr
        assert "--update brings it to the source's state" in result.stderr
        assert result.stdout.endswith("SOURCE AND TARGET DIFFER.\n")
        assert "are the same" in machine.ok("import", machine.file, "--update", "--store", machine.other)

    def test_a_file_that_is_not_there_is_told(self, machine: Machine) -> None:
        assert machine.refusal("import", "none.jsonl") == "none.jsonl: No such file or directory.\n"

    def test_other_rooms_are_left_and_counted(self, machine: Machine) -> None:
        machine.ok("export", machine.file)
        asyncio.run(fill(machine.other, Whole(rooms=[counted_room("y", 3), counted_room("z", 3)])))
        said = machine.ok("import", machine.file, "--store", machine.other)
        assert said.endswith("verified, all of the source is in the target, which has 2 other rooms.\n")


class TestCopy:
    def test_it_says_in_one_line_that_all_is_there(self, machine: Machine) -> None:
        said = machine.ok("copy", "--to", machine.other)
        assert said.startswith(f"Copied: {COUNTED}")
        assert said.endswith("verified, source and target are the same.\n")

    def test_both_ends_may_be_named_by_files(self, machine: Machine) -> None:
        for name, store in (("from", machine.store), ("to", machine.other)):
            (machine.folder / name).write_text(f"{store}\n")
        machine.ok("copy", "--from", f"@{machine.folder}/from", "--to", f"@{machine.folder}/to")
        assert asyncio.run(exported(machine.other)) == asyncio.run(exported(machine.store))

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--to", "nowhere"], "--to must be sqlite:///PATH"),
            (["--from", "nowhere", "--to", "sqlite:///x"], "--from must be sqlite:///PATH"),
            (["--to", "@none"], "--to names a file that cannot be read (No such file or directory)."),
            (["--from", "sqlite:///x", "--to", "sqlite:///x"], "--from and --to are the same store."),
            ([], "Missing option '--to'"),
        ],
    )
    def test_mistakes_are_told_with_status_2(self, machine: Machine, arguments: list[str], said: str) -> None:
        assert said in machine.refusal("copy", *arguments, status=2)

    def test_rooms_beside_are_told_and_taken_away_if_asked(self, machine: Machine) -> None:
        asyncio.run(fill(machine.other, Whole(rooms=[counted_room("z", 3)])))
        result = machine.run("copy", "--to", machine.other)
        assert result.exit_code == 0
        assert result.stdout.endswith("verified, all of the source is in the target, which has another room.\n")
        assert result.stderr == (
            "Rooms that the source does not have were left in the target. --delete takes them away.\n"
        )
        assert "are the same" in machine.ok("copy", "--to", machine.other, "--delete")

    def test_nothing_that_was_written_has_no_speed(self, machine: Machine) -> None:
        assert "/s; verified" in machine.ok("copy", "--to", machine.other)
        assert "; 0 messages were written; verified" in machine.ok("copy", "--to", machine.other)

    def test_a_source_that_has_moved_on_is_told_and_the_status_is_1(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Source(SqliteArchive):
            """A room is made in it as soon as it was read."""

            async def close(self) -> None:
                await super().close()
                await fill(machine.store, Whole(rooms=[counted_room("c", 1)]))

        def chosen(store: str) -> Archive:
            return Source(machine.folder / "hubbub.db") if store == machine.store else archive_of(store)

        monkeypatch.setattr("hubbub.cli.transfers.archive_of", chosen)
        result = machine.run("copy", "--to", machine.other)
        assert result.exit_code == 1
        assert result.stdout.endswith("verified, but the source HAS MOVED ON.\n")
        assert "copy again with --update" in result.stderr

    def test_a_server_that_does_not_answer_is_told_without_its_password(self, machine: Machine) -> None:
        address = "mongodb://ann:secret@127.0.0.1:9/chat?serverSelectionTimeoutMS=100"
        refusal = machine.refusal("copy", "--to", address)
        assert "127.0.0.1:9" in refusal
        assert "secret" not in refusal

    @pytest.mark.parametrize("address", ["mongodb://127.0.0.1:port/chat", "mongodb://127.0.0.1:9/chat?nonsense=1"])
    def test_what_is_wrong_with_an_address_shows_when_the_store_is_opened(self, machine: Machine, address: str) -> None:
        assert "cannot be used" in machine.refusal("copy", "--to", address)


class TestProcess:
    """The command as a process of its own."""

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
        return subprocess.Popen(
            [sys.executable, "-m", "hubbub", *arguments],
            env={**clean, "PYTHONPATH": str(PACKAGE.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def test_a_reader_that_goes_away_makes_no_traceback(self, machine: Machine) -> None:
        asyncio.run(fill(machine.store, Whole(rooms=[counted_room("c", 5000)]), page=1000))
        with self.start("export", "-", "--store", machine.store) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait() == 1

    def test_an_export_that_is_interrupted_leaves_no_file(self, machine: Machine) -> None:
        asyncio.run(fill(machine.store, Whole(rooms=[counted_room("c", 60_000)]), page=1000))
        file, part = Path(machine.file), Path(f"{machine.file}.part")
        while True:  # It may come to its end before the signal reaches it.
            with self.start("export", machine.file, "--store", machine.store) as process:
                assert process.stderr is not None
                while process.poll() is None and not part.exists():
                    time.sleep(0.002)  # A loop without a pause would keep the core that the export needs.
                process.send_signal(signal.SIGINT)
                said = process.stderr.read()
            assert not part.exists()
            if process.returncode:
                break
            file.unlink()
        assert (process.returncode, said) == (
            130,
            b"Interrupted. No file was left of it; the same command begins anew.\n",
        )
        assert not file.exists()

    def test_an_export_to_standard_output_that_is_interrupted_says_so(self, machine: Machine) -> None:
        asyncio.run(fill(machine.store, Whole(rooms=[counted_room("c", 5000)]), page=1000))
        with self.start("export", "-", "--store", machine.store) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(10)
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            said = process.stderr.read()
        assert process.returncode == 130
        assert said.startswith(b"Interrupted. What went to standard output is no whole export;")

    def test_an_import_that_is_interrupted_says_what_stands(self, machine: Machine) -> None:
        """Though it waits for more of standard input, which does not come."""
        machine.ok("export", machine.file)
        lines = Path(machine.file).read_bytes().splitlines(keepends=True)
        with self.start("import", "-", "--store", machine.other) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(b"".join(lines[:-3]))
            process.stdin.flush()
            asyncio.run(has_room(machine.other, "a"))
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
        assert process.returncode == 130
        assert said == b"Interrupted. What was written so far stays; the same command goes on where it stopped.\n"
        assert "are the same" in machine.ok("import", machine.file, "--store", machine.other)


async def has_room(store: str, uid: str) -> None:
    """Wait until a room has arrived."""
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreError):  # It is not there yet, or is being made.
                async with opened(store) as archive:
                    if await archive.room(uid) is not None:
                        return


class TestInterruptions:
    """What stands, by the step that was under way."""

    def test_an_export_that_was_written_already(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        class Source(SqliteArchive):
            async def close(self) -> None:
                await super().close()
                raise KeyboardInterrupt

        Path(machine.file).write_bytes(b"another")
        monkeypatch.setattr("hubbub.cli.transfers.archive_of", lambda store: Source(machine.folder / "hubbub.db"))
        refusal = machine.refusal("export", machine.file, status=130)
        assert refusal == f"Interrupted when {machine.file} was written already. It is whole.\n"
        assert Path(machine.file).read_bytes().startswith(b'{"hubbub":"export"')

    @pytest.mark.parametrize(
        ("step", "said"),
        [
            ("", "No message was written yet"),
            ("checking", "No message was written yet"),
            ("comparing", "No message was written yet"),
            ("importing", "What was written so far stays"),
            ("verifying", "What can be written is written"),
        ],
    )
    def test_an_import(self, machine: Machine, monkeypatch: pytest.MonkeyPatch, step: str, said: str) -> None:
        async def interrupted(file: Path, target: Archive, *, update: bool, progress: Bars) -> NoReturn:
            if step:
                progress.begin(step, 1)
            raise KeyboardInterrupt

        monkeypatch.setattr("hubbub.cli.transfers.import_history", interrupted)
        assert machine.refusal("import", machine.file, status=130).startswith(f"Interrupted. {said}")

    def test_a_copy(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        async def interrupted(
            source: Archive, target: Archive, *, update: bool, delete: bool, progress: Bars
        ) -> NoReturn:
            progress.begin("copying", 1)
            raise KeyboardInterrupt

        monkeypatch.setattr("hubbub.cli.transfers.copy_history", interrupted)
        assert "goes on where it stopped" in machine.refusal("copy", "--to", machine.other, status=130)
