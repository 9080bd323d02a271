"""The local secret, and the tokens that Hubbub signs itself."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import jwt
import pytest

from hubbub.errors import StoreError
from hubbub.pipeline.local import LOCAL_KID, Signer, issuer_signer, local_secret, local_signer, new_guest_id
from hubbub.settings import Settings
from tests.support.keys import NOW_S, SECRET


class TestSecret:
    """Made once, kept for good, for its owner alone."""

    def test_it_is_made_once(self, tmp_path: Path) -> None:
        first = local_secret(tmp_path / "db-secret")
        assert len(first) == 32
        assert local_secret(tmp_path / "db-secret") == first

    def test_each_place_has_another(self, tmp_path: Path) -> None:
        assert local_secret(tmp_path / "one") != local_secret(tmp_path / "two")

    def test_it_and_its_directory_are_for_the_owner_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "state" / "db-secret"
        old = os.umask(0)
        try:
            local_secret(path)
        finally:
            os.umask(old)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_nothing_is_left_beside_it(self, tmp_path: Path) -> None:
        local_secret(tmp_path / "db-secret")
        assert [path.name for path in tmp_path.iterdir()] == ["db-secret"]

    def test_all_who_start_at_once_get_the_same(self, tmp_path: Path) -> None:
        for attempt in range(20):
            path = tmp_path / f"secret-{attempt}"
            barrier = Barrier(8)

            def start(path: Path = path, barrier: Barrier = barrier) -> bytes:
                barrier.wait()
                return local_secret(path)

            with ThreadPoolExecutor(8) as pool:
                secrets = {future.result() for future in [pool.submit(start) for _ in range(8)]}
            assert len(secrets) == 1
            assert secrets == {local_secret(path)}

    @pytest.mark.parametrize("content", [b"", b"abc", b"zz" * 32, b"ab" * 31, b"ab" * 33, b"\xff" * 64])
    def test_another_file_is_not_taken_for_it(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "db-secret"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(StoreError, match="not a secret of local tokens"):
            local_secret(path)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
    def test_one_that_others_can_open_is_refused(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "db-secret"
        local_secret(path)
        path.chmod(mode)
        with pytest.raises(StoreError, match="chmod 600"):
            local_secret(path)

    def test_where_it_cannot_be_made_one_sentence_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match=r"cannot be read or made: .+\.$"):
            local_secret(tmp_path / "file" / "db-secret")


class TestSigners:
    def test_a_local_token_says_so(self, tmp_path: Path) -> None:
        signer = local_signer(Settings(store=f"sqlite:///{tmp_path}/db"))
        token = signer.mint(user="ada", now_s=NOW_S, ttl_s=60)
        assert jwt.get_unverified_header(token)["kid"] == LOCAL_KID
        assert signer.secret == local_secret(tmp_path / "db-secret")

    def test_an_issuers_token_has_what_the_settings_expect(self) -> None:
        signer = issuer_signer(Settings(jwt_secret=SECRET, jwt_issuer="id", jwt_audience="chat"))
        assert signer is not None
        token = signer.mint(user="ada", name="Ada", roles=["bot"], rooms=["a*"], now_s=NOW_S, ttl_s=60)
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims.pop("jti")
        assert claims == {
            "sub": "ada",
            "name": "Ada",
            "roles": ["bot"],
            "rooms": ["a*"],
            "iss": "id",
            "aud": "chat",
            "iat": NOW_S,
            "exp": NOW_S + 60,
        }

    def test_a_public_key_signs_nothing(self) -> None:
        assert issuer_signer(Settings(jwks_url="https://id.example/keys")) is None

    def test_an_empty_list_of_rooms_stays_a_limit(self) -> None:
        token = Signer(b"x" * 32).mint(user="ada", rooms=[], now_s=NOW_S, ttl_s=60)
        assert jwt.decode(token, options={"verify_signature": False})["rooms"] == []

    def test_a_secret_is_not_in_the_representation(self) -> None:
        assert "secret" not in repr(Signer(b"secret"))

    def test_guests_ids_differ(self) -> None:
        ids = {new_guest_id() for _ in range(100)}
        assert len(ids) == 100
        assert all(id.startswith("guest-") for id in ids)
