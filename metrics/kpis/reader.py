"""What a formula is answered from: sums of windows, for one combination of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sortedcontainers import SortedList

from salesgauge.metrics.kpis.formula import Reader
from salesgauge.metrics.kpis.kpi import applicable
from salesgauge.metrics.measures.registry import Measure, MeasureUnit
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.rules.windows import Window
from salesgauge.metrics.shard.leaves import CODES
from salesgauge.metrics.shard.pane_store import Cells
from salesgauge.metrics.windows.series import Breakdown, SeriesIndex

Values = tuple[str, ...]
_EMPTY: SortedList[int] = SortedList()


def scale(rules: Rules) -> dict[MeasureUnit, int]:
    """How many of a measure's integers are one in base units: seconds, major units of the currency."""
    return {
        MeasureUnit.ONE: 1,
        MeasureUnit.INSTANT: 1,
        MeasureUnit.MILLISECOND: 1000,
        MeasureUnit.MINOR: 10**rules.decimals,
    }


class Sums(Protocol):
    """Sums by series of all windows that are asked for, ending at ``now`` (ms): see `WindowSums`."""

    @property
    def now(self) -> int:
        """The end of the windows, ms."""

    @property
    def rules(self) -> Rules:
        """The rules of the business."""

    @property
    def index(self) -> SeriesIndex:
        """Numbers the series."""

    def sums(self, window: str, *, before: bool = False) -> Mapping[int, int]:
        """Sums of a window, or of the one before, by cell."""

    def counts(self, window: str, number: int, *, before: bool = False) -> Mapping[int, int]:
        """Bucket code -> count of a distribution's series in a window."""

    def samples(self, window: str, number: int, whole: int) -> Mapping[int, int] | None:
        """Value in ms -> count of an exact distribution's series; None where not all are kept, or they are too many."""

    def roster(self, number: int) -> SortedList[int]:
        """The instants of a roster's series."""

    def first_instant(self) -> int:
        """When all time began, ms."""


@dataclass(slots=True)
class WindowReader:
    """Answers a formula's questions for one window, one breakdown and one group of label values.

    ``before``: the window before is read, of the same length.
    """

    sums: Sums
    scale: Mapping[MeasureUnit, int]
    window: Window
    breakdown: Breakdown
    members: tuple[Values, ...]
    before: bool = False

    @property
    def rules(self) -> Rules:
        return self.sums.rules

    @property
    def now(self) -> int:
        return self.sums.now - (self.window.span if self.before else 0)

    @property
    def start(self) -> int:
        return self.window.begin(self.now, self.rules) or 0

    @property
    def length(self) -> int:
        return self.window.length(self.now, self.rules.tz, self.sums.first_instant())

    def total(self, measure: Measure) -> float:
        return self._sum(measure, self.sums.sums(self.window.name, before=self.before))

    def total_before(self, measure: Measure) -> float:
        assert not self.before, "the window before the one before is not kept"
        return self._sum(measure, self.sums.sums(self.window.name, before=True))

    def total_ever(self, measure: Measure) -> float:
        return self._sum(measure, self.sums.sums("all")) - self._sum(measure, self._later())

    def ever(self, measure: Measure, **fixed: str) -> float:
        breakdown = applicable(tuple(dim for dim in self.breakdown if dim not in fixed), measure)
        family = self.sums.index.family(measure.name, (*breakdown, *fixed))
        kept = [self.breakdown.index(dim) for dim in breakdown]
        rows = dict.fromkeys(tuple(values[i] for i in kept) for values in self.members)
        keys = ((*row, *fixed.values()) for row in rows)
        cells = [family[key] * CODES for key in keys if key in family]
        totals, later = self.sums.sums("all"), self._later()
        return sum(totals.get(cell, 0) - later.get(cell, 0) for cell in cells) / self.scale[measure.unit]

    def _later(self) -> Mapping[int, int]:
        """The sums of what happened after the end of the window."""
        return self.sums.sums(self.window.name) if self.before else {}

    def values(self, measure: Measure, dim: str) -> Iterable[str]:
        return sorted(value for (value,) in self.sums.index.family(measure.name, (dim,)))

    def label(self, dim: str) -> str:
        return self.members[0][self.breakdown.index(dim)] if dim in self.breakdown else ""

    def counts(self, measure: Measure) -> Mapping[int, int]:
        numbers = self.numbers(measure)
        if len(numbers) == 1:
            return self.sums.counts(self.window.name, numbers[0], before=self.before)
        merged: dict[int, int] = {}
        for number in numbers:
            for code, count in self.sums.counts(self.window.name, number, before=self.before).items():
                merged[code] = merged.get(code, 0) + count
        return merged

    def samples(self, measure: Measure) -> Mapping[int, int] | None:
        whole = self.sums.index.family(measure.name, ()).get(())
        merged: Counter[int] = Counter()
        for number in self.numbers(measure):
            assert whole is not None  # every measure has it
            found = self.sums.samples(self.window.name, number, whole)
            if found is None:
                return None
            merged.update(found)
        return merged

    def instants_by(self, measure: Measure, label: str) -> Mapping[str, SortedList[int]]:
        breakdown = applicable(self.breakdown, measure)
        kept = [self.breakdown.index(dim) for dim in breakdown]
        members = {tuple(values[i] for i in kept) for values in self.members}
        found: dict[str, SortedList[int]] = {}
        for values, number in self.sums.index.family(measure.name, (*breakdown, label)).items():
            if values[:-1] in members:
                instants = self.sums.roster(number)
                found[values[-1]] = SortedList([*found[values[-1]], *instants]) if values[-1] in found else instants
        return found

    def instants(self, measure: Measure) -> SortedList[int]:
        numbers = self.numbers(measure)
        if len(numbers) == 1:
            return self.sums.roster(numbers[0])
        return SortedList(i for n in numbers for i in self.sums.roster(n)) if numbers else _EMPTY

    def across(self, label: str) -> Reader:
        kept = [i for i, dim in enumerate(self.breakdown) if dim != label]
        members = dict.fromkeys(tuple(values[i] for i in kept) for values in self.members)
        breakdown = tuple(self.breakdown[i] for i in kept)
        return WindowReader(self.sums, self.scale, self.window, breakdown, tuple(members), self.before)

    def _sum(self, measure: Measure, sums: Mapping[int, int]) -> float:
        total = sum(sums.get(number * CODES, 0) for number in self.numbers(measure))
        return total / self.scale[measure.unit]

    def numbers(self, measure: Measure) -> list[int]:
        """Numbers of the measure's series for the labels at hand, each once."""
        breakdown = applicable(self.breakdown, measure)
        family = self.sums.index.family(measure.name, breakdown)
        if breakdown == self.breakdown:
            return [family[values] for values in self.members if values in family]
        kept = [self.breakdown.index(dim) for dim in breakdown]
        projected = dict.fromkeys(tuple(values[i] for i in kept) for values in self.members)
        return [family[values] for values in projected if values in family]


@dataclass(slots=True)
class StretchReader(WindowReader):
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
