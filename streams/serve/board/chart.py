"""What the page draws of one KPI: its course over a window and the window before, and its distribution."""

from __future__ import annotations

import bisect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from salesgauge.metrics.kpis.kpi import NOW, Form, Kpi
from salesgauge.metrics.measures.buckets import upper_bound
from salesgauge.metrics.rules.model import DAY, HOUR, MINUTE
from salesgauge.metrics.rules.windows import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from salesgauge.metrics.kpis.readings import Reading, View

Json = dict[str, Any]

_STEPS = {
    "1h": 5 * MINUTE,
    "24h": HOUR,
    "today": HOUR,
    "7d": DAY,
    "30d": DAY,
    "mtd": DAY,
    "90d": 7 * DAY,
    "qtd": 7 * DAY,
}
"""Length of a point of the course; of the longer windows it is 30 days."""
_LONGEST = 30 * DAY
_MOST = 26
"""Points of the course of all time, at most."""
_EPOCH = datetime.fromtimestamp(0, UTC)

_LADDER = (60, 300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 86_400, 3 * 86_400, 7 * 86_400, 14 * 86_400,
           30 * 86_400, 60 * 86_400, 90 * 86_400, 180 * 86_400, 365 * 86_400)  # fmt: skip
_MOST_CLASSES = 8


def course(view: View, kpi: Kpi, window: str, labels: Mapping[str, str], min_n: float) -> Json | None:
    """The headline in each step of a window and, where there is one, of the window before.

    None where the past cannot be read: of what is so now, of growth, of what compares the ends of certain windows, and
    of KPIs that have numbers by breakdown only.
    """
    formula = kpi.headline.formula
    if not kpi.whole or kpi.windows == NOW or kpi.form is Form.STOCK or formula.needs_before():
        return None
    if any(formula.measures_across()) or any(formula.measures_under()) or not any(formula.measures()):
        return None
    edges = _edges(view, window)
    known = view.course(kpi, edges, labels)
    at = [edge // 1000 for edge in edges[:-1]]
    length = len(known) // 2 if WINDOWS[window].span else len(known)
    now, before = known[-length:], known[:-length]
    shown: Json = {
        "step": _step(window, view) // 1000,
        "at": at[-length:],
        "now": [_value(reading) for reading in now],
        "few": [_few(reading, min_n) for reading in now],
        "end": edges[-1] // 1000,
    }
    return shown | ({"before": [_value(reading) for reading in before]} if before else {})


def _step(window: str, view: View) -> int:
    if window == "all":
        lasted = view.sums.now - view.sums.first_instant()
        return max(DAY, -(-lasted // (_MOST * DAY)) * DAY)
    return _STEPS.get(window, _LONGEST)


def _edges(view: View, window: str) -> list[int]:
    """Instants between the steps, the present last; days begin at midnight of the business."""
    now, zone, step = view.sums.now, view.sums.rules.tz, _step(window, view)
    span = WINDOWS[window].span
    start = WINDOWS[window].start(now, zone)
    first = view.sums.first_instant() if start is None else start
    last = _floor(now, step, zone)
    number = 2 * max(1, round(span / step)) if span else 1 + max(0, -(-(last - first) // step))
    edges = [_back(last, step * back, step, zone) for back in range(number - 1, -1, -1)]
    return [*edges, now + 1]


def _floor(now: int, step: int, zone: tzinfo) -> int:
    if step < DAY:
        return now // step * step
    local = (_EPOCH + timedelta(milliseconds=now)).astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return (midnight - _EPOCH) // timedelta(milliseconds=1)


def _back(last: int, by: int, step: int, zone: tzinfo) -> int:
    return last - by if step < DAY else _floor(last - by + DAY // 2, DAY, zone)


def _value(reading: Reading | None) -> float | None:
    return None if reading is None else float(f"{reading.value:.6g}")


def _few(reading: Reading | None, min_n: float) -> bool:
    return reading is not None and reading.denominator is not None and reading.denominator < min_n


def classes(view: View, kpi: Kpi, window: str, labels: Mapping[str, str]) -> list[Json]:
    """The distribution in a window: how many samples lie in each class of time, in seconds."""
    if kpi.samples is None or window not in kpi.windows:
        return []
    counts = view.samples(kpi, window, labels)
    found = [0] * (len(_LADDER) + 1)
    for code, count in counts.items():
        found[bisect.bisect_left(_LADDER, upper_bound(code))] += count
    used = [i for i, count in enumerate(found) if count]
    if not used:
        return []
    low, high = max(used[0], used[-1] - _MOST_CLASSES + 1), used[-1]
    found[low] += sum(found[:low])
    bounds = (0, *_LADDER, None)
    return [{"from": 0 if i == low else bounds[i], "to": bounds[i + 1], "n": found[i]} for i in range(low, high + 1)]
