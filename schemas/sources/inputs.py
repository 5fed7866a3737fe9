"""The files of a mapping as tables of a DuckDB that can reach nothing else."""

from __future__ import annotations

import contextlib
import glob
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from salesgauge.schemas.sources.advice import syntax_remedy
from salesgauge.schemas.sources.columns import (
    Column,
    Declared,
    Doubt,
    currency_of,
    doubtful_texts,
    midnights,
    profile,
    rounded_texts,
)
from salesgauge.schemas.sources.mapping import ConvertError, InputSpec, Mapping
from salesgauge.schemas.sources.reading import Unreadable, explained, read_input
from salesgauge.schemas.sources.sql import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Mapping as MappingABC


def resolve_inputs(
    mapping: Mapping, *, overrides: MappingABC[str, str], folders: Sequence[Path], allowed: Sequence[Path] = ()
) -> dict[str, list[Path]]:
    """The files of each input: a path or glob is looked for in each of ``folders`` until one has a match.

    A mapping may come from somebody else: what it names itself must lie in one of ``folders``, links followed, or be
    one of the ``allowed`` files. Overrides come from whoever runs it, and may name any file.

    Raises:
        ConvertError: an override names no input, an input has no file, or it lies elsewhere.
    """
    unknown = sorted(set(overrides) - set(mapping.inputs))
    if unknown:
        raise ConvertError(f"--input {unknown[0]}=…: the mapping's inputs are {', '.join(mapping.inputs)}")
    found = {}
    for name, spec in mapping.inputs.items():
        if name in overrides:
            found[name] = _files(name, (overrides[name],), (Path(), *folders))
        else:
            found[name] = _files(name, spec.path, folders)
            _confine(name, found[name], folders, allowed)
    return found


def _confine(name: str, files: Sequence[Path], folders: Sequence[Path], allowed: Sequence[Path]) -> None:
    roots = [folder.resolve() for folder in folders]
    named = {path.resolve() for path in allowed}
    for file in files:
        whole = file.resolve()
        if whole not in named and not any(whole.is_relative_to(root) for root in roots):
            raise ConvertError(
                f"input {name}: {file} lies outside of the mapping's folder; if it is to be read, name it with "
                f"--input {name}={file}"
            )


_PLACES = 3
_MEMORY = "2GB"
_SPILL = "50GB"
"""What the SQL of a mapping may use: beyond the first it goes to disk, beyond the second it ends."""


@dataclass(slots=True)
class Tables:
    """The inputs of a mapping as tables whose columns can be read as text or by the type of their values.

    Until :meth:`settle` each input is a view over the file's texts, so that a column can be read otherwise at no cost.
    """

    connection: duckdb.DuckDBPyConnection
    mapping: Mapping
    zone: str
    unreadable: list[Unreadable] = field(default_factory=list)
    columns: dict[str, dict[str, Column]] = field(default_factory=dict)
    """Input -> name -> how its values are read; of columns that the file itself gives a type there is none."""
    as_text: set[tuple[str, str]] = field(default_factory=set)
    """Columns (input, name) that are read as text whatever their values look like."""

    def define(self) -> None:
        """Make the inputs and the shared queries anew, by the present choice.

        Raises:
            ConvertError: a shared query is wrong.
        """
        for name in self.mapping.inputs:
            self.connection.execute(f"CREATE OR REPLACE VIEW {quoted(name)} AS {self._select(name)}")
        self._define_views()

    def settle(self) -> None:
        """Read each input once and for all by the present choice, and forget the texts."""
        for view in reversed([*self.mapping.inputs, *self.mapping.views]):
            self.connection.execute(f"DROP VIEW IF EXISTS {quoted(view)}")
        for name in self.mapping.inputs:
            with explained(f"input {name}"):
                self.connection.execute(f"CREATE TABLE {quoted(name)} AS {self._select(name)}")
                self.connection.execute(f"DROP TABLE {quoted(raw_table(name))}")
        self._define_views()

    def doubts(self) -> dict[str, Doubt]:
        """The texts of all doubtful columns that are read as text."""
        found: dict[str, Doubt] = {}
        for name, columns in self.columns.items():
            for column in columns.values():
                found |= doubtful_texts(self.connection, raw_table(name), column)
        return found

    def rounded(self) -> dict[str, str]:
        """The identifiers that look rounded by a spreadsheet -> in which column."""
        found: dict[str, str] = {}
        for name, columns in self.columns.items():
            for column in columns.values():
                if column.kind in ("integer", "decimal", "text"):
                    texts = rounded_texts(self.connection, raw_table(name), column.name)
                    found |= dict.fromkeys(texts, f"column {column.name} of input {name}")
        return found

    def notices(self) -> list[str]:
        """What was concluded from the values of columns, where somebody might want it otherwise."""
        return [*self._dates_notices(), *self._sign_notices()]

    def _sign_notices(self) -> list[str]:
        sql = "\n".join((*(spec.sql for spec in self.mapping.events), *self.mapping.views.values()))
        wanted = self.mapping.currency
        return [
            f"input {name}: {column.name} is written with {column.sign}, and the mapping says currency: {wanted}"
            for name, columns in self.columns.items()
            for column in columns.values()
            if column.sign and wanted and column.name in sql and (currency_of(column.sign) or wanted) != wanted
        ]

    def _dates_notices(self) -> list[str]:
        return [
            f"input {name}: {column.name}: every time is midnight UTC, as systems write dates, so it is read as dates; "
            f"types: {{{column.name}: TIMESTAMPTZ}} keeps the instants"
            for name, columns in self.columns.items()
            for column in columns.values()
            if column.notation == "midnight UTC" and (name, column.name) not in self.as_text
        ]

    def _select(self, name: str) -> str:
        read = [
            f"{column.expression} AS {quoted(column.name)}"
            for column in self.columns[name].values()
            if column.expression != quoted(column.name) and (name, column.name) not in self.as_text
        ]
        replaced = f" REPLACE ({', '.join(read)})" if read else ""
        return f"SELECT *{replaced} FROM {quoted(raw_table(name))}"  # noqa: S608

    def _define_views(self) -> None:
        for name, query in self.mapping.views.items():
            select = single_select(self.connection, query, where=f"view {name}")
            with explained(f"view {name}"):
                self.connection.execute(f"CREATE OR REPLACE VIEW {quoted(name)} AS {select}")


def places_of(text: str, files: MappingABC[str, list[Path]]) -> str:
    """The first places of a text in plain files, such as ``leads.csv, line 2``; for messages."""
    found = []
    for path in (path for paths in files.values() for path in paths):
        with contextlib.suppress(OSError), path.open("rb") as file:
            lines = (number for number, line in enumerate(file, 1) if text.encode() in line)
            found += [f"{path.name}, line {number}" for number in itertools.islice(lines, _PLACES)]
    return "; ".join(found[:_PLACES])


def raw_table(name: str) -> str:
    """The table of an input's texts, whose name no input and no view can have."""
    return f"_{name}_raw"


def open_tables(
    mapping: Mapping,
    files: MappingABC[str, list[Path]],
    *,
    zone: str,
    spill: Path,
    distinct: Iterable[str] = (),
) -> Tables:
    """A database with the inputs' texts, yet to be defined as tables; and the lines that are in none.

    Afterwards it has no access to files or the network, so that a mapping from elsewhere can read its inputs
    and nothing else. It runs on one thread: ``list()`` and ``first()`` meet rows in the order of the file.

    Args:
        mapping: the mapping.
        files: the files of each input, from :func:`resolve_inputs`.
        zone: the session's time zone, in which casts between times with and without a zone work.
        spill: a folder for what does not fit in memory.
        distinct: inputs whose equal rows are read once, besides those that say so in the mapping.

    Raises:
        ConvertError: a file cannot be read.
    """
    dropped = set(distinct)
    unknown = sorted(dropped - set(mapping.inputs))
    if unknown:
        raise ConvertError(f"'{unknown[0]}' is no input; the mapping's inputs are {', '.join(mapping.inputs)}")
    connection = open_database(zone, spill)
    tables = Tables(connection, mapping, zone)
    for name, spec in mapping.inputs.items():
        once = name in dropped or spec.duplicates == "drop"
        tables.unreadable += read_input(connection, name, spec, files[name], spill, distinct=once)
        connection.execute(f"ALTER TABLE {quoted(name)} RENAME TO {quoted(raw_table(name))}")
        tables.columns[name] = read_columns(connection, name, spec, zone)
    seal(connection)
    return tables


def open_database(zone: str, spill: Path) -> duckdb.DuckDBPyConnection:
    """An empty database in memory that can read files, until :func:`seal`."""
    connection = duckdb.connect(":memory:")
    _set(
        connection,
        threads=1, TimeZone=zone, temp_directory=str(spill), max_temp_directory_size=_SPILL, memory_limit=_MEMORY,
        python_enable_replacements=False, autoload_known_extensions=False, allow_community_extensions=False,
        autoinstall_known_extensions=False, enable_progress_bar=False,
    )  # fmt: skip
    return connection


def seal(connection: duckdb.DuckDBPyConnection) -> None:
    """Take from a database all access to files, the network and extensions, for good."""
    _set(connection, enable_external_access=False, lock_configuration=True)


def read_columns(connection: duckdb.DuckDBPyConnection, name: str, spec: InputSpec, zone: str) -> dict[str, Column]:
    """How each column of text is read, unless the mapping says its type; and which instants are dates."""
    table = raw_table(name)
    kinds = {str(column): str(kind) for column, kind, *_ in connection.execute(f"DESCRIBE {quoted(table)}").fetchall()}
    given = {column.lower() for column in spec.types}
    texts = [column for column, kind in kinds.items() if kind == "VARCHAR" and column.lower() not in given]
    with explained(f"input {name}"):
        found = [] if spec.all_varchar else profile(connection, table, texts, Declared.by(spec))
        found += [
            midnights(connection, table, column)
            for column, kind in kinds.items()
            if kind == "TIMESTAMP WITH TIME ZONE" and column.lower() not in given
        ]
    return {column.name: column.in_zone(zone) for column in found}


def single_select(connection: duckdb.DuckDBPyConnection, sql: str, *, where: str) -> str:
    """The one SELECT that ``sql`` consists of, without a closing semicolon.

    Raises:
        ConvertError: it does not parse, or is something else.
    """
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise ConvertError(f"{where}: {error}{_syntax_remedy(connection, str(error), sql)}") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ConvertError(f"{where}: the SQL must be one SELECT")
    return str(statements[0].query).rstrip().removesuffix(";")


def _syntax_remedy(connection: duckdb.DuckDBPyConnection, message: str, sql: str) -> str:
    columns = connection.execute("SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
    keywords = connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
    return syntax_remedy(message, sql, [str(name) for (name,) in columns], [str(word) for (word,) in keywords])


def _set(connection: duckdb.DuckDBPyConnection, **options: str | bool | int) -> None:
    for name, value in options.items():
        connection.execute(f"SET {name} = {literal(value)}")


def _files(name: str, patterns: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        files = _matches(pattern, folders)
        if not files:
            looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
            raise ConvertError(f"input {name}: no file '{pattern}' in {looked}; name it with --input {name}=PATH")
        found += files
    return list(dict.fromkeys(found))


def _matches(pattern: str, folders: Sequence[Path]) -> list[Path]:
    for folder in folders:
        whole = folder / Path(pattern).expanduser()
        if whole.is_file():
            return [whole]
        files = sorted(
            Path(match)
            for match in glob.glob(str(whole), recursive=True)  # noqa: PTH207 (the pattern may be absolute)
            if Path(match).is_file()
        )
        if files:
            return files
    return []
