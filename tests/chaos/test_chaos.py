"""Random faults while sixty clients send, edit, delete, react and resume: no promise is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chaos_mongo import MongoStore
from tests.support.chaos_plan import StoreName, make_plan
from tests.support.chaos_run import Run
from tests.support.chaos_stores import ChaosStore, SqliteStore

CLIENTS = 60
ACKS, ACKS_FULL = 1500, 3000
FAULTS, FAULTS_FULL = 7, 10


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
        full = bool(pytestconfig.getoption("--full"))
        plan = make_plan(
            seed,
            store_name,
            clients=CLIENTS,
            acks=ACKS_FULL if full else ACKS,
            faults=FAULTS_FULL if full else FAULTS,
        )
        summary = await Run(plan, tmp_path, make_store(store_name, tmp_path)).run()
        with capsys.disabled():
            print(f"\nchaos: seed {seed} on {store_name}: {summary}", end="", flush=True)
