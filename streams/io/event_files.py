"""Events in files: JSON lines, plain, gzip or zstandard, Parquet, and standard input."""

from __future__ import annotations

import glob
import gzip
import heapq
import io
import shutil
import sys
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import duckdb
import msgspec
import zstandard

from salesgauge.schemas.values import MAX_EVENT_BYTES
from salesgauge.streams.io.errors import ReplayError, TruncatedError
from salesgauge.streams.io.event_output import SortedLines
from salesgauge.streams.io.records import BATCH, Known, Record, known_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from salesgauge.streams.io.records import Reading, Share

STDIN = "-"
_LIMIT = MAX_EVENT_BYTES + 2
_CHUNK = 1 << 18
_ROWS = 5_000
_RUN_LENGTH = 100_000
_PARQUET = b"PAR1"
_BOM = b"\xef\xbb\xbf"
_PAYLOAD_COLUMNS = ("event", "value", "payload", "json")


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


def _matches(name: str) -> list[str]:
    """The files of a pattern that no shell has expanded, in the order of their names."""
    if name == STDIN or Path(name).exists() or not glob.has_magic(name):
        return [name]
    return sorted(glob.glob(name, recursive=True)) or [name]  # noqa: PTH207 - it may be absolute


@dataclass(slots=True)
class Files:
    """The files of a replay as one source. What cannot be read twice (a pipe) is kept in a temporary file.

    Args:
        names: paths, patterns such as ``2026-*.jsonl``, or ``-`` for standard input.
        allow_truncated: read a file that ends too early up to there.

    Raises:
        ReplayError: a file does not exist or cannot be read.
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
        self.names = tuple(chain.from_iterable(map(_matches, self.names)))
        for name in self.names:
            if name in self._paths:
                continue
            if name != STDIN and not Path(name).exists():
                raise ReplayError(f"{name} does not exist")
            if name != STDIN and Path(name).is_dir():
                raise ReplayError(f"{name} is a folder; name the files in it")

    @property
    def rereadable(self) -> bool:
        """Whether all are files on disk, which a second look costs only time."""
        return all(name != STDIN and Path(name).is_file() for name in self.names)

    def records(self) -> Iterator[Record]:
        """All records in the order of the files."""
        self._finished = 0
        for name in dict.fromkeys(self.names):
            yield from self._read(name, once=True)

    def ordered(self, *, corrected: bool) -> Iterator[Known]:
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

    def shares(self, of: int) -> list[Share]:
        """Every ``of``-th batch of the records for each process."""
        paths = {name: self._path(name, once=False) or Path(name) for name in dict.fromkeys(self.names)}
        return [FilesShare(paths, number, of, self.allow_truncated) for number in range(of)]

    def close(self) -> None:
        """Remove temporary files."""
        self._folder.cleanup()

    def _numbered(self) -> list[tuple[int, str]]:
        return list(enumerate(dict.fromkeys(self.names)))

    def _size(self, name: str) -> int:
        path = self._paths.get(name) or (None if name == STDIN else Path(name))
        return path.stat().st_size if path else 0

    def _one_ordered(self, name: str, number: int, *, corrected: bool) -> Iterator[tuple[int, int, int, Record]]:
        if not self._scans[name].sorted:
            yield from self._sorted_on_disk(name, number, corrected=corrected)
            return
        latest = 0
        for record in self._read(name, once=False):
            at = known_at(record, corrected=corrected)
            latest = latest if at is None else at  # what is no event is refused where it stands
            yield latest, number, record.position, record

    def _sorted_on_disk(self, name: str, number: int, *, corrected: bool) -> Iterator[tuple[int, int, int, Record]]:
        folder = Path(self._folder.name) / f"sorted-{number}"
        folder.mkdir(exist_ok=True)
        lines = SortedLines(folder, run_length=_RUN_LENGTH)
        latest = 0
        for record in self._read(name, once=False):
            at = known_at(record, corrected=corrected)
            latest = latest if at is None else at
            lines.add(latest, f"{record.position:015d}", f"{latest} ".encode() + (record.payload or b""))
        for position, line in enumerate(lines):
            key, _, payload = line.partition(b" ")
            yield int(key), number, position, Record(payload, name, 0)

    def _read(self, name: str, *, once: bool) -> Iterator[Record]:
        path = self._path(name, once=once)
        try:
            if path is None:
                yield from self._checked(decompressed(self._standard_input), "stdin")
            elif _is_parquet(path):
                yield from _parquet_records(path, name)
            else:
                yield from self._read_lines(path, name)
        except OSError as error:
            raise ReplayError(f"cannot read {name}: {error.strerror or error}") from error
        if path is not None:
            self._finished += path.stat().st_size

    @property
    def _standard_input(self) -> IO[bytes]:
        if self._piped is None:
            self._piped = _peekable(sys.stdin.buffer)
        return self._piped

    def _path(self, name: str, *, once: bool) -> Path | None:
        """The file to read; standard input is read directly where one pass is enough."""
        if name not in self._paths and (name == STDIN or not Path(name).is_file()):
            if once and name == STDIN and _magic(self._standard_input) != _PARQUET:
                return None
            kept = self._paths[name] = Path(self._folder.name) / f"kept-{len(self._paths)}"
            with (
                self._standard_input if name == STDIN else Path(name).open("rb") as source,
                kept.open("wb") as file,
            ):
                shutil.copyfileobj(source, file)
        return self._paths.get(name) or Path(name)

    def _read_lines(self, path: Path, name: str) -> Iterator[Record]:
        with path.open("rb") as raw:
            self._open[name] = raw
            try:
                yield from self._checked(decompressed(raw), name)
            finally:
                del self._open[name]

    def _checked(self, stream: IO[bytes], name: str) -> Iterator[Record]:
        try:
            yield from _records(stream, name)
        except (EOFError, TruncatedError) as error:
            if not self.allow_truncated:
                raise TruncatedError(
                    f"{name} ends too early: it is cut; --allow-truncated takes what is there"
                ) from error
            warning = f"{name} ends too early: what was cut off is missing"
            self.warnings[:] = dict.fromkeys([*self.warnings, warning])  # each pass meets it
        except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            raise ReplayError(f"{name} is damaged: {error}") from error


@dataclass(frozen=True, slots=True)
class FilesShare:
    """Every ``of``-th batch of the records in files, by the names under which they are spoken of."""

    paths: Mapping[str, Path]
    number: int
    of: int
    allow_truncated: bool

    @contextmanager
    def open(self) -> Iterator[Reading]:
        """The share, to be read."""
        files = Files(tuple(self.paths), self.allow_truncated, _paths=dict(self.paths))
        try:
            yield _Part(files, self)
        finally:
            files.close()


@dataclass(slots=True)
class _Part:
    files: Files
    share: FilesShare

    @property
    def warnings(self) -> list[str]:
        return self.files.warnings

    def records(self) -> Iterator[Record]:
        stream = self.files.records()
        for number in count():
            batch = list(islice(stream, BATCH))
            if not batch:
                return
            if number % self.share.of == self.share.number:
                yield from batch

    def done(self) -> tuple[int, int]:
        return self.files.done()


def _records(stream: IO[bytes], origin: str) -> Iterator[Record]:
    """The lines that are not blank; one beyond the size of an event is cut and refused for its size.

    Raises:
        TruncatedError: the last line has no end, and breaks off inside an object.
    """
    readline = stream.readline
    number = 0
    while line := readline(_LIMIT):
        number += 1
        if len(line) == _LIMIT and line[-1:] != b"\n":
            while (rest := readline(_CHUNK)) and rest[-1:] != b"\n":
                pass
        stripped = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if stripped:
            if line[-1:] != b"\n" and stripped[:1] == b"{" and len(line) < _LIMIT and _breaks_off(stripped):
                raise TruncatedError("the last line is not whole")
            yield Record(stripped, origin, number)


def _breaks_off(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except msgspec.MsgspecError:
        return True
    return False


def decompressed(raw: IO[bytes]) -> IO[bytes]:
    """The content of a plain, gzip or zstandard file, by its first bytes; has ``readline(limit)`` at least.

    Reading raises EOFError or TruncatedError where a compressed file is cut.
    """
    magic = _magic(raw)
    if magic[:2] == b"\x1f\x8b":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if magic == b"\x28\xb5\x2f\xfd":
        return cast("IO[bytes]", _Zstandard(raw))
    return raw


def _peekable(stream: IO[bytes]) -> IO[bytes]:
    return stream if hasattr(stream, "peek") else cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", stream)))


def _magic(raw: IO[bytes]) -> bytes:
    return cast("io.BufferedReader", raw).peek(4)[:4]


class _Zstandard:
    """Lines of a zstandard file; unlike the library's own reader it notices a frame that was cut."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._buffer = b""
        self._at = 0

    def readline(self, limit: int) -> bytes:
        end = self._buffer.find(b"\n", self._at, self._at + limit)
        while end < 0 and len(self._buffer) - self._at < limit and self._fill():
            end = self._buffer.find(b"\n", self._at, self._at + limit)
        stop = end + 1 if end >= 0 else min(self._at + limit, len(self._buffer))
        line = self._buffer[self._at : stop]
        self._at = stop
        return line

    def _fill(self) -> bool:
        data = self._frame.unused_data if self._frame.eof else b""
        data = data or self._raw.read(_CHUNK)
        if not data:
            if self._begun and not self._frame.eof:
                raise TruncatedError("the last frame is not whole")
            return False
        if self._frame.eof:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = True
        self._buffer = self._buffer[self._at :] + self._frame.decompress(data)
        self._at = 0
        return True


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _PARQUET


def _parquet_records(path: Path, name: str) -> Iterator[Record]:
    """One event a row: JSON in a column ``event``, ``value``, ``payload`` or ``json``, or fields as columns."""
    with duckdb.connect() as connection:
        try:
            relation = connection.execute("SELECT * FROM read_parquet(?) LIMIT 0", [str(path)])
            columns = [(str(column[0]), str(column[1])) for column in relation.description or ()]
            query = f"SELECT {_payload_sql(columns)} FROM read_parquet(?)"  # noqa: S608
            result = connection.execute(query, [str(path)])
            number = 0
            while rows := result.fetchmany(_ROWS):
                for (payload,) in rows:
                    number += 1
                    yield Record(_bytes(payload), name, number)
        except duckdb.Error as error:
            what, _, _ = str(error).partition("\n")
            raise ReplayError(f"{name} cannot be read as Parquet, it is cut or damaged: {what}") from error


def _payload_sql(columns: Sequence[tuple[str, str]]) -> str:
    """An expression for a row's event as JSON. Times without a zone are UTC; empty fields are left out."""
    names = [name for name, _ in columns]
    for name in _PAYLOAD_COLUMNS if "event_id" not in names else ():
        if name in names:
            return _quoted(name)
    fields = ", ".join(f"{_quoted(name)} := {_field_sql(name, kind)}" for name, kind in columns)
    return f"json_merge_patch('{{}}', to_json(struct_pack({fields})))"


def _field_sql(name: str, kind: str) -> str:
    if kind.upper().startswith(("TIMESTAMP", "DATETIME")):
        # make_timestamp of microseconds: zones are DuckDB's ICU extension's, which need not be here
        return f"strftime(make_timestamp(epoch_us({_quoted(name)})), '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"CAST({_quoted(name)} AS VARCHAR)" if kind.upper().startswith("DECIMAL") else _quoted(name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bytes(payload: Any) -> bytes | None:
    return payload.encode() if isinstance(payload, str) else payload
