"""Instants and spans as people write them. Inside, an instant is milliseconds since the epoch."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from salesgauge.metrics.entities.facts import millis
from salesgauge.schemas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPOCH = datetime.fromtimestamp(0, UTC)
_MS = timedelta(milliseconds=1)
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SPAN = re.compile(r"(?:\d+(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+)(ms|[smhdw])")


def wall_clock() -> int:
    """Now, in ms."""
    return time.time_ns() // 1_000_000


def parse_instant(text: str, zone: tzinfo) -> int:
    """An ISO 8601 date or time as ms; without an offset it is local to ``zone``.

    Raises:
        InputError: it is neither.
    """
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is no time such as 2026-03-01 or 2026-03-01T08:30Z") from error
    return millis(given if given.tzinfo else given.replace(tzinfo=zone))


def parse_span(text: str) -> int:
    """``30s``, ``1m``, ``1h30m`` as ms.

    Raises:
        InputError: it is no span above zero.
    """
    span = sum(int(n) * _UNITS[unit] for n, unit in _PART.findall(text)) if _SPAN.fullmatch(text) else 0
    if not span:
        raise InputError(f"{text!r} is no span such as 30s, 1m, 1h30m or 1d")
    return span


def parse_since(text: str, zone: tzinfo, now: int) -> int:
    """An instant, or so long ago, such as ``2h`` or ``7d``, as ms.

    Raises:
        InputError: it is neither.
    """
    if _SPAN.fullmatch(text):
        return now - parse_span(text)
    return parse_instant(text, zone)


def moment(instant: int) -> datetime:
    """The instant as a time in UTC."""
    return _EPOCH + instant * _MS


def iso(instant: int) -> str:
    """``2026-03-01T08:30:00Z``; with milliseconds where there are any."""
    at = moment(instant)
    precision = "milliseconds" if at.microsecond else "seconds"
    return at.isoformat(timespec=precision).replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Steps:
    """The instants ``first``, ``first + step`` … up to ``last``, all in ms."""

    first: int
    last: int
    step: int

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1, self.step))

    def __len__(self) -> int:
        return len(range(self.first, self.last + 1, self.step))


def aligned(first: int, last: int, step: int) -> Steps:
    """Steps between two instants on multiples of ``step``, so that repeated runs meet the same instants."""
    return Steps(-(-first // step) * step, last, step)
