"""`hubbub audit`: what it shows, and with which status it ends."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubbub.cli import main
from hubbub.cli.audit import parse_since
from tests.support.history import open_sqlite

NOON = 1_767_268_800_000
"""2026-01-01 at noon, UTC."""


async def write(path: Path, *entries: tuple[int, str, Mapping[str, str], str, str | None]) -> None:
    async with open_sqlite(path) as history:
        for at, action, target, reason, outcome in entries:
            entry = await history.ledger.audit_begin(at=at, actor="root", action=action, target=target, reason=reason)
            if outcome is not None:
                await history.ledger.audit_end(entry, outcome)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "hubbub.db"
    asyncio.run(
        write(
            path,
            (NOON, "user:ban", {"user": "eve"}, "spam", "ok"),
            (NOON + 60_000, "room:delete", {"room": "tea"}, "", "forbidden"),
            (NOON + 120_000, "room:kick", {"room": "tea", "user": "bob"}, "late", None),
        )
    )
    return path


def run(path: Path, *arguments: str) -> Result:
    environ: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HUBBUB_")}
    runner = CliRunner(env={**environ, "HUBBUB_STORE": f"sqlite:///{path}", "COLUMNS": "120"})
    return runner.invoke(main, ["audit", *arguments])


class TestTable:
    def test_the_newest_comes_first_and_says_who_did_what_to_whom_why_and_with_what_outcome(self, path: Path) -> None:
        result = run(path)
        assert (result.exit_code, result.stderr) == (0, "")
        assert [line.split() for line in result.stdout.splitlines()] == [
            ["when", "who", "did", "to", "why", "outcome"],
            ["2026-01-01", "12:02:00", "root", "room:kick", "room:tea", "user:bob", "late", "unknown"],
            ["2026-01-01", "12:01:00", "root", "room:delete", "room:tea", "forbidden"],
            ["2026-01-01", "12:00:00", "root", "user:ban", "user:eve", "spam", "ok"],
        ]

    def test_nothing_that_was_written_moves_the_cursor_or_looks_like_markup(self, path: Path) -> None:
        asyncio.run(write(path, (NOON + 180_000, "notice:send", {}, "\x1b[2Jgone [red]alert[/red]\nsecond", "ok")))
        shown = run(path, "--limit", "1").stdout
        assert "\x1b" not in shown
        assert "\N{REPLACEMENT CHARACTER}[2Jgone [red]alert[/red]\N{REPLACEMENT CHARACTER}second" in shown

    def test_an_empty_log_is_told(self, tmp_path: Path) -> None:
        asyncio.run(write(tmp_path / "new.db"))
        assert run(tmp_path / "new.db").stdout == "Nothing is recorded.\n"
        assert run(tmp_path / "new.db", "--json").stdout == ""


class TestJson:
    def test_each_entry_is_a_line(self, path: Path) -> None:
        first, *others = map(json.loads, run(path, "--json").stdout.splitlines())
        assert first.pop("id")
        assert first == {
            "at": NOON + 120_000,
            "actor": "root",
            "action": "room:kick",
            "target": {"room": "tea", "user": "bob"},
            "reason": "late",
            "outcome": "unknown",
        }
        assert [other["outcome"] for other in others] == ["forbidden", "ok"]


class TestWhich:
    def test_only_the_newest_are_shown_and_it_is_said_that_there_are_more(self, path: Path) -> None:
        result = run(path, "--json", "--limit", "2")
        assert len(result.stdout.splitlines()) == 2
        assert result.stderr == "These are the newest 2; --limit 0 shows all.\n"
        for limit in ("0", "3"):
            whole = run(path, "--json", "--limit", limit)
            assert (len(whole.stdout.splitlines()), whole.stderr) == (3, "")

    def test_fifty_unless_it_is_said_from_when_on(self, path: Path) -> None:
        asyncio.run(write(path, *((NOON + 200_000 + n, "user:unban", {"user": "u"}, "", "ok") for n in range(60))))
        assert len(run(path, "--json").stdout.splitlines()) == 50
        assert len(run(path, "--json", "--since", "2026-01-01").stdout.splitlines()) == 63

    @pytest.mark.parametrize(
        ("since", "count"), [("2026-01-01", 3), ("2026-01-01T12:01:00", 2), ("2026-01-01T13:02:00+01:00", 1), ("1s", 0)]
    )
    def test_from_when_on(self, path: Path, since: str, count: int) -> None:
        assert len(run(path, "--json", "--since", since).stdout.splitlines()) == count

    def test_times(self) -> None:
        now_s = NOON / 1000
        assert parse_since("2h", now_s=now_s) == NOON - 7_200_000
        assert parse_since("2026-01-01T12:00:00Z", now_s=now_s) == NOON
        for text in ("", "soon", "0s", "2026-13-01", "9999999999d"):
            with pytest.raises(ValueError, match="Give a time ago"):
                parse_since(text, now_s=now_s)


class TestFailures:
    def test_what_is_no_time_is_told(self, path: Path) -> None:
        result = run(path, "--since", "soon")
        assert result.exit_code == 2
        assert result.stderr.startswith("--since soon is not a time. Give a time ago")

    def test_a_store_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        result = run(tmp_path / "none.db")
        assert (result.exit_code, result.stderr) == (1, f"There is no database {tmp_path}/none.db.\n")

    async def test_beside_a_service_it_works(self, path: Path) -> None:
        async with open_sqlite(path) as history:
            await history.ledger.audit_begin(at=NOON * 2, actor="root", action="x", target={}, reason="")
            result = await asyncio.to_thread(run, path, "--json")
        assert result.exit_code == 0
        assert len(result.stdout.splitlines()) == 4
