"""Out to a file, in from a file, across to another store."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.errors import HubbubError, StoreError
from hubbub.history.base import Person
from hubbub.history.sqlite_archive import SqliteArchive
from hubbub.transfer.moves import Outcome, copy_history, export_history, import_history
from hubbub.transfer.progress import NoProgress
from hubbub.transfer.stores import archive_of
from tests.support.archives import Whole, counted_room, exported, fill, opened, sqlite_store
from tests.support.history import draft, editing
from tests.support.stores import open_history

WHOLE = Whole([(Person("ann", "Ann"), 5)], [counted_room("a", 30, floor=4), counted_room("b", 10)])


class Stores:
    """Addresses of stores in a folder, and what is done with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.one, self.other = (sqlite_store(folder / f"{name}.db") for name in ("one", "other"))
        self.file = folder / "export.jsonl"

    def service(self, store: str) -> str:
        return store.replace("sqlite:///", "sqlite://")

    async def export(self, store: str) -> None:
        await export_history(archive_of(store), self.file, progress=NoProgress())

    async def load(self, store: str, *, update: bool = False) -> Outcome:
        return await import_history(self.file, archive_of(store), update=update, progress=NoProgress())

    async def copy(self, *, update: bool = False, delete: bool = False) -> Outcome:
        return await copy_history(
            archive_of(self.one), archive_of(self.other), update=update, delete=delete, progress=NoProgress()
        )


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path)


class Steps(NoProgress):
    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = {}

    def begin(self, step: str, total: int) -> None:
        self.counts[step] = [total, 0]

    def advance(self, count: int) -> None:
        [*self.counts.values()][-1][1] += count


class TestFiles:
    async def test_out_and_in_is_the_same(self, stores: Stores) -> None:
        await fill(stores.one, WHOLE)
        await stores.export(stores.one)
        outcome = await stores.load(stores.other)
        assert outcome.is_complete
        assert outcome.written == outcome.totals.messages > 0
        assert await exported(stores.other) == await exported(stores.one)

    async def test_every_step_tells_how_far_it_is(self, stores: Stores) -> None:
        await fill(stores.one, WHOLE)
        steps = Steps()
        await export_history(archive_of(stores.one), stores.file, progress=steps)
        await import_history(stores.file, archive_of(stores.other), update=True, progress=steps)
        assert [*steps.counts] == ["exporting", "checking", "comparing", "importing", "verifying"]
        count = sum(len(room.messages) for room in WHOLE.rooms)
        assert [*steps.counts.values()] == [[count, count]] * 5
        steps = Steps()
        await copy_history(archive_of(stores.one), archive_of(stores.other), update=True, delete=False, progress=steps)
        assert [*steps.counts] == ["comparing", "copying", "verifying"]
        assert [*steps.counts.values()] == [[count, count]] * 3

    @pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
    async def test_of_a_file_that_is_cut_off_nothing_arrives(self, stores: Stores, kept: float) -> None:
        await fill(stores.one, WHOLE)
        await stores.export(stores.one)
        data = stores.file.read_bytes()
        stores.file.write_bytes(data[: int(len(data) * kept)])
        with pytest.raises(HubbubError, match="is cut off"):
            await stores.load(stores.other)
        with pytest.raises(StoreError):
            await exported(stores.other)

    async def test_from_standard_input_whole_rooms_arrive_up_to_the_damage(
        self, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fill(stores.one, WHOLE)
        await stores.export(stores.one)
        data = stores.file.read_bytes()
        for part, rooms in ((data[: len(data) - 400], ["a"]), (data, ["a", "b"])):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(part)))
            stores.file = Path("-")
            if part is data:
                assert (await stores.load(stores.other)).is_complete
            else:
                with pytest.raises(HubbubError, match="is cut off"):
                    await stores.load(stores.other)
            async with opened(stores.other) as target:
                assert list(await target.uids(after="")) == rooms

    async def test_standard_input_cannot_be_compared_first(self, stores: Stores) -> None:
        stores.file = Path("-")
        with pytest.raises(HubbubError, match="cannot be read twice"):
            await stores.load(stores.other, update=True)

    async def test_a_store_that_a_service_has_is_refused(self, stores: Stores) -> None:
        await fill(stores.one, WHOLE)
        async with open_history(stores.service(stores.one)):
            await stores.export(stores.one)
            with pytest.raises(StoreError, match="is in use by process"):
                await stores.load(stores.one)


class TestCopy:
    async def test_it_is_the_same_and_says_so(self, stores: Stores, mongo_uri: str) -> None:
        stores.other = mongo_uri
        await fill(stores.one, WHOLE)
        outcome = await stores.copy()
        assert outcome.is_complete
        assert await exported(mongo_uri) == await exported(stores.one)
        stores.one, stores.other = mongo_uri, sqlite_store(stores.file.with_name("third.db"))
        assert (await stores.copy()).totals == outcome.totals
        assert await exported(stores.other) == await exported(mongo_uri)

    async def test_what_was_written_meanwhile_is_brought_after(self, stores: Stores) -> None:
        await fill(stores.one, WHOLE)
        await stores.copy()
        async with open_history(stores.service(stores.one)) as history:
            await history.commit([draft("a", "new"), editing("b", 1, "newer")])
        outcome = await stores.copy()
        assert not outcome.is_complete
        assert [room.uid for room, _ in outcome.verdict.rooms] == ["a", "b"]
        outcome = await stores.copy(update=True)
        assert (outcome.is_complete, outcome.written) == (True, 2)
        assert await exported(stores.other) == await exported(stores.one)

    async def test_a_source_that_is_written_to_has_moved_on(self, stores: Stores) -> None:
        await fill(stores.one, WHOLE)
        async with open_history(stores.service(stores.one)) as history:

            class Source(SqliteArchive):
                """Somebody writes to it as soon as it was read."""

                async def close(self) -> None:
                    await super().close()
                    await history.commit([draft("a", "new")])

            source = Source(stores.file.with_name("one.db"))
            target = archive_of(stores.other)
            outcome = await copy_history(source, target, update=False, delete=False, progress=NoProgress())
        assert outcome.verdict.is_same
        assert outcome.moved_on
        assert not outcome.is_complete

    async def test_rooms_that_are_gone_stay_until_they_are_deleted(self, stores: Stores) -> None:
        await fill(stores.one, WHOLE)
        await stores.copy()
        async with open_history(stores.service(stores.one)) as history:
            await history.delete_room("a")
        outcome = await stores.copy()
        assert (outcome.beside, outcome.is_complete) == (["a"], True)
        assert (await stores.copy(delete=True)).is_complete
        assert await exported(stores.other) == await exported(stores.one)

    async def test_a_room_that_cannot_come_is_told(self, stores: Stores) -> None:
        await fill(stores.one, WHOLE)
        await fill(stores.other, Whole(rooms=[counted_room("z", 1, id="room-b")]))
        outcome = await stores.copy()
        assert outcome.refusals == {"b": "There is another room with the id room-b."}
        assert [room.uid for room, _ in outcome.verdict.rooms] == ["b"]

    async def test_what_is_behind_in_the_source_is_not_taken(self, stores: Stores) -> None:
        newer = replace(WHOLE, rooms=[counted_room("a", 31, floor=4)])
        await fill(stores.one, WHOLE)
        await fill(stores.other, newer)
        before = await exported(stores.other)
        outcome = await stores.copy(update=True)
        assert "gone on in the target" in outcome.refusals["a"]
        assert b'"room":"a"' in before
        async with opened(stores.other) as target:
            room = await target.room("a")
            assert room is not None
            assert room.room.head == 31
