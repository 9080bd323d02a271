"""How long a store in MongoDB waits for its server, in tests.

A service gives up on a call after five seconds. Beside other tests on a busy machine a server that is well takes longer
at times, so tests whose server answers in the end wait far longer. Those that want to see calls given up have stores
that give up soon; what is asked of such a store besides may be given up too, and has to be repeated until it has an
answer, as clients do (`insist`, `insist_on`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from hubbub.history import mongo, mongo_ledger, mongo_log, mongo_membership, mongo_server

__all__ = ["HASTY_MS", "calls_within", "patient_calls"]

PATIENT_MS: Final = 60_000
HASTY_MS: Final = 1000


@contextmanager
def calls_within(call_ms: int) -> Iterator[None]:
    """All calls of stores that are made meanwhile, while this holds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mongo_server, "CALL_TIMEOUT_MS", call_ms)
        patch.setattr(mongo_server, "CONNECT_TIMEOUT_MS", call_ms)
        patch.setattr(mongo_membership, "CALL_TIMEOUT_MS", call_ms)
        patch.setattr(mongo, "CALL_S", call_ms / 1000)
        patch.setattr(mongo, "CHECK_S", call_ms / 1000)
        patch.setattr(mongo_ledger, "CALL_S", call_ms / 1000)
        patch.setattr(mongo_log, "APPEND_S", call_ms / 1000)
        yield


@contextmanager
def patient_calls() -> Iterator[None]:
    with calls_within(PATIENT_MS):
        yield
