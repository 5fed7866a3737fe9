"""Where simulated events go: a file that appears when it is whole, a stream, or a broker."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Protocol

from salesgauge.schemas.codec import encode
from salesgauge.streams.io.whole_files import compressed, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from salesgauge.schemas.events import EventBase


class EventOutput(Protocol):
    """What takes events."""

    def send(self, event: EventBase) -> object:
        """Take an event; it may be delivered later."""

    def flush(self) -> object:
        """Return when all that was sent has been delivered."""


class JsonLinesOutput:
    """Events as JSON lines in a binary stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def send(self, event: EventBase) -> None:
        """Write an event."""
        self._stream.write(encode(event) + b"\n")

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self._stream.flush()


@contextmanager
def file_output(path: Path) -> Iterator[EventOutput]:
    """JSON lines in a file; compressed if its name ends with ``.gz`` or ``.zst``.

    The file appears under its name when the block has ended well; otherwise the name is left as it was. A pipe or a
    device is written to; where the name is a link, the file that it leads to is replaced.

    Raises:
        OSError: The file cannot be written.
    """
    with whole_file(path) as raw, compressed(raw, path.suffix, gzip_level=6, zstd_level=3) as stream:
        yield JsonLinesOutput(stream)
