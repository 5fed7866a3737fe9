"""Counting one thing once in each window, though several facts put it there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from salesgauge.metrics.entities.contributions import Contributions, Labels
from salesgauge.metrics.measures.labels import UNKNOWN
from salesgauge.metrics.measures.registry import Measure

Occasion = tuple[int, Labels]
"""An instant in ms at which the thing is in a window, and the labels that it has there, in the measure's order."""


def add_once(
    out: Contributions, measure: Measure, occasions: Sequence[Occasion], amount: Callable[[int], int] = lambda _: 1
) -> None:
    """Add a thing at its latest occasion: a window that ends now holds the thing exactly if it holds that instant.

    Under each value of a dimension it is added at its latest occasion with that value, so that it counts for both of
    two reps, and once in the whole. This holds for breakdowns by one dimension.

    Args:
        out: what is added to.
        measure: a sum.
        occasions: sorted by time, not empty.
        amount: what is added, by the instant.
    """

    def add(at: int, sign: int, there: Labels) -> None:
        shown: Labels = tuple([UNKNOWN if value == "" else value for value in there])
        out.append((measure, shown, at, 0, sign * amount(at)))

    latest, labels = occasions[-1]
    if all(known == labels for _, known in occasions):
        add(latest, 1, labels)
        return
    nowhere: Labels = ((),) * len(labels)
    add(latest, 1, nowhere)
    for position in range(len(labels)):
        latest_by_value = {value: at for at, known in occasions for value in _values(known[position])}
        for value, at in latest_by_value.items():
            add(at, 1, (*nowhere[:position], (value,), *nowhere[position + 1 :]))
            add(at, -1, nowhere)


def _values(label: str | tuple[str, ...]) -> tuple[str, ...]:
    return label if isinstance(label, tuple) else (label,)
