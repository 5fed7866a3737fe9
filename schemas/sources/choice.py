"""Which columns of a mapping's inputs are read as text, though their values look like numbers, dates or flags.

What an event's field of text takes from a column must be what the source wrote: 24-01-07 may be the number of a deal.
Where a query hands such a column on, and where a query treats it as text itself, it is read as text. Whether it does
is found out by trying: reading a column otherwise costs nothing before the tables are settled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping as MappingABC
from typing import TYPE_CHECKING

import duckdb

from salesgauge.schemas.sources.inputs import Tables, single_select
from salesgauge.schemas.sources.mapping import ConvertError

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXACT = frozenset({
    "VARCHAR", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "UHUGEINT", "UUID", "JSON", '"NULL"',
})  # fmt: skip
"""Types whose values become the text that they were read from."""

Types = dict[str, str]


def choose_texts(tables: Tables, fields: MappingABC[str, frozenset[str]]) -> None:
    """Extend ``tables.as_text`` by the columns that the queries of the mapping want as they are written.

    Args:
        tables: the inputs; defined anew as chosen.
        fields: event -> its fields of text.

    Raises:
        ConvertError: a shared query is wrong, however the columns are read.
    """
    _define(tables)
    for spec in tables.mapping.events:
        types = _types(tables, spec.sql)
        if types is None:
            types = _with_texts(tables, spec.sql)
        for field in sorted(fields[spec.event] & (types or {}).keys()):
            if types and types[field] not in _EXACT:
                types = _with_text_for(tables, spec.sql, field) or types


def _define(tables: Tables) -> None:
    try:
        tables.define()
    except ConvertError:
        mentioned = list(_mentioned(tables, ""))
        for columns in (*([column] for column in mentioned), mentioned):
            tables.as_text.update(columns)
            with contextlib.suppress(ConvertError):
                tables.define()
                return
            tables.as_text.difference_update(columns)
        raise


def _with_texts(tables: Tables, sql: str) -> Types | None:
    """What a query yields that works if one column, or else every column that it may use, is text."""
    mentioned = list(_mentioned(tables, sql))
    for columns in (*([column] for column in mentioned), mentioned):
        types = _trying(tables, sql, columns)
        if types is not None:
            return types
    return None


def _with_text_for(tables: Tables, sql: str, field: str) -> Types | None:
    """What a query yields when the column that it hands on as ``field`` is text."""
    for column in list(_mentioned(tables, sql)):
        types = _trying(tables, sql, [column], field)
        if types is not None:
            return types
    return None


def _trying(tables: Tables, sql: str, columns: list[tuple[str, str]], field: str = "") -> Types | None:
    """The query's types with these columns as text; taken back if it fails then or, with ``field``, to no avail."""
    before = _working(tables)
    added = set(columns) - tables.as_text
    tables.as_text |= added
    try:
        tables.define()
        types = _types(tables, sql)
        if types is not None and (not field or types[field] == "VARCHAR") and before <= _working(tables):
            return types
    except ConvertError:
        pass
    tables.as_text -= added
    tables.define()
    return None


def _working(tables: Tables) -> set[int]:
    return {number for number, spec in enumerate(tables.mapping.events) if _types(tables, spec.sql) is not None}


def _types(tables: Tables, sql: str) -> Types | None:
    """The types of the columns that a query yields; None if it cannot be bound."""
    try:
        select = single_select(tables.connection, sql, where="")
        rows = tables.connection.execute(f"DESCRIBE {select}").fetchall()
    except (duckdb.Error, ConvertError):
        return None
    return {str(name).lower(): str(kind) for name, kind, *_ in rows}


def _mentioned(tables: Tables, sql: str) -> Iterator[tuple[str, str]]:
    """The typed columns whose name is found in the query or in a shared one; a ``*`` may stand for any."""
    text = "\n".join((sql, *tables.mapping.views.values())).lower()
    for name, columns in tables.columns.items():
        for column in columns.values():
            known = column.name.lower() in text or "*" in text
            if known and column.lossy and (name, column.name) not in tables.as_text:
                yield name, column.name
