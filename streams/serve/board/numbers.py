"""The numbers of the cards: value, what is behind it, its change since the window before, and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from salesgauge.metrics.kpis.kpi import NOW, Form, Unit
from salesgauge.metrics.rules.windows import WINDOWS
from salesgauge.streams.serve.board.changes import change, interval
from salesgauge.streams.serve.board.presentation import rank
from salesgauge.streams.serve.board.scope import WHOLE, LabelFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.metrics.kpis.readings import Reading, View
    from salesgauge.streams.serve.board.presentation import Presentation

Json = dict[str, Any]

COUNT = "count"
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Headline:
    """A headline with what is behind it; ``value`` is None where only other numbers of the KPI have one."""

    value: float | None
    n: float | None
    numerator: float | None
    denominator: float | None
    stats: Mapping[str, float]


def window_of(presented: Presentation, window: str) -> str:
    """The window in which a KPI is read when the board shows ``window``."""
    return presented.kpi.windows[0] if presented.kpi.windows == NOW else window


def number(view: View, presented: Presentation, window: str, scope: LabelFilter = WHOLE) -> Headline | None:
    """A KPI's headline in a window; None where nothing of it has a value, or it cannot be read in this scope."""
    kpi = presented.kpi
    if presented.whole is None or window not in kpi.windows or scope.unread(kpi, view.catalogue):
        return None
    return _number(presented, view.read(kpi, kpi.stats, window, scope.labels))


def _number(presented: Presentation, read: Mapping[str, Reading]) -> Headline | None:
    stats = {name: reading.value for name, reading in read.items()}
    main = read.get(presented.headline)
    if main is None:
        # A secondary number may exist where the main one does not: the share of revenue without growth.
        return Headline(None, None, None, None, stats) if any(stats.values()) else None
    n = main.denominator if presented.counts else stats.get(COUNT)
    return Headline(main.value, n, main.numerator, main.denominator, stats)


def shown(found: Headline | None, unit: Unit, min_n: int) -> Json:
    """A number for the page."""
    if found is None:
        return {"value": None}
    stats = {name: rounded(v) for name, v in found.stats.items() if name not in {"value", "sum", COUNT}}
    if found.value is None:
        return {"value": None, "stats": stats}
    json: Json = {"value": rounded(found.value)}
    if found.n is not None:
        json |= {"n": rounded(found.n), "few": found.n < min_n}
    if found.numerator is not None and found.denominator is not None:
        json |= {"numerator": rounded(found.numerator), "denominator": rounded(found.denominator)}
    if unit is Unit.SHARE and found.n is not None and (likely := interval(found.value, found.n)) is not None:
        json["likely"] = [rounded(bound, 4) for bound in likely]
    return json | ({"stats": stats} if stats else {})


def changed(
    view: View, presented: Presentation, window: str, found: Headline | None, scope: LabelFilter
) -> Json | None:
    """The change since the window before, of the same length.

    There is none for windows to date, current state, growth, and cohorts: that of the window before had more time.
    """
    kpi = presented.kpi
    formula = kpi.headline.formula
    if found is None or found.value is None or kpi.form is Form.COHORT or formula.needs_before():
        return None
    if not WINDOWS[window].span or window not in view.catalogue.windows_before():
        return None
    counted = [kpi.headline, *(stat for stat in kpi.stats if stat.name == COUNT)]
    before = _number(presented, view.read(kpi, counted, window, scope.labels, before=True))
    if before is None or before.value is None:
        return None
    counts = None if found.n is None or before.n is None else (found.n, before.n)
    made = change(found.value, before.value, unit=kpi.headline.unit, direction=kpi.direction, counts=counts)
    json: Json = {"before": rounded(made.before), "by": rounded(made.by), "chance": made.chance, "better": made.better}
    return json | ({"n": rounded(before.n)} if before.n is not None else {})


def parts(view: View, presented: Presentation, position: int, window: str, rows: int, *, min_n: int) -> Json:
    """The parts of one breakdown, in the order in which they are worth to be looked at."""
    part = presented.parts[position]
    (breakdown,) = part.breakdowns
    found: dict[tuple[str, ...], Json] = {}
    for reading in view.readings([part], frozenset({window})):
        row = found.setdefault(tuple(reading.labels.values()), {"name": list(reading.labels.values())})
        if reading.stat == COUNT:
            row["n"] = rounded(reading.value)
            continue
        row["value"] = rounded(reading.value)
        if presented.counts and reading.denominator is not None:
            row["n"] = rounded(reading.denominator)
            if presented.kpi.unit is Unit.SHARE and (likely := interval(reading.value, reading.denominator)):
                row["likely"] = [rounded(bound, 4) for bound in likely]
    order = presented.order(breakdown)
    valued = [row for row in found.values() if row.get("value") is not None and (row["value"] or order != "largest")]
    ranked = sorted(valued, key=lambda row: _place(row, order, breakdown[0], min_n))
    return {"by": list(breakdown), "order": order, "rows": ranked[:rows], "more": max(0, len(ranked) - rows)}


def _place(row: Json, order: str, dimension: str, min_n: int) -> tuple[float, float, list[str]]:
    if order == "natural":
        return (rank(row["name"][0], dimension), 0, row["name"])
    if order != "largest" and (n := row.get("n", min_n)) < min_n:
        return (1, -n, row["name"])
    return (0, row["value"] if order == "lowest" else -row["value"], row["name"])


def rounded(value: float, digits: int = _DIGITS) -> float:
    """Without the noise of binary fractions; whole numbers as integers."""
    if value == int(value):
        return int(value)
    return float(f"{value:.{digits}g}")
