"""Real keys of every kind, and tokens signed with them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

__all__ = ["KINDS", "NOW_S", "SECRET", "PrivateKey", "claims_of", "jwk", "key_of", "pem", "sign"]

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

KINDS: Final = ("RS256", "ES256", "EdDSA")
SECRET: Final = "a secret of the issuer, long enough for HS256"
NOW_S: Final = 1_800_000_000.0
"""The time in tests whose clock is passed in."""


@cache
def key_of(algorithm: str, which: int = 0) -> PrivateKey:
    """The private key number `which` for an algorithm; the same in the whole run, because making one takes time."""
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
    raise AssertionError(algorithm)


def pem(key: PrivateKey) -> str:
    """The public half, as text."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(key: PrivateKey, **members: object) -> dict[str, Any]:
    """The public half as a JSON Web Key, with further members such as `kid`."""
    public = key.public_key()
    match public:
        case rsa.RSAPublicKey():
            document = RSAAlgorithm.to_jwk(public)
        case ec.EllipticCurvePublicKey():
            document = ECAlgorithm.to_jwk(public)
        case _:
            document = OKPAlgorithm.to_jwk(public)
    members_of_key: dict[str, Any] = json.loads(document)
    return members_of_key | members


def claims_of(user: str = "ada", **changes: object) -> dict[str, Any]:
    """The claims of a token issued now for an hour; a change to None leaves a claim out."""
    claims: dict[str, object] = {"sub": user, "iat": int(NOW_S), "exp": int(NOW_S) + 3600} | changes
    return {claim: value for claim, value in claims.items() if value is not None}


def sign(
    claims: dict[str, Any], key: PrivateKey | str | bytes = SECRET, *, algorithm: str = "HS256", **header: Any
) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers=header or None)
