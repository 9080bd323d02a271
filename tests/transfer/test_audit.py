"""The audit log, read beside a service."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hubbub.errors import StoreError
from hubbub.history.base import Audited, History
from hubbub.transfer import audit
from hubbub.transfer.audit import audit_entries
from tests.support.history import open_sqlite
from tests.support.stores import open_history


async def act(history: History, count: int) -> None:
    """So many entries, a second apart; every second one has no outcome yet."""
    for number in range(count):
        entry = await history.ledger.audit_begin(
            at=1000 * number, actor="root", action="user:ban", target={"user": f"u{number}"}, reason="spam"
        )
        if number % 2 == 0:
            await history.ledger.audit_end(entry, "ok")


async def entries_of(store: str) -> list[Audited]:
    return [entry async for entry in audit_entries(store)]


class TestFiles:
    async def test_it_is_read_while_a_service_has_the_file(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            await act(history, 3)
            entries = await entries_of(f"sqlite:///{tmp_path}/hubbub.db")
            assert [(entry.target["user"], entry.outcome) for entry in entries] == [
                ("u2", "ok"),
                ("u1", "unknown"),
                ("u0", "ok"),
            ]
            await act(history, 1)
        assert len(await entries_of(f"sqlite:///{tmp_path}/hubbub.db")) == 4

    async def test_however_many_they_are(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit, "PAGE", 3)
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            await act(history, 10)
            entries = await entries_of(f"sqlite:///{tmp_path}/hubbub.db")
        assert [entry.at for entry in entries] == [1000 * number for number in reversed(range(10))]

    async def test_one_of_a_version_without_an_audit_log_has_no_entries(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db"):
            pass
        with sqlite3.connect(tmp_path / "hubbub.db") as connection:
            connection.execute("DROP TABLE audit")
        connection.close()
        assert await entries_of(f"sqlite:///{tmp_path}/hubbub.db") == []

    async def test_what_is_none_is_told_in_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"There is no database .*none\.db\."):
            await entries_of(f"sqlite:///{tmp_path}/none.db")
        (tmp_path / "letter").write_text("Dear Ada, this is no database at all, as you see." * 100)
        with pytest.raises(StoreError, match="letter"):
            await entries_of(f"sqlite:///{tmp_path}/letter")
        assert not list(tmp_path.glob("none*"))


class TestMongo:
    async def test_it_is_read_while_services_use_the_database(
        self, mongo_uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit, "PAGE", 2)
        async with open_history(mongo_uri) as history:
            await act(history, 5)
            entries = await entries_of(mongo_uri)
        assert [entry.target["user"] for entry in entries] == ["u4", "u3", "u2", "u1", "u0"]

    async def test_a_database_without_a_history_is_left_as_it_is(self, mongo_uri: str) -> None:
        with pytest.raises(StoreError, match="There is no history"):
            await entries_of(mongo_uri)
        with pytest.raises(StoreError, match="There is no history"):
            await entries_of(mongo_uri)
