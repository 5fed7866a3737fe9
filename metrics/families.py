"""Metric families: the names, labels and values under which readings appear on ``/metrics`` and in backfills.

``crm_<id>`` is a KPI's value and ``crm_<id>_<stat>`` its other numbers; a breakdown is a family of its own with
``_by_<dims>`` at the end, so that nothing is added up twice. Quotients come with ``_numerator`` and ``_denominator``.
Quantiles share ``crm_<id>_quantile`` with the label ``quantile``; a distribution as a whole is also a gauge histogram.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from metrics.distribution import upper_bound
from metrics.kpi import Kpi, Stat, Unit
from metrics.readings import Reading, View
from metrics.series import Breakdown

BUCKETS = (60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0, 7_776_000.0)
"""Upper bounds of the gauge histograms in seconds: 1 min to 90 days."""

_QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99"}


class Type(enum.StrEnum):
    """The type of a family in the exposition formats."""

    GAUGE = "gauge"
    GAUGE_HISTOGRAM = "gaugehistogram"


@dataclass(frozen=True, slots=True)
class Sample:
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
    samples: list[Sample] = field(default_factory=list)


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
    if kpi.fraction is not None:
        yield from ("numerator", "denominator")


def families(view: View, kpis: Iterable[Kpi] | None = None, windows: frozenset[str] | None = None) -> list[Family]:
    """All families at the view's instant, grouped as the exposition formats want them."""
    found: dict[str, Family] = {}
    for kpi in view.catalogue.kpis if kpis is None else kpis:
        helps = _helps(kpi)
        for reading in view.readings([kpi], windows):
            breakdown = tuple(reading.labels)
            _put(found, kpi, reading.stat, breakdown, helps, reading, reading.value)
            if reading.numerator is not None and reading.denominator is not None:
                _put(found, kpi, "numerator", breakdown, helps, reading, reading.numerator)
                _put(found, kpi, "denominator", breakdown, helps, reading, reading.denominator)
        if kpi.samples is not None:
            _put_histogram(found, kpi, view, windows)
    return list(found.values())


def _helps(kpi: Kpi) -> dict[str, str]:
    helps = {stat.name: _help(kpi, stat) for stat in kpi.stats}
    helps["p50"] = helps["p90"] = helps["p99"] = f"{kpi.title}, quantile in the window, within 1.1 %."
    helps["numerator"] = f"Numerator of {kpi.metric}."
    helps["denominator"] = f"Denominator of {kpi.metric}: how many it speaks of."
    return helps


def _help(kpi: Kpi, stat: Stat) -> str:
    if stat.name == "value":
        return f"{kpi.help} ({kpi.words})"
    return stat.help or f"{kpi.title}, {stat.name} in the window."


def _put(
    found: dict[str, Family],
    kpi: Kpi,
    stat: str,
    breakdown: Breakdown,
    helps: Mapping[str, str],
    reading: Reading,
    value: float,
) -> None:
    name = family_name(kpi, stat, breakdown)
    family = found.get(name)
    if family is None:
        family = found[name] = Family(name, Type.GAUGE, helps[stat])
    labels = {"window": reading.window, **reading.labels}
    if stat in _QUANTILES:
        labels["quantile"] = _QUANTILES[stat]
    family.samples.append(Sample(name, labels, value))


def _put_histogram(found: dict[str, Family], kpi: Kpi, view: View, windows: frozenset[str] | None) -> None:
    assert kpi.samples is not None
    number = view.sums.index.family(kpi.samples.name, ()).get(())
    if number is None:
        return
    name = kpi.metric
    family = found[name] = Family(name, Type.GAUGE_HISTOGRAM, f"{kpi.help} ({kpi.words})")
    for window in kpi.windows:
        if windows is not None and window not in windows:
            continue
        counts = view.sums.counts(window, number)
        total = sum(counts.values())
        for bound in BUCKETS:
            below = sum(n for code, n in counts.items() if upper_bound(code) <= bound)
            family.samples.append(Sample(f"{name}_bucket", {"window": window, "le": _bound(bound)}, below))
        family.samples.append(Sample(f"{name}_bucket", {"window": window, "le": "+Inf"}, total))
        family.samples.append(Sample(f"{name}_gcount", {"window": window}, total))
        milliseconds = view.sums.total(window, number)
        family.samples.append(Sample(f"{name}_gsum", {"window": window}, milliseconds / 1000))


def _bound(bound: float) -> str:
    return repr(bound)


def unit_suffix(unit: Unit) -> str:
    """How a unit reads beside a number for people."""
    return {Unit.SECONDS: "s", Unit.MINUTES: "min", Unit.MONTHS: "months"}.get(unit, "")
