"""Whether a target has what a source had, told room by room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hubbub.history.archive import Archive
from hubbub.transfer.pieces import MessagesPiece, PeoplePiece, walk
from hubbub.transfer.progress import Progress
from hubbub.transfer.tally import RoomSum, Tally

__all__ = ["Verdict", "has_moved_on", "rooms_beside", "verify"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rooms` are those that differ: what the source had, and what the target has, None if it has no such room."""

    rooms: list[tuple[RoomSum, RoomSum | None]]
    people_differ: bool

    @property
    def is_same(self) -> bool:
        return not self.rooms and not self.people_differ


async def verify(target: Archive, *, rooms: Mapping[str, RoomSum], people: Tally, progress: Progress) -> Verdict:
    """Read the target, as far as it is about these rooms and people, and compare counts and checksums."""
    found = Tally()
    async for piece in walk(target, only=rooms.keys()):
        match piece:
            case PeoplePiece(people=known):
                piece = PeoplePiece([each for each in known if people.has_person(each[0].id)])
            case MessagesPiece(messages=messages):
                progress.advance(len(messages))
        found.add(piece)
    differing = [(room, found.rooms.get(uid)) for uid, room in rooms.items() if found.rooms.get(uid) != room]
    return Verdict(differing, people_differ=found.people_sha256 != people.people_sha256)


async def has_moved_on(source: Archive, before: Tally) -> bool:
    """Whether anything in the source is not as it was when it was read. The source has to be opened anew for this."""
    now = Tally()
    async for piece in walk(source, messages=False):
        now.add(piece)
    return now.state_sha256 != before.state_sha256


async def rooms_beside(target: Archive, rooms: Mapping[str, RoomSum]) -> list[str]:
    """The uids of rooms that the target has and the source does not."""
    beside: list[str] = []
    after = ""
    while uids := await target.uids(after=after):
        beside += [uid for uid in uids if uid not in rooms]
        after = uids[-1]
    return beside
