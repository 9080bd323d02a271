"""The rules of standings alone; what they come to in a store is in the contract's tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Standing
from hubbub.history.standing_rules import banned, invited, joined, left, said, with_role


def never() -> int:
    raise AssertionError("asked for in vain")


def joining(before: Standing, *, members: int = 1, need_invite: bool = False, newest: Callable[[], int]) -> Standing:
    return joined(before, at=50, role="member", need_invite=need_invite, members=members, capacity=2, newest=newest)


class TestJoining:
    def test_who_joins_has_read_up_to_the_newest(self) -> None:
        assert joining(Standing("ann"), newest=lambda: 7) == Standing("ann", "member", 50, read_seq=7)

    def test_the_first_owns_the_room(self) -> None:
        assert joining(Standing("ann"), members=0, newest=lambda: 0).role == "owner"

    @pytest.mark.parametrize(
        ("before", "members", "need_invite", "code"),
        [
            (Standing("ann", banned_until=51), 1, False, "banned"),
            (Standing("ann"), 1, True, "not_found"),
            (Standing("ann", "invited"), 2, True, "room_full"),
        ],
    )
    def test_who_is_refused_costs_no_query(self, before: Standing, members: int, need_invite: bool, code: str) -> None:
        with pytest.raises(HubbubError) as refused:
            joining(before, members=members, need_invite=need_invite, newest=never)
        assert refused.value.code == code

    def test_a_ban_that_is_over_leaves_no_trace_and_a_mute_stays(self) -> None:
        before = Standing("ann", muted_until=9, banned_until=50, knew=True)
        assert joining(before, newest=lambda: 0) == Standing("ann", "member", 50, muted_until=9)


class TestTheRest:
    def test_leaving_keeps_a_mute_alone(self) -> None:
        assert left(Standing("ann", "owner", 3, muted_until=9, read_seq=4)) == Standing("ann", muted_until=9)
        assert said(left(Standing("ann", "owner", 3, read_seq=4))) is None

    def test_an_invitation_says_something_new_or_nothing(self) -> None:
        assert invited(Standing("ann", banned_until=5, knew=True), at=5) == Standing("ann", "invited")
        assert invited(Standing("ann", "member"), at=5) is None
        with pytest.raises(HubbubError):
            invited(Standing("ann", banned_until=6), at=5)

    def test_only_an_owner_who_gives_it_up_has_to_have_another(self) -> None:
        moderator = Standing("ann", "moderator", 1)
        assert with_role(moderator, "member", owned_without=lambda: bool(never())).role == "member"
        with pytest.raises(HubbubError) as refused:
            with_role(replace(moderator, role="owner"), "member", owned_without=lambda: False)
        assert refused.value.code == "conflict"
        with pytest.raises(HubbubError) as refused:
            with_role(Standing("ann", "invited"), "member", owned_without=lambda: True)
        assert refused.value.code == "not_found"

    def test_a_ban_remembers_what_the_user_knew_for_as_long_as_it_is_one(self) -> None:
        ban = banned(Standing("ann", "invited"), until=FOREVER)
        assert ban == Standing("ann", banned_until=FOREVER, knew=True)
        assert banned(ban, until=5).knew
        assert said(banned(ban, until=0)) is None
        assert not banned(Standing("zoe"), until=5).knew
