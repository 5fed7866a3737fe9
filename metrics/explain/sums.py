"""The sums of some contributions, as a formula asks for them; they merge over entities and over partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
from sortedcontainers import SortedList

from salesgauge.metrics.entities.contributions import Row
from salesgauge.metrics.explain.question import Scope
from salesgauge.metrics.measures.buckets import code_of
from salesgauge.metrics.measures.registry import Kind, Measure
from salesgauge.metrics.rules.model import HOUR, Rules
from salesgauge.metrics.shard.leaves import CODES
from salesgauge.metrics.shard.samples import kept_value
from salesgauge.metrics.windows.series import Series, SeriesIndex
from salesgauge.metrics.windows.sums import MOST_SAMPLES

_MS = timedelta(milliseconds=1)


class SeriesSums(msgspec.Struct, frozen=True, array_like=True):
    """The sums of one series: in the window, in the one before, of all time.

    Of a distribution also its buckets and exact samples in the window; of a roster its instants.
    """

    series: Series
    inside: int = 0
    before: int = 0
    ever: int = 0
    buckets: dict[int, int] = {}
    samples: dict[int, int] = {}
    instants: dict[int, int] = {}


@dataclass(slots=True)
class ContributionSums:
    """Sums by series within a scope, up to its instant. ``values`` are the samples of distributions in the window."""

    scope: Scope
    values: dict[int, Counter[int]] = field(default_factory=dict)
    _inside: Counter[int] = field(default_factory=Counter)
    _before: Counter[int] = field(default_factory=Counter)
    _ever: Counter[int] = field(default_factory=Counter)
    _buckets: dict[int, Counter[int]] = field(default_factory=dict)
    _samples: dict[int, Counter[int]] = field(default_factory=dict)
    _instants: dict[int, Counter[int]] = field(default_factory=dict)

    def add(self, rows: Iterable[Row]) -> None:
        """Add contributions; what does not matter to the scope is passed over."""
        for measure, labels, at, value, amount in rows:
            if measure not in self.scope.measures:
                continue
            numbers = self.scope.numbers(measure, labels)
            if measure.kind is Kind.ROSTER:
                for number in numbers:
                    self._instants.setdefault(number, Counter())[at] += amount
            elif at <= self.now:
                for number in numbers:
                    self._add(measure, number, at, value, amount)

    def _add(self, measure: Measure, number: int, at: int, value: int, amount: int) -> None:
        distribution = measure.kind is Kind.DISTRIBUTION
        cell, added = number * CODES, value * amount if distribution else amount
        self._ever[cell] += added
        if self.scope.before[0] <= at < self.scope.before[1]:
            self._before[cell] += added
        if not self.scope.inside[0] <= at < self.scope.inside[1]:
            return
        self._inside[cell] += added
        if distribution:
            self.values.setdefault(number, Counter())[value] += amount
            self._buckets.setdefault(number, Counter())[code_of(value)] += amount
            if measure.exact and at // HOUR >= self._first_sample:
                self._samples.setdefault(number, Counter())[kept_value(value)] += amount

    @property
    def _first_sample(self) -> int:
        """The first hour of which the engine keeps exact samples."""
        return (self.now - self.rules.coarse_retention // _MS) // HOUR

    def export(self) -> list[SeriesSums]:
        """Everything but the values, by the names of the series."""
        numbers = {cell // CODES for cell in self._ever} | self._instants.keys()
        return [
            SeriesSums(
                self.index.series[number],
                self._inside[number * CODES],
                self._before[number * CODES],
                self._ever[number * CODES],
                self._buckets.get(number, {}),
                self._samples.get(number, {}),
                self._instants.get(number, {}),
            )
            for number in sorted(numbers)
        ]

    def merge(self, exported: Iterable[SeriesSums]) -> None:
        """Add what others have summed up."""
        for sums in exported:
            number = self.index.id_of(sums.series)
            self._inside[number * CODES] += sums.inside
            self._before[number * CODES] += sums.before
            self._ever[number * CODES] += sums.ever
            self._merge_counts(self._buckets, {number: sums.buckets})
            self._merge_counts(self._samples, {number: sums.samples})
            self._merge_counts(self._instants, {number: sums.instants})
            self._forget_samples(number)

    def absorb(self, other: ContributionSums) -> None:
        """Add other sums of the same scope, without their values."""
        for mine, theirs in (
            (self._inside, other._inside),
            (self._before, other._before),
            (self._ever, other._ever),
        ):
            for cell, amount in theirs.items():
                mine[cell] += amount
        self._merge_counts(self._buckets, other._buckets)
        self._merge_counts(self._samples, other._samples)
        self._merge_counts(self._instants, other._instants)
        for number in other._samples:
            self._forget_samples(number)

    @staticmethod
    def _merge_counts(mine: dict[int, Counter[int]], theirs: Mapping[int, Mapping[int, int]]) -> None:
        for number, counts in theirs.items():
            if counts:
                known = mine.setdefault(number, Counter())
                for value, count in counts.items():
                    known[value] += count

    def _forget_samples(self, number: int) -> None:
        """Hold no more samples than the engine reads: beyond them it uses the buckets of all."""
        if len(self._samples.get(number, ())) > MOST_SAMPLES and self._too_many(number):
            del self._samples[number]

    def _too_many(self, number: int) -> bool:
        return self._buckets[number].total() > MOST_SAMPLES

    # --- Sums --------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return self.scope.question.at

    @property
    def rules(self) -> Rules:
        return self.scope.rules

    @property
    def index(self) -> SeriesIndex:
        return self.scope.index

    def sums(self, window: str, *, before: bool = False) -> Mapping[int, int]:
        if before:
            return self._before
        return self._inside if window == self.scope.window.name else self._ever

    def counts(self, window: str, number: int, *, before: bool = False) -> Mapping[int, int]:
        del window, before  # no formula asks for the distribution of the window before
        return self._buckets.get(number, {})

    def samples(self, window: str, number: int, whole: int) -> Mapping[int, int] | None:
        del window
        if whole in self._buckets and self._too_many(whole):
            return None
        found: Counter[int] = self._samples.get(number, Counter())
        return found if found.total() == self._buckets.get(number, Counter()).total() else None

    def roster(self, number: int) -> SortedList[int]:
        return SortedList((+self._instants.get(number, Counter())).elements())

    def first_instant(self) -> int:
        return self.now  # no formula asks how long all time is
