"""Exact samples: panes that hold each sample of some distributions, for estimates that buckets would spoil.

A pane holds an hour. Each of its cells is one leaf, minute of the hour and value in one integer of 63 bits, with the
number of such samples: ten bytes at rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from salesgauge.metrics.rules.model import HOUR, MINUTE
from salesgauge.metrics.shard.pane_store import Cells

_VALUE_BITS, _MINUTE_BITS, _LEAF_BITS = 37, 6, 20
_LONGEST = (1 << _VALUE_BITS) - 1
"""Four years in ms; longer ones count as that."""


class DurationSample(NamedTuple):
    """``number`` samples of ``value`` ms of a leaf, at a minute since the epoch."""

    leaf: int
    minute: int
    value: int
    number: int


def sample_cell(leaf: int, at: int, value: int) -> int | None:
    """The cell of a sample at an instant (ms), in the pane of its hour; None for a leaf beyond a million."""
    if leaf >> _LEAF_BITS:
        return None
    minute = at % HOUR // MINUTE
    return (leaf << _MINUTE_BITS | minute) << _VALUE_BITS | kept_value(value)


def kept_value(value: int) -> int:
    """A sample in ms as it is kept."""
    return min(max(value, 0), _LONGEST)


def samples(hour: int, cells: Cells) -> Iterator[DurationSample]:
    """What the pane of an hour holds."""
    for cell, count in cells.items():
        where, value = cell >> _VALUE_BITS, cell & _LONGEST
        leaf, minute = where >> _MINUTE_BITS, where & ((1 << _MINUTE_BITS) - 1)
        yield DurationSample(leaf, hour * (HOUR // MINUTE) + minute, value, count)


def leaf_of(cell: int) -> int:
    """The number of the leaf of a cell."""
    return cell >> (_VALUE_BITS + _MINUTE_BITS)


def with_leaf(cell: int, leaf: int) -> int | None:
    """The cell with another number for its leaf, as another process has it; None for a leaf beyond a million."""
    rest = cell & ((1 << (_VALUE_BITS + _MINUTE_BITS)) - 1)
    return None if leaf >> _LEAF_BITS else leaf << (_VALUE_BITS + _MINUTE_BITS) | rest
