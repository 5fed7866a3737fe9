"""What the page asks for, computed from a view: a small payload per refresh, a larger one per opened KPI."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from salesgauge.metrics.kpis.targets import SEVERITIES, Target, check
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.rules.model import DAY, HOUR, MINUTE
from salesgauge.metrics.windows.sums import WINDOWS
from salesgauge.streams.serve.board.history import History
from salesgauge.streams.serve.board.presentation import Presentation, presentations, rank, roles
from salesgauge.streams.serve.board.targets import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from salesgauge.metrics.kpis.readings import Group, Reading, View

MIN_N = 10
"""A number with fewer behind it is shown as resting on too few."""
DEFAULT_WINDOW = "24h"
TITLES = {
    "1h": "in the last hour",
    "24h": "in the last 24 hours",
    "today": "today",
    "7d": "in the last 7 days",
    "30d": "in the last 30 days",
    "mtd": "this month",
    "90d": "in the last 90 days",
    "qtd": "this quarter",
    "365d": "in the last 365 days",
    "all": "since the first event",
}
"""How a window is called in a sentence."""

_DIGITS = 12
_TREND_DIGITS = 6
_FRESH_MS = 900
_TOP_ROWS = 4
_PARTS_ROWS = 8
_DETAIL_ROWS = 12
_WAITING_ROWS = 8
_WAITING = "leads_waiting"
_OLDEST = "lead_oldest_wait_seconds"
_WAITING_DIMENSIONS = ("rep", "team", "source")
_COUNT = "count"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Number:
    """A headline with what stands behind it."""

    value: float
    n: float | None
    numerator: float | None
    denominator: float | None
    stats: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, or a part of one with a breakdown, at an instant."""

    target: Target
    labels: Mapping[str, str]
    value: float
    n: float | None
    firing: bool


def board_payload(
    view: View,
    *,
    window: str = DEFAULT_WINDOW,
    targets: Sequence[Target] = DEFAULTS,
    engine: Mapping[str, Any] | None = None,
    history: History | None = None,
    known: Mapping[str, Presentation] | None = None,
    min_n: int = MIN_N,
    catalogue: bool = True,
    trends: str | None = None,
) -> Json:
    """All that one refresh of the page needs, at the view's instant.

    Args:
        view: its sums are up to date and advanced to the instant to show.
        window: of the numbers; KPIs that say what is so now are read as such.
        targets: what is watched, each in a window of its own.
        engine: how the engine is: ``ready`` and ``reasons`` why not, ``lag`` (records), ``freshness``
            (seconds), ``partitions``, ``workers``, ``events``.
        history: for the small charts.
        known: `presentations` of the catalogue, if somebody keeps them.
        min_n: below it a number is marked as resting on too few.
        catalogue: whether to describe the KPIs (title, help, formula, unit, direction) too.
        trends: the stamp of the trends that the asker has; they are left out while they are the same.

    Raises:
        KeyError: there is no such window.
    """
    known = presentations(view.catalogue) if known is None else known
    verdicts = judge(view, targets, known)
    status = _status(verdicts)
    numbers = _numbers(view, window, known)
    payload: Json = {
        **_frame(view, window, engine, min_n),
        "waiting": _waiting(view),
        "firing": [_firing(v, known) for v in _sorted(verdicts) if v.firing],
        "watched": len(targets),
        "kpis": [
            _kpi(view, presented, window, numbers.get(presented.kpi.id), status.get(presented.kpi.id), min_n=min_n)
            for presented in known.values()
        ],
    }
    if catalogue:
        payload["roles"] = roles(known)
    if history is not None and trends != history.stamp(window):
        payload["trends"] = {"stamp": history.stamp(window), "rings": _trends(history, window)}
    return payload


def detail_payload(
    view: View,
    kpi: str,
    *,
    window: str = DEFAULT_WINDOW,
    targets: Sequence[Target] = DEFAULTS,
    history: History | None = None,
    known: Mapping[str, Presentation] | None = None,
    min_n: int = MIN_N,
) -> Json:
    """One KPI in full: all its windows, all its breakdowns with their larger parts, its targets.

    Raises:
        KeyError: there is no such KPI or window.
    """
    known = presentations(view.catalogue) if known is None else known
    presented = known[kpi]
    watched = tuple(t for t in targets if t.kpi == kpi)
    read = _window_of(presented, window)
    payload: Json = {
        **_frame(view, window, None, min_n),
        "kpi": kpi,
        "now": _kpi(view, presented, window, _numbers(view, window, {kpi: presented}).get(kpi), None, min_n=min_n),
        "over": [_over(view, presented, name, min_n) for name in presented.kpi.windows],
        "breakdowns": [
            _top(view, presented, position, read, _DETAIL_ROWS, min_n=min_n) for position in range(len(presented.parts))
        ],
        "targets": [_target(v) for v in _sorted(judge(view, watched, {kpi: presented}))],
    }
    if history is not None:
        payload["trend"] = _trend(history, window, kpi)
    return payload


# --- numbers


def _numbers(view: View, window: str, known: Mapping[str, Presentation]) -> dict[str, Number]:
    """The headlines of all KPIs in a window; of those that say what is so now, at present."""
    by_window: dict[str, list[Presentation]] = {}
    for presented in known.values():
        if presented.whole is not None and (read := _window_of(presented, window)) in presented.kpi.windows:
            by_window.setdefault(read, []).append(presented)
    found: dict[str, Number] = {}
    for read, group in by_window.items():
        found.update(_read_wholes(view, read, group))
    return found


def _read_wholes(view: View, window: str, group: Iterable[Presentation]) -> dict[str, Number]:
    by_kpi: dict[str, list[Reading]] = {}
    chosen = {presented.kpi.id: presented for presented in group}
    wholes = [presented.whole for presented in chosen.values() if presented.whole is not None]
    for reading in view.readings(wholes, frozenset({window})):
        by_kpi.setdefault(reading.kpi, []).append(reading)
    return {kpi: number for kpi, readings in by_kpi.items() if (number := _number(chosen[kpi], readings)) is not None}


def _number(presented: Presentation, readings: Sequence[Reading]) -> Number | None:
    stats = {r.stat: r.value for r in readings}
    main = next((r for r in readings if r.stat == presented.headline), None)
    if main is None:
        # A number beside the main one may exist where that does not: the share of revenue without growth.
        return Number(float("nan"), None, None, None, stats) if any(stats.values()) else None
    n = main.denominator if presented.counts else stats.get(_COUNT)
    return Number(main.value, n, main.numerator, main.denominator, stats)


def _kpi(
    view: View, presented: Presentation, window: str, number: Number | None, status: Json | None, *, min_n: int
) -> Json:
    read = _window_of(presented, window)
    shown: Json = {"id": presented.kpi.id} | _shown(number, min_n)
    if presented.headline and shown["value"] is None:
        shown["why"] = presented.why_empty(window if read != "all" else "all", TITLES[window])
    if status:
        shown |= status if status.get("status_window") not in {window, read} else {"status": status["status"]}
    if presented.parts and read in presented.kpi.windows:
        top = _top(view, presented, 0, read, _TOP_ROWS if presented.headline else _PARTS_ROWS, min_n=min_n)
        if top["rows"]:
            shown["top"] = top
        elif not presented.headline:
            shown["why"] = presented.why_empty(window if read != "all" else "all", TITLES[window])
    return shown


def _shown(number: Number | None, min_n: int) -> Json:
    if number is None:
        return {"value": None}
    beside = {name: _round(v) for name, v in number.stats.items() if name not in {"value", "sum", _COUNT}}
    if math.isnan(number.value):
        return {"value": None, "stats": beside}
    shown: Json = {"value": _round(number.value)}
    if number.n is not None:
        shown |= {"n": _round(number.n), "few": number.n < min_n}
    if number.numerator is not None and number.denominator is not None:
        shown |= {"numerator": _round(number.numerator), "denominator": _round(number.denominator)}
    return shown | ({"stats": beside} if beside else {})


def _over(view: View, presented: Presentation, window: str, min_n: int) -> Json:
    number = _read_wholes(view, window, [presented]).get(presented.kpi.id)
    return {"window": window} | _shown(number, min_n)


def _window_of(presented: Presentation, window: str) -> str:
    """The window in which a KPI is read when the board shows ``window``."""
    return presented.kpi.windows[0] if presented.kpi.windows == ("all",) else window


# --- parts of a KPI


def _top(view: View, presented: Presentation, position: int, window: str, rows: int, *, min_n: int) -> Json:
    part = presented.parts[position]
    (breakdown,) = part.breakdowns
    found: dict[tuple[str, ...], Json] = {}
    for reading in view.readings([part], frozenset({window})):
        row = found.setdefault(tuple(reading.labels.values()), {"name": list(reading.labels.values())})
        if reading.stat == _COUNT:
            row["n"] = _round(reading.value)
            continue
        row["value"] = _round(reading.value)
        if presented.counts and reading.denominator is not None:
            row["n"] = _round(reading.denominator)
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


# --- leads waiting


def _waiting(view: View) -> Json:
    """Who waits: how many, how many past the SLA, since when, by age and by owner."""
    late_of, oldest_of = _late(view), _oldest(view)
    kpi = view.catalogue.by_id.get(_WAITING)
    bounds = _bounds(view)
    whole: Json = {
        "sla_seconds": view.sums.rules.sla_ms / 1000,
        "business_hours": view.sums.rules.sla_in_business_hours,
        "bounds": [bound / 1000 for bound in bounds],
        "by": {},
    }
    if kpi is None:
        return whole | {"count": 0, "late": 0, "bands": [0] * (len(bounds) + 1)}
    for breakdown in ((), *((dim,) for dim in _WAITING_DIMENSIONS if (dim,) in kpi.breakdowns)):
        rows = []
        for group in view.groups(kpi, breakdown):
            count, late = late_of.get((breakdown, group.shown), (0.0, 0.0))
            row: Json = {
                "count": _round(count),
                "late": _round(late),
                "bands": _ages(view, breakdown, group, bounds),
            }
            oldest = oldest_of.get((breakdown, group.shown))
            if oldest is not None and count:
                row["oldest"] = _round(oldest)
            if not breakdown:
                whole |= row
            elif count:
                rows.append({"name": group.shown[0], **row})
        if breakdown:
            rows.sort(key=lambda row: (-row["count"], row["name"]))
            whole["by"][breakdown[0]] = {
                "rows": rows[:_WAITING_ROWS],
                "more": max(0, len(rows) - _WAITING_ROWS),
            }
    return whole


_Place = tuple[tuple[str, ...], tuple[str, ...]]


def _late(view: View) -> dict[_Place, tuple[float, float]]:
    found: dict[_Place, tuple[float, float]] = {}
    for place, stats in _stocks(view, _WAITING).items():
        found[place] = (stats.get("value", 0.0), stats.get("late", 0.0))
    return found


def _oldest(view: View) -> dict[_Place, float]:
    return {place: stats["value"] for place, stats in _stocks(view, _OLDEST).items() if "value" in stats}


def _stocks(view: View, kpi: str) -> dict[_Place, dict[str, float]]:
    found: dict[_Place, dict[str, float]] = {}
    if kpi in view.catalogue.by_id:
        for r in view.readings(view.catalogue.select([kpi]), frozenset({"all"})):
            place = (tuple(r.labels), tuple(r.labels.values()))
            found.setdefault(place, {})[r.stat] = r.value
    return found


def _bounds(view: View) -> tuple[int, ...]:
    """Upper ages (ms) of the bands in which the waiting are counted; the first is the SLA."""
    sla = view.sums.rules.sla_ms
    return (sla, *(b for b in (15 * MINUTE, HOUR, 4 * HOUR, DAY, 7 * DAY) if b > sla))


def _ages(view: View, breakdown: tuple[str, ...], group: Group, bounds: Sequence[int]) -> list[int]:
    """How many wait for so long, per band; the last band is what is older."""
    counts = [0] * (len(bounds) + 1)
    family = view.sums.index.family(m.WAITING_SINCE.name, breakdown)
    now = view.sums.now
    for member in group.members:
        number = family.get(member)
        if number is None:
            continue
        since = view.sums.roster(number)
        younger = len(since) - since.bisect_right(now)
        for position, bound in enumerate(bounds):
            within = len(since) - since.bisect_left(now - bound)
            counts[position] += within - younger
            younger = within
        counts[-1] += len(since) - younger
    return counts


# --- targets


def judge(view: View, targets: Iterable[Target], known: Mapping[str, Presentation]) -> list[Verdict]:
    """All targets at the view's instant; what has no value, or too little behind it, does not fire."""
    verdicts: list[Verdict] = []
    for target in targets:
        presented = known.get(target.kpi)
        if presented is not None:
            verdicts += _judge(view, target, presented)
    return verdicts


def _judge(view: View, target: Target, presented: Presentation) -> Iterable[Verdict]:
    kpi = replace(presented.kpi, breakdowns=(target.by,), whole=False) if target.by else presented.whole
    if kpi is None:
        return
    places: dict[tuple[str, ...], list[Reading]] = {}
    for reading in view.readings([kpi], frozenset({target.window})):
        places.setdefault(tuple(reading.labels.values()), []).append(reading)
    for readings in places.values():
        stats = {r.stat: r.value for r in readings}
        value = stats.get(target.stat)
        if value is None:
            continue
        n = next((r.denominator for r in readings if presented.counts and r.denominator is not None), stats.get(_COUNT))
        enough = n is None or n >= target.min_n
        yield Verdict(target, readings[0].labels, value, n, enough and target.off(value))


def _sorted(verdicts: Iterable[Verdict]) -> list[Verdict]:
    return sorted(verdicts, key=lambda v: (not v.firing, SEVERITIES.index(v.target.severity), -_excess(v)))


def _excess(verdict: Verdict) -> float:
    """How many times over its target it is, for the order."""
    value, target = abs(verdict.value), abs(verdict.target.value)
    low, high = min(value, target), max(value, target)
    return high / low if low else high


def _status(verdicts: Iterable[Verdict]) -> dict[str, Json]:
    """KPI -> its most urgent firing severity and the window that it speaks of; ``ok`` where all targets are kept."""
    found: dict[str, Json] = {}
    for verdict in reversed(_sorted(verdicts)):
        target = verdict.target
        firing: Json = {"status": target.severity, "status_window": target.window}
        found[target.kpi] = firing if verdict.firing else {"status": "ok"}
    return found


def _target(verdict: Verdict) -> Json:
    t = verdict.target
    shown: Json = {
        "kpi": t.kpi,
        "window": t.window,
        "stat": t.stat,
        "op": t.op,
        "target": t.value,
        "severity": t.severity,
        "summary": t.summary,
        "value": _round(verdict.value),
        "firing": verdict.firing,
        "min_n": t.min_n,
    }
    if verdict.labels:
        shown["labels"] = dict(verdict.labels)
    return shown | ({"n": _round(verdict.n)} if verdict.n is not None else {})


def _firing(verdict: Verdict, known: Mapping[str, Presentation]) -> Json:
    shown = _target(verdict)
    return shown | {"summary": shown["summary"] or known[verdict.target.kpi].kpi.title}


# --- the frame


def _frame(view: View, window: str, engine: Mapping[str, Any] | None, min_n: int) -> Json:
    sums, rules = view.sums, view.sums.rules
    start = WINDOWS[window].start(sums.now, rules.tz)
    return {
        "at": _iso(sums.now),
        "zone": rules.zone,
        "currency": rules.currency,
        "window": {"name": window, "title": TITLES[window], "start": None if start is None else _iso(start)},
        "windows": list(WINDOWS),
        "min_n": min_n,
        "empty": not sums.sums("all"),
        "engine": dict(engine or {}),
    }


def _trends(history: History, window: str) -> list[Json]:
    """The rings of a window: instants in seconds, and KPI -> values at them."""
    return [
        {
            "at": [at // 1000 for at in ring.times],
            "series": {
                kpi: [None if v is None else _round(v, _TREND_DIGITS) for v in values]
                for kpi, values in ring.series.items()
                if any(v is not None for v in values)
            },
        }
        for ring in history.shown(window)
    ]


def _trend(history: History, window: str, kpi: str) -> Json:
    """The one of the rings that holds a KPI, with its values alone."""
    for ring in _trends(history, window):
        if kpi in ring["series"]:
            return {"at": ring["at"], "values": ring["series"][kpi]}
    return {"at": [], "values": []}


def _iso(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _round(value: float, digits: int = _DIGITS) -> float:
    """Without the noise of binary fractions; whole numbers as integers."""
    if value == int(value):
        return int(value)
    return float(f"{value:.{digits}g}")


# --- what the exporter holds


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request."""

    status: int
    body: bytes
    content_type: str = "application/json"


@dataclass(slots=True)
class BoardServer:
    """The board of one exporter: targets, history and the answers of the last moment.

    Args:
        presentations: of the catalogue; `for_view` makes them.
        targets: what is watched.
        min_n: below it a number is marked as resting on too few.
    """

    presentations: Mapping[str, Presentation]
    targets: tuple[Target, ...] = DEFAULTS
    min_n: int = MIN_N
    history: History = field(init=False)
    _kept: dict[tuple[str, ...], tuple[int, Json]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.history = History(self.presentations)

    @classmethod
    def for_view(cls, view: View, targets: Sequence[Target] = DEFAULTS, min_n: int = MIN_N) -> BoardServer:
        """A board for a view's catalogue.

        Raises:
            TargetError: a target that this catalogue cannot answer.
        """
        return cls(presentations(view.catalogue), check(tuple(targets), view.catalogue), min_n)

    def observe(self, view: View, events: int = 0) -> None:
        """Feed the small charts; call it every few seconds, once the view is complete, with the events seen in all."""
        self.history.feed(view, events)

    def answer(self, view: View, query: Mapping[str, str], engine: Mapping[str, Any] | None = None) -> Answer:
        """Answer ``/api/board``.

        ``query`` may hold ``window``, ``kpi`` (one in full), ``catalogue=0`` (without descriptions) and
        ``trends`` (the stamp of the trends that the asker has). Viewers of one window share an answer for
        almost a second.
        """
        window, kpi = query.get("window", DEFAULT_WINDOW), query.get("kpi")
        if window not in WINDOWS:
            return _refused(400, f"there is no window {window!r}", windows=list(WINDOWS))
        if kpi is not None and kpi not in self.presentations:
            return _refused(404, f"there is no KPI {kpi!r}")
        if kpi is not None:
            return _json(self._detail(view, kpi, window))
        payload = dict(self._payload(view, window)) | {"engine": dict(engine or {})}
        if query.get("catalogue") == "0":
            payload.pop("roles", None)
        if query.get("trends") == payload["trends"]["stamp"]:
            del payload["trends"]
        return _json(payload)

    def _payload(self, view: View, window: str) -> Json:
        kept = self._kept.get((window,))
        now = view.sums.now
        if kept is None or not 0 <= now - kept[0] < _FRESH_MS:
            payload = board_payload(
                view,
                window=window,
                targets=self.targets,
                history=self.history,
                known=self.presentations,
                min_n=self.min_n,
            )
            self._kept[window,] = kept = (now, payload)
        return kept[1]

    def _detail(self, view: View, kpi: str, window: str) -> Json:
        return detail_payload(
            view,
            kpi,
            window=window,
            targets=self.targets,
            history=self.history,
            known=self.presentations,
            min_n=self.min_n,
        )


def _json(payload: Json, status: int = 200) -> Answer:
    return Answer(status, json.dumps(payload, separators=(",", ":"), allow_nan=False).encode())


def _refused(status: int, error: str, **more: object) -> Answer:
    return _json({"error": error, **more}, status)
