"""Which seeds are run."""

from __future__ import annotations

from typing import Final

import pytest

SEEDS: Final = range(1, 2)
SEEDS_FULL: Final = range(1, 21)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rolling_seed" not in metafunc.fixturenames:
        return
    one = metafunc.config.getoption("--seed")
    metafunc.parametrize(
        "rolling_seed",
        [one] if one is not None else SEEDS_FULL if metafunc.config.getoption("--full") else SEEDS,
    )
