"""Who is here, over the wire, with stock clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import socketio

from hubbub.domain.presence.holdings import GRACE_MS
from hubbub.events import PRESENCE_CLIENT_EVENTS
from tests.support.service import RunningService, running_service
from tests.support.tabs import Tab

Open = Callable[..., Awaitable[Tab]]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path, limits="off") as service:
        yield service


@pytest.fixture
async def tab(service: RunningService) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def connect(user: str, *namespaces: str, **token: Any) -> Tab:
            tab = Tab(*namespaces)
            stack.push_async_callback(tab.goodbye)
            await tab.connect(service.url, service.token(user=user, **token))
            return tab

        yield connect


async def lobby(tab: Tab) -> None:
    await tab.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
    await tab.ok("room:join", {"room": "lobby"})


def users_of(tab: Tab, snapshot: dict[str, Any]) -> dict[str, str]:
    """Who is in the lobby by what this tab was told: a snapshot and all events that follow it."""
    users = {user["id"]: user["status"] for user in snapshot["users"]}
    version = snapshot["version"]
    for event in tab.of("presence"):
        if event["version"] > snapshot["version"]:
            version += 1
            assert event["version"] == version
            for user in event["left"]:
                del users[user]
            users |= {user["id"]: user["status"] for user in event["joined"] + event["changed"]}
            assert event["count"] == len(users)
    return users


class TestHello:
    async def test_each_namespace_says_hello(self, tab: Open) -> None:
        ada = await tab("ada")
        await ada.wait_for("hello")
        async with ada.news, asyncio.timeout(20):
            await ada.news.wait_for(lambda: len(ada.of("hello")) == 2)
        assert {namespace for namespace, name, _ in ada.events if name == "hello"} == {"/chat", "/presence"}
        assert all(hello["user"]["status"] == "online" for hello in ada.of("hello"))

    async def test_a_bad_token_is_refused(self, service: RunningService) -> None:
        tab = Tab("/presence")
        refusals: list[Any] = []
        tab.sio.on("connect_error", refusals.append, namespace="/presence")
        try:
            with pytest.raises(socketio.exceptions.ConnectionError):
                await tab.connect(service.url, "nonsense")
            assert [each["message"] for each in refusals] == ["unauthorized"]
        finally:
            await tab.goodbye()


class TestPresence:
    async def test_a_watcher_sees_who_joins_changes_and_leaves(self, tab: Open) -> None:
        ada, bob = await tab("ada"), await tab("bob")
        await lobby(ada)
        snapshot = (await ada.ok("presence:watch", {"rooms": ["lobby"]}))["rooms"]["lobby"]
        await bob.ok("room:join", {"room": "lobby"})
        await ada.wait_for("presence", lambda event: any(user["id"] == "bob" for user in event["joined"]))
        assert await bob.ok("presence:set", {"status": "busy", "text": "lunch"}) == {"status": "busy", "text": "lunch"}
        changed = await ada.wait_for("presence", lambda event: event["changed"])
        assert (changed["changed"][0]["status"], changed["changed"][0]["text"]) == ("busy", "lunch")
        assert users_of(ada, snapshot) == {"ada": "online", "bob": "busy"}
        async with asyncio.timeout(GRACE_MS / 2000):  # A goodbye has no grace.
            await bob.goodbye()
            await ada.wait_for("presence", lambda event: event["left"] == ["bob"])
        seen = (await ada.ok("presence:get", {"users": ["bob", "ada", "nobody"]}))["users"]
        assert [(user["id"], user["status"]) for user in seen] == [("bob", "offline"), ("ada", "online")]
        assert seen[0]["last_seen"] > 0
        await ada.ok("presence:unwatch", {"rooms": ["lobby"]})

    async def test_a_reload_and_a_second_device_show_nothing(self, tab: Open) -> None:
        ada, bob = await tab("ada"), await tab("bob")
        await lobby(ada)
        await bob.ok("room:join", {"room": "lobby"})
        watcher = await tab("eve", "/presence")
        snapshot = (await watcher.ok("presence:watch", {"rooms": ["lobby"]}))["rooms"]["lobby"]
        await bob.reload()
        again, phone = await tab("bob"), await tab("bob")
        for each in (again, phone):
            await each.ok("room:join", {"room": "lobby"})
        await phone.goodbye()
        # What comes behind all that is seen, and nothing before it was.
        await ada.ok("presence:set", {"status": "away"})
        await watcher.wait_for("presence", lambda event: event["changed"])
        told = watcher.of("presence")
        assert [user for event in told for user in event["left"]] == []
        assert {user["id"] for event in told for user in event["joined"]} <= {"bob"}
        assert users_of(watcher, snapshot)["bob"] == "online"

    async def test_a_room_that_one_may_not_know_is_not_found(self, tab: Open) -> None:
        ada, eve = await tab("ada"), await tab("eve")
        secret = (await ada.ok("room:create", {"kind": "private", "title": "S"}))["room"]["id"]
        refused = await eve.ask("presence:watch", {"rooms": [secret]})
        assert refused["error"]["code"] == "not_found"
        assert list(refused["error"]["fields"]) == ["rooms.0"]
        assert (await eve.ask("presence:set", {"status": "offline"}))["error"]["code"] == "bad_request"
        assert (await eve.ask("presence:nonsense", {}))["error"]["code"] == "bad_request"

    async def test_an_unknown_field_is_named_for_every_event(self, tab: Open) -> None:
        ada = await tab("ada", "/presence")
        for event in PRESENCE_CLIENT_EVENTS:
            ack = await ada.sio.call(event.name, {"flavour": "vanilla"}, namespace="/presence", timeout=20)
            assert "flavour" in ack["error"]["fields"], event.name
        wrong: list[tuple[Any, ...]] = [(), ("tea",), ({}, {}), (None,)]
        for arguments in wrong:
            ack = await ada.sio.call("presence:watch", arguments, namespace="/presence", timeout=20)
            assert ack["error"]["code"] == "bad_request", arguments

    async def test_a_token_is_refreshed_for_both_namespaces(self, tab: Open, service: RunningService) -> None:
        ada = await tab("ada", "/presence")
        token = service.token(user="ada", name="Countess")
        ack = await ada.sio.call("auth:refresh", {"token": token}, namespace="/presence", timeout=20)
        assert (ack["data"]["user"]["name"], ack["data"]["user"]["status"]) == ("Countess", "online")
        assert (await ada.ok("presence:get", {"users": ["ada"]}))["users"][0]["name"] == "Countess"


class TestLastSeen:
    async def test_it_outlasts_the_service(self, tmp_path: Path) -> None:
        for boot in range(2):
            async with running_service(tmp_path) as service:
                ada = Tab()
                await ada.connect(service.url, service.token(user="ada"))
                bob = Tab()
                if boot == 0:
                    await lobby(ada)
                    await bob.connect(service.url, service.token(user="bob"))
                    await bob.ok("room:join", {"room": "lobby"})
                    before = time.time()
                    await service.stop()
                else:
                    (user,) = (await ada.ok("presence:get", {"users": ["bob"]}))["users"]
                    assert user["status"] == "offline"
                    assert before * 1000 <= user["last_seen"] <= time.time() * 1000
                for each in (ada, bob):
                    await each.goodbye()


class TestMembers:
    async def test_lists_of_members_say_who_is_here_and_how(self, tab: Open) -> None:
        ada, bob = await tab("ada"), await tab("bob")
        await lobby(ada)
        await bob.ok("room:join", {"room": "lobby"})
        await bob.ok("presence:set", {"status": "away", "text": "walk"})
        members = (await ada.ok("room:members", {"room": "lobby"}))["members"]
        found = {member["user"]["id"]: (member["user"]["status"], member["user"]["text"]) for member in members}
        assert found == {"ada": ("online", ""), "bob": ("away", "walk")}
