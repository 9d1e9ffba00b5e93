"""Standard streams that cannot fail a command: closed ones are opened, and failed writes are kept as an error."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from gan_cli.errors import StorageError


class _TolerantFile(io.FileIO):
    """The file of a standard stream. A write that fails is discarded, and its error is kept in `error`."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            return memoryview(data).nbytes


@contextlib.contextmanager
def tolerant_streams() -> Iterator[None]:
    """While entered, prints never fail: on a full disk, a closed pipe or terminal, or a closed stream.

    Streams that are no longer those of the interpreter, such as the captured ones of a test, are left as they are.
    """
    for number in range(3):  # else a file that is opened later gets this number, and messages are written to it
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before = sys.stdout, sys.stderr
    try:
        sys.stdout, sys.stderr = (_tolerant(stream, number) for number, stream in enumerate(before, start=1))
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _tolerant(stream: TextIO | None, number: int) -> TextIO:
    """Returns a stream that writes as `stream` does, or to the file descriptor `number`, and does not fail."""
    if stream is not None:
        if type(stream) is not io.TextIOWrapper:
            return stream
        if not isinstance(_file_of(stream), io.FileIO):
            stream.reconfigure(errors="backslashreplace")
            return stream
        number = stream.fileno()
        with contextlib.suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_TolerantFile(number, "w", closefd=False)),
        encoding=None if stream is None else stream.encoding,
        errors="backslashreplace",  # for consoles that cannot encode a path
        line_buffering=stream is None or stream.line_buffering,
        write_through=stream is not None and stream.write_through,
    )


def require_output() -> None:
    """Raises StorageError if anything printed could not be written, except to a pipe whose reader has ended."""
    sys.stdout.flush()
    file = _file_of(sys.stdout)
    error = file.error if isinstance(file, _TolerantFile) else None
    if error is not None and not isinstance(error, BrokenPipeError):
        raise StorageError(f"standard output cannot be written ({error.strerror})")


def _file_of(stream: TextIO) -> object:
    """Returns what a text stream writes to below its buffer, or None if it has no buffer."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)
