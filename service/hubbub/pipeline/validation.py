"""What a client sends is checked against the contract's schema before anything else sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from itertools import islice
from typing import Any, Final

from marshmallow import ValidationError

from hubbub.errors import HubbubError
from hubbub.pipeline.base import Call, Proceed

__all__ = ["Validate", "check_request", "flatten"]

_MOST_FIELDS: Final = 64
"""No more fields than this are named, or a request with very many wrong ones is answered by something larger."""


class Validate:
    """Turns the arguments of an event into its request, or refuses with `bad_request` and the fields that are wrong."""

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        if call.incoming is not None:
            call.data = check_request(call)
        return proceed(call)


def check_request(call: Call) -> dict[str, Any]:
    """The request of an event: its only argument, fitting its schema."""
    if call.spec is None:
        raise HubbubError("bad_request", "There is no such event.", fields={"": ["No event of this namespace."]})
    if len(call.data) != 1 or not isinstance(call.data[0], dict):
        text = "An event has exactly one argument, an object."
        raise HubbubError("bad_request", text, fields={"": [text]})
    try:
        return call.spec.load(call.data[0])
    except ValidationError as error:
        fields = dict(islice(flatten(_messages(error)).items(), _MOST_FIELDS))
        raise HubbubError("bad_request", fields=fields) from None


def _messages(error: ValidationError) -> Mapping[Any, Any]:
    return error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}


def flatten(messages: Mapping[Any, Any], path: str = "") -> dict[str, list[str]]:
    """marshmallow's nested messages as dotted paths: `{"members": {0: [...]}}` becomes `{"members.0": [...]}`.

    Names that the client made up are cut to 64 characters, because they come back in the answer.
    """
    flat: dict[str, list[str]] = {}
    for key, value in messages.items():
        name = str(key)[:64].encode(errors="replace").decode()
        where = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            flat.update(flatten(value, where))
        else:
            flat[where] = [str(text) for text in (value if isinstance(value, list) else [value])]
    return flat
