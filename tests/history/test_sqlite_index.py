"""The index file: it says how far it has come, and one that is not sound is made anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from hubbub.history.sqlite_index import (
    forget_slice,
    index_path,
    open_index,
    read_progress,
    remove_index,
    trim_slice,
    write_slice,
)
from hubbub.history.sqlite_rows import place_of

Row = tuple[int, int, str, str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return index_path(tmp_path / "hubbub.db")


@pytest.fixture
def index(path: Path) -> Iterator[sqlite3.Connection]:
    index = open_index(path)
    yield index
    index.close()


def row(no: int, seq: int, body: str, *, at: int = 1000) -> Row:
    return place_of(no, seq), at, f"r{no}", body


def write(index: sqlite3.Connection, *rows: Row, rev: int = 1) -> None:
    index.executemany(
        "INSERT INTO fresh (place, rev, at, scope, body, again) VALUES (?, 1, ?, ?, ?, 1)",
        rows,
    )
    write_slice(index, progress={rows[0][0] >> 36: ("uid", rev)})


def found(index: sqlite3.Connection, match: str) -> list[str]:
    """Bodies, newest first."""
    query = "SELECT d.body FROM fts f JOIN docs d ON d.id = f.rowid WHERE fts MATCH ? ORDER BY f.rowid DESC"
    return [body for (body,) in index.execute(query, (match,))]


def is_sound(index: sqlite3.Connection) -> bool:
    """Raises if the index does not agree with its documents."""
    index.execute("INSERT INTO fts (fts, rank) VALUES ('integrity-check', 1)")
    return True


class TestSlices:
    def test_progress_is_written_with_what_it_is_of(self, index: sqlite3.Connection) -> None:
        write(index, row(1, 1, "hello"), rev=7)
        assert read_progress(index) == {1: ("uid", 7)}
        index.execute("INSERT INTO fresh VALUES (?, 1, 0, 'r1', 'words', 0)", (place_of(1, 2),))
        with pytest.raises(sqlite3.IntegrityError):
            write_slice(index, progress={1: ("uid", 9), 2: (cast(str, None), 1)})
        assert read_progress(index) == {1: ("uid", 7)}
        assert found(index, "hello OR words") == ["hello"]
        assert not index.in_transaction
        assert index.execute("SELECT count(*) FROM fresh").fetchone() == (0,)

    def test_writing_a_message_again_replaces_it(self, index: sqlite3.Connection) -> None:
        write(index, row(1, 1, "old words"), row(1, 2, "other"))
        write(index, row(1, 1, "new words"))
        assert found(index, "words") == ["new words"]
        assert found(index, "old") == []
        assert is_sound(index)

    def test_an_empty_body_takes_a_message_out(self, index: sqlite3.Connection) -> None:
        write(index, row(1, 1, "hello"), row(1, 2, "hello"))
        write(index, row(1, 1, ""))
        assert found(index, "hello") == ["hello"]
        assert is_sound(index)

    def test_ids_ascend_by_time_also_within_a_millisecond(self, index: sqlite3.Connection) -> None:
        write(index, row(1, 1, "word a", at=5), row(1, 2, "word b", at=5), row(1, 3, "word c", at=4))
        write(index, row(2, 1, "word d", at=5), row(2, 2, "word e", at=6))
        write(index, row(1, 4, "word f", at=5))
        assert found(index, "word") == ["word e", "word f", "word d", "word b", "word a", "word c"]

    def test_a_room_is_forgotten_in_slices(self, index: sqlite3.Connection) -> None:
        write(index, *(row(1, seq, "gone") for seq in range(1, 6)))
        write(index, row(2, 1, "stays"))
        assert [forget_slice(index, 1, most=2) for _ in range(3)] == [True, True, False]
        assert read_progress(index) == {2: ("uid", 1)}
        assert found(index, "gone OR stays") == ["stays"]
        assert is_sound(index)

    def test_what_was_emptied_leaves_by_its_places(self, index: sqlite3.Connection) -> None:
        write(index, *(row(1, seq, f"word {seq}", at=9 - seq) for seq in range(1, 6)))
        write(index, row(2, 1, "word"))
        assert [trim_slice(index, 1, floor=3, most=2) for _ in range(2)] == [True, False]
        assert found(index, "word") == ["word", "word 4", "word 5"]
        assert is_sound(index)


class TestFile:
    def test_what_is_there_stays(self, path: Path, index: sqlite3.Connection) -> None:
        write(index, row(1, 1, "hello"))
        again = open_index(path)
        assert found(again, "hello") == ["hello"]
        again.close()

    @pytest.mark.parametrize("content", [b"", b"nonsense " * 1000, b"SQLite format 3\0" + b"\xff" * 4080])
    def test_what_is_no_index_is_made_anew(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        index = open_index(path)
        assert read_progress(index) == {}
        index.close()

    @pytest.mark.parametrize("pragma", ["user_version", "application_id"])
    def test_another_version_is_made_anew(self, path: Path, index: sqlite3.Connection, pragma: str) -> None:
        write(index, row(1, 1, "hello"))
        index.execute(f"PRAGMA {pragma} = 4711")
        index.close()
        again = open_index(path)
        assert read_progress(again) == {}
        again.close()

    def test_removing_leaves_nothing(self, path: Path, index: sqlite3.Connection) -> None:
        write(index, row(1, 1, "hello"))
        remove_index(path)
        remove_index(path)
        assert list(path.parent.iterdir()) == []
