"""Working time: how much of it lies between two instants, and when an amount of it has passed.

Instants and lengths are milliseconds; instants count from the epoch. An instant is working time if its local time of
day lies in a span of a working day. So spans have the length that they really have: on a day whose clock skips an hour
a night shift is an hour shorter. Public holidays come from the `holidays` package.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from typing import NamedTuple, Protocol, Self

import holidays

_EPOCH = datetime.fromtimestamp(0, UTC)
_MS = timedelta(milliseconds=1)
_FIRST_DAY = _EPOCH.toordinal()
_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS
_PROBE_MS = _DAY_MS // 4
"""Two changes of a zone's offset are never nearer to each other."""
_BLOCK = 256
"""UTC days whose working time is summed up together."""
_LONGEST_SEARCH = 3660
"""Days (ten years) within which working time must pass; a calendar that is never open ends there."""
_TIME = re.compile(r"(\d{1,2}):([0-5]\d)")

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class OpeningHours(NamedTuple):
    """Working hours: ``[opens, closes)`` in ms after the local midnight of the day on which they begin.

    ``closes`` lies beyond 24 hours for a night shift.
    """

    opens: int
    closes: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """``09:00-12:00``, ``00:00-24:00``, or over midnight: ``22:00-06:00``.

        Raises:
            ValueError: it is not of that form.
        """
        opens, dash, closes = text.partition("-")
        if not dash:
            raise ValueError(f"{text!r} is not a span of hours; write it as '09:00-17:00'")
        return cls.between(_time_of_day(opens, text), _time_of_day(closes, text))

    @classmethod
    def between(cls, opens: int, closes: int) -> Self:
        """From one time of day (ms after midnight) to another; to the next day's where that is not later.

        Raises:
            ValueError: they are equal, so that it is empty or a day long.
        """
        if opens == closes or opens >= _DAY_MS:
            shown = f"{opens // (60 * _MINUTE_MS):02}:{opens // _MINUTE_MS % 60:02}"
            raise ValueError(f"the hours begin and end at {shown}; write '00:00-24:00' for a whole day")
        return cls(opens, closes if closes > opens else closes + _DAY_MS)

    def __str__(self) -> str:
        return "-".join(f"{at // (60 * _MINUTE_MS):02}:{at // _MINUTE_MS % 60:02}" for at in self._shown())

    def _shown(self) -> tuple[int, int]:
        return self.opens, self.closes if self.closes <= _DAY_MS else self.closes - _DAY_MS


def parse_spans(text: str) -> tuple[OpeningHours, ...]:
    """The spans of a day, separated by commas; ``closed`` for none.

    Raises:
        ValueError: a span is not of the form ``09:00-12:00``, or two overlap.
    """
    if text.strip().lower() in ("closed", ""):
        return ()
    spans = sorted(OpeningHours.parse(part.strip()) for part in text.split(","))
    for one, other in itertools.pairwise(spans):
        if other.opens < one.closes:
            raise ValueError(f"{one} and {other} overlap")
    return tuple(spans)


def _time_of_day(text: str, whole: str) -> int:
    match = _TIME.fullmatch(text.strip())
    at = _DAY_MS + 1 if match is None else (int(match[1]) * 60 + int(match[2])) * _MINUTE_MS
    if at > _DAY_MS:
        raise ValueError(f"{whole!r} is not a span of hours; write it as '09:00-17:00'")
    return at


@dataclass(frozen=True)
class WorkingHours:
    """When a team works.

    ``weekdays`` has the spans of Monday (0) to Sunday (6). ``exceptions`` has those of single dates: they hold instead
    of the weekday's, on public holidays too. A span belongs to the day on which it begins.
    """

    weekdays: tuple[tuple[OpeningHours, ...], ...]
    country: str = ""
    exceptions: Mapping[date, tuple[OpeningHours, ...]] | None = None

    def of(self, day: date) -> tuple[OpeningHours, ...]:
        """The spans that begin on a day."""
        if self.exceptions and day in self.exceptions:
            return self.exceptions[day]
        if day in holiday_dates(self.country, (day.year,)):
            return ()
        return self.weekdays[day.weekday()]


Interval = tuple[int, int]
"""From an instant to another, without the latter."""


class Clock(Protocol):
    """Something by which time passes, not always."""

    def between(self, start: int, end: int) -> int:
        """How much time passes in ``[start, end)``, ms; 0 where ``end`` does not come after ``start``."""

    def add(self, start: int, work: int) -> int:
        """The first instant at which ``work`` ms have passed since ``start``."""

    def subtract(self, end: int, work: int) -> int:
        """The last instant from which on ``work`` ms pass until ``end``."""


class AllHours:
    """The clock that never stands still."""

    def between(self, start: int, end: int) -> int:
        """As :meth:`Clock.between`."""
        return max(0, end - start)

    def add(self, start: int, work: int) -> int:
        """As :meth:`Clock.add`."""
        return start + max(0, work)

    def subtract(self, end: int, work: int) -> int:
        """As :meth:`Clock.subtract`."""
        return end - max(0, work)


class BusinessCalendar:
    """The clock that runs in working hours of a zone."""

    def __init__(self, zone: tzinfo, hours: WorkingHours) -> None:
        self._zone = zone
        self._hours = hours
        self._open: dict[int, tuple[Interval, ...]] = {}
        self._before: dict[int, list[int]] = {}
        self._blocks: dict[int, int] = {}

    def between(self, start: int, end: int) -> int:
        """Working time in ``[start, end)``, ms; 0 where ``end`` does not come after ``start``."""
        return self._worked(end) - self._worked(start) if end > start else 0

    def add(self, start: int, work: int) -> int:
        """The first instant at which ``work`` ms of working time have passed since ``start``."""
        if work <= 0:
            return start
        first = start // _DAY_MS
        for day in range(first, first + _LONGEST_SEARCH):
            for opens, closes in self.open_on(day):
                begin = max(opens, start)
                if begin < closes:
                    if work <= closes - begin:
                        return begin + work
                    work -= closes - begin
        return start + _LONGEST_SEARCH * _DAY_MS

    def subtract(self, end: int, work: int) -> int:
        """The last instant from which on ``work`` ms of working time pass until ``end``."""
        if work <= 0:
            return end
        last = end // _DAY_MS
        for day in range(last, last - _LONGEST_SEARCH, -1):
            for opens, closes in reversed(self.open_on(day)):
                until = min(closes, end)
                if opens < until:
                    if work <= until - opens:
                        return until - work
                    work -= until - opens
        return end - _LONGEST_SEARCH * _DAY_MS

    def open_on(self, day: int) -> tuple[Interval, ...]:
        """The working time in a UTC day (counted from the epoch), in order."""
        known = self._open.get(day)
        if known is None:
            known = self._open[day] = tuple(self._compute(day))
        return known

    def _worked(self, at: int) -> int:
        """Working time from the epoch to an instant; below zero before the epoch."""
        day = at // _DAY_MS
        block = day // _BLOCK
        within = sum(max(0, min(closes, at) - opens) for opens, closes in self.open_on(day))
        return self._before_block(block) + self._before_days(block)[day % _BLOCK] + within

    def _before_days(self, block: int) -> list[int]:
        """Working time from the start of a block of days to that of each of its days, and to its end."""
        known = self._before.get(block)
        if known is None:
            known = [0]
            for day in range(block * _BLOCK, (block + 1) * _BLOCK):
                known.append(known[-1] + sum(closes - opens for opens, closes in self.open_on(day)))
            self._before[block] = known
        return known

    def _before_block(self, block: int) -> int:
        """Working time from the first block that was asked for to the start of this one."""
        blocks = self._blocks
        if not blocks:
            blocks[block] = 0
        while block not in blocks:
            first, last = min(blocks), max(blocks)
            if block > last:
                blocks[last + 1] = blocks[last] + self._before_days(last)[-1]
            else:
                blocks[first - 1] = blocks[first] - self._before_days(first - 1)[-1]
        return blocks[block]

    def _compute(self, day: int) -> Iterable[Interval]:
        """Local working time, shifted by the offset that holds in each part of a UTC day."""
        joined: list[Interval] = []
        for start, end, offset in self._offsets(day * _DAY_MS, (day + 1) * _DAY_MS):
            for opens, closes in self._local(start + offset, end + offset):
                _append(joined, (opens - offset, closes - offset))
        return joined

    def _offsets(self, start: int, end: int) -> Iterable[tuple[int, int, int]]:
        """(start, end, offset) of the parts of a stretch of time in which the zone's offset does not change."""
        begin, offset = start, self._offset(start)
        for probe in range(start + _PROBE_MS, end + 1, _PROBE_MS):
            after = self._offset(probe)
            if after != offset:
                change = self._change(probe - _PROBE_MS, probe, after)
                yield begin, change, offset
                begin, offset = change, after
        if begin < end:
            yield begin, end, offset

    def _change(self, start: int, end: int, offset: int) -> int:
        """The instant in ``(start, end]`` from which on the offset is ``offset``."""
        return start + 1 + bisect.bisect_left(range(start + 1, end), 1, key=lambda at: int(self._offset(at) == offset))

    def _offset(self, at: int) -> int:
        offset = (_EPOCH + at * _MS).astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset // _MS

    def _local(self, start: int, end: int) -> Iterable[Interval]:
        """Working time within a stretch of local time, which is counted like instants are."""
        joined: list[Interval] = []
        first, last = start // _DAY_MS - 1, (end - 1) // _DAY_MS
        spans = [(day * _DAY_MS, span) for day in range(first, last + 1) for span in self._hours.of(_date(day))]
        for opens, closes in sorted((midnight + span.opens, midnight + span.closes) for midnight, span in spans):
            if max(opens, start) < min(closes, end):
                _append(joined, (max(opens, start), min(closes, end)))
        return joined


def _append(joined: list[Interval], interval: Interval) -> None:
    """Add an interval that does not begin before the last one; touching ones become one."""
    if joined and interval[0] <= joined[-1][1]:
        joined[-1] = (joined[-1][0], max(joined[-1][1], interval[1]))
    else:
        joined.append(interval)


def _date(day: int) -> date:
    return date.fromordinal(min(max(_FIRST_DAY + day, 1), date.max.toordinal()))


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
