"""Series: what windows sum up and readings are made of.

A *series* is a measure under one combination of label values of one breakdown; a leaf goes into a series of the whole
and one or more of each breakdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from salesgauge.metrics.entities.contributions import Labels
from salesgauge.metrics.measures.registry import MEASURES, UNKNOWN, Measure
from salesgauge.metrics.shard.leaves import CODES, Leaf, LeafIndex

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
        leaves: numbers the leaves; panes of the same process may share it.
    """

    def __init__(self, plan: Plan, leaves: LeafIndex | None = None) -> None:
        self.leaves = LeafIndex() if leaves is None else leaves
        self.series: list[Series] = []
        self._ids: dict[Series, int] = {}
        self._by_family: dict[tuple[str, Breakdown], dict[tuple[str, ...], int]] = {}
        self._of_leaf: dict[int, tuple[int, ...]] = {}
        self._teams: Mapping[str, str] = {}
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

    def assign(self, teams: Mapping[str, str]) -> bool:
        """Set rep -> team, for leaves of a rep that name no team; whether that changes anything.

        Leaves may go into other series from then on, so all sums by series have to be formed anew.
        """
        if teams == self._teams:
            return False
        self._teams = dict(teams)
        self._of_leaf.clear()
        return True

    @property
    def teams(self) -> Mapping[str, str]:
        """Rep -> team, as they were assigned."""
        return self._teams

    def reps_of(self, team: str) -> list[str]:
        """The reps who are of a team now, sorted."""
        return sorted(rep for rep, theirs in self._teams.items() if theirs == team)

    def family(self, measure: str, breakdown: Breakdown) -> Mapping[tuple[str, ...], int]:
        """Label values -> number, of all series of a measure in a breakdown."""
        return self._by_family.get((measure, breakdown), {})

    def of_leaf(self, leaf: int) -> tuple[int, ...]:
        """The numbers of the series that a leaf goes into: of the whole and of each breakdown."""
        numbers = self._of_leaf.get(leaf)
        if numbers is None:
            numbers = self._of_leaf[leaf] = self._expand(self.leaves.leaves[leaf])
        return numbers

    def expand(self, cells: Mapping[int, int]) -> dict[int, int]:
        """Cells of leaves as cells of series; no zeros."""
        sums: dict[int, int] = {}
        get, known = sums.get, self._of_leaf
        for cell, amount in cells.items():
            leaf, code = divmod(cell, CODES)
            for number in known.get(leaf) or self.of_leaf(leaf):
                series_cell = number * CODES + code
                sums[series_cell] = get(series_cell, 0) + amount
        return {cell: amount for cell, amount in sums.items() if amount}

    def _expand(self, leaf: Leaf) -> tuple[int, ...]:
        measure, labels = leaf[0], self._teamed(*leaf)
        numbers = []
        for breakdown, positions in self._positions.get(measure.name, ()):
            choices = [_values(labels[position]) for position in positions]
            numbers += [self.id_of((measure.name, breakdown, chosen)) for chosen in product(*choices)]
        return tuple(numbers)

    def _teamed(self, measure: Measure, labels: Labels) -> Labels:
        dims = measure.dims
        if "team" not in dims or "rep" not in dims or labels[dims.index("team")] != UNKNOWN:
            return labels
        rep = labels[dims.index("rep")]
        team = self._teams.get(rep, UNKNOWN) if isinstance(rep, str) else UNKNOWN
        return tuple(team if dim == "team" else value for dim, value in zip(dims, labels, strict=True))


def _values(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,)
