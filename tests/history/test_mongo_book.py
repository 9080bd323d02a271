"""The book: what it decides with the few standings that it is given is what the whole room would have it decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES, Person, Role, Standing
from hubbub.history.mongo_book import Book, Changed

USERS = [f"u{number}" for number in range(9)]
Step = tuple[str, Callable[[Book], object]]

roles: st.SearchStrategy[Role | None] = st.sampled_from(["owner", "moderator", "member", "member", "invited", None])
users = st.sampled_from(USERS)


def joining(user: str) -> Step:
    return user, lambda book: book.join(Person(user, "U"), at=9, role="member", need_invite=False)


steps: st.SearchStrategy[Step] = st.one_of(
    users.map(joining),
    users.map(lambda user: (user, lambda book: book.leave(user))),
    users.map(lambda user: (user, lambda book: book.invite(Person(user, "U"), at=9))),
    st.tuples(users, st.sampled_from(["owner", "moderator", "member"])).map(
        lambda given: (given[0], lambda book: book.set_role(*given))
    ),
    users.map(lambda user: (user, lambda book: book.mute(user, until=7))),
    st.tuples(users, st.sampled_from([0, 8, 50])).map(
        lambda given: (given[0], lambda book: book.ban(given[0], until=given[1]))
    ),
)


@st.composite
def rooms(draw: st.DrawFn) -> list[Standing]:
    """Standings of some users; there is an owner if there is any member."""
    standings = [
        Standing(user, role, draw(st.integers(1, 3)) if role in MEMBER_ROLES else 0)
        for user in USERS
        if (role := draw(roles)) is not None
    ]
    members = [standing for standing in standings if standing.role in MEMBER_ROLES]
    if members and all(standing.role != "owner" for standing in members):
        standings[standings.index(members[0])] = replace(members[0], role="owner")
    return standings


def book_of(standings: Sequence[Standing], line: Sequence[Standing] = (), *, members: int) -> Book:
    return Book(members=members, capacity=6, standings=standings, line=line, newest=4)


def few(standings: Sequence[Standing], count: int) -> list[Standing]:
    """The line as a store reads it for so many changes."""
    ranked = sorted(standings, key=lambda standing: (standing.joined_at, standing.user))
    line = [standing for standing in standings if standing.role == "owner"][: count + 1]
    for role in ("moderator", "member"):
        line += [standing for standing in ranked if standing.role == role][: 2 * count + 1]
    return line


def outcomes(book: Book, changes: Sequence[Step]) -> list[object]:
    found: list[object] = []
    for _, change in changes:
        try:
            found.append(change(book))
        except HubbubError as error:
            found.append(error.code)
    return found


class TestBook:
    @given(rooms(), st.lists(steps, min_size=1, max_size=4))
    def test_a_part_of_the_line_is_enough(self, standings: list[Standing], changes: list[Step]) -> None:
        members = sum(standing.role in MEMBER_ROLES for standing in standings)
        whole = book_of(standings, members=members)
        own = [standing for standing in standings if standing.user in {user for user, _ in changes}]
        part = book_of(own, few(standings, len(changes)), members=members)
        assert outcomes(part, changes) == outcomes(whole, changes)
        assert part.members == whole.members
        assert {each.standing for each in part.changed()} == {each.standing for each in whole.changed()}

    @given(rooms(), st.lists(steps, max_size=12))
    def test_the_count_is_right_and_members_have_an_owner(self, standings: list[Standing], changes: list[Step]) -> None:
        now = {standing.user: standing for standing in standings}
        book = book_of(standings, members=sum(standing.role in MEMBER_ROLES for standing in standings))
        outcomes(book, changes)
        now.update((each.standing.user, each.standing) for each in book.changed())
        members = [standing for standing in now.values() if standing.role in MEMBER_ROLES]
        assert book.members == len(members)
        assert not members or any(standing.role == "owner" for standing in members)

    def test_what_changes_nothing_is_no_change(self) -> None:
        book = book_of([Standing("ann", "owner", 1)], members=1)
        outcomes(book, [joining("ann"), ("ann", lambda book: book.set_role("ann", "owner"))])
        book.leave("zoe")
        book.mute("zoe", until=0)
        book.ban("zoe", until=9)
        book.ban("zoe", until=0)
        assert book.changed() == []

    def test_a_read_mark_is_changed_only_where_a_membership_begins_or_ends(self) -> None:
        book = book_of([Standing("ann", "owner", 1, read_seq=2), Standing("bob", "member", 1, read_seq=3)], members=2)
        book.set_role("bob", "owner")
        book.leave("ann")
        book.join(Person("zoe", "Zoe"), at=5, role="member", need_invite=False)
        assert book.changed() == [
            Changed(Standing("ann"), is_new=False, marks=True),
            Changed(Standing("bob", "owner", 1, read_seq=3), is_new=False, marks=False),
            Changed(Standing("zoe", "member", 5, read_seq=4), is_new=True, marks=True),
        ]
