"""A file with the name that was asked for is never half an export."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from hubbub.errors import HubbubError
from hubbub.transfer.files import reading, writing
from hubbub.transfer.reader import Reader


@pytest.fixture(params=["a.jsonl", "a.jsonl.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


class TestWriting:
    def test_what_is_written_is_read(self, path: Path) -> None:
        with writing(path) as stream:
            stream.write(b"hello\n" * 100_000)
            assert not path.exists()
        with reading(path) as stream:
            assert stream.read() == b"hello\n" * 100_000
        assert [each.name for each in path.parent.iterdir()] == [path.name]
        assert (path.stat().st_size < 10_000) == (path.suffix == ".gz")

    def test_only_the_owner_may_read_it(self, path: Path) -> None:
        with writing(path):
            pass
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_one_that_fails_leaves_the_old_file(self, path: Path) -> None:
        path.write_bytes(b"old")

        def fail(stream: BinaryIO) -> None:
            stream.write(b"new")
            raise RuntimeError

        with pytest.raises(RuntimeError), writing(path) as stream:
            fail(stream)
        assert path.read_bytes() == b"old"
        assert [each.name for each in path.parent.iterdir()] == [path.name]

    def test_what_a_killed_one_left_is_no_hindrance(self, path: Path) -> None:
        path.with_name(f"{path.name}.part").write_bytes(b"x" * 1_000_000)
        with writing(path) as stream:
            stream.write(b"new\n")
        with reading(path) as stream:
            assert stream.read() == b"new\n"

    def test_two_do_not_write_to_one_file(self, path: Path) -> None:
        with writing(path) as stream:
            stream.write(b"first\n")
            with pytest.raises(HubbubError, match="Another export"), writing(path):
                pass
        with reading(path) as stream:
            assert stream.read() == b"first\n"

    def test_the_same_content_makes_the_same_file(self, path: Path) -> None:
        made = []
        for _ in range(2):
            with writing(path) as stream:
                stream.write(b"hello\n")
            made.append(path.read_bytes())
        assert made[0] == made[1]

    def test_a_folder_that_is_not_there_is_an_error_of_the_system(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError), writing(tmp_path / "none" / "a.jsonl"):
            pass


class TestCompressed:
    HEADER = b'{"hubbub":"export","format":1,"version":"0","made_at":1,"rooms":0,"people":0,"messages":0}\n'

    def refusal(self, path: Path, data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(HubbubError) as caught, reading(path) as stream:
            list(Reader(stream).pieces())
        assert caught.value.code == "bad_request"
        return caught.value.message

    def test_one_that_is_cut_off_is_told(self, tmp_path: Path) -> None:
        packed = gzip.compress(self.HEADER + b" " * 1000)
        assert "is cut off" in self.refusal(tmp_path / "a.gz", packed[:-20])

    def test_one_that_is_damaged_is_told(self, tmp_path: Path) -> None:
        packed = bytearray(gzip.compress(self.HEADER, compresslevel=0))
        packed[-6] ^= 1  # Of the checksum.
        assert "compressed data is damaged" in self.refusal(tmp_path / "a.gz", bytes(packed))

    def test_one_that_is_not_compressed_is_told(self, tmp_path: Path) -> None:
        assert "compressed data is damaged" in self.refusal(tmp_path / "a.gz", self.HEADER)


class TestStandardInput:
    @pytest.fixture
    def pipe(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[BinaryIO]:
        out, into = os.pipe()
        with open(out, encoding="utf-8") as stdin, open(into, "wb", buffering=0) as end:
            monkeypatch.setattr(sys, "stdin", stdin)
            yield cast(BinaryIO, end)

    def test_it_is_read_to_its_end(self, pipe: BinaryIO) -> None:
        with reading(Path("-")) as stream:
            pipe.write(b"one\ntwo\n")
            assert stream.readline() == b"one\n"
            pipe.close()
            assert stream.read() == b"two\n"

    def test_whoever_waits_for_more_is_sent_away_at_the_end_of_the_context(self, pipe: BinaryIO) -> None:
        found: list[bytes] = []
        with reading(Path("-")) as stream:
            pipe.write(b"one\n")
            assert stream.readline() == b"one\n"
            begun = threading.Event()

            def read() -> None:
                begun.set()
                with suppress(ValueError):  # It came so late that the stream is closed.
                    found.append(stream.read())

            thread = threading.Thread(target=read)
            thread.start()
            begun.wait()
        thread.join()
        assert found in ([b""], [])

    def test_one_that_is_no_file_is_read_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\n")))
        with reading(Path("-")) as stream:
            assert stream.read() == b"one\n"
