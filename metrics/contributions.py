"""What one entity adds to the measures: (measure, labels, instant) -> additive amount."""

from __future__ import annotations

from collections.abc import Iterable

from metrics.measures import Measure

Labels = tuple[str | tuple[str, ...], ...]
"""One value per dimension of the measure; a tuple stands for several values of one thing (the products of a deal)."""

Key = tuple[Measure, Labels, int, int]
"""Measure, labels, instant in ms, and the sample in ms (0 where the measure is no distribution)."""


class Contributions(dict[Key, int]):
    """Sums by key. What is added with the opposite sign disappears."""

    __slots__ = ()

    def add(self, measure: Measure, at: int, amount: int, *labels: str | tuple[str, ...]) -> None:
        """Add ``amount`` to a sum, or to a roster."""
        key = (measure, labels, at, 0)
        self[key] = self.get(key, 0) + amount

    def sample(self, measure: Measure, at: int, value: int, *labels: str | tuple[str, ...]) -> None:
        """Add a sample of ``value`` milliseconds to a distribution."""
        key = (measure, labels, at, value)
        self[key] = self.get(key, 0) + 1

    @classmethod
    def total(cls, parts: Iterable[Contributions]) -> Contributions:
        """The sum of parts."""
        total = cls()
        for part in parts:
            for key, amount in part.items():
                total[key] = total.get(key, 0) + amount
        return total


def difference(new: Contributions, old: Contributions) -> Contributions:
    """``new - old`` without zeros: the effect on the windows of going from ``old`` to ``new``."""
    change = Contributions()
    for key, amount in new.items():
        delta = amount - old.get(key, 0)
        if delta:
            change[key] = delta
    for key, amount in old.items():
        if amount and key not in new:
            change[key] = -amount
    return change
