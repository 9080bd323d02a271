"""Who is asking: from a token to an identity (WIRE, "Connecting").

Which algorithm a token may be signed with follows from the kind of key and from nothing that the token says; its header
only chooses among keys. Tokens with the key id `hubbub-local` are signed by Hubbub itself and are checked against the
local secret alone; while a key of an issuer is configured, only guests have such tokens, and only if guests are on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.pipeline.claims import Expectations, check_claims, check_name
from hubbub.pipeline.hs256 import Hs256, plain_header
from hubbub.pipeline.jwks import JwksSource
from hubbub.pipeline.local import LOCAL_ISSUER, LOCAL_KID, issuer_signer, local_signer, new_guest_id
from hubbub.settings import PublicKey, Settings, algorithm_of, read_pem

__all__ = ["MAX_TOKEN_BYTES", "TokenVerifier"]

MAX_TOKEN_BYTES: Final = 8192
"""What is larger is refused unread. Proxies refuse headers of that size too, so no real token gets there."""

_SIGNATURE_ONLY: Final[Any] = {
    "verify_signature": True,
    "enforce_minimum_key_length": True,
    "require": [],
    **{f"verify_{claim}": False for claim in ("aud", "exp", "iat", "iss", "jti", "nbf", "sub")},
}
"""Claims are checked in `check_claims`, by a clock that tests can set."""

_LOCAL: Final = Expectations(issuer=LOCAL_ISSUER, early_s=5.0, local=True)
"""No leeway at the end, because the clock that signed is the clock that checks; but that clock may be set back a little
after it signed.
"""


class TokenVerifier:
    """Verifies tokens as the settings say, and makes those of guests.

    Making one opens the local secret where it is needed, and raises `StoreError` if that cannot be done. `clock` gives
    the Unix time in seconds. `close` it when done.
    """

    def __init__(
        self, settings: Settings, *, jwks: JwksSource | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._guests_on = settings.guests_on
        self._guest_token_s = settings.guest_token_s
        self._only_guests_local = settings.key_configured
        self._local = local_signer(settings) if settings.guests_on or not settings.key_configured else None
        self._expected = Expectations(
            settings.jwt_issuer, settings.jwt_audience, early_s=settings.jwt_leeway_s, late_s=settings.jwt_leeway_s
        )
        signer = issuer_signer(settings)
        self._secret = None if signer is None else signer.secret
        self._quick = None if self._secret is None else Hs256(self._secret)
        self._quick_local = None if self._local is None else Hs256(self._local.secret)
        self._public_key = None if settings.jwt_public_key is None else read_pem(settings.jwt_public_key)
        self._jwks = jwks
        if jwks is None and settings.jwks_url is not None:
            self._jwks = JwksSource(settings.jwks_url)

    @property
    def guests_on(self) -> bool:
        return self._guests_on

    async def start(self) -> None:
        """Fetch the issuer's keys, if they are published, so that the first client need not wait. Never raises."""
        if self._jwks is not None:
            await self._jwks.refresh()

    async def close(self) -> None:
        """Safe to call twice."""
        if self._jwks is not None:
            await self._jwks.close()

    async def verify(self, token: object) -> Identity:
        """The bearer's identity.

        Raises `HubbubError`: `token_expired`; `unavailable` if the issuer's keys are not known and cannot be fetched;
        `unauthorized` for all else. No error and no log line has any part of the token.
        """
        identity = self.verify_nowait(token)
        if identity is not None:
            return identity
        text = _text(token)
        kid, algorithm = _header(text)
        key = None if self._jwks is None else await self._jwks.find(kid, algorithm)
        if key is None:
            raise HubbubError("unauthorized", "The token is signed with a key that the issuer does not have.")
        return self._identity(text, key, self._expected)

    def verify_nowait(self, token: object) -> Identity | None:
        """As `verify`, without waiting; None if a key has to be fetched first. Needs a running loop."""
        text = _text(token)
        quick = self._verify_quickly(text)
        if quick is not None:
            return quick
        kid, algorithm = _header(text)
        if kid == LOCAL_KID:
            return self._verify_local(text)
        if self._secret is not None:
            return self._identity(text, self._secret, self._expected)
        if self._public_key is not None:
            return self._identity(text, self._public_key, self._expected)
        if self._jwks is None:
            raise HubbubError(
                "unauthorized", "The token is not one of this service's own, and it trusts no other issuer."
            )
        key = self._jwks.find_nowait(kid, algorithm)
        return None if key is None else self._identity(text, key, self._expected)

    def mint_guest(self, name: str) -> tuple[str, Identity]:
        """A token for a new guest called `name`, and who that is.

        Raises `HubbubError`: `not_found` if guests are off, `bad_request` if the name cannot be one.
        """
        if self._local is None or not self._guests_on:
            raise HubbubError("not_found", "Guests are not admitted here.")
        try:
            clean = check_name(name)
        except ValueError as error:
            raise HubbubError("bad_request", fields={"name": [f"It {error}."]}) from None
        token = self._local.mint(
            user=new_guest_id(), name=clean, guest=True, now_s=self._clock(), ttl_s=self._guest_token_s
        )
        return token, self._verify_local(token)

    def _verify_quickly(self, text: str) -> Identity | None:
        """The identity, if the token is of the commonest form and its signature fits."""
        header = plain_header(text)
        if header is None:
            return None
        is_local = header.kid == LOCAL_KID
        key = self._quick_local if is_local else self._quick
        claims = None if key is None else key.claims(text)
        if claims is None:
            return None
        if is_local:
            return self._check_local(check_claims(claims, _LOCAL, now_s=self._clock()))
        return check_claims(claims, self._expected, now_s=self._clock())

    def _verify_local(self, text: str) -> Identity:
        if self._local is None:
            raise HubbubError("unauthorized", "Tokens of this service's own are not accepted here.")
        return self._check_local(self._identity(text, self._local.secret, _LOCAL))

    def _check_local(self, identity: Identity) -> Identity:
        if identity.person.guest and not self._guests_on:
            raise HubbubError("unauthorized", "Guests are not admitted here.")
        if self._only_guests_local and not identity.person.guest:
            raise HubbubError("unauthorized", "Tokens of this service's own are accepted from guests only.")
        return identity

    def _identity(self, text: str, key: bytes | PublicKey, expected: Expectations) -> Identity:
        return check_claims(_claims(text, key), expected, now_s=self._clock())


def _text(token: object) -> str:
    """The token as compact ASCII, refused before it is parsed if it is something else or too long."""
    if not isinstance(token, str) or not token:
        raise HubbubError("unauthorized", "A token is needed.")
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise HubbubError("unauthorized", f"The token is longer than {MAX_TOKEN_BYTES} bytes, or not ASCII.")
    return token


def _header(text: str) -> tuple[str | None, str]:
    """The key id and the algorithm that the token claims; they choose among keys and prove nothing."""
    try:
        header: Mapping[str, Any] = jwt.get_unverified_header(text)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise HubbubError("unauthorized", "The token is not a signed JWT.") from None
    algorithm = header.get("alg")
    return header.get("kid"), algorithm if isinstance(algorithm, str) else ""


def _claims(text: str, key: bytes | PublicKey) -> Mapping[str, Any]:
    algorithm = "HS256" if isinstance(key, bytes) else algorithm_of(key)
    try:
        claims: dict[str, Any] = jwt.decode(text, key, algorithms=[str(algorithm)], options=_SIGNATURE_ONLY)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise HubbubError("unauthorized", "The token's signature does not fit the key.") from None
    return claims
