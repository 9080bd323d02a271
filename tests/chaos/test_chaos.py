"""Random faults while sixty clients send, edit, delete, react and resume: no promise is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chaos_mongo import MongoStore
from tests.support.chaos_plan import StoreName, make_plan
from tests.support.chaos_run import Run
from tests.support.chaos_stores import ChaosStore, SqliteStore

CLIENTS = 60
ACKS = {StoreName.SQLITE: 1000, StoreName.MONGO: 400}
"""As many as take some ten seconds: the server that stands in for MongoDB is the slower one."""

FAULTS, FAULTS_FULL = 6, 10
FULL_TIMES = 3
TIMEOUT_S = 140.0
"""A tenth of it is enough on a machine that has time. The limit of `tests/conftest.py` is above it, and says less."""


def make_store(name: StoreName, directory: Path) -> ChaosStore:
    return SqliteStore(directory) if name is StoreName.SQLITE else MongoStore(directory)


class TestChaos:
    """0 acknowledged changes lost, 0 duplicates, 0 violations of the order, and every cut equals a fresh fetch."""

    # The library's client drops the connection of a handshake in whose middle the service was killed, without closing
    # it; that says nothing of the service.
    @pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
    async def test_a_seeded_run(
        self,
        seed: int,
        store_name: StoreName,
        tmp_path: Path,
        pytestconfig: pytest.Config,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        is_full = bool(pytestconfig.getoption("--full"))
        times = FULL_TIMES if is_full else 1
        plan = make_plan(
            seed,
            store_name,
            clients=CLIENTS,
            acks=ACKS[store_name] * times,
            faults=FAULTS_FULL if is_full else FAULTS,
        )
        options = f"--seed {seed} --store {store_name}"
        again = f'make chaos ARGS="{options}"' if is_full else f".venv/bin/python -m pytest tests/chaos {options}"
        store = make_store(store_name, tmp_path)
        summary = await Run(plan, tmp_path, store, timeout_s=TIMEOUT_S * times, again=again).run()
        with capsys.disabled():
            print(f"\nchaos: seed {seed} on {store_name}: {summary}", end="", flush=True)
