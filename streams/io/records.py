"""Records: what files and topics hold, before anybody knows whether they are events."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from salesgauge.metrics.entities.facts import millis
from salesgauge.schemas.codec import Rejection, decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from salesgauge.schemas.wire import AnyEvent


BATCH = 5_000
"""Records that are decoded and applied together."""

NOWHERE = -1
"""The position of what stands in no file and no topic."""


class RawRecord(NamedTuple):
    """One line or message.

    Attributes:
        payload: its bytes.
        origin: the file, or ``topic/partition``.
        position: the line of a text file, the row of a table, the offset in a partition; :data:`NOWHERE`.
        at: when a broker got it (ms); 0 where nobody knows.
    """

    payload: bytes | None
    origin: str
    position: int
    at: int = 0


KnownRecord = tuple[int, RawRecord]
"""When a record became known (ms), and the record."""


class RecordStream(Protocol):
    """Records to be read once. ``warnings`` says what is missing from them."""

    @property
    def warnings(self) -> list[str]:
        """What is missing."""

    def records(self) -> Iterator[RawRecord]:
        """All records, in any order."""

    def done(self) -> tuple[int, int]:
        """(done, all) of the present pass, in units of the source's own."""


class RecordSource(RecordStream, Protocol):
    """Where records come from."""

    @property
    def rereadable(self) -> bool:
        """Whether a second look costs little."""

    def ordered(self, *, corrected: bool) -> Iterator[KnownRecord]:
        """All records by the time they became known; by the time they happened where ``corrected``."""

    def span(self, *, corrected: bool) -> tuple[int, int] | None:
        """The earliest and latest time that :meth:`ordered` gives, in ms; None where there is no event."""

    def shares(self, of: int) -> list[RecordShare]:
        """The source in parts for at most ``of`` processes; the source must stay open while they read."""

    def close(self) -> None:
        """Let go of files and connections."""


class RecordShare(Protocol):
    """A part of a source that another process is to read."""

    def open(self) -> AbstractContextManager[RecordStream]:
        """The part, to be read."""


class _Times(msgspec.Struct):
    occurred_at: datetime
    recorded_at: datetime | None = None


_times = msgspec.json.Decoder(_Times).decode


def known_at(record: RawRecord, *, corrected: bool) -> int | None:
    """When a record became known, in ms; None where it is no event.

    That is when the broker got it or, in a file, when the source system recorded it, never before it
    happened. ``corrected``: when it happened.
    """
    if record.payload is None:
        return None
    times = _read_times(record.payload)
    if times is not None:
        return _known(times.occurred_at, times.recorded_at, record.at, corrected=corrected)
    event = decode(record.payload)
    return None if isinstance(event, Rejection) else event_known_at(event, record.at, corrected=corrected)


def _read_times(payload: bytes) -> _Times | None:
    """The times of what looks like an event; None where only the real decoder can tell."""
    try:
        times = _times(payload)
    except msgspec.MsgspecError:
        return None
    naive = times.occurred_at.tzinfo is None or (times.recorded_at is not None and times.recorded_at.tzinfo is None)
    return None if naive else times


def event_known_at(event: AnyEvent, at: int, *, corrected: bool) -> int:
    """The same for a decoded event that a broker got at ``at`` (ms)."""
    return _known(event.occurred_at, event.recorded_at, at, corrected=corrected)


def _known(occurred: datetime, recorded: datetime | None, broker: int, *, corrected: bool) -> int:
    at = millis(occurred)
    if corrected:
        return at
    if broker:
        return max(at, broker)
    return max(at, millis(recorded)) if recorded else at
