"""The rows of a Parquet file as events in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from salesgauge.schemas.errors import InputError
from salesgauge.schemas.sources.sql import quoted
from salesgauge.streams.io.records import RawRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ROWS = 5_000
_PAYLOAD_COLUMNS = ("event", "value", "payload", "json")


def parquet_records(path: Path, name: str) -> Iterator[RawRecord]:
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
                    yield RawRecord(_bytes(payload), name, number)
        except duckdb.Error as error:
            what, _, _ = str(error).partition("\n")
            raise InputError(f"{name} cannot be read as Parquet, it is cut or damaged: {what}") from error


def _payload_sql(columns: Sequence[tuple[str, str]]) -> str:
    """An expression for a row's event as JSON. Times without a zone are UTC; empty fields are left out."""
    names = [name for name, _ in columns]
    for name in _PAYLOAD_COLUMNS if "event_id" not in names else ():
        if name in names:
            return quoted(name)
    fields = ", ".join(f"{quoted(name)} := {_field_sql(name, kind)}" for name, kind in columns)
    return f"json_merge_patch('{{}}', to_json(struct_pack({fields})))"


def _field_sql(name: str, kind: str) -> str:
    if kind.upper().startswith(("TIMESTAMP", "DATETIME")):
        # make_timestamp of microseconds: zones are DuckDB's ICU extension's, which need not be here
        return f"strftime(make_timestamp(epoch_us({quoted(name)})), '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"CAST({quoted(name)} AS VARCHAR)" if kind.upper().startswith("DECIMAL") else quoted(name)


def _bytes(payload: Any) -> bytes | None:
    return payload.encode() if isinstance(payload, str) else payload
