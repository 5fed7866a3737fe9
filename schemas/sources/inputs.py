"""The files of a mapping as tables of a DuckDB that can reach nothing else."""

from __future__ import annotations

import codecs
import glob
import gzip
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import duckdb
import zstandard

from schemas.sources.mapping import ConvertError, InputSpec, Mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Mapping as MappingABC

_SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv",
    ".parquet": "parquet", ".pq": "parquet",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip
_COMPRESSED = frozenset({".gz", ".zst"})
_COMMON = frozenset({"path", "format", "duplicates", "encoding"})
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LONGEST_MARK = 3
_CHUNK = 1 << 20
_OWN_SQL = "LINE 1: CREATE TABLE"
"""Where DuckDB begins to show a query that no mapping contains."""
_JSON_OPTIONS = frozenset({"ignore_errors", "dateformat", "timestampformat"})


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
) -> duckdb.DuckDBPyConnection:
    """A database with a table per input and a view per shared query.

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
    for name, spec in mapping.inputs.items():
        _read(connection, name, spec, files[name], spill, distinct=name in dropped or spec.duplicates == "drop")
    _set(connection, enable_external_access=False, lock_configuration=True)
    for name, query in mapping.views.items():
        select = single_select(connection, query, where=f"view {name}")
        with explained(f"view {name}"):
            connection.execute(f"CREATE VIEW {quoted(name)} AS {select}")
    return connection


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


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class explained:  # noqa: N801 (reads as a verb: with explained("event deal_won"):)
    """Turns errors of DuckDB and of files inside a ``with`` into :class:`ConvertError` with the place and a remedy."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | EOFError | zlib.error | zstandard.ZstdError):
            raise ConvertError(f"{self._where}: cannot be read: {error}") from error
        if isinstance(error, duckdb.Error):
            message = str(error).partition(_OWN_SQL)[0].strip()
            raise ConvertError(f"{self._where}: {message}{_remedy(error)}") from error


def _remedy(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.InvalidInputException) and "not utf-8 encoded" in str(error):
        return "\nSay the file's encoding in the mapping, such as encoding: cp1252 for exports of Windows programs."
    if isinstance(error, duckdb.ConversionException):
        return "\nUse TRY_CAST or try_strptime, and a reject_reason column for values that cannot be read."
    if isinstance(error, duckdb.PermissionException):
        return "\nA mapping's SQL can read its inputs only; name the file under inputs."
    return ""


def _set(connection: duckdb.DuckDBPyConnection, **options: str | bool | int) -> None:
    for name, value in options.items():
        connection.execute(f"SET {name} = {_literal(value)}")


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


def _read(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    spec: InputSpec,
    files: list[Path],
    spill: Path,
    *,
    distinct: bool,
) -> None:
    formats = {spec.format or _format(name, path) for path in files}
    if len(formats) > 1:
        raise ConvertError(f"input {name}: its files have several formats ({', '.join(sorted(formats))})")
    kind = formats.pop()
    _check_options(name, spec, kind)
    with explained(f"input {name}"):
        if kind != "parquet":
            files = [_as_utf8(name, path, spec.encoding, spill / f"{name}-{i}") for i, path in enumerate(files)]
        select = "SELECT DISTINCT" if distinct else "SELECT"
        connection.execute(f"CREATE TABLE {quoted(name)} AS {select} * FROM {_reader(spec, kind, files)}")


def _format(name: str, path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    found = _SUFFIXES.get(suffixes[-1] if suffixes else "")
    if found is None:
        raise ConvertError(
            f"input {name}: cannot tell the format of '{path.name}'; export it as CSV, Parquet or JSON, "
            "or say format: csv, parquet or json in the mapping"
        )
    return found


def _as_utf8(name: str, path: Path, encoding: str | None, copy: Path) -> Path:
    """The file, or a ``copy`` of its text in UTF-8, where it has another encoding: DuckDB reads few."""
    if encoding is None:
        with _opened(path) as file:
            encoding = _marked_encoding(file.read(_LONGEST_MARK))
    if encoding is None:
        return path
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


def _marked_encoding(beginning: bytes) -> str | None:
    """The encoding that a byte order mark says, where DuckDB does not heed it."""
    return next((encoding for mark, encoding in _MARKS.items() if beginning.startswith(mark)), None)


def _opened(path: Path) -> IO[bytes]:
    """The file's content, decompressed."""
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path))
    if path.suffix.lower() == ".zst":
        return cast("IO[bytes]", zstandard.open(path))
    return path.open("rb")


def _check_options(name: str, spec: InputSpec, kind: str) -> None:
    options = set(_options(spec)) | ({"encoding"} if spec.encoding else set())
    allowed = {"csv": options, "json": _JSON_OPTIONS, "parquet": frozenset[str]()}[kind]
    misplaced = sorted(options - allowed)
    if misplaced:
        raise ConvertError(f"input {name}: the option '{misplaced[0]}' does not apply to {kind} files")


def _options(spec: InputSpec) -> dict[str, Any]:
    return spec.model_dump(exclude_none=True, exclude=set(_COMMON), exclude_defaults=True)


def _reader(spec: InputSpec, kind: str, files: list[Path]) -> str:
    """The DuckDB table function with its options; several files may differ in their columns."""
    options = _options(spec)
    options["union_by_name"] = len(files) > 1
    if kind == "csv":
        # Every CRM export has a header; detection doubts it where all columns are text.
        options = {"header": True, "sample_size": -1} | options
    elif kind == "json":
        options["sample_size"] = -1
    arguments = [f"{key} = {_literal(value)}" for key, value in options.items()]
    return f"read_{kind}({', '.join([_literal([str(path) for path in files]), *arguments])})"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    return "'" + str(value).replace("'", "''") + "'"
