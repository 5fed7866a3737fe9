"""Files that appear whole or not at all, compressed by their suffix; and pipes and devices, which are written to."""

from __future__ import annotations

import gzip
import io
import os
import shutil
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO, TYPE_CHECKING, cast

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_OWNER_ONLY = 0o600


def is_stream(path: Path) -> bool:
    """Whether the name is a pipe's or a device's, such as ``/dev/stdout``: it is written to, never replaced."""
    return path.exists() and not path.is_file()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when the block ends well; otherwise nothing of it remains, and the name is as it was.

    Where the name is a link, the file that it leads to is replaced; one that was there keeps its permissions. A new one
    is its owner's alone, as it may hold personal data.

    Raises:
        OSError: the file cannot be written.
    """
    if is_stream(path):
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb", opener=_private) as file:
            yield file
        take_name(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def take_name(made: Path, target: Path) -> None:
    """Put a file in the place of another one, with its permissions; where there is none it is its owner's alone.

    Raises:
        OSError: it cannot be done.
    """
    if target.exists():
        shutil.copymode(target, made)
    else:
        made.chmod(_OWNER_ONLY)
    made.replace(target)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _OWNER_ONLY)


def compressed(
    raw: IO[bytes], suffix: str, *, gzip_level: int = 9, zstd_level: int = 6
) -> AbstractContextManager[IO[bytes]]:
    """A way into ``raw``, which compresses if the suffix is ``.gz`` or ``.zst``: the same content in the same bytes."""
    if suffix == ".gz":  # no name and no time inside
        return cast("IO[bytes]", gzip.GzipFile("", "wb", gzip_level, raw, mtime=0))
    if suffix == ".zst":
        writer = zstandard.ZstdCompressor(level=zstd_level).stream_writer(raw, closefd=False)
        return cast("IO[bytes]", io.BufferedWriter(cast("io.RawIOBase", writer)))
    return nullcontext(raw)
