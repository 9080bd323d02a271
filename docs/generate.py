"""Writes those pages of docs/reference that are made from the service's tables; `--check` only says which are stale.

A page that is kept by hand beside a table comes to contradict it, so tests/test_docs.py checks these too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from marshmallow import Schema, fields, validate
from prometheus_client import Metric

from hubbub.cli import reference
from hubbub.domain.admin.caller import SCOPES
from hubbub.domain.permissions import TABLE, WRITES, Action, Relation
from hubbub.errors import CATALOGUE, ErrorKind
from hubbub.events import (
    ADMIN,
    ADMIN_CLIENT_EVENTS,
    ADMIN_SERVER_EVENTS,
    CHAT,
    CLIENT_EVENTS,
    PRESENCE,
    PRESENCE_CLIENT_EVENTS,
    PRESENCE_SERVER_EVENTS,
    SERVER_EVENTS,
    ClientEvent,
    ServerEvent,
)
from hubbub.fields import Emoji, Flag, Text, Whole
from hubbub.http.rest.operations import OPERATIONS, Operation
from hubbub.http.spec.jsonschema import name_of
from hubbub.telemetry import Metrics

__all__ = ["PAGES", "errors_page", "events_page", "main", "metrics_page", "permissions_page", "rest_page", "stale"]

REFERENCE: Final = Path(__file__).parent / "reference"

ERRORS_HEAD: Final = """\
# Errors

Made from `service/hubbub/errors.py` by `make docs`; change it there.

Every failure that a client can see has one of these codes: as `error.code` in an ack, as the message of a refused
connection, and in the body of an HTTP answer, where the status is the one named here. The error object is
`{code, message, retryable, retry_after?, fields?}`: `message` is a sentence for developers and may change;
`retry_after` is in seconds; `fields` maps the dotted path of each wrong field to sentences, the empty path standing for
the request as a whole.

*Retry* says whether the very same request can succeed later. After `unavailable` and `internal` nobody knows whether
the change was stored: repeat it with the same key, and it is stored once.

| code | meaning | retry | whose fault | HTTP |
| --- | --- | --- | --- | --- |
"""


def errors_page() -> str:
    return ERRORS_HEAD + "".join(_error_row(kind) for kind in CATALOGUE.values())


def _error_row(kind: ErrorKind) -> str:
    retry = "yes" if kind.retryable else "no"
    return f"| `{kind.code}` | {kind.meaning} | {retry} | {kind.fault} | {kind.http_status} |\n"


EVENTS_HEAD: Final = """\
# Events

Made from `service/hubbub/events.py` by `make docs`; change it there. What they mean together is in [wire.md](wire.md).

Each event of a client is acknowledged, `typing` excepted. Fields with `?` may be left out; a field that is not listed
is an error.
"""

EVENTS_CLIENT: Final = """
## {namespace}, from the client

| event | request | data in the ack | |
| --- | --- | --- | --- |
"""

EVENTS_SERVER: Final = """
## {namespace}, from the server

| event | document | |
| --- | --- | --- |
"""


EVENTS_FIELDS: Final = """
## Fields

Lengths are counted in code points, after text was brought into NFC; text never holds NUL. What does not fit is
`bad_request` and named in `fields`. A body has the bound `limits.body` of `hello` instead: `too_large`. A room has at
most 100 `members` when it is made; `presence:watch` takes 1 to 20 `rooms`, `presence:get` 1 to 50 `users`. `since`
above 0 needs `epoch` in `room:join`; in `history:sync` it may be left out. In `/admin`, `every_ms` below 500 is 0 or
refused, and `token:revoke` takes either `user` or `jti`.

| field | what it takes |
| --- | --- |
"""


def events_page() -> str:
    every = (*CLIENT_EVENTS, *PRESENCE_CLIENT_EVENTS, *ADMIN_CLIENT_EVENTS)
    kinds = sorted({(name, _takes(field)) for event in every for name, field in event.schema.fields.items()})
    bounds = "".join(f"| `{name}` | {takes} |\n" for name, takes in kinds)
    chat = _namespace(CHAT, CLIENT_EVENTS, SERVER_EVENTS)
    presence = _namespace(PRESENCE, PRESENCE_CLIENT_EVENTS, PRESENCE_SERVER_EVENTS)
    admin = _namespace(ADMIN, ADMIN_CLIENT_EVENTS, ADMIN_SERVER_EVENTS)
    return "".join((EVENTS_HEAD, chat, presence, admin, EVENTS_FIELDS, bounds))


def _namespace(name: str, events: Sequence[ClientEvent], pushed: Sequence[ServerEvent]) -> str:
    requests = [
        f"| `{event.name}` | `{_fields(event.schema)}` | {_code(event.answer)} | {event.meaning} |\n"
        for event in events
    ]
    pushes = [f"| `{event.name}` | {_code(event.document)} | {event.meaning} |\n" for event in pushed]
    head, middle = EVENTS_CLIENT.format(namespace=name), EVENTS_SERVER.format(namespace=name)
    return "".join((head, *requests, middle, *pushes))


def _takes(field: fields.Field[Any]) -> str:
    """What a field takes, in words."""
    if isinstance(field, fields.List):
        return f"a list; each {_takes(field.inner)}"
    if isinstance(field, Emoji):
        return "one character as a reader sees it, such as an emoji"
    if isinstance(field, Text):
        text = "one line of text" if field.single_line else "text"
        if field.longest is not None:
            text += f" of {field.shortest} to {field.longest} characters"
        if not field.blank:
            text += " in which there is something to see"
        return text if field.pattern is None else f"{text}, of the form `{field.pattern.pattern}`"
    if isinstance(field, Whole):
        return f"a whole number from {field.least} to {field.most}"
    if isinstance(field, Flag):
        return "true or false"
    choices = [each for check in field.validators if isinstance(check, validate.OneOf) for each in check.choices]
    return "one of " + ", ".join(f"`{choice}`" for choice in choices)


def _fields(schema: Schema) -> str:
    names = [name if field.required else f"{name}?" for name, field in schema.fields.items()]
    return "{" + ", ".join(names) + "}"


def _code(document: str) -> str:
    """A document as code, a word for a document as it is; a bar would end the cell."""
    return f"`{document}`".replace("|", "\\|") if document.startswith("{") else document


PERMISSIONS_HEAD: Final = """\
# Who may do what

Made from `service/hubbub/domain/permissions.py` by `make docs`; change it there. `tests/integration` tries every cell
of these tables over the wire.

The columns are how the caller stands to the room: by what is recorded (owner to banned), or by a role in the token
(`admin`; `staff` is a bearer of the role `moderator` who is no member of the room, a member with that role counts as
the room's moderator). Whoever is several things may do what any of them may. Where a cell has a code, the request is
refused with it.

* A muted member gets `muted` where the table says yes for: {writes}.
* A guest is no different from any other user.
* An expired token is refused with `token_expired`, whatever it asks for.
* Kicking, banning, muting and purging reach only those of a lower role, and never oneself: `forbidden`.
* A token that is limited to certain rooms gets `not_found` for all others.
* Whoever was banned from a private room without having known of it gets `not_found`, as strangers do.
* Only authors edit. Repeating a send with its key returns the first message to its sender, whatever the table says now;
  but what a token does not reach is `not_found` to its bearer.
"""

KIND_TITLES: Final = {"public": "Public rooms", "private": "Private rooms", "direct": "Direct rooms"}


def permissions_page() -> str:
    writes = ", ".join(f"`{action}`" for action in Action if action in WRITES)
    parts = [PERMISSIONS_HEAD.format(writes=writes)]
    for kind, rows in TABLE.items():
        parts.append(f"\n## {KIND_TITLES[kind]}\n\n| | {' | '.join(Relation)} |\n")
        parts.append("| --- " * (len(Relation) + 1) + "|\n")
        parts.extend(
            f"| `{action}` | {' | '.join('yes' if code is None else f'`{code}`' for code in cells.values())} |\n"
            for action, cells in rows.items()
        )
    parts.append(PERMISSIONS_ADMIN)
    parts.extend(f"| `{event}` | {' | '.join(_ADMIN_CELLS[scope])} |\n" for event, scope in SCOPES.items())
    return "".join(parts)


PERMISSIONS_ADMIN: Final = """
## The service as a whole

In `/admin`, made from `service/hubbub/domain/admin/caller.py`. Nobody enters it without the role `admin` in the token:
`forbidden`. An administrator whose token is limited to rooms has what is about these rooms. Where an event is about a
room, the tables above say what an administrator may do in a room of its kind; so direct rooms stay closed. Nobody bans
themselves: `forbidden`.

| | admin | admin, limited to rooms |
| --- | --- | --- |
"""

_ADMIN_CELLS: Final[Mapping[str, tuple[str, str]]] = {
    "all": ("yes", "`forbidden`"),
    "room": ("yes", "yes; `not_found` for rooms that the token does not cover"),
    "scoped": ("yes", "with a room as above; without one `forbidden`"),
    "list": ("yes", "those that the token covers"),
    "self": ("yes", "yes"),
}


METRICS_HEAD: Final = """\
# Metrics

Made from `service/hubbub/telemetry.py` by `make docs`; change it there.

`GET /metrics` answers in the text format of Prometheus. No label has values that clients can choose. Times are in
seconds, sizes in bytes. Beside these each counter and histogram has a series `…_created`, which is when it began.

| metric | type | what it says |
| --- | --- | --- |
"""


@dataclass
class _NoWriter:
    queued: int = 0
    queued_bytes: int = 0
    refused: int = 0
    failed: int = 0
    oldest_s: float = 0.0


class _NoControl:
    applied = 0
    lag_s = 0.0


def metrics_page() -> str:
    metrics = Metrics()
    metrics.watch_writer(_NoWriter())
    metrics.watch_control(_NoControl())
    metrics.watch_readiness(lambda: "ready", statuses=("ready",), hears=lambda: True)
    families = sorted(metrics.registry.collect(), key=lambda family: family.name)
    return METRICS_HEAD + "".join(_metric_row(family) for family in families)


def _metric_row(family: Metric) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return f"| `{name}` | {family.type} | {family.documentation} |\n"


REST_HEAD: Final = """\
# HTTP

Made from `service/hubbub/http/rest/operations.py` by `make docs`; change it there. How a back end uses it:
[post-from-a-back-end.md](../howto/post-from-a-back-end.md).

`GET /api/spec` is all of this for machines, and all of Socket.IO as well: `{openapi, asyncapi}`, an OpenAPI 3.1 and an
AsyncAPI 3.0 document. Tools that want one document as a file take `/api/spec/openapi.json` or
`/api/spec/asyncapi.json`. They are made from the schemas that the service validates with, need no token, and have an
`ETag`.

* **Tokens** are those of connections, in the header `Authorization: Bearer …`. What changes nothing also takes the
  cookie `hubbub_token`; what changes something does not, because browsers send cookies along whatever page asks. A
  token in the query is never looked at.
* **Documents** are those of [wire.md](wire.md). What failed is an error object as in an ack, with the status that
  [errors.md](errors.md) has for its code; `Retry-After` is in the header as well.
* **Ids in paths** are decoded once: `private:1f` may be written as it is, or as `private%3A1f`.
* **What is given must fit**: a field, or a part of the query, that is not listed here is an error, and so is one that
  is given twice. Flags are `true` or `false`.
* **Rates**: 200 requests of a user at once, 50 per second for long, on each node; while `HUBBUB_LIMITS` is on.
* A node that starts or is shut down answers 503 to what asks for a token, and finishes what it has begun. An answer
  comes within 30 seconds; after 500, 503 or none the outcome is unknown.
* A caller that goes away takes nothing back.
"""


def rest_page() -> str:
    return REST_HEAD + "".join(_rest_section(one) for one in OPERATIONS)


def _rest_section(one: Operation) -> str:
    lines = [f"\n## `{one.method} {one.path}`\n\n{one.meaning} {one.about}".rstrip() + "\n"]
    parts = (("path", one.path_schema), ("query", one.query), ("header", one.header), ("body", one.body))
    rows = [
        f"| {where} | `{name if field.required else f'{name}?'}` | {_rest_takes(name, field)} |\n"
        for where, schema in parts
        if schema is not None
        for name, field in schema.fields.items()
    ]
    if rows:
        lines += ["\n| in the | | takes |\n| --- | --- | --- |\n", *rows]
    lines.append("\n| status | |\n| --- | --- |\n")
    lines += [f"| {status} | {_rest_answer(schema)} |\n" for status, schema in one.answers.items()]
    lines += [f"| {status} | {', '.join(f'`{code}`' for code in codes)} |\n" for status, codes in one.statuses.items()]
    return "".join(lines)


def _rest_takes(name: str, field: fields.Field[Any]) -> str:
    return "a name of 1 to 64 visible characters" if name == "name" else _takes(field)


def _rest_answer(schema: type[Schema] | None) -> str:
    if schema is None:
        return "text"
    names = _fields(schema())
    return f"`{names}`" if names != "{}" else f"a document ({name_of(schema)})"


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "errors.md": errors_page,
    "events.md": events_page,
    "metrics.md": metrics_page,
    "permissions.md": permissions_page,
    "rest.md": rest_page,
    **{f"{name}.md": make for name, make in reference.PAGES.items()},
}
"""From a page's name in docs/reference to what makes its text."""


def stale() -> list[str]:
    """The pages that are not what their table makes of them."""
    return [name for name, make in PAGES.items() if not _is_current(REFERENCE / name, make())]


def _is_current(page: Path, text: str) -> bool:
    return page.exists() and page.read_text(encoding="utf-8") == text


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        for name in stale():
            print(f"docs/reference/{name} is not current: make docs", file=sys.stderr)
        return 1 if stale() else 0
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
