"""How numbers look: Grafana's units, colours from targets, and what an empty panel says."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import Threshold, ThresholdsMode

from salesgauge.grafana.thresholds import Target, is_share
from salesgauge.metrics.kpis.kpi import Form, Kpi, Unit

_FEW_POINTS = frozenset({"csat_score"})
"""Scores of a scale so short that their second digit counts."""

GOOD, BAD, NEUTRAL = "green", "red", "text"


def unit(kpi: Kpi, stat: str, currency: str) -> str:
    """Grafana's unit of a number: amounts in the reporting currency, durations in seconds, shares as percentages."""
    base = next((s.unit for s in kpi.stats if s.name == stat), Unit.COUNT)
    if base is Unit.RATIO:
        return "percentunit" if is_share(kpi, stat) else "none"
    return {
        Unit.COUNT: "none",
        Unit.SECONDS: "s",
        Unit.MONEY: f"currency{currency}",
        Unit.POINTS: "none",
        Unit.MINUTES: "m",
        Unit.MONTHS: "none",
    }[base]


def decimals(kpi: Kpi, stat: str) -> int | None:
    """Digits after the point; None lets Grafana choose."""
    base = next((s.unit for s in kpi.stats if s.name == stat), Unit.COUNT)
    points = 2 if kpi.id in _FEW_POINTS else 1
    return {Unit.COUNT: 0, Unit.MONEY: 0, Unit.RATIO: 1 if is_share(kpi, stat) else 2, Unit.POINTS: points}.get(base)


def colours(target: Target | None) -> ThresholdsConfig:
    """Good and bad by the target; without one a number has no colour."""
    steps = [Threshold(value=None, color=NEUTRAL)]
    if target is not None:
        above = target.op in {">", ">="}
        # A step begins at its value, so a strict limit begins just above it.
        limit = target.value * (1 + 1e-9) if target.op == ">" and target.value else target.value
        if target.op == ">" and not target.value:
            limit = 1e-9
        steps = [
            Threshold(value=None, color=GOOD if above else BAD),
            Threshold(value=limit, color=BAD if above else GOOD),
        ]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


_EMPTY = {
    "lead_oldest_wait_seconds": "nobody waits",
    "quota_attainment_ratio": "no quota period now",
    "quota_suggestion": "no revenue, or a window below 30d",
    "commission": "no quota period now",
    "customer_lifetime_value": "no customers, or none has left",
    "clv_to_cac_ratio": "needs churn, spend and new customers",
    "sales_growth_ratio": "no revenue in the window before",
    "organic_growth_ratio": "no revenue in the window before",
    "lifecycle_stage_ratio": "no leads yet",
}


def why_empty(kpi: Kpi) -> str:
    """What a panel without data says: a KPI has no value where there is nothing to speak of, which is not zero."""
    if kpi.id in _EMPTY:
        return _EMPTY[kpi.id]
    if kpi.form is Form.STOCK:
        return "none now"
    return "none in this window"
