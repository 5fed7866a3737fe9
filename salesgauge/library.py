"""The functions and classes that ``import salesgauge`` offers. Thin: what they do lives in the rooms.

Times are datetimes with a time zone, here and nowhere below.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.entities.facts import millis
from salesgauge.metrics.kpis.readings import Reading
from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.codec import Reason, Rejection, read_batch
from salesgauge.schemas.errors import InputError, OutputError, SalesgaugeError, TruncatedError
from salesgauge.schemas.events import EventBase
from salesgauge.streams.io.event_files import EventFiles
from salesgauge.streams.io.instants import moment, wall_clock
from salesgauge.streams.io.readings_json import reading_fields
from salesgauge.streams.io.rejects import Reject, Rejects
from salesgauge.streams.replay.run import DEFAULT_STEP, ReplayRequest, ReplayRun, Span
from salesgauge.streams.replay.selection import KpiChoice

Name = str | os.PathLike[str]
"""A file's name."""

AnyInput = EventBase | Mapping[str, Any] | str | bytes
"""An event: a model, its fields, or its JSON."""

_MS = timedelta(milliseconds=1)


class Engine:
    """Events in, readings out, under a clock that you move.

    What has not happened by the clock is rejected as ``future``: move the clock first.

    Args:
        rules: of the business; by default as documented in docs/operations.md.
        kpis: only these KPIs, by id. Fewer are faster.
        windows: only these windows, such as ``24h``, ``30d``, ``mtd``, ``all``.
        breakdowns: only these, such as ``rep`` or ``product,competitor``; ``none`` is the total.

    Raises:
        InputError: there is no such KPI, window or breakdown.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        kpis: Iterable[str] = (),
        windows: Iterable[str] = (),
        breakdowns: Iterable[str] = (),
    ) -> None:
        choice = KpiChoice(tuple(kpis), tuple(windows), tuple(breakdowns))
        self._machine = Machine(rules or Rules(), choice.catalogue())
        self._now = 0

    @property
    def now(self) -> datetime:
        """The clock, in UTC; 1970 before it was moved."""
        return moment(self._now)

    @property
    def events(self) -> int:
        """How many distinct events were applied."""
        return self._machine.events

    def advance(self, to: datetime) -> None:
        """Move the clock forward.

        Raises:
            InputError: ``to`` has no time zone, or lies before the clock.
        """
        now = _instant(to)
        if now < self._now:
            raise InputError(f"the clock stands at {self.now.isoformat()}; it cannot go back to {to.isoformat()}")
        self._now = now
        self._machine.advance(now)

    def apply(self, events: Iterable[AnyInput]) -> list[Rejection | None]:
        """Apply events, in any order. The result says for each why it was rejected, or None."""
        results = _read(events)
        valid = [result for result in results if not isinstance(result, Rejection)]
        refusals = iter(self._machine.apply(valid))
        return [result if isinstance(result, Rejection) else next(refusals) for result in results]

    def readings(self) -> list[Reading]:
        """All numbers at the clock; what has no value is left out."""
        return list(self._machine.readings())

    def not_connected(self) -> dict[str, tuple[str, ...]]:
        """The KPIs without a value for want of events, with the kinds that never came; ``a|b`` is one of the two.

        Kinds that the rules name in ``zero_is_real`` count as having come.
        """
        return self._machine.not_connected()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the gauges show at an instant.

    Attributes:
        at: the instant, in UTC.
        events: distinct events applied until then.
        rejected: records that were rejected until then.
        readings: all numbers; what has no value is left out.
        not_connected: the KPIs without a value for want of events, by id, with the kinds that never came; ``a|b`` is
            one of the two.
    """

    at: datetime
    events: int
    rejected: int
    readings: tuple[Reading, ...]
    not_connected: Mapping[str, tuple[str, ...]]

    def value(self, kpi: str, window: str, stat: str = "value", **labels: str) -> float | None:
        """One number, in the unit of its stat: the total, or that of these labels; None where there is none."""
        for one in self.readings:
            if (one.kpi, one.window, one.stat) == (kpi, window, stat) and dict(one.labels) == labels:
                return one.value
        return None

    def rows(self) -> list[dict[str, Any]]:
        """As rows of a table: at, kpi, window, labels, value, stat; of a ratio also numerator and denominator."""
        return [{"at": self.at, **reading_fields(reading)} for reading in self.readings]


def replay(
    events: Name | Iterable[Name],
    *,
    at: datetime | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    step: timedelta | None = None,
    corrected: bool | None = None,
    kpis: Iterable[str] = (),
    windows: Iterable[str] = (),
    breakdowns: Iterable[str] = (),
    rules: Rules | None = None,
    allow_truncated: bool = False,
    on_reject: Callable[[Reject], None] | None = None,
) -> Iterator[Snapshot]:
    """The past from files of events, as if it had been watched: at one instant, or at many.

    Args:
        events: files, or patterns such as ``2026-*.jsonl``: JSON lines (plain, gzip, zstandard) or Parquet.
        at: the one instant; by default when the latest event happened.
        start: first of many instants; by default the first event.
        end: last of many instants; by default the last event.
        step: between many instants; a minute where only ``start`` or ``end`` is given.
        corrected: whether each instant is shown with what is known of it today, or with what was known then. By default
            the former with one instant, the latter with many.
        kpis: only these KPIs, by id.
        windows: only these windows, such as ``24h``, ``30d``, ``mtd``, ``all``.
        breakdowns: only these, such as ``rep``; ``none`` is the total.
        rules: of the business.
        allow_truncated: take a file that is cut for what it still has.
        on_reject: is called with each record that is rejected.

    Returns:
        The snapshots in order of time: one, or one a step; none where there is no valid event.

    Raises:
        InputError: at once, or while it is read: a file is missing, cut or damaged; a name is unknown; a time has no
            zone.
    """
    many = any(given is not None for given in (start, end, step))
    if at is not None and many:
        raise InputError("at is one instant; start, end and step are for many")
    if step is not None and step < _MS:
        raise InputError(f"a step of {step} is too short; it must be at least a millisecond")
    request = ReplayRequest(
        at=optional_instant(at),
        span=Span(DEFAULT_STEP if step is None else step // _MS, optional_instant(start), optional_instant(end))
        if many
        else None,
        corrected=corrected,
        choice=KpiChoice(tuple(kpis), tuple(windows), tuple(breakdowns)),
        rules=rules or Rules(),
    )
    request.choice.catalogue()
    source = EventFiles(names_of(events), allow_truncated)
    return _snapshots(source, request, Rejects(on_reject=on_reject))


def names_of(files: Name | Iterable[Name]) -> list[str]:
    """One name, or several, as text."""
    return [os.fspath(one) for one in ([files] if isinstance(files, str | os.PathLike) else files)]


def _snapshots(source: EventFiles, request: ReplayRequest, rejects: Rejects) -> Iterator[Snapshot]:
    with closing(source):
        run = ReplayRun(source, request, rejects)
        for one in run.evaluations():
            if run.engine.valid:
                yield Snapshot(moment(one.at), one.events, one.rejected, tuple(one.readings), one.not_connected)


def convert(
    mapping: Name,
    *,
    inputs: Mapping[str, Name] | None = None,
    timezone: str | None = None,
) -> Iterator[EventBase | Reject]:
    """The events of a CRM's export, through a mapping (docs/convert.md), and the rows that are none.

    Args:
        mapping: a YAML file, or the name of a shipped mapping.
        inputs: files in place of the mapping's, by the name of the input.
        timezone: the zone of times without one, in place of the mapping's; UTC where neither says one.

    Raises:
        SalesgaugeError: at once or while it is read: the mapping is wrong, or an input is missing or unreadable.
    """
    from salesgauge.schemas.sources.conversion import Rejected  # noqa: PLC0415 - loads DuckDB
    from salesgauge.schemas.sources.conversion import convert as run  # noqa: PLC0415 - as above
    from salesgauge.schemas.sources.mapping import find_mapping, input_folders, load_mapping  # noqa: PLC0415 - as above
    from salesgauge.streams.io.event_output import reject_of  # noqa: PLC0415 - as above

    path = find_mapping(os.fspath(mapping))
    results = run(
        load_mapping(path),
        overrides={name: os.fspath(file) for name, file in (inputs or {}).items()},
        folders=input_folders(path),
        timezone=timezone,
        not_after=moment(wall_clock()),
    )
    return (reject_of(one) if isinstance(one, Rejected) else one for one in results)


def _read(events: Iterable[AnyInput]) -> list[Any]:
    """Events or rejections, one for each."""
    given = list(events)
    read = iter(read_batch([_payload(one) for one in given if not isinstance(one, EventBase)]))
    return [one if isinstance(one, EventBase) else next(read) for one in given]


def _payload(event: AnyInput) -> bytes:
    if isinstance(event, bytes):
        return event
    return event.encode() if isinstance(event, str) else msgspec.json.encode(event)


def _instant(time: datetime) -> int:
    """A time as ms.

    Raises:
        InputError: it has no time zone.
    """
    if time.tzinfo is None:
        raise InputError(f"{time.isoformat()} has no time zone; give one, such as tzinfo=datetime.UTC")
    return millis(time)


def optional_instant(time: datetime | None) -> int | None:
    """A time as ms, if there is one.

    Raises:
        InputError: it has no time zone.
    """
    return None if time is None else _instant(time)


__all__ = [
    "AnyInput",
    "Engine",
    "InputError",
    "OutputError",
    "Reading",
    "Reason",
    "Reject",
    "Rejection",
    "Rules",
    "SalesgaugeError",
    "Snapshot",
    "TruncatedError",
    "convert",
    "replay",
]
