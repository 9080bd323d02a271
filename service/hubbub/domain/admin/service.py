"""The events of `/admin`.

Whatever changes something is recorded in the audit log before it is done, with what came of it after; attempts that are
refused are there as well. What cannot be recorded is not done.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final, Protocol

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.admin.caller import Administrator, check_admin, check_scope
from hubbub.domain.admin.directory import Directory
from hubbub.domain.admin.stats import ServiceStats
from hubbub.domain.admin.watches import StatsWatches
from hubbub.domain.documents import room_document
from hubbub.domain.house import House
from hubbub.domain.permissions import Action
from hubbub.domain.roomlist import RoomList
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import Ban, Beat
from hubbub.history.cursors import decode_cursor, encode_cursor

__all__ = ["Admin", "Audit", "Orders", "RoomDeleter"]

PAGE: Final = 50


class Orders(Protocol):
    """The part of `control.service.Control` that administrators use."""

    async def ban(self, by: str, user: str, *, seconds: int | None, reason: str) -> None: ...

    async def unban(self, by: str, user: str) -> None: ...

    async def revoke_user(self, by: str, user: str, *, reason: str) -> None: ...

    async def revoke_jti(self, by: str, jti: str, *, reason: str) -> None: ...

    async def disconnect_user(self, user: str, *, reason: str) -> None: ...

    async def disconnect_connection(self, connection: str, *, reason: str) -> None: ...

    async def notice(self, room: ActiveRoom | None, *, level: str, text: str) -> None: ...

    async def drain(self, node: str) -> None: ...

    def bans(self) -> Sequence[Ban]: ...

    async def nodes(self) -> Sequence[Beat]: ...


class Audit(Protocol):
    """The part of `control.audit.Auditor` that is needed here."""

    def recording(
        self, actor: str, action: str, target: Mapping[str, str], reason: str
    ) -> AbstractAsyncContextManager[None]: ...

    async def refused(
        self, actor: str, action: str, target: Mapping[str, str], reason: str, error: HubbubError
    ) -> None: ...


class RoomDeleter(Protocol):
    """The part of `domain.roomservice.RoomService` that is needed here. It records what it does by itself."""

    async def delete(self, client: Client, request: dict[str, Any]) -> dict[str, Any]: ...


class Admin:
    """What an administrator can ask for: one method per event, each with the caller and the request."""

    def __init__(
        self,
        house: House,
        rooms: RoomDeleter,
        orders: Orders,
        auditor: Audit,
        *,
        directory: Directory,
        stats: ServiceStats,
        watches: StatsWatches,
    ) -> None:
        self._house = house
        self._rooms = rooms
        self._orders = orders
        self._auditor = auditor
        self._directory = directory
        self._stats = stats
        self._watches = watches

    # -- seeing ------------------------------------------------------------------------------------------------------

    async def watch_stats(
        self, caller: Administrator, request: dict[str, Any], *, after_ack: Callable[[Callable[[], None]], None]
    ) -> dict[str, Any]:
        """`stats:watch`. The first figures come right behind the ack. Everybody may end it."""
        every_ms = request["every_ms"]
        if every_ms == 0:
            self._watches.end(caller.outlet)
            return {}
        self._check(caller, "stats:watch")
        with suppress(HubbubError):  # The figures say that the store is away; they are wanted then more than ever.
            await self._stats.refresh()
        self._check(caller, "stats:watch")  # The token may have been replaced meanwhile.
        after_ack(self._watches.watch(caller.outlet, every_ms))
        return {}

    async def list_nodes(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`nodes:list`."""
        self._check(caller, "nodes:list")
        await self._stats.refresh()
        return {"nodes": self._stats.nodes()}

    async def list_rooms(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`rooms:list`: all but direct rooms. A token that is limited to rooms sees those only. The caller's own direct
        rooms are left out, so a page may be short.
        """
        self._check(caller, "rooms:list")
        listed = RoomList(self._house.history, caller.identity, request.get("query"))
        page = await listed.page(limit=request.get("limit", PAGE), cursor=request.get("cursor"))
        rooms = [
            room_document(view.room, epoch=self._house.epoch(view.room.uid))
            for view in page.rooms
            if view.room.kind != "direct"
        ]
        return {"rooms": rooms, "cursor": page.cursor}

    async def list_connections(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`connections:list`."""
        self._check(caller, "connections:list", request.get("room"))
        room = await self._enter(caller, request["room"], Action.MEMBERS) if "room" in request else None
        listing = await self._directory.page(
            user=request.get("user"),
            room=None if room is None else room.uid,
            node=request.get("node"),
            cursor=request.get("cursor"),
            limit=request.get("limit", PAGE),
        )
        connections = listing.connections
        if caller.identity.rooms is not None:
            connections = [
                {**each, "rooms": [room for room in each["rooms"] if caller.identity.covers(room)]}
                for each in connections
            ]
        missing = {"missing": listing.missing} if listing.missing else {}
        return {"connections": connections, "cursor": listing.cursor, **missing}

    async def list_bans(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`bans:list`. They are all in memory; a cursor has the user of the last one."""
        self._check(caller, "bans:list")
        bans, start = self._orders.bans(), 0
        cursor = request.get("cursor")
        if cursor is not None:
            (after,) = decode_cursor(cursor, "bans", str)
            start = bisect_right(bans, str(after), key=lambda ban: ban.user)
        limit = request.get("limit", PAGE)
        page = bans[start : start + limit]
        shown = [
            {"user": ban.user, "until": ban.until, "reason": ban.reason, "by": ban.by, "at": ban.at} for ban in page
        ]
        has_more = start + limit < len(bans)
        return {"bans": shown, "cursor": encode_cursor("bans", page[-1].user) if has_more else None}

    async def list_audit(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`audit:list`."""
        self._check(caller, "audit:list")
        page = await self._house.history.ledger.audit(limit=request.get("limit", PAGE), cursor=request.get("cursor"))
        entries = [
            {
                "at": entry.at,
                "actor": entry.actor,
                "action": entry.action,
                "target": dict(entry.target),
                "reason": entry.reason,
                "outcome": entry.outcome,
            }
            for entry in page.entries
        ]
        return {"entries": entries, "cursor": page.cursor}

    # -- doing -------------------------------------------------------------------------------------------------------

    async def disconnect_connection(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`connection:disconnect`. `not_found` if no living node has it; where its node does not answer, the order
        waits for it.
        """
        async with self._recording(caller, "connection:disconnect", {"connection": request["id"]}, request["reason"]):
            if await self._directory.has(request["id"]) is False:
                raise HubbubError("not_found", "There is no such connection.")
            await self._orders.disconnect_connection(request["id"], reason=request["reason"])
        return {}

    async def disconnect_user(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`user:disconnect`. A user without connections is no error: they may be about to come."""
        async with self._recording(caller, "user:disconnect", {"user": request["user"]}, request["reason"]):
            await self._orders.disconnect_user(request["user"], reason=request["reason"])
        return {}

    async def ban(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`user:ban`. Replaces an earlier ban of the user."""
        user, reason = request["user"], request["reason"]
        async with self._recording(caller, "user:ban", {"user": user}, reason):
            if user == caller.identity.user:
                raise HubbubError("forbidden", "Not upon oneself.")
            await self._orders.ban(caller.identity.user, user, seconds=request.get("seconds"), reason=reason)
        return {}

    async def unban(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`user:unban`. Ending a ban that is not there is no error."""
        async with self._recording(caller, "user:unban", {"user": request["user"]}, ""):
            await self._orders.unban(caller.identity.user, request["user"])
        return {}

    async def revoke(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`token:revoke`: one token by its `jti`, or all that a user was given until now."""
        name = "user" if "user" in request else "jti"
        by, reason = caller.identity.user, request["reason"]
        async with self._recording(caller, "token:revoke", {name: request[name]}, reason):
            if name == "user":
                await self._orders.revoke_user(by, request["user"], reason=reason)
            else:
                await self._orders.revoke_jti(by, request["jti"], reason=reason)
        return {}

    async def delete_room(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`room:delete`, as in `/chat`."""
        target = {"room": request["room"]}
        try:
            check_admin(caller.identity)
            await self._enter(caller, request["room"], Action.DELETE_ROOM)
        except HubbubError as error:
            await self._auditor.refused(caller.identity.user, "room:delete", target, request["reason"], error)
            raise
        return await self._rooms.delete(caller.client, request)

    async def send_notice(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`notice:send`, to everybody in `/chat` or to the subscribers of a room. The audit log has the text in the
        place of a reason.
        """
        target = {"room": request["room"]} if "room" in request else {}
        async with self._recording(caller, "notice:send", target, request["text"]):
            room = await self._enter(caller, request["room"], Action.UPDATE) if "room" in request else None
            await self._orders.notice(room, level=request["level"], text=request["text"])
        return {}

    async def drain(self, caller: Administrator, request: dict[str, Any]) -> dict[str, Any]:
        """`node:drain`. `not_found` if no node of this name lives."""
        node = request["node"]
        async with self._recording(caller, "node:drain", {"node": node}, ""):
            if all(beat.name != node for beat in await self._orders.nodes()):
                raise HubbubError("not_found", "There is no such node.")
            await self._orders.drain(node)
        return {}

    # -- for the namespace -------------------------------------------------------------------------------------------

    def left(self, caller: Administrator) -> None:
        """An administrator is gone."""
        self._watches.end(caller.outlet)

    def renewed(self, caller: Administrator) -> None:
        """An administrator has another token: figures that it does not give a right to end."""
        try:
            self._check(caller, "stats:watch")
        except HubbubError:
            self._watches.end(caller.outlet)

    async def close(self) -> None:
        """Stop what runs beside."""
        self._watches.close()
        await self._stats.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _recording(
        self, caller: Administrator, event: str, target: Mapping[str, str], reason: str
    ) -> AsyncIterator[None]:
        """Around what changes something. Whether the caller may is asked inside, so that a refusal is recorded too."""
        async with self._auditor.recording(caller.identity.user, event, target, reason):
            self._check(caller, event, target.get("room"))
            yield

    async def _enter(self, caller: Administrator, room_id: str, action: Action) -> ActiveRoom:
        """The room, if the table of permissions lets an administrator do this in it. Direct rooms stay closed."""
        return await self._house.enter(caller.client, room_id, action)

    @staticmethod
    def _check(caller: Administrator, event: str, room: str | None = None) -> None:
        check_admin(caller.identity)
        check_scope(caller.identity, event, room)
