"""Leads that wait: how many, how many past the SLA, since when, by age and by owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.rules.model import DAY, HOUR, MINUTE
from salesgauge.streams.serve.board.numbers import rounded
from salesgauge.streams.serve.board.scope import WHOLE, LabelFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.metrics.kpis.readings import LabelGroup, View

Json = dict[str, Any]

_WAITING = "leads_waiting"
_OLDEST = "lead_oldest_wait_seconds"
_DIMENSIONS = ("rep", "team", "source")
_ROWS = 200


def waiting(view: View, scope: LabelFilter = WHOLE) -> Json:
    """Who waits, in a scope; the parts are those of the scope too, as far as they are known."""
    bounds = _bounds(view)
    whole: Json = {
        "sla_seconds": view.sums.rules.sla_ms / 1000,
        "business_hours": view.sums.rules.sla_in_business_hours,
        "bounds": [bound / 1000 for bound in bounds],
        "by": {},
    }
    if _WAITING not in view.catalogue.by_id:
        return whole | {"count": 0, "late": 0, "bands": [0] * (len(bounds) + 1)}
    rows = {breakdown: _rows(view, breakdown, bounds) for breakdown in ((), *((dim,) for dim in _DIMENSIONS))}
    nothing: Json = {"count": 0, "late": 0, "bands": [0] * (len(bounds) + 1)}
    key = tuple(scope.labels)
    found = next((row for row in rows.get(key, ()) if row["name"] == list(scope.labels.values())), None)
    whole |= {name: value for name, value in (found or nothing).items() if name != "name"}
    for dim in _DIMENSIONS:
        kept = _within(view, scope, dim, rows[dim,])
        if kept is not None:
            ranked = sorted((row | {"name": row["name"][0]} for row in kept if row["count"]), key=_place)
            whole["by"][dim] = {"rows": ranked[:_ROWS], "more": max(0, len(ranked) - _ROWS)}
    return whole


def _place(row: Json) -> tuple[float, float, str]:
    return (-row["count"], -row["late"], row["name"])


def _within(view: View, scope: LabelFilter, dim: str, rows: list[Json]) -> list[Json] | None:
    """The rows of a dimension that belong to the scope; None where that is not known."""
    if not scope.labels:
        return rows
    if tuple(scope.labels) == (dim,):
        return [row for row in rows if row["name"] == [scope.labels[dim]]]
    if tuple(scope.labels) == ("team",) and dim == "rep":
        reps = set(view.sums.index.reps_of(scope.labels["team"]))
        return [row for row in rows if row["name"][0] in reps] if reps else None
    return None


def _rows(view: View, breakdown: tuple[str, ...], bounds: Sequence[int]) -> list[Json]:
    kpi, oldest = view.catalogue.by_id[_WAITING], view.catalogue.by_id.get(_OLDEST)
    found = []
    for group in view.groups(kpi, breakdown):
        labels = dict(zip(breakdown, group.shown, strict=True))
        stats = {r.stat: r.value for r in view.readings_of(kpi, breakdown, group, "all")}
        count = stats.get("value", 0.0)
        row: Json = {
            "name": list(labels.values()),
            "count": rounded(count),
            "late": rounded(stats.get("late", 0.0)),
            "bands": _ages(view, breakdown, group, bounds),
        }
        if oldest is not None and count:
            for reading in view.readings_of(oldest, breakdown, group, "all"):
                row["oldest"] = rounded(reading.value)
        found.append(row)
    return found


def _bounds(view: View) -> tuple[int, ...]:
    """Upper ages of the bands in which the waiting are counted, ms on the clocks of their SLA; the first is the SLA."""
    sla = view.sums.rules.sla_ms
    return (sla, *(b for b in (15 * MINUTE, HOUR, 4 * HOUR, DAY, 7 * DAY) if b > sla))


def _ages(view: View, breakdown: tuple[str, ...], group: LabelGroup, bounds: Sequence[int]) -> list[int]:
    """How many wait for so long on the clocks of their SLA, per band; the last band is what is older."""
    counts = [0] * (len(bounds) + 1)
    now, members = view.sums.now, set(group.members)
    for values, number in view.sums.index.family(m.WAITING_ON_CLOCK.name, (*breakdown, "clock")).items():
        if values[:-1] not in members:
            continue
        since, clock = view.sums.roster(number), view.sums.rules.clock(values[-1])
        younger = len(since) - since.bisect_right(now)
        for position, bound in enumerate(bounds):
            within = len(since) - since.bisect_left(clock.subtract(now, bound))
            counts[position] += within - younger
            younger = within
        counts[-1] += len(since) - younger
    return counts
