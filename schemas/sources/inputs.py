"""The files of a mapping as tables of a DuckDB that can reach nothing else."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from salesgauge.schemas.sources.mapping import ConvertError, Mapping
from salesgauge.schemas.sources.reading import Unreadable, explained, literal, quoted, read_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Mapping as MappingABC


def resolve_inputs(
    mapping: Mapping, *, overrides: MappingABC[str, str], folders: Sequence[Path]
) -> dict[str, list[Path]]:
    """The files of each input: a path or glob is looked for in each of ``folders`` until one has a match.

    Raises:
        ConvertError: an override names no input, or an input has no file.
    """
    unknown = sorted(set(overrides) - set(mapping.inputs))
    if unknown:
        raise ConvertError(f"--input {unknown[0]}=…: the mapping's inputs are {', '.join(mapping.inputs)}")
    return {
        name: _files(name, (overrides[name],) if name in overrides else spec.path, folders)
        for name, spec in mapping.inputs.items()
    }


def open_tables(
    mapping: Mapping,
    files: MappingABC[str, list[Path]],
    *,
    zone: str,
    spill: Path,
    distinct: Iterable[str] = (),
) -> tuple[duckdb.DuckDBPyConnection, list[Unreadable]]:
    """A database with a table per input and a view per shared query; and the lines that are in no table.

    Afterwards it has no access to files or the network, so that a mapping from elsewhere can read its inputs
    and nothing else. It runs on one thread: ``list()`` and ``first()`` meet rows in the order of the file.

    Args:
        mapping: the mapping.
        files: the files of each input, from :func:`resolve_inputs`.
        zone: the session's time zone, in which casts between times with and without a zone work.
        spill: a folder for what does not fit in memory.
        distinct: inputs whose equal rows are read once, besides those that say so in the mapping.

    Raises:
        ConvertError: a file cannot be read or a view's query is wrong.
    """
    dropped = set(distinct)
    unknown = sorted(dropped - set(mapping.inputs))
    if unknown:
        raise ConvertError(f"'{unknown[0]}' is no input; the mapping's inputs are {', '.join(mapping.inputs)}")
    connection = duckdb.connect(":memory:")
    _set(
        connection,
        threads=1, TimeZone=zone, temp_directory=str(spill), python_enable_replacements=False,
        autoinstall_known_extensions=False, enable_progress_bar=False,
    )  # fmt: skip
    unreadable: list[Unreadable] = []
    for name, spec in mapping.inputs.items():
        once = name in dropped or spec.duplicates == "drop"
        unreadable += read_input(connection, name, spec, files[name], spill, distinct=once)
    _set(connection, enable_external_access=False, lock_configuration=True)
    for name, query in mapping.views.items():
        select = single_select(connection, query, where=f"view {name}")
        with explained(f"view {name}"):
            connection.execute(f"CREATE VIEW {quoted(name)} AS {select}")
    return connection, unreadable


def single_select(connection: duckdb.DuckDBPyConnection, sql: str, *, where: str) -> str:
    """The one SELECT that ``sql`` consists of, without a closing semicolon.

    Raises:
        ConvertError: it does not parse, or is something else.
    """
    with explained(where):
        statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ConvertError(f"{where}: the SQL must be one SELECT")
    return str(statements[0].query).rstrip().removesuffix(";")


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
