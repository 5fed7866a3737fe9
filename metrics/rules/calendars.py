"""Business time: how long a team was at work between two instants, and when a span of work ends.

Times are milliseconds since the epoch. Days are computed in the calendar's own zone, so a day of a daylight-saving
change has the length that it really has, and public holidays come from the `holidays` package.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache

import holidays

_EPOCH = datetime.fromtimestamp(0, UTC)
_MS = timedelta(milliseconds=1)
_FIRST_DAY = _EPOCH.toordinal()
_DAY_MS = 24 * 60 * 60_000
_MAX_DAYS = 3660
"""A span of work is looked for over ten years at most; a calendar that never opens ends there."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Local opening and closing time of a working day."""

    opens: time
    closes: time


class BusinessCalendar:
    """Working hours in a zone, on some weekdays, without public holidays."""

    def __init__(
        self,
        zone: tzinfo,
        hours: Hours,
        weekdays: frozenset[int],
        country: str = "",
        extra_holidays: frozenset[date] = frozenset(),
    ) -> None:
        self._zone = zone
        self._hours = hours
        self._weekdays = weekdays
        self._country = country
        self._extra = extra_holidays
        self._spans: dict[int, tuple[int, int] | None] = {}
        self._sums: list[int] = [0]
        self._days: dict[int, tuple[int, int]] = {}

    def between(self, start: int, end: int) -> int:
        """Milliseconds at work in ``[start, end]``; 0 where ``end`` does not come after ``start``."""
        if end <= start:
            return 0
        first, last = self._day(start), self._day(end)
        if first == last:
            return self._overlap(first, start, end)
        inner = self._open_before(last) - self._open_before(first + 1)
        return self._overlap(first, start, end) + inner + self._overlap(last, start, end)

    def add(self, start: int, work: int) -> int:
        """The instant at which ``work`` milliseconds at work have passed since ``start``."""
        day = self._day(start)
        for ordinal in range(day, day + _MAX_DAYS):
            span = self._span(ordinal)
            if span is None:
                continue
            opens = max(span[0], start)
            available = span[1] - opens
            if available <= 0:
                continue
            if work <= available:
                return opens + work
            work -= available
        return start + _MAX_DAYS * 86_400_000

    def _day(self, at: int) -> int:
        """The local day, counted as dates are."""
        known = self._days.get(at // _DAY_MS)
        if known is None:
            known = self._turn(at // _DAY_MS)
            if known is None:
                return self._compute_day(at)
            self._days[at // _DAY_MS] = known
        day, midnight = known
        return day + (at >= midnight)

    def _turn(self, number: int) -> tuple[int, int] | None:
        """The local day at the beginning of a UTC day, and the instant in it at which the next one begins.

        None where there is more to say: a zone that moved across the date line left out a day.
        """
        begin, end = number * _DAY_MS, (number + 1) * _DAY_MS
        first, last = self._compute_day(begin), self._compute_day(end - 1)
        if last == first:
            return first, end
        return (first, self._instant(date.fromordinal(last), time())) if last == first + 1 else None

    def _compute_day(self, at: int) -> int:
        return (_EPOCH + at * _MS).astimezone(self._zone).toordinal()

    def _overlap(self, ordinal: int, start: int, end: int) -> int:
        span = self._span(ordinal)
        return 0 if span is None else max(0, min(end, span[1]) - max(start, span[0]))

    def _open_before(self, ordinal: int) -> int:
        """Milliseconds at work from 1970 to the start of the day ``ordinal``."""
        sums = self._sums
        while len(sums) <= ordinal - _FIRST_DAY:
            sums.append(sums[-1] + self._length(_FIRST_DAY + len(sums) - 1))
        return sums[max(0, ordinal - _FIRST_DAY)]

    def _length(self, ordinal: int) -> int:
        span = self._span(ordinal)
        return 0 if span is None else span[1] - span[0]

    def _span(self, ordinal: int) -> tuple[int, int] | None:
        if ordinal not in self._spans:
            self._spans[ordinal] = self._compute_span(date.fromordinal(ordinal))
        return self._spans[ordinal]

    def _compute_span(self, day: date) -> tuple[int, int] | None:
        if day.weekday() not in self._weekdays or day in self._extra:
            return None
        if day in holiday_dates(self._country, (day.year,)):
            return None
        return self._instant(day, self._hours.opens), self._instant(day, self._hours.closes)

    def _instant(self, day: date, at: time) -> int:
        return (datetime.combine(day, at, self._zone) - _EPOCH) // _MS


@cache
def holiday_dates(country: str, years: tuple[int, ...]) -> frozenset[date]:
    """Public holidays of ``DE`` or ``DE-BY`` in ``years``; none for an empty name.

    Raises:
        ValueError: the `holidays` package does not know the country or subdivision.
    """
    if not country:
        return frozenset()
    name, _, subdivision = country.partition("-")
    try:
        return frozenset(holidays.country_holidays(name, subdiv=subdivision or None, years=years))
    except NotImplementedError as error:
        raise ValueError(f"no public holidays are known for {country!r}; use a code such as DE or DE-BY") from error
