"""The events of `/admin`, without a wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from hubbub.domain.admin.caller import Administrator
from hubbub.domain.admin.service import Admin
from hubbub.errors import HubbubError
from tests.support.administrators import Office
from tests.support.house import ChatHouse, outlet_of, refusal_of

CHANGING: dict[str, tuple[Callable[[Admin], Callable[..., Awaitable[Any]]], dict[str, Any], dict[str, str], str]] = {
    "connection:disconnect": (
        lambda admin: admin.disconnect_connection,
        {"id": "n.1-chat", "reason": "why"},
        {"connection": "n.1-chat"},
        "why",
    ),
    "user:disconnect": (lambda admin: admin.disconnect_user, {"user": "eve", "reason": "why"}, {"user": "eve"}, "why"),
    "user:ban": (lambda admin: admin.ban, {"user": "eve", "reason": "why"}, {"user": "eve"}, "why"),
    "user:unban": (lambda admin: admin.unban, {"user": "eve"}, {"user": "eve"}, ""),
    "token:revoke": (lambda admin: admin.revoke, {"jti": "j1", "reason": "why"}, {"jti": "j1"}, "why"),
    "room:delete": (lambda admin: admin.delete_room, {"room": "tea", "reason": "why"}, {"room": "tea"}, "why"),
    "notice:send": (
        lambda admin: admin.send_notice,
        {"room": "tea", "level": "info", "text": "hello"},
        {"room": "tea"},
        "hello",
    ),
    "node:drain": (lambda admin: admin.drain, {"node": "n"}, {"node": "n"}, ""),
}
"""Each event that changes something: its method, a request that succeeds, and what is recorded as target and reason."""


@pytest.fixture
async def office(house: ChatHouse) -> AsyncIterator[Office]:
    office = Office(house)
    owner = await house.enter("ann")
    await house.room(owner)
    await house.join(owner)
    office.crowd.add("eve")
    yield office
    await office.admin.close()


async def do(office: Office, event: str, caller: Administrator | None = None) -> Any:
    method, request, _, _ = CHANGING[event]
    return await method(office.admin)(caller or office.caller(), dict(request))


class TestRecording:
    @pytest.mark.parametrize("event", CHANGING)
    async def test_what_changes_something_is_recorded_with_its_target_reason_and_outcome(
        self, office: Office, event: str
    ) -> None:
        assert await do(office, event) == {}
        _, _, target, reason = CHANGING[event]
        assert await office.audit() == [(event, target, reason, "ok")]

    @pytest.mark.parametrize("event", CHANGING)
    async def test_so_are_attempts_that_are_refused(self, office: Office, event: str) -> None:
        limited, former = office.caller(rooms=["cake"]), office.caller(roles=["moderator"])
        code = "not_found" if event in ("room:delete", "notice:send") else "forbidden"
        assert await refusal_of(do(office, event, limited)) == code
        assert await refusal_of(do(office, event, former)) == "forbidden"
        assert [(action, outcome) for action, _, _, outcome in await office.audit()] == [
            (event, code),
            (event, "forbidden"),
        ]
        assert await office.house.store.ledger.head() == 1, "the log has the room's creation and no order"

    @pytest.mark.parametrize("event", CHANGING)
    async def test_what_cannot_be_recorded_is_not_done(
        self, office: Office, event: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(**entry: Any) -> str:
            raise HubbubError("unavailable")

        monkeypatch.setattr(office.house.store.ledger, "audit_begin", fail)
        head = await office.house.store.ledger.head()
        assert await refusal_of(do(office, event)) == "unavailable"
        assert await office.house.store.ledger.head() == head
        assert await office.house.store.room("tea") is not None

    async def test_a_revocation_of_a_user_names_the_user(self, office: Office) -> None:
        await office.admin.revoke(office.caller(), {"user": "eve", "reason": "lost"})
        assert await office.audit() == [("token:revoke", {"user": "eve"}, "lost", "ok")]
        (record,) = await office.house.store.ledger.read(after=1, limit=10)
        assert (record.data["user"], record.data["by"]) == ("eve", "root")

    async def test_nobody_bans_themselves(self, office: Office) -> None:
        request = {"user": "root", "reason": "oops"}
        assert await refusal_of(office.admin.ban(office.caller(), request)) == "forbidden"
        assert office.house.chat.control.bans() == []


class TestOrders:
    async def test_a_ban_is_in_force_and_listed_until_it_ends(self, office: Office) -> None:
        caller = office.caller()
        await office.admin.ban(caller, {"user": "eve", "seconds": 60, "reason": "spam"})
        (ban,) = (await office.admin.list_bans(caller, {}))["bans"]
        now = office.house.clock()
        assert ban == {"user": "eve", "until": now + 60_000, "reason": "spam", "by": "root", "at": now}
        office.house.clock.forward(60)
        assert (await office.admin.list_bans(caller, {}))["bans"] == []

    async def test_bans_are_paged_by_user_also_while_some_end(self, office: Office) -> None:
        caller = office.caller()
        for user in ("a", "b", "c", "d"):
            await office.admin.ban(caller, {"user": user, "reason": "spam"})
        first = await office.admin.list_bans(caller, {"limit": 2})
        await office.admin.unban(caller, {"user": "b"})
        second = await office.admin.list_bans(caller, {"limit": 2, "cursor": first["cursor"]})
        assert [each["user"] for each in first["bans"] + second["bans"]] == ["a", "b", "c", "d"]
        assert second["cursor"] is None

    @pytest.mark.parametrize("cursor", ["", "b", "WyJ1c2VycyIsImIiXQ"])
    async def test_a_cursor_of_bans_that_was_not_made_here_is_refused(self, office: Office, cursor: str) -> None:
        assert await refusal_of(office.admin.list_bans(office.caller(), {"cursor": cursor})) == "bad_request"

    async def test_what_is_not_there_is_said_and_recorded(self, office: Office) -> None:
        caller = office.caller()
        for work in (
            office.admin.disconnect_connection(caller, {"id": "n.9-chat", "reason": "why"}),
            office.admin.drain(caller, {"node": "n9"}),
            office.admin.delete_room(caller, {"room": "none", "reason": "why"}),
            office.admin.send_notice(caller, {"room": "none", "level": "info", "text": "hello"}),
        ):
            assert await refusal_of(work) == "not_found"
        assert {outcome for _, _, _, outcome in await office.audit()} == {"not_found"}

    async def test_a_deleted_room_is_gone_for_its_members(self, office: Office) -> None:
        (member,) = office.house.chat.house.roster.clients("ann")
        await do(office, "room:delete")
        assert outlet_of(member).of("room:removed") == [{"room": "tea", "reason": "deleted"}]


class TestSeeing:
    async def test_figures_follow_the_ack_and_end_with_the_caller(self, office: Office) -> None:
        caller = office.caller()
        outlet: Any = caller.outlet
        assert await office.watch(caller, 60_000) == {}
        assert [name for name, _ in outlet.sent] == ["<ack>", "stats"]
        assert outlet.of("stats")[0]["nodes"] == ["n"]
        assert office.admin._watches.size == 1
        office.admin.left(caller)
        assert office.admin._watches.size == 0
        await office.watch(caller, 60_000)
        assert await office.watch(caller, 0) == {}
        assert office.admin._watches.size == 0

    async def test_they_end_with_a_token_that_is_limited_and_anybody_may_end_them(self, office: Office) -> None:
        caller, limited = office.caller(), office.caller(rooms=["tea"])
        await office.watch(caller, 60_000)
        office.admin.renewed(caller)
        assert office.admin._watches.size == 1
        caller.identity = limited.identity
        office.admin.renewed(caller)
        assert office.admin._watches.size == 0
        assert await office.watch(caller, 0) == {}
        assert await refusal_of(office.watch(caller, 60_000)) == "forbidden"

    async def test_they_come_also_while_the_store_is_away(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*, since: int) -> Any:
            raise HubbubError("unavailable")

        monkeypatch.setattr(office.house.store.ledger, "beats", fail)
        caller = office.caller()
        outlet: Any = caller.outlet
        await office.watch(caller, 60_000)
        assert len(outlet.of("stats")) == 1
        assert await refusal_of(office.admin.list_nodes(caller, {})) == "unavailable"

    async def test_the_beat_of_the_node_tells_its_figures(self, office: Office) -> None:
        (beat,) = await office.house.chat.control.nodes()
        assert (beat.name, beat.about["version"], beat.about["rooms"]) == ("n", "1.2", 1)

    async def test_rooms_are_all_but_direct_ones(self, office: Office) -> None:
        house = office.house
        (ann,) = house.chat.house.roster.clients("ann")
        await house.room(ann, "secret", kind="private")
        root = await house.enter("root")
        await house.chat.rooms.create(root, {"kind": "direct", "members": ["ann"]})
        rooms = (await office.admin.list_rooms(office.caller(), {}))["rooms"]
        assert sorted(room["title"] for room in rooms) == ["secret", "tea"]
        assert set(rooms[0]).isdisjoint({"role", "unread", "read_seq"})
        limited = await office.admin.list_rooms(office.caller(rooms=["tea"]), {})
        assert [room["id"] for room in limited["rooms"]] == ["tea"]

    async def test_connections_of_a_room_show_a_limited_token_no_other_rooms(self, office: Office) -> None:
        (ann,) = office.house.chat.house.roster.clients("ann")
        await office.house.room(ann, "cake")
        uids = [office.house.uid(room) for room in ("tea", "cake")]
        office.crowd.add("bob", rooms=uids)
        shown = (await office.admin.list_connections(office.caller(rooms=["tea"]), {"room": "tea"}))["connections"]
        assert [(each["user"]["id"], each["rooms"]) for each in shown] == [("bob", ["tea"])]
        whole = (await office.admin.list_connections(office.caller(), {"room": "tea"}))["connections"]
        assert whole[0]["rooms"] == ["cake", "tea"]

    async def test_the_audit_log_is_paged_newest_first(self, office: Office) -> None:
        caller = office.caller()
        for user in ("a", "b", "c"):
            office.house.clock.forward(1)
            await office.admin.disconnect_user(caller, {"user": user, "reason": "test"})
        first = await office.admin.list_audit(caller, {"limit": 2})
        rest = await office.admin.list_audit(caller, {"limit": 2, "cursor": first["cursor"]})
        assert [entry["target"] for entry in first["entries"] + rest["entries"]] == [
            {"user": "c"},
            {"user": "b"},
            {"user": "a"},
        ]
        assert set(first["entries"][0]) == {"at", "actor", "action", "target", "reason", "outcome"}
        assert rest["cursor"] is None
