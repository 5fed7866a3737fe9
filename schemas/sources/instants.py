"""Instants as foreign systems write them, in milliseconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

_NUMBER = re.compile(r"-?\d{1,19}(\.\d+)?")
_SECONDS, _MILLIS, _MICROS = 10**11, 10**14, 10**17
"""Below the first, a number counts seconds (until the year 5138), below the next milliseconds, then microseconds."""
_NO_OFFSET_COLON = re.compile(r"([+-]\d\d)(\d\d)$")
_LONG_FRACTION = re.compile(r"(\.\d{6})\d+")


def milliseconds(value: Any, zone: ZoneInfo | None = None) -> int | None:
    """A number of seconds, milliseconds, micro- or nanoseconds, or ISO 8601 text, as ms; None where it is neither.

    Args:
        value: as the source wrote it; a number may stand as text.
        zone: of a text without one; UTC by default.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _scaled(value)
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        return _scaled(float(text) if "." in text else int(text))
    try:
        time = datetime.fromisoformat(_LONG_FRACTION.sub(r"\1", _NO_OFFSET_COLON.sub(r"\1:\2", text)))
        local = time if time.tzinfo is not None else time.replace(tzinfo=zone or UTC)
        return _from(local.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _scaled(number: float) -> int | None:
    size = abs(number)
    if not size < _MICROS * 1000:  # not a number, too
        return None
    if size < _SECONDS:
        return round(number * 1000)
    if size < _MILLIS:
        return int(number)
    return int(number // 1000) if size < _MICROS else int(number // 1_000_000)


def _from(time: datetime) -> int:
    delta = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
