"""Tokens that Hubbub signs itself: for guests, and for development while no key of an issuer is configured."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt

from hubbub.errors import StoreError
from hubbub.pipeline.claims import GUEST_PREFIX
from hubbub.settings import Settings

__all__ = ["LOCAL_ISSUER", "LOCAL_KID", "Signer", "issuer_signer", "local_secret", "local_signer", "new_guest_id"]

LOCAL_KID: Final = "hubbub-local"
"""The key id of tokens that are signed with the local secret; no other key is asked about them."""

LOCAL_ISSUER: Final = "hubbub"
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Signer:
    """A secret for HS256, and what its tokens say of their origin."""

    secret: bytes = field(repr=False)
    kid: str | None = None
    issuer: str | None = None
    audience: str | None = None

    def mint(
        self,
        *,
        user: str,
        name: str | None = None,
        roles: Sequence[str] = (),
        rooms: Sequence[str] | None = None,
        guest: bool = False,
        now_s: float,
        ttl_s: float,
    ) -> str:
        """A token for `user`, valid from `now_s` (Unix time) for `ttl_s` seconds; its times are exact to a millisecond,
        so that one made right after a revocation is not taken for one from before it.
        """
        issued_ms = math.floor(now_s * 1000)
        claims: dict[str, Any] = {
            "sub": user,
            "iat": issued_ms / 1000,
            "exp": (issued_ms + round(ttl_s * 1000)) / 1000,
            "jti": secrets.token_hex(16),
        }
        optional: dict[str, Any] = {
            "name": name,
            "roles": list(roles) or None,
            "rooms": None if rooms is None else list(rooms),
        }
        optional |= {"iss": self.issuer, "aud": self.audience, "guest": guest or None}
        claims |= {claim: value for claim, value in optional.items() if value is not None}
        headers = None if self.kid is None else {"kid": self.kid}
        return jwt.encode(claims, self.secret, algorithm="HS256", headers=headers)


def local_signer(settings: Settings) -> Signer:
    """The signer with the local secret, which is made if there is none. Raises `StoreError`."""
    return Signer(local_secret(settings.local_secret_path), kid=LOCAL_KID, issuer=LOCAL_ISSUER)


def issuer_signer(settings: Settings) -> Signer | None:
    """The signer with the configured secret; None if none is configured (a public key signs nothing)."""
    if settings.jwt_secret is None:
        return None
    secret = settings.jwt_secret.encode("utf-8", "surrogateescape")
    return Signer(secret, issuer=settings.jwt_issuer, audience=settings.jwt_audience)


def new_guest_id() -> str:
    """An id that nobody had before and nobody can guess."""
    return GUEST_PREFIX + secrets.token_hex(8)


def local_secret(path: Path) -> bytes:
    """The 32 bytes kept in the file `path`, made if it is not there, with its directory (only for the owner, both).

    However many processes start at once, all get the same bytes, and none ever sees half a file: it is written
    aside and linked into place, which fails for all but the first. Raises `StoreError` if the file cannot be read or
    made, is not such a secret, or can be read by others.
    """
    try:
        if not path.exists():
            _create(path)
        return _read(path)
    except OSError as error:
        raise StoreError(f"The secret of local tokens, {path}, cannot be read or made: {error.strerror}.") from None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        text = file.read(4 * _SECRET_BYTES)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StoreError(f"The secret of local tokens, {path}, is open to others; make it yours alone (chmod 600).")
    try:
        secret = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise StoreError(
            f"{path} is not a secret of local tokens; remove it, and a new one is made (guests start anew)."
        )
    return secret


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(_SECRET_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Make the new name survive a power loss; a token signed with a lost secret would be worthless."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
