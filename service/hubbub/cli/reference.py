"""Writes reference pages from what they are about: `python -m hubbub.cli.reference settings` (or `cli`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Final

import click

from hubbub.cli.root import main
from hubbub.settings import Choice, Declaration, Settings, Switch, declaration_of

__all__ = ["PAGES", "cli_page", "settings_page"]

_SETTINGS_HEAD: Final = """# Settings

<!-- Made from the declarations of the settings by `make docs`. -->

A setting comes from the environment (`HUBBUB_PORT=9000`), from a TOML file (`port = 9000`, given by `--config FILE`)
or from a flag (`--port 9000`); where several give it, the later in this order wins. Secrets have no flags, because a
command line can be read by every user of the machine. A name that is not listed here is an error, and so is an empty
value. `hubbub serve --check` prints what is in effect.

At most one of `HUBBUB_JWT_SECRET`, `HUBBUB_JWT_PUBLIC_KEY` and `HUBBUB_JWKS_URL` may be set. While none is, Hubbub
signs tokens itself, with a secret that it makes once and keeps beside the database.
"""

_CLI_HEAD: Final = """# The command line

<!-- Made from the commands themselves by `make docs`. -->

Exit status 0: done. 1: the machine is not ready for what was asked (the port is taken, the store cannot be opened), or
what was moved is not the same at the end. 2: the settings or arguments are wrong; standard error has a sentence for
each mistake. 130: interrupted by Ctrl-C; a transfer says what stands. `hubbub serve` takes Ctrl-C as its order to stop,
and ends with 0.

An address of a store that names neither a file nor a server, or no possible database, is a mistake of status 2. What
else is wrong with it (a port, an option, a name that nobody knows, a password) shows when the store is opened, and has
status 1.
"""


def settings_page() -> str:
    """`docs/reference/settings.md`."""
    sections = (_section(field.name, declaration_of(field.metadata)) for field in fields(Settings))
    return "\n".join((_SETTINGS_HEAD, *sections))


def _section(name: str, declared: Declaration) -> str:
    lines = [f"## HUBBUB_{name.upper()}", "", declared.what, "", f"- Default: {_default(declared)}"]
    kind = _kind(declared)
    lines += [f"- Values: {kind}"] if kind else []
    lines += [f"- {declared.zero}"] if declared.zero else []
    lines += ["- Secret: it is masked wherever settings are shown, and has no flag."] if declared.secret else []
    return "\n".join((*lines, f"- Why: {declared.why}", ""))


def _default(declared: Declaration) -> str:
    if declared.shown_default is not None:
        return declared.shown_default
    value = declared.default
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "`on`" if value else "`off`"
    number = f"{value:.10g}" if isinstance(value, float) else str(value)
    return f"`{number}`" + (f" {declared.unit}" if declared.unit else "")


def _kind(declared: Declaration) -> str:
    field = declared.field
    if isinstance(field, Switch):
        return "`on`, `off`"
    if isinstance(field, Choice):
        return ", ".join(f"`{choice}`" for choice in field.choices)
    low, high = getattr(field, "low", None), getattr(field, "high", None)
    return "" if low is None else f"{low} to {high}"


def cli_page() -> str:
    """`docs/reference/cli.md`."""
    with click.Context(main, info_name="hubbub") as root:
        commands = ((name, main.commands[name]) for name in main.list_commands(root))
        return "\n".join(
            (_CLI_HEAD, _command("hubbub", main), *(_command(f"hubbub {name}", one) for name, one in commands))
        )


def _command(called: str, command: click.Command) -> str:
    # As from a shell: a command keeps the first option for help that it makes, whoever asked.
    with click.Context(command, info_name=called, help_option_names=["-h", "--help"]) as context:
        rows = list(_options(command, context))
    return "\n".join((f"## {called}", "", _paragraphs(command.help or ""), "", *rows, ""))


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from ("| option | meaning |", "| --- | --- |")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:  # What an argument means is in the text.
            option, meaning = (text.replace("|", "\\|") for text in record)
            yield f"| `{option}` | {meaning} |"


PAGES: Final[Mapping[str, Callable[[], str]]] = {"settings": settings_page, "cli": cli_page}


@click.command()
@click.argument("page", type=click.Choice(sorted(PAGES)))
def _write(page: str) -> None:
    click.echo(PAGES[page](), nl=False)


if __name__ == "__main__":
    _write()
