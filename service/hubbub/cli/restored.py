"""`hubbub restored`: say that the store was put back from a copy."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from hubbub.cli.failures import told_failures
from hubbub.cli.flags import config_flag, setting_flags
from hubbub.settings import load
from hubbub.transfer.restored import say_restored

__all__ = ["restored"]


@click.command()
@config_flag
@setting_flags(("store",))
def restored(config: Path | None, store: str | None) -> None:
    """Say that the store was put back from a copy: clients forget what they had of it.

    To be run while no service runs on the store. A copy that was put in the place of an SQLite file is found out
    without it; a file that was written over, a snapshot of a disk and a database in MongoDB are not.
    """
    with told_failures():
        target = load(os.environ, config=config, overrides={"store": store}).store
        incarnation = asyncio.run(say_restored(target))
    click.echo(f"The store is incarnation {incarnation} now: clients that come back fetch anew what they had of it.")
