"""Events to a file: sorted in bounded memory, compressed by suffix, replaced in one step."""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from salesgauge.schemas.codec import encode
from salesgauge.schemas.sources.conversion import Rejected
from salesgauge.streams.io.whole_files import compressed, is_stream, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from salesgauge.schemas.events import EventBase

RUN_LENGTH = 250_000
"""Lines sorted in memory at once; longer outputs are merged from such runs on disk."""

_LENGTH_BYTES = 4
_PROGRESS_EVERY = 10_000


@dataclass(slots=True)
class Summary:
    """What a conversion came to."""

    events: Counter[str] = field(default_factory=Counter)
    """Event name -> number of events."""
    rejected: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(event name, reason, detail) -> number of rows."""


class SortedLines:
    """Lines with a sort key, given in any order and read in order; runs beyond memory lie in ``folder``."""

    def __init__(self, folder: Path, *, run_length: int = RUN_LENGTH) -> None:
        self._folder = folder
        self._run_length = run_length
        self._run: list[tuple[int, str, bytes]] = []
        self._runs: list[Path] = []

    def add(self, number: int, text: str, line: bytes) -> None:
        """Add a line (without its newline) that is sorted by number, then text, then its own bytes."""
        self._run.append((number, text, line))
        if len(self._run) >= self._run_length:
            self._spill()

    def __iter__(self) -> Iterator[bytes]:
        self._run.sort()
        for _, _, line in heapq.merge(*(self._read(path) for path in self._runs), self._run):
            yield line

    def _spill(self) -> None:
        self._run.sort()
        path = self._folder / f"run-{len(self._runs)}"
        with path.open("wb") as file:
            for entry in self._run:
                packed = msgspec.msgpack.encode(entry)
                file.write(len(packed).to_bytes(_LENGTH_BYTES, "big") + packed)
        self._runs.append(path)
        self._run = []

    @staticmethod
    def _read(path: Path) -> Iterator[tuple[int, str, bytes]]:
        decoder = msgspec.msgpack.Decoder(tuple[int, str, bytes])
        with path.open("rb") as file:
            while length := file.read(_LENGTH_BYTES):
                yield decoder.decode(file.read(int.from_bytes(length, "big")))


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
        events = SortedLines(_subfolder(folder, "events"), run_length=run_length)
        rows = SortedLines(_subfolder(folder, "rejects"), run_length=run_length)
        for count, result in enumerate(results):
            if isinstance(result, Rejected):
                summary.rejected[result.event, result.reason, result.detail] += 1
                rows.add(0, result.event, msgspec.json.encode(result))
            else:
                summary.events[result.name] += 1
                events.add(_micros(result.occurred_at), result.event_id, encode(result))
            if count % _PROGRESS_EVERY == 0:
                progress(summary)
        if rejects is not None:
            _write_file(rejects, rows)
        if isinstance(out, Path):
            _write_file(out, events)
        else:
            out.writelines(line + b"\n" for line in events)
            out.flush()
    return summary


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
        file.writelines(line + b"\n" for line in lines)
