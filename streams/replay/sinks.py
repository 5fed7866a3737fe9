"""Where readings go. Each sink is a context manager that yields a function for snapshots in order of time.

What a sink makes appears when its block ends well; otherwise nothing of it remains.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import duckdb
import msgspec

from salesgauge.metrics.kpis.families import Family, Sample, Type
from salesgauge.schemas.errors import InputError, OutputError
from salesgauge.streams.io.outputs import give_name, made, refuse_folder, scratch, text_file, uninterrupted
from salesgauge.streams.replay.documents import document, encode, item
from salesgauge.streams.replay.machine import Snapshot
from salesgauge.streams.replay.openmetrics import OpenMetrics
from salesgauge.streams.replay.remote_write import Endpoint, RemoteWrite

if TYPE_CHECKING:
    from pathlib import Path

Take = Callable[[Snapshot], None]

REPLAYED = "salesgauge_replayed"
"""1 at each instant that a replay has written; boards mark where it is there."""


def _samples(snapshot: Snapshot) -> list[Family]:
    """What Prometheus is given of an instant."""
    mark = Family(REPLAYED, Type.GAUGE, "1 where the values come from a replay.", [Sample(REPLAYED, {}, 1.0)])
    return [*snapshot.families, mark]


_PERIOD = 2 * 3_600_000
"""A block spans so long (ms), and begins on a multiple of it."""


@contextmanager
def json_lines(stream: IO[bytes]) -> Iterator[Take]:
    """One document a line, each written whole."""

    def take(snapshot: Snapshot) -> None:
        line = encode(document(snapshot.at, snapshot.events, snapshot.rejected, snapshot.readings)) + b"\n"
        left = memoryview(line)
        while left:  # an unbuffered stream takes what fits
            left = left[stream.write(left) :]
        stream.flush()

    yield take


@contextmanager
def openmetrics_file(path: Path, labels: Mapping[str, str]) -> Iterator[Take]:
    """An OpenMetrics file with timestamps.

    Raises:
        OutputError: the file cannot be written.
    """
    refuse_folder(path)
    with scratch(path) as folder:
        metrics = OpenMetrics(folder, labels)
        yield lambda snapshot: metrics.take(snapshot.at, _samples(snapshot))
        with text_file(path) as file:
            metrics.write(file)


@contextmanager
def tsdb_blocks(folder: Path, labels: Mapping[str, str]) -> Iterator[Take]:
    """Blocks for Prometheus' data folder, made by promtool; they are moved there when all are whole.

    Raises:
        OutputError: there is no promtool, or it fails.
    """
    promtool = shutil.which("promtool")
    if promtool is None:
        raise OutputError("--tsdb needs promtool, which comes with Prometheus; install it or use --openmetrics")
    with made(folder), scratch(folder / "blocks") as working:
        blocks = _Blocks(promtool, working, labels)
        yield blocks.take
        blocks.flush()
        with uninterrupted():
            for block in sorted(blocks.folder.iterdir()) if blocks.folder.exists() else ():
                block.rename(folder / block.name)


class _Blocks:
    """Has promtool make the blocks of a few hours at a time: it reads its whole input again for each block."""

    def __init__(self, promtool: str, working: Path, labels: Mapping[str, str]) -> None:
        self.folder = working / "made"
        self._promtool = promtool
        self._working = working
        self._labels = labels
        self._period: int | None = None
        self._metrics: OpenMetrics | None = None

    def take(self, snapshot: Snapshot) -> None:
        """Keep the samples of an instant; those of an earlier period are made blocks of."""
        period = snapshot.at // _PERIOD
        if self._metrics is None or period != self._period:
            self.flush()
            self._period, self._metrics = period, OpenMetrics(self._working, self._labels)
        self._metrics.take(snapshot.at, _samples(snapshot))

    def flush(self) -> None:
        """Make blocks of what is kept.

        Raises:
            OutputError: promtool fails.
        """
        if self._metrics is None:
            return
        text = self._working / "readings.om"
        with text_file(text) as file:
            self._metrics.write(file)
        self._metrics = None
        command = [self._promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise OutputError(f"promtool made no blocks: {(done.stderr or done.stdout).strip()}")


@contextmanager
def remote_write(endpoint: Endpoint, labels: Mapping[str, str], acknowledged: Callable[[int], None]) -> Iterator[Take]:
    """Samples to a remote-write receiver; ``acknowledged`` hears of the last instant (ms) that has arrived.

    Raises:
        OutputError: the receiver refuses or cannot be reached.
    """
    writer = RemoteWrite(endpoint.post, labels, acknowledged)
    yield lambda snapshot: writer.take(snapshot.at, _samples(snapshot))
    writer.flush()


@contextmanager
def parquet_file(path: Path) -> Iterator[Take]:
    """A Parquet file of readings: at, kpi, window, labels (JSON), stat, value, numerator, denominator.

    Raises:
        OutputError: the file cannot be written.
    """
    refuse_folder(path)
    with scratch(path) as folder:
        rows, made = folder / "rows.jsonl", folder / "readings.parquet"
        with rows.open("wb") as file:

            def take(snapshot: Snapshot) -> None:
                for reading in snapshot.readings:
                    fields = item(reading)
                    labels = encode(fields["labels"]).decode()
                    file.write(encode(fields | {"at": snapshot.at, "labels": labels}) + b"\n")

            yield take
        _to_parquet(rows, made)
        give_name(made, path)


_COLUMNS = (
    "{'at': 'BIGINT', 'kpi': 'VARCHAR', 'window': 'VARCHAR', 'labels': 'VARCHAR', 'stat': 'VARCHAR', "
    "'value': 'DOUBLE', 'numerator': 'DOUBLE', 'denominator': 'DOUBLE'}"
)


def _to_parquet(rows: Path, made: Path) -> None:
    select = 'SELECT to_timestamp("at" / 1000) AS "at", * EXCLUDE ("at")'
    source = f"read_json(?, format = 'newline_delimited', columns = {_COLUMNS})"
    with duckdb.connect() as connection:
        try:
            query = f"COPY ({select} FROM {source}) TO '{_sql_text(made)}' (FORMAT parquet, COMPRESSION zstd)"
            connection.execute(query, [str(rows)])
        except duckdb.Error as error:
            raise OutputError(f"the Parquet file cannot be written: {error}") from error


def _sql_text(path: Path) -> str:
    return str(path).replace("'", "''")


class _State(msgspec.Struct):
    of: str
    acknowledged: int


@dataclass(slots=True)
class Resume:
    """A small file that remembers the last instant whose samples have all arrived.

    Args:
        of: what the run computes; a file that remembers another run is refused.
    """

    path: Path
    of: str

    def read(self) -> int | None:
        """The last instant (ms) that arrived; None where nothing did.

        Raises:
            InputError: the file belongs to another run or cannot be read.
        """
        try:
            state = msgspec.json.decode(self.path.read_bytes(), type=_State)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise InputError(f"{self.path} is no state of a replay: {error}") from error
        if state.of != self.of:
            raise InputError(f"{self.path} remembers a run with other events, steps or target; name another file")
        return state.acknowledged

    def write(self, at: int) -> None:
        """Remember an instant (ms)."""
        with text_file(self.path) as file:
            file.write(msgspec.json.encode(_State(self.of, at)).decode())
