"""`salesgauge demo`: everything on this machine, with nothing prepared."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from salesgauge.metrics.kpis.kpi import NOW, Place, Stat, Unit
from salesgauge.streams.cli.common import Failed, available_port, err, explained, out
from salesgauge.streams.cli.live import run_loop, run_watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.metrics.kpis.readings import Reading
    from salesgauge.streams.composition import Process

_PARTITIONS = 4
_ZONE = "Europe/Berlin"
_REFRESH_SECONDS = 0.5
_PLAIN_SECONDS = 5.0

_BROKERS = {"embedded": "embedded broker", "kafka": "Apache Kafka"}
_COLUMNS = ("1h", "24h", "30d")


@click.command()
@click.option("--for", "seconds", type=click.FloatRange(min=1), metavar="SECONDS", help="Stop after this time.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9108, show_default=True, help="Port of the board and of /metrics."
)
@click.option("--days", type=click.FloatRange(min=1), default=60, show_default=True, help="Days of simulated history.")
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Seed of the simulated organisation; the same seed, the same events.",
)
@click.option(
    "--broker",
    type=click.Choice(["embedded", "kafka"]),
    default="embedded",
    show_default=True,
    help="Broker: the embedded one, or Apache Kafka on Java (see --kafka-libs).",
)
@click.option(
    "--kafka-libs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of Apache Kafka's jars.  [default: what `tools/fetch.sh kafka` brings]",
)
@explained
def demo_command(
    seconds: float | None, port: int, days: float, seed: int, broker: str, kafka_libs: Path | None
) -> None:
    """Broker, simulated CRM, worker, exporter and board, in one command.

    The history of a simulated sales organisation is published to a broker on this machine that speaks Kafka's
    protocol. Then it goes on live. The KPIs are shown here, on the board and on /metrics. Nothing is kept.
    """
    from salesgauge.streams.composition import process
    from salesgauge.streams.io.logs import quiet_logs
    from salesgauge.streams.kafka import topics
    from salesgauge.streams.kafka.apache import CHECKOUT_JARS, ApacheBroker
    from salesgauge.streams.kafka.embedded import EmbeddedBroker
    from salesgauge.streams.settings.model import load

    quiet_logs()
    apache = ApacheBroker(kafka_libs or CHECKOUT_JARS)
    with EmbeddedBroker() if broker == "embedded" else apache as running:
        settings = load(
            None,
            {
                "kafka.bootstrap": running.bootstrap,
                "kafka.partitions": _PARTITIONS,
                "kafka.replication": 1,
                "web.port": available_port(port),
                "rules.zone": _ZONE,
            },
        )
        topics.create(settings)
        err.print(f"{_BROKERS[broker]} at {running.bootstrap}; {days:g} days of a simulated organisation are coming in")
        simulator = _simulate(running.bootstrap, days, seed)
        try:
            run_loop(_show(lambda: process(settings, worker=True, exporter=True), simulator, seconds))
        finally:
            simulator.terminate()
            with suppress(subprocess.TimeoutExpired):
                simulator.wait(timeout=5)


def _simulate(bootstrap: str, days: float, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "salesgauge", "simulate", "--publish", "--bootstrap", bootstrap]
    options = ["--live", "--quiet", "--days", str(days), "--seed", str(seed), "--zone", _ZONE]
    return subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL)  # noqa: S603 - this very program


async def _show(build: Callable[[], Process], simulator: subprocess.Popen[bytes], seconds: float | None) -> None:
    built = build()
    await run_watched(built, _watch(built, simulator, seconds))


async def _watch(built: Process, simulator: subprocess.Popen[bytes], seconds: float | None) -> None:
    began = time.monotonic()
    first: float | None = None
    plain = not out.is_terminal
    printed = 0.0
    with nullcontext() if plain else Live(console=out, refresh_per_second=4) as live:
        while seconds is None or time.monotonic() - began < seconds:
            await asyncio.sleep(_REFRESH_SECONDS)
            if simulator.poll() is not None:
                raise Failed(f"the simulator ended with exit code {simulator.returncode}")
            readings = await asyncio.to_thread(_readings, built)
            if readings and first is None:
                first = time.monotonic() - began
            picture = _picture(built, readings, time.monotonic() - began)
            if isinstance(live, Live):
                live.update(picture)
            elif time.monotonic() - printed >= _PLAIN_SECONDS:
                printed = time.monotonic()
                out.print(picture)
    if first is None:
        raise Failed("no reading appeared; give it longer with --for, or look at the messages above")
    err.print(f"first readings after {first:.1f} s")


def _readings(built: Process) -> dict[tuple[str, str, str], Reading]:
    """Whole readings of the rows shown, by KPI, stat and window; none before the first publication."""
    exporter = built.exporter
    assert exporter is not None
    board = exporter.board
    if not board.subscriber.statuses:
        return {}
    kpis = list({kpi.id: kpi for kpi, _ in board.catalogue.shown(Place.TERMINAL)}.values())
    with board.now() as view:
        windows = frozenset({*_COLUMNS, "all"})
        return {(r.kpi, r.stat, r.window): r for r in view.readings(kpis, windows) if not r.labels}


def _picture(built: Process, readings: Mapping[tuple[str, str, str], Reading], elapsed: float) -> Group:
    exporter, server = built.exporter, built.server
    assert exporter is not None
    assert server is not None
    totals = exporter.board.totals()
    table = Table("KPI", *(f"last {c}" for c in _COLUMNS), title="salesgauge", min_width=70)
    for column in table.columns[1:]:
        column.justify = "right"
    for kpi, shown in exporter.board.catalogue.shown(Place.TERMINAL):
        stat = kpi.stat(shown.stat) if shown.stat else kpi.headline
        title = shown.title or kpi.title
        cells = {w: _format(stat, readings.get((kpi.id, stat.name, w))) for w in (*_COLUMNS, "all")}
        if kpi.windows == NOW:
            table.add_row(title, "", "", f"[bold]{cells['all']}[/] now")
        else:
            table.add_row(title, *(cells[column] if column in kpi.windows else "" for column in _COLUMNS))
    line = f"{totals.events:,} events, {totals.entities:,} entities, {elapsed:.0f} s; Ctrl-C ends"
    return Group(table, Text(f"board   {server.url}/\nmetrics {server.url}/metrics\n{line}"))


def _format(stat: Stat, reading: Reading | None) -> str:
    if reading is None:
        return "-"
    value = reading.value
    match stat.unit:
        case Unit.SECONDS:
            return _duration(value)
        case Unit.SHARE:
            return f"{value:.1%}"
        case Unit.MONEY:
            return f"{value:,.0f} EUR"
        case _:
            return f"{value:,.0f}"


def _duration(seconds: float) -> str:
    span = timedelta(seconds=seconds)
    if span < timedelta(minutes=1):
        return f"{seconds:.0f} s"
    if span < timedelta(hours=1):
        return f"{span / timedelta(minutes=1):.0f} min"
    if span < timedelta(days=1):
        return f"{span / timedelta(hours=1):.1f} h"
    return f"{span.days} days"
