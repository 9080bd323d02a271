"""The command `hubbub` and its list of subcommands."""

from __future__ import annotations

import click

from hubbub.cli.audit import audit
from hubbub.cli.nginxconf import nginx_conf
from hubbub.cli.restored import restored
from hubbub.cli.serve import serve
from hubbub.cli.token import token
from hubbub.cli.transfers import copy, export, load_file
from hubbub.version import VERSION

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="hubbub", message="%(prog)s %(version)s")
def main() -> None:
    """Self-hosted real-time chat over Socket.IO."""


main.add_command(serve)
main.add_command(token)
main.add_command(nginx_conf)
main.add_command(export)
main.add_command(load_file)
main.add_command(copy)
main.add_command(restored)
main.add_command(audit)
