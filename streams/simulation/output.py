"""Where simulated events go: a file that appears when it is whole, a stream, or a broker."""

from __future__ import annotations

import gzip
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import zstandard

from schemas.codec import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from schemas.events import EventBase


class Sink(Protocol):
    """What takes events."""

    def send(self, event: EventBase) -> object:
        """Take an event; it may be delivered later."""

    def flush(self) -> object:
        """Return when all that was sent has been delivered."""


class Lines:
    """Events as JSON lines in a binary stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, event: EventBase) -> None:
        """Write an event."""
        self._stream.write(encode(event) + b"\n")

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self._stream.flush()


@contextmanager
def file_sink(path: Path) -> Iterator[Sink]:
    """JSON lines in a file; compressed if its name ends with ``.gz`` or ``.zst``.

    The file appears under its name when the block has ended well; otherwise the name is left as it was. A pipe or a
    device is written to; where the name is a link, the file that it leads to is replaced.

    Raises:
        OSError: The file cannot be written.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as raw, _compressed(raw, path.suffix) as stream:
            yield Lines(stream)
        return
    path = path.resolve()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as raw, _compressed(raw, path.suffix) as stream:
            yield Lines(stream)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _compressed(raw: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    if suffix == ".gz":
        # No name and no time in the header: the same events make the same file.
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as stream:
            yield cast("BinaryIO", stream)
    elif suffix == ".zst":
        with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as stream:
            yield cast("BinaryIO", stream)
    else:
        yield raw
