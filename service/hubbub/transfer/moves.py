"""The three ways of a whole history: out to a file, in from a file, across to another store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hubbub.history.archive import Archive
from hubbub.transfer.files import STANDARD, reading, writing
from hubbub.transfer.loader import Loader
from hubbub.transfer.pieces import Piece, walk
from hubbub.transfer.progress import Progress
from hubbub.transfer.reader import Reader
from hubbub.transfer.tally import Totals
from hubbub.transfer.verify import Verdict, has_moved_on, rooms_beside, verify
from hubbub.transfer.writer import write_export

__all__ = ["Outcome", "copy_history", "export_history", "import_history"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of filling a store.

    `totals` is of the source, `written` how many messages were not in the target before. `refusals` has a sentence for
    each room that could not be brought in, by uid. `beside` are rooms of the target that the source does not have.
    """

    totals: Totals
    written: int
    verdict: Verdict
    refusals: dict[str, str]
    moved_on: bool = False
    beside: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return self.verdict.is_same and not self.moved_on and not self.beside


async def export_history(source: Archive, path: Path, *, progress: Progress) -> Totals:
    """Write a store to a file, or to standard output for `-`."""
    async with _opened(source):
        size = await source.size()
        progress.begin("exporting", size.messages)
        with writing(path) as stream:
            return await write_export(
                walk(source), stream, size=size, at=time.time_ns() // 1_000_000, progress=progress
            )


async def import_history(path: Path, target: Archive, *, update: bool, progress: Progress) -> Outcome:
    """Fill a store from a file, or from standard input for `-`.

    A file is read to its end before anything is written, so that of a damaged one nothing arrives. Standard input comes
    once: of what is damaged there the rooms before the damage arrive, and no part of the one in which it is.
    """
    if path != STANDARD:
        with reading(path) as stream:
            await _check(stream, progress)
    async with _opened(target, writable=True):
        loader = Loader(target, update=update, progress=progress)
        with reading(path) as stream:
            reader = await asyncio.to_thread(Reader, stream)
            progress.begin("importing", reader.header["messages"])
            async for piece in _off_the_loop(reader.pieces()):
                await loader.take(piece)
        return Outcome(loader.tally.totals(), loader.written, await _verdict(target, loader, progress), loader.refusals)


async def copy_history(source: Archive, target: Archive, *, update: bool, delete: bool, progress: Progress) -> Outcome:
    """Fill a store from another one. With `delete`, rooms that the source does not have are deleted in the target."""
    async with _opened(target, writable=True):
        loader = Loader(target, update=update, progress=progress)
        async with _opened(source):
            progress.begin("copying", (await source.size()).messages)
            async for piece in walk(source):
                await loader.take(piece)
        beside = await rooms_beside(target, loader.tally.rooms)
        if delete:
            for uid in beside:
                await target.delete(uid)
            beside = []
        verdict = await _verdict(target, loader, progress)
        async with _opened(source):
            moved_on = await has_moved_on(source, loader.tally)
        return Outcome(loader.tally.totals(), loader.written, verdict, loader.refusals, moved_on, beside)


async def _verdict(target: Archive, loader: Loader, progress: Progress) -> Verdict:
    progress.begin("verifying", loader.tally.messages)
    return await verify(target, rooms=loader.tally.rooms, people=loader.people, progress=progress)


async def _check(stream: BinaryIO, progress: Progress) -> None:
    """Read an export to its end. Raises what is wrong with it."""
    reader = await asyncio.to_thread(Reader, stream)
    progress.begin("checking", reader.header["messages"])
    before = 0
    async for _ in _off_the_loop(reader.pieces()):
        progress.advance(reader.tally.messages - before)
        before = reader.tally.messages


async def _off_the_loop(pieces: Iterator[Piece]) -> AsyncIterator[Piece]:
    """The pieces of a file, read on a thread: a pipe may let wait, and the driver's own tasks have to run meanwhile."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


@asynccontextmanager
async def _opened(archive: Archive, *, writable: bool = False) -> AsyncIterator[Archive]:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(archive.close)
        await archive.open(writable=writable)
        yield archive
