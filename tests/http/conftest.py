"""The fixture that all tests of HTTP share."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.sites import StartSite, site_starter


@pytest.fixture
def start_site(aiohttp_client: AiohttpClient, tmp_path: Path) -> StartSite:
    return site_starter(aiohttp_client, tmp_path)
