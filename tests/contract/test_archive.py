"""The contract of `hubbub.history.archive`, over every adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.errors import HubbubError, StoreError
from hubbub.history.archive import PAGE_ROWS, ArchivedMessage, ArchivedRoom, stub_of
from hubbub.history.base import Person, Role, Standing
from tests.support.archives import Whole, WholeRoom, counted_room, fill, opened, sqlite_store
from tests.support.history import all_messages, code_of, draft, editing, say, written
from tests.support.stores import open_history

ANN = Person("ann", "Ann")


@pytest.fixture(params=["sqlite", "mongo"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a store that is not there yet."""
    if request.param == "mongo":
        yield request.getfixturevalue("mongo_uri")
    else:
        yield sqlite_store(tmp_path / "hubbub.db")


def service(store: str) -> str:
    """The same store as the service's own tests name it."""
    return store.replace("sqlite:///", "sqlite://")


class TestReading:
    async def test_a_store_that_is_not_there_is_refused(self, store: str) -> None:
        with pytest.raises(StoreError, match="There is no"):
            async with opened(store):
                pass

    async def test_what_the_service_wrote_is_read_with_all_revisions(self, store: str) -> None:
        async with open_history(service(store)) as history:
            room = await history.create_room(counted_room("u1", 0).room.room, [(Standing("ann", "owner", 5), ANN)])
            await say(history, room.uid, "one", "two")
            for body in ("three", "four"):
                written((await history.commit([editing(room.uid, 1, body)]))[0])
        async with opened(store) as archive:
            assert list(await archive.uids(after="")) == ["u1"]
            found = await archive.room("u1")
            assert found is not None
            assert (found.room.head, found.room.members, found.floor) == (4, 1, 0)
            pages = await archive.messages("u1", after=0, upto=4)
            assert [(message.seq, message.body, revs) for message, revs in pages] == [
                (1, "four", (1, 3, 4)),
                (2, "two", (2,)),
            ]
            assert list(await archive.standings("u1", after="")) == [Standing("ann", "owner", 5)]
            assert list(await archive.people(after="")) == [(ANN, 1000)]

    async def test_pages_follow_each_other_by_key(self, store: str) -> None:
        people = [(Person(f"user{number:05}", "U"), number) for number in range(PAGE_ROWS + 5)]
        room = counted_room("u1", PAGE_ROWS * 2)
        await fill(store, Whole(people, [room]), page=500)
        async with opened(store) as archive:
            first = await archive.people(after="")
            assert [*first, *await archive.people(after=first[-1][0].id)] == people
            seen: list[ArchivedMessage] = []
            after = 0
            while page := await archive.messages("u1", after=after, upto=10**6):
                seen += page
                after = page[-1][0].seq
            assert seen == room.messages
            # From anywhere, not only from where the last page ended.
            assert list(await archive.messages("u1", after=10, upto=20)) == [
                each for each in room.messages if 10 < each[0].seq <= 20
            ]

    async def test_a_room_in_which_little_was_said_and_much_was_changed_is_read(self, store: str) -> None:
        room = counted_room("u1", 1)
        message, _ = room.messages[0]
        last, many = 3 * PAGE_ROWS + 2, tuple(range(2, 3 * PAGE_ROWS + 2))
        changed, late = replace(message, rev=many[-1]), replace(message, seq=last, rev=last, key="late")
        room.messages = [(changed, (1, *many)), (late, (last,))]
        room.room = ArchivedRoom(replace(room.room.room, head=last))
        await fill(store, Whole(rooms=[room]))
        async with opened(store) as archive:
            assert (await archive.messages("u1", after=0, upto=last))[0] == (changed, (1, *many))
            assert list(await archive.messages("u1", after=1, upto=last)) == [(late, (last,))]


class TestWriting:
    async def test_the_service_goes_on_where_the_archive_ended(self, store: str) -> None:
        whole = Whole([(ANN, 3)], [counted_room("u1", 50, floor=10)])
        await fill(store, whole)
        async with open_history(service(store)) as history:
            room = await history.room("room-u1")
            assert room is not None
            assert (room.head, room.members) == (50, 3)
            expected = {message.seq: message for message, _ in whole.rooms[0].messages if message.seq > 10}
            assert await all_messages(history, "u1") == expected
            revisions = await history.revisions("u1", after=0, upto=50)
            assert [rev for rev, _ in revisions] == list(range(1, 51))
            repeated, new = await history.commit([draft("u1", "key1", sender="user1"), draft("u1", "fresh")])
            assert written(repeated).duplicate
            assert written(repeated).message == stub_of(whole.rooms[0].messages[0][0])
            assert written(new).claimed == 51
            assert (await history.join("u1", Person("zoe", "Zoe"), at=9))[2] == 4

    async def test_a_room_on_its_way_is_seen_by_nobody_and_waits(self, store: str) -> None:
        room = counted_room("u1", 20)
        async with opened(store, writable=True) as archive:
            assert await archive.begin(room.room) == 0
            await archive.put_messages(room.room, room.messages[:5])
            await archive.put_standings("u1", room.standings)
            assert await archive.room("u1") is None
            assert list(await archive.uids(after="")) == []
        async with open_history(service(store)) as history:
            assert await history.room("room-u1") is None
            assert code_of((await history.commit([draft("u1", "key")]))[0]) == "not_found"
            assert (await history.create_room(counted_room("u2", 0).room.room, [])).uid == "u2"
            assert await history.head("u2") == 0
        async with opened(store, writable=True) as archive:
            assert await archive.begin(room.room) == room.messages[4][0].seq
            assert len(await archive.held("u1", first=1, last=100)) == 5
            await archive.put_messages(room.room, room.messages[5:])
            await archive.finish(room.room)
        async with open_history(service(store)) as history:
            assert await all_messages(history, "u1") == {message.seq: message for message, _ in room.messages}

    async def test_a_room_that_was_brought_up_to_date_is_lived_in(self, store: str) -> None:
        """Standings that the service changed often before, and goes on changing behind."""
        room = counted_room("u1", 5)
        await fill(store, Whole(rooms=[room]))
        async with open_history(service(store)) as history:
            roles: list[Role] = ["moderator", "member"]
            for role in roles * 3:
                await history.set_role("u1", "user1", role)
        later = replace(room, standings=[*room.standings[:2], Standing("zoe", "moderator", 9)])
        await fill(store, Whole(rooms=[later]), update=True)
        async with open_history(service(store)) as history:
            for user, role in zip(["user1", "zoe"], roles, strict=True):
                await history.set_role("u1", user, role)
                found = await history.standing("u1", user)
                assert found is not None
                assert found.role == role
            assert (await history.leave("u1", "zoe")).members == 2
            assert await history.standing("u1", "zoe") is None
            assert await history.standing("u1", "user2") is None

    async def test_putting_again_changes_nothing(self, store: str) -> None:
        room = counted_room("u1", 30)
        async with opened(store, writable=True) as archive:
            await archive.begin(room.room)
            for _ in range(2):
                await archive.put_messages(room.room, room.messages)
                await archive.put_standings("u1", room.standings)
                await archive.put_people([(ANN, 3)])
                await archive.finish(room.room)
            assert list(await archive.messages("u1", after=0, upto=99)) == room.messages
            assert list(await archive.standings("u1", after="")) == room.standings
            assert dict(await archive.people_of(["ann", "bob"])) == {"ann": (ANN, 3)}

    async def test_what_arrived_can_be_dropped(self, store: str) -> None:
        room = counted_room("u1", 30)
        async with opened(store, writable=True) as archive:
            await archive.begin(room.room)
            await archive.put_messages(room.room, room.messages)
            seqs = [message.seq for message, _ in room.messages]
            await archive.drop_messages("u1", seqs[::2])
            await archive.put_messages(room.room, room.messages[::2])
            await archive.put_standings("u1", [*room.standings, Standing("zoe", "member", 1)])
            await archive.drop_standings("u1", ["zoe"])
            await archive.finish(room.room)
            assert list(await archive.messages("u1", after=0, upto=99)) == room.messages
            assert list(await archive.standings("u1", after="")) == room.standings

    async def test_an_id_is_one_rooms(self, store: str) -> None:
        one, other = counted_room("u1", 3, id="lobby"), counted_room("u2", 3, id="lobby")
        async with opened(store, writable=True) as archive:
            await archive.begin(one.room)
            await archive.finish(one.room)
            with pytest.raises(HubbubError, match="another room with the id lobby"):
                await archive.begin(other.room)
            with pytest.raises(HubbubError, match="another room with the id lobby"):
                await archive.finish(other.room)

    @pytest.mark.parametrize("taken", ["key", "revision"])
    async def test_a_key_and_a_revision_are_one_messages(self, store: str, taken: str) -> None:
        room = counted_room("u1", 40)
        message, _ = room.messages[0]
        claimed = next(revs for _, revs in room.messages if len(revs) > 1)[-1]
        other = replace(message, seq=41, rev=41, key=message.key if taken == "key" else "fresh")
        async with opened(store, writable=True) as archive:
            await archive.begin(room.room)
            await archive.put_messages(room.room, room.messages)
            with pytest.raises(HubbubError) as caught:
                await archive.put_messages(room.room, [(other, (41,) if taken == "key" else (claimed, 41))])
            assert caught.value.code == "conflict"

    async def test_a_deleted_room_leaves_nothing(self, store: str) -> None:
        room = counted_room("u1", 10)
        await fill(store, Whole(rooms=[room]))
        async with opened(store, writable=True) as archive:
            await archive.delete("u1")
            assert await archive.room("u1") is None
            assert await archive.begin(room.room) == 0
            assert dict(await archive.held("u1", first=1, last=99)) == {}
            assert list(await archive.standings("u1", after="")) == []

    async def test_a_room_that_the_service_deleted_can_come_back(self, store: str) -> None:
        room = counted_room("u1", 10)
        await fill(store, Whole(rooms=[room]))
        async with open_history(service(store)) as history:
            assert await history.delete_room("u1")
        await fill(store, Whole(rooms=[room]))
        async with open_history(service(store)) as history:
            assert await all_messages(history, "u1") == {message.seq: message for message, _ in room.messages}

    async def test_what_arrived_is_found_by_its_words(self, store: str) -> None:
        room: WholeRoom = counted_room("u1", 10)
        await fill(store, Whole(rooms=[room]))
        expected = [message.seq for message, _ in room.messages if "text" in message.body]
        async with open_history(service(store)) as history:
            while True:  # The index of SQLite comes after.
                page = await history.search(uids=["u1"], public=False, phrases=["text"], limit=50, cursor=None)
                if len(page.messages) == len(expected):
                    break
        assert sorted(message.seq for message in page.messages) == expected
