"""The boards: which KPIs stand where, for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import bargauge, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import FieldColor
from grafana_foundation_sdk.models.common import BigValueColorMode
from grafana_foundation_sdk.models.dashboard import FieldColorModeId

from salesgauge.grafana import engine
from salesgauge.grafana.layout import Layout, Panel, Section
from salesgauge.grafana.panels import DATASOURCE, Numbers, big, instant, lines, ranged, stacked
from salesgauge.grafana.promql import gauge
from salesgauge.grafana.rules import BUDGET_LEFT, BURN
from salesgauge.grafana.thresholds import Thresholds
from salesgauge.grafana.units import colours
from salesgauge.metrics.kpis.kpi import NOW, Catalogue, Dashboard, Kpi, Place
from salesgauge.metrics.kpis.targets import Target

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from salesgauge.metrics.windows.series import Breakdown


def uid_of(dashboard: Dashboard) -> str:
    """The id of a dashboard in Grafana."""
    return f"salesgauge-{dashboard.value}"


def boards(thresholds: Thresholds, catalogue: Catalogue) -> list[Layout]:
    """All boards, in the order of the menu."""
    numbers = Numbers(thresholds)
    return [
        _speed(numbers, catalogue),
        _role(
            numbers, catalogue, Dashboard.SALES_MANAGER, "Sales manager",
            "Revenue, growth, close and win rates, by rep, team, product, location and source.",
        ),
        _pipeline(numbers, catalogue),
        _role(
            numbers, catalogue, Dashboard.BUSINESS_DEVELOPMENT, "Business development",
            "Activities, opportunities, proposals, replies and conversions of the people who open doors.",
        ),
        _role(
            numbers, catalogue, Dashboard.ACCOUNT_MANAGEMENT, "Account management",
            "Customers: satisfaction, churn, retention, organic growth and what they get out of the product.",
        ),
        _marketing(numbers, catalogue),
        _scorecard(numbers, catalogue),
        engine.board(),
    ]  # fmt: skip


# --- by role ----------------------------------------------------------------------------------------------------------


def _drawn_on(catalogue: Catalogue, dashboard: Dashboard) -> list[Kpi]:
    return [kpi for kpi in catalogue.kpis if kpi.drawn_on is dashboard]


def _role(numbers: Numbers, catalogue: Catalogue, dashboard: Dashboard, title: str, about: str) -> Layout:
    return Layout(uid_of(dashboard), title, about, tuple(_role_sections(numbers, catalogue, dashboard)))


def _role_sections(numbers: Numbers, catalogue: Catalogue, dashboard: Dashboard) -> Iterator[Section]:
    kpis = _drawn_on(catalogue, dashboard)
    heads = [kpi for kpi, _ in catalogue.shown(Place.GLANCE, dashboard)]
    yield Section("At a glance", tuple(numbers.head(kpi) for kpi in heads))
    yield Section("Over time", tuple(_trends(numbers, [k for k in heads if k.windows != NOW])))
    yield Section("All numbers", tuple(_tiles(numbers, kpis, skip={kpi.id for kpi in heads})), folded=True)
    rest = [k for k in kpis if k not in heads and k.whole and k.trend]
    yield Section("More over time", tuple(_trends(numbers, rest, width=8)), folded=True)
    yield from _parts(numbers, kpis)


def _tiles(numbers: Numbers, kpis: Iterable[Kpi], skip: set[str]) -> Iterator[stat.Panel]:
    for kpi in kpis:
        if not kpi.whole:
            continue
        names = _tile_stats(kpi)
        for name in names[1:] if kpi.id in skip else names:
            yield numbers.tile(kpi, name)


def _tile_stats(kpi: Kpi) -> list[str]:
    """The numbers worth a tile: of a distribution median and 90th percentile, and the secondary numbers."""
    main = ["value"] if kpi.samples is None else ["p50", "p90"]
    return main + [s.name for s in kpi.secondary]


def _trends(numbers: Numbers, kpis: Iterable[Kpi], width: int = 8) -> Iterator[timeseries.Panel]:
    for kpi in kpis:
        yield numbers.trend(kpi, ("value",) if kpi.samples is None else ("p50", "p90"), width=width)


def _parts(
    numbers: Numbers, kpis: list[Kpi], shown: Container[tuple[str, Breakdown]] = frozenset()
) -> Iterator[Section]:
    """A folded section for each breakdown, so that a question such as "by team?" is answered in one place.

    Without what is ``shown`` elsewhere: a KPI's id and a breakdown.
    """
    found: dict[Breakdown, list[Panel]] = {}
    for kpi in kpis:
        for by in kpi.breakdowns:
            if (kpi.id, by) in shown:
                continue
            found.setdefault(by, []).append(numbers.bars(kpi, by, kpi.headline.name))
    for by, panels in found.items():
        if len(panels) > 1:
            yield Section(f"By {' and '.join(by)}", tuple(panels), folded=True)
    others = tuple(panel for panels in found.values() if len(panels) == 1 for panel in panels)
    if others:
        yield Section("Other parts", others, folded=True)


# --- speed to lead ----------------------------------------------------------------------------------------------------


def _speed(numbers: Numbers, catalogue: Catalogue) -> Layout:
    k = catalogue.by_id
    waiting, oldest, response = k["leads_waiting"], k["lead_oldest_wait_seconds"], k["lead_response_seconds"]
    sla, bands, follow_up = k["lead_response_sla_ratio"], k["lead_response_band_ratio"], k["lead_follow_up_ratio"]
    kpis = _drawn_on(catalogue, Dashboard.SPEED_TO_LEAD)
    clocks = [kpi for kpi in kpis if kpi.samples and kpi is not response]
    handled = {waiting.id, oldest.id, response.id, sla.id, bands.id, follow_up.id, *(c.id for c in clocks)}
    rest = [kpi for kpi in kpis if kpi.id not in handled]
    sections = (
        Section(
            "Now",
            (
                numbers.head(waiting),
                numbers.head(waiting, "late"),
                numbers.tile(oldest),
                numbers.head(sla),
                numbers.tile(response, "p50"),
                _budget(numbers.thresholds),
            ),
        ),
        Section(
            "Who waits",
            (
                numbers.bars(waiting, ("team",), "late", width=6),
                numbers.bars(waiting, ("rep",), width=6),
                numbers.trend(waiting, ("value", "late"), title="Leads waiting, over time"),
            ),
        ),
        Section(
            "How fast answers come",
            (
                numbers.trend(response, ("p50", "p90", "survival_p50"), title="Lead response time, over time"),
                numbers.trend(sla, title="Within the SLA, over time").min(0).max(1),
                _bands(numbers, bands),
                numbers.bars(sla, ("team",), width=6).min(0).max(1),
                numbers.bars(response, ("team",), "p50", width=6),
            ),
        ),
        Section(
            "Who waits, in full",
            (
                numbers.bars(waiting, ("team",), width=6),
                numbers.bars(waiting, ("source",), width=6),
                numbers.trend(oldest, title="Oldest wait, over time"),
                numbers.bars(oldest, ("rep",)),
                numbers.bars(oldest, ("team",)),
                numbers.bars(oldest, ("source",)),
            ),
            folded=True,
        ),
        Section(
            "Response time, in full",
            (
                *(numbers.tile(response, name) for name in ("mean", "p90", "p99", "survival_p50", "count")),
                numbers.tile(follow_up),
                numbers.bars(response, ("rep",), "p50"),
                numbers.bars(response, ("source",), "p50"),
                *(_quick(numbers, bands, by) for by in ("rep", "team", "source")),
            ),
            folded=True,
        ),
        Section("Within the SLA, in full", tuple(_sla_panels(numbers, sla)), folded=True),
        Section(
            "Follow-up",
            (
                numbers.trend(follow_up, width=8),
                numbers.bars(follow_up, ("rep",)),
                numbers.bars(follow_up, ("source",)),
                numbers.tile(follow_up, "age_seconds"),
                *_tiles(numbers, rest, set()),
            ),
            folded=True,
        ),
        Section(
            "Other clocks",
            (
                *(numbers.tile(kpi, name) for kpi in clocks for name in ("p50", "p90")),
                *(numbers.trend(kpi, ("p50", "p90"), width=8) for kpi in clocks),
                *(numbers.bars(kpi, by, "p50") for kpi in clocks for by in kpi.breakdowns),
            ),
            folded=True,
        ),
        Section(
            "Requests, in full",
            (
                numbers.tile(oldest, "around_the_clock"),
                *(numbers.tile(response, name) for name in ("survival_p50_low", "survival_p50_high")),
                *(
                    numbers.bars(kpi, by, title=f"{kpi.title} by {' and '.join(by)}")
                    for kpi in rest
                    for by in kpi.breakdowns
                ),
            ),
            folded=True,
        ),
    )
    return Layout(
        uid_of(Dashboard.SPEED_TO_LEAD),
        "Speed to lead",
        "Who waits for an answer now, how fast answers come, and whether the SLA holds.",
        sections,
        window="24h",
        time_from="now-24h",
        refresh="30s",
    )


def _budget(thresholds: Thresholds) -> stat.Panel:
    slo = thresholds.slo
    left = Target(kpi="lead_response_sla_ratio", window=slo.period, op="<", value=0.25, summary="Error budget")
    return (
        big(
            f"Error budget left ({slo.period})",
            f"{100 * slo.objective:g} % of the leads due in {slo.period} are to be answered within the SLA; "
            "the rest is the "
            "error budget. 100 %: nothing was missed; 0 %: all of it is used up; below: the objective is missed.",
            4,
        )
        .unit("percentunit")
        .decimals(0)
        .thresholds(colours(left))
        .color_mode(BigValueColorMode.BACKGROUND)
        .no_value(f"no lead was due in {slo.period}")
        .with_target(instant(BUDGET_LEFT, "left"))
    )


def _bands(numbers: Numbers, bands: Kpi) -> timeseries.Panel:
    panel = numbers.trend(bands, by=("band",), title="Lead response bands, over time")
    return stacked(panel).min(0).max(1)


def _quick(numbers: Numbers, bands: Kpi, by: str) -> bargauge.Panel:
    return numbers.bars(bands, (by, "band"), where={"band": "0-5m"}, title=f"Answered within 5 minutes by {by}")


def _sla_panels(numbers: Numbers, sla: Kpi) -> Iterator[Panel]:
    slo = numbers.thresholds.slo
    yield (
        lines(
            "Burn rate of the error budget",
            "How many times as fast as it may the error budget burns: 1 uses it up exactly at the end of the period "
            f"({slo.period}). Alerts ask two windows and enough leads; see docs/alerts.md.",
            12,
        )
        .unit("none")
        .decimals(1)
        .no_value("no lead was due yet")
        .with_target(ranged(BURN, "{{window}}"))
    )
    for by in (("rep",), ("source",)):
        yield numbers.bars(sla, by).min(0).max(1)
    yield (
        lines("Leads due and answered in time", "Numerator and denominator of the SLA ratio in the window.", 24)
        .unit("none")
        .decimals(0)
        .no_value("no lead was due in this window")
        .with_target(ranged(gauge(sla, "denominator", window="$window"), "due"))
        .with_target(ranged(gauge(sla, "numerator", window="$window"), "answered in time"))
    )


# --- pipeline ---------------------------------------------------------------------------------------------------------


def _pipeline(numbers: Numbers, catalogue: Catalogue) -> Layout:
    k = catalogue.by_id
    value, weighted, deals = k["pipeline_value"], k["weighted_pipeline"], k["pipeline_deals"]
    kpis = _drawn_on(catalogue, Dashboard.PIPELINE)
    heads = [kpi for kpi, _ in catalogue.shown(Place.GLANCE, Dashboard.PIPELINE)]
    moves = [(k["stage_conversion_ratio"], "stage"), (k["stage_time_seconds"], "stage"), (k["loss_reasons"], "reason")]
    moves += [(k["pipeline_bridge"], "change"), (k["slip_ratio"], "rep"), (k["pushes"], "rep")]
    parts = [
        (value, "stage"),
        (deals, "stage"),
        (value, "category"),
        (value, "rep"),
        (weighted, "rep"),
        (value, "team"),
    ]
    by_stage = numbers.trend(value, by=("stage",), title="Open pipeline by stage, over time")
    sections = (
        Section(
            "Now",
            tuple(numbers.head(kpi) for kpi in heads),
        ),
        Section(
            "Where it stands, and whose it is",
            (stacked(by_stage), *(numbers.bars(kpi, (by,), width=8) for kpi, by in parts)),
        ),
        Section(
            "How it moves",
            (*(numbers.bars(kpi, (by,), width=8) for kpi, by in moves),),
        ),
        Section("All numbers", tuple(_tiles(numbers, kpis, {kpi.id for kpi in heads})), folded=True),
        Section("Over time", tuple(_trends(numbers, heads)), folded=True),
        *_parts(numbers, kpis, {(kpi.id, (by,)) for kpi, by in (*parts, *moves)}),
    )
    return Layout(
        uid_of(Dashboard.PIPELINE),
        "Pipeline",
        "What is open, what it is worth, how it moves, and what stands.",
        sections,
    )


# --- marketing --------------------------------------------------------------------------------------------------------


def _marketing(numbers: Numbers, catalogue: Catalogue) -> Layout:
    k = catalogue.by_id
    base = list(_role_sections(numbers, catalogue, Dashboard.MARKETING))
    funnel = (
        bargauge.Panel()
        .title("Funnel of the window")
        .description(
            "What happened in the window: leads created, opportunities created, proposals sent, deals won. "
            "These are not the "
            "same leads: for what became of a cohort read the conversion rates."
        )
        .datasource(DATASOURCE)
        .span(12)
        .height(8)
        .unit("none")
        .decimals(0)
        .no_value("none in this window")
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    )
    for kpi, step in catalogue.shown(Place.FUNNEL):
        funnel.with_target(instant(gauge(kpi, window="$window"), step.title or kpi.title))
    stages = k["lifecycle_stage_ratio"]
    life = Section(
        "Funnel and lifecycle",
        (
            funnel,
            stacked(numbers.trend(stages, by=("stage",), title="Leads by lifecycle stage, over time")).min(0).max(1),
            numbers.bars(stages, ("stage",), "leads", width=12, title="Leads in each stage, now"),
            numbers.bars(k["new_leads"], ("source",), width=12),
        ),
    )
    return Layout(
        uid_of(Dashboard.MARKETING),
        "Sales and marketing",
        "The funnel from lead to customer, what it costs, and how long it takes.",
        (base[0], life, *base[1:]),
    )


# --- rep scorecard ----------------------------------------------------------------------------------------------------

_REP: Breakdown = ("rep",)
_SCORES = 12
"""Numbers of the rep that are seen without opening anything."""


def _of_reps(catalogue: Catalogue, place: Place) -> list[tuple[Kpi, str]]:
    """What is shown of one rep, and which number of it."""
    shown = [(kpi, at.stat or kpi.headline.name) for kpi, at in catalogue.shown(place)]
    return [(kpi, stat) for kpi, stat in shown if _REP in kpi.breakdowns]


def _scorecard(numbers: Numbers, catalogue: Catalogue) -> Layout:
    k = catalogue.by_id
    scores = [numbers.score(kpi, stat) for kpi, stat in _of_reps(catalogue, Place.SCORECARD)]
    course = [numbers.trend(kpi, (stat,), by=_REP) for kpi, stat in _of_reps(catalogue, Place.COURSE)]
    league = numbers.table("All reps", "rep", _of_reps(catalogue, Place.LEAGUE), every=True)
    kinds = numbers.bars(k["activities"], ("rep", "kind"), width=12)
    return Layout(
        "salesgauge-rep-scorecard",
        "Rep scorecard",
        "One rep's numbers beside the median of all. For the talk between rep and manager; small numbers say little.",
        (
            Section("The rep, and the median of all reps", tuple(scores[:_SCORES])),
            Section("Over time", (*course, kinds)),
            Section("More numbers of the rep", tuple(scores[_SCORES:]), folded=True),
            Section("Everybody", (league,), folded=True),
        ),
        rep="one",
    )
