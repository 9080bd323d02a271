"""What an operator did wrong is told in sentences, never in a traceback.

Exit status 2: the settings or arguments are wrong. Exit status 1: they have their form, but the machine is not ready
for them. Exit status 130, as shells have it: Ctrl-C. Tracebacks are left to faults of Hubbub itself.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from typing import Final, NoReturn

from rich.console import Console
from rich.text import Text

from hubbub.errors import FilterError, StoreError
from hubbub.settings import Settings, SettingsError

__all__ = ["INTERRUPTED", "fail", "told_failures", "warn"]

INTERRUPTED: Final = 130
"""The exit status after Ctrl-C: 128 and the number of the signal."""


def fail(*sentences: str, status: int) -> NoReturn:
    """Write the sentences to standard error, and exit."""
    _write(sentences, style="red")
    sys.exit(status)


def warn(*sentences: str) -> None:
    _write(sentences, style="yellow")


def _write(sentences: tuple[str, ...], *, style: str) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for sentence in sentences:
        console.print(Text(sentence, style=style))


@contextlib.contextmanager
def told_failures(settings: Settings | None = None) -> Iterator[None]:
    """Tell what an operator can put right; `settings`, where there are any, say which address was asked for."""
    try:
        yield
    except KeyboardInterrupt:
        fail("Interrupted.", status=INTERRUPTED)
    except SettingsError as error:
        fail(*error.problems, status=2)
    except (FilterError, StoreError) as error:
        fail(str(error), status=1)
    except OSError as error:
        sentence = None if settings is None else _about_address(error, settings)
        if sentence is None:
            raise
        fail(sentence, status=1)


def _about_address(error: OSError, settings: Settings) -> str | None:
    if error.errno == errno.EADDRINUSE:
        return f"Port {settings.port} on {settings.host} is taken. Choose another with --port or HUBBUB_PORT."
    if error.errno == errno.EACCES and settings.port < 1024:
        return f"Port {settings.port} needs privileges. Choose one above 1023 with --port or HUBBUB_PORT."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{settings.host} is not an address of this machine. Choose another with --host or HUBBUB_HOST."
    if error.errno == errno.EMFILE and error.strerror:
        return f"{error.strerror[:1].upper()}{error.strerror[1:]}."
    return None
