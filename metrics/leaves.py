"""Leaves and cells: how measures are laid out in panes.

A *leaf* is a measure under one value of each of its dimensions: what a contribution adds to, and the finest that panes
tell apart. Breakdowns are sums over leaves and are formed where windows are read, so a pane takes each contribution
once, whatever the number of breakdowns. A *cell* is what a pane counts: an integer that joins the leaf's number and a
bucket code (0 for a sum, else a bucket of a distribution), because integers hash fast and are small.
"""

from __future__ import annotations

from collections.abc import Container

from metrics.contributions import Labels
from metrics.distribution import MAX_CODE
from metrics.measures import Measure
from metrics.privacy import redacted

CODES = MAX_CODE + 1

Leaf = tuple[Measure, Labels]
"""Measure, and one value per dimension of it."""


class LeafIndex:
    """Numbers the leaves, for one process.

    Args:
        unredacted: dimensions whose values are kept even where they look like somebody's address or number.
    """

    def __init__(self, unredacted: Container[str] = ()) -> None:
        self._unredacted = unredacted
        self.leaves: list[Leaf] = []
        self._numbers: dict[Leaf, int] = {}
        self._cells: dict[Measure, dict[Labels, int]] = {}

    def __len__(self) -> int:
        return len(self.leaves)

    def cell(self, measure: Measure, labels: Labels) -> int:
        """The cell of the sum that a contribution goes into; those of a distribution's buckets follow it."""
        known = self._cells.get(measure)
        if known is None:
            known = self._cells[measure] = {}
        cell = known.get(labels)
        if cell is None:
            shown = tuple(self._shown(dim, value) for dim, value in zip(measure.dims, labels, strict=True))
            cell = known[labels] = self.number((measure, shown)) * CODES
        return cell

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
