"""Windows of time: where each one begins, and when an instant leaves it.

A window ends now, ``t``, and begins at :meth:`Window.begin`, inclusive. Rolling windows of more than a day begin on a
pane boundary at or after ``t - span``, so that all figures of one window speak of the same stretch of time.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from salesgauge.metrics.rules.model import DAY, HOUR, MINUTE, Rules

_EPOCH = datetime.fromtimestamp(0, UTC)
_MS = timedelta(milliseconds=1)
_MONTHS_PER_QUARTER = 3
_FIRST = (datetime(2, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
_LAST = (datetime(9990, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
"""Calendars are computed between these instants; what lies outside is treated as lying on the bound."""


class Calendar(enum.StrEnum):
    """Where a calendar window begins, in the business time zone."""

    DAY = "day"
    MONTH = "month"
    QUARTER = "quarter"


@dataclass(frozen=True, slots=True)
class Window:
    """A window by name: a ``span`` in ms, a ``calendar`` period to date, or neither for all time."""

    name: str
    span: int = 0
    calendar: Calendar | None = None

    @property
    def short(self) -> bool:
        """Whether it is made of minutes; longer ones are made of coarse panes."""
        return 0 < self.span <= DAY or self.calendar is Calendar.DAY

    def start(self, now: int, zone: tzinfo) -> int | None:
        """The first instant of the window that ends at ``now`` (ms), not rounded; None for all time."""
        if self.span:
            return now - self.span
        return None if self.calendar is None else _period_start(self.calendar, now, zone)

    def begin(self, now: int, rules: Rules) -> int | None:
        """The first instant that sums over the window ending at ``now`` (ms) hold; None for all time."""
        start, size = self.start(now, rules.tz), MINUTE if self.short else rules.coarse_ms
        return None if start is None else -(-start // size) * size

    def leaves(self, at: int, rules: Rules) -> int:
        """The first instant (ms) whose window of this kind does not hold ``at`` any more. Not for all time."""
        if self.span:
            size = MINUTE if self.short else rules.coarse_ms
            return at // size * size + self.span + 1
        assert self.calendar is not None
        return max(_next_period(self.calendar, at, rules.tz), at + 1)

    def length(self, now: int, zone: tzinfo, first: int) -> int:
        """How long the window is at ``now``, in ms; all time is counted from ``first``."""
        start = self.start(now, zone)
        return max(0, now - (first if start is None else start))


def _local(at: int, zone: tzinfo) -> datetime:
    return (_EPOCH + min(max(at, _FIRST), _LAST) * _MS).astimezone(zone)


def _period_start(calendar: Calendar, at: int, zone: tzinfo) -> int:
    midnight = _local(at, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if calendar is Calendar.MONTH:
        midnight = midnight.replace(day=1)
    elif calendar is Calendar.QUARTER:
        midnight = midnight.replace(month=_first_month(midnight.month), day=1)
    return (midnight - _EPOCH) // _MS


def _next_period(calendar: Calendar, at: int, zone: tzinfo) -> int:
    day = _local(at, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if calendar is Calendar.DAY:
        return (day + timedelta(days=1) - _EPOCH) // _MS
    last = day.month if calendar is Calendar.MONTH else _first_month(day.month) + _MONTHS_PER_QUARTER - 1
    years, month = divmod(last, 12)
    return (day.replace(year=day.year + years, month=month + 1, day=1) - _EPOCH) // _MS


def _first_month(month: int) -> int:
    return (month - 1) // _MONTHS_PER_QUARTER * _MONTHS_PER_QUARTER + 1


WINDOWS: dict[str, Window] = {
    w.name: w
    for w in (
        Window("1h", HOUR),
        Window("24h", DAY),
        Window("today", calendar=Calendar.DAY),
        Window("7d", 7 * DAY),
        Window("30d", 30 * DAY),
        Window("mtd", calendar=Calendar.MONTH),
        Window("90d", 90 * DAY),
        Window("qtd", calendar=Calendar.QUARTER),
        Window("365d", 365 * DAY),
        Window("all"),
    )
}

COMPARED = ("7d", "30d", "90d", "365d", "mtd", "qtd")
"""Windows whose end is compared with their start, account by account: retention, movements of recurring revenue."""


def sales_period_of(at: int, rules: Rules) -> tuple[int, int]:
    """The first instant (ms) of the sales period that holds an instant, and that of the next one."""
    window = WINDOWS["mtd" if rules.sales_period == "month" else "qtd"]
    return window.start(at, rules.tz) or 0, window.leaves(at, rules)
