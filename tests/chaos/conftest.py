"""Which seeds are run, and on which stores."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.chaos_plan import StoreName

SEEDS: Final = range(1, 3)
SEEDS_FULL: Final = range(1, 51)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" not in metafunc.fixturenames:
        return
    one, store = metafunc.config.getoption("--seed"), metafunc.config.getoption("--store")
    seeds = [one] if one is not None else SEEDS_FULL if metafunc.config.getoption("--full") else SEEDS
    metafunc.parametrize("seed", seeds)
    metafunc.parametrize("store_name", [StoreName(store)] if store else list(StoreName), ids=str)
