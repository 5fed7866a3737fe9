"""Working time as a function of the instant, and back. Instants are milliseconds since 1970-01-01 UTC."""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import holidays

if TYPE_CHECKING:
    from datetime import time

    from salesgauge.streams.simulation.organisation import Organisation

HOUR = 3_600_000
_SATURDAY = 5
_DAY = timedelta(days=1)


class BusinessClock:
    """How much the organisation has worked until an instant: a monotone function and its inverse.

    Between closing and opening it stands still. After `accelerate` it never does, and runs faster.
    """

    def __init__(self, organisation: Organisation, start: int) -> None:
        self.zone = ZoneInfo(organisation.zone)
        self._holidays = holidays.country_holidays(organisation.country) if organisation.country else {}
        self._hours = (organisation.opens, organisation.closes)
        self._next = self.local(start).date() - _DAY
        self._opens: list[int] = []
        self._closes: list[int] = []
        self._before: list[int] = []  # worked until the opening of the same index
        self._accelerated_at: int | None = None
        self._accelerated_worked = 0
        self.pace = 1.0
        self._extend()

    @property
    def working_day(self) -> int:
        """The length of an ordinary working day in ms."""
        opens, closes = self._hours
        return (closes.hour - opens.hour) * HOUR + (closes.minute - opens.minute) * HOUR // 60

    def local(self, at: int) -> datetime:
        """The wall clock in the business time zone."""
        return datetime.fromtimestamp(at / 1000, self.zone)

    def midnight(self, day: date) -> int:
        """The instant at which a local day begins."""
        return int(datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp() * 1000)

    def works_on(self, day: date) -> bool:
        """Is it neither weekend nor public holiday?"""
        return day.weekday() < _SATURDAY and day not in self._holidays

    def is_open(self, at: int) -> bool:
        """Is the instant within (regular) working hours?"""
        while self._closes[-1] <= at:
            self._extend()
        index = bisect_right(self._opens, at) - 1
        return index >= 0 and at < self._closes[index]

    def worked(self, at: int) -> int:
        """Working milliseconds until ``at``."""
        if self._accelerated_at is not None and at >= self._accelerated_at:
            return self._accelerated_worked + int((at - self._accelerated_at) * self.pace)
        return self.regularly_worked(at)

    def regularly_worked(self, at: int) -> int:
        """Working milliseconds until ``at`` by regular hours, whatever `accelerate` says."""
        while self._closes[-1] <= at:
            self._extend()
        index = bisect_right(self._opens, at) - 1
        if index < 0:
            return 0
        return self._before[index] + min(at, self._closes[index]) - self._opens[index]

    def instant(self, worked: int) -> int:
        """The (last) instant at which so much has been worked: an opening rather than a closing."""
        if self._accelerated_at is not None and worked >= self._accelerated_worked:
            return self._accelerated_at + int((worked - self._accelerated_worked) / self.pace)
        while self._before[-1] <= worked:
            self._extend()
        index = bisect_right(self._before, worked) - 1
        return self._opens[index] + worked - self._before[index]

    def after(self, at: int, working: float) -> int:
        """The instant that lies ``working`` working milliseconds after ``at``."""
        return max(at, self.instant(self.worked(at) + int(working)))

    def elapse(self, at: int, calendar: float) -> int:
        """The instant that lies ``calendar`` milliseconds after ``at``, nights and weekends included."""
        return at + int(calendar / self.pace)

    def accelerate(self, at: int, pace: float) -> None:
        """From ``at`` on work never pauses and goes ``pace`` times as fast."""
        self._accelerated_worked = self.regularly_worked(at)
        self._accelerated_at = at
        self.pace = pace

    def _extend(self) -> None:
        """Append the next working day's shift."""
        while not self.works_on(self._next):
            self._next += _DAY
        opens, closes = (self._at(self._next, clock) for clock in self._hours)
        if self._closes:
            self._before.append(self._before[-1] + self._closes[-1] - self._opens[-1])
        else:
            self._before.append(0)
        self._opens.append(opens)
        self._closes.append(closes)
        self._next += _DAY

    def _at(self, day: date, clock: time) -> int:
        return int(datetime.combine(day, clock, self.zone).timestamp() * 1000)
