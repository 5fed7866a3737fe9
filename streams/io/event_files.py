"""Events in files: JSON lines, plain, gzip or zstandard, Parquet, standard input. All commands read by this."""

from __future__ import annotations

import gzip
import heapq
import shutil
import sys
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import msgspec
import zstandard

from salesgauge.schemas.errors import InputError, TruncatedError
from salesgauge.schemas.sources.unpacking import first_bytes, open_lines, peekable
from salesgauge.schemas.values import MAX_EVENT_BYTES
from salesgauge.streams.io.paths import matches
from salesgauge.streams.io.records import BATCH, KnownRecord, RawRecord, known_at
from salesgauge.streams.io.sorted_runs import SortedRuns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from salesgauge.schemas.sources.unpacking import LineReader
    from salesgauge.streams.io.records import RecordShare, RecordStream

STDIN = "-"
_LIMIT = MAX_EVENT_BYTES + 2
_CHUNK = 1 << 18
_RUN_LENGTH = 100_000
_PARQUET = b"PAR1"
_BOM = b"\xef\xbb\xbf"


class _Known(NamedTuple):
    """A record by when it became known (ms)."""

    at: int
    position: int
    payload: bytes


@dataclass(slots=True)
class _Scan:
    """What a first pass over a file found."""

    sorted: bool = True
    first: int | None = None
    last: int | None = None

    def add(self, at: int | None) -> None:
        if at is None:
            return
        if self.first is None:
            self.first = at
        if self.last is not None and at < self.last:
            self.sorted = False
        self.first, self.last = min(self.first, at), max(self.last or at, at)


@dataclass(slots=True)
class EventFiles:
    """Files of events as one source. What cannot be read twice (a pipe) is kept in a temporary file.

    Args:
        names: paths, patterns such as ``2026-*.jsonl``, or ``-`` for standard input.
        allow_truncated: read a file that ends too early up to there.

    Raises:
        InputError: a file does not exist or cannot be read.
    """

    names: Sequence[str]
    allow_truncated: bool = False
    warnings: list[str] = field(default_factory=list)
    _folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="salesgauge-")
    )
    _paths: dict[str, Path] = field(default_factory=dict)
    _scans: dict[str, _Scan] = field(default_factory=dict)
    _open: dict[str, IO[bytes]] = field(default_factory=dict)
    _finished: int = 0
    _piped: IO[bytes] | None = None

    def __post_init__(self) -> None:
        self.names = tuple(chain.from_iterable(map(matches, self.names)))
        for name in self.names:
            if name in self._paths:
                continue
            if name != STDIN and not Path(name).exists():
                raise InputError(f"{name} does not exist")
            if name != STDIN and Path(name).is_dir():
                raise InputError(f"{name} is a folder; name the files in it")

    @property
    def rereadable(self) -> bool:
        """Whether all are files on disk, which a second look costs only time."""
        return all(name != STDIN and Path(name).is_file() for name in self.names)

    def records(self) -> Iterator[RawRecord]:
        """All records in the order of the files."""
        self._finished = 0
        for name in dict.fromkeys(self.names):
            yield from self._read(name, once=True)

    def ordered(self, *, corrected: bool) -> Iterator[KnownRecord]:
        """All records by the time they became known. Sorted files are streamed, others sorted on disk."""
        self.span(corrected=corrected)
        self._finished = 0
        streams = [self._one_ordered(name, number, corrected=corrected) for number, name in self._numbered()]
        merged = streams[0] if len(streams) == 1 else heapq.merge(*streams)
        return ((at, record) for at, _, _, record in merged)

    def span(self, *, corrected: bool) -> tuple[int, int] | None:
        """The earliest and latest time in all files; each is read once for that."""
        self._finished = 0
        for _, name in self._numbered():
            if name not in self._scans:
                scan = self._scans[name] = _Scan()
                for record in self._read(name, once=False):
                    scan.add(known_at(record, corrected=corrected))
        firsts = [scan.first for scan in self._scans.values() if scan.first is not None]
        lasts = [scan.last for scan in self._scans.values() if scan.last is not None]
        return (min(firsts), max(lasts)) if firsts else None

    def done(self) -> tuple[int, int]:
        """Bytes read in this pass, and in all."""
        here = sum(raw.tell() for raw in self._open.values() if not raw.closed and raw.seekable())
        return self._finished + here, sum(self._size(name) for _, name in self._numbered())

    def shares(self, of: int) -> list[RecordShare]:
        """Every ``of``-th batch of the records for each process."""
        paths = {name: self._path(name, once=False) or Path(name) for name in dict.fromkeys(self.names)}
        return [EventFilesShare(paths, number, of, self.allow_truncated) for number in range(of)]

    def close(self) -> None:
        """Remove temporary files."""
        self._folder.cleanup()

    def _numbered(self) -> list[tuple[int, str]]:
        return list(enumerate(dict.fromkeys(self.names)))

    def _size(self, name: str) -> int:
        path = self._paths.get(name) or (None if name == STDIN else Path(name))
        return path.stat().st_size if path else 0

    def _one_ordered(self, name: str, number: int, *, corrected: bool) -> Iterator[tuple[int, int, int, RawRecord]]:
        if not self._scans[name].sorted:
            yield from self._sorted_on_disk(name, number, corrected=corrected)
            return
        latest = 0
        for record in self._read(name, once=False):
            at = known_at(record, corrected=corrected)
            latest = latest if at is None else at  # what is no event is refused where it stands
            yield latest, number, record.position, record

    def _sorted_on_disk(self, name: str, number: int, *, corrected: bool) -> Iterator[tuple[int, int, int, RawRecord]]:
        folder = Path(self._folder.name) / f"sorted-{number}"
        folder.mkdir(exist_ok=True)
        runs = SortedRuns(_Known, folder, run_length=_RUN_LENGTH)
        latest = 0
        for record in self._read(name, once=False):
            at = known_at(record, corrected=corrected)
            latest = latest if at is None else at
            runs.add(_Known(latest, record.position, record.payload or b""))
        for at, position, payload in runs:
            yield at, number, position, RawRecord(payload, name, position)

    def _read(self, name: str, *, once: bool) -> Iterator[RawRecord]:
        path = self._path(name, once=once)
        try:
            if path is None:
                yield from self._checked(self._standard_input, "stdin")
            elif _is_parquet(path):
                from salesgauge.streams.io.parquet_rows import parquet_records  # noqa: PLC0415 - loads DuckDB

                yield from parquet_records(path, name)
            else:
                yield from self._read_lines(path, name)
        except OSError as error:
            raise InputError(f"cannot read {name}: {error.strerror or error}") from error
        if path is not None:
            self._finished += path.stat().st_size

    @property
    def _standard_input(self) -> IO[bytes]:
        if self._piped is None:
            self._piped = peekable(sys.stdin.buffer)
        return self._piped

    def _path(self, name: str, *, once: bool) -> Path | None:
        """The file to read; standard input is read directly where one pass is enough."""
        if name not in self._paths and (name == STDIN or not Path(name).is_file()):
            if once and name == STDIN and first_bytes(self._standard_input) != _PARQUET:
                return None
            kept = self._paths[name] = Path(self._folder.name) / f"kept-{len(self._paths)}"
            with (
                self._standard_input if name == STDIN else Path(name).open("rb") as source,
                kept.open("wb") as file,
            ):
                shutil.copyfileobj(source, file)
        return self._paths.get(name) or Path(name)

    def _read_lines(self, path: Path, name: str) -> Iterator[RawRecord]:
        with path.open("rb") as raw:
            self._open[name] = raw
            try:
                yield from self._checked(raw, name)
            finally:
                del self._open[name]

    def _checked(self, raw: IO[bytes], name: str) -> Iterator[RawRecord]:
        try:
            yield from _records(open_lines(raw), name)
        except (EOFError, TruncatedError) as error:
            if not self.allow_truncated:
                raise TruncatedError(
                    f"{name} ends too early: it is cut; --allow-truncated takes what is there"
                ) from error
            warning = f"{name} ends too early: what was cut off is missing"
            self.warnings[:] = dict.fromkeys([*self.warnings, warning])  # each pass meets it
        except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError, UnicodeDecodeError) as error:
            raise InputError(f"{name} is damaged: {error}") from error


@dataclass(frozen=True, slots=True)
class EventFilesShare:
    """Every ``of``-th batch of the records in files, by the names under which they are spoken of."""

    paths: Mapping[str, Path]
    number: int
    of: int
    allow_truncated: bool

    @contextmanager
    def open(self) -> Iterator[RecordStream]:
        """The share, to be read."""
        files = EventFiles(tuple(self.paths), self.allow_truncated, _paths=dict(self.paths))
        try:
            yield _Part(files, self)
        finally:
            files.close()


@dataclass(slots=True)
class _Part:
    files: EventFiles
    share: EventFilesShare

    @property
    def warnings(self) -> list[str]:
        return self.files.warnings

    def records(self) -> Iterator[RawRecord]:
        stream = self.files.records()
        for number in count():
            batch = list(islice(stream, BATCH))
            if not batch:
                return
            if number % self.share.of == self.share.number:
                yield from batch

    def done(self) -> tuple[int, int]:
        return self.files.done()


def _records(lines: LineReader, origin: str) -> Iterator[RawRecord]:
    """The lines that are not blank; one beyond the size of an event is cut and refused for its size.

    Raises:
        TruncatedError: the last line has no end, and breaks off inside an object.
    """
    readline = lines.readline
    number = 0
    while line := readline(_LIMIT):
        number += 1
        if len(line) == _LIMIT and line[-1:] != b"\n":
            while (rest := readline(_CHUNK)) and rest[-1:] != b"\n":
                pass
        stripped = line.strip()
        if stripped[:3] == _BOM:  # also inside, where files of Windows programs were put together
            stripped = stripped[3:].lstrip()
        if stripped:
            if line[-1:] != b"\n" and stripped[:1] == b"{" and len(line) < _LIMIT and _breaks_off(stripped):
                raise TruncatedError("the last line is not whole")
            yield RawRecord(stripped, origin, number)


def _breaks_off(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except msgspec.MsgspecError:
        return True
    return False


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _PARQUET
