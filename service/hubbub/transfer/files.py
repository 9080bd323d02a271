"""The file of an export: written whole or not at all, read from its beginning, compressed if its name ends in `.gz`.

An export that was interrupted begins anew. What it had written is of a state of the store that is gone, and no part of
another state can be put behind it. So it grows under another name, `<name>.part`, and gets its own when it is whole and
on the disk: a file with the name that was asked for is never half an export.
"""

from __future__ import annotations

import fcntl
import gzip
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from hubbub.errors import HubbubError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["reading", "writing"]

STANDARD: Final = Path("-")
LEVEL: Final = 4
"""Of compression. With 6, the default, it takes twice as long, for 3 % less."""

BUFFER_BYTES: Final = 2**18


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A stream to write an export to; `-` is standard output. Raises `OSError`, and `conflict` if another export is
    being written to this file.
    """
    if path == STANDARD:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Python would try once more at its end to write what is left, and complain.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            raise
        return
    part = path.with_name(f"{path.name}.part")
    # Everything that was ever said is in it: nobody else may read it.
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(file, "wb", buffering=BUFFER_BYTES) as raw:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HubbubError("conflict", f"Another export is being written to {path}.") from None
        os.ftruncate(file, 0)
        try:
            if _is_compressed(path):
                with (
                    gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed,
                    io.BufferedWriter(cast(io.RawIOBase, packed), BUFFER_BYTES) as buffered,
                ):
                    yield cast(BinaryIO, buffered)
            else:
                yield raw
            raw.flush()
            os.fsync(file)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The name is on the disk as well."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A stream to read an export from; `-` is standard input. Raises `OSError`.

    Another thread that is reading standard input when the context ends is told that there is no more.
    """
    if path == STANDARD:
        with _standard_input() as stream:
            yield stream
        return
    with path.open("rb") as raw:
        if _is_compressed(path):
            with gzip.GzipFile("", "rb", fileobj=raw) as packed:
                yield cast(BinaryIO, io.BufferedReader(packed, BUFFER_BYTES))
        else:
            yield raw


@contextmanager
def _standard_input() -> Iterator[BinaryIO]:
    try:
        file = sys.stdin.buffer.fileno()
    except OSError:  # It is no file of the system's, so there is nothing to wait for.
        yield sys.stdin.buffer
        return
    raw = _Endable(file)
    with io.BufferedReader(raw, BUFFER_BYTES) as stream:
        try:
            yield cast(BinaryIO, stream)
        finally:
            raw.end()  # Closing waits for whoever reads.


class _Endable(io.RawIOBase):
    """Reads a file until its end, or until `end` is called.

    A pipe may never bring another byte, and a thread that waits for one cannot be told to stop; the process would not
    end before it.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._wake, self._waker = os.pipe()
        self._poll = select.poll()
        self._poll.register(file, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        ready = {file for file, _ in self._poll.poll()}
        return 0 if self._wake in ready else os.readv(self._file, [buffer])

    def end(self) -> None:
        os.write(self._waker, b"\0")

    def close(self) -> None:
        if not self.closed:
            os.close(self._wake)
            os.close(self._waker)
        super().close()


def _is_compressed(path: Path) -> bool:
    return path.name.endswith(".gz")
