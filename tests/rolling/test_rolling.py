"""Every node is deployed anew while stock clients of every kind write, one node is killed, and Redis fails: nobody
loses, repeats or reorders anything.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.mongodb import MongoProcess
from tests.support.rolling_run import FULL, SMALL, Run, make_plan


class TestARollingRestart:
    """0 acknowledged messages lost, 0 twice, 0 out of order on any connection, and nobody returns in a crowd."""

    # The library's client leaves a connection behind when a handshake fails in the middle.
    @pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")
    async def test_a_seeded_run(
        self,
        rolling_seed: int,
        tmp_path: Path,
        mongo_server: MongoProcess,
        pytestconfig: pytest.Config,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def note(line: str) -> None:
            with capsys.disabled():
                print(f"\nrolling: seed {rolling_seed}: {line}", end="", flush=True)

        size = FULL if pytestconfig.getoption("--full") else SMALL
        run = Run(make_plan(rolling_seed), size, tmp_path, mongo_server, note=note)
        try:
            await run.run()
        finally:
            note(run.table())
        assert run.judge.violations == []
        assert run.judge.written_away > 0, "nobody wrote while away, so nothing was shown"
        assert run.judge.unknown, "no send had to be repeated, so nothing was shown"
