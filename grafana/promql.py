"""Queries over the families of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesgauge.metrics.kpis.families import CONNECTED, family_name
from salesgauge.metrics.kpis.kpi import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.metrics.kpis.kpi import Kpi
    from salesgauge.metrics.windows.series import Breakdown

FILTERS = ("team", "rep", "source")
"""Dimensions with a variable of their name on the dashboards."""

QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99"}


def gauge(
    kpi: Kpi,
    stat: str = "value",
    by: Breakdown = (),
    *,
    window: str,
    where: Mapping[str, str] | None = None,
    keep: tuple[str, ...] = (),
) -> str:
    """One number of a KPI, once, however many exporters show it.

    Args:
        kpi: the catalogue's entry.
        stat: its number; ``numerator`` and ``denominator`` too.
        by: a breakdown.
        window: a window or a variable that holds one.
        where: label -> regular expression.
        keep: further labels to keep.
    """
    matchers = [f'window="{window}"']
    if stat in QUANTILES:
        matchers.append(f'quantile="{QUANTILES[stat]}"')
    matchers += [f'{label}=~"{pattern}"' for label, pattern in (where or {}).items()]
    series = f"{family_name(kpi, stat, by)}{{{', '.join(matchers)}}}"
    labels = (*by, *keep)
    return f"max by ({', '.join(labels)}) ({series})" if labels else f"max({series})"


def scoped(kpi: Kpi, stat: str, window: str) -> str:
    """One number of a KPI for the teams, reps or sources chosen by the variables of that name, else the whole.

    Only what adds up is narrowed: counts and amounts by their sum, quotients by the sums of numerator and denominator.
    Of several variables that narrow, the first counts.
    """
    whole = gauge(kpi, stat, window=window)
    additive = kpi.stat(stat).unit in {Unit.COUNT, Unit.MONEY} and kpi.fraction is None and kpi.samples is None
    quotient = stat == "value" and kpi.fraction is not None and kpi.unit in {Unit.SHARE, Unit.MONEY, Unit.QUOTIENT}
    if not (additive or quotient):
        return whole
    parts = []
    for dim in FILTERS:
        if (dim,) not in kpi.breakdowns:
            continue
        where = {dim: f"${dim}"}
        names = ("numerator", "denominator") if quotient else (stat,)
        sums = [f"sum({gauge(kpi, name, (dim,), window=window, where=where)})" for name in names]
        counted = names[-1]
        chosen, every = (gauge(kpi, counted, (dim,), window=window, where=w) for w in (where, {}))
        narrowed = f"(count({chosen}) or vector(0)) < count({every})"
        value = " / ".join(sums) if quotient else f"({sums[0]} or vector(0))"
        parts.append(f"({value} and on () ({narrowed}))")
        whole = f"{whole} unless on () ({narrowed})"
    return " or ".join([*parts, f"({whole})"]) if parts else whole


def unconnected(kpi: Kpi) -> str:
    """0 where the events that a KPI requires never came, as each exporter says; else nothing."""
    return f'max({CONNECTED}{{kpi="{kpi.id}"}}) == 0'


def count_behind(kpi: Kpi) -> str | None:
    """The stat that says how many stand behind a KPI's number."""
    if kpi.fraction is not None:
        return "denominator"
    return "count" if kpi.samples is not None else None


def wilson(ratio: str, n: str, z: float, side: int) -> str:
    """A bound of the Wilson score interval of a share: ``side`` is -1 for the lower, 1 for the upper one.

    Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference. JASA 22, 209-212.
    """
    sign = "+" if side > 0 else "-"
    z2 = f"{z * z:.4f}"
    spread = f"{z:.4f} * sqrt({ratio} * (1 - {ratio}) / {n} + {z2} / (4 * {n} ^ 2))"
    return f"({ratio} + {z2} / (2 * {n}) {sign} {spread}) / (1 + {z2} / {n})"
