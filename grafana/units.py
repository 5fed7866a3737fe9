"""How numbers look: Grafana's units, colours from targets, and what an empty panel says."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import Threshold, ThresholdsMode

from salesgauge.metrics.kpis.kpi import LONG, NOW, Form, Kpi, Unit
from salesgauge.metrics.kpis.targets import Target

GOOD, BAD, NEUTRAL = "green", "red", "text"


def unit(kpi: Kpi, stat: str, currency: str) -> str:
    """Grafana's unit of a number: amounts in the reporting currency, durations in seconds, shares as percentages."""
    return {
        Unit.COUNT: "none",
        Unit.SHARE: "percentunit",
        Unit.QUOTIENT: "none",
        Unit.SECONDS: "s",
        Unit.MONEY: f"currency{currency}",
        Unit.POINTS: "none",
        Unit.MINUTES: "m",
        Unit.MONTHS: "none",
    }[kpi.stat(stat).unit]


def decimals(kpi: Kpi, stat: str) -> int | None:
    """Digits after the point; None lets Grafana choose."""
    if kpi.decimals is not None and stat == kpi.headline.name:
        return kpi.decimals
    usual = {Unit.COUNT: 0, Unit.MONEY: 0, Unit.SHARE: 1, Unit.QUOTIENT: 2, Unit.POINTS: 1}
    return usual.get(kpi.stat(stat).unit)


def colours(target: Target | None, *, counted: bool = False) -> ThresholdsConfig:
    """Good and bad by the target, of a number that is a count; without a target it has no colour."""
    steps = [Threshold(value=None, color=NEUTRAL)]
    if target is not None:
        above = target.op in {">", ">="}
        # A step begins at its value: of whole numbers, "more than 40" begins at 41.
        whole_numbers = target.op == ">" and target.value == int(target.value) and counted
        limit = target.value + 1 if whole_numbers else target.value
        steps = [
            Threshold(value=None, color=GOOD if above else BAD),
            Threshold(value=limit, color=BAD if above else GOOD),
        ]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def why_empty(kpi: Kpi, stat: str = "value", *, absent: bool = False) -> str:
    """What a panel without data says: a KPI has no value where there is nothing to speak of, which is not zero.

    Args:
        kpi: the catalogue's entry.
        stat: its number.
        absent: whether to say, too, which events it needs: where nothing else in the panel does.
    """
    reasons = [_reason(kpi)]
    if kpi.windows != NOW and not set(LONG) <= set(kpi.windows):
        reasons.append(f"a window below {kpi.windows[0]}")
    if absent:
        reasons.append(why_absent(kpi.stat(stat).requires or kpi.requires))
    return ", or ".join(reasons)


def why_absent(requires: tuple[str, ...]) -> str:
    """What a number says that is not connected, by the events that it needs."""
    return f"not connected (needs {', '.join(' or '.join(group.split('|')) for group in requires)})"


def _reason(kpi: Kpi) -> str:
    if not kpi.empty:
        return "none now" if kpi.form is Form.STOCK else "none in this window"
    reason = kpi.empty[0].lower() + kpi.empty[1:]
    in_window = kpi.headline.formula.empty_by_window() and kpi.windows != NOW
    return f"{reason} in this window" if in_window else reason
