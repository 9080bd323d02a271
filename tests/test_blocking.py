"""What the tests do to notice a blocked event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from types import CodeType

import pytest

from tests.support.blocking import SERVICE, BlockingCallError


def as_service(code: str) -> CodeType:
    """Code that looks as if it stood in a module of the service."""
    return compile(code, f"{SERVICE}/invented.py", "exec")


class TestBlockingCalls:
    async def test_the_service_may_not_open_a_database_on_the_loop(self) -> None:
        with pytest.raises(BlockingCallError, match=r"sqlite3\.connect"):
            exec(as_service("sqlite3.connect(':memory:').close()"), {"sqlite3": sqlite3})

    async def test_the_service_may_block_on_another_thread(self) -> None:
        await asyncio.to_thread(exec, as_service("sqlite3.connect(':memory:').close()"), {"sqlite3": sqlite3})

    async def test_a_test_may_block(self) -> None:
        exec("sqlite3.connect(':memory:').close()", {"sqlite3": sqlite3})

    def test_the_service_may_block_where_no_loop_runs(self) -> None:
        exec(as_service("sqlite3.connect(':memory:').close()"), {"sqlite3": sqlite3})
