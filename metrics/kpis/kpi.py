"""What a KPI is: one entry of the catalogue, from which gauge, rule, panel and documentation are made."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, assert_never

from salesgauge.metrics.entities.facts import EVENT_NAMES, Merge
from salesgauge.metrics.kpis.formula import Count as SampleCount
from salesgauge.metrics.kpis.formula import Expr, Mean, Now, Quantile, Ratio
from salesgauge.metrics.kpis.formula import In as SampleSum
from salesgauge.metrics.measures.registry import EVENTS_SEEN, MEASURES, Measure
from salesgauge.metrics.rules.windows import COMPARED, WINDOWS
from salesgauge.metrics.windows.series import Breakdown
from salesgauge.schemas.events import EVENTS

ROLLING = ("1h", "24h", "7d", "30d", "90d", "365d")
SCOPES = ("team", "rep", "source")
"""Dimensions that people narrow a whole board to."""
TO_DATE = ("today", "mtd", "qtd")
EVERY = tuple(WINDOWS)
LONG = ("7d", "30d", "90d", "365d")
LONGEST = ("90d", "365d")
GROWTH = ("24h", *LONG)
NOW = ("all",)
"""The one window of a KPI that says what is so at ``t``."""


class CatalogueError(ValueError):
    """A catalogue entry that cannot be used; the message names the KPI and says what to write."""


class Unit(enum.StrEnum):
    """The base unit of a reading; `MONEY` is the reporting currency's major unit.

    `SHARE` is a part of a whole or a growth, and is written in per cent. `QUOTIENT` is a number of one thing per one of
    another, such as touches per deal, and is written as it is, with what it is per.
    """

    COUNT = "count"
    SHARE = "share"
    QUOTIENT = "quotient"
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

    ``COHORT``: what entered in it, and what has become of it by its end. ``RETENTION``: the customers at its start, and
    what has become of them by its end. ``PERIOD``: what happened in it. ``STOCK``: what is so at its end (and was so at
    its start).
    """

    COHORT = "cohort"
    RETENTION = "retention"
    PERIOD = "period"
    STOCK = "stock"


class Dashboard(enum.StrEnum):
    """The dashboards of Grafana that KPIs are drawn on."""

    SPEED_TO_LEAD = "speed-to-lead"
    SALES_MANAGER = "sales-manager"
    PIPELINE = "pipeline"
    BUSINESS_DEVELOPMENT = "business-development"
    ACCOUNT_MANAGEMENT = "account-management"
    MARKETING = "marketing"


class Role(enum.StrEnum):
    """For whom, in the order of the catalogue."""

    SALES_MANAGER = "Sales manager"
    BUSINESS_DEVELOPMENT = "Business development representative"
    ACCOUNT_MANAGER = "Account manager"
    SALES_DEVELOPMENT = "Sales development representative"
    MARKETING = "Sales and marketing"
    STARTER = "Starter template"

    @property
    def dashboard(self) -> Dashboard:
        """The dashboard of the role's KPIs that name no other."""
        match self:
            case Role.SALES_MANAGER | Role.STARTER:
                return Dashboard.SALES_MANAGER
            case Role.BUSINESS_DEVELOPMENT | Role.SALES_DEVELOPMENT:
                return Dashboard.BUSINESS_DEVELOPMENT
            case Role.ACCOUNT_MANAGER:
                return Dashboard.ACCOUNT_MANAGEMENT
            case Role.MARKETING:
                return Dashboard.MARKETING
            case _:
                assert_never(self)


class Place(enum.StrEnum):
    """Where a KPI is shown besides its card and its dashboard's panels."""

    STRIP = "strip"
    """The figures under the leads waiting, on the built-in board."""
    TERMINAL = "terminal"
    """The table of ``salesgauge demo``."""
    GLANCE = "glance"
    """The first row of its dashboard."""
    SCORECARD = "scorecard"
    """The rep's numbers on the dashboard of one rep."""
    LEAGUE = "league"
    """The table of all reps."""
    COURSE = "course"
    """The rep's numbers over time."""
    FUNNEL = "funnel"
    """The steps from lead to deal."""


class Shown(NamedTuple):
    """A KPI's position in a place: the lower rank first; of the same rank, in the catalogue's order.

    ``stat`` is the number shown (empty: the main one); ``title`` replaces the KPI's title there.
    """

    place: Place
    rank: int
    title: str = ""
    stat: str = ""


@dataclass(frozen=True)
class Stat:
    """One number of a KPI.

    Args:
        name: ``value`` for the main one.
        formula: in base units of ``unit``.
        unit: its base unit.
        help: one sentence.
        label: for people, beside the KPI's title; without it the name is used.
        per: what one unit of a `Unit.QUOTIENT` is per: ``per customer``, ``won per lost``.
        requires: the events without which it has no value, where these are not the KPI's.
    """

    name: str
    formula: Expr
    unit: Unit
    help: str = ""
    label: str = ""
    per: str = ""
    requires: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The label, or the name in words."""
        return self.label or self.name.replace("_", " ")


def age(members: Measure, entered: Measure, term: Callable[[Measure], Expr] = SampleSum) -> Stat:
    """The age at which a cohort is read: how long ago its members entered, ``entered`` being the sum of when."""
    formula = Now() - term(entered) / term(members)
    text = "Mean time since they entered the cohort: the young may ripen yet."
    return Stat("age_seconds", formula, Unit.SECONDS, text, label="mean age of the cohort")


@dataclass(frozen=True, kw_only=True)
class Kpi:
    """A catalogue entry: all that is said of a KPI, for engine, board, dashboards, alerts, terminal and reference.

    Args:
        id: its name; on ``/metrics`` it is ``crm_<id>``.
        title: for people.
        help: what it says, in one or two sentences.
        unit: the base unit of its value.
        role: for whom it is.
        form: what a window selects.
        definition: its formula in words; ``W`` is the window, ``t`` its end.
        requires: the events without which it is not connected; ``a|b``: one of the two is enough.
        affected_by: further events that change it.
        formula: of the value; or ``samples``, the distribution whose mean, quantiles, count and sum are shown.
        per: what one unit of the value is per, if `unit` is `Unit.QUOTIENT`.
        empty: why it can be without a value, as the beginning of a sentence: ``No demo held``. What follows, such as
            ``in the last 24 hours``, is added where the reason speaks of the window.
        secondary: further numbers under names of their own, ``crm_<id>_<name>``.
        breakdowns: combinations of dimensions; each is a metric family of its own.
        values: the values of its one breakdown, where they are fixed: each is shown, in this order.
        windows: in which it is read; `NOW` for what is so at ``t``.
        direction: which way is good.
        whole: whether the value without a breakdown means something.
        trend: whether its course over time says something.
        decimals: digits after the point; None: as is usual for the unit.
        caveats: what a reader has to know to not be misled.
        dashboard: where Grafana draws it; None: on the dashboard of its role.
        shown: further places in which it is shown.
        number: in the list of KPIs that the catalogue was made from.

    Raises:
        CatalogueError: something is missing, unknown or contradicts itself.
    """

    id: str
    title: str
    help: str
    unit: Unit
    role: Role
    form: Form
    definition: str
    requires: tuple[str, ...]
    affected_by: tuple[str, ...] = ()
    formula: Expr | None = None
    samples: Measure | None = None
    per: str = ""
    empty: str = ""
    secondary: tuple[Stat, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    values: tuple[str, ...] = ()
    windows: tuple[str, ...] = EVERY
    direction: Direction = Direction.UP
    whole: bool = True
    trend: bool = True
    decimals: int | None = None
    caveats: str = ""
    dashboard: Dashboard | None = None
    shown: tuple[Shown, ...] = ()
    number: int | None = None

    def __post_init__(self) -> None:
        """Refuse an entry that would be shown wrongly."""
        for true, sentence in _mistakes(self):
            if true:
                raise CatalogueError(f"KPI {self.id}: {sentence}")

    @property
    def stats(self) -> tuple[Stat, ...]:
        """All numbers of the KPI, the main ones first."""
        return (*self._main, *self.secondary)

    @property
    def metric(self) -> str:
        """The name of its metric family on ``/metrics``."""
        return f"crm_{self.id}"

    @property
    def _main(self) -> tuple[Stat, ...]:
        if self.samples is None:
            assert self.formula is not None, self.id
            return (Stat("value", self.formula, self.unit, per=self.per),)
        s = self.samples
        return (
            Stat("mean", Mean(s), self.unit),
            Stat("p50", Quantile(s, 0.5), self.unit, label="median"),
            Stat("p90", Quantile(s, 0.9), self.unit),
            Stat("p99", Quantile(s, 0.99), self.unit),
            Stat("count", SampleCount(s), Unit.COUNT),
            Stat("sum", SampleSum(s), self.unit),
        )

    @property
    def headline(self) -> Stat:
        """The number that stands for the KPI: the value, or the median of a distribution."""
        return next(stat for stat in self.stats if stat.name == ("value" if self.samples is None else "p50"))

    def stat(self, name: str) -> Stat:
        """One of its numbers.

        Raises:
            KeyError: it has none of that name.
        """
        found = next((stat for stat in self.stats if stat.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    @property
    def events(self) -> tuple[str, ...]:
        """The names of all events that change it."""
        groups = (*self.requires, *(group for stat in self.secondary for group in stat.requires))
        names = (name for group in groups for name in group.split("|"))
        return tuple(dict.fromkeys((*names, *self.affected_by)))

    def narrows_to(self, dims: Breakdown) -> bool:
        """Whether its headline can be read for one rep, team or source alone: all of its measures have the dimension.

        A breakdown of the entry is taken as it is, though a measure without the dimension counts as a whole in it.
        """
        known = [*self.headline.formula.measures(), *(m for m, _ in self.headline.formula.measures_across())]
        alone = len(dims) == 1 and all(dims[0] in measure.dims for measure in known)
        return not dims or dims in self.breakdowns or (alone and self.whole)

    def missing(self, seen: Collection[str], stat: Stat | None = None) -> tuple[str, ...]:
        """The required events of which none was ever ``seen``, for the KPI or one of its numbers.

        Where there are some, the KPI is not connected, or the number has no value.
        """
        groups = (stat and stat.requires) or self.requires
        return tuple(group for group in groups if not any(name in seen for name in group.split("|")))

    def connected(self, seen: Collection[str]) -> tuple[Stat, ...]:
        """Its numbers of which all required events were ever ``seen``; the others have no value."""
        return tuple(stat for stat in self.stats if not self.missing(seen, stat))

    @property
    def drawn_on(self) -> Dashboard:
        """The dashboard on which Grafana draws it."""
        return self.dashboard or self.role.dashboard

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


_MERGES = {name for fact, name in EVENT_NAMES.items() if issubclass(fact, Merge)}
_ID = re.compile(r"[a-z][a-z0-9_]*")


def _mistakes(kpi: Kpi) -> Iterator[tuple[bool, str]]:
    """What could be wrong with an entry: whether it is, and a sentence that says what to do."""
    yield not _ID.fullmatch(kpi.id), "`id` consists of small letters, digits and underscores"
    yield (kpi.formula is None) is (kpi.samples is None), "give one of `formula` and `samples`"
    unknown = [window for window in kpi.windows if window not in WINDOWS]
    yield bool(unknown), f"`windows` has {unknown}; the windows are {', '.join(WINDOWS)}"
    yield not kpi.requires, "name in `requires` the events without which it is not connected"
    strange = [name for name in kpi.events if name not in EVENTS]
    yield bool(strange), f"there is no event {strange}; the events are {', '.join(EVENTS)}"
    merges = [name for group in kpi.requires for name in group.split("|") if name in _MERGES]
    yield bool(merges), f"{merges} cannot be required: a merge corrects, name it in `affected_by`"
    for stat in kpi.stats:
        yield from _stat_mistakes(stat)
    empty = kpi.headline.formula.can_be_empty()
    yield empty and not kpi.empty, "it can be without a value: say why in `empty`, such as 'No demo held'"
    yield not empty and bool(kpi.empty), "it always has a value: leave `empty` out"
    dims = {dim for measure in kpi.measures() for dim in measure.dims}
    without = [dim for breakdown in kpi.breakdowns for dim in breakdown if dim not in dims]
    yield bool(without), f"none of its measures has the dimension {without} of `breakdowns`"
    yield bool(kpi.values) and [len(b) for b in kpi.breakdowns] != [1], "`values` belongs to a single breakdown by one"
    yield not kpi.whole and not kpi.breakdowns, "without `breakdowns` and without a whole it has no number at all"
    names = {stat.name for stat in kpi.stats}
    wrong = [shown.stat for shown in kpi.shown if shown.stat and shown.stat not in names]
    yield bool(wrong), f"`shown` names {wrong}; its numbers are {', '.join(sorted(names))}"


def _stat_mistakes(stat: Stat) -> Iterator[tuple[bool, str]]:
    where = "" if stat.name == "value" else f" of {stat.name}"
    quotient = stat.unit is Unit.QUOTIENT
    yield quotient and not stat.per, f"the unit{where} is a quotient: say in `per` what it is per, such as 'per demo'"
    yield not quotient and bool(stat.per), f"`per`{where} belongs to a unit of Unit.QUOTIENT"


def never_came(missing: Iterable[str]) -> str:
    """``no deal_won or subscription_changed, no deal_lost``: what `Kpi.missing` says, in words."""
    return ", ".join(f"no {' or '.join(group.split('|'))}" for group in missing)


@cache
def applicable(breakdown: Breakdown, measure: Measure) -> Breakdown:
    """The part of a breakdown that a measure has: one without a dimension counts as a whole there."""
    return tuple(dim for dim in breakdown if dim in measure.dims)


def families_of(formula: Expr, breakdown: Breakdown) -> Iterator[tuple[str, Breakdown]]:
    """The measures (by name) and the breakdowns of them that a formula reads for one breakdown of its own."""
    for measure in formula.measures():
        yield measure.name, applicable(breakdown, measure)
    for measure, label in formula.measures_within():
        yield measure.name, applicable((*breakdown, label), measure)
    for measure, dims in formula.measures_under():
        others = tuple(dim for dim in breakdown if dim not in dims)
        yield measure.name, (*applicable(others, measure), *dims)
    for measure, label in formula.measures_across():
        others = tuple(dim for dim in breakdown if dim != label)
        yield measure.name, applicable(others, measure)


@dataclass(frozen=True)
class Catalogue:
    """The KPIs, and what must be kept for them.

    Args:
        kpis: in the order in which people read them.
        scopes: dimensions to which all numbers can be narrowed whose measures have them, see `Kpi.narrows_to`.
    """

    kpis: tuple[Kpi, ...]
    scopes: tuple[str, ...] = ()
    by_id: Mapping[str, Kpi] = field(init=False)

    def __post_init__(self) -> None:
        ids = [kpi.id for kpi in self.kpis]
        repeated = {i for i in ids if ids.count(i) > 1}
        if repeated:
            raise CatalogueError(f"KPI ids must be unique: {sorted(repeated)}")
        object.__setattr__(self, "by_id", {kpi.id: kpi for kpi in self.kpis})

    def plan(self) -> dict[str, tuple[Breakdown, ...]]:
        """Measure name -> the breakdowns to keep of it."""
        wanted: dict[str, dict[Breakdown, None]] = {}
        for kpi in self.kpis:
            for breakdown in ((), *kpi.breakdowns):
                for stat in kpi.stats:
                    for name, kept in families_of(stat.formula, breakdown):
                        wanted.setdefault(name, {(): None})[kept] = None
        wanted[EVENTS_SEEN.name] = {(): None, ("event",): None}
        for name, breakdowns in wanted.items():
            breakdowns.update(((dim,), None) for dim in self.scopes if dim in MEASURES[name].dims)
        return {name: tuple(breakdowns) for name, breakdowns in wanted.items()}

    def narrows(self, kpi: Kpi, dims: Breakdown) -> bool:
        """Whether what is kept is enough to read a KPI for one team, rep or source alone; a team is also its reps."""
        kept = all(dim in self.scopes for dim in dims)
        by_reps = dims == ("team",) and "rep" in self.scopes and kpi.narrows_to(("rep",))
        return dims in ((), *kpi.breakdowns) or (kept and kpi.narrows_to(dims)) or by_reps

    def scoped(self) -> Catalogue:
        """The same catalogue, of which all that is possible can be narrowed to one rep, team or source."""
        return Catalogue(self.kpis, SCOPES)

    def windows_before(self) -> list[str]:
        """The windows whose preceding window some KPI needs; with scopes, all that have one."""
        if self.scopes:
            return list(ROLLING)
        names = {w for kpi in self.kpis for stat in kpi.stats if stat.formula.needs_before() for w in kpi.windows}
        return [name for name in WINDOWS if name in names]

    def shown(self, place: Place, on: Dashboard | None = None) -> list[tuple[Kpi, Shown]]:
        """What is shown in a place, in its order; with ``on``, only the KPIs of that dashboard."""
        kpis = (kpi for kpi in self.kpis if on is None or kpi.drawn_on is on)
        found = [(kpi, shown) for kpi in kpis for shown in kpi.shown if shown.place is place]
        return sorted(found, key=lambda pair: pair[1].rank)

    def select(self, ids: Iterable[str]) -> list[Kpi]:
        """KPIs by id.

        Raises:
            KeyError: there is no such KPI.
        """
        return [self.by_id[i] for i in ids]


__all__ = [
    "COMPARED",
    "EVERY",
    "GROWTH",
    "LONG",
    "LONGEST",
    "NOW",
    "ROLLING",
    "TO_DATE",
    "Catalogue",
    "CatalogueError",
    "Dashboard",
    "Direction",
    "Form",
    "Kpi",
    "Place",
    "Role",
    "Shown",
    "Stat",
    "Unit",
    "age",
    "applicable",
    "families_of",
    "never_came",
]
