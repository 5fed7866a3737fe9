"""What one entity adds to the measures: rows of (measure, labels, instant, sample, additive amount)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Unpack

from salesgauge.metrics.measures import labels as typed
from salesgauge.metrics.measures.labels import UNKNOWN
from salesgauge.metrics.measures.registry import Measure

Labels = tuple[str | tuple[str, ...], ...]
"""One value per dimension of the measure; a tuple stands for several values of one thing (the products of a deal)."""

Key = tuple[Measure, Labels, int, int]
"""Measure, labels, instant in ms, and the sample in ms (0 where the measure is no distribution)."""

Row = tuple[Measure, Labels, int, int, int]
"""A key and the amount that is added under it."""


class Contributions(list[Row]):
    """Rows to be added up; several may have one key."""

    __slots__ = ()

    def add(self, measure: Measure, at: int, amount: int, **labels: Unpack[typed.Labels]) -> None:
        """Add ``amount`` to a sum, or to a roster, at an instant (ms).

        Raises:
            KeyError: a dimension of the measure is missing.
        """
        if amount:
            named: Any = labels
            self.append((measure, tuple([named[dim] or UNKNOWN for dim in measure.dims]), at, 0, amount))

    def sample(self, measure: Measure, at: int, value: int, **labels: Unpack[typed.Labels]) -> None:
        """Add a sample of ``value`` milliseconds to a distribution, at an instant (ms).

        Raises:
            KeyError: a dimension of the measure is missing.
        """
        named: Any = labels
        self.append((measure, tuple([named[dim] or UNKNOWN for dim in measure.dims]), at, value, 1))


def totals(rows: Iterable[Row]) -> dict[Key, int]:
    """The sums by key, without zeros."""
    found: dict[Key, int] = {}
    for measure, labels, at, value, amount in rows:
        key = (measure, labels, at, value)
        found[key] = found.get(key, 0) + amount
    return {key: amount for key, amount in found.items() if amount}


def difference(new: Sequence[Row], old: Sequence[Row]) -> Contributions:
    """``new - old``: the effect on the windows of going from ``old`` to ``new``."""
    if not old:
        return Contributions(new)
    found: dict[Key, int] = {}
    for rows, sign in ((new, 1), (old, -1)):
        for measure, labels, at, value, amount in rows:
            key = (measure, labels, at, value)
            found[key] = found.get(key, 0) + sign * amount
    return Contributions((*key, amount) for key, amount in found.items() if amount)
