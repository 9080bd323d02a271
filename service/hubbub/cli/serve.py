"""`hubbub serve`: run the service, or with `--check` say what it would run with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from hubbub.cli.failures import told_failures, warn
from hubbub.cli.flags import config_flag, setting_flags
from hubbub.filters.loading import load_filters, open_rules
from hubbub.settings import Settings, algorithm_of, load, read_pem

__all__ = ["serve"]


@click.command()
@config_flag
@click.option("--check", is_flag=True, help="Print the effective settings, secrets masked, load the filters, and exit.")
@setting_flags()
def serve(config: Path | None, check: bool, **flags: object) -> None:
    """Run the service until it is told to stop (SIGTERM, or Ctrl-C).

    Settings come from HUBBUB_* in the environment, from the file, and from flags; later ones win.
    """
    with told_failures():
        settings = load(os.environ, config=config, overrides=flags)
    warn(*settings.warnings())
    if check:
        for line in _lines(settings):
            click.echo(line)
        with told_failures():
            load_filters(settings.filters)
            open_rules(settings.filter_rules)
        return
    with told_failures(settings):
        # Imported here, so that mistakes in the settings are told before the whole service is loaded.
        from hubbub.process import run

        run(settings)


def _lines(settings: Settings) -> Iterator[str]:
    shown = settings.masked()
    width = max(map(len, shown))
    for name, value in shown.items():
        yield f"HUBBUB_{name.upper():<{width}}  {_text(name, value, settings=settings)}".rstrip()


def _text(name: str, value: object, *, settings: Settings) -> str:
    """A value on one line, and as it could be given again, but for keys and for what `auto` comes to."""
    if name == "jwt_public_key" and settings.jwt_public_key is not None:
        return f"(a key for {algorithm_of(read_pem(settings.jwt_public_key))})"
    if name == "guests" and value == "auto":
        return f"auto ({'on' if settings.guests_on else 'off'})"
    if value is None or value == ():
        return "(none)"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
