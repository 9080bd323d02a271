"""Reading an export. Whatever is wrong with it is told with the number of the line.

Every line is held against its schema, keys have to ascend, revisions have to be whole, and what was counted and summed
has to be what the file says of itself. So a file that was cut off or damaged is found out, wherever that happened.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, BinaryIO, Final, NoReturn

import orjson
from marshmallow import ValidationError

from hubbub.errors import HubbubError
from hubbub.fields import quick_loader
from hubbub.history.archive import PAGE_BYTES, PAGE_ROWS, ArchivedMessage, ArchivedRoom, KnownPerson
from hubbub.history.base import Standing
from hubbub.transfer.lines import message_from_line, person_from_line, room_from_line, standing_from_line
from hubbub.transfer.pieces import Claims, MessagesPiece, PeoplePiece, Piece, RoomBegins, RoomEnds, StandingsPiece
from hubbub.transfer.schemas import SCHEMAS
from hubbub.transfer.tally import RoomSum, Tally, Totals

__all__ = ["Reader"]

LINE_MOST: Final = 64 * 2**20
"""No message is as long as this; a file without line ends must not fill the memory."""

_quick: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any] | None]]] = {
    name: quick_loader(schema) for name, schema in SCHEMAS.items()
}


class Reader:
    """Reads one export from a stream of bytes that are not compressed any more.

    `header` is there at once, `tally` grows while the pieces are taken. Everything raises `HubbubError`: `bad_request`
    for a file that is not right, `unavailable` for one that cannot be read.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._line = 0
        self.tally = Tally()
        self.header = self._read_header()

    def pieces(self) -> Iterator[Piece]:
        """All of it, up to the line that ends it and the end of the file behind that."""
        kind, line = yield from self._people()
        uid = ""
        while kind == "room":
            room = room_from_line(line)
            if room.room.uid <= uid:
                self._refuse("the rooms are not in the order of their uids")
            uid = room.room.uid
            yield from _Room(self, room).pieces()
            kind, line = self.next()
        if kind != "end":
            self._refuse(f"a line of type {kind} has no place here")
        self._check_end(line)

    # -- lines -------------------------------------------------------------------------------------------------------

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next line's type, and its other fields."""
        document = self._read()
        kind = document.pop("type", None)
        if kind == "header" or not isinstance(kind, str) or kind not in SCHEMAS:
            self._refuse("it has no type that is known here")
        return kind, self._load(kind, document)

    def _read_header(self) -> Mapping[str, Any]:
        document = self._read(is_first=True)
        if document.get("hubbub") != "export":
            self._refuse("this is not an export of Hubbub")
        return self._load("header", document)

    def _read(self, *, is_first: bool = False) -> dict[str, Any]:
        raw = self._read_raw()
        self._line += 1
        if not raw.endswith(b"\n"):
            if len(raw) > LINE_MOST:
                self._refuse(f"it is longer than {LINE_MOST} bytes")
            self._line -= not raw
            raise HubbubError("bad_request", f"The export is cut off: it ends after line {self._line} without an end.")
        try:
            document = orjson.loads(raw)
        except orjson.JSONDecodeError:
            self._refuse("this is not an export of Hubbub" if is_first else "it is not JSON")
        if not isinstance(document, dict):
            self._refuse("it is no JSON object")
        return document

    def _read_raw(self) -> bytes:
        try:
            return self._stream.readline(LINE_MOST + 1)
        except EOFError:
            raise HubbubError(
                "bad_request", f"The export is cut off: its compressed data ends behind line {self._line}."
            ) from None
        except zlib.error:
            self._line += 1
            self._refuse("its compressed data is damaged")
        except OSError as error:
            if error.errno is None:  # What the module `gzip` raises for a checksum that is wrong, or for no header.
                self._line += 1
                self._refuse("its compressed data is damaged")
            raise HubbubError("unavailable", f"The export cannot be read: {error.strerror}.") from error

    def _load(self, kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
        loaded = _quick[kind](document)
        if loaded is not None:
            return loaded
        try:
            SCHEMAS[kind].load(document)
        except ValidationError as error:
            faults: dict[str, list[str]] = error.normalized_messages()  # type: ignore[no-untyped-call]
            told = ", ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in sorted(faults.items()))
            self._refuse(told.removesuffix("."), fields=faults)
        raise AssertionError(f"The quick way refused what the schema {kind} allows.")

    def check(self, work: Callable[[], None]) -> None:
        """Do this, and say at which line it failed."""
        try:
            work()
        except HubbubError as error:
            self._refuse(error.message[:1].lower() + error.message[1:].removesuffix("."))

    def refuse(self, what: str) -> NoReturn:
        self._refuse(what)

    def _refuse(self, what: str, *, fields: Mapping[str, list[str]] | None = None) -> NoReturn:
        raise HubbubError("bad_request", f"Line {self._line} of the export: {what}.", fields=fields)

    # -- parts -------------------------------------------------------------------------------------------------------

    def give(self, piece: Piece) -> Piece:
        """Count a piece on its way out."""
        self.tally.add(piece)
        return piece

    def _people(self) -> Generator[Piece, None, tuple[str, dict[str, Any]]]:
        """All people; returns the line behind them."""
        people: list[KnownPerson] = []
        last = ""
        while (found := self.next())[0] == "person":
            known = person_from_line(found[1])
            if known[0].id <= last:
                self._refuse("the people are not in the order of their ids")
            last = known[0].id
            people.append(known)
            if len(people) == PAGE_ROWS:
                yield self.give(PeoplePiece(people))
                people = []
        if people:
            yield self.give(PeoplePiece(people))
        return found

    def _check_end(self, line: Mapping[str, Any]) -> None:
        if Totals(**line) != self.tally.totals():
            self._refuse("the counts or the checksum are not those of the lines before")
        if self._read_raw():
            self._line += 1
            self._refuse("nothing may follow the end")


class _Room:
    """The lines of one room, up to the one that ends it."""

    def __init__(self, reader: Reader, room: ArchivedRoom) -> None:
        self._reader = reader
        self._room = room
        self._uid = room.room.uid
        self._claims = Claims(room.room.head)
        self._user = ""
        self._seq = 0

    def pieces(self) -> Iterator[Piece]:
        reader = self._reader
        yield reader.give(RoomBegins(self._room))
        standings: list[Standing] = []
        kind, line = reader.next()
        while kind == "standing":
            standings.append(self._standing(line))
            if len(standings) == PAGE_ROWS:
                yield reader.give(StandingsPiece(self._uid, standings))
                standings = []
            kind, line = reader.next()
        if standings:
            yield reader.give(StandingsPiece(self._uid, standings))
        messages: list[ArchivedMessage] = []
        weight = 0
        while kind == "message":
            messages.append(self._message(line))
            weight += len(line["body"]) + sum(len(users) for _, users in line["reactions"]) * 16
            if len(messages) == PAGE_ROWS or weight > PAGE_BYTES:
                yield reader.give(MessagesPiece(self._uid, messages))
                messages, weight = [], 0
            kind, line = reader.next()
        if messages:
            yield reader.give(MessagesPiece(self._uid, messages))
        if kind != "room_end":
            reader.refuse(f"a line of type {kind} has no place here")
        yield self._end(line)

    def _standing(self, line: Mapping[str, Any]) -> Standing:
        standing = standing_from_line(line)
        self._check_room(line)
        if standing.user <= self._user:
            self._reader.refuse("the standings are not in the order of their users")
        self._user = standing.user
        return standing

    def _message(self, line: Mapping[str, Any]) -> ArchivedMessage:
        message, revs = archived = message_from_line(line)
        self._check_room(line)
        if message.seq <= self._seq:
            self._reader.refuse("the messages are not in the order of their seq")
        if revs[0] != message.seq:
            self._reader.refuse("the first of the revisions is not the seq")
        self._seq = message.seq
        self._reader.check(lambda: self._claims.add(revs))
        return archived

    def _check_room(self, line: Mapping[str, Any]) -> None:
        if line["room"] != self._uid:
            self._reader.refuse(f"it is of another room than {self._uid}")

    def _end(self, line: Mapping[str, Any]) -> Piece:
        self._check_room(line)
        self._reader.check(self._claims.check)
        piece = self._reader.give(RoomEnds(self._room))
        said = RoomSum(self._uid, self._room.room.id, line["standings"], line["messages"], line["sha256"])
        if self._reader.tally.rooms[self._uid] != said:
            self._reader.refuse("the counts or the checksum of the room are not those of the lines before")
        return piece
