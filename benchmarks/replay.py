"""How fast a replay is, on one core: beside what only decodes, and beside DuckDB doing one aggregation in SQL.

    python benchmarks/replay.py [--days 60] [--leads-per-day 80] [--topics]

Each figure is the median of three runs in this process. `bound` validates each line with pydantic and does nothing
else: no Python consumer that validates can be faster. `duckdb` sums won revenue per day over the same file, which is
one of the catalogue's hundreds of series. With `--topics` the same events are read from the embedded broker as well.
`critical path` is the processor time of the slowest of several processes and of what is done before and after them: how
long a replay takes on as many free cores.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.codec import decode_batch, encode
from salesgauge.streams.io.event_files import EventFiles
from salesgauge.streams.io.instants import aligned
from salesgauge.streams.io.memory import seldom_look_for_cycles
from salesgauge.streams.replay.parallel import Parallel, Task
from salesgauge.streams.replay.selection import KpiChoice, select
from salesgauge.streams.replay.sinks.openmetrics import OpenMetricsText
from salesgauge.streams.replay.virtual_clock import BATCH, ClockedEngine
from salesgauge.streams.simulation.history import Organisation, history

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 3
JOBS = (2, 4)
HOUR = 3_600_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--leads-per-day", type=float, default=80)
    parser.add_argument("--topics", action="store_true")
    asked = parser.parse_args()
    seldom_look_for_cycles()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        count = write_events(path, asked.days, asked.leads_per_day)
        print(f"{count:,} events, {path.stat().st_size / count:.0f} bytes each")
        bound = report("bound: decode with pydantic", count, lambda: decode_only(path))
        report("replay --at", count, lambda: load(path), bound)
        report("replay --at, 3 KPIs without breakdowns", count, lambda: load(path, few=True), bound)
        for jobs in JOBS:
            by_processes(path, count, jobs, bound)
        report("duckdb: one series", count, lambda: sql(path), bound)
        step(path, "replay --step 1h, everything", HOUR, few=False, folder=Path(folder))
        step(path, "replay --step 1m, 3 KPIs without breakdowns", 60_000, few=True, folder=Path(folder))
        if asked.topics:
            topics(path, count)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


def write_events(path: Path, days: int, leads_per_day: float) -> int:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    count = 0
    with path.open("wb") as file:
        for event in history(Organisation(leads_per_day=leads_per_day), start, start + timedelta(days=days)):
            file.write(encode(event) + b"\n")
            count += 1
    return count


def report(name: str, count: int, run: Callable[[], object], bound: float | None = None) -> float:
    rates = []
    for _ in range(RUNS):
        began = time.process_time()
        run()
        rates.append(count / (time.process_time() - began))
    rate = statistics.median(rates)
    share = f"  {rate / bound:6.1%} of the bound" if bound else ""
    print(f"{name:48} {rate:12,.0f} events/s of CPU{share}")
    return rate


def decode_only(path: Path) -> None:
    batch: list[bytes] = []
    with path.open("rb") as file:
        for line in file:
            batch.append(line)
            if len(batch) == BATCH:
                decode_batch(batch)
                batch.clear()
    decode_batch(batch)


def chosen(*, few: bool) -> ClockedEngine:
    kpis = ("new_leads", "sales_revenue", "lead_response_seconds") if few else ()
    return ClockedEngine(Rules(), select(kpis, (), ("none",) if few else ()))


def load(path: Path, *, few: bool = False) -> None:
    source = EventFiles([str(path)])
    chosen(few=few).load(source.records(), None)
    source.close()


def by_processes(path: Path, count: int, jobs: int, bound: float) -> None:
    """One replay by processes; the processor time of those is theirs from their start on, imports included."""
    source = EventFiles([str(path)])
    replay = chosen(few=False)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        tasks = [
            Task(
                number=number, of=jobs, share=share, rules=replay.rules, folder=Path(folder), at=None,
                choice=KpiChoice(), corrected=True, listing=False,
            )
            for number, share in enumerate(source.shares(jobs))
        ]  # fmt: skip
        with Parallel(tasks, replay) as parallel:
            for _ in parallel.read():
                pass
            parallel.finish()
    replay.show()
    source.close()
    seconds = time.process_time() - began + max(parallel.processor_times)
    rate = count / seconds
    name = f"replay --at --jobs {jobs}, critical path"
    print(f"{name:48} {rate:12,.0f} events/s of CPU  {rate / bound:6.1%} of the bound")


def sql(path: Path) -> None:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(
            "SELECT occurred_at[:10] AS day, sum(list_sum([l.quantity * l.unit_price FOR l IN lines])) "
            "FROM read_json(?, format = 'newline_delimited', columns = {event: 'VARCHAR', occurred_at: 'VARCHAR', "
            "lines: 'STRUCT(quantity DOUBLE, unit_price DOUBLE)[]'}) WHERE event = 'deal_won' GROUP BY day",
            [str(path)],
        ).fetchall()


def step(path: Path, name: str, size: int, *, few: bool, folder: Path) -> None:
    """The last day in steps, to OpenMetrics: samples/s and time per step, without the events before."""
    source = EventFiles([str(path)])
    span = source.span(corrected=False)
    assert span is not None
    replay = chosen(few=few)
    metrics = OpenMetricsText(folder, {})
    steps = iter(aligned(span[1] - 24 * HOUR, span[1], size))
    walk = replay.walk(source.ordered(corrected=False), steps)
    next(walk)
    samples = count = 0
    began = time.process_time()
    for _ in walk:
        snapshot = replay.show()
        metrics.take(snapshot.at, snapshot.families)
        samples += sum(len(family.samples) for family in snapshot.families)
        count += 1
    seconds = time.process_time() - began
    print(f"{name:48} {samples / seconds:12,.0f} samples/s, {seconds / count * 1000:.1f} ms per step")
    source.close()


def topics(path: Path, count: int) -> None:
    from salesgauge.streams.kafka.embedded import EmbeddedBroker  # noqa: PLC0415
    from salesgauge.streams.kafka.publisher import Publisher  # noqa: PLC0415
    from salesgauge.streams.kafka.topics import create  # noqa: PLC0415
    from salesgauge.streams.replay.event_topics import EventTopics  # noqa: PLC0415
    from salesgauge.streams.settings.model import Kafka, Settings  # noqa: PLC0415

    with EmbeddedBroker() as broker:
        kafka = Kafka(bootstrap=broker.bootstrap)
        create(Settings(kafka=kafka))
        with Publisher(kafka) as publisher:
            for line in path.read_bytes().splitlines():
                (event,) = decode_batch([line])
                publisher.send(event)  # type: ignore[arg-type]
        report("topics: read alone", count, lambda: sum(1 for _ in EventTopics(kafka).records()))
        report("topics: replay --at", count, lambda: chosen(few=False).load(EventTopics(kafka).records(), None))


if __name__ == "__main__":
    main()
