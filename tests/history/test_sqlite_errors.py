"""What SQLite's failures mean for those who asked."""

from __future__ import annotations

import sqlite3

import pytest

from hubbub.errors import HubbubError
from hubbub.history.sqlite_errors import as_hubbub_error, is_damage, sentence


def failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("it says something")
    error.sqlite_errorcode = code
    return error


class TestMeaning:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (sqlite3.SQLITE_FULL, "no space left"),
            (sqlite3.SQLITE_IOERR_FSYNC, "disk does not work"),
            (sqlite3.SQLITE_CORRUPT_INDEX, "damaged"),
            (sqlite3.SQLITE_BUSY, "locked by another program"),
            (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked by another program"),
            (sqlite3.SQLITE_READONLY, "can only be read"),
        ],
    )
    def test_trouble_of_the_machine_is_unavailable(self, code: int, words: str) -> None:
        error = as_hubbub_error(failure(code))
        assert (error.code, error.retry_after) == ("unavailable", 1.0)
        assert words in error.message

    @pytest.mark.parametrize("error", [failure(sqlite3.SQLITE_ERROR), sqlite3.ProgrammingError(), ZeroDivisionError()])
    def test_a_fault_of_ours_is_internal_and_in_the_log(
        self, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert sentence(error) is None
        told = as_hubbub_error(error)
        assert told.code == "internal"
        assert "says something" not in told.message
        assert [record.exc_info is not None for record in caplog.records] == [True]

    def test_an_error_of_the_caller_is_left_as_it_is(self) -> None:
        error = HubbubError("conflict")
        assert as_hubbub_error(error) is error

    def test_text_that_is_not_unicode_is_the_callers(self) -> None:
        with pytest.raises(UnicodeEncodeError) as caught:
            "\ud800".encode()
        assert as_hubbub_error(caught.value).code == "bad_request"

    def test_only_damage_is_damage(self) -> None:
        assert is_damage(failure(sqlite3.SQLITE_CORRUPT_VTAB))
        assert is_damage(failure(sqlite3.SQLITE_NOTADB))
        assert not is_damage(failure(sqlite3.SQLITE_FULL))
        assert not is_damage(ZeroDivisionError())

    def test_the_same_trouble_is_not_logged_a_hundred_times(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(100):
            as_hubbub_error(failure(sqlite3.SQLITE_PERM))
        assert len([record for record in caplog.records if record.levelname == "WARNING"]) <= 2
