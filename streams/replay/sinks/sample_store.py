"""Samples kept by series on disk, for formats that want all samples of a series together.

A step brings one value for each of many series; a file wants many values of one series. Values are collected
in memory up to a limit, then written out series by series; reading a series back visits its part of each run.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 2_000_000
"""Samples in memory, 16 bytes each."""


@dataclass(slots=True)
class _Block:
    times: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))


class SampleStore:
    """Samples by series number: an instant (ms) and a value each."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self._file: IO[bytes] = (folder / "samples").open("w+b")
        self._limit = limit
        self._held = 0
        self._blocks: dict[int, _Block] = {}
        self._places: dict[int, array[int]] = {}

    def add(self, series: int, at: int, value: float) -> None:
        """Add a sample; the instants of a series ascend."""
        block = self._blocks.get(series)
        if block is None:
            block = self._blocks[series] = _Block()
        block.times.append(at)
        block.values.append(value)
        self._held += 1
        if self._held >= self._limit:
            self._spill()

    def read(self, series: int) -> Iterator[tuple[int, float]]:
        """The samples of a series in order of time."""
        places = self._places.get(series, array("Q"))
        for offset, count in zip(places[::2], places[1::2], strict=True):
            self._file.seek(offset)
            block = _Block()
            block.times.fromfile(self._file, count)
            block.values.fromfile(self._file, count)
            yield from zip(block.times, block.values, strict=True)
        if series in self._blocks:
            block = self._blocks[series]
            yield from zip(block.times, block.values, strict=True)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _spill(self) -> None:
        self._file.seek(0, 2)
        for series, block in self._blocks.items():
            self._places.setdefault(series, array("Q")).extend((self._file.tell(), len(block.times)))
            block.times.tofile(self._file)
            block.values.tofile(self._file)
        self._blocks.clear()
        self._held = 0
