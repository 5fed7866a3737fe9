"""What an export holds: its columns, how their values are read, how many there are, and what is doubtful."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb

from salesgauge.schemas.sources.columns import Column
from salesgauge.schemas.sources.inputs import open_database, raw_table, read_columns
from salesgauge.schemas.sources.mapping import ConvertError, InputSpec
from salesgauge.schemas.sources.reading import NotUtf8Error, Unreadable, read_input
from salesgauge.schemas.sources.sql import quoted
from salesgauge.schemas.sources.workbooks import sheets_of

_SAMPLES = 3
_VALUES = 60
_WIDTH = 30
_WORKBOOKS = frozenset({".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"})


@dataclass(frozen=True, slots=True)
class Described:
    """A column of an export.

    ``type`` is the SQL type by which queries see it. ``values`` has all distinct values with their numbers of rows,
    where there are at most 60 of them; ``samples`` are the most frequent ones.
    """

    name: str
    type: str
    rows: int
    filled: int
    distinct: int
    samples: tuple[str, ...]
    values: tuple[tuple[str, int], ...]
    read: Column | None = None
    """How text is read; None where the file itself gives the type."""

    @property
    def note(self) -> str:
        """The notation, or what is doubtful; empty where values are plain."""
        if self.read is None:
            return ""
        if self.read.doubt is not None:
            return str(self.read.doubt)
        if self.read.midnights:
            return "always midnight UTC: dates"
        return self.read.nearly or self.read.notation

    @property
    def unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.distinct == self.filled == self.rows > 0


@dataclass(frozen=True, slots=True)
class Export:
    """A file, or a sheet of a workbook, and its columns."""

    name: str
    """As an input of a mapping may be called."""
    path: Path
    spec: InputSpec
    rows: int
    columns: tuple[Described, ...]
    unreadable: tuple[Unreadable, ...]

    def column(self, name: str) -> Described | None:
        """The column of this name."""
        return next((column for column in self.columns if column.name == name), None)


def describe(path: Path, *, zone: str = "UTC", spec: InputSpec | None = None) -> list[Export]:
    """Describe a file; of a workbook, every sheet that has rows.

    A file that is no UTF-8 is read as ``cp1252``, as Windows programs write it, and its spec says so.

    Args:
        path: the file.
        zone: of times that name none.
        spec: how to read it, where that is known.

    Raises:
        ConvertError: the file is missing or cannot be read.
    """
    if not path.is_file():
        raise ConvertError(f"no file '{path}'")
    spec = spec or InputSpec.model_validate({"path": str(path)})
    sheets: list[str | None] = [None]
    if path.suffix.lower() in _WORKBOOKS and spec.sheet is None:
        found = sheets_of(path)
        sheets = [*found] if len(found) > 1 else sheets
    return [_described(path, spec.model_copy(update={"sheet": sheet or spec.sheet}), zone) for sheet in sheets]


def _described(path: Path, spec: InputSpec, zone: str) -> Export:
    name = table_name(spec.sheet or path.name.partition(".")[0])
    with tempfile.TemporaryDirectory(prefix="salesgauge-") as folder, open_database(zone, Path(folder)) as connection:
        try:
            unreadable = read_input(connection, name, spec, [path], Path(folder), distinct=False)
        except NotUtf8Error:
            spec = spec.model_copy(update={"encoding": "cp1252"})
            unreadable = read_input(connection, name, spec, [path], Path(folder), distinct=False)
        connection.execute(f"ALTER TABLE {quoted(name)} RENAME TO {quoted(raw_table(name))}")
        read = read_columns(connection, name, spec, zone)
        types = connection.execute(f"DESCRIBE {quoted(raw_table(name))}").fetchall()
        columns = tuple(_column(connection, name, str(c), str(kind), read.get(str(c))) for c, kind, *_ in types)
        [[rows]] = connection.execute(f"SELECT count(*) FROM {quoted(raw_table(name))}").fetchall()  # noqa: S608
    return Export(name, path, spec, rows, columns, tuple(unreadable))


def _column(connection: duckdb.DuckDBPyConnection, table: str, name: str, kind: str, read: Column | None) -> Described:
    value = f"NULLIF(TRIM(CAST({quoted(name)} AS VARCHAR)), '')"
    source = quoted(raw_table(table))
    [[rows, filled, distinct]] = connection.execute(
        f"SELECT count(*), count({value}), count(DISTINCT {value}) FROM {source}"  # noqa: S608
    ).fetchall()
    common = connection.execute(
        f"SELECT {value}, count(*) FROM {source} WHERE {value} IS NOT NULL "  # noqa: S608
        f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_VALUES}"
    ).fetchall()
    samples = tuple(text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "\u2026" for text, _ in common[:_SAMPLES])
    values = tuple((str(text), int(count)) for text, count in common) if distinct <= _VALUES else ()
    return Described(name, read.type if read else kind, rows, filled, distinct, samples, values, read)


def table_name(text: str) -> str:
    """A text as the name of an input."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"t_{plain}".rstrip("_")
