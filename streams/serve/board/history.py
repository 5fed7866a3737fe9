"""The recent past of headline numbers, for small charts: bounded, under the caller's clock.

Per window there is a grid of instants (a minute for ``1h``, an hour for the others) that is first read from
the windows themselves, wound back, and then grows live. What cannot be read from the past (`Presentation.rewinds`)
grows live only. Stocks have a ring of their own that begins fine and doubles its step when it is full, so
that it always covers the whole time since the start, up to a day.

While a backlog of events comes in, windows change far into the past and the stocks of the moment are not those of
any moment: nothing is kept then, and all is read anew afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from salesgauge.metrics.kpis.kpi import NOW
from salesgauge.metrics.rules.model import DAY, HOUR, MINUTE
from salesgauge.metrics.rules.windows import WINDOWS

if TYPE_CHECKING:
    from salesgauge.metrics.kpis.readings import View
    from salesgauge.streams.serve.board.presentation import Presentation

STOCKS = "now"
"""The ring of what is so at an instant."""

_FIRST_STEP = 5_000
_STOCK_POINTS = 96
_BACKLOG = 200
_BACKLOG_SHARE = 0.01

Values = Mapping[str, float]


@dataclass(slots=True)
class Ring:
    """Values of several series at common instants, at most ``keep`` of them and at least ``step`` ms apart.

    Where it is full it forgets the oldest or, while ``step`` is below ``longest``, every second one, and
    doubles the step.
    """

    step: int
    keep: int
    longest: int = 0
    times: list[int] = field(default_factory=list)
    series: dict[str, list[float | None]] = field(default_factory=dict)

    def due(self, at: int) -> bool:
        """Whether an instant falls into a later step than the last one."""
        return not self.times or at // self.step > self.times[-1] // self.step

    def add(self, at: int, values: Values) -> None:
        """Keep the values of an instant, if it is due."""
        if not self.due(at):
            return
        for name in values.keys() - self.series.keys():
            self.series[name] = [None] * len(self.times)
        self.times.append(at)
        for name, points in self.series.items():
            points.append(values.get(name))
        if len(self.times) > self.keep:
            self._shrink()

    def _shrink(self) -> None:
        if self.step < self.longest:
            self.step *= 2
            kept = slice((len(self.times) - 1) % 2, None, 2)
        else:
            kept = slice(1, None)
        self.times = self.times[kept]
        self.series = {name: points[kept] for name, points in self.series.items()}


def _ring(window: str) -> Ring:
    if window == STOCKS:
        return Ring(_FIRST_STEP, _STOCK_POINTS, DAY // _STOCK_POINTS)
    return Ring(MINUTE, 61) if window == "1h" else Ring(HOUR, 25)


def _rings() -> dict[str, Ring]:
    return {name: _ring(name) for name in (STOCKS, *WINDOWS)}


@dataclass(slots=True)
class Sparklines:
    """What the small charts show.

    Args:
        presentations: of the KPIs whose headlines are kept.
    """

    presentations: Mapping[str, Presentation]
    rings: dict[str, Ring] = field(default_factory=_rings)
    _filled: bool = False
    _events: int | None = None

    def feed(self, view: View, events: int = 0) -> None:
        """Keep the headlines at the view's instant, where they are due; call it every few seconds.

        The first time, and after a backlog, it winds the view's windows back and forth again to read the last day:
        about a second.

        Args:
            view: its sums are up to date and advanced to the present.
            events: how many it has seen in all. A backlog comes in while there are many more of them at each call.
        """
        # The most that were seen: a partition that is missing while its worker changes comes back, which is no backlog.
        before, self._events = self._events, max(events, self._events or 0)
        if before is not None and events - before > max(_BACKLOG, events * _BACKLOG_SHARE):
            self.rings = _rings()
            self._filled = False
            return
        if not self._filled:
            self._filled = True
            self._wind_back(view)
        now = view.sums.now
        for name, ring in self.rings.items():
            if ring.due(now):
                ring.add(now, self._headlines(view, name, [x for x in self.presentations.values() if _in(x, name)]))

    def shown(self, window: str) -> tuple[Ring, Ring]:
        """The rings from which the trends of a window are drawn: its own, and that of the stocks."""
        return self.rings[window], self.rings[STOCKS]

    def stamp(self, window: str) -> str:
        """Changes whenever `trends` does."""
        return "-".join(str((self.rings[name].times or (0,))[-1] // 1000) for name in (window, STOCKS))

    def _wind_back(self, view: View) -> None:
        sums, now = view.sums, view.sums.now
        earliest = sums.first_instant()
        for at, names in _past(self.rings, now):
            if at <= earliest:
                continue
            sums.advance(at)
            for name in names:
                kept = [x for x in self.presentations.values() if _in(x, name) and x.rewinds and _reaches(x, name)]
                self.rings[name].add(at, self._headlines(view, name, kept))
        sums.advance(now)

    @staticmethod
    def _headlines(view: View, window: str, kept: Iterable[Presentation]) -> dict[str, float]:
        known = {x.kpi.id: x.headline for x in kept}
        read = "all" if window == STOCKS else window
        wholes = [x.whole for x in kept if x.whole is not None]
        readings = view.readings(wholes, frozenset({read}))
        return {r.kpi: r.value for r in readings if r.stat == known[r.kpi]}


def _past(rings: Mapping[str, Ring], now: int) -> list[tuple[int, list[str]]]:
    """The instants of the grids up to now with their rings: each is the last one of its pane."""
    found: dict[int, list[str]] = {}
    for name, ring in rings.items():
        if name != STOCKS:
            newest = now // ring.step * ring.step
            for back in range(ring.keep - 2, -1, -1):
                found.setdefault(newest - back * ring.step - 1, []).append(name)
    return sorted(found.items())


def _in(presented: Presentation, ring: str) -> bool:
    """Whether a KPI has a place in a ring: stocks in theirs only."""
    if not presented.headline:
        return False
    return (
        presented.kpi.windows == NOW
        if ring == STOCKS
        else ring in presented.kpi.windows and presented.kpi.windows != NOW
    )


def _reaches(presented: Presentation, window: str) -> bool:
    """Whether panes are kept long enough to read a KPI a day ago: not the day before the day before."""
    return window != "24h" or not any(stat.formula.needs_before() for stat in presented.kpi.stats)
