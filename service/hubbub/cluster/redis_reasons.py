"""Why Redis cannot be used, in words for whoever runs the node.

What the driver and the server say is not repeated: it may have the address in it, and with it the password. What is
told is what kind of failure it is, for each kind is mended elsewhere.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from redis.exceptions import AuthenticationError, NoPermissionError, ReadOnlyError

from hubbub.errors import HubbubError

__all__ = ["away", "refusal"]

_RIGHTS = (("channel", "channels"), ("key", "keys"))


def away(error: BaseException | None, who: str = "Redis") -> HubbubError:
    """`unavailable`, with a sentence for what failed at connecting or at a command; None if nothing is connected.
    `who` was asked: Redis, or "The sentinels".
    """
    return HubbubError("unavailable", f"{_clause(error, who)}.", retry_after=1)


def refusal(reply: str, who: str = "Redis") -> str:
    """A clause for an error that Redis answered, as it came over the wire."""
    word, _, rest = reply.partition(" ")
    if word in ("NOAUTH", "WRONGPASS"):
        return f"{who} refused the user or the password"
    if word == "NOPERM":
        what = next((plural for right, plural in _RIGHTS if right in rest), "commands")
        return f"{who} does not let this user have the {what} that nodes use"
    if word == "READONLY" or "READONLY" in rest:  # Redis 6 wraps it into the error of the script that wanted to write.
        return f"{who} is a replica here, which takes no writes"
    # The first word is a code by which the manual of Redis tells what it is.
    return f"{who} refused it ({word})" if word.isupper() and word.isalpha() else f"{who} refused it"


def _clause(error: BaseException | None, who: str) -> str:
    if error is None:
        return f"{who} {_is(who)} out of reach (closed)"
    for each in _chain(error):
        if isinstance(each, HubbubError):
            return each.message.removesuffix(".")
        if isinstance(each, AuthenticationError):
            return refusal("NOAUTH", who)
        if isinstance(each, NoPermissionError):
            return refusal(f"NOPERM {each}", who)
        if isinstance(each, ReadOnlyError) or "READONLY" in str(each):
            return refusal("READONLY", who)
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"{who}: the certificate is not trusted ({each.verify_message.rstrip('.')})"
        if isinstance(each, ssl.SSLError):
            return f"{who}: TLS fails ({getattr(each, 'reason', None) or 'no handshake'})"
    cause = list(_chain(error))[-1]
    return f"{who} {_is(who)} out of reach ({type(cause if isinstance(cause, OSError) else error).__name__})"


def _is(who: str) -> str:
    return "are" if who.endswith("s") and who != "Redis" else "is"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came of."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
