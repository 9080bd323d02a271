"""`hubbub serve`: settings are told, mistakes are told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubbub.cli import main
from hubbub.version import VERSION
from tests.support.keys import SECRET, key_of, pem
from tests.support.tree import PACKAGE


def check(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    others = {name: None for name in os.environ if name.startswith("HUBBUB_")}
    return CliRunner(env={**others, **(environ or {})}).invoke(main, ["serve", "--check", *arguments])


def shown(result: Result) -> dict[str, str]:
    lines = (line.split(maxsplit=1) for line in result.stdout.splitlines())
    return {name: value for name, *rest in lines for value in rest}


class TestCheck:
    def test_it_prints_what_is_in_effect(self, tmp_path: Path) -> None:
        config = tmp_path / "hubbub.toml"
        config.write_text("port = 2\nlimits = false\n")
        result = check("--config", str(config), "--host", "::1", environ={"HUBBUB_MAX_BODY": "100"})
        assert result.exit_code == 0
        values = shown(result)
        assert values["HUBBUB_PORT"] == "2"
        assert values["HUBBUB_HOST"] == "::1"
        assert values["HUBBUB_MAX_BODY"] == "100"
        assert values["HUBBUB_LIMITS"] == "off"
        assert values["HUBBUB_GUESTS"] == "auto (on)"

    def test_the_secret_is_masked(self) -> None:
        result = check(environ={"HUBBUB_JWT_SECRET": SECRET})
        assert shown(result)["HUBBUB_JWT_SECRET"] == "********"
        assert shown(result)["HUBBUB_GUESTS"] == "auto (off)"
        assert SECRET not in result.output

    def test_a_key_is_shown_by_what_it_verifies(self) -> None:
        result = check("--jwt-public-key", pem(key_of("ES256")))
        assert shown(result)["HUBBUB_JWT_PUBLIC_KEY"] == "(a key for ES256)"

    def test_lists_are_shown_as_they_are_given(self) -> None:
        result = check(environ={"HUBBUB_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"})
        assert result.exit_code == 0
        assert "127.0.0.1/32,10.0.0.0/8" in result.stdout

    def test_what_is_dangerous_is_said_on_standard_error(self) -> None:
        result = check("--limits", "off", "--origins", "*")
        assert "HUBBUB_LIMITS is off" in result.stderr
        assert "HUBBUB_ORIGINS is *" in result.stderr

    def test_it_opens_and_makes_nothing(self, tmp_path: Path) -> None:
        assert check("--store", f"sqlite:///{tmp_path}/state/hubbub.db").exit_code == 0
        assert list(tmp_path.iterdir()) == []


class TestMistakes:
    def test_each_is_a_sentence_and_the_status_is_2(self) -> None:
        result = check("--port", "http", environ={"HUBBUB_GUESTS": "maybe", "HUBBUB_PROT": "1"})
        assert result.exit_code == 2
        assert result.stdout == ""
        assert set(result.stderr.splitlines()) == {
            "HUBBUB_PROT is not a setting; did you mean HUBBUB_PORT?",
            "HUBBUB_GUESTS must be auto, on or off.",
            "--port must be a whole number from 0 to 65535.",
        }

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        result = check("--config", str(tmp_path / "none.toml"))
        assert result.exit_code == 2
        assert "none.toml cannot be read: No such file or directory." in result.stderr

    def test_markup_in_a_mistake_is_shown_as_it_is(self) -> None:
        assert check(environ={"HUBBUB_[red]": "1"}).stderr.startswith("HUBBUB_[red] is not a setting")

    def test_there_is_no_flag_for_a_secret(self) -> None:
        result = check("--jwt-secret", SECRET)
        assert result.exit_code == 2
        assert "No such option" in result.stderr


class TestProcess:
    """The command as a process of its own."""

    @staticmethod
    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
        return subprocess.run(
            [sys.executable, "-m", "hubbub", *arguments],
            env={**clean, "PYTHONPATH": str(PACKAGE.parent), **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_the_version_is_printed(self) -> None:
        assert self.run("--version").stdout == f"hubbub {VERSION}\n"

    @pytest.mark.parametrize("arguments", [["serve"], ["serve", "--check"], ["token", "--user", "ada"]])
    def test_a_mistake_makes_no_traceback(self, arguments: list[str]) -> None:
        finished = self.run(*arguments, HUBBUB_PORT="x")
        assert (finished.returncode, finished.stdout) == (2, "")
        assert finished.stderr == "HUBBUB_PORT must be a whole number from 0 to 65535.\n"
