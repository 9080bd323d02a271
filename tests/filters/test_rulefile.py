"""A rule file is read at the start and when it changes; a broken one changes nothing."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hubbub.errors import FilterError
from hubbub.filters import rulefile
from hubbub.filters.base import Draft, Room, Sender
from hubbub.filters.rulefile import RuleFile
from hubbub.filters.rules import Rules

DRAFT = Draft(Room("tea", "public", "Tea"), Sender("bob", "Bob", False, frozenset(), "member"), "bad and worse")


def rule(word: str) -> str:
    return f'[[rule]]\nwords = ["{word}"]\naction = "replace"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(rule("bad"))
    return path


def shown(rules: RuleFile) -> str:
    verdict = rules(DRAFT)
    return DRAFT.body if verdict is None else verdict.text


class TestRuleFile:
    async def test_it_is_read_again_when_it_has_changed(self, path: Path) -> None:
        rules = RuleFile(path)
        assert shown(rules) == "*** and worse"
        with capture_logs() as lines:
            await rules.look()
            assert lines == []
            path.write_text(rule("worse") + rule("another"))
            await rules.look()
        assert shown(rules) == "bad and *****"
        assert [(line["event"], line["rules"]) for line in lines] == [("filter.rules_read", 2)]

    async def test_so_it_is_when_another_file_takes_its_place(self, path: Path, tmp_path: Path) -> None:
        rules = RuleFile(path)
        other = tmp_path / "new.toml"
        other.write_text(rule("and"))
        os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        other.replace(path)
        await rules.look()
        assert shown(rules) == "bad *** worse"

    @pytest.mark.parametrize("data", [b"[[rule]]", b"\xff", None])
    async def test_a_broken_file_keeps_the_rules_and_is_told_once(self, path: Path, data: bytes | None) -> None:
        rules = RuleFile(path)
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        with capture_logs() as lines:
            for _ in range(3):
                await rules.look()
        assert shown(rules) == "*** and worse"
        assert [(line["event"], line["log_level"]) for line in lines] == [("filter.rules_kept", "error")]
        path.write_text(rule("worse"))
        await rules.look()
        assert shown(rules) == "bad and *****"

    async def test_a_pipe_in_its_place_keeps_the_rules_and_is_not_waited_for(self, path: Path) -> None:
        rules = RuleFile(path)
        path.unlink()
        os.mkfifo(path)
        with capture_logs() as lines:
            async with asyncio.timeout(20):
                await rules.look()
        assert shown(rules) == "*** and worse"
        assert [(line["event"], line["reason"]) for line in lines] == [("filter.rules_kept", "is no regular file")]

    async def test_a_read_that_hangs_is_told_and_tried_again(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rules = RuleFile(path, look_every_s=0.01, read_s=0.05, again_s=0.01)
        real, hung, go_on = rulefile._read, threading.Event(), threading.Event()

        def read(path: Path) -> Rules:
            if not hung.is_set():
                hung.set()
                go_on.wait(20)
            return real(path)

        monkeypatch.setattr(rulefile, "_read", read)
        path.write_text(rule("worse"))
        with capture_logs() as lines:
            rules.start()
            async with asyncio.timeout(20):
                while shown(rules) != "bad and *****":
                    await asyncio.sleep(0.01)
        await rules.close()
        go_on.set()
        told = [(line["event"], line.get("reason")) for line in lines]
        assert told[0] == ("filter.rules_kept", "was not read within 0.05 seconds")
        assert told[-1] == ("filter.rules_read", None)

    async def test_it_is_looked_at_by_itself(self, path: Path) -> None:
        rules = RuleFile(path, look_every_s=0.01)
        rules.start()
        path.write_text(rule("worse"))
        async with asyncio.timeout(20):
            while shown(rules) != "bad and *****":
                await asyncio.sleep(0.01)
        await rules.close()
        await rules.close()

    @pytest.mark.parametrize(
        ("data", "told"),
        [(None, "cannot be read: No such file"), (b"[[rule]]", "mistake in rule '1'"), (b"\xff", "is not UTF-8")],
    )
    def test_one_that_cannot_be_used_is_told_at_the_start(self, tmp_path: Path, data: bytes | None, told: str) -> None:
        path = tmp_path / "rules.toml"
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(FilterError, match=told) as caught:
            RuleFile(path)
        assert str(caught.value).startswith(f"The rule file {path} ")

    def test_a_pipe_is_told_at_the_start(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FilterError, match="is no regular file"):
            RuleFile(tmp_path / "pipe")

    def test_a_file_has_a_bounded_size(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(2**25)
        with pytest.raises(FilterError, match="has more than"):
            RuleFile(path)
