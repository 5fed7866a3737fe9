"""Events to a file: sorted in bounded memory, compressed by suffix, replaced in one step."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from salesgauge.schemas.codec import encode
from salesgauge.schemas.events import EVENTS
from salesgauge.schemas.sources.conversion import Rejected
from salesgauge.streams.io.rejects import Reject
from salesgauge.streams.io.sorted_runs import RUN_LENGTH, SortedRuns
from salesgauge.streams.io.whole_files import compressed, is_stream, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from salesgauge.schemas.events import EventBase

_PROGRESS_EVERY = 10_000


class _EventLine(NamedTuple):
    """An event as it is written, by its time in microseconds."""

    at: int
    event_id: str
    line: bytes


class _RejectLine(NamedTuple):
    """A rejected row as it is written, by its query."""

    query: str
    line: bytes


@dataclass(slots=True)
class Summary:
    """What a conversion came to."""

    events: Counter[str] = field(default_factory=Counter)
    """Event name -> number of events."""
    rejected: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(event name, reason, detail) -> number of rows."""
    currencies: Counter[str] = field(default_factory=Counter)
    """Currency -> number of events that have amounts in it."""


def write_events(
    results: Iterable[EventBase | Rejected],
    out: Path | IO[bytes],
    rejects: Path | None,
    *,
    progress: Callable[[Summary], None] = lambda _: None,
    run_length: int = RUN_LENGTH,
) -> Summary:
    """Write events sorted by time and id, and rejected rows, as JSON lines.

    Nothing is written before all results have come; a file is replaced in one step, so that a reader never
    meets half of it. ``.gz`` and ``.zst`` compress. The bytes depend on the results alone.

    Args:
        results: what :func:`salesgauge.schemas.sources.conversion.convert` yields.
        out: a file, or a binary stream such as standard output.
        rejects: the file for rejected rows; None only counts them.
        progress: called with the summary so far, now and then.
        run_length: how many lines are sorted in memory at once.

    Raises:
        OSError: a file cannot be written.
        ConvertError: from ``results``.
    """
    summary = Summary()
    with tempfile.TemporaryDirectory(prefix="salesgauge-") as folder:
        events = SortedRuns(_EventLine, _subfolder(folder, "events"), run_length=run_length)
        rows = SortedRuns(_RejectLine, _subfolder(folder, "rejects"), run_length=run_length)
        for count, result in enumerate(results):
            if isinstance(result, Rejected):
                summary.rejected[result.event, result.reason, result.detail] += 1
                rows.add(_RejectLine(result.event, reject_of(result).line()))
            else:
                summary.events[result.name] += 1
                if currency := getattr(result, "currency", None):
                    summary.currencies[currency] += 1
                events.add(_EventLine(_micros(result.occurred_at), result.event_id, encode(result) + b"\n"))
            if count % _PROGRESS_EVERY == 0:
                progress(summary)
        if rejects is not None:
            _write_file(rejects, (line for _, line in rows))
        lines = (line for _, _, line in events)
        if isinstance(out, Path):
            _write_file(out, lines)
        else:
            out.writelines(lines)
            out.flush()
    return summary


def reject_of(rejected: Rejected) -> Reject:
    """A rejected row in the form in which all commands list what they refuse."""
    row = rejected.row
    if rejected.event not in EVENTS:  # a line that is in no table: the event names the input
        origin, position, payload = row["file"], row["line"], row["text"]
    else:
        origin, position, payload = rejected.event, None, row
    return Reject(
        origin=origin,
        position=position,
        event=rejected.event if rejected.event in EVENTS else None,
        event_id=row.get("event_id"),
        reason=rejected.reason,
        detail=rejected.detail,
        payload=payload,
    )


def _subfolder(folder: str, name: str) -> Path:
    path = Path(folder) / name
    path.mkdir()
    return path


def _micros(time: datetime) -> int:
    """Microseconds since the epoch, exactly: ``timestamp()`` is a float."""
    seconds = int(time.replace(microsecond=0).timestamp())
    return seconds * 1_000_000 + time.microsecond


def _write_file(path: Path, lines: Iterable[bytes]) -> None:
    if not is_stream(path):
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as raw, compressed(raw, path.suffix) as file:
        file.writelines(lines)
