"""Readings: the catalogue evaluated at an instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sortedcontainers import SortedList

from salesgauge.metrics.kpis.formula import Ratio, Reader
from salesgauge.metrics.kpis.kpi import Catalogue, Kpi, applicable
from salesgauge.metrics.measures.registry import Kind, Measure, Unit
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import CODES
from salesgauge.metrics.windows.series import Breakdown
from salesgauge.metrics.windows.sums import WINDOWS, Window, WindowSums

OTHER = "other"
"""The label value that the smaller ones beyond the ceiling are folded into."""

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

    @property
    def rules(self) -> Rules:
        return self.view.sums.rules

    @property
    def now(self) -> int:
        return self.view.sums.now

    @property
    def start(self) -> int:
        start = self.window.start(self.now, self.rules.tz)
        return 0 if start is None else start

    @property
    def length(self) -> int:
        return self.window.length(self.now, self.rules.tz, self.view.sums.first_instant())

    def total(self, measure: Measure) -> float:
        return self._sum(measure, self.view.sums.sums(self.window.name))

    def total_before(self, measure: Measure) -> float:
        return self._sum(measure, self.view.sums.sums(self.window.name, before=True))

    def total_ever(self, measure: Measure) -> float:
        return self._sum(measure, self.view.sums.sums("all"))

    def counts(self, measure: Measure) -> Mapping[int, int]:
        numbers = self._numbers(measure)
        if len(numbers) == 1:
            return self.view.sums.counts(self.window.name, numbers[0])
        merged: dict[int, int] = {}
        for number in numbers:
            for code, count in self.view.sums.counts(self.window.name, number).items():
                merged[code] = merged.get(code, 0) + count
        return merged

    def instants(self, measure: Measure) -> SortedList[int]:
        numbers = self._numbers(measure)
        if len(numbers) == 1:
            return self.view.sums.roster(numbers[0])
        return SortedList(i for n in numbers for i in self.view.sums.roster(n)) if numbers else _EMPTY

    def across(self, label: str) -> Reader:
        kept = [i for i, dim in enumerate(self.breakdown) if dim != label]
        members = dict.fromkeys(tuple(values[i] for i in kept) for values in self.members)
        return _Reader(self.view, self.window, tuple(self.breakdown[i] for i in kept), tuple(members))

    def _sum(self, measure: Measure, sums: Mapping[int, int]) -> float:
        total = sum(sums.get(number * CODES, 0) for number in self._numbers(measure))
        return total / self.view.scale[measure.unit]

    def _numbers(self, measure: Measure) -> list[int]:
        """Numbers of the measure's series for the labels at hand, each once."""
        breakdown = applicable(self.breakdown, measure)
        family = self.view.sums.index.family(measure.name, breakdown)
        if breakdown == self.breakdown:
            return [family[values] for values in self.members if values in family]
        kept = [self.breakdown.index(dim) for dim in breakdown]
        projected = dict.fromkeys(tuple(values[i] for i in kept) for values in self.members)
        return [family[values] for values in projected if values in family]


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
            if isinstance(stat.formula, Ratio):
                parts = stat.formula.parts(reader)
                if parts is not None:
                    yield Reading(kpi.id, reader.window.name, labels, parts[0] / parts[1], stat.name, *parts)
                continue
            value = stat.formula.evaluate(reader)
            if value is not None:
                yield Reading(kpi.id, reader.window.name, labels, value, stat.name)
