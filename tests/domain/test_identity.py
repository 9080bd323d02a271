"""What an identity says of its bearer."""

from __future__ import annotations

import pytest

from tests.support.domain import identity_of


class TestIdentity:
    def test_its_user_is_its_person(self) -> None:
        assert identity_of("ada").user == "ada"

    @pytest.mark.parametrize(
        ("roles", "admin", "moderator"),
        [
            ([], False, False),
            (["admin"], True, False),
            (["moderator", "bot"], False, True),
            (["Admin", "administrator"], False, False),
        ],
    )
    def test_roles_are_taken_by_their_exact_names(self, roles: list[str], admin: bool, moderator: bool) -> None:
        identity = identity_of("ada", roles=roles)
        assert (identity.is_admin, identity.is_moderator) == (admin, moderator)

    @pytest.mark.parametrize(
        ("patterns", "room", "covered"),
        [
            (None, "tea", True),
            ([], "tea", False),
            (["tea"], "tea", True),
            (["tea"], "teapot", False),
            (["tea*"], "teapot", True),
            (["team-?"], "team-1", True),
            (["team-?"], "team-10", False),
            (["a", "b"], "b", True),
            (["Tea"], "tea", False),
            (["direct:*"], "direct:x", True),
            (["*"], "private:x", True),
        ],
    )
    def test_a_token_reaches_the_rooms_that_its_patterns_name(
        self, patterns: list[str] | None, room: str, covered: bool
    ) -> None:
        assert identity_of("ada", rooms=patterns).covers(room) is covered
