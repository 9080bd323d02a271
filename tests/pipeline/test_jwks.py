"""The keys that an issuer publishes: rotation, outages, rubbish."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from jwt.algorithms import OKPAlgorithm

from hubbub.errors import HubbubError
from hubbub.pipeline.jwks import JwksSource, read_jwks
from hubbub.settings import PublicKey
from tests.support.issuer import Issuer, running_issuer
from tests.support.keys import KINDS, jwk, key_of


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as issuer:
        issuer.keys = [jwk(key_of("ES256"), kid="one")]
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def source(issuer: Issuer, clock: Clock) -> AsyncIterator[JwksSource]:
    async with JwksSource(issuer.url, max_age_s=600, cooldown_s=10, clock=clock) as source:
        yield source


async def until_refreshed(source: JwksSource) -> None:
    """Wait for the fetch that is under way."""
    await source.refresh()


async def unavailable(source: JwksSource, kid: str) -> HubbubError:
    with pytest.raises(HubbubError) as caught:
        await source.find(kid, "ES256")
    assert caught.value.code == "unavailable"
    return caught.value


def rotate(issuer: Issuer, *kids: str) -> None:
    issuer.keys = [jwk(key_of("ES256", index), kid=kid) for index, kid in enumerate(kids)]


class TestFinding:
    async def test_a_key_is_fetched_when_it_is_first_asked_for(self, source: JwksSource, issuer: Issuer) -> None:
        assert source.find_nowait("one", "ES256") is None
        assert issuer.requests == 0
        assert await source.find("one", "ES256") == key_of("ES256").public_key()

    async def test_a_known_key_costs_no_request(self, source: JwksSource, issuer: Issuer) -> None:
        for _ in range(5):
            await source.find("one", "ES256")
        assert source.find_nowait("one", "ES256") is not None
        assert issuer.requests == 1

    async def test_many_who_ask_at_once_cause_one_request(self, source: JwksSource, issuer: Issuer) -> None:
        found = await asyncio.gather(*(source.find("one", "ES256") for _ in range(50)))
        assert None not in found
        assert issuer.requests == 1

    async def test_one_who_gives_up_does_not_stop_the_others(self, source: JwksSource, issuer: Issuer) -> None:
        issuer.gate.clear()
        first, second = (asyncio.create_task(source.find("one", "ES256")) for _ in range(2))
        await issuer.asked.wait()
        first.cancel()
        await asyncio.wait([first])
        issuer.gate.set()
        assert await second is not None

    async def test_a_token_without_a_key_id_fits_the_only_key_of_its_algorithm(
        self, source: JwksSource, issuer: Issuer, clock: Clock
    ) -> None:
        assert await source.find(None, "ES256") is not None
        rotate(issuer, "one", "two")
        clock.now_s += 601
        await source.refresh()
        assert await source.find(None, "ES256") is None

    @pytest.mark.parametrize("algorithm", KINDS)
    async def test_every_kind_of_key_is_read(self, source: JwksSource, issuer: Issuer, algorithm: str) -> None:
        issuer.keys = [jwk(key_of(kind), kid="same") for kind in KINDS]
        assert await source.find("same", algorithm) == key_of(algorithm).public_key()


class TestRotation:
    async def test_a_new_key_is_fetched_for(self, source: JwksSource, issuer: Issuer, clock: Clock) -> None:
        await source.find("one", "ES256")
        rotate(issuer, "one", "two")
        clock.now_s += 10
        assert await source.find("two", "ES256") == key_of("ES256", 1).public_key()
        assert issuer.requests == 2

    async def test_unknown_keys_cause_a_request_once_in_a_while(
        self, source: JwksSource, issuer: Issuer, clock: Clock
    ) -> None:
        await source.find("one", "ES256")
        for attempt in range(100):
            assert await source.find(f"made-up-{attempt}", "ES256") is None
        assert issuer.requests == 1
        clock.now_s += 10
        for attempt in range(100):
            assert await source.find(f"made-up-{attempt}", "ES256") is None
        assert issuer.requests == 2

    async def test_an_old_key_is_used_while_it_is_fetched_anew(
        self, source: JwksSource, issuer: Issuer, clock: Clock
    ) -> None:
        await source.find("one", "ES256")
        clock.now_s += 601
        issuer.gate.clear()
        assert source.find_nowait("one", "ES256") is not None
        assert source.find_nowait("one", "ES256") is not None
        issuer.gate.set()
        await until_refreshed(source)
        assert issuer.requests == 2

    async def test_a_key_that_was_withdrawn_is_gone_after_the_next_fetch(
        self, source: JwksSource, issuer: Issuer, clock: Clock
    ) -> None:
        await source.find("one", "ES256")
        issuer.keys = [jwk(key_of("ES256", 1), kid="two")]
        clock.now_s += 601
        source.find_nowait("one", "ES256")
        await until_refreshed(source)
        assert source.find_nowait("one", "ES256") is None


class TestOutage:
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (500, b""),
            (404, b"{}"),
            (200, b""),
            (200, b"not JSON"),
            (200, b"[]"),
            (200, b'{"keys": {}}'),
            (200, b'{"keys": []}'),
            (200, b'{"keys": [7, null, {}, {"kty": "EC"}]}'),
            (200, b"[" * 100_000),
            (200, json.dumps({"keys": [jwk(key_of("ES256", 1), kid="two")], "more": "x" * 300_000}).encode()),
        ],
    )
    async def test_rubbish_does_not_replace_what_is_known(
        self, source: JwksSource, issuer: Issuer, clock: Clock, status: int, body: bytes
    ) -> None:
        await source.find("one", "ES256")
        issuer.status, issuer.body = status, body
        clock.now_s += 100_000
        assert await source.find("one", "ES256") is not None
        await until_refreshed(source)
        assert issuer.requests == 2
        assert source.find_nowait("one", "ES256") is not None
        clock.now_s += 10
        await unavailable(source, "two")
        assert issuer.requests == 3

    async def test_while_the_issuer_is_away_an_unknown_key_is_unavailable_and_then_found(
        self, source: JwksSource, issuer: Issuer, clock: Clock
    ) -> None:
        issuer.status = 503
        error = await unavailable(source, "one")
        assert error.retry_after == pytest.approx(10)
        issuer.status = 200
        clock.now_s += 4
        error = await unavailable(source, "one")
        assert error.retry_after == pytest.approx(6)
        assert issuer.requests == 1
        clock.now_s += 6
        assert await source.find("one", "ES256") is not None

    async def test_a_server_that_is_not_there_is_unavailable(self, unused_tcp_port: int) -> None:
        async with JwksSource(f"http://127.0.0.1:{unused_tcp_port}/keys") as source:
            await unavailable(source, "one")

    async def test_a_server_that_does_not_answer_is_given_up(self, issuer: Issuer) -> None:
        issuer.gate.clear()
        async with JwksSource(issuer.url, timeout_s=0.05) as source:
            await unavailable(source, "one")
        issuer.gate.set()

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_no_redirect_is_followed(self, source: JwksSource, issuer: Issuer, status: int) -> None:
        issuer.status, issuer.headers = status, {"Location": issuer.url}
        await unavailable(source, "one")
        assert issuer.requests == 1

    async def test_closing_ends_a_fetch_under_way(self, issuer: Issuer) -> None:
        issuer.gate.clear()
        source = JwksSource(issuer.url)
        waiting = asyncio.create_task(source.find("one", "ES256"))
        await issuer.asked.wait()
        await source.close()
        await source.close()
        with pytest.raises(HubbubError, match="unavailable"):
            await waiting
        issuer.gate.set()


class TestReading:
    """Which members of a set are taken."""

    @staticmethod
    def read(*members: object) -> dict[tuple[str | None, str], PublicKey]:
        return dict(read_jwks({"keys": list(members)}))

    @pytest.mark.parametrize("algorithm", KINDS)
    def test_a_key_may_name_its_algorithm_and_use(self, algorithm: str) -> None:
        member = jwk(key_of(algorithm), kid="k", alg=algorithm, use="sig", key_ops=["verify"])
        assert list(self.read(member)) == [("k", algorithm)]

    @pytest.mark.parametrize(
        "changes",
        [
            {"alg": "RS512"},
            {"alg": "PS256"},
            {"alg": "HS256"},
            {"alg": "RSA-OAEP"},
            {"alg": 7},
            {"use": "enc"},
            {"key_ops": ["encrypt"]},
            {"key_ops": "verify"},
            {"n": "AQAB"},
            {"n": 7},
            {"n": None},
            {"kty": "oct", "k": "c2VjcmV0"},
            {"kty": ["RSA"]},
            {"kty": None},
        ],
    )
    def test_a_key_for_something_else_is_passed_over(self, changes: dict[str, Any]) -> None:
        assert self.read(jwk(key_of("RS256"), kid="k") | changes) == {}

    def test_a_secret_is_never_a_public_key(self) -> None:
        assert self.read({"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "k", "alg": "HS256"}) == {}

    def test_a_private_key_is_passed_over(self) -> None:
        private = OKPAlgorithm.to_jwk(key_of("EdDSA"), as_dict=True)  # type: ignore[call-overload]
        assert "d" in private
        assert self.read(private) == {}

    def test_other_curves_are_passed_over(self) -> None:
        assert self.read(jwk(key_of("ES256")) | {"crv": "P-384"}, jwk(key_of("EdDSA")) | {"crv": "Ed448"}) == {}

    def test_one_bad_key_does_not_spoil_the_others(self) -> None:
        assert list(self.read({"kty": "??"}, jwk(key_of("ES256"), kid="k"))) == [("k", "ES256")]

    def test_a_key_id_that_is_no_text_is_none(self) -> None:
        assert list(self.read(jwk(key_of("ES256"), kid=7))) == [(None, "ES256")]

    def test_the_first_of_two_with_the_same_id_counts(self) -> None:
        found = self.read(jwk(key_of("ES256"), kid="k"), jwk(key_of("ES256", 1), kid="k"))
        assert found == {("k", "ES256"): key_of("ES256").public_key()}

    def test_only_so_many_are_read(self) -> None:
        member = jwk(key_of("EdDSA"))
        assert len(self.read(*(member | {"kid": f"k{number}"} for number in range(150)))) == 100
