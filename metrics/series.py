"""Series and cells: how measures are laid out in panes.

A *series* is a measure under one combination of label values of one breakdown. A *cell* is what a pane counts: an
integer that joins the series' number and a bucket code (0 for a sum, else a bucket of a distribution), because
integers hash fast and are small.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from itertools import product

from metrics.contributions import Labels
from metrics.distribution import MAX_CODE
from metrics.measures import MEASURES, Measure
from metrics.privacy import redacted

CODES = MAX_CODE + 1
Breakdown = tuple[str, ...]
"""Names of dimensions; empty for the whole."""

Series = tuple[str, Breakdown, tuple[str, ...]]
"""Measure name, breakdown, label values."""

Plan = Mapping[str, tuple[Breakdown, ...]]
"""Which breakdowns of a measure (by name) somebody asks for; the whole is always among them."""


class SeriesIndex:
    """Numbers the series, for one process.

    Args:
        plan: the breakdowns that are wanted.
        unredacted: dimensions whose values are shown even where they look like somebody's address or number.
    """

    def __init__(self, plan: Plan, unredacted: Container[str] = ()) -> None:
        self.plan = plan
        self._unredacted = unredacted
        self.series: list[Series] = []
        self._ids: dict[Series, int] = {}
        self._by_family: dict[tuple[str, Breakdown], dict[tuple[str, ...], int]] = {}
        self._cells: dict[Measure, dict[Labels, tuple[int, ...]]] = {}
        self._positions = {
            name: tuple((b, tuple(MEASURES[name].dims.index(d) for d in b)) for b in breakdowns)
            for name, breakdowns in plan.items()
        }

    def __len__(self) -> int:
        return len(self.series)

    def id_of(self, series: Series) -> int:
        """The number of a series; a new one if it was not seen before."""
        known = self._ids.get(series)
        if known is None:
            known = self._ids[series] = len(self.series)
            self.series.append(series)
            self._by_family.setdefault(series[:2], {})[series[2]] = known
        return known

    def family(self, measure: str, breakdown: Breakdown) -> Mapping[tuple[str, ...], int]:
        """Label values -> number, of all series of a measure in a breakdown."""
        return self._by_family.get((measure, breakdown), {})

    def cells(self, measure: Measure, labels: Labels) -> tuple[int, ...]:
        """The cells of the sums that a contribution goes into: of the whole and of each breakdown."""
        known = self._cells.get(measure)
        if known is None:
            known = self._cells[measure] = {}
        cells = known.get(labels)
        if cells is None:
            cells = known[labels] = tuple(number * CODES for number in self._expand(measure, labels))
        return cells

    def _expand(self, measure: Measure, labels: Labels) -> tuple[int, ...]:
        numbers = []
        for breakdown, positions in self._positions.get(measure.name, ()):
            choices = [self._shown(dim, labels[p]) for dim, p in zip(breakdown, positions, strict=True)]
            numbers += [self.id_of((measure.name, breakdown, chosen)) for chosen in product(*choices)]
        return tuple(numbers)

    def _shown(self, dim: str, value: str | tuple[str, ...]) -> tuple[str, ...]:
        """The values under which something is counted, each once."""
        values = value if isinstance(value, tuple) else (value,)
        return values if dim in self._unredacted else tuple(dict.fromkeys(map(redacted, values)))
