"""What other nodes say of the rooms that are watched here."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from hubbub.cluster.base import Announcement, News, Node, RoomReading, Share
from hubbub.domain.presence.others import Others

A, B = Node("a", "1"), Node("b", "1")


def news(node: Node, number: int, user: str, *rooms: str, live: bool = True) -> News:
    share = Share(user, user.title(), False, "online", live=live, rooms=frozenset(rooms))
    return News(node, Announcement(number, user, share))


def gone(node: Node, number: int, user: str, *left: str) -> News:
    return News(node, Announcement(number, user, None, frozenset(left)))


class Listener:
    def __init__(self, *watched: str) -> None:
        self.touched: set[tuple[str, str]] = set()
        self.others = Others(on_change=lambda user, uid: self.touched.add((user, uid)))
        for uid in watched:
            self.others.watch(uid)

    def hear(self, *word: News, now: int = 0) -> None:
        for each in word:
            self.others.hear(each, now)

    def room(self, uid: str = "tea") -> list[str]:
        return sorted(self.others.room(uid))


class TestWord:
    def test_a_room_has_whom_other_nodes_have_in_it(self) -> None:
        listener = Listener("tea")
        listener.hear(news(A, 1, "ada", "tea", "plans"), news(B, 1, "ada", "tea"), news(B, 2, "bob", "plans"))
        assert (listener.room(), listener.room("plans")) == (["ada"], [])
        assert len(listener.others.shares("tea", "ada")) == 2
        assert listener.touched == {("ada", "tea")}

    def test_older_word_changes_nothing(self) -> None:
        listener = Listener("tea")
        listener.hear(news(A, 2, "ada", "tea"), gone(A, 1, "ada"))
        assert listener.room() == ["ada"]
        listener.hear(gone(A, 4, "ada"), news(A, 3, "ada", "tea"))
        assert listener.room() == []

    def test_a_user_goes_with_the_last_node_that_has_them(self) -> None:
        listener = Listener("tea")
        listener.hear(news(A, 1, "ada", "tea"), news(B, 1, "ada", "tea"), gone(A, 2, "ada"))
        assert listener.room() == ["ada"]
        listener.others.drop(B)
        listener.others.drop(B)
        assert listener.room() == []

    def test_a_room_that_is_watched_later_has_what_is_known_already(self) -> None:
        listener = Listener("tea")
        listener.hear(news(A, 1, "ada", "tea", "plans"))
        listener.others.watch("plans")
        assert listener.room("plans") == ["ada"]
        listener.others.unwatch("tea")
        assert (listener.room("tea"), listener.room("plans")) == ([], ["ada"])
        listener.others.unwatch("plans")
        listener.others.watch("tea")
        assert listener.room("tea") == []

    def test_leaving_on_purpose_ends_the_graces_of_other_nodes(self) -> None:
        listener = Listener("tea", "plans")
        listener.hear(news(A, 1, "ada", "tea", "plans", live=False), news(B, 1, "ada", "tea"), gone(B, 2, "ada", "tea"))
        assert (listener.room("tea"), listener.room("plans")) == ([], ["ada"])
        listener.hear(news(A, 2, "ada", "tea"), news(B, 3, "ada", "tea"), gone(B, 4, "ada", "tea"))
        assert listener.room("tea") == ["ada"]

    def test_what_is_old_and_over_is_forgotten(self) -> None:
        listener = Listener("tea")
        listener.hear(news(A, 1, "ada", "tea"), news(A, 2, "bob", "tea"), gone(A, 3, "bob"), news(B, 1, "cyd", "x"))
        listener.others.prune(Others.KEEP_MS)
        assert {node: set(words) for node, words in listener.others._words.items()} == {A: {"ada"}}


class TestReadings:
    def test_what_a_reading_does_not_have_is_over(self) -> None:
        listener = Listener("tea")
        listener.hear(news(A, 1, "ada", "tea"), news(A, 3, "bob", "tea"), news(B, 1, "cyd", "tea"))
        fresh = news(A, 2, "dan", "tea")
        is_whole = listener.others.read("tea", RoomReading([(A, fresh.announcement)], {A: 2}), 0)
        # Bob's word is newer than the reading, and of b it says nothing.
        assert listener.room() == ["bob", "cyd", "dan"]
        assert not is_whole

    def test_a_registry_that_lost_everything_is_read_until_the_nodes_have_said_all_of_it_again(self) -> None:
        listener = Listener("tea")
        listener.hear(news(A, 1, "ada", "tea"), news(A, 2, "bob", "tea"))
        for empty in (RoomReading([], {}), RoomReading([], {A: 0})):
            assert not listener.others.read("tea", empty, 0)
            assert listener.room() == ["ada", "bob"]
        # Bob went meanwhile, and nobody knows any more in which rooms he was, so no word of it came here.
        again = news(A, 4, "ada", "tea")
        assert listener.others.read("tea", RoomReading([(A, again.announcement)], {A: 4}), 0)
        assert listener.room() == ["ada"]


@st.composite
def stories(draw: st.DrawFn) -> tuple[Sequence[News], Sequence[News], int]:
    """What two nodes announce, what arrives of it in which order, and where among it the room is first read."""
    said: list[News] = []
    numbers = {A: 0, B: 0}
    for _ in range(draw(st.integers(1, 25))):
        node = draw(st.sampled_from([A, B]))
        numbers[node] += 1
        user = draw(st.sampled_from(["ada", "bob", "cyd"]))
        rooms = draw(st.sampled_from([(), ("tea",), ("plans",), ("tea", "plans")]))
        there = draw(st.booleans())
        said.append(news(node, numbers[node], user, *rooms) if there else gone(node, numbers[node], user))
    arrived = draw(st.lists(st.sampled_from(said), max_size=40))
    return said, arrived, draw(st.integers(0, len(said)))


def reading(said: Sequence[News], uid: str) -> RoomReading:
    """The room as a registry has it that was told all this."""
    newest: dict[tuple[Node, str], Announcement] = {}
    as_of: dict[Node, int] = {}
    for each in said:
        newest[each.node, each.announcement.user] = each.announcement
        as_of[each.node] = each.announcement.number
    found = [(node, each) for (node, _), each in newest.items() if each.share is not None and uid in each.share.rooms]
    return RoomReading(found, as_of)


class TestConvergence:
    @given(stories())
    def test_a_reading_puts_right_whatever_was_lost_repeated_or_late(
        self, story: tuple[Sequence[News], Sequence[News], int]
    ) -> None:
        said, arrived, cut = story
        listener = Listener("tea")
        half = len(arrived) // 2
        listener.hear(*arrived[:half])
        listener.others.read("tea", reading(said[:cut], "tea"), 0)
        listener.hear(*arrived[half:])
        last = reading(said, "tea")
        listener.others.read("tea", last, 0)
        assert listener.room() == sorted({each.user for _, each in last.announcements})
        listener.hear(*arrived)
        for user in listener.room():
            expected = {each.share for _, each in last.announcements if each.user == user}
            assert set(listener.others.shares("tea", user)) == expected
