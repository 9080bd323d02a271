"""Keys that verify tokens: what kinds there are, and which one algorithm each kind allows.

The algorithm follows from the key and never from the token. That is the whole defence against algorithm confusion (a
public key taken for an HMAC secret) and against `none` (RFC 8725, section 3.1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from marshmallow import ValidationError

__all__ = ["MIN_SECRET_BYTES", "Algorithm", "PublicKey", "algorithm_of", "check_public_key", "check_secret", "read_pem"]

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MIN_SECRET_BYTES: Final = 32
"""HS256 needs a key at least as long as its hash (RFC 7518, section 3.2)."""

_MIN_RSA_BITS: Final = 2048
"""RFC 7518, section 3.3."""

_MAX_PEM_BYTES: Final = 65536
"""More than any key needs; keeps a mistyped path to a large file from being read whole."""


def algorithm_of(key: object) -> Algorithm | None:
    """The one algorithm that a public key may be used with, or None if Hubbub does not take such a key."""
    if isinstance(key, RSAPublicKey):
        return "RS256" if key.key_size >= _MIN_RSA_BITS else None
    if isinstance(key, EllipticCurvePublicKey):
        return "ES256" if isinstance(key.curve, SECP256R1) else None
    return "EdDSA" if isinstance(key, Ed25519PublicKey) else None


def read_pem(pem: str) -> PublicKey:
    """The public key in a PEM text. Raises `ValidationError` with a clause that completes "NAME …"."""
    if "PRIVATE KEY-----" in pem:
        raise ValidationError("is a private key; give the public half, the private one belongs to who signs tokens")
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValidationError("is not a public key in PEM form (-----BEGIN PUBLIC KEY-----)") from None
    if algorithm_of(key) is None or not isinstance(key, (RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey)):
        raise ValidationError("must be an RSA key of 2048 bits or more, an EC key on P-256, or an Ed25519 key")
    return key


def check_public_key(value: str) -> str:
    """The PEM text of a setting that is either PEM text itself (`\\n` may stand for line ends) or a path to it."""
    pem = value.replace("\\n", "\n") if "-----BEGIN" in value else _read_file(Path(value).expanduser())
    read_pem(pem)
    return pem


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PEM_BYTES).decode()
    except OSError as error:
        raise ValidationError(f"is taken for a path, which cannot be read ({error.strerror})") from None
    except ValueError:
        raise ValidationError("names a file that is not PEM text") from None


def check_secret(value: str) -> str:
    """A secret for HS256: long enough, and not by mistake a key or certificate that others know."""
    if "-----BEGIN" in value or value.startswith(("ssh-", "ecdsa-sha2-")):
        raise ValidationError("is a key pair's key, not a secret; a public key belongs in HUBBUB_JWT_PUBLIC_KEY")
    if len(value.encode("utf-8", "surrogateescape")) < MIN_SECRET_BYTES:
        raise ValidationError(f"must have at least {MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes one")
    return value
