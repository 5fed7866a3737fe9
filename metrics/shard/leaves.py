"""Leaves and cells: how measures are laid out in panes.

A *leaf* is a measure under one value of each of its dimensions: what a contribution adds to, and the finest that panes
tell apart. Breakdowns are sums over leaves and are formed where windows are read, so a pane takes each contribution
once, whatever the number of breakdowns. A *cell* is what a pane counts: an integer that joins the leaf's number and a
bucket code (0 for a sum, else a bucket of a distribution), because integers hash fast and are small.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import msgspec

from salesgauge.metrics.entities.contributions import Labels
from salesgauge.metrics.measures.buckets import MAX_CODE
from salesgauge.metrics.measures.registry import MEASURES, Measure
from salesgauge.metrics.rules.privacy import redacted

CODES = MAX_CODE + 1

Leaf = tuple[Measure, Labels]
"""Measure, and one value per dimension of it."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, Labels]).decode


class LeafIndex:
    """Numbers the leaves, for one process.

    Args:
        unredacted: dimensions whose values are kept even where they look like somebody's address or number.
    """

    def __init__(self, unredacted: Container[str] = ()) -> None:
        self._unredacted = unredacted
        self.leaves: list[Leaf] = []
        self._numbers: dict[Leaf, int] = {}
        self._packed: list[msgspec.Raw] = []
        self._by_packed: dict[bytes, int] = {}
        self.cells: Mapping[Measure, Mapping[Labels, int]] = _Cells(self)
        """``cells[measure][labels]`` is the cell of the sum that a contribution goes into; those of a distribution's
        buckets follow it. What was not seen before gets a new one."""

    def __len__(self) -> int:
        return len(self.leaves)

    def packed(self, number: int) -> msgspec.Raw:
        """A leaf as another process can read it."""
        packed = self._packed
        for measure, labels in self.leaves[len(packed) : number + 1]:
            packed.append(msgspec.Raw(_encode((measure.name, labels))))
        return packed[number]

    def of_packed(self, packed: bytes) -> int:
        """The number of another process's leaf.

        Raises:
            KeyError: there is no such measure in this release.
            ValueError: this is no leaf.
        """
        number = self._by_packed.get(packed)
        if number is None:
            try:
                name, labels = _decode(packed)
            except msgspec.MsgspecError as error:
                raise ValueError(f"not a leaf: {error}") from error
            number = self._by_packed[packed] = self.number((MEASURES[name], labels))
        return number

    def shown(self, measure: Measure, labels: Labels) -> Leaf:
        """The leaf of a contribution: its labels, without what must not be shown."""
        return measure, tuple(self._shown(dim, value) for dim, value in zip(measure.dims, labels, strict=True))

    def number(self, leaf: Leaf) -> int:
        """The number of a leaf; a new one if it was not seen before."""
        known = self._numbers.get(leaf)
        if known is None:
            known = self._numbers[leaf] = len(self.leaves)
            self.leaves.append(leaf)
        return known

    def _shown(self, dim: str, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """The value, or the values of one thing, each once, under which something is counted."""
        if dim in self._unredacted:
            return value
        return tuple(dict.fromkeys(map(redacted, value))) if isinstance(value, tuple) else redacted(value)


class _Cells(dict[Measure, Mapping[Labels, int]]):
    """Looked up for each contribution, so it is filled by what is missing and not by asking first."""

    def __init__(self, index: LeafIndex) -> None:
        super().__init__()
        self._index = index

    def __missing__(self, measure: Measure) -> Mapping[Labels, int]:
        known = self[measure] = _CellsOfMeasure(self._index, measure)
        return known


class _CellsOfMeasure(dict[Labels, int]):
    def __init__(self, index: LeafIndex, measure: Measure) -> None:
        super().__init__()
        self._index = index
        self._measure = measure

    def __missing__(self, labels: Labels) -> int:
        cell = self[labels] = self._index.number(self._index.shown(self._measure, labels)) * CODES
        return cell
