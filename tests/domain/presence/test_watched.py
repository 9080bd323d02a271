"""A room as its watchers see it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubbub.cluster.base import Status
from hubbub.domain.presence.statuses import Face
from hubbub.domain.presence.watched import COUNT_WINDOW_MS, LIST_AGAIN, LIST_MOST, WINDOW_MS, WatchedRoom
from tests.support.presence import Replay, person


def face(user: str, status: Status = "online", text: str = "") -> Face:
    return Face(person(user), status, text)


def crowd(count: int) -> dict[str, Face]:
    return {f"u{n}": face(f"u{n}") for n in range(count)}


class TestWindows:
    def test_changes_of_a_window_are_one_diff(self) -> None:
        faces = crowd(2)
        room = WatchedRoom("tea", faces.values(), admin=False)
        replay = Replay(room.snapshot())
        assert room.touch("u0", 1000) == 1000 + WINDOW_MS
        assert room.touch("ada", 1100) is None
        faces |= {"ada": face("ada"), "u1": face("u1", "busy")}
        del faces["u0"]
        room.touch("u1", 1200)
        diff = room.flush(faces.get)
        assert diff is not None
        assert (diff.joined, diff.left, diff.changed) == ([face("ada")], ["u0"], [face("u1", "busy")])
        replay.apply(diff)
        assert replay.users == faces
        assert room.touch("u1", 2000) == 2000 + WINDOW_MS

    def test_who_came_and_went_within_a_window_was_not_there(self) -> None:
        room = WatchedRoom("tea", [], admin=False)
        room.touch("ada", 0)
        assert (room.flush(lambda user: None), room.version) == (None, 1)

    def test_a_snapshot_within_a_window_fits_the_diff_at_its_end(self) -> None:
        room = WatchedRoom("tea", [face("ada")], admin=False)
        room.touch("bob", 0)
        replay = Replay(room.snapshot())
        assert replay.users == {"ada": face("ada")}
        diff = room.flush({"ada": face("ada"), "bob": face("bob")}.get)
        assert diff is not None
        replay.apply(diff)
        assert replay.count == 2


class TestSizes:
    def test_a_room_that_grows_has_a_count_and_one_that_shrinks_has_a_list_again(self) -> None:
        faces = crowd(LIST_MOST)
        room = WatchedRoom("tea", faces.values(), admin=False)
        replay = Replay(room.snapshot())

        def change(*users: str) -> bool:
            for user in users:
                room.touch(user, 0)
            diff = room.flush(faces.get)
            if diff is not None:
                replay.apply(diff)
            return diff is not None

        faces["more"] = face("more")
        assert change("more")
        assert (replay.users, replay.count) == (None, LIST_MOST + 1)
        assert room.touch("u0", 0) == COUNT_WINDOW_MS
        faces["u0"] = face("u0", "busy")
        assert not change("u0")
        for n in range(LIST_MOST - LIST_AGAIN):
            del faces[f"u{n}"]
            assert change(f"u{n}")
            assert replay.users is None
        del faces["more"]
        assert change("more")
        assert replay.users == faces
        assert len(faces) == LIST_AGAIN
        assert change("u99") is False

    def test_a_room_that_is_large_when_it_is_watched_begins_with_a_count(self) -> None:
        room = WatchedRoom("tea", crowd(LIST_MOST + 1).values(), admin=False)
        assert room.snapshot().users is None
        assert room.snapshot().count == LIST_MOST + 1


class TestInvisible:
    def test_who_is_invisible_is_shown_to_administrators_only(self) -> None:
        faces = {"ada": face("ada"), "eve": face("eve", "invisible")}
        plain = WatchedRoom("tea", faces.values(), admin=False)
        admin = WatchedRoom("tea", faces.values(), admin=True)
        assert (plain.snapshot().count, admin.snapshot().count) == (1, 2)
        assert list(plain.shown()) == ["ada"]
        faces["ada"] = face("ada", "invisible")
        for room in (plain, admin):
            room.touch("ada", 0)
        left, changed = plain.flush(faces.get), admin.flush(faces.get)
        assert left is not None
        assert changed is not None
        assert (left.left, left.count) == (["ada"], 0)
        assert (changed.changed, changed.count) == ([face("ada", "invisible")], 2)


USERS = st.integers(0, 130).map(lambda n: f"u{n}")
STATUSES: st.SearchStrategy[Status] = st.sampled_from(["online", "away", "busy", "invisible"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), USERS, STATUSES),
        st.tuples(st.just("remove"), USERS, st.just("online")),
        st.tuples(st.just("grow"), st.integers(0, 130), STATUSES),
        st.tuples(st.just("shrink"), st.integers(0, 130), st.just("online")),
        st.tuples(st.sampled_from(["flush", "come", "go"]), st.just(""), st.just("online")),
    ),
    max_size=40,
)


class TestReplay:
    @given(size=st.integers(0, 130), steps=STEPS, admin=st.booleans())
    def test_a_snapshot_and_its_diffs_are_a_fresh_snapshot(
        self, size: int, steps: list[tuple[str, str | int, Status]], admin: bool
    ) -> None:
        faces = crowd(size)
        room = WatchedRoom("tea", faces.values(), admin=admin)
        watchers = [Replay(room.snapshot())]

        def put(user: str, status: Status | None) -> None:
            if status is None:
                faces.pop(user, None)
            else:
                faces[user] = face(user, status)
            room.touch(user, 0)

        for name, what, status in [*steps, ("flush", "", "online")]:
            if name in ("put", "remove"):
                put(str(what), status if name == "put" else None)
            elif name in ("grow", "shrink"):
                for n in range(int(what)):
                    put(f"u{n}", status if name == "grow" else None)
            elif name == "come":
                watchers.append(Replay(room.snapshot()))
            elif name == "go":
                watchers[1:2] = []
            else:
                diff = room.flush(faces.get)
                for each in watchers if diff is not None else ():
                    assert diff is not None
                    each.apply(diff)
            fresh = Replay(room.snapshot())
            assert all(each.state == fresh.state for each in watchers)
        shown = {user: each for user, each in faces.items() if admin or not each.is_hidden}
        assert watchers[0].count == len(shown)
        assert watchers[0].users is None or watchers[0].users == shown
