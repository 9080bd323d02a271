"""When users were here last: in the store, with at most one write for each user in a minute."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hubbub.domain.presence.lastseen import AGAIN_S, EVERY_S, LastSeen
from hubbub.errors import HubbubError
from hubbub.history.base import Person
from tests.support.history import open_sqlite
from tests.support.house import Held, Interposed
from tests.support.presence import person
from tests.support.virtualtime import run_in_virtual_time


class Store:
    """Takes what is to be remembered, and the time at which it was. For a loop whose time is virtual."""

    def __init__(self) -> None:
        self.wrote: list[tuple[float, str, int]] = []
        self.failures = 0

    async def remember(self, who: Person, *, at: int) -> None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise HubbubError("unavailable")
        self.wrote.append((asyncio.get_running_loop().time(), who.id, at))


def last_seen(store: Store) -> LastSeen:
    return LastSeen(store)  # type: ignore[arg-type]


class TestWriting:
    def test_a_user_who_comes_and_goes_is_written_once_a_minute(self) -> None:
        async def come_and_go() -> None:
            store = Store()
            seen = last_seen(store)
            for at in range(300):
                seen.note(person("ada"), at)
                assert seen.at("ada") == at
                await asyncio.sleep(1)
            await asyncio.sleep(2 * EVERY_S)
            assert [(round(when), at) for when, _, at in store.wrote] == [
                (0, 0), (60, 59), (120, 119), (180, 179), (240, 239), (300, 299),
            ]  # fmt: skip
            assert (seen.at("ada"), seen._written, seen._unwritten) == (None, {"ada": store.wrote[-1][0]}, {})

        run_in_virtual_time(come_and_go())

    def test_users_do_not_wait_for_each_other(self) -> None:
        async def crowd() -> None:
            store = Store()
            seen = last_seen(store)
            seen.note(person("ada"), 1)
            await asyncio.sleep(1)
            seen.note(person("ada"), 2)
            await asyncio.sleep(1)
            for number in range(100):
                seen.note(person(f"u{number}"), number)
            await asyncio.sleep(1)
            assert len(store.wrote) == 101
            await asyncio.sleep(EVERY_S)
            assert len(store.wrote) == 102

        run_in_virtual_time(crowd())

    def test_a_name_that_was_written_counts(self) -> None:
        async def renamed() -> None:
            store = Store()
            seen = last_seen(store)
            seen.wrote("ada")
            seen.note(person("ada"), 5)
            await asyncio.sleep(EVERY_S - 1)
            assert store.wrote == []
            await asyncio.sleep(2)
            assert store.wrote == [(EVERY_S, "ada", 5)]

        run_in_virtual_time(renamed())

    def test_a_store_that_is_away_is_asked_again(self) -> None:
        async def away() -> None:
            store = Store()
            store.failures = 2
            seen = last_seen(store)
            seen.note(person("ada"), 5)
            await asyncio.sleep(1)
            assert seen.at("ada") == 5
            await asyncio.sleep(2 * AGAIN_S)
            assert [at for _, _, at in store.wrote] == [5]

        run_in_virtual_time(away())

    def test_a_fault_does_not_stop_the_others(self, capsys: pytest.CaptureFixture[str]) -> None:
        async def faulty() -> None:
            store = Store()
            seen = last_seen(store)
            remember, store.remember = store.remember, None  # type: ignore[assignment, method-assign]
            seen.note(person("ada"), 5)
            await asyncio.sleep(1)
            store.remember = remember  # type: ignore[method-assign]
            seen.note(person("bob"), 6)
            await asyncio.sleep(1)
            assert [user for _, user, _ in store.wrote] == ["bob"]

        run_in_virtual_time(faulty())
        assert "last_seen_lost" in capsys.readouterr().out + capsys.readouterr().err


class TestTheEnd:
    async def test_what_is_left_is_written(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            seen = LastSeen(history)
            seen.wrote("u0")
            for number in range(40):
                seen.note(person(f"u{number}"), number)
            await seen.close()
            people = await history.people([f"u{number}" for number in range(40)])
            assert {user: at for user, (_, at) in people.items()} == {f"u{number}": number for number in range(40)}

    async def test_a_store_that_does_not_answer_keeps_nobody(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            store = Interposed(history)
            held: Held = store.hold("remember")
            seen = LastSeen(store)
            seen.note(person("ada"), 5)
            await held.wait()
            async with asyncio.timeout(10):
                await seen.close()
            held.release()
