"""What the demo shows in the terminal: the numbers, and in plain words what happens in the company."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.table import Table

from salesgauge.metrics.kpis.kpi import NOW, Place, Stat, Unit
from salesgauge.streams.serve.board.presentation import presentations
from salesgauge.streams.serve.board.verdicts import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from salesgauge.metrics.kpis.readings import Reading
    from salesgauge.metrics.kpis.targets import Target
    from salesgauge.streams.serve.board.presentation import Presentation
    from salesgauge.streams.serve.exporter import Board
    from salesgauge.streams.simulation.feed import Demonstration

_COLUMNS = ("1h", "24h", "30d")
_HOLD_MS = 10 * 60_000
"""So long (of the company's time) a target must be met until its alert has ended."""

Key = tuple[str, ...]


@dataclass(slots=True)
class Story:
    """What has happened in a demonstration: the steps of its scenario, and the alerts that begin and end.

    Args:
        demonstration: what is told.
        board: what the alerts are judged from.
        targets: by which they are, as on the board.
    """

    demonstration: Demonstration
    board: Board
    targets: Sequence[Target]
    _known: Mapping[str, Presentation] = field(init=False)
    _told: int = 0
    _firing: dict[Key, tuple[int, str]] = field(default_factory=dict)
    """Of each alert: when it fired last (ms), and its text."""

    def __post_init__(self) -> None:
        self._known = presentations(self.board.catalogue)

    @property
    def time(self) -> datetime:
        """The company's time, local."""
        zone = ZoneInfo(self.demonstration.organisation.zone)
        return datetime.fromtimestamp(self.demonstration.clock() / 1000, zone)

    def news(self) -> list[str]:
        """Lines about what has happened since they were asked for last."""
        return [*self._steps(), *self._alerts()]

    def _steps(self) -> list[str]:
        now, lines = self.time, []
        for at, step in self.demonstration.times[self._told :]:
            if at > now:
                break
            self._told += 1
            lines.append(f"{at.astimezone(now.tzinfo):%a %H:%M}  {step.says}")
            if step.look:
                lines.append(f"           Look at: {step.look}")
        return lines

    def _alerts(self) -> list[str]:
        with self.board.now() as view:
            now, firing = view.sums.now, [v for v in judge(view, self.targets, self._known) if v.firing]
        shown, lines = f"{self.time:%a %H:%M}", []
        for verdict in firing:
            key = (verdict.target.kpi, verdict.target.stat, verdict.target.window, *verdict.labels.values())
            if key not in self._firing:
                value = formatted(self._known[verdict.target.kpi].kpi.stat(verdict.target.stat), verdict.value)
                lines.append(f"{shown}  ALERT ({verdict.target.severity}): {_about(verdict)}: {value}")
            self._firing[key] = (now, _about(verdict))
        for key, (at, about) in list(self._firing.items()):
            if now - at > _HOLD_MS:
                del self._firing[key]
                lines.append(f"{shown}  over: {about}")
        return lines


def _about(verdict: Verdict) -> str:
    who = ", ".join(verdict.labels.values())
    summary = verdict.target.summary or verdict.target.kpi
    return f"{summary}, {who}" if who else summary


def readings(board: Board) -> dict[tuple[str, str, str], Reading]:
    """Whole readings of the rows shown, by KPI, stat and window; none before the first publication."""
    if not board.subscriber.statuses:
        return {}
    kpis = list({kpi.id: kpi for kpi, _ in board.catalogue.shown(Place.TERMINAL)}.values())
    with board.now() as view:
        windows = frozenset({*_COLUMNS, "all"})
        return {(r.kpi, r.stat, r.window): r for r in view.readings(kpis, windows) if not r.labels}


def numbers(board: Board, read: Mapping[tuple[str, str, str], Reading], title: str) -> Table:
    """The headline KPIs as a table."""
    table = Table("KPI", *(f"last {c}" for c in _COLUMNS), title=title, min_width=70)
    for column in table.columns[1:]:
        column.justify = "right"
    for kpi, shown in board.catalogue.shown(Place.TERMINAL):
        stat = kpi.stat(shown.stat) if shown.stat else kpi.headline
        found = {w: read.get((kpi.id, stat.name, w)) for w in (*_COLUMNS, "all")}
        cells = {w: "-" if reading is None else formatted(stat, reading.value) for w, reading in found.items()}
        name = shown.title or kpi.title
        if kpi.windows == NOW:
            table.add_row(name, "", "", f"[bold]{cells['all']}[/] now")
        else:
            table.add_row(name, *(cells[column] if column in kpi.windows else "" for column in _COLUMNS))
    return table


def formatted(stat: Stat, value: float) -> str:
    """A value as people write it."""
    match stat.unit:
        case Unit.SECONDS:
            return _duration(value)
        case Unit.SHARE:
            return f"{value:.1%}"
        case Unit.MONEY:
            return f"{value:,.0f} EUR"
        case _:
            return f"{value:,.0f}"


def _duration(seconds: float) -> str:
    span = timedelta(seconds=seconds)
    if span < timedelta(minutes=1):
        return f"{seconds:.0f} s"
    if span < timedelta(hours=1):
        return f"{span / timedelta(minutes=1):.0f} min"
    if span < timedelta(days=1):
        return f"{span / timedelta(hours=1):.1f} h"
    return f"{span.days} days"
