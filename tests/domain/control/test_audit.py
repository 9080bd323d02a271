"""The audit log has every action before it is done, and what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import astuple

import pytest

from hubbub.domain.control import audit as module
from hubbub.domain.control.audit import Auditor
from hubbub.errors import HubbubError
from tests.support.controllog import MemoryLedger
from tests.support.domain import ManualClock
from tests.support.virtualtime import run_in_virtual_time


class Desk:
    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.clock = ManualClock()
        self.auditor = Auditor(self.ledger, self.clock)

    @property
    def outcomes(self) -> list[str]:
        return [entry.outcome for entry in self.ledger.shared.audited.values()]

    async def act(self, error: BaseException | None = None) -> None:
        async with self.auditor.recording("root", "user:ban", {"user": "bob"}, "spam"):
            assert self.outcomes[-1] == "unknown"
            if error is not None:
                raise error


class TestRecording:
    async def test_what_was_done_is_ok(self) -> None:
        desk = Desk()
        await desk.act()
        (entry,) = desk.ledger.shared.audited.values()
        assert astuple(entry)[1:] == (desk.clock.now, "root", "user:ban", {"user": "bob"}, "spam", "ok")

    async def test_what_failed_has_its_code(self) -> None:
        desk = Desk()
        with pytest.raises(HubbubError, match="not_found"):
            await desk.act(HubbubError("not_found"))
        with pytest.raises(ZeroDivisionError):
            await desk.act(ZeroDivisionError())
        assert desk.outcomes == ["not_found", "internal"]

    async def test_what_cannot_be_recorded_is_not_done(self) -> None:
        desk = Desk()
        desk.ledger.away = True
        done = []
        with pytest.raises(HubbubError, match="unavailable"):
            async with desk.auditor.recording("root", "user:ban", {"user": "bob"}, "spam"):
                done.append(True)
        assert done == []

    async def test_of_what_was_cancelled_nobody_knows(self) -> None:
        desk = Desk()
        with pytest.raises(asyncio.CancelledError):
            await desk.act(asyncio.CancelledError())
        assert desk.outcomes == ["unknown"]

    def test_an_outcome_that_the_store_did_not_take_is_written_later_and_the_action_stands(self) -> None:
        async def test() -> None:
            desk = Desk()
            async with desk.auditor.recording("root", "user:ban", {"user": "bob"}, "spam"):
                desk.ledger.away = True
            assert desk.outcomes == ["unknown"]
            desk.ledger.away = False
            await asyncio.sleep(module.PAUSE_S[1])
            assert desk.outcomes == ["ok"]

        run_in_virtual_time(test())

    def test_it_is_given_up_in_the_end(self) -> None:
        async def test() -> None:
            desk = Desk()
            async with desk.auditor.recording("root", "user:ban", {"user": "bob"}, "spam"):
                desk.ledger.away = True
            await asyncio.sleep(3600)
            assert desk.ledger.calls.count("audit_end") == 1 + module.TRIES
            async with asyncio.timeout(1):
                await desk.auditor.close()

        run_in_virtual_time(test())

    def test_closing_ends_what_waits(self) -> None:
        async def test() -> None:
            desk = Desk()
            async with desk.auditor.recording("root", "user:ban", {"user": "bob"}, "spam"):
                desk.ledger.away = True
            await desk.auditor.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        run_in_virtual_time(test())


class TestRefusals:
    async def test_an_attempt_is_recorded_with_its_code(self) -> None:
        desk = Desk()
        await desk.auditor.refused("eve", "user:ban", {"user": "bob"}, "", HubbubError("forbidden"))
        assert desk.outcomes == ["forbidden"]

    async def test_it_does_not_matter_if_that_fails(self) -> None:
        desk = Desk()
        desk.ledger.away = True
        await desk.auditor.refused("eve", "user:ban", {"user": "bob"}, "", HubbubError("forbidden"))
        assert desk.outcomes == []
