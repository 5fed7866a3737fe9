"""Lines of text files, whatever packs them: plain, gzip or zstandard, in UTF-8, UTF-16 or UTF-32.

The first bytes decide, never a name. What is packed and cut is noticed.
"""

from __future__ import annotations

import codecs
import gzip
import io
from typing import IO, TYPE_CHECKING, Protocol, cast

import zstandard

from salesgauge.schemas.errors import TruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 18
_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
"""The end of the magic number of a frame to skip, with which files of parallel compressors begin."""
_WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class LineReader(Protocol):
    """Reads lines as bytes in UTF-8."""

    def readline(self, limit: int, /) -> bytes:
        """The next line with its end, or its first ``limit`` bytes; nothing at the end."""


class Content(LineReader, Protocol):
    """Bytes that are not packed any more."""

    def peek(self, size: int, /) -> bytes:
        """The next bytes, which stay to be read."""

    def read(self, size: int, /) -> bytes:
        """Some of the next bytes, at most so many; nothing at the end."""


def open_lines(raw: IO[bytes]) -> LineReader:
    """The lines of a file or pipe.

    Raises (while it is read):
        EOFError, TruncatedError: it is packed, and cut.
        gzip.BadGzipFile, zlib.error, zstandard.ZstdError, UnicodeDecodeError: it is damaged.
    """
    content = unpacked(raw)
    mark = content.peek(4)[:4]
    encoding = next((name for bom, name in _WIDE.items() if mark.startswith(bom)), None)
    return content if encoding is None else _Chunked(_in_utf8(content, encoding))


def first_bytes(raw: IO[bytes]) -> bytes:
    """The first four bytes, which stay to be read."""
    return cast("Content", raw).peek(4)[:4]


def peekable(stream: IO[bytes]) -> IO[bytes]:
    """The stream, so that :func:`first_bytes` works."""
    return stream if hasattr(stream, "peek") else cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", stream)))


def is_packed(raw: IO[bytes]) -> bool:
    """Whether a file is gzip or zstandard."""
    magic = first_bytes(raw)
    return magic[:2] == _GZIP or magic == _ZSTANDARD or magic[1:] == _SKIPPABLE


def unpacked(raw: IO[bytes]) -> Content:
    """The content of a file or pipe as it was packed.

    Raises (while it is read):
        EOFError, TruncatedError: it is packed, and cut.
        gzip.BadGzipFile, zlib.error, zstandard.ZstdError: it is damaged.
    """
    if not is_packed(raw):
        return cast("Content", raw)
    if first_bytes(raw)[:2] == _GZIP:
        return cast("Content", gzip.GzipFile(fileobj=raw))
    return _Chunked(_zstandard_frames(raw))


def _zstandard_frames(raw: IO[bytes]) -> Iterator[bytes]:
    """The content of all frames. The library's own reader takes a frame that was cut for the end."""
    frame: zstandard.ZstdDecompressionObj | None = None
    data = b""
    while data := data or raw.read(_CHUNK):
        frame = frame or zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(data)
        data = frame.unused_data if frame.eof else b""
        frame = None if frame.eof else frame
    if frame is not None:
        raise TruncatedError("the last frame is not whole")


def _in_utf8(content: Content, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    while chunk := content.read(_CHUNK):
        yield decoder.decode(chunk).encode()
    if decoder.getstate()[0]:
        raise TruncatedError("the last character is not whole")


class _Chunked:
    """A reader of what comes in pieces."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""
        self._at = 0

    def readline(self, limit: int, /) -> bytes:
        end = self._end_of_line(limit)
        while end < 0 and len(self._buffer) - self._at < limit and self._fill():
            end = self._end_of_line(limit)
        return self._take(end + 1 - self._at if end >= 0 else limit)

    def peek(self, size: int, /) -> bytes:
        while len(self._buffer) - self._at < size and self._fill():
            pass
        return self._buffer[self._at : self._at + size]

    def read(self, size: int, /) -> bytes:
        if self._at == len(self._buffer):
            self._fill()
        return self._take(size)

    def _end_of_line(self, limit: int) -> int:
        return self._buffer.find(b"\n", self._at, self._at + limit)

    def _take(self, size: int) -> bytes:
        taken = self._buffer[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def _fill(self) -> bool:
        """Put the next piece behind what is left."""
        piece = next(filter(None, self._chunks), b"")
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        return bool(piece)
