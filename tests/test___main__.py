"""Ctrl-C while the commands are loaded ends the process quietly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.tree import PACKAGE

SLOW_CLI: Final = """
import sys
print("loading", flush=True)
sys.stdin.read()
def main():
    import signal
    print("listens", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
"""Stands in for `hubbub.cli`: it takes as long to load as its reader likes."""


class Loading:
    def __init__(self, folder: Path) -> None:
        (folder / "hubbub").mkdir()
        for name in ("__main__.py", "__init__.py", "version.py"):
            (folder / "hubbub" / name).write_bytes((PACKAGE / name).read_bytes())
        (folder / "hubbub" / "cli.py").write_text(SLOW_CLI)
        self._folder = folder

    def start(self, *, ignoring: bool = False) -> subprocess.Popen[bytes]:
        """Started, and in the midst of its imports."""
        handler = signal.SIG_IGN if ignoring else signal.SIG_DFL
        process = subprocess.Popen(
            [sys.executable, "-m", "hubbub"],
            env={**os.environ, "PYTHONPATH": str(self._folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"loading\n"
        return process


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path)


class TestLoading:
    def test_ctrl_c_ends_it_without_a_word(self, loading: Loading) -> None:
        process = loading.start()
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"")
        assert process.returncode == -signal.SIGINT

    def test_the_command_hears_of_it_again(self, loading: Loading) -> None:
        out, err = loading.start().communicate()
        assert (out, err) == (b"listens True\n", b"")

    def test_whoever_was_started_to_ignore_it_goes_on_ignoring_it(self, loading: Loading) -> None:
        process = loading.start(ignoring=True)
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"listens False\n", b"")
        assert process.returncode == 0
