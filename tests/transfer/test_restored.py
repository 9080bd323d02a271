"""Which store an address is, for `hubbub restored`; both adapters are in the contract's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.errors import StoreError
from hubbub.transfer.restored import say_restored


class TestAddresses:
    async def test_a_path_may_begin_at_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(StoreError, match=f"There is no database {tmp_path}/hubbub.db"):
            await say_restored("sqlite:///~/hubbub.db")
