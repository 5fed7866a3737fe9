"""Readings as a table in a Parquet file."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from salesgauge.schemas.errors import OutputError
from salesgauge.streams.io.outputs import give_name, refuse_folder, scratch
from salesgauge.streams.io.readings_json import encode, reading_fields
from salesgauge.streams.replay.sinks import OptionRole, Sink, SinkOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from salesgauge.streams.replay.sinks import Take
    from salesgauge.streams.replay.virtual_clock import Evaluation

_COLUMNS = {
    "at": "BIGINT", "kpi": "VARCHAR", "window": "VARCHAR", "labels": "VARCHAR", "stat": "VARCHAR",
    "value": "DOUBLE", "numerator": "DOUBLE", "denominator": "DOUBLE",
}  # fmt: skip


class ParquetFile(Sink):
    """A Parquet file of readings: at, kpi, window, labels (JSON), stat, value, numerator, denominator."""

    option = SinkOption("--parquet", "Write readings as a table.", "FILE", OptionRole.WRITTEN)

    @contextmanager
    def open(self) -> Iterator[Take]:
        """Keep rows, then write the file."""
        path = Path(self.target)
        refuse_folder(path)
        with scratch(path) as folder:
            rows, made = folder / "rows.jsonl", folder / "readings.parquet"
            with rows.open("wb") as file:

                def take(evaluation: Evaluation) -> None:
                    for reading in evaluation.readings:
                        fields = reading_fields(reading)
                        labels = encode(fields["labels"]).decode()
                        file.write(encode(fields | {"at": evaluation.at, "labels": labels}) + b"\n")

                yield take
            _to_parquet(rows, made)
            give_name(made, path)


def _to_parquet(rows: Path, made: Path) -> None:
    import duckdb  # noqa: PLC0415 - only a replay with this sink needs it

    from salesgauge.schemas.sources.sql import literal  # noqa: PLC0415 - as above

    select = 'SELECT to_timestamp("at" / 1000) AS "at", * EXCLUDE ("at")'
    source = f"read_json(?, format = 'newline_delimited', columns = {literal(_COLUMNS)})"
    with duckdb.connect() as connection:
        try:
            query = f"COPY ({select} FROM {source}) TO {literal(str(made))} (FORMAT parquet, COMPRESSION zstd)"
            connection.execute(query, [str(rows)])
        except duckdb.Error as error:
            raise OutputError(f"the Parquet file cannot be written: {error}") from error
