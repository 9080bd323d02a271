"""The command line: `hubbub serve`, `hubbub token`, `hubbub --version`."""

from hubbub.cli.root import main

__all__ = ["main"]
