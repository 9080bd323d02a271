"""Filters of a module and of a rule file, in the real service, over real connections."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service

MODULE = """
import asyncio
import time

from hubbub.filters import Draft, Verdict, refuse, replace


def shout(draft: Draft) -> Verdict | None:
    if draft.body == "who":
        told = (draft.room.id, draft.room.kind, draft.sender.id, draft.sender.role, draft.is_edit)
        return replace(repr(told))
    return replace(draft.body.lower()) if draft.body.isupper() else None


async def spam(draft: Draft) -> Verdict | None:
    if draft.body.startswith("wait"):
        await asyncio.sleep(0.05)
    if "buy" in draft.body:
        return refuse("No advertisements, please.")
    if draft.body == "exit":
        raise SystemExit(3)
    if draft.body == "stay":
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
    if draft.body == "block":
        await asyncio.to_thread(time.sleep, 60)
    if draft.body == "break":
        raise RuntimeError(draft.body)
    return None
"""

RULES = """
[[rule]]
words = ["numbskull"]
action = "replace"

[[rule]]
links = { allow = ["example.org"] }
action = "refuse"
message = "No links to other sites."
exempt = ["owner"]
"""


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningService]:
    (tmp_path / "site_filters.py").write_text(MODULE)
    (tmp_path / "rules.toml").write_text(RULES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with running_service(
        tmp_path,
        limits="off",
        filters="site_filters:shout,site_filters:spam",
        filter_rules=tmp_path / "rules.toml",
    ) as service:
        yield service


@pytest.fixture
async def people(service: RunningService) -> AsyncIterator[tuple[ChatClient, ChatClient]]:
    """Ada owns the lobby, bob is a member; both have joined."""
    async with AsyncExitStack() as stack:
        ada, bob = [
            await stack.enter_async_context(chat_client(service.url, service.token(user=user)))
            for user in ("ada", "bob")
        ]
        await ada.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
        for client in (ada, bob):
            await client.ok("room:join", {"room": "lobby"})
        yield ada, bob


def message(body: str, key: str = "k") -> dict[str, Any]:
    return {"room": "lobby", "key": key, "body": body}


class TestFilters:
    async def test_a_message_is_stored_and_told_as_the_filters_leave_it(
        self, people: tuple[ChatClient, ChatClient]
    ) -> None:
        ada, bob = people
        sent = (await bob.ok("message:send", message("HELLO @ADA, YOU NUMBSKULL")))["message"]
        assert (sent["body"], sent["mentions"]) == ("hello @ada, you *********", ["ada"])
        assert await ada.wait_for("message") == sent
        seen = (await bob.ok("message:send", message("who", "k2")))["message"]["body"]
        assert seen == repr(("lobby", "public", "bob", "member", False))

    async def test_an_edit_passes_them_too(self, people: tuple[ChatClient, ChatClient]) -> None:
        _, bob = people
        sent = (await bob.ok("message:send", message("hello")))["message"]
        edit = {"room": "lobby", "id": sent["id"]}
        edited = await bob.ok("message:edit", {**edit, "body": "NUMBSKULL"})
        assert edited["message"]["body"] == "*********"
        error = await bob.error("message:edit", {**edit, "body": "buy this"})
        assert (error["code"], error["fields"]) == ("forbidden", {"body": ["No advertisements, please."]})
        told = await bob.ok("message:edit", {**edit, "body": "who"})
        assert told["message"]["body"].endswith("True)")

    async def test_what_is_refused_is_stored_nowhere_and_its_key_is_free(
        self, people: tuple[ChatClient, ChatClient]
    ) -> None:
        ada, bob = people
        error = await bob.error("message:send", message("buy http://shop.com"))
        assert (error["code"], error["message"]) == ("forbidden", "No links to other sites.")
        error = await bob.error("message:send", message("buy"))
        assert (error["code"], error["message"]) == ("forbidden", "No advertisements, please.")
        sent = await bob.ok("message:send", message("see example.org"))
        assert (sent["message"]["seq"], sent["duplicate"]) == (1, False)
        assert (await ada.ok("message:send", message("see http://shop.com")))["message"]["seq"] == 2

    async def test_a_repeat_is_answered_with_the_first_whatever_filters_say_of_it(
        self, people: tuple[ChatClient, ChatClient]
    ) -> None:
        _, bob = people
        first = await bob.ok("message:send", message("hello"))
        for body in ("buy", "break", "http://shop.com", "HELLO"):
            again = await bob.ok("message:send", message(body))
            assert again == {"message": first["message"], "duplicate": True}

    async def test_a_filter_that_fails_lets_nothing_through_and_tells_no_log_what_was_said(
        self, service: RunningService, people: tuple[ChatClient, ChatClient]
    ) -> None:
        _, bob = people
        for _ in range(3):
            error = await bob.error("message:send", message("break"))
            assert (error["code"], error["retryable"]) == ("unavailable", True)
        await bob.ok("message:send", message("mended"))
        async with aiohttp.ClientSession() as http, http.get(f"{service.url}/metrics") as answer:
            metrics = await answer.text()
        assert 'hubbub_filter_verdicts_total{filter="site_filters:spam",verdict="failed"} 3.0' in metrics
        assert 'hubbub_filter_verdicts_total{filter="filter_rules",verdict="allow"} 4.0' in metrics
        await service.stop()
        [line] = [line for line in service.log.splitlines() if "filter.failed" in line]
        assert '"filter":"site_filters:spam"' in line
        assert '"break"' not in service.log

    async def test_a_filter_that_exits_is_one_that_failed(
        self, service: RunningService, people: tuple[ChatClient, ChatClient]
    ) -> None:
        _, bob = people
        assert (await bob.error("message:send", message("exit")))["code"] == "unavailable"
        await bob.ok("message:send", message("mended"))
        assert await service.stop() == 0
        assert '"kind":"SystemExit"' in service.log

    @pytest.mark.parametrize("body", ["stay", "block"])
    async def test_a_filter_that_does_not_end_keeps_no_process(
        self, service: RunningService, people: tuple[ChatClient, ChatClient], body: str
    ) -> None:
        _, bob = people
        assert (await bob.error("message:send", message(body)))["code"] == "unavailable"
        await bob.ok("message:send", message("after"))
        assert await service.stop() == 0
        [line] = [line for line in service.log.splitlines() if "stop.left_over" in line]
        assert ("filter site_filters:spam" in line) == (body == "stay")

    async def test_sends_stay_in_order_when_a_filter_waits(self, people: tuple[ChatClient, ChatClient]) -> None:
        ada, bob = people
        bodies = [f"{'wait' if number % 3 == 0 else 'go'} {number}" for number in range(12)]
        acks = await asyncio.gather(
            *(bob.call("message:send", message(body, f"k{number}")) for number, body in enumerate(bodies))
        )
        assert [ack["data"]["message"]["seq"] for ack in acks] == list(range(1, 13))
        page = await ada.ok("history:fetch", {"room": "lobby"})
        assert [each["body"] for each in page["messages"]] == bodies


class TestStart:
    @pytest.mark.parametrize("arguments", [["--check"], []])
    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"HUBBUB_FILTERS": "nowhere_at_all:f"}, "The filter nowhere_at_all:f cannot be loaded"),
            ({"HUBBUB_FILTERS": "profanity"}, "No installed package announces a filter profanity"),
            ({"HUBBUB_FILTER_RULES": "rules.toml"}, "The rule file rules.toml has a mistake in rule '1'"),
        ],
    )
    def test_a_filter_that_cannot_be_had_is_named(
        self, tmp_path: Path, arguments: list[str], settings: dict[str, str], told: str
    ) -> None:
        (tmp_path / "rules.toml").write_text("[[rule]]\n")
        environ = {"HUBBUB_STORE": f"sqlite:///{tmp_path}/hubbub.db", "HUBBUB_PORT": "0", "PATH": "", **settings}
        done = subprocess.run(
            [sys.executable, "-m", "hubbub", "serve", *arguments],
            env=environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "service")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith(told), done.stderr
        assert "Traceback" not in done.stderr
