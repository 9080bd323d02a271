"""`hubbub audit`: who did what to whom, when and why."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubbub.cli.failures import fail, told_failures, warn
from hubbub.cli.flags import config_flag, setting_flags
from hubbub.cli.token import parse_duration
from hubbub.errors import HubbubError, StoreError
from hubbub.settings import load
from hubbub.transfer.audit import audit_entries

__all__ = ["audit", "parse_since"]

NEWEST: Final = 50

_STYLES: Final = {"ok": "green", "unknown": "yellow"}


def parse_since(text: str, *, now_s: float) -> int:
    """From when on, in milliseconds since the Unix epoch: a time ago such as `90s`, `1h` or `30d`, or a date, with or
    without a time of day; UTC unless it says otherwise. Raises `ValueError`.
    """
    try:
        return round((now_s - parse_duration(text)) * 1000)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return round((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise ValueError("Give a time ago such as 1h or 30d, or a date such as 2026-01-31.") from None


@click.command()
@click.option("--since", metavar="TIME", help="From when on: 1h or 30d ago, or a date; then all of them are shown.")
@click.option(
    "--limit", type=click.IntRange(min=0), metavar="N", help=f"How many at most, 0 for all.  [default: {NEWEST}]"
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON Lines.")
@config_flag
@setting_flags(("store",))
def audit(since: str | None, limit: int | None, as_json: bool, config: Path | None, store: str | None) -> None:
    """Show what administrators and moderators did, newest first.

    The service may run meanwhile. An outcome is ok, the code of an error, or unknown: the service ended before it knew.
    Times are in UTC; in JSON in milliseconds since the Unix epoch.
    """
    with told_failures():
        source = load(os.environ, config=config, overrides={"store": store}).store
        from_ms = 0 if since is None else _since(since)
        most = limit if limit is not None else NEWEST if since is None else 0
        try:
            entries, more = asyncio.run(_read(source, from_ms, most))
        except HubbubError as error:
            raise StoreError(error.message) from error
    if as_json:
        for entry in entries:
            click.echo(json.dumps(entry, ensure_ascii=False, separators=(",", ":")))
    elif entries:
        Console(highlight=False).print(_table(entries))
    else:
        click.echo("Nothing is recorded.")
    if more:
        warn(f"These are the newest {most}; --limit 0 shows all.")


def _since(text: str) -> int:
    try:
        return parse_since(text, now_s=time.time())
    except ValueError as error:
        fail(f"--since {text} is not a time. {error}", status=2)


async def _read(store: str, from_ms: int, most: int) -> tuple[list[dict[str, Any]], bool]:
    """The entries from then on, at most so many (0: all), and whether there are more."""
    found: list[dict[str, Any]] = []
    async with aclosing(audit_entries(store)) as entries:
        async for entry in entries:
            if entry.at < from_ms:
                break
            if most and len(found) == most:
                return found, True
            found.append(asdict(entry))
    return found, False


def _table(entries: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("when", "who", "did", "to", "why", "outcome"):
        table.add_column(name, overflow="fold", no_wrap=name == "when")
    for entry in entries:
        moment = datetime.fromtimestamp(entry["at"] / 1000, UTC)
        target = " ".join(f"{name}:{value}" for name, value in entry["target"].items())
        table.add_row(
            f"{moment:%Y-%m-%d %H:%M:%S}",
            *(_shown(text) for text in (entry["actor"], entry["action"], target, entry["reason"])),
            Text(entry["outcome"], style=_STYLES.get(entry["outcome"], "red")),
        )
    return table


def _shown(text: str) -> Text:
    """Nothing that somebody wrote moves a terminal's cursor, or looks like markup."""
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))
