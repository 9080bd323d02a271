"""`hubbub token`: make a token, for development and for bots."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Final

import click

from hubbub.cli.failures import fail, told_failures
from hubbub.cli.flags import config_flag, setting_flags
from hubbub.errors import HubbubError
from hubbub.pipeline.local import Signer, issuer_signer, local_signer, new_guest_id
from hubbub.pipeline.tokens import TokenVerifier
from hubbub.settings import Settings, load

__all__ = ["parse_duration", "token"]

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MAX_TTL_S: Final = 10 * 366 * 86400


def parse_duration(text: str) -> int:
    """A time such as `90s`, `15m`, `1h` or `30d`, as seconds. Raises `ValueError` under a second and over ten years."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 1 <= seconds <= _MAX_TTL_S:
        raise ValueError("Give a time such as 90s, 15m, 1h or 30d, ten years at most.")
    return seconds


@click.command()
@click.option("--user", help="The user's id; a guest may go without, and gets one.")
@click.option("--name", help="The name that others see; by default the id.")
@click.option(
    "--role", "roles", type=click.Choice(["admin", "moderator", "bot"]), multiple=True, help="May be repeated."
)
@click.option(
    "--room", "rooms", multiple=True, metavar="PATTERN", help="Only these rooms, with * and ?. May be repeated."
)
@click.option(
    "--ttl", default="1h", metavar="DURATION", show_default=True, help="How long it is valid: 90s, 15m, 1h, 30d."
)
@click.option("--guest", is_flag=True, help="Make a guest's token.")
@config_flag
@setting_flags(("store",))
def token(
    user: str | None,
    name: str | None,
    roles: tuple[str, ...],
    rooms: tuple[str, ...],
    ttl: str,
    guest: bool,
    config: Path | None,
    store: str | None,
) -> None:
    """Print a token that the service with these settings accepts.

    It is signed with HUBBUB_JWT_SECRET, or, while no key is configured, with the secret kept beside the database.
    """
    with told_failures():
        settings = load(os.environ, config=config, overrides={"store": store})
        if user is None and not guest:
            fail("Say who the token is for: --user ID.", status=2)
        if guest and roles:
            fail("A guest has no roles; leave out --role, or --guest.", status=2)
        minted = _signer(settings, guest=guest).mint(
            user=user or new_guest_id(),
            name=name,
            roles=roles,
            rooms=rooms or None,
            guest=guest,
            now_s=time.time(),
            ttl_s=_seconds(ttl),
        )
        _check(minted, settings)
    click.echo(minted)


def _seconds(ttl: str) -> int:
    try:
        return parse_duration(ttl)
    except ValueError as error:
        fail(f"--ttl {ttl} is not a time. {error}", status=2)


def _signer(settings: Settings, *, guest: bool) -> Signer:
    if guest and not settings.guests_on:
        fail("Guests are off: set HUBBUB_GUESTS to on to admit them beside the configured key.", status=2)
    if guest or not settings.key_configured:
        return local_signer(settings)
    signer = issuer_signer(settings)
    if signer is None:
        fail("No token can be made here: with a public key or a JWKS URL, only their issuer signs tokens.", status=2)
    return signer


def _check(minted: str, settings: Settings) -> None:
    """What the service itself would refuse is not handed out."""
    try:
        TokenVerifier(settings).verify_nowait(minted)
    except HubbubError as error:
        fail(f"The service would refuse this token: {error.message}", status=2)
