"""Records sorted in bounded memory: runs of them are written to disk and merged when they are read.

Also the frames that such files consist of, for others that leave records of any size in files.
"""

from __future__ import annotations

import heapq
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

T = TypeVar("T", bound=tuple[Any, ...])

RUN_LENGTH = 250_000
"""Records sorted in memory at once."""
_LENGTH_BYTES = 4


class SortedRuns(Generic[T]):
    """Takes tuples in any order and gives them in theirs. Runs beyond memory lie in ``folder``.

    Args:
        kind: the tuples' type, such as ``tuple[int, bytes]``: what msgpack can write, and Python can compare.
        folder: for this object alone.
        run_length: how many are sorted in memory at once.
    """

    def __init__(self, kind: type[T], folder: Path, *, run_length: int = RUN_LENGTH) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._folder = folder
        self._run_length = run_length
        self._run: list[T] = []
        self._runs: list[Path] = []

    def add(self, record: T) -> None:
        """Take one more."""
        self._run.append(record)
        if len(self._run) >= self._run_length:
            self._spill()

    def __iter__(self) -> Iterator[T]:
        self._run.sort()
        return heapq.merge(*(self._read(path) for path in self._runs), self._run)

    def _spill(self) -> None:
        self._run.sort()
        path = self._folder / f"run-{len(self._runs)}"
        with path.open("wb") as file:
            for record in self._run:
                write_frame(file, msgspec.msgpack.encode(record))
        self._runs.append(path)
        self._run = []

    def _read(self, path: Path) -> Iterator[T]:
        with path.open("rb") as file:
            yield from map(self._decode, read_frames(file))


def write_frame(file: IO[bytes], content: bytes) -> None:
    """Append some bytes, so that :func:`read_frames` finds where they end."""
    file.write(len(content).to_bytes(_LENGTH_BYTES, "big") + content)


def read_frames(file: IO[bytes]) -> Iterator[bytes]:
    """What :func:`write_frame` wrote, in order."""
    while length := file.read(_LENGTH_BYTES):
        yield file.read(int.from_bytes(length, "big"))
