"""The three ways of a whole history: out to a file, in from a file, across to another store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hubbub.errors import HubbubError
from hubbub.history.archive import Archive
from hubbub.transfer.files import STANDARD, reading, writing
from hubbub.transfer.loader import Loader
from hubbub.transfer.pieces import MessagesPiece, Piece, walk
from hubbub.transfer.planner import Planner
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
    each room that could not be brought in, by uid. `beside` are rooms of the target that the source does not have: they
    are nobody's failure, since a target may have rooms of its own.
    """

    totals: Totals
    written: int
    verdict: Verdict
    refusals: dict[str, str]
    beside: list[str] = field(default_factory=list)
    moved_on: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the target has all that the source had, and has still."""
        return self.verdict.is_same and not self.moved_on


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
    once: of what is damaged there the rooms before the damage arrive, and no part of the one in which it is. With
    `update`, rooms that are there are brought to the file's state, which takes a file that can be read twice.
    """
    comes_once = path == STANDARD
    if comes_once and update:
        raise HubbubError("bad_request", "Standard input cannot be read twice, which bringing rooms up to date takes.")
    if not comes_once:
        await _read(path, progress, "checking")
    async with _opened(target, writable=True):
        planner = Planner(target)
        if update:
            await _read(path, progress, "comparing", planner.take)
        loader = Loader(target, behind=planner.behind)
        await _read(path, progress, "importing", loader.take)
        return await _outcome(target, loader, planner, progress)


async def copy_history(source: Archive, target: Archive, *, update: bool, delete: bool, progress: Progress) -> Outcome:
    """Fill a store from another one. With `update`, rooms that are there are brought to the source's state; with
    `delete`, rooms that the source does not have are deleted in the target.
    """
    async with _opened(target, writable=True):
        planner = Planner(target)
        async with _opened(source):
            count = (await source.size()).messages
            if update:
                progress.begin("comparing", count)
                async for piece in walk(source, people=False):
                    await planner.take(piece)
                    progress.advance(_count(piece))
            loader = Loader(target, behind=planner.behind)
            progress.begin("copying", count)
            async for piece in walk(source):
                await loader.take(piece)
                progress.advance(_count(piece))
        if delete:
            for uid in await rooms_beside(target, loader.tally.rooms):
                await target.delete(uid)
        outcome = await _outcome(target, loader, planner, progress)
        async with _opened(source):
            moved_on = await has_moved_on(source, loader.tally)
        return replace(outcome, moved_on=moved_on)


async def _outcome(target: Archive, loader: Loader, planner: Planner, progress: Progress) -> Outcome:
    progress.begin("verifying", loader.tally.messages)
    verdict = await verify(target, rooms=loader.tally.rooms, people=loader.people, progress=progress)
    beside = await rooms_beside(target, loader.tally.rooms)
    return Outcome(loader.tally.totals(), loader.written, verdict, planner.refusals | loader.refusals, beside)


async def _read(
    path: Path,
    progress: Progress,
    step: str,
    take: Callable[[Piece], Awaitable[None]] | None = None,
) -> None:
    """Read an export to its end. Raises what is wrong with it.

    It is read on a thread: a pipe may let wait, and the driver's own tasks have to run meanwhile.
    """
    with reading(path) as stream:
        reader = await asyncio.to_thread(Reader, stream)
        progress.begin(step, reader.header["messages"])
        pieces = reader.pieces()
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            if take is not None:
                await take(piece)
            progress.advance(_count(piece))


def _count(piece: Piece) -> int:
    return len(piece.messages) if isinstance(piece, MessagesPiece) else 0


@asynccontextmanager
async def _opened(archive: Archive, *, writable: bool = False) -> AsyncIterator[Archive]:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(archive.close)
        await archive.open(writable=writable)
        yield archive
