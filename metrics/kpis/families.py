"""Metric families: the names, labels and values under which readings appear on ``/metrics`` and in backfills.

``crm_<id>`` is a KPI's value and ``crm_<id>_<stat>`` its other numbers; a breakdown is a family of its own with
``_by_<dims>`` at the end, so that nothing is added up twice. Quotients come with ``_numerator`` and ``_denominator``
(``crm_close_ratio_cohort_numerator``).
Quantiles share ``crm_<id>_quantile`` with the label ``quantile``; a distribution as a whole is also a gauge histogram.
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from salesgauge.metrics.kpis.formula import Ratio
from salesgauge.metrics.kpis.kpi import Kpi, Stat
from salesgauge.metrics.kpis.readings import Reading, View
from salesgauge.metrics.measures.buckets import MAX_CODE, upper_bound
from salesgauge.metrics.windows.series import Breakdown

BUCKETS = (60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0, 7_776_000.0)
"""Upper bounds of the gauge histograms in seconds: 1 min to 90 days."""

_LAST_CODES = [max(c for c in range(1, MAX_CODE + 1) if upper_bound(c) <= bound) for bound in BUCKETS]
"""The last bucket of a distribution below each bound."""

CONNECTED = "salesgauge_kpi_connected"
"""The family that says of each KPI whether it has the events that it requires."""

_QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99"}


class Type(enum.StrEnum):
    """The type of a family in the exposition formats."""

    GAUGE = "gauge"
    GAUGE_HISTOGRAM = "gaugehistogram"


class MetricSample(NamedTuple):
    """One sample; ``name`` is the family's, with a suffix in a histogram."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(slots=True)
class Family:
    """A metric family with its samples."""

    name: str
    type: Type
    help: str
    samples: list[MetricSample] = field(default_factory=list)


def family_name(kpi: Kpi, stat: str = "value", breakdown: Breakdown = ()) -> str:
    """The family of a stat: ``crm_new_leads_by_source``, ``crm_lead_response_seconds_quantile_by_rep``."""
    suffix = "quantile" if stat in _QUANTILES else stat
    name = kpi.metric if suffix == "value" else f"{kpi.metric}_{suffix}"
    return name + ("_by_" + "_".join(breakdown) if breakdown else "")


def label_names(kpi: Kpi, stat: str = "value", breakdown: Breakdown = ()) -> tuple[str, ...]:
    """The labels of a family."""
    del kpi
    return ("window", *breakdown, *(("quantile",) if stat in _QUANTILES else ()))


def stat_names(kpi: Kpi) -> Iterator[str]:
    """The names of all numbers that a KPI exposes, numerator and denominator included."""
    for stat in kpi.stats:
        yield stat.name
        if isinstance(stat.formula, Ratio):
            yield from _parts(stat.name)


def _parts(stat: str) -> tuple[str, str]:
    """The names of a quotient's numerator and denominator."""
    prefix = "" if stat == "value" else f"{stat}_"
    return f"{prefix}numerator", f"{prefix}denominator"


def families(view: View, kpis: Iterable[Kpi] | None = None, windows: frozenset[str] | None = None) -> list[Family]:
    """All families at the view's instant, grouped as the exposition formats want them."""
    found: dict[str, Family] = {}
    chosen = tuple(view.catalogue.kpis if kpis is None else kpis)
    absent = view.not_connected(chosen)
    for kpi in chosen:
        builder = _FamilyBuilder(kpi, found)
        for reading in view.readings([kpi], windows):
            builder.add(reading)
        if kpi.samples is not None and kpi.id not in absent:
            _put_histogram(found, kpi, view, windows)
    return [*found.values(), _connected(chosen, absent)]


def _connected(kpis: Iterable[Kpi], absent: Collection[str]) -> Family:
    samples = [MetricSample(CONNECTED, {"kpi": kpi.id}, float(kpi.id not in absent)) for kpi in kpis]
    text = "1 where each event that the KPI requires ever came; 0: it has no value for want of them."
    return Family(CONNECTED, Type.GAUGE, text, samples)


class _FamilyBuilder:
    """The families of one KPI: each is looked up by stat and breakdown, and made when it is first needed."""

    def __init__(self, kpi: Kpi, found: dict[str, Family]) -> None:
        self._kpi = kpi
        self._found = found
        self._families: dict[tuple[str, Breakdown], Family] = {}

    def add(self, reading: Reading) -> None:
        """Add the samples of a reading."""
        breakdown = tuple(reading.labels)
        labels = {"window": reading.window, **reading.labels}
        quantile = _QUANTILES.get(reading.stat)
        if quantile is not None:
            labels["quantile"] = quantile
        self._put(reading.stat, breakdown, labels, reading.value)
        if reading.numerator is not None and reading.denominator is not None:
            numerator, denominator = _parts(reading.stat)
            self._put(numerator, breakdown, labels, reading.numerator)
            self._put(denominator, breakdown, labels, reading.denominator)

    def _put(self, stat: str, breakdown: Breakdown, labels: Mapping[str, str], value: float) -> None:
        family = self._families.get((stat, breakdown))
        if family is None:
            family = self._families[stat, breakdown] = self._family(stat, breakdown)
        family.samples.append(MetricSample(family.name, labels, value))

    def _family(self, stat: str, breakdown: Breakdown) -> Family:
        name = family_name(self._kpi, stat, breakdown)
        if name not in self._found:
            self._found[name] = Family(name, Type.GAUGE, _helps(self._kpi)[stat])
        return self._found[name]


def _helps(kpi: Kpi) -> dict[str, str]:
    helps = {stat.name: _help(kpi, stat) for stat in kpi.stats}
    helps["p50"] = helps["p90"] = helps["p99"] = f"{kpi.title}, quantile in the window, within 1.1 %."
    for stat in kpi.stats:
        numerator, denominator = _parts(stat.name)
        helps[numerator] = f"Numerator of {family_name(kpi, stat.name)}."
        helps[denominator] = f"Denominator of {family_name(kpi, stat.name)}: how many it speaks of."
    return helps


def _help(kpi: Kpi, stat: Stat) -> str:
    if stat.name == "value":
        return f"{kpi.help} ({kpi.definition})"
    return stat.help or f"{kpi.title}, {stat.name} in the window."


def _put_histogram(found: dict[str, Family], kpi: Kpi, view: View, windows: frozenset[str] | None) -> None:
    assert kpi.samples is not None
    number = view.sums.index.family(kpi.samples.name, ()).get(())
    if number is None:
        return
    name = kpi.metric
    family = found[name] = Family(name, Type.GAUGE_HISTOGRAM, f"{kpi.help} ({kpi.definition})")
    for window in kpi.windows:
        if windows is not None and window not in windows:
            continue
        counts = view.sums.counts(window, number)
        total = sum(counts.values())
        for bound, below in zip(BUCKETS, _cumulative(counts), strict=False):
            family.samples.append(MetricSample(f"{name}_bucket", {"window": window, "le": _bound(bound)}, below))
        family.samples.append(MetricSample(f"{name}_bucket", {"window": window, "le": "+Inf"}, total))
        family.samples.append(MetricSample(f"{name}_gcount", {"window": window}, total))
        milliseconds = view.sums.total(window, number)
        family.samples.append(MetricSample(f"{name}_gsum", {"window": window}, milliseconds / 1000))


def _cumulative(counts: Mapping[int, int]) -> Iterator[int]:
    """How many lie at or below each of the bounds."""
    slots = [0] * (len(BUCKETS) + 1)
    for code, count in counts.items():
        slots[bisect.bisect_left(_LAST_CODES, code)] += count
    return accumulate(slots)


def _bound(bound: float) -> str:
    return repr(bound)
