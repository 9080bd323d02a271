"""The fixture that all tests of the REST surface share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.restsites import RestSite, rest_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[RestSite]:
    async with rest_site(tmp_path) as made:
        yield made
