"""Each kind of failure has words of its own, and none of them repeats what may hold a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_reasons import away, refusal
from hubbub.cluster.redis_wire import RedisWire
from hubbub.errors import HubbubError
from tests.support.rediskinds import Authority, TlsRedis, running_tls

PASSWORD = "pass-of-tests-3f1b"


@pytest.fixture(scope="module")
def server() -> Iterator[TlsRedis]:
    with running_tls(PASSWORD) as server:
        yield server


async def reason(url: str) -> str:
    """Why a connection cannot be made."""
    wire = RedisWire(RedisAddress.of(url))
    with pytest.raises(HubbubError) as caught:
        await wire.open()
    assert (caught.value.code, caught.value.retry_after) == ("unavailable", 1)
    return caught.value.message


class TestConnecting:
    async def test_a_wrong_password_is_one(self, server: TlsRedis) -> None:
        for wrong in (server.url.replace(PASSWORD, "another"), server.url.replace("hubbub:", "nobody:")):
            assert await reason(wrong) == "Redis refused the user or the password."

    async def test_a_certificate_that_is_not_trusted_is_one(self, server: TlsRedis, tmp_path: Path) -> None:
        other = Authority(tmp_path / "other")
        told = await reason(server.url.replace(str(server.authority.ca), str(other.ca)))
        assert told.startswith("Redis: the certificate is not trusted (")
        told = await reason(server.url.replace("127.0.0.1", "localhost"))
        assert "not trusted (Hostname mismatch" in told

    async def test_a_server_that_is_not_there_is_out_of_reach(self) -> None:
        assert await reason("redis://127.0.0.1:1") == "Redis is out of reach (ConnectionRefusedError)."

    async def test_a_name_that_nobody_knows_is_told_as_such(self) -> None:
        assert await reason("redis://nobody.invalid") == "Redis is out of reach (gaierror)."


class TestWords:
    @pytest.mark.parametrize(
        ("reply", "clause"),
        [
            ("NOAUTH Authentication required.", "refused the user or the password"),
            ("NOPERM this user has no permissions to access one of the channels used as arguments", "the channels"),
            ("NOPERM No permissions to access a key", "the keys"),
            ("NOPERM User ada has no permissions to run the 'publish' command", "the commands"),
            ("READONLY You can't write against a read only replica.", "is a replica here"),
            ("ERR Error running script: -READONLY You can't write against a read only replica.", "is a replica here"),
            ("MASTERDOWN Link with MASTER is down", "refused it (MASTERDOWN)"),
            ("s3cret", "Redis refused it"),
        ],
    )
    def test_what_the_server_answers_is_told_by_its_kind(self, reply: str, clause: str) -> None:
        told = refusal(reply)
        assert clause in told
        assert "ada" not in told
        assert "s3cret" not in told

    def test_a_failure_of_no_kind_is_told_by_its_name(self) -> None:
        assert away(TimeoutError(), "The sentinels").message == "The sentinels are out of reach (TimeoutError)."
        assert away(None).message == "Redis is out of reach (closed)."
        assert away(ResponseError("ERR s3cret")).message == "Redis is out of reach (ResponseError)."

    def test_what_was_told_before_is_told_again(self) -> None:
        inner = HubbubError("unavailable", "The sentinels know no service of this name.")
        assert away(inner).message == "The sentinels know no service of this name."
