"""Who may do what: the table is whole, and its rules are restated here without it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import get_args

import pytest

from hubbub.domain.identity import Identity
from hubbub.domain.permissions import (
    RANK,
    TABLE,
    WRITES,
    Action,
    Relation,
    decide,
    is_banned,
    is_muted,
    rank,
    relation,
)
from hubbub.errors import Code
from hubbub.history.base import FOREVER, Role, RoomKind, Standing
from tests.support.domain import identity_of

NOW = 1_000_000
KINDS: tuple[RoomKind, ...] = get_args(RoomKind)
TIMES = (0, NOW, NOW + 1)
STANDINGS: tuple[Standing | None, ...] = (
    None,
    *(
        Standing("ada", role=role, muted_until=muted, banned_until=banned, knew=knew)
        for role, muted, banned, knew in product((None, *get_args(Role)), TIMES, TIMES, (False, True))
    ),
)
IDENTITIES = tuple(
    identity_of("ada", roles=roles) for roles in ((), ("admin",), ("moderator",), ("admin", "moderator"))
)
CASES = tuple(product(Action, KINDS, STANDINGS, IDENTITIES))
"""Everything that a decision can depend on."""

READING = {Action.READ, Action.MEMBERS}
POSTING = {Action.SEND, Action.EDIT, Action.REACT, Action.TYPING, Action.MARK}
GOVERNING = {
    Action.UPDATE,
    Action.KICK,
    Action.BAN,
    Action.UNBAN,
    Action.MUTE,
    Action.PURGE,
    Action.DELETE_ANY,
}


def restated(action: Action, kind: RoomKind, standing: Standing | None, identity: Identity) -> Code | None:
    """`decide`, said slowly and without a table."""
    banned = standing is not None and standing.banned_until > NOW
    role = standing.role if standing is not None and not banned else None
    admin = identity.is_admin and kind != "direct"
    staff = identity.is_moderator and not banned and kind == "public" and role in (None, "invited")
    if banned and kind == "public":
        told_of_ban = True
    else:
        told_of_ban = banned and standing is not None and standing.knew and kind != "direct"
    may_know = role is not None or kind == "public" or admin or told_of_ban
    if not may_know:
        return "not_found"
    member = role in ("owner", "moderator", "member")
    governs = role == "owner" or admin
    moderates = governs or role == "moderator" or staff or (identity.is_moderator and member and kind != "direct")
    if kind == "direct":
        allowed = action in READING | POSTING | {Action.JOIN, Action.DELETE_OWN}
    elif action in (Action.DELETE_ROOM, Action.ROLE):
        allowed = governs
    elif action in GOVERNING:
        allowed = moderates
    elif action is Action.INVITE:
        allowed = moderates or (member and kind == "public")
    elif action in POSTING:
        allowed = member
    elif action in READING | {Action.DELETE_OWN}:
        allowed = member or admin or (kind == "public" and not banned)
    else:
        allowed = admin or role is not None or (kind == "public" and not banned)
    if not allowed:
        return "banned" if told_of_ban else "forbidden"
    if action in WRITES and standing is not None and standing.muted_until > NOW:
        return "muted"
    return None


class TestTable:
    def test_it_has_every_action_in_every_relation_to_every_kind_of_room(self) -> None:
        assert set(TABLE) == set(KINDS)
        for kind in KINDS:
            assert set(TABLE[kind]) == set(Action), kind
            for action, row in TABLE[kind].items():
                assert set(row) == set(Relation), (kind, action)

    def test_nobody_learns_of_a_room_that_is_not_public(self) -> None:
        for kind in ("private", "direct"):
            for action in Action:
                assert TABLE[kind][action][Relation.STRANGER] == "not_found"
                assert TABLE[kind][action][Relation.STAFF] == "not_found"

    def test_nothing_about_a_public_room_is_hidden(self) -> None:
        assert not any("not_found" in row.values() for row in TABLE["public"].values())

    def test_a_higher_role_may_do_all_that_a_lower_one_may(self) -> None:
        for kind in ("public", "private"):
            for action, row in TABLE[kind].items():
                ladder = [
                    row[each] is None
                    for each in (Relation.STRANGER, Relation.INVITED, Relation.MEMBER, Relation.MODERATOR)
                ]
                assert ladder == sorted(ladder), (kind, action)
                assert (row[Relation.OWNER] is None) >= ladder[-1], (kind, action)

    def test_what_writes_is_what_a_mute_stops(self) -> None:
        assert {Action.SEND, Action.EDIT, Action.REACT, Action.TYPING, Action.INVITE} == WRITES


class TestDecisions:
    def test_every_decision_is_that_of_the_rules(self) -> None:
        for action, kind, standing, identity in CASES:
            expected = restated(action, kind, standing, identity)
            assert decide(action, kind, standing, identity, now=NOW) == expected, (action, kind, standing, identity)

    def test_who_may_not_know_of_a_room_is_told_nothing_else(self) -> None:
        for action, kind, standing, identity in CASES:
            banned = standing is not None and standing.banned_until > NOW
            knows = standing is not None and (standing.knew if banned else standing.role is not None)
            if kind != "public" and not knows and not identity.is_admin:
                assert decide(action, kind, standing, identity, now=NOW) == "not_found"

    def test_muted_is_said_only_to_who_may_otherwise(self) -> None:
        said = 0
        for action, kind, standing, identity in CASES:
            if decide(action, kind, standing, identity, now=NOW) == "muted":
                said += 1
                assert action in WRITES
                assert standing is not None
                spoken = replace(standing, muted_until=0)
                assert decide(action, kind, spoken, identity, now=NOW) is None
        assert said

    def test_a_role_in_the_token_takes_no_right_away(self) -> None:
        for action, kind, standing, identity in CASES:
            if decide(action, kind, standing, identity_of("ada"), now=NOW) is None:
                assert decide(action, kind, standing, identity, now=NOW) is None

    @pytest.mark.parametrize("kind", KINDS)
    def test_who_has_no_record_is_answered_as_the_table_says(self, kind: RoomKind) -> None:
        for relation_, roles in ((Relation.STRANGER, []), (Relation.ADMIN, ["admin"]), (Relation.STAFF, ["moderator"])):
            for action in Action:
                answer = decide(action, kind, None, identity_of("ada", roles=roles), now=NOW)
                assert answer == TABLE[kind][action][relation_], (action, relation_)

    def test_a_guest_is_like_everybody(self) -> None:
        for action in Action:
            for kind in KINDS:
                assert decide(action, kind, None, identity_of("g", guest=True), now=NOW) == decide(
                    action, kind, None, identity_of("u"), now=NOW
                )

    def test_an_administrator_is_not_kept_out_by_a_ban(self) -> None:
        standing = Standing("ada", banned_until=FOREVER, knew=True)
        assert decide(Action.JOIN, "private", standing, identity_of("ada", roles=["admin"]), now=NOW) is None

    def test_direct_rooms_are_closed_to_administrators(self) -> None:
        for action in Action:
            assert decide(action, "direct", None, identity_of("root", roles=["admin"]), now=NOW) == "not_found"


class TestRelations:
    @pytest.mark.parametrize("role", get_args(Role))
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_role_is_a_relation(self, role: Role, kind: RoomKind) -> None:
        assert relation(kind, Standing("ada", role=role), NOW) == Relation(role)

    @pytest.mark.parametrize(
        ("kind", "knew", "expected"),
        [
            ("public", False, Relation.BANNED),
            ("public", True, Relation.BANNED),
            ("private", True, Relation.BANNED),
            ("private", False, Relation.STRANGER),
        ],
    )
    def test_a_ban_tells_only_what_its_bearer_knew(self, kind: RoomKind, knew: bool, expected: Relation) -> None:
        assert relation(kind, Standing("ada", banned_until=NOW + 1, knew=knew), NOW) is expected

    def test_a_ban_ends_in_the_millisecond_that_it_names(self) -> None:
        standing = Standing("ada", banned_until=NOW, muted_until=NOW)
        assert is_banned(standing, NOW - 1)
        assert not is_banned(standing, NOW)
        assert is_muted(standing, NOW - 1)
        assert not is_muted(standing, NOW)

    def test_without_a_record_there_is_neither_ban_nor_mute(self) -> None:
        assert not is_banned(None, NOW)
        assert not is_muted(None, NOW)
        assert relation("public", None, NOW) is Relation.STRANGER

    def test_a_mute_alone_makes_nobody_a_member(self) -> None:
        assert relation("private", Standing("ada", muted_until=FOREVER), NOW) is Relation.STRANGER


class TestRanks:
    def test_the_ladder(self) -> None:
        admin, owner, moderator, member = (
            RANK[each] for each in (Relation.ADMIN, Relation.OWNER, Relation.MODERATOR, Relation.MEMBER)
        )
        assert admin > owner > moderator > member > 0
        assert RANK[Relation.STAFF] == moderator

    @pytest.mark.parametrize(
        ("role", "roles", "kind", "expected"),
        [
            (None, [], "public", 0),
            ("invited", [], "public", 0),
            ("member", [], "public", 1),
            ("moderator", [], "private", 2),
            ("owner", [], "private", 3),
            ("member", ["moderator"], "private", 2),
            (None, ["moderator"], "public", 2),
            (None, ["moderator"], "private", 0),
            ("owner", ["moderator"], "public", 3),
            (None, ["admin"], "private", 4),
            ("member", ["admin", "moderator"], "public", 4),
        ],
    )
    def test_a_rank_is_the_best_of_record_and_token(
        self, role: Role | None, roles: list[str], kind: RoomKind, expected: int
    ) -> None:
        standing = Standing("ada", role=role) if role is not None else None
        assert rank(kind, standing, identity_of("ada", roles=roles), NOW) == expected

    def test_who_is_banned_has_no_rank_even_as_staff(self) -> None:
        standing = Standing("ada", role=None, banned_until=FOREVER)
        assert rank("public", standing, identity_of("ada", roles=["moderator"]), NOW) == 0
