"""`hubbub restored`: what it says, and with which status it ends."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubbub.cli import main
from tests.support.history import open_sqlite


async def incarnation_of(path: Path) -> str:
    async with open_sqlite(path) as history:
        return history.incarnation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "hubbub.db"
    assert asyncio.run(incarnation_of(path)) == ""
    return path


def run(*arguments: str, **environ: str) -> Result:
    others = {name: None for name in os.environ if name.startswith("HUBBUB_")}
    return CliRunner(env={**others, **environ}).invoke(main, ["restored", *arguments])


class TestRestored:
    def test_it_says_which_incarnation_it_is_now(self, path: Path) -> None:
        result = run("--store", f"sqlite:///{path}")
        assert (result.exit_code, result.stderr) == (0, "")
        said = re.fullmatch(
            r"The store is incarnation (\w+) now: clients that come back fetch anew what they had of it\.\n",
            result.stdout,
        )
        assert said is not None
        assert asyncio.run(incarnation_of(path)) == said[1]

    def test_the_store_is_the_configured_one(self, path: Path) -> None:
        assert run(HUBBUB_STORE=f"sqlite:///{path}").exit_code == 0
        assert asyncio.run(incarnation_of(path)) != ""

    def test_a_store_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        result = run("--store", f"sqlite:///{tmp_path}/none.db")
        assert (result.exit_code, result.stderr) == (1, f"There is no database {tmp_path}/none.db.\n")

    def test_an_address_that_is_none_is_told(self) -> None:
        assert run("--store", "paper").exit_code == 2

    async def test_beside_a_service_it_is_refused(self, path: Path) -> None:
        async with open_sqlite(path) as history:
            result = await asyncio.to_thread(run, "--store", f"sqlite:///{path}")
            assert result.exit_code == 1
            assert result.stderr.endswith(f" is in use by process {os.getpid()}; one database serves one process.\n")
            assert history.incarnation == ""
