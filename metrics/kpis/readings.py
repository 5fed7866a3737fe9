"""Readings: the catalogue evaluated at an instant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sortedcontainers import SortedList

from salesgauge.metrics.kpis.formula import Ratio, Reader
from salesgauge.metrics.kpis.kpi import Catalogue, Kpi, Stat, applicable
from salesgauge.metrics.measures.registry import Kind, Measure, Unit
from salesgauge.metrics.rules.model import HOUR, Rules
from salesgauge.metrics.rules.windows import WINDOWS, Window
from salesgauge.metrics.shard.leaves import CODES
from salesgauge.metrics.shard.pane_store import Cells
from salesgauge.metrics.shard.panes import Resolution
from salesgauge.metrics.windows.series import Breakdown
from salesgauge.metrics.windows.sums import WindowSums

OTHER = "other"
"""The label value that the smaller ones beyond the ceiling are folded into."""

_FINE_SPAN = 6 * HOUR
"""Courses no longer than this are read from panes of a minute."""

Values = tuple[str, ...]
_EMPTY: SortedList[int] = SortedList()


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of one KPI for one window and one combination of labels, in the stat's unit.

    ``numerator`` and ``denominator`` are given where the number is a quotient.
    """

    kpi: str
    window: str
    labels: Mapping[str, str]
    value: float
    stat: str
    numerator: float | None = None
    denominator: float | None = None


@dataclass(slots=True)
class Group:
    """Label values shown under one name: one combination, or all that were folded into ``other``."""

    shown: Values
    members: tuple[Values, ...]


@dataclass(slots=True)
class _Reader:
    """Answers a formula's questions for one window, one breakdown and one group of label values."""

    view: View
    window: Window
    breakdown: Breakdown
    members: tuple[Values, ...]
    before: bool = False
    """Whether the window before is read, of the same length."""

    @property
    def rules(self) -> Rules:
        return self.view.sums.rules

    @property
    def now(self) -> int:
        return self.view.sums.now - (self.window.span if self.before else 0)

    @property
    def start(self) -> int:
        return self.window.begin(self.now, self.rules) or 0

    @property
    def length(self) -> int:
        return self.window.length(self.now, self.rules.tz, self.view.sums.first_instant())

    def total(self, measure: Measure) -> float:
        return self._sum(measure, self.view.sums.sums(self.window.name, before=self.before))

    def total_before(self, measure: Measure) -> float:
        assert not self.before, "the window before the one before is not kept"
        return self._sum(measure, self.view.sums.sums(self.window.name, before=True))

    def total_ever(self, measure: Measure) -> float:
        return self._sum(measure, self.view.sums.sums("all")) - self._sum(measure, self._later())

    def ever(self, measure: Measure, **fixed: str) -> float:
        breakdown = applicable(tuple(dim for dim in self.breakdown if dim not in fixed), measure)
        family = self.view.sums.index.family(measure.name, (*breakdown, *fixed))
        kept = [self.breakdown.index(dim) for dim in breakdown]
        rows = dict.fromkeys(tuple(values[i] for i in kept) for values in self.members)
        keys = ((*row, *fixed.values()) for row in rows)
        cells = [family[key] * CODES for key in keys if key in family]
        totals, later = self.view.sums.sums("all"), self._later()
        return sum(totals.get(cell, 0) - later.get(cell, 0) for cell in cells) / self.view.scale[measure.unit]

    def _later(self) -> Mapping[int, int]:
        """The sums of what happened after the end of the window."""
        return self.view.sums.sums(self.window.name) if self.before else {}

    def values(self, measure: Measure, dim: str) -> Iterable[str]:
        return sorted(value for (value,) in self.view.sums.index.family(measure.name, (dim,)))

    def label(self, dim: str) -> str:
        return self.members[0][self.breakdown.index(dim)] if dim in self.breakdown else ""

    def counts(self, measure: Measure) -> Mapping[int, int]:
        numbers = self.numbers(measure)
        if len(numbers) == 1:
            return self.view.sums.counts(self.window.name, numbers[0], before=self.before)
        merged: dict[int, int] = {}
        for number in numbers:
            for code, count in self.view.sums.counts(self.window.name, number, before=self.before).items():
                merged[code] = merged.get(code, 0) + count
        return merged

    def samples(self, measure: Measure) -> Mapping[int, int] | None:
        whole = self.view.sums.index.family(measure.name, ()).get(())
        merged: Counter[int] = Counter()
        for number in self.numbers(measure):
            assert whole is not None  # every measure has it
            found = self.view.sums.samples(self.window.name, number, whole)
            if found is None:
                return None
            merged.update(found)
        return merged

    def instants_by(self, measure: Measure, label: str) -> Mapping[str, SortedList[int]]:
        breakdown = applicable(self.breakdown, measure)
        kept = [self.breakdown.index(dim) for dim in breakdown]
        members = {tuple(values[i] for i in kept) for values in self.members}
        found: dict[str, SortedList[int]] = {}
        for values, number in self.view.sums.index.family(measure.name, (*breakdown, label)).items():
            if values[:-1] in members:
                instants = self.view.sums.roster(number)
                found[values[-1]] = SortedList([*found[values[-1]], *instants]) if values[-1] in found else instants
        return found

    def instants(self, measure: Measure) -> SortedList[int]:
        numbers = self.numbers(measure)
        if len(numbers) == 1:
            return self.view.sums.roster(numbers[0])
        return SortedList(i for n in numbers for i in self.view.sums.roster(n)) if numbers else _EMPTY

    def across(self, label: str) -> Reader:
        kept = [i for i, dim in enumerate(self.breakdown) if dim != label]
        members = dict.fromkeys(tuple(values[i] for i in kept) for values in self.members)
        breakdown = tuple(self.breakdown[i] for i in kept)
        return _Reader(self.view, self.window, breakdown, tuple(members), self.before)

    def _sum(self, measure: Measure, sums: Mapping[int, int]) -> float:
        total = sum(sums.get(number * CODES, 0) for number in self.numbers(measure))
        return total / self.view.scale[measure.unit]

    def numbers(self, measure: Measure) -> list[int]:
        """Numbers of the measure's series for the labels at hand, each once."""
        breakdown = applicable(self.breakdown, measure)
        family = self.view.sums.index.family(measure.name, breakdown)
        if breakdown == self.breakdown:
            return [family[values] for values in self.members if values in family]
        kept = [self.breakdown.index(dim) for dim in breakdown]
        projected = dict.fromkeys(tuple(values[i] for i in kept) for values in self.members)
        return [family[values] for values in projected if values in family]


@dataclass(slots=True)
class _StretchReader(_Reader):
    """The same for a stretch of time, of which the sums are given: ``cells`` in it, ``later`` after it."""

    first: int = 0
    last: int = 0
    cells: Cells = field(default_factory=dict)
    later: Cells = field(default_factory=dict)

    @property
    def now(self) -> int:
        return self.last

    @property
    def start(self) -> int:
        return self.first

    @property
    def length(self) -> int:
        return self.last - self.first

    def total(self, measure: Measure) -> float:
        return self._sum(measure, self.cells)

    def _later(self) -> Mapping[int, int]:
        return self.later

    def counts(self, measure: Measure) -> Mapping[int, int]:
        numbers = set(self.numbers(measure))
        merged: dict[int, int] = {}
        for cell, count in self.cells.items():
            if (code := cell % CODES) and cell // CODES in numbers:
                merged[code] = merged.get(code, 0) + count
        return merged


@dataclass(slots=True)
class View:
    """The catalogue over the sums of the windows: what `/metrics`, the page, replay and tests all read.

    ``folded`` counts, per KPI and breakdown, the label combinations that went into ``other`` at the last reading.
    """

    catalogue: Catalogue
    sums: WindowSums
    scale: dict[Unit, int] = field(init=False)
    folded: dict[tuple[str, Breakdown], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        minor = 10**self.sums.rules.decimals
        self.scale = {Unit.ONE: 1, Unit.INSTANT: 1, Unit.MILLISECOND: 1000, Unit.MINOR: minor}

    def readings(self, kpis: Iterable[Kpi] | None = None, windows: frozenset[str] | None = None) -> Iterator[Reading]:
        """All readings at the instant to which the sums were advanced; what has no value is left out."""
        for kpi in self.catalogue.kpis if kpis is None else kpis:
            for breakdown in self.breakdowns(kpi):
                for group in self.groups(kpi, breakdown):
                    labels = dict(zip(breakdown, group.shown, strict=True))
                    for name in kpi.windows:
                        if windows is None or name in windows:
                            yield from self._read(kpi, labels, _Reader(self, WINDOWS[name], breakdown, group.members))

    def readings_of(self, kpi: Kpi, breakdown: Breakdown, group: Group, window: str) -> Iterator[Reading]:
        """The readings of one group of a breakdown, as `groups` tells them, in one window."""
        labels = dict(zip(breakdown, group.shown, strict=True))
        return self._read(kpi, labels, _Reader(self, WINDOWS[window], breakdown, group.members))

    def read(
        self, kpi: Kpi, stats: Iterable[Stat], window: str, labels: Mapping[str, str], *, before: bool = False
    ) -> dict[str, Reading]:
        """Some numbers of a KPI in one window, for one combination of labels; what has no value is left out.

        Args:
            kpi: need not have a breakdown by these labels, see `Kpi.narrows_to`.
            stats: the numbers wanted.
            window: one of the KPI's.
            labels: dimension -> value; empty for the whole.
            before: read the window before, of the same length; the sums keep those of `Catalogue.windows_before`.
        """
        breakdown, members = self._members(kpi, labels)
        reader = _Reader(self, WINDOWS[window], breakdown, members, before)
        return {stat.name: reading for stat in stats if (reading := _reading(kpi, stat, labels, reader)) is not None}

    def samples(self, kpi: Kpi, window: str, labels: Mapping[str, str]) -> Mapping[int, int]:
        """Bucket code -> count of a KPI's distribution in a window; labels as in `read`."""
        assert kpi.samples is not None, kpi.id
        breakdown, members = self._members(kpi, labels)
        return _Reader(self, WINDOWS[window], breakdown, members).counts(kpi.samples)

    def course(self, kpi: Kpi, edges: Sequence[int], labels: Mapping[str, str]) -> list[Reading | None]:
        """The headline in each stretch between instants; None where it has no value there.

        What is so at the end of a stretch is what is so now, less what has changed since. Reads one pane after the
        other: for one KPI that somebody looks at, not for each refresh.

        Args:
            kpi: its headline has no terms of `Before`, `Across`, `Compared`, currencies or rosters.
            edges: in ms, rising, the last one the present; on the boundaries of panes, or rounded up to them.
            labels: as in `read`.
        """
        breakdown, members = self._members(kpi, labels)
        numbers = {
            number
            for measure in kpi.headline.formula.measures()
            for number in _Reader(self, WINDOWS["all"], breakdown, members).numbers(measure)
        }
        fine = edges[-1] - edges[0] <= _FINE_SPAN
        stretches = self.sums.between(edges, numbers, Resolution.FINE if fine else Resolution.COARSE)
        later: Cells = {}
        found: list[Reading | None] = []
        for start, end, cells in reversed(list(zip(edges, edges[1:], stretches, strict=False))):
            reader = _StretchReader(self, WINDOWS["all"], breakdown, members, False, start, end, cells, dict(later))  # noqa: FBT003
            found.append(_reading(kpi, kpi.headline, labels, reader))
            for cell, amount in cells.items():
                later[cell] = later.get(cell, 0) + amount
        return found[::-1]

    def _members(self, kpi: Kpi, labels: Mapping[str, str]) -> tuple[Breakdown, tuple[Values, ...]]:
        """The series that hold a combination of labels; a team is its reps where only these are known."""
        breakdown = tuple(labels)
        if breakdown == ("team",) and not kpi.narrows_to(("team",)):
            return ("rep",), tuple((rep,) for rep in self.sums.index.reps_of(labels["team"]))
        return breakdown, (tuple(labels.values()),)

    @staticmethod
    def breakdowns(kpi: Kpi) -> tuple[Breakdown, ...]:
        """The breakdowns in which a KPI is read, the whole first."""
        return ((), *kpi.breakdowns) if kpi.whole else kpi.breakdowns

    def groups(self, kpi: Kpi, breakdown: Breakdown) -> list[Group]:
        """The label values that something is known of; beyond the ceiling the smaller are one group named ``other``.

        Size is what the KPI's measures count of all time and ties are broken by name, so the choice is a function of
        the set of events.
        """
        if not breakdown:
            return [Group((), ((),))]
        if kpi.values:
            return [Group((value,), ((value,),)) for value in kpi.values]
        weights = self._weights(kpi, breakdown)
        ceiling = self.sums.rules.label_ceiling
        self.folded.pop((kpi.id, breakdown), None)
        if len(weights) <= ceiling:
            return [Group(values, (values,)) for values in sorted(weights)]
        ranked = sorted(weights, key=lambda values: (-weights[values], values))
        other, large = (OTHER,) * len(breakdown), ranked[:ceiling]
        kept = sorted(values for values in large if values != other)
        rest = (*ranked[ceiling:], *(values for values in large if values == other))
        self.folded[kpi.id, breakdown] = len(rest)
        return [*(Group(values, (values,)) for values in kept), Group(other, rest)]

    def _weights(self, kpi: Kpi, breakdown: Breakdown) -> dict[Values, int]:
        weights: dict[Values, int] = {}
        for measure in kpi.measures():
            if applicable(breakdown, measure) != breakdown or measure.unit is Unit.INSTANT:
                continue  # how large something is does not depend on when it was
            for values, number in self.sums.index.family(measure.name, breakdown).items():
                weight = self._weight(measure, number)
                if weight:
                    weights[values] = weights.get(values, 0) + weight
        return weights

    def _weight(self, measure: Measure, number: int) -> int:
        if measure.kind is Kind.ROSTER:
            return len(self.sums.roster(number))
        if measure.kind is Kind.DISTRIBUTION:
            return sum(self.sums.counts("all", number).values())
        return abs(self.sums.total("all", number))

    def _read(self, kpi: Kpi, labels: Mapping[str, str], reader: _Reader) -> Iterator[Reading]:
        for stat in kpi.stats:
            reading = _reading(kpi, stat, labels, reader)
            if reading is not None:
                yield reading


def _reading(kpi: Kpi, stat: Stat, labels: Mapping[str, str], reader: _Reader) -> Reading | None:
    if isinstance(stat.formula, Ratio):
        parts = stat.formula.parts(reader)
        value = None if parts is None else parts[0] / parts[1]
        return None if value is None else Reading(kpi.id, reader.window.name, labels, value, stat.name, *(parts or ()))
    value = stat.formula.evaluate(reader)
    return None if value is None else Reading(kpi.id, reader.window.name, labels, value, stat.name)
