"""Rooms and messages over HTTP, against the real service: every route by everybody, and what a back end relies on."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from yarl import URL

from hubbub.domain.roomservice import direct_room_id
from tests.support.admin import admin_client
from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service
from tests.support.tree import ROOT

TIMEOUT_S: Final = 20.0


@dataclass
class Reply:
    """A status, and the document that came with it."""

    status: int
    document: dict[str, Any]

    @property
    def outcome(self) -> str:
        """The status, and the code of an error."""
        return f"{self.status} {self.document['code']}" if self.status >= 400 else str(self.status)


class Backend:
    """Asks a service. `token` goes into the header, `cookie` into the cookie."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url
        self._keys = 0

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        cookie: str | None = None,
        headers: dict[str, str] | None = None,
        body: object = None,
    ) -> Reply:
        """`path` goes out as it is."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if cookie is not None:
            sent["Cookie"] = f"hubbub_token={cookie}"
        url = URL(self._url + path, encoded=True)
        async with self._http.request(method, url, headers=sent, json=body) as response:
            return Reply(response.status, await response.json())

    async def get(self, path: str, **who: str | None) -> Reply:
        return await self.ask("GET", path, token=who.get("token"), cookie=who.get("cookie"))

    async def send(self, room: str, body: str = "hello", *, key: str | None = None, **who: str | None) -> Reply:
        """A message, under a key of its own unless one is given."""
        self._keys += 1
        return await self.ask(
            "POST",
            f"/api/rooms/{room}/messages",
            token=who.get("token"),
            cookie=who.get("cookie"),
            headers={"Idempotency-Key": key or f"key-{self._keys}"},
            body={"body": body},
        )


@contextlib.asynccontextmanager
async def backend(service: RunningService) -> AsyncIterator[Backend]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Backend(http, service.url)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path, limits="off") as running:
        yield running


OPEN: Final = ("200", "200", "201")
READ: Final = ("200", "200", "403 forbidden")
HIDDEN: Final = ("404 not_found",) * 3
KNOWN_BANNED: Final = ("403 banned",) * 3

MATRIX: Final[dict[str, tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]]] = {
    "nobody": ("401 unauthorized", *(("401 unauthorized",) * 3,) * 3),
    "a forged token": ("401 unauthorized", *(("401 unauthorized",) * 3,) * 3),
    "an expired token": ("401 token_expired", *(("401 token_expired",) * 3,) * 3),
    "a revoked token": ("401 unauthorized", *(("401 unauthorized",) * 3,) * 3),
    "banned from the service": ("403 banned", *(KNOWN_BANNED,) * 3),
    "a stranger": ("tea", READ, HIDDEN, HIDDEN),
    "a member": ("tea private direct", OPEN, OPEN, OPEN),
    "a member by cookie": ("tea private direct", *((("200", "200", "401 unauthorized"),) * 3)),
    "a member, limited to tea": ("tea", OPEN, HIDDEN, HIDDEN),
    "a member, limited to private rooms": ("private", HIDDEN, OPEN, HIDDEN),
    "a member, limited to others": ("", HIDDEN, HIDDEN, HIDDEN),
    "muted": ("tea private", *((("200", "200", "403 muted"),) * 2), HIDDEN),
    "banned from the rooms": ("tea", KNOWN_BANNED, KNOWN_BANNED, HIDDEN),
    "invited": ("tea private", READ, ("200", "403 forbidden", "403 forbidden"), HIDDEN),
    "a bot": ("tea", OPEN, HIDDEN, HIDDEN),
    "a bot, invited": ("tea private", OPEN, ("200", "403 forbidden", "201"), HIDDEN),
    "a bot, limited to others": ("", HIDDEN, HIDDEN, HIDDEN),
    "a bot, banned from the rooms": ("tea", KNOWN_BANNED, KNOWN_BANNED, HIDDEN),
    "a moderator": ("tea", READ, HIDDEN, HIDDEN),
    "an administrator": ("tea private", READ, READ, HIDDEN),
    "an administrator, limited to tea": ("tea", READ, HIDDEN, HIDDEN),
    "an administrator, limited to others": ("", HIDDEN, HIDDEN, HIDDEN),
}
"""Of each caller: the rooms in the list (or how the list is refused); then reading the room, reading its messages and
sending one, in the public, the private and the direct room.
"""


async def furnish(service: RunningService, ada: ChatClient) -> dict[str, str]:
    """The three rooms, with those who are in them or not."""
    await ada.ok("room:create", {"id": "tea", "kind": "public", "title": "Tea"})
    private = (await ada.ok("room:create", {"kind": "private", "title": "Private"}))["room"]["id"]
    await ada.ok("room:create", {"kind": "direct", "members": ["member"]})
    for room in ("tea", private):
        for user in ("member", "muted", "banned"):
            await ada.ok("room:invite", {"room": room, "user": user})
            async with chat_client(service.url, service.token(user=user)) as client:
                await client.ok("room:join", {"room": room})
        await ada.ok("room:mute", {"room": room, "user": "muted"})
        for user in ("banned", "banned-bot"):
            await ada.ok("room:invite", {"room": room, "user": user})
            await ada.ok("room:ban", {"room": room, "user": user})
    for user in ("invited", "invited-bot"):
        await ada.ok("room:invite", {"room": private, "user": user})
    return {"tea": "tea", "private": private, "direct": direct_room_id("ada", "member")}


async def callers(service: RunningService) -> dict[str, dict[str, str | None]]:
    """From the callers of the matrix to their tokens."""
    token = service.token
    revoked = token(user="revoked")
    claims = json.loads(base64.urlsafe_b64decode(revoked.split(".")[1] + "=="))
    async with admin_client(service.url, token(user="root", roles=["admin"])) as root:
        await root.ok("token:revoke", {"jti": claims["jti"], "reason": "Test."})
        await root.ok("user:ban", {"user": "outlaw", "reason": "Test."})
    who: dict[str, dict[str, str | None]] = {
        "nobody": {},
        "a forged token": {"token": token(user="member")[:-4] + "AAAA"},
        "an expired token": {"token": token(user="member", ttl_s=-60)},
        "a revoked token": {"token": revoked},
        "banned from the service": {"token": token(user="outlaw")},
        "a stranger": {"token": token(user="stranger")},
        "a member": {"token": token(user="member")},
        "a member by cookie": {"cookie": token(user="member")},
        "a member, limited to tea": {"token": token(user="member", rooms=["tea"])},
        "a member, limited to private rooms": {"token": token(user="member", rooms=["private:*"])},
        "a member, limited to others": {"token": token(user="member", rooms=["other-*"])},
        "muted": {"token": token(user="muted")},
        "banned from the rooms": {"token": token(user="banned")},
        "invited": {"token": token(user="invited")},
        "a bot": {"token": token(user="bot", roles=["bot"])},
        "a bot, invited": {"token": token(user="invited-bot", roles=["bot"])},
        "a bot, limited to others": {"token": token(user="bot", roles=["bot"], rooms=["other-*"])},
        "a bot, banned from the rooms": {"token": token(user="banned-bot", roles=["bot"])},
        "a moderator": {"token": token(user="mod", roles=["moderator"])},
        "an administrator": {"token": token(user="root", roles=["admin"])},
        "an administrator, limited to tea": {"token": token(user="root", roles=["admin"], rooms=["tea"])},
        "an administrator, limited to others": {"token": token(user="root", roles=["admin"], rooms=["other-*"])},
    }
    assert who.keys() == MATRIX.keys()
    return who


async def found_by(rest: Backend, who: dict[str, str | None], rooms: dict[str, str]) -> tuple[Any, ...]:
    """A row of the matrix."""
    listed = await rest.get("/api/rooms", **who)
    shown = listed.outcome
    if listed.status == 200:
        ids = {each["id"] for each in listed.document["rooms"]}
        shown = " ".join(name for name, id in rooms.items() if id in ids)
        assert len(ids) == len(shown.split())
    row: list[Any] = [shown]
    for id in rooms.values():
        replies = (
            await rest.get(f"/api/rooms/{id}", **who),
            await rest.get(f"/api/rooms/{id}/messages", **who),
            await rest.send(id, token=who.get("token"), cookie=who.get("cookie")),
        )
        row.append(tuple(reply.outcome for reply in replies))
    return tuple(row)


class TestMatrix:
    """Every route by everybody."""

    @pytest.mark.parametrize("connected", [False, True], ids=["without connections", "while connected"])
    async def test_everybody_gets_what_is_theirs(self, service: RunningService, *, connected: bool) -> None:
        async with contextlib.AsyncExitStack() as stack:
            rest = await stack.enter_async_context(backend(service))
            ada = await stack.enter_async_context(chat_client(service.url, service.token(user="ada")))
            rooms = await furnish(service, ada)
            who = await callers(service)
            if connected:
                for user in ("stranger", "member", "muted", "banned", "invited", "bot", "mod", "root"):
                    await stack.enter_async_context(chat_client(service.url, service.token(user=user)))
            found = {name: await found_by(rest, who[name], rooms) for name in MATRIX}
        assert found == MATRIX


class TestRooms:
    """What is listed, and how a room is called."""

    async def test_ids_in_paths_are_decoded_once(self, service: RunningService) -> None:
        token = service.token(user="ada")
        async with backend(service) as rest, chat_client(service.url, token) as ada:
            id = (await ada.ok("room:create", {"kind": "private", "title": "P"}))["room"]["id"]
            for spelled in (id, id.replace(":", "%3A"), id.replace(":", "%3a")):
                reply = await rest.get(f"/api/rooms/{spelled}", token=token)
                assert (reply.status, reply.document["room"]["id"]) == (200, id)
                assert (await rest.send(spelled, token=token)).status == 201
            for wrong in (id.replace(":", "%253A"), "%FF", "a%2Fb", "%2E%2E"):
                assert (await rest.get(f"/api/rooms/{wrong}", token=token)).status == 404
            assert (await rest.get("/api/rooms/a%00b", token=token)).outcome == "400 bad_request"

    async def test_pages_of_a_limited_token_are_full_and_their_cursors_name_nothing_else(
        self, service: RunningService
    ) -> None:
        async with backend(service) as rest, chat_client(service.url, service.token(user="ada")) as ada:
            for number in range(9):
                name = "team" if number % 3 == 0 else "secret"
                await ada.ok("room:create", {"id": f"r{number}-{name}", "kind": "public", "title": "A room"})
            token = service.token(user="bob", rooms=["*-team"])
            ids, cursor, pages = [], "", 0
            while True:
                reply = await rest.get(
                    f"/api/rooms?limit=2&query=room&cursor={cursor}".removesuffix("&cursor="), token=token
                )
                ids += [each["id"] for each in reply.document["rooms"]]
                pages += 1
                cursor = reply.document["cursor"]
                if cursor is None:
                    break
                assert b"secret" not in base64.urlsafe_b64decode(cursor + "==")
        assert ids == ["r0-team", "r3-team", "r6-team"]
        assert pages == 2

    async def test_the_query_is_checked_and_what_is_wrong_is_named(self, service: RunningService) -> None:
        token = service.token(user="ada")
        async with backend(service) as rest:
            for query, field in (
                ("limit=0", "limit"),
                ("limit=501", "limit"),
                ("limit=1e2", "limit"),
                ("limit=%201", "limit"),
                ("limit=1&limit=2", "limit"),
                ("mine=yes", "mine"),
                ("mine=1", "mine"),
                ("cursor=%00", "cursor"),
                ("cursor=nonsense", "cursor"),
                ("what=1", "what"),
            ):
                reply = await rest.get(f"/api/rooms?{query}", token=token)
                assert (reply.outcome, list(reply.document["fields"])) == ("400 bad_request", [field]), query


class TestMessages:
    """Reading and sending."""

    async def test_a_message_is_stored_once_and_everybody_hears_of_it(self, service: RunningService) -> None:
        token = service.token(user="ada")
        async with backend(service) as rest, chat_client(service.url, token) as ada:
            await ada.ok("room:create", {"id": "tea", "kind": "public", "title": "Tea"})
            await ada.ok("room:join", {"room": "tea"})
            bot = service.token(user="bot", roles=["bot"])
            first = await rest.send("tea", "once", key="k", token=bot)
            again = await rest.send("tea", "twice", key="k", token=bot)
            assert (first.status, first.document["duplicate"]) == (201, False)
            assert (again.status, again.document["duplicate"]) == (200, True)
            assert again.document["message"] == first.document["message"]
            assert await ada.wait_for("message") == first.document["message"]
            assert (await ada.wait_for("member"))["role"] == "member"
            await ada.ok("room:ban", {"room": "tea", "user": "bot"})
            repeated = await rest.send("tea", "later", key="k", token=bot)
            assert (repeated.status, repeated.document["message"]["body"]) == (200, "once")
            assert (await rest.send("tea", "new", key="k2", token=bot)).outcome == "403 banned"

    async def test_a_bot_that_was_removed_does_not_come_back_by_repeating_itself(self, service: RunningService) -> None:
        bot = service.token(user="bot", roles=["bot"])
        async with backend(service) as rest, chat_client(service.url, service.token(user="ada")) as ada:
            await ada.ok("room:create", {"id": "tea", "kind": "public", "title": "Tea"})
            await rest.send("tea", key="k", token=bot)
            await ada.ok("room:kick", {"room": "tea", "user": "bot"})
            assert (await rest.send("tea", key="k", token=bot)).status == 200
            members = (await ada.ok("room:members", {"room": "tea"}))["members"]
            assert [each["user"]["id"] for each in members] == ["ada"]

    async def test_a_history_is_read_in_pages(self, service: RunningService) -> None:
        token = service.token(user="ada")
        async with backend(service) as rest, chat_client(service.url, token) as ada:
            await ada.ok("room:create", {"id": "tea", "kind": "public", "title": "Tea"})
            for number in range(7):
                await rest.send("tea", f"m{number}", token=token)
            bodies: list[str] = []
            path = "/api/rooms/tea/messages?limit=3"
            while True:
                page = (await rest.get(path, token=token)).document
                bodies = [each["body"] for each in page["messages"]] + bodies
                if not page["more_before"]:
                    break
                path = f"/api/rooms/tea/messages?limit=3&before={page['messages'][0]['seq']}"
            assert bodies == [f"m{number}" for number in range(7)]
            after = (await rest.get("/api/rooms/tea/messages?after=5", token=token)).document
            assert [each["body"] for each in after["messages"]] == ["m5", "m6"]

    async def test_a_request_says_what_is_wrong_with_it(self, service: RunningService) -> None:
        token, path = service.token(user="ada"), "/api/rooms/tea/messages"
        key = {"Idempotency-Key": "k"}
        async with backend(service) as rest, chat_client(service.url, token) as ada:
            await ada.ok("room:create", {"id": "tea", "kind": "public", "title": "Tea"})
            for headers, body, fields in (
                ({}, {"body": "x"}, ["Idempotency-Key"]),
                ({"Idempotency-Key": "k" * 65}, {"body": "x"}, ["Idempotency-Key"]),
                (key, {}, ["body"]),
                (key, {"body": " "}, ["body"]),
                (key, {"body": "x", "room": "other"}, ["room"]),
                (key, {"body": "x", "key": "other"}, ["key"]),
                (key, {"body": "x", "reply_to": 1}, ["reply_to"]),
            ):
                reply = await rest.ask("POST", path, token=token, headers=headers, body=body)
                assert (reply.outcome, list(reply.document["fields"])) == ("400 bad_request", fields)
            assert (await rest.send("tea", "x" * 8193, token=token)).outcome == "413 too_large"
            assert (await rest.send("tea", "x" * 200_000, token=token)).outcome == "413 too_large"
            assert (await ada.ok("history:fetch", {"room": "tea"}))["messages"] == []


class TestEnd:
    """A node that is shut down finishes what it has begun."""

    async def test_a_message_that_is_on_its_way_is_stored_and_new_ones_are_turned_away(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "holding.py").write_text(HOLDING)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        async with (
            running_service(tmp_path, filters="holding:hold", filter_failure="pass") as service,
            backend(service) as rest,
            asyncio.timeout(TIMEOUT_S),
        ):
            token = service.token(user="ada")
            async with chat_client(service.url, token) as ada:
                await ada.ok("room:create", {"id": "tea", "kind": "public", "title": "Tea"})
            sending = asyncio.ensure_future(rest.send("tea", key="k", token=token))
            while not (tmp_path / "begun").exists():
                await asyncio.sleep(0.01)
            service.process.send_signal(signal.SIGTERM)
            while (turned := await rest.get("/api/rooms", token=token)).status == 200:
                await asyncio.sleep(0.01)
            (tmp_path / "go").touch()
            assert turned.outcome == "503 draining"
            assert turned.document["retry_after"] == 1
            assert (await sending).status == 201
            assert await service.process.wait() == 0
        async with running_service(tmp_path) as service, backend(service) as rest:
            assert (await rest.send("tea", key="k", token=service.token(user="ada"))).status == 200


HOLDING: Final = """\
import asyncio
from pathlib import Path

HERE = Path(__file__).parent


async def hold(draft):
    (HERE / "begun").touch()
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
"""
"""A filter that holds a message until it is told to go on."""


class TestPage:
    """What docs/howto/post-from-a-back-end.md shows does what it says."""

    async def test_its_programs_post_one_message_together(self, service: RunningService, tmp_path: Path) -> None:
        async with chat_client(service.url, service.token(user="ada")) as ada:
            await ada.ok("room:create", {"id": "alerts-disks", "kind": "public", "title": "Disks"})
            token = service.token(user="watchdog", roles=["bot"], rooms=["alerts-*"])
            environ = os.environ | {"URL": service.url, "TOKEN": token}
            page = (ROOT / "docs/howto/post-from-a-back-end.md").read_text()
            (command,) = re.findall(r"^```sh\n(curl .*?)^```$", page, re.MULTILINE | re.DOTALL)
            (program,) = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
            first = json.loads(await output_of("bash", "-c", command, environ=environ))
            second = await output_of(sys.executable, "-c", program, environ=environ)
            assert (first["message"]["body"], first["duplicate"]) == ("Disk 7 is full.", False)
            assert second == f"{first['message']['seq']}\n"
            assert len((await ada.ok("history:fetch", {"room": "alerts-disks"}))["messages"]) == 1


async def output_of(*command: str, environ: dict[str, str]) -> str:
    """What a program says, which has to succeed."""
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environ)
    output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert process.returncode == 0, errors.decode()
    return output.decode()


class TestLimits:
    """No user takes the time of the others."""

    async def test_whoever_asks_too_often_has_to_wait(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as service, backend(service) as rest:
            token = service.token(user="ada")
            # On a machine that is slow a bucket fills while it is emptied, so it takes more than its size.
            refused: list[Reply] = []
            async with asyncio.timeout(TIMEOUT_S):
                while not refused:
                    replies = await asyncio.gather(*(rest.get("/api/rooms", token=token) for _ in range(100)))
                    assert {reply.outcome for reply in replies} <= {"200", "429 rate_limited"}
                    refused = [reply for reply in replies if reply.status == 429]
            assert all(0 < reply.document["retry_after"] <= 1 for reply in refused)
            assert (await rest.get("/api/rooms", token=service.token(user="bob"))).status == 200

    async def test_requests_are_counted_by_their_operation(self, service: RunningService) -> None:
        async with backend(service) as rest, aiohttp.ClientSession() as http:
            await rest.get("/api/rooms", token=service.token(user="ada"))
            await rest.get("/api/rooms/nothing", token=service.token(user="ada"))
            async with http.get(f"{service.url}/metrics") as response:
                text = await response.text()
        assert 'hubbub_requests_total{code="ok",operation="listRooms"} 1.0' in text
        assert 'hubbub_requests_total{code="not_found",operation="getRoom"} 1.0' in text
        assert "/nothing" not in text
