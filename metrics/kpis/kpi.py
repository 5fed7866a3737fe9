"""What a KPI is: one entry of the catalogue, from which gauge, rule, panel and documentation are made."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from salesgauge.metrics.kpis.formula import Count as SampleCount
from salesgauge.metrics.kpis.formula import Expr, Mean, Now, Quantile, Ratio
from salesgauge.metrics.kpis.formula import In as SampleSum
from salesgauge.metrics.measures.registry import Measure
from salesgauge.metrics.windows.series import Breakdown
from salesgauge.metrics.windows.sums import WINDOWS

ROLLING = ("1h", "24h", "7d", "30d", "90d", "365d")
TO_DATE = ("today", "mtd", "qtd")
EVERY = tuple(WINDOWS)
LONG = ("7d", "30d", "90d", "365d")
GROWTH = ("24h", *LONG)
NOW = ("all",)
"""The one window of a KPI that says what is so at ``t``."""


class Unit(enum.StrEnum):
    """The base unit of a reading; `MONEY` is the reporting currency's major unit."""

    COUNT = "count"
    RATIO = "ratio"
    SECONDS = "seconds"
    MONEY = "money"
    POINTS = "points"
    MINUTES = "minutes"
    MONTHS = "months"


class Direction(enum.StrEnum):
    """Which way is good."""

    UP = "up"
    DOWN = "down"
    NEUTRAL = "neutral"


class Form(enum.StrEnum):
    """What a window selects.

    ``COHORT``: the leads that entered in it, and what has become of them by its end. ``PERIOD``: what happened in it.
    ``STOCK``: what is so at its end (and was so at its start).
    """

    COHORT = "cohort"
    PERIOD = "period"
    STOCK = "stock"


class Role(enum.StrEnum):
    """For whom, in the order of the catalogue."""

    SALES_MANAGER = "Sales manager"
    BUSINESS_DEVELOPMENT = "Business development representative"
    ACCOUNT_MANAGER = "Account manager"
    SALES_DEVELOPMENT = "Sales development representative"
    MARKETING = "Sales and marketing"
    STARTER = "Starter template"


@dataclass(frozen=True)
class Stat:
    """One number of a KPI: its name (``value`` for the main one), formula and unit."""

    name: str
    formula: Expr
    unit: Unit
    help: str = ""


def age(leads: Measure, entered: Measure) -> Stat:
    """The age at which a cohort is read: how long ago its ``leads`` entered, ``entered`` being the sum of when."""
    formula = Now() - SampleSum(entered) / SampleSum(leads)
    return Stat(
        "age_seconds", formula, Unit.SECONDS, "Mean time since they entered the cohort: the young may ripen yet."
    )


@dataclass(frozen=True, kw_only=True)
class Kpi:
    """A catalogue entry.

    Args:
        id: its name; on ``/metrics`` it is ``crm_<id>``.
        formula: of the value; or ``samples``, the distribution whose mean, quantiles, count and sum are shown.
        beside: further numbers under names of their own, ``crm_<id>_<name>``.
        breakdowns: combinations of dimensions; each is a metric family of its own.
        whole: whether the value without a breakdown means something.
        events: the events it needs.
        traps: what a reader has to know to not be misled.
    """

    id: str
    title: str
    help: str
    unit: Unit
    role: Role
    form: Form
    words: str
    events: tuple[str, ...]
    formula: Expr | None = None
    samples: Measure | None = None
    beside: tuple[Stat, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    windows: tuple[str, ...] = EVERY
    direction: Direction = Direction.UP
    whole: bool = True
    traps: str = ""
    number: int | None = None

    @property
    def stats(self) -> tuple[Stat, ...]:
        """All numbers of the KPI, the main ones first."""
        return (*self._main, *self.beside)

    @property
    def metric(self) -> str:
        """The name of its metric family on ``/metrics``."""
        return f"crm_{self.id}"

    @property
    def _main(self) -> tuple[Stat, ...]:
        if self.samples is None:
            assert self.formula is not None, self.id
            return (Stat("value", self.formula, self.unit),)
        s = self.samples
        return (
            Stat("mean", Mean(s), self.unit),
            Stat("p50", Quantile(s, 0.5), self.unit),
            Stat("p90", Quantile(s, 0.9), self.unit),
            Stat("p99", Quantile(s, 0.99), self.unit),
            Stat("count", SampleCount(s), Unit.COUNT),
            Stat("sum", SampleSum(s), self.unit),
        )

    @property
    def fraction(self) -> tuple[Expr, Expr] | None:
        """Numerator and denominator of the value, where it is a quotient."""
        return (self.formula.left, self.formula.right) if isinstance(self.formula, Ratio) else None

    def measures(self) -> Iterator[Measure]:
        """The measures it is made of, each once."""
        seen: dict[Measure, None] = {}
        for stat in self.stats:
            seen.update(dict.fromkeys(stat.formula.measures()))
            seen.update((measure, None) for measure, _ in stat.formula.measures_across())
        yield from seen


@cache
def applicable(breakdown: Breakdown, measure: Measure) -> Breakdown:
    """The part of a breakdown that a measure has: one without a dimension counts as a whole there."""
    return tuple(dim for dim in breakdown if dim in measure.dims)


@dataclass(frozen=True)
class Catalogue:
    """The KPIs, and what must be kept for them."""

    kpis: tuple[Kpi, ...]
    by_id: Mapping[str, Kpi] = field(init=False)

    def __post_init__(self) -> None:
        ids = [kpi.id for kpi in self.kpis]
        repeated = {i for i in ids if ids.count(i) > 1}
        if repeated:
            raise ValueError(f"KPI ids must be unique: {sorted(repeated)}")
        object.__setattr__(self, "by_id", {kpi.id: kpi for kpi in self.kpis})

    def plan(self) -> dict[str, tuple[Breakdown, ...]]:
        """Measure name -> the breakdowns to keep of it."""
        wanted: dict[str, dict[Breakdown, None]] = {}
        for kpi in self.kpis:
            for breakdown in ((), *kpi.breakdowns):
                for stat in kpi.stats:
                    for measure in stat.formula.measures():
                        wanted.setdefault(measure.name, {(): None})[applicable(breakdown, measure)] = None
                    for measure, label in stat.formula.measures_across():
                        others = tuple(dim for dim in breakdown if dim != label)
                        wanted.setdefault(measure.name, {(): None})[applicable(others, measure)] = None
        return {name: tuple(breakdowns) for name, breakdowns in wanted.items()}

    def windows_before(self) -> list[str]:
        """The windows whose preceding window some KPI needs."""
        names = {w for kpi in self.kpis for stat in kpi.stats if stat.formula.needs_before() for w in kpi.windows}
        return [name for name in WINDOWS if name in names]

    def select(self, ids: Iterable[str]) -> list[Kpi]:
        """KPIs by id.

        Raises:
            KeyError: there is no such KPI.
        """
        return [self.by_id[i] for i in ids]


__all__ = [
    "EVERY",
    "GROWTH",
    "LONG",
    "NOW",
    "ROLLING",
    "TO_DATE",
    "Catalogue",
    "Direction",
    "Form",
    "Kpi",
    "Role",
    "Stat",
    "Unit",
    "age",
    "applicable",
]
