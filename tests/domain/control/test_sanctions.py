"""Who is kept out: by bans and revocations in whatever order they become known."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.domain.control.sanctions import SanctionBook
from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Ban, Revocation, Sanctions
from tests.support.domain import ManualClock, identity_of


def ban(n: int, *, user: str = "bob", until: int = FOREVER) -> Ban:
    return Ban(user, until, "spam", "root", 1, n)


def revocation(n: int, *, user: str | None = None, jti: str | None = None, before: int = 0) -> Revocation:
    return Revocation(user, jti, before, "lost", "root", 1, n)


def code(book: SanctionBook, identity: Identity) -> str | None:
    try:
        book.check(identity)
    except HubbubError as error:
        return error.code
    return None


class TestBans:
    def test_a_banned_user_is_kept_out_and_nobody_else(self) -> None:
        book = SanctionBook(ManualClock())
        assert book.take_ban(ban(1))
        assert code(book, identity_of("bob")) == "banned"
        assert code(book, identity_of("ada")) is None

    def test_a_timed_ban_ends_by_itself(self) -> None:
        clock = ManualClock()
        book = SanctionBook(clock)
        book.take_ban(ban(1, until=clock.now + 1000))
        assert [each.user for each in book.bans()] == ["bob"]
        clock.forward(0.999)
        assert code(book, identity_of("bob")) == "banned"
        clock.forward(0.001)
        assert code(book, identity_of("bob")) is None
        assert book.bans() == []

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_the_highest_number_holds_in_whatever_order_they_come(self, order: tuple[int, ...]) -> None:
        book = SanctionBook(ManualClock())
        known = [ban(1), ban(2, until=0), ban(3)]
        for index in order:
            book.take_ban(known[index])
        assert code(book, identity_of("bob")) == "banned"
        assert not book.take_ban(ban(2, until=0))

    def test_a_ban_that_is_over_is_forgotten_only_when_no_older_record_can_come(self) -> None:
        book = SanctionBook(ManualClock())
        book.take_ban(ban(5, until=0))
        book.prune(upto=4)
        assert not book.take_ban(ban(3))
        book.prune(upto=5)
        assert book.take_ban(ban(3))


class TestRevocations:
    def test_one_of_a_user_holds_for_the_tokens_that_were_there(self) -> None:
        book = SanctionBook(ManualClock())
        assert book.take_revocation(revocation(1, user="bob", before=5500))
        assert code(book, identity_of("bob", issued_at=5000)) == "unauthorized"
        assert code(book, identity_of("bob", issued_at=6000)) is None
        assert code(book, identity_of("ada", issued_at=5000)) is None

    def test_one_of_a_token_holds_for_that_token(self) -> None:
        book = SanctionBook(ManualClock())
        book.take_revocation(revocation(1, jti="t1"))
        assert code(book, replace(identity_of("bob"), jti="t1")) == "unauthorized"
        assert code(book, replace(identity_of("bob"), jti="t2")) is None
        assert code(book, identity_of("bob")) is None

    def test_a_ban_is_told_before_a_revocation(self) -> None:
        book = SanctionBook(ManualClock())
        book.take_revocation(revocation(1, user="bob", before=5500))
        book.take_ban(ban(2))
        assert code(book, identity_of("bob", issued_at=5000)) == "banned"

    @given(st.permutations([(1, 1000), (2, 5000), (3, 3000)]))
    def test_the_latest_holds_in_whatever_order_they_come(self, known: list[tuple[int, int]]) -> None:
        book = SanctionBook(ManualClock())
        for n, before in known:
            book.take_revocation(revocation(n, user="bob", before=before))
        assert code(book, identity_of("bob", issued_at=3000)) == "unauthorized"
        assert code(book, identity_of("bob", issued_at=4000)) is None


class TestReplacing:
    def test_nothing_of_before_remains(self) -> None:
        book = SanctionBook(ManualClock())
        book.take_ban(ban(9))
        book.take_revocation(revocation(8, jti="t1"))
        book.replace(Sanctions([ban(1, user="ada")], [revocation(2, user="cem", before=9), revocation(3, jti="t2")]))
        assert code(book, replace(identity_of("bob"), jti="t1")) is None
        assert code(book, identity_of("ada")) == "banned"
        assert code(book, replace(identity_of("eve"), jti="t2")) == "unauthorized"
        assert code(book, identity_of("cem", issued_at=9)) == "unauthorized"
        assert {each.n for each in book.revocations()} == {2, 3}
        assert book.take_ban(ban(2))
