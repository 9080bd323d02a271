"""Whether a target has what a source had."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hubbub.history.archive import Archive
from hubbub.history.base import Person
from hubbub.transfer.loader import Loader
from hubbub.transfer.pieces import walk
from hubbub.transfer.progress import NoProgress
from hubbub.transfer.verify import Verdict, has_moved_on, rooms_beside, verify
from tests.support.archives import Whole, counted_room, fill, opened, sqlite_store
from tests.support.history import draft
from tests.support.stores import open_history

WHOLE = Whole([(Person("ann", "Ann"), 5)], [counted_room("a", 20), counted_room("b", 10)])


async def verdict(store: str, loader: Loader) -> Verdict:
    async with opened(store) as target:
        return await verify(target, rooms=loader.tally.rooms, people=loader.people, progress=NoProgress())


class TestVerify:
    async def test_what_is_the_same_is_the_same(self, tmp_path: Path) -> None:
        store = sqlite_store(tmp_path / "hubbub.db")
        assert (await verdict(store, await fill(store, WHOLE))).is_same

    async def test_more_in_the_target_does_not_matter(self, tmp_path: Path) -> None:
        store = sqlite_store(tmp_path / "hubbub.db")
        await fill(store, Whole([(Person("zoe", "Zoe"), 5)], [counted_room("z", 3)]))
        assert (await verdict(store, await fill(store, WHOLE))).is_same
        async with opened(store) as target:
            assert await rooms_beside(target, (await fill_nowhere()).tally.rooms) == ["z"]

    async def test_a_message_more_is_found_with_its_room(self, tmp_path: Path) -> None:
        store = sqlite_store(tmp_path / "hubbub.db")
        loader = await fill(store, WHOLE)
        async with open_history(f"sqlite://{tmp_path / 'hubbub.db'}") as history:
            await history.commit([draft("b", "new")])
            await history.delete_room("a")
        found = await verdict(store, loader)
        assert not found.is_same
        assert not found.people_differ
        assert [(room.uid, there and there.messages - room.messages) for room, there in found.rooms] == [
            ("a", None),
            ("b", 1),
        ]

    async def test_another_name_is_found(self, tmp_path: Path) -> None:
        store = sqlite_store(tmp_path / "hubbub.db")
        loader = await fill(store, WHOLE)
        async with open_history(f"sqlite://{tmp_path / 'hubbub.db'}") as history:
            await history.remember(Person("ann", "Ann B."), at=9)
        found = await verdict(store, loader)
        assert (found.rooms, found.people_differ) == ([], True)


async def fill_nowhere() -> Loader:
    """What a loader that has taken the history knows of it."""
    with TemporaryDirectory() as folder:
        return await fill(sqlite_store(Path(folder) / "hubbub.db"), WHOLE)


class TestMovedOn:
    async def test_a_source_that_rests_has_not(self, tmp_path: Path) -> None:
        store = sqlite_store(tmp_path / "hubbub.db")
        loader = await fill(store, WHOLE)
        async with opened(store) as source:
            assert not await has_moved_on(source, loader.tally)

    async def test_a_message_a_title_or_a_person_is_seen(self, tmp_path: Path) -> None:
        store = sqlite_store(tmp_path / "hubbub.db")
        loader = await fill(store, WHOLE)
        async with open_history(f"sqlite://{tmp_path / 'hubbub.db'}") as history:
            for change in (
                lambda: history.commit([draft("b", "new")]),
                lambda: history.update_room("a", title="Other"),
                lambda: history.remember(Person("bob", "Bob"), at=1),
            ):
                await change()
                async with opened(store) as source:
                    assert await has_moved_on(source, loader.tally)
                    loader = await again(source)


async def again(source: Archive) -> Loader:
    """What a loader knows of the source as it is now."""
    loader = Loader(source)
    async for piece in walk(source):
        loader.tally.add(piece)
    return loader
