"""What every history promises: which life of its store it is (`History.incarnation`)."""

from __future__ import annotations

from hubbub.history.base import History
from hubbub.transfer.restored import say_restored
from tests.contract.conftest import Reopen
from tests.support.archives import Whole, counted_room, fill, opened
from tests.support.history import all_messages, new_room, say
from tests.support.stores import SQLITE, Stores


def address(stores: Stores) -> str:
    """As the settings have it."""
    return stores.address.replace(SQLITE, "sqlite:///", 1) if stores.address.startswith(SQLITE) else stores.address


class TestIncarnation:
    async def test_the_first_has_no_name_and_stays_over_a_restart(self, history: History, reopen: Reopen) -> None:
        assert history.incarnation == ""
        await say(history, (await new_room(history)).uid, "hello")
        assert (await reopen()).incarnation == ""

    async def test_after_it_was_put_back_it_is_another_and_stays_so(self, history: History, stores: Stores) -> None:
        room = await new_room(history)
        await say(history, room.uid, "hello")
        seen = {history.incarnation}
        for _ in range(2):
            await stores.close()
            said = await say_restored(address(stores))
            assert said not in seen
            seen.add(said)
            assert [(await stores.reopen()).incarnation for _ in range(2)] == [said, said]
        again = await stores.reopen()
        assert len(await all_messages(again, room.uid)) == 1
        assert await again.room(room.id) is not None

    async def test_an_import_leaves_it_as_it_is(self, history: History, stores: Stores) -> None:
        await stores.close()
        said = await say_restored(address(stores))
        await fill(address(stores), Whole(rooms=[counted_room("u1", 3)]))
        async with opened(address(stores)) as archive:
            assert list(await archive.uids(after="")) == ["u1"]
        assert (await stores.reopen()).incarnation == said

    async def test_a_store_that_was_filled_by_an_import_is_in_its_first(self, stores: Stores) -> None:
        await fill(address(stores), Whole(rooms=[counted_room("u1", 3)]))
        assert [(await stores.reopen()).incarnation for _ in range(2)] == ["", ""]
