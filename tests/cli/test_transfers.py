"""`hubbub export`, `hubbub import` and `hubbub copy`: what they say, and with which status they end."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubbub.cli import main
from hubbub.history.base import Person
from tests.support.archives import Whole, counted_room, exported, fill, sqlite_store
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
        assert result.exit_code == 1
        assert "The target has 1 rooms that the source does not have." in result.stderr
        assert "are the same" in machine.ok("copy", "--to", machine.other, "--delete")

    def test_a_server_that_does_not_answer_is_told_without_its_password(self, machine: Machine) -> None:
        address = "mongodb://ann:secret@127.0.0.1:9/chat?serverSelectionTimeoutMS=100"
        refusal = machine.refusal("copy", "--to", address)
        assert "127.0.0.1:9" in refusal
        assert "secret" not in refusal


class TestProcess:
    """The command as a process of its own."""

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
        return subprocess.Popen(
            [sys.executable, "-m", "hubbub", *arguments],
            env={**clean, "PYTHONPATH": str(PACKAGE.parent)},
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
        os.mkfifo(machine.folder / "fifo.part")
        with self.start("export", str(machine.folder / "fifo"), "--store", machine.store) as process:
            assert process.stderr is not None
            process.send_signal(signal.SIGINT)
            process.wait()
        assert not (machine.folder / "fifo").exists()
