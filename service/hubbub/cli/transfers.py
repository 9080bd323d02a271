"""`hubbub export`, `hubbub import` and `hubbub copy`: a whole history, to a file, from a file, to another store."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import click

from hubbub.cli.bars import Bars
from hubbub.cli.failures import INTERRUPTED, fail, told_failures, warn
from hubbub.cli.flags import config_flag, setting_flags
from hubbub.errors import HubbubError
from hubbub.settings import SettingsError, load
from hubbub.transfer.moves import Outcome, copy_history, export_history, import_history
from hubbub.transfer.stores import archive_of
from hubbub.transfer.tally import RoomSum, Totals

__all__ = ["copy", "export", "load_file"]

TOLD_MOST: Final = 20
"""How many rooms are named that differ; there may be as many as there are rooms."""

FILLING: Final = frozenset({"copying", "importing"})
"""The steps that write."""

_file_argument = click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), metavar="FILE"
)
_update_flag = click.option(
    "--update",
    is_flag=True,
    help="Bring rooms that the target has already to the source's state. Without it they are left as they are.",
)


@click.command()
@_file_argument
@config_flag
@setting_flags(("store",))
def export(file: Path, config: Path | None, store: str | None) -> None:
    """Write all rooms, standings, people and messages to FILE, as JSON Lines.

    FILE may be - for standard output; a name that ends in .gz means compressed. The service may run meanwhile. FILE
    appears when it is whole; an export that is interrupted begins anew.
    """
    with told_failures():
        source = load(os.environ, config=config, overrides={"store": store}).store
        bars, before = Bars(), _inode(file)
        try:
            with _told_transfer_failures(file), bars:
                totals = asyncio.run(export_history(archive_of(source), file, progress=bars))
        except KeyboardInterrupt:
            if _inode(file) != before:
                fail(f"Interrupted when {file} was written already. It is whole.", status=INTERRUPTED)
            left = "What went to standard output is no whole export" if str(file) == "-" else "No file was left of it"
            fail(f"Interrupted. {left}; the same command begins anew.", status=INTERRUPTED)
    rate = f"; {bars.per_s('exporting'):,.0f} messages/s" if totals.messages else ""
    click.echo(f"Exported: {_counted(totals)}{rate}.", err=str(file) == "-")


@click.command("import")
@_file_argument
@_update_flag
@config_flag
@setting_flags(("store",))
def load_file(file: Path, update: bool, config: Path | None, store: str | None) -> None:
    """Bring what an export holds into the store.

    No service may run on it. FILE is checked to its end before anything is written. It may be - for standard input,
    which can only be checked while it comes. An import that was interrupted is simply run again. At the end the store
    is read, and counts and checksums are compared: exit status 1 if they differ. Other rooms of the store are left as
    they are, and counted.
    """
    with told_failures():
        target = load(os.environ, config=config, overrides={"store": store}).store
        bars = Bars()
        try:
            with _told_transfer_failures(file), bars:
                outcome = asyncio.run(import_history(file, archive_of(target), update=update, progress=bars))
        except KeyboardInterrupt:
            _tell_interruption(bars)
    _tell("Imported", outcome, bars, step="importing")


@click.command()
@click.option(
    "--from",
    "source",
    metavar="STORE",
    help="The store to copy, as in HUBBUB_STORE; @PATH names a file that holds it. By default the configured store.",
)
@click.option("--to", "target", metavar="STORE", required=True, help="The store to fill, given in the same way.")
@_update_flag
@click.option("--delete", is_flag=True, help="Delete rooms from the target that the source does not have (any more).")
@config_flag
def copy(source: str | None, target: str, update: bool, delete: bool, config: Path | None) -> None:
    """Copy a whole history from one store to another.

    The source may be in use; then the copy says at the end that the source has moved on, and is to be repeated with
    --update once its service is stopped. No service may run on the target. A copy that was interrupted is simply run
    again. At the end the target is read, and counts and checksums are compared: exit status 1 if they differ, or if the
    source has moved on. Rooms that only the target has are counted; they are left as they are, and no failure.
    """
    with told_failures():
        origin = _store(source, "--from") if source else load(os.environ, config=config, overrides={}).store
        destination = _store(target, "--to")
        if origin == destination:
            fail("--from and --to are the same store.", status=2)
        bars = Bars()
        try:
            with _told_transfer_failures(), bars:
                ends = archive_of(origin), archive_of(destination)
                outcome = asyncio.run(copy_history(*ends, update=update, delete=delete, progress=bars))
        except KeyboardInterrupt:
            _tell_interruption(bars)
    if outcome.beside:
        warn("Rooms that the source does not have were left in the target. --delete takes them away.")
    _tell("Copied", outcome, bars, step="copying")


def _store(given: str, flag: str) -> str:
    """The address that was given. It is held against the rules of HUBBUB_STORE."""
    if given.startswith("@"):
        try:
            given = Path(given[1:]).expanduser().read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            fail(f"{flag} names a file that cannot be read ({getattr(error, 'strerror', 'not text')}).", status=2)
    try:
        return load({}, config=None, overrides={"store": given}).store
    except SettingsError as error:
        raise SettingsError(tuple(problem.replace("--store", flag) for problem in error.problems)) from None


@contextmanager
def _told_transfer_failures(file: Path | None = None) -> Iterator[None]:
    try:
        yield
    except HubbubError as error:
        sentences = [error.message]
        if error.kind.retryable:
            sentences.append("What was written so far stays; run the command again to go on.")
        fail(*sentences, status=1)
    except OSError as error:
        if error.errno is None or error.errno == errno.EPIPE or file is None:
            raise
        fail(f"{file}: {error.strerror}.", status=1)


def _inode(file: Path) -> int | None:
    """Tells a file from the one that had its name before. An export that is whole takes the name, and is another."""
    try:
        return file.stat().st_ino
    except OSError:
        return None


def _tell_interruption(bars: Bars) -> NoReturn:
    """Say what stands of a store that was being filled. Rooms are whole or out of sight, so either may stay."""
    if bars.step in FILLING:
        stands = "What was written so far stays; the same command goes on where it stopped."
    elif bars.step == "verifying":
        stands = "What can be written is written, but not compared yet; the same command compares it."
    else:
        stands = "No message was written yet; the same command begins anew."
    fail(f"Interrupted. {stands}", status=INTERRUPTED)


def _counted(totals: Totals) -> str:
    return (
        f"rooms {totals.rooms}, standings {totals.standings}, people {totals.people}, messages {totals.messages},"
        f" SHA-256 {totals.sha256}"
    )


def _tell(done: str, outcome: Outcome, bars: Bars, *, step: str) -> None:
    """Say in one line what came of it, and before that what is not as it should be. Exits with 1 if anything is not."""
    warn(*_complaints(outcome))
    # How fast messages are passed over that are there already says nothing about writing.
    all_written = 0 < outcome.written == outcome.totals.messages
    rate = f", {bars.per_s(step):,.0f}/s" if all_written else ""
    click.echo(f"{done}: {_counted(outcome.totals)}; {outcome.written} messages were written{rate}; {_found(outcome)}")
    if not outcome.is_complete:
        raise SystemExit(1)


def _found(outcome: Outcome) -> str:
    if not outcome.verdict.is_same:
        return "SOURCE AND TARGET DIFFER."
    if outcome.moved_on:
        return "verified, but the source HAS MOVED ON."
    if outcome.beside:
        others = "another room" if len(outcome.beside) == 1 else f"{len(outcome.beside)} other rooms"
        return f"verified, all of the source is in the target, which has {others}."
    return "verified, source and target are the same."


def _complaints(outcome: Outcome) -> Iterator[str]:
    yield from list(outcome.refusals.values())[:TOLD_MOST]
    differing = [(room, found) for room, found in outcome.verdict.rooms if room.uid not in outcome.refusals]
    for room, found in differing[:TOLD_MOST]:
        yield _difference(room, found)
    if len(differing) > TOLD_MOST:
        yield f"{len(differing) - TOLD_MOST} more rooms differ."
    if outcome.verdict.people_differ:
        yield "The people differ."
    if outcome.moved_on:
        yield "The source has moved on since it was read. Stop its service, and copy again with --update."


def _difference(room: RoomSum, found: RoomSum | None) -> str:
    if found is None:
        return f"The room {room.id} is not in the target."
    what = [
        f"{mine} {name} in the source and {theirs} in the target"
        for name, mine, theirs in (
            ("messages", room.messages, found.messages),
            ("standings", room.standings, found.standings),
        )
        if mine != theirs
    ]
    return (
        f"The room {room.id} differs ({', '.join(what) or 'as many of everything, with other contents'})."
        " It was in the target before; --update brings it to the source's state."
    )
