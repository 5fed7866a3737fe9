"""Readings: the catalogue evaluated at an instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from salesgauge.metrics.kpis.formula import Ratio
from salesgauge.metrics.kpis.kpi import Catalogue, Kpi, Stat, applicable
from salesgauge.metrics.kpis.reader import StretchReader, Values, WindowReader, scale
from salesgauge.metrics.measures.registry import EVENTS_SEEN, Kind, Measure, MeasureUnit
from salesgauge.metrics.rules.model import HOUR
from salesgauge.metrics.rules.windows import WINDOWS
from salesgauge.metrics.shard.pane_store import Cells
from salesgauge.metrics.shard.panes import Resolution
from salesgauge.metrics.windows.series import Breakdown
from salesgauge.metrics.windows.sums import WindowSums

OTHER = "other"
"""The label value that the smaller ones beyond the ceiling are folded into."""

_FINE_SPAN = 6 * HOUR
"""Courses no longer than this are read from panes of a minute."""


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
class LabelGroup:
    """Label values shown under one name: one combination, or all that were folded into ``other``."""

    shown: Values
    members: tuple[Values, ...]


@dataclass(slots=True)
class View:
    """The catalogue over the sums of the windows: what `/metrics`, the page, replay and tests all read.

    ``folded`` counts, per KPI and breakdown, the label combinations that went into ``other`` at the last reading.
    """

    catalogue: Catalogue
    sums: WindowSums
    scale: dict[MeasureUnit, int] = field(init=False)
    folded: dict[tuple[str, Breakdown], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scale = scale(self.sums.rules)

    def seen(self) -> frozenset[str]:
        """The kinds of events that ever came by the view's instant, and those of which none means zero by the rules."""
        family = self.sums.index.family(EVENTS_SEEN.name, ("event",))
        came = (name for (name,), number in family.items() if self.sums.total("all", number))
        return self.sums.rules.zero_is_real.union(came)

    def missing(self, kpi: Kpi, stat: Stat | None = None) -> tuple[str, ...]:
        """The events that a KPI, or one of its numbers, requires and that never came, as `Kpi.missing` has them."""
        return kpi.missing(self.seen(), stat)

    def not_connected(self, kpis: Iterable[Kpi] | None = None) -> dict[str, tuple[str, ...]]:
        """The ids of the KPIs that have no value for want of events, with what :meth:`missing` says of them."""
        seen = self.seen()
        found = ((kpi.id, kpi.missing(seen)) for kpi in (self.catalogue.kpis if kpis is None else kpis))
        return {kpi: missing for kpi, missing in found if missing}

    def readings(self, kpis: Iterable[Kpi] | None = None, windows: frozenset[str] | None = None) -> Iterator[Reading]:
        """All readings at the instant to which the sums were advanced; what has no value is left out."""
        seen = self.seen()
        for kpi in self.catalogue.kpis if kpis is None else kpis:
            stats = kpi.connected(seen)
            for breakdown in self.breakdowns(kpi) if stats else ():
                for group in self.groups(kpi, breakdown):
                    for name in kpi.windows:
                        if windows is None or name in windows:
                            yield from self._read(kpi, stats, name, breakdown, group)

    def readings_of(self, kpi: Kpi, breakdown: Breakdown, group: LabelGroup, window: str) -> Iterator[Reading]:
        """The readings of one group of a breakdown, as `groups` tells them, in one window."""
        return self._read(kpi, kpi.connected(self.seen()), window, breakdown, group)

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
        known = {stat.name for stat in kpi.connected(self.seen())}
        breakdown, members = self._members(kpi, labels)
        reader = self._reader(window, breakdown, members, before=before)
        found = ((stat.name, _reading(kpi, stat, labels, reader)) for stat in stats if stat.name in known)
        return {name: reading for name, reading in found if reading is not None}

    def samples(self, kpi: Kpi, window: str, labels: Mapping[str, str]) -> Mapping[int, int]:
        """Bucket code -> count of a KPI's distribution in a window; labels as in `read`."""
        assert kpi.samples is not None, kpi.id
        if self.missing(kpi):
            return {}
        breakdown, members = self._members(kpi, labels)
        return self._reader(window, breakdown, members).counts(kpi.samples)

    def course(self, kpi: Kpi, edges: Sequence[int], labels: Mapping[str, str]) -> list[Reading | None]:
        """The headline in each stretch between instants; None where it has no value there.

        What is so at the end of a stretch is what is so now, less what has changed since. Reads one pane after the
        other: for one KPI that somebody looks at, not for each refresh.

        Args:
            kpi: its headline has no terms of `Before`, `Across`, `Compared`, currencies or rosters.
            edges: in ms, rising, the last one the present; on the boundaries of panes, or rounded up to them.
            labels: as in `read`.
        """
        if self.missing(kpi):
            return [None] * (len(edges) - 1)
        breakdown, members = self._members(kpi, labels)
        numbers = {
            number
            for measure in kpi.headline.formula.measures()
            for number in self._reader("all", breakdown, members).numbers(measure)
        }
        fine = edges[-1] - edges[0] <= _FINE_SPAN
        stretches = self.sums.between(edges, numbers, Resolution.FINE if fine else Resolution.COARSE)
        later: Cells = {}
        found: list[Reading | None] = []
        for start, end, cells in reversed(list(zip(edges, edges[1:], stretches, strict=False))):
            reader = StretchReader(
                self.sums, self.scale, WINDOWS["all"], breakdown, members,
                first=start, last=end, cells=cells, later=dict(later),
            )  # fmt: skip
            found.append(_reading(kpi, kpi.headline, labels, reader))
            for cell, amount in cells.items():
                later[cell] = later.get(cell, 0) + amount
        return found[::-1]

    def members(self, kpi: Kpi, labels: Mapping[str, str]) -> tuple[Breakdown, tuple[Values, ...]]:
        """The series that are added up for labels as they are shown: ``other`` is all that were folded into it."""
        breakdown, values = tuple(labels), tuple(labels.values())
        if breakdown in kpi.breakdowns and set(values) == {OTHER}:
            shown = {group.shown: group.members for group in self.groups(kpi, breakdown)}
            return breakdown, shown.get(values, (values,))
        return self._members(kpi, labels)

    def _members(self, kpi: Kpi, labels: Mapping[str, str]) -> tuple[Breakdown, tuple[Values, ...]]:
        """The series that hold a combination of labels; a team is its reps where only these are known."""
        breakdown = tuple(labels)
        if breakdown == ("team",) and not kpi.narrows_to(("team",)):
            return ("rep",), tuple((rep,) for rep in self.sums.index.reps_of(labels["team"]))
        return breakdown, (tuple(labels.values()),)

    def _reader(
        self, window: str, breakdown: Breakdown, members: tuple[Values, ...], *, before: bool = False
    ) -> WindowReader:
        return WindowReader(self.sums, self.scale, WINDOWS[window], breakdown, members, before)

    @staticmethod
    def breakdowns(kpi: Kpi) -> tuple[Breakdown, ...]:
        """The breakdowns in which a KPI is read, the whole first."""
        return ((), *kpi.breakdowns) if kpi.whole else kpi.breakdowns

    def groups(self, kpi: Kpi, breakdown: Breakdown) -> list[LabelGroup]:
        """The label values that something is known of; beyond the ceiling the smaller are one group named ``other``.

        Size is what the KPI's measures count of all time and ties are broken by name, so the choice is a function of
        the set of events.
        """
        if not breakdown:
            return [LabelGroup((), ((),))]
        if kpi.values:
            return [LabelGroup((value,), ((value,),)) for value in kpi.values]
        weights = self._weights(kpi, breakdown)
        ceiling = self.sums.rules.label_ceiling
        self.folded.pop((kpi.id, breakdown), None)
        if len(weights) <= ceiling:
            return [LabelGroup(values, (values,)) for values in sorted(weights)]
        ranked = sorted(weights, key=lambda values: (-weights[values], values))
        other, large = (OTHER,) * len(breakdown), ranked[:ceiling]
        kept = sorted(values for values in large if values != other)
        rest = (*ranked[ceiling:], *(values for values in large if values == other))
        self.folded[kpi.id, breakdown] = len(rest)
        return [*(LabelGroup(values, (values,)) for values in kept), LabelGroup(other, rest)]

    def _weights(self, kpi: Kpi, breakdown: Breakdown) -> dict[Values, int]:
        weights: dict[Values, int] = {}
        for measure in kpi.measures():
            if applicable(breakdown, measure) != breakdown or measure.unit is MeasureUnit.INSTANT:
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

    def _read(
        self, kpi: Kpi, stats: Iterable[Stat], window: str, breakdown: Breakdown, group: LabelGroup
    ) -> Iterator[Reading]:
        labels = dict(zip(breakdown, group.shown, strict=True))
        reader = self._reader(window, breakdown, group.members)
        for stat in stats:
            reading = _reading(kpi, stat, labels, reader)
            if reading is not None:
                yield reading


def _reading(kpi: Kpi, stat: Stat, labels: Mapping[str, str], reader: WindowReader) -> Reading | None:
    if isinstance(stat.formula, Ratio):
        parts = stat.formula.parts(reader)
        value = None if parts is None else parts[0] / parts[1]
        return None if value is None else Reading(kpi.id, reader.window.name, labels, value, stat.name, *(parts or ()))
    value = stat.formula.evaluate(reader)
    return None if value is None else Reading(kpi.id, reader.window.name, labels, value, stat.name)
