"""Writing an export."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import BinaryIO

from hubbub.history.archive import Size
from hubbub.transfer.lines import FORMAT, dump
from hubbub.transfer.pieces import MessagesPiece, Piece, RoomEnds
from hubbub.transfer.progress import Progress
from hubbub.transfer.tally import Tally, Totals
from hubbub.version import VERSION

__all__ = ["write_export"]


async def write_export(
    pieces: AsyncIterator[Piece], stream: BinaryIO, *, size: Size, at: int, progress: Progress
) -> Totals:
    """Write all lines. `size`, about, and the time `at` in milliseconds are for the header. Raises `OSError`."""
    tally = Tally()
    counts = {"rooms": size.rooms, "people": size.people, "messages": size.messages}
    stream.write(dump({"hubbub": "export", "format": FORMAT, "version": VERSION, "made_at": at, **counts}))
    async for piece in pieces:
        stream.write(tally.add(piece))
        match piece:
            case MessagesPiece(messages=messages):
                progress.advance(len(messages))
            case RoomEnds(room=archived):
                found = tally.rooms[archived.room.uid]
                stream.write(
                    dump(
                        {
                            "type": "room_end",
                            "room": found.uid,
                            "standings": found.standings,
                            "messages": found.messages,
                            "sha256": found.sha256,
                        }
                    )
                )
    totals = tally.totals()
    stream.write(dump({"type": "end", **dataclasses.asdict(totals)}))
    return totals
