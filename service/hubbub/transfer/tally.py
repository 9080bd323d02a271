"""Counts and checksums of a history on its way, room by room and in total.

Two histories with the same total are the same: it is SHA-256 over the checksum of the people and those of the rooms in
the order of their uids, each in hexadecimal digits and with a line end.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass

from hubbub.transfer.lines import message_line, person_line, room_line, standing_line
from hubbub.transfer.pieces import MessagesPiece, PeoplePiece, Piece, RoomBegins, RoomEnds, StandingsPiece

__all__ = ["RoomSum", "Tally", "Totals"]


@dataclass(frozen=True, slots=True)
class RoomSum:
    """What there is of one room."""

    uid: str
    id: str
    standings: int
    messages: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Totals:
    rooms: int
    people: int
    standings: int
    messages: int
    sha256: str


class Tally:
    """Takes pieces in their order, and knows their lines."""

    def __init__(self) -> None:
        self.rooms: dict[str, RoomSum] = {}
        self.messages = 0
        self._people = 0
        self._people_sum = hashlib.sha256()
        self._room_sum = hashlib.sha256()
        self._state_sum = hashlib.sha256()
        self._room_standings = 0
        self._room_messages = 0
        self._people_named = array("Q")
        self._is_sorted = True

    def add(self, piece: Piece) -> bytes:
        """The lines of the piece."""
        match piece:
            case MessagesPiece(messages=messages):
                lines = b"".join([message_line(archived) for archived in messages])
                self._room_messages += len(messages)
                self.messages += len(messages)
                self._room_sum.update(lines)
                return lines
            case PeoplePiece(people=people):
                lines = b"".join([person_line(known) for known in people])
                self._people += len(people)
                self._people_named.extend([_short(person.id) for person, _ in people])
                self._is_sorted = False
                self._people_sum.update(lines)
            case RoomBegins(room=begun):
                lines = room_line(begun)
                self._room_sum = hashlib.sha256(lines)
                self._room_standings = self._room_messages = 0
            case StandingsPiece(uid=uid, standings=standings):
                lines = b"".join([standing_line(uid, standing) for standing in standings])
                self._room_standings += len(standings)
                self._room_sum.update(lines)
            case RoomEnds(room=ended):
                lines = b""
                room = ended.room
                self.rooms[room.uid] = RoomSum(
                    room.uid, room.id, self._room_standings, self._room_messages, self._room_sum.hexdigest()
                )
        self._state_sum.update(lines)
        return lines

    def totals(self) -> Totals:
        total = hashlib.sha256(f"{self.people_sha256}\n".encode())
        for room in self.rooms.values():
            total.update(f"{room.sha256}\n".encode())
        rooms = self.rooms.values()
        return Totals(
            len(rooms),
            self._people,
            sum(room.standings for room in rooms),
            sum(room.messages for room in rooms),
            total.hexdigest(),
        )

    @property
    def people_sha256(self) -> str:
        return self._people_sum.hexdigest()

    @property
    def state_sha256(self) -> str:
        """Of all lines but the messages'. It tells whether anything has changed: a message that changes claims a
        revision, and the head is in its room's line.
        """
        return self._state_sum.hexdigest()

    def has_person(self, id: str) -> bool:
        """Whether this person was counted. What is remembered of each is eight bytes made of the id."""
        if not self._is_sorted:
            self._people_named = array("Q", sorted(self._people_named))
            self._is_sorted = True
        number = _short(id)
        at = bisect_left(self._people_named, number)
        return at < len(self._people_named) and self._people_named[at] == number


def _short(id: str) -> int:
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest())
