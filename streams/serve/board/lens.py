"""How a KPI is shown on the board: its headline, how its numbers are written, why it has no value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from salesgauge.metrics.kpis.formula import Count, Expr, Quantile, Ratio
from salesgauge.metrics.kpis.kpi import Catalogue, Direction, Form, Kpi, Stat, Unit
from salesgauge.metrics.measures import registry as m
from salesgauge.schemas.events import STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

# Ratios that are no shares: what one unit of them is per.
_PER = {
    ("client_engagement", "value"): "per customer",
    ("competitor_price_ratio", "value"): "times our price",
    ("customer_outcomes", "tickets"): "per customer",
    ("customer_outcomes", "subscriptions"): "per customer",
    ("touches_per_deal", "value"): "per deal",
    ("win_loss_ratio", "value"): "won per lost",
    ("clv_to_cac_ratio", "value"): "times its cost",
}

_LABELS = {
    "p50": "median",
    "age_seconds": "mean age of the cohort",
    "survival_p50": "median with those waiting",
    "late": "past the SLA",
    "cohort": "of these opportunities",
    "satisfied_ratio": "scores of 4 and 5",
    "tenure_seconds": "mean tenure",
    "reps_at_quota_ratio": "reps at quota",
    "existing_share": "from existing customers",
    "new_share": "from new customers",
    "mrr": "MRR per customer",
    "mrr_per_customer": "MRR per customer",
    "lifetime_months": "mean lifetime",
    "net": "net of expansion",
    "revenue_share": "share of revenue",
    "minutes": "in the platform",
}

# Label values with an order of their own.
_ORDERS: dict[str, tuple[str, ...]] = {"stage": STAGES, "band": ("0-5m", "5-15m", "15-60m", "60m+")}

_EMPTY = {
    "competitor_price_ratio": "No competitor price observed",
    "client_engagement": "No customers yet",
    "enps_score": "No employee answered a survey",
    "sales_cycle_seconds": "No deal of a known lead won",
    "close_ratio": "No opportunity created",
    "demo_conversion_ratio": "No demo held",
    "demo_close_ratio": "No demo held",
    "sales_growth_ratio": "No revenue in the period before",
    "quota_attainment_ratio": "No quota set for this period",
    "commission": "No quota set for this period",
    "customer_conversion_ratio": "No lead first contacted",
    "positive_reply_ratio": "No lead first contacted",
    "negative_reply_ratio": "No lead first contacted",
    "csat_score": "No customer answered a survey",
    "nps_score": "No customer answered a survey",
    "organic_growth_ratio": "No revenue from customers in the period before",
    "customer_outcomes": "No customers yet",
    "lead_response_seconds": "No lead got its first touch",
    "lead_response_band_ratio": "No lead got its first touch",
    "lead_response_business_seconds": "No lead got its first touch",
    "lead_assignment_response_seconds": "No assigned lead got its first touch",
    "lead_assignment_response_business_seconds": "No assigned lead got its first touch",
    "lead_response_sla_ratio": "No response was due",
    "lead_contact_seconds": "No first conversation",
    "lead_qualification_seconds": "No lead was qualified",
    "lead_oldest_wait_seconds": "Nobody is waiting",
    "lead_follow_up_ratio": "No qualified lead created",
    "touches_per_deal": "No deal closed",
    "meeting_acceptance_ratio": "No reply received",
    "sql_to_customer_ratio": "No lead became SQL",
    "win_loss_ratio": "No deal lost",
    "lifecycle_stage_ratio": "No leads yet",
    "mql_to_customer_ratio": "No lead became MQL",
    "customer_lifecycle_seconds": "No first purchase",
    "cost_per_lead": "No lead created",
    "cost_per_acquisition": "No new customer",
    "customer_acquisition_cost": "No new customer",
    "revenue_per_account": "No deal won",
    "average_deal_size": "No deal won",
    "win_ratio": "No deal closed",
    "customer_lifetime_value": "No customer of its start churned, so no lifetime is known",
    "clv_to_cac_ratio": "Needs a churned and a new customer",
    "employee_turnover_ratio": "No reps known",
}
_NO_OPENING = "No customers at its start"
_ANY_TIME = frozenset(
    {
        "client_engagement",
        "customer_outcomes",
        "quota_attainment_ratio",
        "commission",
        "lead_oldest_wait_seconds",
        "lifecycle_stage_ratio",
        "sales_growth_ratio",
        "organic_growth_ratio",
        "employee_turnover_ratio",
    }
)


@dataclass(frozen=True, slots=True)
class Lens:
    """A KPI as the board reads it.

    Attributes:
        kpi: the catalogue's entry.
        headline: name of the stat that is shown large; empty where only the parts mean something.
        counts: whether its denominator is a number of things, so that it can be shown as ``n``.
        whole: the entry without breakdowns; None where only the parts mean something.
        parts: per breakdown an entry that yields the headline alone, and ``n`` of a distribution.
        additive: whether parts add up to the whole, so that the largest are the ones to show.
        rewinds: whether its past can be read from the windows: cohorts would be read with today's knowledge,
            and stocks of those who wait hold only those who still wait.
    """

    kpi: Kpi
    headline: str
    counts: bool
    whole: Kpi | None
    parts: tuple[Kpi, ...]
    additive: bool
    rewinds: bool

    def order(self, breakdown: tuple[str, ...]) -> str:
        """The order of the parts: ``natural``, ``largest``, or the worst first: ``highest`` or ``lowest``."""
        if breakdown and breakdown[0] in _ORDERS:
            return "natural"
        if self.additive or self.kpi.direction is Direction.NEUTRAL:
            return "largest"
        return "highest" if self.kpi.direction is Direction.DOWN else "lowest"

    def why_empty(self, window: str, title: str) -> str:
        """Why there is no value in a window, for people."""
        if window not in self.kpi.windows:
            return f"Measured from {self.kpi.windows[0]} on"
        reason = _EMPTY.get(self.kpi.id, _NO_OPENING)
        return reason if self.kpi.id in _ANY_TIME or window == "all" else f"{reason} {title}"


def lens_of(kpi: Kpi) -> Lens:
    """The lens of one catalogue entry."""
    headline = kpi.stats[0] if kpi.samples is None else Stat("p50", Quantile(kpi.samples, 0.5), kpi.unit)
    beside = () if kpi.samples is None else (Stat("count", Count(kpi.samples), Unit.COUNT),)
    formula: Expr = headline.formula
    part = replace(kpi, formula=formula, samples=None, beside=beside, whole=False)
    return Lens(
        kpi=kpi,
        headline=headline.name if kpi.whole else "",
        counts=_counts(kpi),
        whole=replace(kpi, breakdowns=()) if kpi.whole else None,
        parts=tuple(replace(part, breakdowns=(breakdown,)) for breakdown in kpi.breakdowns),
        additive=kpi.samples is None and not isinstance(kpi.formula, Ratio),
        rewinds=kpi.whole and kpi.form is Form.PERIOD,
    )


def lenses(catalogue: Catalogue) -> dict[str, Lens]:
    """The lenses of a catalogue by KPI, in its order."""
    return {kpi.id: lens_of(kpi) for kpi in catalogue.kpis}


def rank(value: str, dimension: str) -> int:
    """The place of a label value in its natural order."""
    known = _ORDERS[dimension]
    return known.index(value) if value in known else len(known)


def format_of(kpi: Kpi, stat: Stat) -> str:
    """How a number is written: a unit, or for ratios ``share`` (per cent) or ``quotient``."""
    if stat.unit is not Unit.RATIO:
        return stat.unit.value
    return "quotient" if _per(kpi, stat) else "share"


def describe(lens: Lens) -> dict[str, Any]:
    """What does not change about a KPI, for the page."""
    kpi = lens.kpi
    return {
        "id": kpi.id,
        "title": kpi.title,
        "help": kpi.help,
        "words": kpi.words,
        "traps": kpi.traps,
        "form": kpi.form.value,
        "unit": kpi.unit.value,
        "direction": kpi.direction.value,
        "windows": list(kpi.windows),
        "metric": kpi.metric,
        "headline": lens.headline,
        "format": format_of(kpi, kpi.stats[0]),
        "per": _per(kpi, kpi.stats[0]),
        "stats": [_describe_stat(kpi, stat) for stat in kpi.stats if stat.name not in {"count", "sum"}],
        "by": [list(breakdown) for breakdown in kpi.breakdowns],
    }


def roles(known: Mapping[str, Lens]) -> list[dict[str, Any]]:
    """The roles in the catalogue's order, each with its KPIs."""
    found: dict[str, list[dict[str, Any]]] = {}
    for lens in known.values():
        found.setdefault(lens.kpi.role.value, []).append(describe(lens))
    return [{"role": role, "kpis": kpis} for role, kpis in found.items()]


def _describe_stat(kpi: Kpi, stat: Stat) -> dict[str, str]:
    label = _LABELS.get(stat.name, stat.name.replace("_", " "))
    described = {"name": stat.name, "label": label, "format": format_of(kpi, stat), "help": stat.help}
    per = _per(kpi, stat)
    return described | ({"per": per} if per else {})


def _per(kpi: Kpi, stat: Stat) -> str:
    return _PER.get((kpi.id, stat.name), "")


def _counts(kpi: Kpi) -> bool:
    if kpi.fraction is None:
        return False
    units = {measure.unit for measure in kpi.fraction[1].measures()} | {
        measure.unit for measure, _ in kpi.fraction[1].measures_across()
    }
    return units == {m.Unit.ONE}
