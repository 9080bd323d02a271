"""Sending, editing, deleting, reacting: what writes to a room's history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub.domain import messages
from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.documents import message_document
from hubbub.domain.house import House, no_room
from hubbub.domain.moderation.slowmode import SlowMode
from hubbub.domain.permissions import Action
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.filters.base import Draft, Reviewer, Room, Sender
from hubbub.history.base import MEMBER_ROLES, Change, Edit, Insert, Written

__all__ = ["Posting"]


class Posting:
    """The events `message:*` and `typing`. `reviewer` has the filters, None if there are none."""

    def __init__(self, house: House, reviewer: Reviewer | None = None) -> None:
        self._house = house
        self._slow_mode = SlowMode(house)
        self._reviewer = reviewer

    async def send(self, client: Client, request: dict[str, Any], *, admitted: Callable[[], None]) -> dict[str, Any]:
        """`message:send`. A key that this user has used in this room returns the first message, before any refusal but
        one: what the token does not reach is not there for its bearer, whatever they have said there.

        `admitted` is called when the message has its place in the writer's queue. Whatever is awaited before that, the
        filters first of all, holds up what this connection sends next, and nobody else.
        """
        room = self._house.rooms.known(request["room"]) or await self._house.find(request["room"])
        turn = None
        try:
            self._house.require(client, room, Action.SEND)
            body = request["body"]
            self._check_body(body)
            reply_to = request.get("reply_to")
            if reply_to is not None:
                await self._check_reply(room, reply_to)
            if self._reviewer is not None:
                body = await self._review(self._reviewer, client, room, body, reply_to=reply_to)
                self._house.require(client, room, Action.SEND)  # Filters may take a while.
            mentions = await self._mentions(room, body) if "@" in body else ()
            if room.record.slow_mode_s:
                turn = await self._slow_mode.take(client, room)
            insert = Insert(
                messages.draft(
                    uid=room.uid,
                    person=client.user.person,
                    key=request["key"],
                    body=body,
                    reply_to=reply_to,
                    mentions=mentions,
                    now=self._house.clock(),
                )
            )
        except HubbubError:
            if not client.identity.covers(room.id):
                raise
            first = await self._house.history.message_by_key(room.uid, client.user.person.id, request["key"])
            if first is None:
                raise
            return {"message": message_document(room.id, first), "duplicate": True}
        try:
            future = self._house.writer.submit(insert)
            admitted()
            written = await future
        except HubbubError as error:
            if turn is not None:
                turn.give_back()
            raise self._explain(room, error) from None
        if written.duplicate and turn is not None:
            turn.give_back()
        document = written.shown or message_document(room.id, written.message)
        return {"message": document, "duplicate": written.duplicate}

    async def edit(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`message:edit`."""
        room = await self._house.enter(client, request["room"], Action.EDIT)
        body = request["body"]
        self._check_body(body)
        if self._reviewer is not None:
            body = await self._review(self._reviewer, client, room, body, edits=request["id"])
            self._house.require(client, room, Action.EDIT)
        edit = messages.editing(
            author=client.user.person.id,
            body=body,
            mentions=await self._mentions(room, body),
            expected_rev=request.get("rev"),
            now=self._house.clock(),
        )
        return await self._change(room, request["id"], edit)

    async def delete(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`message:delete`: one's own, or anybody's for those who moderate."""
        room = await self._house.find(request["room"])
        own = self._house.refusal(client, room, Action.DELETE_OWN)
        others = self._house.refusal(client, room, Action.DELETE_ANY)
        if own is not None and others is not None:
            self._house.require(client, room, Action.DELETE_OWN)
        edit = messages.deleting(user=client.user.person.id, own=own, others=others)
        return await self._change(room, request["id"], edit)

    async def react(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`message:react`."""
        room = await self._house.enter(client, request["room"], Action.REACT)
        edit = messages.reacting(
            user=client.user.person.id, emoji=request["emoji"], on=request["on"], limits=self._house.limits
        )
        return await self._change(room, request["id"], edit)

    async def typing(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`typing`: to the room's subscribers, apart from this connection, unless one is invisible. Nothing is kept."""
        room = await self._house.enter(client, request["room"], Action.TYPING)
        user = client.user.person.id
        if not self._house.presence.is_hidden(user):
            document = {"room": room.id, "user": user, "on": request["on"]}
            self._house.whispers.say(room.uid, "typing", user, document, skip=client.outlet)
        return {}

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _check_reply(self, room: ActiveRoom, reply_to: str) -> None:
        seq = messages.parse_message_id(room.uid, reply_to)
        if seq is None or await self._house.history.message(room.uid, seq) is None:
            raise HubbubError("not_found", "There is no such message to reply to.")

    def _check_body(self, body: str) -> None:
        most = self._house.limits.body
        if len(body) > most:
            raise HubbubError(
                "too_large",
                f"A body has at most {most} characters.",
                fields={"body": [f"Longer than {most} characters."]},
            )

    async def _mentions(self, room: ActiveRoom, body: str) -> tuple[str, ...]:
        candidates = messages.mention_candidates(body, most=self._house.limits.mentions)
        if not candidates:
            return ()
        options = {option for group in candidates for option in group}
        online = {
            option
            for option in options
            if (user := self._house.roster.user(option)) is not None
            and (standing := user.standings.get(room.uid)) is not None
            and standing.role in MEMBER_ROLES
        }
        if len(online) < len(options):
            online |= await self._house.history.member_ids(room.uid, sorted(options - online))
        return messages.mentioned(candidates, online)

    async def _change(self, room: ActiveRoom, message_id: str, edit: Edit) -> dict[str, Any]:
        seq = messages.parse_message_id(room.uid, message_id)
        if seq is None:
            raise HubbubError("not_found", "There is no such message.")
        try:
            written: Written = await self._house.writer.submit(Change(room.uid, seq, edit))
        except HubbubError as error:
            raise self._explain(room, error) from None
        return {"message": message_document(room.id, written.message)}

    def _explain(self, room: ActiveRoom, error: HubbubError) -> HubbubError:
        """A write that found no room means that the room was deleted while it was on its way."""
        return no_room() if error.code == "not_found" and self._house.rooms.by_uid(room.uid) is None else error

    async def _review(
        self,
        reviewer: Reviewer,
        client: Client,
        room: ActiveRoom,
        body: str,
        *,
        reply_to: str | None = None,
        edits: str | None = None,
    ) -> str:
        """The body as the filters leave it, or the refusal."""
        person = client.user.person
        standing = client.user.standings.get(room.uid)
        role = standing.role if standing is not None else None
        draft = Draft(
            Room(room.id, room.record.kind, room.record.title),
            Sender(person.id, person.name, person.guest, client.identity.roles, role),
            body,
            reply_to,
            edits,
        )
        reviewed = await reviewer.review(draft)
        if reviewed is not body:
            self._check_body(reviewed)
        return reviewed
