"""The programs in C, compiled when they are needed: the floor of fan-out, and what holds thousands of connections."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.processes import ROOT

__all__ = ["built"]

_SOURCES: Final = ROOT / "bench/native"
_PROGRAMS: Final = ROOT / "var/bench/native"


def built(name: str) -> Path:
    """The program of `native/NAME.c`, compiled if its source is newer."""
    source, program = _SOURCES / f"{name}.c", _PROGRAMS / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        if shutil.which("cc") is None:
            raise RuntimeError("a C compiler is needed, as `cc`")
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", str(program), str(source), "-lm"], check=True)
    return program
