"""Every event by everybody in every kind of room, over the wire, against the table in `domain/permissions.py`.

`docs/reference/permissions.md` shows the same table.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hubbub.domain.permissions import TABLE, WRITES, Action, Relation
from hubbub.history.base import RoomKind
from tests.support.chat import ChatClient, RefusedError, chat_client
from tests.support.service import RunningService, running_service

KINDS: tuple[RoomKind, ...] = ("public", "private", "direct")

WHO: dict[str, tuple[Relation, ...]] = {
    "owner": (Relation.OWNER,),
    "moderator": (Relation.MODERATOR,),
    "member": (Relation.MEMBER,),
    "muted": (Relation.MEMBER,),
    "invited": (Relation.INVITED,),
    "stranger": (Relation.STRANGER,),
    "guest": (Relation.STRANGER,),
    "banned": (Relation.BANNED,),
    "admin": (Relation.STRANGER, Relation.ADMIN),
    "staff": (Relation.STRANGER, Relation.STAFF),
}
"""The relations that each subject of the test has: by what is recorded, and by their token."""

IN_DIRECT = frozenset({"member", "stranger", "guest", "admin", "staff"})
"""A direct room has two members and nobody else; nobody can be muted, banned or invited there, or be given a role."""


@dataclass
class Scene:
    """A room in which the subject stands as the row says. Messages: one by the subject, one by somebody else."""

    room: str
    victim: str
    own: str
    others: str


def request_of(action: Action, scene: Scene, event: str) -> dict[str, Any]:
    """What the subject sends."""
    request: dict[str, Any] = {"room": scene.room}
    if event in ("room:kick", "room:ban", "room:unban", "room:mute", "room:role", "room:purge"):
        request["user"] = scene.victim
    extra: dict[str, dict[str, Any]] = {
        "room:update": {"topic": "new"},
        "room:invite": {"user": f"friend-{secrets.token_hex(4)}"},
        "room:role": {"role": "moderator"},
        "message:send": {"key": secrets.token_hex(8), "body": "hello"},
        "message:edit": {"id": scene.own, "body": "better"},
        "message:react": {"id": scene.others, "emoji": "👍", "on": True},
        "message:delete": {"id": scene.own if action is Action.DELETE_OWN else scene.others},
        "history:sync": {"since": 0},
        "history:search": {"query": "hello"},
        "typing": {"on": True},
        "read:mark": {"seq": 1},
    }
    return request | extra.get(event, {})


EVENTS: list[tuple[Action, str]] = [
    (action, event)
    for action in Action
    for event in (
        ("history:fetch", "history:sync", "history:search")
        if action is Action.READ
        else (str(action).split(" ", maxsplit=1)[0],)
    )
]


class Stage:
    """The people of the test, connected to one service."""

    def __init__(self, service: RunningService, stack: AsyncExitStack) -> None:
        self._service = service
        self._stack = stack
        self.clients: dict[str, ChatClient] = {}

    async def open(self) -> None:
        for user, roles in (
            ("host", []),
            ("victim", []),
            ("subject", []),
            ("admin", ["admin"]),
            ("staff", ["moderator"]),
        ):
            token = self._service.token(user=user, roles=roles)
            self.clients[user] = await self._stack.enter_async_context(chat_client(self._service.url, token))

    def subject(self, who: str) -> ChatClient:
        return self.clients[who if who in ("admin", "staff") else "subject"]

    def subject_id(self, who: str) -> str:
        return who if who in ("admin", "staff") else "subject"

    async def scene(self, kind: RoomKind, who: str) -> Scene:
        host, subject, me = self.clients["host"], self.subject(who), self.subject_id(who)
        if kind == "direct":
            return await self._direct(who, host, subject, me)
        made = await host.ok("room:create", {"kind": kind, "title": "Room"})
        room = made["room"]["id"]
        for user, client in (("victim", self.clients["victim"]), (me, subject)):
            await host.ok("room:invite", {"room": room, "user": user})
            await client.ok("room:join", {"room": room, "limit": 1})
        own = await send(subject, room)
        others = await send(host, room)
        await self._stand(who, room, host, subject, me)
        return Scene(room, "victim", own, others)

    async def _direct(self, who: str, host: ChatClient, subject: ChatClient, me: str) -> Scene:
        other = me if who == "member" else "victim"
        made = await host.ok("room:create", {"kind": "direct", "members": [other]})
        room = made["room"]["id"]
        writer = subject if who == "member" else self.clients["victim"]
        return Scene(room, "victim", await send(writer, room), await send(host, room))

    async def _stand(self, who: str, room: str, host: ChatClient, subject: ChatClient, me: str) -> None:
        about = {"room": room, "user": me}
        if who in ("owner", "moderator"):
            await host.ok("room:role", about | {"role": who})
        elif who == "muted":
            await host.ok("room:mute", about | {"seconds": 3600})
        elif who == "banned":
            await host.ok("room:ban", about)
        elif who != "member":
            await subject.ok("room:leave", {"room": room})
            if who == "invited":
                await host.ok("room:invite", about)


async def send(client: ChatClient, room: str) -> str:
    data = await client.ok("message:send", {"room": room, "key": secrets.token_hex(8), "body": "hello"})
    message_id: str = data["message"]["id"]
    return message_id


def expected(kind: RoomKind, action: Action, who: str) -> str:
    """What the table says, restated: allowed if any relation allows; else the most telling refusal."""
    codes = [TABLE[kind][action][relation] for relation in WHO[who]]
    if None in codes:
        return "muted" if who == "muted" and action in WRITES else "ok"
    telling = [code for code in codes if code != "not_found"]
    return telling[0] if telling else "not_found"  # type: ignore[return-value]  # None was ruled out.


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with (
        running_service(tmp_path, limits="off", rooms_per_user=100_000) as service,
        AsyncExitStack() as stack,
    ):
        stage = Stage(service, stack)
        await stage.open()
        yield stage


class TestPermissionMatrix:
    """Who may do what, as the table says it."""

    @pytest.mark.parametrize("kind", KINDS)
    async def test_every_event_by_everybody_is_answered_as_the_table_says(self, stage: Stage, kind: RoomKind) -> None:
        wrong: list[str] = []
        for who, (action, event) in itertools.product(WHO, EVENTS):
            if kind == "direct" and who not in IN_DIRECT:
                continue
            scene = await stage.scene(kind, who)
            ack = await stage.subject(who).call(event, request_of(action, scene, event))
            code = "ok" if ack["ok"] else ack["error"]["code"]
            if code != expected(kind, action, who):
                wrong.append(f"{who}: {action} ({event}) was {code}, not {expected(kind, action, who)}")
        assert wrong == []


class TestTheDoor:
    """A token whose time is over opens nothing."""

    async def test_an_expired_token_is_refused_for_every_event_because_it_does_not_connect(self, stage: Stage) -> None:
        token = stage._service.token(user="late", ttl_s=-60)
        with pytest.raises(RefusedError) as refusal:
            async with chat_client(stage._service.url, token):
                pass
        assert refusal.value.message == "token_expired"
        assert refusal.value.error["code"] == "token_expired"

    async def test_a_room_that_may_not_be_known_is_answered_as_one_that_is_not_there(self, stage: Stage) -> None:
        scene = await stage.scene("private", "stranger")
        for action, event in EVENTS:
            real = await stage.subject("stranger").call(event, request_of(action, scene, event))
            absent = Scene("private:no-such-room", scene.victim, scene.own, scene.others)
            fictive = await stage.subject("stranger").call(event, request_of(action, absent, event))
            assert real == fictive, event
