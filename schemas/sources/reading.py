"""Reading an input's files into a table of DuckDB: formats, encodings, and the lines that cannot be read."""

from __future__ import annotations

import codecs
import re
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import zstandard

from salesgauge.schemas.errors import TruncatedError
from salesgauge.schemas.sources.mapping import ConvertError, InputSpec
from salesgauge.schemas.sources.sql import literal, quoted
from salesgauge.schemas.sources.unpacking import is_packed, unpacked
from salesgauge.schemas.sources.workbooks import workbook_as_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Mapping as MappingABC

    from salesgauge.schemas.sources.unpacking import Content

_SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv",
    ".parquet": "parquet", ".pq": "parquet",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".xlsx": "excel", ".xlsm": "excel", ".xls": "excel", ".xlsb": "excel", ".ods": "excel",
}  # fmt: skip
_COMPRESSED = frozenset({".gz", ".zst"})
_COMMON = frozenset({"path", "format", "duplicates", "encoding", "dates", "sheet"})
_NOTATIONS = frozenset({"dateformat", "timestampformat", "decimal_separator", "thousands"})
"""How values are written: heeded by :mod:`.columns`; DuckDB needs them for the columns of ``types`` alone."""
_WORKBOOK_OPTIONS = frozenset({*_NOTATIONS, "types", "all_varchar", "skip", "nullstr", "sheet", "dates"})
_AS_WRITTEN = {"delim": ",", "quote": '"', "escape": '"', "strict_mode": True}
"""The dialect in which a workbook's sheet is written out."""
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LONGEST_MARK = 3
_CHUNK = 1 << 20
_DEFAULTS: dict[str, dict[str, Any]] = {
    # Every CRM export has a header; detection doubts it where all columns are text. No export has comments; detection
    # takes a line that begins with #REF! for one.
    "csv": {"header": True, "comment": "", "sample_size": -1},
    "json": {"sample_size": -1},
    "parquet": {},
}
_DELIMITERS = ",;\t|"
_NOT_UTF8 = "not utf-8 encoded"
_NO_TIME = "according to format specifier"
_UNDIVIDED = re.compile(rf'Candidate bindings: "[^"]*[{_DELIMITERS}]')
_COMPLAINTS = {
    "TOO MANY COLUMNS": "more columns than the header",
    "MISSING COLUMNS": "fewer columns than the header",
    "UNQUOTED VALUE": "a quotation mark that does not enclose the whole value",
}
"""DuckDB's kind of error -> what is wrong with the line."""
_REJECTS = """
    SELECT file_path, line, left(first(csv_line), 1000), arg_min(error_type, rank), arg_min(error_message, rank)
    FROM (SELECT *, (error_type = 'CAST')::INT AS rank FROM {rejects} JOIN {scans} USING (scan_id, file_id))
    GROUP BY file_path, line ORDER BY file_path, line"""
"""One row per line, with the reason that explains the others: what has a column too many has the wrong types, too."""
_OWN_SQL = "LINE 1: CREATE"
"""Where DuckDB begins to show a query that no mapping contains."""
_JSON_OPTIONS = frozenset({"ignore_errors", "dateformat", "timestampformat"})


_LOOKS_LIKE = re.compile(r"(DATE|TIME|TIMESTAMP\w*|UUID)\b(?!.*\])")


class NotUtf8Error(ConvertError):
    """A file of text is in another encoding."""


class explained:  # noqa: N801 (reads as a verb: with explained("event deal_won"):)
    """Turns errors of DuckDB and of files inside a ``with`` into :class:`ConvertError` with the place and a remedy."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | EOFError | TruncatedError | zlib.error | zstandard.ZstdError):
            raise ConvertError(f"{self._where}: cannot be read: {error}") from error
        if isinstance(error, duckdb.InvalidInputException) and _NOT_UTF8 in str(error):
            raise NotUtf8Error(f"{self._where}: {_not_utf8(str(error))}") from error
        if isinstance(error, duckdb.Error):
            message = str(error).partition(_OWN_SQL)[0].strip()
            raise ConvertError(f"{self._where}: {message}{_remedy(error)}") from error


def _not_utf8(message: str) -> str:
    """In plain words; DuckDB would advise to try UTF-16."""
    line = re.search(r"Line: (\d+)", message)
    where = f"line {line[1]} is not UTF-8" if line else "the file is not UTF-8"
    return (
        f"{where}. Say the file's encoding in the mapping, such as encoding: cp1252 for exports of Windows programs, "
        "or export it as UTF-8."
    )


def _remedy(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.BinderException) and _UNDIVIDED.search(str(error)):
        return (
            "\nThe file's lines were not divided into columns. Say delim, quote or skip in the mapping; "
            "or look for a line with a quotation mark that is not doubled."
        )
    if isinstance(error, duckdb.ConversionException) or _NO_TIME in str(error):
        return "\nUse TRY_CAST or try_strptime, and a reject_reason column for values that cannot be read."
    if isinstance(error, duckdb.InterruptException):
        return "\nThe query took longer than it may; let it do less, or look for a join without a condition."
    if isinstance(error, duckdb.OutOfMemoryException):
        return "\nThe query needs more memory and disk than it may; look for a join without a condition."
    if isinstance(error, duckdb.PermissionException):
        return "\nA mapping's SQL can read its inputs only; name the file under inputs."
    return ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line of a CSV file that does not fit the others or a column's type."""

    input: str
    file: str
    line: int
    text: str
    detail: str


def read_input(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    spec: InputSpec,
    files: list[Path],
    spill: Path,
    *,
    distinct: bool,
) -> list[Unreadable]:
    """Read the files of the input ``name`` into a table of that name.

    Args:
        connection: the database.
        name: of the input.
        spec: how its files are to be read.
        files: its files.
        spill: a folder for copies in UTF-8.
        distinct: whether equal rows are read once.

    Returns:
        The lines that the table lacks.

    Raises:
        ConvertError: a file cannot be read.
    """
    formats = {spec.format or _format(name, path) for path in files}
    if len(formats) > 1:
        raise ConvertError(f"input {name}: its files have several formats ({', '.join(sorted(formats))})")
    kind = formats.pop()
    _check_options(name, spec, kind)
    with explained(f"input {name}"):
        _refuse_empty(name, files)
        readable = _readable(name, kind, spec, files, spill)
        options = _options(spec)
        if kind == "excel":
            kind, options = "csv", {**options, **_AS_WRITTEN}
        if kind == "csv":
            options = _as_text(options)
        table = _Table(connection, name, kind, [str(path) for path in readable], distinct)
        if kind == "json":
            table.create(table.with_text(options))
            return []
        if kind == "parquet" or spec.ignore_errors is False:
            table.create(options)
            return []
        original = {str(copy): path.name for copy, path in zip(readable, files, strict=True)}
        return table.create_leniently(options, original, strictly_first=not spec.ignore_errors)


def _refuse_empty(name: str, files: list[Path]) -> None:
    for path in files:
        with _opened(path) as file:
            if not file.read(_CHUNK).strip(b"\xef\xbb\xbf \t\r\n"):
                raise ConvertError(f"input {name}: {path.name} is empty; export it again")


def _readable(name: str, kind: str, spec: InputSpec, files: list[Path], spill: Path) -> list[Path]:
    """The files as DuckDB can read them: text in UTF-8, sheets of workbooks as CSV."""
    copies = [(path, spill / f"{name}-{number}") for number, path in enumerate(files)]
    if kind == "parquet":
        return files
    if kind == "excel":
        return [workbook_as_csv(name, path, spec.sheet, copy) for path, copy in copies]
    return [_as_utf8(name, path, spec.encoding, copy) for path, copy in copies]


def _as_text(options: MappingABC[str, Any]) -> dict[str, Any]:
    """All columns of a CSV as text but those whose type is given: :mod:`.columns` finds out the others' types."""
    notations = {key: value for key, value in options.items() if key in _NOTATIONS}
    others = {key: value for key, value in options.items() if key not in _NOTATIONS}
    return {**others, **(notations if "types" in options else {}), "all_varchar": True}


@dataclass(frozen=True, slots=True)
class _Table:
    """A table to be made of files by a table function of DuckDB."""

    connection: duckdb.DuckDBPyConnection
    name: str
    kind: str
    files: list[str]
    distinct: bool

    def create(self, options: MappingABC[str, Any]) -> None:
        """Make the table; several files may differ in their columns."""
        self._fill(self._reader(self.files, {"union_by_name": len(self.files) > 1, **options}))

    def _create_by_file(self, options: MappingABC[str, Any]) -> None:
        """The same, where DuckDB keeps what it rejects: it does so for one file at a time."""
        keeping = {"store_rejects": True, "rejects_table": self._kept("rejects"), "rejects_scan": self._kept("scans")}
        parts = [quoted(self._kept(str(number))) for number in range(len(self.files))]
        for part, file in zip(parts, self.files, strict=True):
            self.connection.execute(f"CREATE TABLE {part} AS FROM {self._reader([file], {**options, **keeping})}")
        self._fill(f"({' UNION ALL BY NAME '.join(f'FROM {part}' for part in parts)})")
        for part in parts:
            self.connection.execute(f"DROP TABLE {part}")

    def _kept(self, what: str) -> str:
        """The name of a table beside this one, which no input and no view can have."""
        return f"_{self.name}_{what}"

    def _fill(self, source: str) -> None:
        select = "SELECT DISTINCT" if self.distinct else "SELECT"
        self.connection.execute(f"CREATE OR REPLACE TABLE {quoted(self.name)} AS {select} * FROM {source}")

    def _reader(self, files: list[str], options: MappingABC[str, Any]) -> str:
        arguments = [f"{key} = {literal(value)}" for key, value in {**_DEFAULTS[self.kind], **options}.items()]
        return f"read_{self.kind}({', '.join([literal(files), *arguments])})"

    def with_text(self, options: MappingABC[str, Any]) -> dict[str, Any]:
        """Options by which texts of a JSON file stay texts, though they look like dates, times or UUIDs."""
        if options.keys() & _NOTATIONS:
            return dict(options)
        reader = self._reader(self.files, {"union_by_name": len(self.files) > 1, **options})
        rows = self.connection.execute(f"DESCRIBE FROM {reader}").fetchall()
        columns = {str(name): "VARCHAR" if _LOOKS_LIKE.match(kind) else str(kind) for name, kind, *_ in rows}
        return {**options, "columns": columns} if any(_LOOKS_LIKE.match(kind) for _, kind, *_ in rows) else {**options}

    def create_leniently(
        self, options: MappingABC[str, Any], original: MappingABC[str, str], *, strictly_first: bool
    ) -> list[Unreadable]:
        """Make the table of all lines that can be read, and return the others.

        One bad line suffices that DuckDB divides no line, or takes what is above it for a title. Leniently it finds the
        columns all the same, but no header below a title. So what finds no fewer rows, in columns, is right.
        """
        options = {key: value for key, value in options.items() if key != "ignore_errors"}
        lenient = {"quote": '"', "escape": '"', **options}
        if not strictly_first:
            self._create_by_file(lenient)
            return self._rejects(original)
        rows = self._rows(self.create, options)
        if rows is not None and ("skip" in options or self._begins_with_its_header()):
            return []
        leniently = self._rows(self._create_by_file, lenient)
        if leniently and leniently >= (rows or 0) and len(self._columns()) > 1:
            return self._rejects(original)
        self.create(options)
        return []

    def _rows(self, create: Callable[[MappingABC[str, Any]], None], options: MappingABC[str, Any]) -> int | None:
        """How many rows the table has when it is made so; None where it cannot be, or lines are not divided."""
        try:
            create(options)
        except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
            if _NOT_UTF8 in str(error):  # else each line with an umlaut would be a bad one
                raise
            return None
        columns = self._columns()
        if len(columns) == 1 and any(delimiter in columns[0] for delimiter in _DELIMITERS):
            return None
        [[rows]] = self.connection.execute(f"SELECT count(*) FROM {quoted(self.name)}").fetchall()  # noqa: S608
        return int(rows)

    def _columns(self) -> list[str]:
        return [str(column) for column, *_ in self.connection.execute(f"DESCRIBE {quoted(self.name)}").fetchall()]

    def _begins_with_its_header(self) -> bool:
        with _opened(Path(self.files[0])) as file:
            return self._columns()[0] in file.readline(_CHUNK).decode(errors="replace")

    def _rejects(self, original: MappingABC[str, str]) -> list[Unreadable]:
        tables = {"rejects": quoted(self._kept("rejects")), "scans": quoted(self._kept("scans"))}
        rows = self.connection.execute(_REJECTS.format(**tables)).fetchall()
        for table in tables.values():
            self.connection.execute(f"DROP TABLE {table}")
        return [
            Unreadable(self.name, original.get(file, file), line, text, _COMPLAINTS.get(kind, message))
            for file, line, text, kind, message in rows
        ]


def _format(name: str, path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    found = _SUFFIXES.get(suffixes[-1] if suffixes else "")
    if found is None:
        raise ConvertError(
            f"input {name}: cannot tell the format of '{path.name}'; export it as CSV, XLSX, Parquet or "
            "JSON, or say format: csv, excel, parquet or json in the mapping"
        )
    return found


def _as_utf8(name: str, path: Path, encoding: str | None, copy: Path) -> Path:
    """The file, or a ``copy`` of its text in UTF-8 where it is packed or has another encoding.

    DuckDB reads few encodings, tells by a file's name what packs it, and may take one that was cut for a whole one.
    """
    if encoding is None:
        with _opened(path) as file:
            encoding = _marked_encoding(file.peek(_LONGEST_MARK)[:_LONGEST_MARK])
    if encoding is None:
        return _as_plain(path, copy)
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 0
    with _opened(path) as file, copy.open("wb") as target:
        try:
            while chunk := file.read(_CHUNK):
                target.write(decoder.decode(chunk).encode())
                lines += chunk.count(b"\n")
            target.write(decoder.decode(b"", final=True).encode())
        except UnicodeDecodeError as error:
            line = lines + error.object[: error.start].count(b"\n") + 1
            raise ConvertError(f"input {name}: {path.name}: line {line} is not {encoding}") from error
    return copy


def _as_plain(path: Path, copy: Path) -> Path:
    """The file, or a ``copy`` of its content where it is packed, or DuckDB would take it for packed."""
    with path.open("rb") as raw:
        if not is_packed(raw) and path.suffix.lower() not in _COMPRESSED:
            return path
    with _opened(path) as file, copy.open("wb") as target:
        while chunk := file.read(_CHUNK):
            target.write(chunk)
    return copy


def _marked_encoding(beginning: bytes) -> str | None:
    """The encoding that a byte order mark says, where DuckDB does not heed it."""
    return next((encoding for mark, encoding in _MARKS.items() if beginning.startswith(mark)), None)


@contextmanager
def _opened(path: Path) -> Iterator[Content]:
    """The file's content, unpacked."""
    with path.open("rb") as raw:
        yield unpacked(raw)


def _check_options(name: str, spec: InputSpec, kind: str) -> None:
    options = set(_options(spec)) | {key for key in ("encoding", "sheet") if getattr(spec, key)}
    allowed = {
        "csv": options - {"sheet"}, "json": _JSON_OPTIONS, "excel": _WORKBOOK_OPTIONS, "parquet": frozenset[str](),
    }[kind]  # fmt: skip
    misplaced = sorted(options - allowed)
    if misplaced:
        raise ConvertError(f"input {name}: the option '{misplaced[0]}' does not apply to {kind} files")


def _options(spec: InputSpec) -> dict[str, Any]:
    return spec.model_dump(exclude_none=True, exclude=set(_COMMON), exclude_defaults=True)
