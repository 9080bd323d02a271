"""Which keys verify tokens, and with which algorithm."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from marshmallow import ValidationError

from hubbub.settings_keys import algorithm_of, check_public_key, check_secret, read_pem
from tests.support.keys import KINDS, SECRET, key_of, pem


class TestAlgorithms:
    @pytest.mark.parametrize("algorithm", KINDS)
    def test_each_kind_of_key_has_one_algorithm(self, algorithm: str) -> None:
        assert algorithm_of(key_of(algorithm).public_key()) == algorithm
        assert algorithm_of(read_pem(pem(key_of(algorithm)))) == algorithm

    def test_weak_and_foreign_keys_have_none(self) -> None:
        assert algorithm_of(rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()) is None
        assert algorithm_of(ec.generate_private_key(ec.SECP384R1()).public_key()) is None
        assert algorithm_of(ed448.Ed448PrivateKey.generate().public_key()) is None
        assert algorithm_of(b"secret") is None


class TestPublicKeys:
    def test_a_private_key_is_refused(self) -> None:
        text = key_of("EdDSA").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        with pytest.raises(ValidationError, match="private key"):
            check_public_key(text)

    def test_a_key_on_another_curve_is_refused(self) -> None:
        public = ec.generate_private_key(ec.SECP384R1()).public_key()
        with pytest.raises(ValidationError, match="P-256"):
            check_public_key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())

    @pytest.mark.parametrize("text", ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "-----BEGIN x"])
    def test_what_is_no_key_is_refused(self, text: str) -> None:
        with pytest.raises(ValidationError, match="PEM"):
            check_public_key(text)

    def test_a_path_that_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValidationError, match="No such file"):
            check_public_key(str(tmp_path / "none.pem"))
        with pytest.raises(ValidationError, match="directory"):
            check_public_key(str(tmp_path))

    def test_a_file_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "key.der"
        path.write_bytes(b"\x30\x82\xff\xfe")
        with pytest.raises(ValidationError, match="PEM"):
            check_public_key(str(path))


class TestSecrets:
    def test_a_secret_has_at_least_32_bytes(self) -> None:
        assert check_secret("x" * 32) == "x" * 32
        assert check_secret("ä" * 16) == "ä" * 16
        with pytest.raises(ValidationError, match="32 bytes"):
            check_secret("x" * 31)

    @pytest.mark.parametrize("algorithm", KINDS)
    def test_a_public_key_is_no_secret(self, algorithm: str) -> None:
        with pytest.raises(ValidationError, match="HUBBUB_JWT_PUBLIC_KEY"):
            check_secret(pem(key_of(algorithm)))

    def test_an_ssh_key_is_no_secret(self) -> None:
        with pytest.raises(ValidationError, match="not a secret"):
            check_secret("ssh-ed25519 " + SECRET)
