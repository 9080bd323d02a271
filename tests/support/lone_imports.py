"""Imports each module named on standard input alone, as if nothing of the service had been imported before.

Run as a program: one interpreter loads the libraries, then forks for each module, so that hundreds of modules take the
time of a few. Prints a JSON object from the names of the modules that failed to their tracebacks.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

__all__ = ["main"]

LIBRARIES = ("aiohttp", "click", "jwt", "marshmallow", "prometheus_client", "rich", "socketio", "structlog")


def main() -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
    failures = {module: failure for module in sys.stdin.read().split() if (failure := _import_alone(module))}
    json.dump(failures, sys.stdout)


def _import_alone(module: str) -> str:
    """The traceback; empty if there is none."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            importlib.import_module(module)
        except BaseException:
            os.write(writer, traceback.format_exc(limit=-5).encode()[-4096:])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as pipe:
        failure = pipe.read()
    _, status = os.waitpid(child, 0)
    return failure or (f"The interpreter ended with status {status}." if status else "")


if __name__ == "__main__":
    main()
