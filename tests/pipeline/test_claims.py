"""From claims to an identity."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.domain.identity import Identity, Person
from hubbub.errors import HubbubError
from hubbub.pipeline.claims import Expectations, check_claims, check_name, check_user
from tests.support.keys import NOW_S, claims_of

ANY = Expectations()
LOCAL = Expectations(local=True)


def identity_of(expected: Expectations = ANY, *, now_s: float = NOW_S, **changes: Any) -> Identity:
    return check_claims(claims_of(**changes), expected, now_s=now_s)


def code_of(expected: Expectations = ANY, *, now_s: float = NOW_S, **changes: Any) -> str:
    with pytest.raises(HubbubError) as caught:
        identity_of(expected, now_s=now_s, **changes)
    return caught.value.code


class TestWho:
    def test_the_claims_become_an_identity(self) -> None:
        identity = identity_of(name="Ada", roles=["admin"], rooms=["dev-*"], jti="t1")
        assert identity == Identity(
            person=Person("ada", "Ada"),
            roles=frozenset({"admin"}),
            issued_at=int(NOW_S) * 1000,
            expires_at=(int(NOW_S) + 3600) * 1000,
            rooms=("dev-*",),
            jti="t1",
        )

    def test_without_a_name_the_id_is_the_name_as_far_as_it_fits(self) -> None:
        assert identity_of().person.name == "ada"
        assert identity_of(sub="x" * 128).person.name == "x" * 64

    def test_without_roles_and_rooms_there_are_no_roles_and_no_limit(self) -> None:
        assert identity_of().roles == frozenset()
        assert identity_of().rooms is None
        assert identity_of(rooms=[]).rooms == ()

    def test_rooms_without_a_value_are_a_mistake_and_not_a_token_without_a_limit(self) -> None:
        claims = {"sub": "ada", "iat": NOW_S, "exp": NOW_S + 60, "rooms": None}
        with pytest.raises(HubbubError, match="unauthorized"):
            check_claims(claims, Expectations(), now_s=NOW_S)

    @pytest.mark.parametrize(
        "sub", [None, "", "x" * 129, 7, ["ada"], "a\nb", "a\0b", "a\x85b", "a\ud800", "a\u2028b", "e\u0301", "\u202ea"]
    )
    def test_an_id_that_is_none_is_refused(self, sub: object) -> None:
        assert code_of(sub=sub) == "unauthorized"

    @pytest.mark.parametrize("name", ["", "  ", "x" * 65, 7, "a\nb", "a\ud800", "\u202eadmin"])
    def test_a_name_that_is_none_is_refused(self, name: object) -> None:
        assert code_of(name=name) == "unauthorized"

    @pytest.mark.parametrize("claim", ["roles", "rooms"])
    @pytest.mark.parametrize("value", ["admin", {"admin": 1}, [1], [""], ["x" * 129], ["x"] * 101, [None]])
    def test_lists_are_lists_of_texts(self, claim: str, value: Any) -> None:
        assert code_of(**{claim: value}) == "unauthorized"

    @pytest.mark.parametrize("jti", [7, "", "x" * 129, ["a"]])
    def test_a_token_id_is_text(self, jti: object) -> None:
        assert code_of(jti=jti) == "unauthorized"


class TestTime:
    LEEWAY = Expectations(early_s=5, late_s=5)

    def test_a_token_ends_at_its_time(self) -> None:
        assert identity_of(now_s=NOW_S + 3599.9).user == "ada"
        assert code_of(now_s=NOW_S + 3600) == "token_expired"

    def test_leeway_lets_a_token_in_until_the_leeway_ends(self) -> None:
        late = identity_of(self.LEEWAY, now_s=NOW_S + 3604.9)
        assert late.expires_at == (int(NOW_S) + 3605) * 1000
        assert code_of(self.LEEWAY, now_s=NOW_S + 3605) == "token_expired"

    def test_leeway_does_not_lengthen_a_token_that_is_in_time(self) -> None:
        assert identity_of(self.LEEWAY).expires_at == (int(NOW_S) + 3600) * 1000

    @pytest.mark.parametrize("claim", ["iat", "nbf"])
    def test_a_token_from_the_future_is_refused_beyond_the_leeway(self, claim: str) -> None:
        def early(by_s: float) -> dict[str, Any]:
            return {claim: NOW_S + by_s}

        assert code_of(**early(0.001)) == "unauthorized"
        assert identity_of(self.LEEWAY, **early(5)).user == "ada"
        assert code_of(self.LEEWAY, **early(5.001)) == "unauthorized"

    @pytest.mark.parametrize("claim", ["iat", "exp"])
    @pytest.mark.parametrize("value", [None, "1800000000", True, float("nan"), float("inf"), -1, 1e300, 10**30, [1]])
    def test_both_times_are_needed_and_are_numbers(self, claim: str, value: Any) -> None:
        assert code_of(**{claim: value}) == "unauthorized"

    def test_fractions_of_seconds_are_kept(self) -> None:
        assert identity_of(iat=NOW_S - 0.5).issued_at == int(NOW_S * 1000) - 500


class TestOrigin:
    def test_the_issuer_is_the_one_that_is_expected(self) -> None:
        expected = Expectations(issuer="https://id.example")
        assert identity_of(expected, iss="https://id.example").user == "ada"
        assert code_of(expected, iss="https://other.example") == "unauthorized"
        assert code_of(expected) == "unauthorized"
        assert code_of(expected, iss=["https://id.example"]) == "unauthorized"

    def test_the_audience_is_among_those_named(self) -> None:
        expected = Expectations(audience="chat")
        assert identity_of(expected, aud="chat").user == "ada"
        assert identity_of(expected, aud=["mail", "chat"]).user == "ada"
        assert code_of(expected, aud="chats") == "unauthorized"
        assert code_of(expected, aud=["mail"]) == "unauthorized"
        assert code_of(expected) == "unauthorized"

    def test_a_token_for_others_is_refused_where_no_audience_is_configured(self) -> None:
        assert code_of(aud="mail") == "unauthorized"
        assert code_of(aud=[{}]) == "unauthorized"


class TestGuests:
    def test_a_local_token_may_be_a_guests(self) -> None:
        assert identity_of(LOCAL, sub="guest-1", guest=True).person.guest is True

    def test_a_guest_has_no_roles_whatever_the_token_says(self) -> None:
        assert identity_of(LOCAL, sub="guest-1", guest=True, roles=["admin"]).roles == frozenset()

    def test_nobody_else_is_called_like_a_guest(self) -> None:
        assert code_of(sub="guest-1") == "unauthorized"
        assert code_of(sub="guest-1", guest=True) == "unauthorized"
        assert code_of(LOCAL, sub="guest-1") == "unauthorized"

    def test_a_guest_is_called_like_nobody_else(self) -> None:
        assert code_of(LOCAL, sub="ada", guest=True) == "unauthorized"

    def test_an_issuer_cannot_make_guests(self) -> None:
        assert identity_of(sub="ada", guest=True).person.guest is False


class TestTexts:
    def test_a_name_is_normalized_and_trimmed(self) -> None:
        assert check_name("  Zoe\u0308 ") == "Zoë"
        assert check_name("👩‍👩‍👧") == "👩‍👩‍👧"

    def test_a_name_is_counted_after_normalizing(self) -> None:
        assert check_name("e\u0301" * 64) == "é" * 64

    def test_an_id_is_kept_as_it_is(self) -> None:
        assert check_user(" Ada|7 ") == " Ada|7 "

    def test_no_message_repeats_a_claim(self) -> None:
        for claim in ("sub", "name", "jti", "iss", "aud", "roles"):
            claims: dict[str, Any] = {"iss": "x", "aud": "y", claim: "sesame\n" * 40}
            with pytest.raises(HubbubError) as caught:
                identity_of(Expectations(issuer="x", audience="y"), **claims)
            assert "sesame" not in str(caught.value)
