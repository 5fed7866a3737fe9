"""What the page asks for, computed from a view: a small payload per refresh, a larger one per opened KPI."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from salesgauge.metrics.kpis.kpi import never_came
from salesgauge.metrics.kpis.targets import Target, check
from salesgauge.metrics.rules.windows import WINDOWS
from salesgauge.streams.io.instants import iso
from salesgauge.streams.serve.board import chart
from salesgauge.streams.serve.board.history import Sparklines
from salesgauge.streams.serve.board.numbers import Headline, changed, number, parts, rounded, shown, window_of
from salesgauge.streams.serve.board.presentation import Presentation, presentations, roles
from salesgauge.streams.serve.board.scope import WHOLE, LabelFilter, choices
from salesgauge.streams.serve.board.state import BoardState, Progress
from salesgauge.streams.serve.board.targets import DEFAULTS
from salesgauge.streams.serve.board.verdicts import Verdict, document, judge, of_card, statuses
from salesgauge.streams.serve.board.waiting import waiting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from salesgauge.metrics.kpis.readings import View

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

_TREND_DIGITS = 6
_FRESH_MS = 900
_TOP_ROWS = 4
_PARTS_ROWS = 8
_DETAIL_ROWS = 200

Json = dict[str, Any]


def board_payload(
    view: View,
    *,
    window: str = DEFAULT_WINDOW,
    targets: Sequence[Target] = DEFAULTS,
    engine: Mapping[str, Any] | None = None,
    history: Sparklines | None = None,
    known: Mapping[str, Presentation] | None = None,
    min_n: int = MIN_N,
    catalogue: bool = True,
    trends: str | None = None,
    scope: LabelFilter = WHOLE,
    judged: bool = True,
) -> Json:
    """All that one refresh of the page needs, at the view's instant.

    Args:
        view: its sums are up to date and advanced to the instant to show.
        window: of the numbers; KPIs of the current state are read as such.
        targets: what is judged, each in a window of its own.
        engine: how the engine is: ``ready`` and ``reasons`` why not, ``lag`` (records), ``freshness``
            (seconds), ``partitions``, ``workers``, ``events``.
        history: for the small charts.
        known: `presentations` of the catalogue, if somebody keeps them.
        min_n: below it a number is marked as resting on too few.
        catalogue: whether to describe the KPIs (title, help, formula, unit, direction) too.
        trends: the stamp of the trends that the asker has; they are left out while they are the same.
        scope: one team, rep or source to which all numbers are narrowed.
        judged: whether targets are judged; not while history is being read.

    Raises:
        KeyError: there is no such window.
    """
    known = presentations(view.catalogue) if known is None else known
    verdicts = judge(view, targets, known, scope) if judged else []
    cards = _Cards(view, window, scope, verdicts, min_n)
    payload: Json = {
        **_frame(view, window, engine, min_n),
        "scope": dict(scope.labels),
        "choices": choices(view),
        "judged": judged,
        "waiting": waiting(view, scope),
        "firing": [_firing(v, known) for v in verdicts if v.firing],
        "watched": len({id(v.target) for v in verdicts}) if scope.labels else len(targets),
        "kpis": [cards.card(presented) for presented in known.values()],
    }
    if catalogue:
        payload["roles"] = roles(known)
    if history is not None and trends != history.stamp(window) and not scope.labels:
        payload["trends"] = {"stamp": history.stamp(window), "rings": _trends(history, window)}
    return payload


def detail_payload(
    view: View,
    kpi: str,
    *,
    window: str = DEFAULT_WINDOW,
    targets: Sequence[Target] = DEFAULTS,
    history: Sparklines | None = None,
    known: Mapping[str, Presentation] | None = None,
    min_n: int = MIN_N,
    scope: LabelFilter = WHOLE,
    judged: bool = True,
) -> Json:
    """One KPI in full: its course, distribution, all its windows, all its breakdowns, its targets.

    Raises:
        KeyError: there is no such KPI or window.
    """
    known = presentations(view.catalogue) if known is None else known
    presented = known[kpi]
    read = window_of(presented, window)
    mine = judge(view, [t for t in targets if t.kpi == kpi], {kpi: presented}, scope) if judged else []
    unread = scope.unread(presented.kpi, view.catalogue)
    payload: Json = {
        **_frame(view, window, None, min_n),
        "kpi": kpi,
        "scope": dict(scope.labels),
        "now": _Cards(view, window, scope, mine, min_n).card(presented),
        "over": [_over(view, presented, name, min_n, scope) for name in presented.kpi.windows],
        "breakdowns": [
            parts(view, presented, position, read, _DETAIL_ROWS, min_n=min_n)
            for position in range(len(presented.parts))
        ],
        "targets": [document(v) | {"enough": v.enough} for v in mine],
    }
    if not unread and read in presented.kpi.windows:
        payload["course"] = chart.course(view, presented.kpi, read, scope.labels, min_n)
        payload["classes"] = chart.classes(view, presented.kpi, read, scope.labels)
    if history is not None and not scope.labels:
        payload["trend"] = _trend(history, window, kpi)
    return payload


# --- cards


@dataclass(frozen=True, slots=True)
class _Cards:
    """What all cards of one answer share."""

    view: View
    window: str
    scope: LabelFilter
    verdicts: Sequence[Verdict]
    min_n: int

    def card(self, presented: Presentation) -> Json:
        """One KPI; what it cannot say it gives the reason for."""
        kpi = presented.kpi
        if missing := self.view.missing(kpi):
            why = f"Not connected: {never_came(missing)}"
            return {"id": kpi.id, "value": None, "unset": list(missing), "why": why}
        if unread := self.scope.unread(kpi, self.view.catalogue):
            return {"id": kpi.id, "value": None, "not_by": unread}
        read = window_of(presented, self.window)
        found = number(self.view, presented, read, self.scope)
        json: Json = {"id": kpi.id} | shown(found, kpi.headline.unit, self.min_n)
        if presented.headline and json["value"] is None:
            json["why"] = self._why(presented, read)
        if (moved := changed(self.view, presented, read, found, self.scope)) is not None:
            json["change"] = moved
        return json | self._judged(presented, read) | self._parts(presented, read)

    def _why(self, presented: Presentation, read: str) -> str:
        return presented.why_empty(self.window if read != "all" else "all", TITLES[self.window])

    def _judged(self, presented: Presentation, read: str) -> Json:
        mine = [v for v in self.verdicts if v.target.kpi == presented.kpi.id]
        json: Json = {}
        status = statuses(mine).get(presented.kpi.id)
        if status:
            json |= status if status.get("status_window") not in {self.window, read} else {"status": status["status"]}
        target = of_card(mine, presented.kpi.id, presented.headline, read)
        return json | ({"target": target} if target else {})

    def _parts(self, presented: Presentation, read: str) -> Json:
        if not presented.parts or self.scope.labels:
            return {}
        if read not in presented.kpi.windows:
            return {} if presented.headline else {"why": self._why(presented, read)}
        rows = _TOP_ROWS if presented.headline else _PARTS_ROWS
        top = parts(self.view, presented, 0, read, rows, min_n=self.min_n)
        if top["rows"]:
            return {"top": top}
        return {} if presented.headline else {"why": self._why(presented, read)}


def _over(view: View, presented: Presentation, window: str, min_n: int, scope: LabelFilter) -> Json:
    found: Headline | None = number(view, presented, window, scope)
    return {"window": window} | shown(found, presented.kpi.headline.unit, min_n)


def _firing(verdict: Verdict, known: Mapping[str, Presentation]) -> Json:
    json = document(verdict)
    return json | {"summary": json["summary"] or known[verdict.target.kpi].kpi.title}


# --- the frame


def _frame(view: View, window: str, engine: Mapping[str, Any] | None, min_n: int) -> Json:
    sums, rules = view.sums, view.sums.rules
    start = WINDOWS[window].start(sums.now, rules.tz)
    return {
        "at": iso(sums.now),
        "zone": rules.zone,
        "currency": rules.currency,
        "window": {"name": window, "title": TITLES[window], "start": None if start is None else iso(start)},
        "windows": list(WINDOWS),
        "min_n": min_n,
        "empty": not sums.sums("all"),
        "engine": dict(engine or {}),
    }


def _trends(history: Sparklines, window: str) -> list[Json]:
    """The rings of a window: instants in seconds, and KPI -> values at them."""
    return [
        {
            "at": [at // 1000 for at in ring.times],
            "series": {
                kpi: [None if v is None else rounded(v, _TREND_DIGITS) for v in values]
                for kpi, values in ring.series.items()
                if any(v is not None for v in values)
            },
        }
        for ring in history.shown(window)
    ]


def _trend(history: Sparklines, window: str, kpi: str) -> Json:
    """The one of the rings that holds a KPI, with its values alone."""
    for ring in _trends(history, window):
        if kpi in ring["series"]:
            return {"at": ring["at"], "values": ring["series"][kpi]}
    return {"at": [], "values": []}


# --- what the exporter holds


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request."""

    status: int
    body: bytes
    content_type: str = "application/json"
    filename: str = ""
    """Where it is to be saved as a file."""


@dataclass(slots=True)
class BoardServer:
    """The board of one exporter: targets, history and the answers of the last moment.

    Args:
        presentations: of the catalogue; `for_view` makes them.
        targets: what is judged.
        min_n: below it a number is marked as resting on too few.
    """

    presentations: Mapping[str, Presentation]
    targets: tuple[Target, ...] = DEFAULTS
    min_n: int = MIN_N
    history: Sparklines = field(init=False)
    progress: Progress = field(default_factory=Progress)
    _kept: dict[tuple[object, ...], tuple[int, Json]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.history = Sparklines(self.presentations)

    @classmethod
    def for_view(cls, view: View, targets: Sequence[Target] = DEFAULTS, min_n: int = MIN_N) -> BoardServer:
        """A board for a view's catalogue.

        Raises:
            TargetError: a target that this catalogue cannot answer.
        """
        return cls(presentations(view.catalogue), check(tuple(targets), view.catalogue), min_n)

    def observe(self, view: View, events: int = 0, newest: int = 0) -> None:
        """Feed the small charts and the progress; call it every few seconds.

        Args:
            view: its sums are up to date.
            events: seen in all.
            newest: instant of the newest event, ms.
        """
        self.progress.look(view.sums.now, events, newest, view.sums.first_instant())
        self.history.feed(view, events)

    def answer(self, view: View, query: Mapping[str, str], engine: Mapping[str, Any] | None = None) -> Answer:
        """Answer ``/api/board``.

        ``query`` may hold ``window``; ``team``, ``rep`` or ``source``; ``kpi`` (one in full); ``catalogue=0`` (without
        descriptions); ``trends`` (the stamp of the trends that the asker has); ``format=csv`` (the numbers as a table).
        Viewers of one window and scope share an answer for almost a second.
        """
        window, kpi = query.get("window", DEFAULT_WINDOW), query.get("kpi")
        if window not in WINDOWS:
            return _refused(400, f"there is no window {window!r}", windows=list(WINDOWS))
        if kpi is not None and kpi not in self.presentations:
            return _refused(404, f"there is no KPI {kpi!r}")
        told = dict(engine or {})
        newest = told.pop("newest_event", 0)
        if "events" in told:
            self.progress.look(view.sums.now, told["events"], newest, view.sums.first_instant())
        told |= self.progress.state(view.sums.now, told, empty=not view.sums.sums("all"))
        if "as_of" in told:
            told["as_of"] = iso(told["as_of"])
        scope, judged = LabelFilter.of(query), told["state"] == BoardState.LIVE
        if kpi is not None:
            return _json(self._detail(view, kpi, window, scope, judged=judged) | {"engine": {"state": told["state"]}})
        payload = dict(self._payload(view, window, scope, told, judged=judged))
        if query.get("format") == "csv":
            return _table(payload, self.presentations)
        if query.get("catalogue") == "0":
            payload.pop("roles", None)
        if "trends" in payload and query.get("trends") == payload["trends"]["stamp"]:
            del payload["trends"]
        return _json(payload | {"engine": told})

    def _payload(self, view: View, window: str, scope: LabelFilter, engine: Json, *, judged: bool) -> Json:
        key = (window, judged, *scope.key)
        kept = self._kept.get(key)
        now = view.sums.now
        if kept is None or not 0 <= now - kept[0] < _FRESH_MS:
            payload = board_payload(
                view,
                window=window,
                targets=self.targets,
                engine=engine,
                history=self.history,
                known=self.presentations,
                min_n=self.min_n,
                scope=scope,
                judged=judged,
            )
            self._kept = {k: v for k, v in self._kept.items() if 0 <= now - v[0] < _FRESH_MS}
            self._kept[key] = kept = (now, payload)
        return kept[1]

    def _detail(self, view: View, kpi: str, window: str, scope: LabelFilter, *, judged: bool) -> Json:
        return detail_payload(
            view,
            kpi,
            window=window,
            targets=self.targets,
            history=self.history,
            known=self.presentations,
            min_n=self.min_n,
            scope=scope,
            judged=judged,
        )


_MET = {">": "at most", ">=": "below", "<": "at least", "<=": "above"}
"""How a number that meets its target stands to it, by the operator that tells that it is off."""

_COLUMNS = ("kpi", "title", "role", "window", "value", "unit", "n", "before", "target", "status", "note")


def _table(payload: Json, known: Mapping[str, Presentation]) -> Answer:
    """The cards as CSV, UTF-8, one row each; the instant and the scope are in the file's name."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for card in payload["kpis"]:
        kpi = known[card["id"]].kpi
        target = card.get("target", {})
        writer.writerow(
            (
                kpi.id,
                kpi.title,
                kpi.role.value,
                window_of(known[card["id"]], payload["window"]["name"]),
                "" if card.get("value") is None else card["value"],
                kpi.per or kpi.headline.unit.value,
                card.get("n", ""),
                card.get("change", {}).get("before", ""),
                f"{_MET[target['op']]} {target['target']:g}" if target else "",
                card.get("status", ""),
                card.get("why") or (f"not by {' and '.join(card['not_by'])}" if "not_by" in card else ""),
            )
        )
    named = "-".join(("salesgauge", payload["window"]["name"], *payload["scope"].values(), payload["at"][:19]))
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in named)
    return Answer(200, text.getvalue().encode(), "text/csv", f"{safe}.csv")


def _json(payload: Json, status: int = 200) -> Answer:
    return Answer(status, json.dumps(payload, separators=(",", ":"), allow_nan=False).encode())


def _refused(status: int, error: str, **more: object) -> Answer:
    return _json({"error": error, **more}, status)
