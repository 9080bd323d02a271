"""`GET /api/spec`: both documents are what they say they are, and the service is as they say."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from tests.support.chat import chat_client
from tests.support.contract import Contract, contract_client
from tests.support.house import chat_house, outlet_of
from tests.support.service import RunningService, running_service
from tests.support.tree import ROOT

ASYNCAPI: Final = ROOT / "tests/support/js/node_modules/@asyncapi/specs/schemas/3.0.0.json"
"""The official schema of AsyncAPI documents, from its package."""

PROGRAMS: Final = Path(sys.executable).parent
TIMEOUT_S: Final = 100.0

FUZZING: Final = ("--max-examples", "50", "--seed", "20261125", "--workers", "1")
NOT_CHECKED: Final = "positive_data_acceptance"
"""Whether all that fits the schemas is taken: JSON Schema has no word for what is visible (`body`), or for a cursor
that was made here, so what fits may still be refused.
"""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path, limits="off", token_expiring_s=3599.5, drain_s=3) as running:
        yield running


async def fetch(service: RunningService, path: str = "/api/spec") -> Any:
    async with aiohttp.ClientSession() as http, http.get(service.url + path) as response:
        assert response.status == 200
        return await response.json()


async def output_of(*command: str | Path, folder: Path) -> tuple[int | None, str]:
    """Runs a program in a folder; returns its exit status and what it said. Other programs of the environment are on
    its path.
    """
    environ = os.environ | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=PIPE, stderr=STDOUT, env=environ)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(errors="replace")


class TestDocuments:
    """Both are valid by the official schemas."""

    async def test_one_is_openapi(self, service: RunningService) -> None:
        document = (await fetch(service))["openapi"]
        OpenAPIV31SpecValidator(document).validate()
        broken = copy.deepcopy(document)
        del broken["paths"]["/api/rooms"]["get"]["responses"]["200"]["description"]
        with pytest.raises(OpenAPIValidationError):
            OpenAPIV31SpecValidator(broken).validate()

    async def test_the_other_is_asyncapi(self, service: RunningService) -> None:
        document = (await fetch(service))["asyncapi"]
        official = jsonschema.Draft7Validator(json.loads(ASYNCAPI.read_text()))
        official.validate(document)
        broken = copy.deepcopy(document)
        broken["operations"]["chat.message.send"]["action"] = "request"
        assert not official.is_valid(broken)

    async def test_each_is_served_alone_as_well(self, service: RunningService) -> None:
        both = await fetch(service)
        assert await fetch(service, "/api/spec/openapi.json") == both["openapi"]
        assert await fetch(service, "/api/spec/asyncapi.json") == both["asyncapi"]


class TestTruth:
    """What goes over the wire is as described, and nothing that is not."""

    async def test_every_acknowledgement_and_every_event_is_as_described(
        self, service: RunningService, tmp_path: Path
    ) -> None:
        contract = Contract((await fetch(service))["asyncapi"])
        await chat(service, contract)
        await presence(service, contract)
        await admin(service, contract)
        await gap(contract, tmp_path / "house")
        await end(service, contract)
        assert contract.keys() - contract.seen == set()

    async def test_what_is_not_described_is_noticed(self, service: RunningService) -> None:
        contract = Contract((await fetch(service))["asyncapi"])
        for payload in ({"ok": True, "data": {"read_seq": 1}}, {"ok": True, "data": {"more": 1}}, {"ok": True}):
            with pytest.raises(jsonschema.ValidationError):
                contract.check("chat", "read.mark.ack", payload)
        payload = {"ok": True, "data": {"read_seq": 1, "unread": 0, "other": 1}}
        with pytest.raises(jsonschema.ValidationError):
            contract.check("chat", "read.mark.ack", payload)


async def chat(service: RunningService, contract: Contract) -> None:
    """Everything in `/chat`, refusals among it."""
    ada_token, bob_token = service.token(user="ada"), service.token(user="bob")
    async with (
        contract_client(contract, "chat", service.url, ada_token) as ada,
        contract_client(contract, "chat", service.url, bob_token) as bob,
    ):
        await ada.wait_for("hello")
        await ada.wait_for("token:expiring")
        await ada.call("room:create", {"id": "tea", "kind": "public", "title": "Tea"})
        await ada.call("room:create", {"kind": "direct", "members": ["bob"]})
        await bob.wait_for("room:added")
        assert (await ada.call("room:create", {"kind": "none", "what": 1}))["code"] == "bad_request"
        assert (await ada.call("room:join", {"room": "nowhere"}))["code"] == "not_found"
        await bob.call("room:join", {"room": "tea"})
        first = (await bob.call("message:send", {"room": "tea", "key": "1", "body": "@ada hi"}))["message"]
        await ada.wait_for("activity")
        await ada.call("room:join", {"room": "tea"})
        reply = {"room": "tea", "key": "2", "body": "Yes?", "reply_to": first["id"]}
        second = (await ada.call("message:send", reply))["message"]
        await ada.call("message:send", reply)
        about = {"room": "tea", "id": second["id"]}
        await ada.call("message:edit", {**about, "body": "Yes."})
        await bob.call("message:react", {**about, "emoji": "👍", "on": True})
        await bob.wait_for("message", lambda document: document["reactions"] != [])
        await bob.emit("typing", {"room": "tea", "on": True})
        await ada.wait_for("typing")
        await bob.call("read:mark", {"room": "tea", "seq": 2})
        await ada.wait_for("read")
        await ada.call("message:delete", about)
        await ada.call("history:fetch", {"room": "tea"})
        await ada.call("history:sync", {"room": "tea", "since": 0})
        await ada.call("history:search", {"query": "hi"})
        await ada.call("room:list", {})
        await ada.call("room:members", {"room": "tea"})
        await ada.call("room:update", {"room": "tea", "topic": "Leaves"})
        await bob.wait_for("room")
        await ada.call("room:mute", {"room": "tea", "user": "bob", "seconds": 60})
        assert (await bob.call("message:send", {"room": "tea", "key": "3", "body": "x"}))["code"] == "muted"
        await ada.call("room:role", {"room": "tea", "user": "bob", "role": "moderator"})
        await ada.wait_for("member")
        await ada.call("room:role", {"room": "tea", "user": "bob", "role": "member"})
        await ada.call("room:purge", {"room": "tea", "user": "bob"})
        await ada.call("room:kick", {"room": "tea", "user": "bob", "reason": "Enough."})
        await bob.wait_for("room:removed")
        await ada.call("room:ban", {"room": "tea", "user": "bob", "seconds": 60})
        await ada.call("room:unban", {"room": "tea", "user": "bob"})
        await ada.call("room:invite", {"room": "tea", "user": "bob"})
        await bob.call("room:join", {"room": "tea"})
        await bob.call("room:leave", {"room": "tea"})
        await ada.wait_for("member", lambda document: document.get("left") is True)
        await bob.call("auth:refresh", {"token": service.token(user="bob", ttl_s=7200)})
        await ada.call("room:create", {"id": "gone", "kind": "public", "title": "Gone"})
        await ada.call("room:delete", {"room": "gone"})


async def presence(service: RunningService, contract: Contract) -> None:
    """Everything in `/presence`."""
    ada_token, bob_token = service.token(user="ada"), service.token(user="bob")
    async with (
        contract_client(contract, "chat", service.url, ada_token) as chat_ada,
        contract_client(contract, "presence", service.url, ada_token) as ada,
        contract_client(contract, "chat", service.url, bob_token) as bob,
    ):
        await ada.wait_for("hello")
        await ada.wait_for("token:expiring")
        await chat_ada.call("room:create", {"id": "short", "kind": "public", "title": "Short"})
        await ada.call("presence:watch", {"rooms": ["tea", "short"]})
        await bob.call("room:join", {"room": "tea"})
        await ada.wait_for("presence")
        await ada.call("presence:set", {"status": "busy", "text": "Writing"})
        await ada.call("presence:get", {"users": ["ada", "bob"]})
        await ada.call("presence:list", {"room": "tea"})
        await ada.call("presence:unwatch", {"rooms": ["tea"]})
        await chat_ada.call("room:delete", {"room": "short"})
        await ada.wait_for("room:removed")
        await ada.call("auth:refresh", {"token": service.token(user="ada", ttl_s=7200)})


async def admin(service: RunningService, contract: Contract) -> None:
    """Everything in `/admin`, apart from what ends the node."""
    url, token = service.url, service.token(user="root", roles=["admin"])
    async with (
        contract_client(contract, "admin", url, token) as root,
        contract_client(contract, "chat", url, service.token(user="bob")) as bob,
        contract_client(contract, "presence", url, service.token(user="eve")) as eve,
    ):
        await root.wait_for("hello")
        await root.wait_for("token:expiring")
        await root.call("stats:watch", {"every_ms": 500})
        await root.wait_for("stats")
        await root.call("nodes:list", {})
        await root.call("rooms:list", {})
        found = await root.call("connections:list", {"user": "bob"})
        await root.call("notice:send", {"level": "info", "text": "Soon."})
        await bob.wait_for("notice")
        await root.call("notice:send", {"room": "tea", "level": "warning", "text": "Here."})
        await root.call("connection:disconnect", {"id": found["connections"][0]["id"], "reason": "Test."})
        await bob.wait_for("closing")
        await root.call("user:ban", {"user": "eve", "seconds": 60, "reason": "Test."})
        await eve.wait_for("closing")
        await root.call("bans:list", {})
        await root.call("user:unban", {"user": "eve"})
        await root.call("user:disconnect", {"user": "bob", "reason": "Test."})
        await root.call("token:revoke", {"user": "eve", "reason": "Test."})
        await root.call("room:delete", {"room": "tea", "reason": "Test."})
        await root.call("audit:list", {})
        await root.call("auth:refresh", {"token": service.token(user="root", roles=["admin"], ttl_s=7200)})


async def gap(contract: Contract, folder: Path) -> None:
    """A connection that is too slow, without the wire: there it takes megabytes."""
    folder.mkdir()
    async with chat_house(folder) as house:
        ada = await house.enter("ada")
        await house.room(ada)
        house.chat.suspended(ada, house.uid())
        contract.check("chat", "gap.event", outlet_of(ada).of("gap")[0])


async def end(service: RunningService, contract: Contract) -> None:
    """The node is told to end, and tells everybody."""
    token = service.token(user="root", roles=["admin"])
    async with (
        contract_client(contract, "admin", service.url, token) as root,
        contract_client(contract, "chat", service.url, token) as ada,
        contract_client(contract, "presence", service.url, token) as eve,
    ):
        nodes = (await root.call("nodes:list", {}))["nodes"]
        await root.call("node:drain", {"node": nodes[0]["node"]})
        for client in (root, ada, eve):
            await client.wait_for("draining")
        await root.wait_for("closing")


class TestTools:
    """Public tools can work with the documents."""

    async def test_a_generated_client_sends_and_reads_a_message(self, service: RunningService, tmp_path: Path) -> None:
        url = f"{service.url}/api/spec/openapi.json"
        status, output = await output_of(
            PROGRAMS / "openapi-python-client", "generate", "--url", url, "--meta", "none",
            "--output-path", tmp_path / "generated", "--fail-on-warning", folder=tmp_path,
        )  # fmt: skip
        assert status == 0, output
        async with chat_client(service.url, service.token(user="ada")) as ada:
            await ada.ok("room:create", {"id": "alerts", "kind": "public", "title": "Alerts"})
        (tmp_path / "program.py").write_text(PROGRAM)
        token = service.token(user="watchdog", roles=["bot"])
        status, output = await output_of(sys.executable, "program.py", service.url, token, folder=tmp_path)
        assert (status, output) == (0, "201 False\n200 True\nDisk is full. watchdog\nnot_found\n")

    async def test_requests_made_from_the_document_find_nothing_that_it_does_not_say(
        self, service: RunningService, tmp_path: Path
    ) -> None:
        async with chat_client(service.url, service.token(user="ada")) as ada:
            await ada.ok("room:create", {"id": "tea", "kind": "public", "title": "Tea"})
            await ada.ok("message:send", {"room": "tea", "key": "1", "body": "hi"})
        token = service.token(user="ada", roles=["bot"])
        status, output = await output_of(
            PROGRAMS / "schemathesis", "run", f"{service.url}/api/spec/openapi.json", "--no-color", *FUZZING,
            "--exclude-checks", NOT_CHECKED, "--header", f"Authorization: Bearer {token}", folder=tmp_path,
        )  # fmt: skip
        assert status == 0, output
        assert re.search(r"^  Tested: +[1-9][0-9]*$", output, re.MULTILINE), output
        assert "http_failed" not in service.log


PROGRAM: Final = """\
import sys

from generated import AuthenticatedClient
from generated.api.rest import get_room, list_messages, send_message
from generated.models import Error, MessagePost

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
for _ in range(2):
    answer = send_message.sync_detailed(
        "alerts", client=client, body=MessagePost(body="Disk is full."), idempotency_key="disk-1"
    )
    print(answer.status_code.value, answer.parsed.duplicate)
page = list_messages.sync("alerts", client=client, limit=10)
for message in page.messages:
    print(message.body, message.sender.name)
missing = get_room.sync("nowhere", client=client)
assert isinstance(missing, Error)
print(missing.code.value)
"""
"""What a back end does, with the client that was generated from the document."""
