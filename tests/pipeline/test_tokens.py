"""Tokens are verified by the key, and by nothing that they say of themselves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import HubbubError, StoreError
from hubbub.pipeline.local import Signer, local_signer
from hubbub.pipeline.tokens import MAX_TOKEN_BYTES, TokenVerifier
from hubbub.settings import Settings
from tests.support.issuer import running_issuer
from tests.support.keys import KINDS, NOW_S, SECRET, claims_of, jwk, key_of, pem, sign


def verifier(*, now_s: float = NOW_S, **settings: Any) -> TokenVerifier:
    return TokenVerifier(Settings(**settings), clock=lambda: now_s)


async def code_of(tokens: TokenVerifier, token: object) -> str:
    with pytest.raises(HubbubError) as caught:
        await tokens.verify(token)
    return caught.value.code


def segment(content: object) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/hubbub.db"


@pytest.fixture
def local(store: str) -> Signer:
    return local_signer(Settings(store=store))


def guest_of(local: Signer, **changes: Any) -> str:
    claims: dict[str, Any] = {"user": "guest-1", "guest": True, "now_s": NOW_S, "ttl_s": 60}
    return local.mint(**claims | changes)


class TestKeys:
    """One key, one algorithm."""

    async def test_a_secret_verifies_hs256(self) -> None:
        identity = await verifier(jwt_secret=SECRET).verify(sign(claims_of(name="Ada")))
        assert (identity.user, identity.person.name) == ("ada", "Ada")

    @pytest.mark.parametrize("algorithm", KINDS)
    async def test_a_public_key_verifies_its_algorithm(self, algorithm: str) -> None:
        key = key_of(algorithm)
        tokens = verifier(jwt_public_key=pem(key))
        assert (await tokens.verify(sign(claims_of(), key, algorithm=algorithm))).user == "ada"

    @pytest.mark.parametrize("algorithm", KINDS)
    async def test_another_key_of_the_kind_does_not(self, algorithm: str) -> None:
        tokens = verifier(jwt_public_key=pem(key_of(algorithm)))
        assert await code_of(tokens, sign(claims_of(), key_of(algorithm, 1), algorithm=algorithm)) == "unauthorized"

    @pytest.mark.parametrize("algorithm", KINDS)
    async def test_a_published_key_verifies_its_algorithm(self, algorithm: str) -> None:
        key = key_of(algorithm)
        async with running_issuer() as issuer:
            issuer.keys = [jwk(key, kid="k1")]
            tokens = verifier(jwks_url=issuer.url)
            token = sign(claims_of(), key, algorithm=algorithm, kid="k1")
            assert tokens.verify_nowait(token) is None
            assert (await tokens.verify(token)).user == "ada"
            known = tokens.verify_nowait(token)
            assert known is not None
            assert known.user == "ada"
            await tokens.close()

    async def test_keys_are_there_after_the_start(self) -> None:
        async with running_issuer() as issuer:
            issuer.keys = [jwk(key_of("ES256"), kid="k1")]
            tokens = verifier(jwks_url=issuer.url)
            await tokens.start()
            assert tokens.verify_nowait(sign(claims_of(), key_of("ES256"), algorithm="ES256", kid="k1")) is not None
            await tokens.close()

    async def test_an_unknown_published_key_is_unauthorized_and_an_absent_issuer_unavailable(self) -> None:
        async with running_issuer() as issuer:
            issuer.keys = [jwk(key_of("ES256"), kid="k1")]
            tokens = verifier(jwks_url=issuer.url)
            unknown = sign(claims_of(), key_of("ES256", 1), algorithm="ES256", kid="k2")
            assert await code_of(tokens, unknown) == "unauthorized"
            await tokens.close()
            issuer.status = 500
            tokens = verifier(jwks_url=issuer.url)
            assert await code_of(tokens, unknown) == "unavailable"
            await tokens.close()

    async def test_issuer_audience_and_leeway_are_those_of_the_settings(self) -> None:
        tokens = verifier(jwt_secret=SECRET, jwt_issuer="id", jwt_audience="chat", jwt_leeway_s=7.0)
        assert (await tokens.verify(sign(claims_of(iss="id", aud="chat", iat=NOW_S + 7)))).user == "ada"
        assert await code_of(tokens, sign(claims_of(iss="id", aud="chat", iat=NOW_S + 7.1))) == "unauthorized"
        assert await code_of(tokens, sign(claims_of(iss="id"))) == "unauthorized"
        assert await code_of(tokens, sign(claims_of(aud="chat"))) == "unauthorized"

    async def test_an_expired_token_is_told_apart(self) -> None:
        assert await code_of(verifier(jwt_secret=SECRET, now_s=NOW_S + 4000), sign(claims_of())) == "token_expired"

    async def test_an_expired_token_with_a_wrong_signature_is_only_unauthorized(self) -> None:
        tokens = verifier(jwt_secret=SECRET, now_s=NOW_S + 4000)
        assert await code_of(tokens, sign(claims_of(), "another secret, of the same length as it")) == "unauthorized"


class TestForgeries:
    """RFC 8725: what the token says of its algorithm and key does not count."""

    @pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, "HS512", 7, ["HS256"], {}])
    async def test_a_token_without_a_signature_is_refused(self, alg: object) -> None:
        token = f"{segment({'alg': alg, 'typ': 'JWT'})}.{segment(claims_of())}."
        assert await code_of(verifier(jwt_secret=SECRET), token) == "unauthorized"
        assert await code_of(verifier(jwt_public_key=pem(key_of("ES256"))), token) == "unauthorized"

    @pytest.mark.parametrize("algorithm", KINDS)
    async def test_a_public_key_is_not_taken_for_a_secret(self, algorithm: str) -> None:
        public = key_of(algorithm).public_key()
        tokens = verifier(jwt_public_key=pem(key_of(algorithm)))
        signed = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{segment(claims_of())}"
        for form in (
            pem(key_of(algorithm)).encode(),
            pem(key_of(algorithm)).strip().encode(),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        ):
            forged = hmac.digest(form, signed.encode(), hashlib.sha256)
            assert await code_of(tokens, f"{signed}.{segment(forged)}") == "unauthorized"

    async def test_a_stronger_algorithm_of_the_same_key_is_refused_too(self) -> None:
        assert await code_of(verifier(jwt_secret=SECRET), sign(claims_of(), SECRET * 2, algorithm="HS512")) == (
            "unauthorized"
        )
        tokens = verifier(jwt_public_key=pem(key_of("RS256")))
        for algorithm in ("RS512", "PS256"):
            assert await code_of(tokens, sign(claims_of(), key_of("RS256"), algorithm=algorithm)) == "unauthorized"

    async def test_a_key_in_the_header_is_not_used(self) -> None:
        tokens = verifier(jwt_public_key=pem(key_of("ES256")))
        mine = key_of("ES256", 1)
        token = sign(claims_of(), mine, algorithm="ES256", jwk=jwk(mine), jku="https://evil.example/keys")
        assert await code_of(tokens, token) == "unauthorized"

    async def test_a_published_key_does_not_verify_another_algorithm(self) -> None:
        async with running_issuer() as issuer:
            issuer.keys = [jwk(key_of("RS256"), kid="k1")]
            tokens = verifier(jwks_url=issuer.url)
            for algorithm, key in (("PS256", key_of("RS256")), ("HS256", SECRET), ("ES256", key_of("ES256"))):
                assert await code_of(tokens, sign(claims_of(), key, algorithm=algorithm, kid="k1")) == "unauthorized"
            await tokens.close()

    async def test_a_changed_claim_breaks_the_signature(self) -> None:
        header, _, signature = sign(claims_of()).split(".")
        forged = f"{header}.{segment(claims_of('eve'))}.{signature}"
        assert await code_of(verifier(jwt_secret=SECRET), forged) == "unauthorized"

    async def test_extensions_that_are_not_understood_are_refused(self) -> None:
        token = sign(claims_of(), crit=["x-new"])
        assert await code_of(verifier(jwt_secret=SECRET), token) == "unauthorized"


class TestForm:
    """What is no token is refused before anything is made of it."""

    @pytest.mark.parametrize("token", [None, "", 7, b"x", [], {}, "x", "a.b.c", "..", "\u0661.b.c", "a b"])
    async def test_what_is_no_token_is_unauthorized(self, token: object) -> None:
        assert await code_of(verifier(jwt_secret=SECRET), token) == "unauthorized"

    async def test_a_token_of_more_than_8_kilobytes_is_refused(self) -> None:
        tokens = verifier(jwt_secret=SECRET)
        fits = sign(claims_of(more="x" * 5900))
        assert len(fits) <= MAX_TOKEN_BYTES
        assert (await tokens.verify(fits)).user == "ada"
        large = sign(claims_of(more="x" * 6200))
        assert len(large) > MAX_TOKEN_BYTES
        assert await code_of(tokens, large) == "unauthorized"

    @pytest.mark.parametrize("part", ["header", "payload"])
    async def test_deep_nesting_is_refused(self, part: str) -> None:
        deep = b"[" * 3000 + b"]" * 3000
        token = f"{segment(deep)}.e30.x" if part == "header" else jwt.api_jws.encode(deep, SECRET)
        assert len(token) < MAX_TOKEN_BYTES
        assert await code_of(verifier(jwt_secret=SECRET), token) == "unauthorized"

    async def test_a_payload_that_is_no_object_is_refused(self) -> None:
        for payload in (b"[]", b"7", b"null", b"\xff", b"9" * 5000, b""):
            assert await code_of(verifier(jwt_secret=SECRET), jwt.api_jws.encode(payload, SECRET)) == "unauthorized"

    async def test_a_key_id_that_is_no_text_is_refused(self) -> None:
        kids: tuple[object, ...] = (7, ["hubbub-local"], {}, True)
        for kid in kids:
            token = f"{segment({'alg': 'HS256', 'kid': kid})}.{segment(claims_of())}.AAAA"
            assert await code_of(verifier(jwt_secret=SECRET), token) == "unauthorized"

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
    async def test_whatever_is_signed_ends_in_an_identity_or_a_code(self, value: object) -> None:
        tokens = verifier(jwt_secret=SECRET)
        for claim in ("sub", "name", "roles", "rooms", "jti", "exp", "iat", "nbf", "aud"):
            try:
                claims = claims_of() | {claim: value}
                await tokens.verify(jwt.api_jws.encode(json.dumps(claims).encode(), SECRET))
            except HubbubError as error:
                assert error.code in ("unauthorized", "token_expired")  # noqa: PT017

    @given(st.text(max_size=60), st.text(max_size=60))
    async def test_whatever_is_sent_ends_in_a_code(self, head: str, rest: str) -> None:
        assert await code_of(verifier(jwt_secret=SECRET), f"{segment(head.encode('utf-8', 'replace'))}.{rest}") == (
            "unauthorized"
        )

    async def test_no_refusal_repeats_the_token(self) -> None:
        token = sign(claims_of("sesame"), "another secret, of the same length as it")
        with pytest.raises(HubbubError) as caught:
            await verifier(jwt_secret=SECRET).verify(token)
        shown = f"{caught.value}{caught.value.document()}"
        assert all(part not in shown for part in (*token.split("."), "sesame"))


class TestLocalTokens:
    """Signed by Hubbub itself; with an issuer's key only guests have them."""

    async def test_without_a_key_they_are_for_everybody(self, store: str, local: Signer) -> None:
        tokens = verifier(store=store)
        dev = await tokens.verify(local.mint(user="ada", roles=["admin"], now_s=NOW_S, ttl_s=60))
        assert (dev.user, dev.is_admin, dev.person.guest) == ("ada", True, False)
        assert (await tokens.verify(guest_of(local))).person.guest is True

    async def test_without_a_key_and_guests_they_are_for_everybody_else(self, store: str, local: Signer) -> None:
        tokens = verifier(store=store, guests="off")
        assert (await tokens.verify(local.mint(user="ada", now_s=NOW_S, ttl_s=60))).user == "ada"
        assert await code_of(tokens, guest_of(local)) == "unauthorized"

    async def test_with_a_key_they_are_refused(self, store: str, local: Signer) -> None:
        tokens = verifier(store=store, jwt_secret=SECRET)
        assert await code_of(tokens, guest_of(local)) == "unauthorized"
        assert await code_of(tokens, local.mint(user="ada", now_s=NOW_S, ttl_s=60)) == "unauthorized"

    async def test_with_a_key_and_guests_they_are_for_guests(self, store: str, local: Signer) -> None:
        tokens = verifier(store=store, jwt_secret=SECRET, guests="on")
        assert (await tokens.verify(guest_of(local))).person.guest is True
        assert await code_of(tokens, local.mint(user="ada", now_s=NOW_S, ttl_s=60)) == "unauthorized"
        assert (await tokens.verify(sign(claims_of()))).user == "ada"

    async def test_the_issuers_key_cannot_sign_them(self, store: str) -> None:
        tokens = verifier(store=store, jwt_secret=SECRET, guests="on")
        forged = sign(claims_of("guest-1", guest=True, iss="hubbub"), kid="hubbub-local")
        assert await code_of(tokens, forged) == "unauthorized"

    async def test_the_local_key_cannot_sign_for_the_issuer(self, store: str, local: Signer) -> None:
        tokens = verifier(store=store, jwt_secret=SECRET, guests="on")
        forged = Signer(local.secret).mint(user="ada", now_s=NOW_S, ttl_s=60)
        assert await code_of(tokens, forged) == "unauthorized"

    async def test_no_issuer_makes_somebody_who_is_called_like_a_guest(self, store: str) -> None:
        tokens = verifier(store=store, jwt_secret=SECRET, guests="on")
        assert await code_of(tokens, sign(claims_of("guest-1"))) == "unauthorized"

    async def test_without_a_key_a_foreign_token_is_refused(self, store: str) -> None:
        assert await code_of(verifier(store=store), sign(claims_of())) == "unauthorized"

    async def test_they_are_known_by_their_key_id_alone(self, store: str, local: Signer) -> None:
        nameless = Signer(local.secret, issuer="hubbub").mint(user="ada", now_s=NOW_S, ttl_s=60)
        assert await code_of(verifier(store=store), nameless) == "unauthorized"

    async def test_they_end_exactly_at_their_time(self, store: str, local: Signer) -> None:
        token = guest_of(local)
        assert (await verifier(store=store, now_s=NOW_S + 59.9).verify(token)).user == "guest-1"
        assert await code_of(verifier(store=store, now_s=NOW_S + 60), token) == "token_expired"

    async def test_a_clock_that_was_set_back_a_little_does_not_lock_anybody_out(
        self, store: str, local: Signer
    ) -> None:
        assert (await verifier(store=store, now_s=NOW_S - 4).verify(guest_of(local))).user == "guest-1"

    def test_the_secret_is_not_made_where_it_is_not_needed(self, store: str, tmp_path: Path) -> None:
        verifier(store=store, jwt_secret=SECRET)
        assert list(tmp_path.iterdir()) == []

    async def test_a_secret_that_cannot_be_made_is_told_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError):
            verifier(store=f"sqlite:///{tmp_path}/file/hubbub.db")


class TestGuests:
    async def test_a_guest_gets_a_token_that_is_accepted(self, store: str) -> None:
        tokens = verifier(store=store, guest_token_s=600.0)
        token, identity = tokens.mint_guest(" Zoe\u0308 ")
        assert await tokens.verify(token) == identity
        assert (identity.person.name, identity.person.guest, identity.roles) == ("Zoë", True, frozenset())
        assert identity.user.startswith("guest-")
        assert identity.expires_at == int(NOW_S + 600) * 1000
        assert identity.jti

    async def test_a_token_holds_at_once_whatever_the_fraction_of_a_second(self, store: str) -> None:
        for fraction in (0.0004, 0.0005, 0.0006, 0.9999):
            tokens = verifier(store=store, now_s=NOW_S + fraction)
            assert (await tokens.verify(tokens.mint_guest("Zoe")[0])).issued_at <= (NOW_S + fraction) * 1000

    async def test_two_guests_of_one_name_are_two(self, store: str) -> None:
        tokens = verifier(store=store)
        assert tokens.mint_guest("Zoe")[1].user != tokens.mint_guest("Zoe")[1].user

    async def test_a_token_outlives_the_process(self, store: str) -> None:
        token, identity = verifier(store=store).mint_guest("Zoe")
        assert await verifier(store=store).verify(token) == identity

    @pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\ud800"])
    async def test_a_name_that_is_none_is_named_as_the_fault(self, store: str, name: str) -> None:
        with pytest.raises(HubbubError) as caught:
            verifier(store=store).mint_guest(name)
        assert caught.value.code == "bad_request"
        assert set(caught.value.fields or ()) == {"name"}

    @pytest.mark.parametrize("settings", [{"guests": "off"}, {"jwt_secret": SECRET}])
    async def test_where_guests_are_off_there_are_none(self, store: str, settings: dict[str, Any]) -> None:
        with pytest.raises(HubbubError) as caught:
            verifier(store=store, **settings).mint_guest("Zoe")
        assert caught.value.code == "not_found"
