"""Targets at an instant: which numbers are off target. Alert rules judge by the same targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from salesgauge.metrics.kpis.targets import SEVERITIES, Target
from salesgauge.streams.serve.board.numbers import COUNT, rounded
from salesgauge.streams.serve.board.scope import WHOLE, LabelFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from salesgauge.metrics.kpis.readings import Reading, View
    from salesgauge.streams.serve.board.presentation import Presentation

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, or a part of one with a breakdown, at an instant."""

    target: Target
    labels: Mapping[str, str]
    value: float
    n: float | None
    firing: bool

    @property
    def enough(self) -> bool:
        """Whether enough is behind the number to judge it."""
        return self.n is None or self.n >= self.target.min_n


def judge(
    view: View, targets: Iterable[Target], known: Mapping[str, Presentation], scope: LabelFilter = WHOLE
) -> list[Verdict]:
    """All targets at the view's instant, the most urgent first; what has no value, or too little behind it, is not off.

    In a scope, only what speaks of it: parts of that team, rep or source, and the company's targets of rates and
    durations. Those of counts are of the whole company.
    """
    found: list[Verdict] = []
    for target in targets:
        presented = known.get(target.kpi)
        if presented is not None:
            found += _judge(view, target, presented, scope)
    return sorted(found, key=lambda v: (not v.firing, SEVERITIES.index(v.target.severity), -_excess(v)))


def _judge(view: View, target: Target, presented: Presentation, scope: LabelFilter) -> Iterator[Verdict]:
    if scope.labels and not target.by:
        if not presented.additive and not scope.unread(presented.kpi, view.catalogue):
            read = view.read(presented.kpi, presented.kpi.stats, target.window, scope.labels)
            yield from _verdict(target, presented, list(read.values()))
        return
    kpi = replace(presented.kpi, breakdowns=(target.by,), whole=False) if target.by else presented.whole
    if kpi is None:
        return
    parts: dict[tuple[str, ...], list[Reading]] = {}
    for reading in view.readings([kpi], frozenset({target.window})):
        if all(reading.labels.get(dim) == value for dim, value in scope.labels.items()):
            parts.setdefault(tuple(reading.labels.values()), []).append(reading)
    given = _given(view, target)
    for labels, readings in parts.items():
        if given is None or labels in given:
            yield from _verdict(target, presented, readings)


def _given(view: View, target: Target) -> set[tuple[str, ...]] | None:
    """The label values for which the target's other condition is true; None where it has none."""
    if not target.given:
        return None
    kpi, stat = target.condition(view.catalogue)
    narrowed = replace(kpi, breakdowns=(target.by,) if target.by else (), whole=not target.by)
    read = view.readings([narrowed], frozenset({target.window}))
    return {tuple(r.labels.values()) for r in read if r.stat == stat and r.value > 0}


def _verdict(target: Target, presented: Presentation, readings: list[Reading]) -> Iterator[Verdict]:
    stats = {r.stat: r.value for r in readings}
    value = stats.get(target.stat)
    if value is None:
        return
    n = next((r.denominator for r in readings if presented.counts and r.denominator is not None), stats.get(COUNT))
    enough = n is None or n >= target.min_n
    yield Verdict(target, readings[0].labels, value, n, enough and target.off(value))


def _excess(verdict: Verdict) -> float:
    """How far beyond its target a number is, as a factor; to order verdicts of one severity."""
    value, target = abs(verdict.value), abs(verdict.target.value)
    if verdict.target.op.startswith("<"):
        value, target = target, value
    return value / target if target else value


def statuses(verdicts: Iterable[Verdict]) -> dict[str, Json]:
    """KPI -> its most urgent verdict: severity and the window that it speaks of; ``ok`` where all targets are met."""
    found: dict[str, Json] = {}
    for verdict in verdicts:
        target = verdict.target
        off: Json = {"status": target.severity, "status_window": target.window}
        found.setdefault(target.kpi, off if verdict.firing else {"status": "ok"})
    return found


def of_card(verdicts: Iterable[Verdict], kpi: str, stat: str, window: str) -> Json | None:
    """The target to be shown with a headline: that of the window shown, else the most urgent one of another window."""
    mine = [v for v in verdicts if v.target.kpi == kpi and v.target.stat == stat and not v.target.by]
    chosen = next((v for v in mine if v.target.window == window), next(iter(mine), None))
    return None if chosen is None else document(chosen) | {"enough": chosen.enough}


def document(verdict: Verdict) -> Json:
    """A verdict for the page."""
    t = verdict.target
    shown: Json = {
        "kpi": t.kpi,
        "window": t.window,
        "stat": t.stat,
        "op": t.op,
        "target": t.value,
        "severity": t.severity,
        "summary": t.summary,
        "value": rounded(verdict.value),
        "firing": verdict.firing,
        "min_n": t.min_n,
        "action": list(t.action),
    }
    if verdict.labels:
        shown["labels"] = dict(verdict.labels)
    return shown | ({"n": rounded(verdict.n)} if verdict.n is not None else {})
