"""What the short way takes, PyJWT takes, and says the same of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import HMACAlgorithm

from hubbub.pipeline.hs256 import Hs256, PlainHeader, plain_header
from tests.support.keys import SECRET, claims_of, key_of, pem, sign

KEY = SECRET.encode()
OPTIONS: Any = {f"verify_{claim}": False for claim in ("aud", "exp", "iat", "iss", "jti", "nbf", "sub")}

characters = st.sampled_from("AZaz09-_.=+/ \n\x00e")


def judged(text: str) -> Any:
    """What PyJWT says of a token: its claims, None if it refuses it."""
    try:
        return jwt.decode(text, KEY, algorithms=["HS256"], options=OPTIONS)
    except jwt.PyJWTError:
        return None


def signed(text: str, secret: bytes) -> str:
    signature = HMACAlgorithm(HMACAlgorithm.SHA256).sign(text.encode(), secret)
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


class TestHeaders:
    def test_a_plain_one_says_which_key(self) -> None:
        assert plain_header(sign(claims_of())) == PlainHeader(None)
        assert plain_header(sign(claims_of(), kid="one")) == PlainHeader("one")

    @pytest.mark.parametrize("more", [{"crit": ["exp"]}, {"b64": True, "crit": ["b64"]}, {"jwk": {}}, {"zip": "DEF"}])
    def test_one_that_says_more_is_not(self, more: dict[str, Any]) -> None:
        header = json.dumps({"alg": "HS256"} | more).encode()
        assert plain_header(base64.urlsafe_b64encode(header).decode().rstrip("=") + ".e30.x") is None

    @pytest.mark.parametrize("header", [b'{"alg":"none"}', b'{"alg":"HS512"}', b'{"alg":"HS256","kid":7}', b"[]", b"{"])
    def test_nor_is_one_of_another_kind(self, header: bytes) -> None:
        assert plain_header(base64.urlsafe_b64encode(header).decode().rstrip("=") + ".e30.x") is None

    @pytest.mark.parametrize("text", ["", ".", "..", "no token", "." * 600, "A" * 600 + ".e30.x"])
    def test_what_is_no_token_has_none(self, text: str) -> None:
        assert plain_header(text) is None


class TestSignatures:
    def test_the_claims_are_those_that_were_signed(self) -> None:
        claims = claims_of(name="Ada \U0001f642", roles=["admin"])
        assert Hs256(KEY).claims(sign(claims)) == claims

    def test_another_secret_signs_nothing(self) -> None:
        assert Hs256(KEY).claims(sign(claims_of(), "another secret, as long as it has to be")) is None

    @pytest.mark.parametrize("secret", [b"short", pem(key_of("ES256")).encode()])
    def test_a_secret_that_is_none_fits_nothing(self, secret: bytes) -> None:
        assert Hs256(secret).claims(signed(sign(claims_of()).rpartition(".")[0], secret)) is None

    @given(st.integers(0, 300), characters)
    def test_a_changed_token_is_taken_only_if_pyjwt_takes_it_too(self, place: int, character: str) -> None:
        token = sign(claims_of())
        place = min(place, len(token))
        for text in (token[:place] + character + token[place + 1 :], token[:place] + character + token[place:]):
            if plain_header(text) is not None:
                claims = Hs256(KEY).claims(text)
                assert claims is None or claims == judged(text)

    @pytest.mark.parametrize("payload", ["e30=", "e31", "e3+0", "W10", "Ig", "", "e30.e30", "!!!!"])
    def test_a_payload_that_is_none_is_not_taken_however_it_is_signed(self, payload: str) -> None:
        header = sign({}).partition(".")[0]
        assert Hs256(KEY).claims(signed(f"{header}.{payload}", KEY)) is None
