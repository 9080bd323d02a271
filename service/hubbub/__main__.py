"""`python -m hubbub` is `hubbub`.

Loading the commands takes some tenths of a second, in which nothing has been done yet. Ctrl-C ends the process in this
time as it ends a program that knows nothing of signals; Python would write where in its imports it was.
"""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """The command line. Does not return."""
    # Whoever is started with SIGINT ignored, by nohup for example, goes on ignoring it.
    is_listened_to = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_listened_to:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from hubbub.cli import main as command

    if is_listened_to:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


if __name__ == "__main__":
    main()
