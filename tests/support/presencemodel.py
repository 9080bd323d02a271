"""Presence by its rules and nothing else: every question is answered by looking at all that ever mattered."""

from __future__ import annotations

from dataclasses import dataclass, field

from hubbub.cluster.base import Status
from hubbub.domain.presence.holdings import GRACE_MS

__all__ = ["Model", "ModelConnection"]


@dataclass(eq=False)
class ModelConnection:
    user: str
    device: str
    rooms: set[str] = field(default_factory=set)


@dataclass
class _Mark:
    """A grace: of a room, or with `room=None` of a user on a device."""

    user: str
    room: str | None
    until: int
    status: Status = "online"


class Model:
    """`last_seen` has everybody who went, `hidden` since when somebody is invisible."""

    def __init__(self) -> None:
        self.now = 0
        self.open: list[ModelConnection] = []
        self.marks: list[_Mark] = []
        self.statuses: dict[str, Status] = {}
        self.ended: dict[str, int] = {}
        self.hidden: dict[str, int] = {}
        self.last_seen: dict[str, int] = {}

    # -- what happens ------------------------------------------------------------------------------------------------

    def connect(self, user: str, device: str) -> ModelConnection:
        connection = ModelConnection(user, device)
        self.open.append(connection)
        self._observe(user)
        return connection

    def end(self, connection: ModelConnection, *, clean: bool) -> None:
        user = connection.user
        self.open.remove(connection)
        self.ended[user] = self.now
        last_of_device = not any(each.device == connection.device for each in self.open)
        if clean:
            live = any(each.user == user for each in self.open)
            ended = connection.rooms if live else None
            self.marks = [
                mark
                for mark in self.marks
                if mark.user != user
                or (ended is not None and (mark.room not in ended or self._holds(user, str(mark.room))))
            ]
        else:
            until = self.now + GRACE_MS
            self.marks += [_Mark(user, room, until) for room in connection.rooms]
            if last_of_device:
                self.marks.append(_Mark(user, None, until, self.statuses.get(connection.device, "online")))
        if last_of_device:
            self.statuses.pop(connection.device, None)
        self._observe(user)

    def set(self, connection: ModelConnection, status: Status) -> None:
        self.statuses[connection.device] = status
        self._observe(connection.user)

    def leave(self, user: str, room: str) -> None:
        for each in self.open:
            if each.user == user:
                each.rooms.discard(room)
        self.marks = [mark for mark in self.marks if (mark.user, mark.room) != (user, room)]

    def lapse(self, connection: ModelConnection, room: str) -> None:
        if room in connection.rooms:
            connection.rooms.remove(room)
            self.marks.append(_Mark(connection.user, room, self.now + GRACE_MS))

    def forward(self, ms: int) -> None:
        end = self.now + ms
        for until in sorted({mark.until for mark in self.marks if mark.until <= end}):
            self.now = until
            users = {mark.user for mark in self.marks if mark.until <= until}
            self.marks = [mark for mark in self.marks if mark.until > until]
            for user in users:
                self._observe(user)
        self.now = end

    # -- what holds --------------------------------------------------------------------------------------------------

    def is_here(self, user: str) -> bool:
        return any(each.user == user for each in self.open) or any(
            mark.user == user and mark.room is None for mark in self.marks
        )

    def status(self, user: str) -> Status | None:
        if not self.is_here(user):
            return None
        live = [self.statuses.get(each.device, "online") for each in self.open if each.user == user]
        broken = [mark.status for mark in self.marks if mark.user == user and mark.room is None]
        for status in ("invisible", "busy"):
            if status in live + broken:
                return "invisible" if status == "invisible" else "busy"
        return "online" if "online" in (live or broken) else "away"

    def room(self, room: str, *, admin: bool) -> dict[str, Status]:
        users = {each.user for each in self.open if room in each.rooms}
        users |= {mark.user for mark in self.marks if mark.room == room}
        found = {user: status for user in users if (status := self.status(user)) is not None}
        return {user: status for user, status in found.items() if admin or status != "invisible"}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _holds(self, user: str, room: str) -> bool:
        return any(each.user == user and room in each.rooms for each in self.open)

    def _observe(self, user: str) -> None:
        status = self.status(user)
        if status is None:
            self.last_seen[user] = self.hidden.pop(user, self.ended.get(user, 0))
        elif status == "invisible":
            self.hidden.setdefault(user, self.now)
        else:
            self.hidden.pop(user, None)
