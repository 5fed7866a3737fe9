"""`salesgauge demo`: everything on this machine, with nothing prepared."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from salesgauge.streams.cli.common import Failed, available_port, err, explained, out
from salesgauge.streams.cli.demo_view import Story, numbers, readings
from salesgauge.streams.cli.live import run_loop, run_watched
from salesgauge.streams.serve.board import from_file
from salesgauge.streams.simulation.fast_clock import PACE
from salesgauge.streams.simulation.feed import Demonstration
from salesgauge.streams.simulation.organisation import Organisation
from salesgauge.streams.simulation.pipeline import STAGES, STALLED_DAYS
from salesgauge.streams.simulation.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from salesgauge.streams.composition import Process
    from salesgauge.streams.settings.model import Settings

_PARTITIONS = 4
_LEADS_PER_DAY = 130
_REFRESH_SECONDS = 0.5
_PLAIN_SECONDS = 15.0
_LINES = 12
_TARGETS = files("salesgauge.streams.simulation") / "targets.yml"

_BROKERS = {"embedded": "embedded broker", "kafka": "Apache Kafka"}
_SCENARIOS = "\n\n".join(f"  {name}: {scenario.summary}" for name, scenario in SCENARIOS.items())


@click.command(epilog=f"Scenarios:\n\n{_SCENARIOS}")
@click.option("--for", "seconds", type=click.FloatRange(min=1), metavar="SECONDS", help="Stop after this time.")
@click.option(
    "--scenario",
    type=click.Choice(list(SCENARIOS)),
    default=next(iter(SCENARIOS)),
    show_default=True,
    help="What happens to the company, see below.",
)
@click.option(
    "--pace",
    type=click.FloatRange(1, 600),
    default=PACE,
    show_default=True,
    help="How many times as fast as real time the company's working time passes.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9108, show_default=True, help="Port of the board and of /metrics."
)
@click.option("--days", type=click.FloatRange(min=1), default=45, show_default=True, help="Days of simulated history.")
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
    seconds: float | None,
    scenario: str,
    pace: float,
    port: int,
    days: float,
    seed: int,
    broker: str,
    kafka_libs: Path | None,
) -> None:
    """Broker, simulated CRM, worker, exporter and board, in one command.

    The history of a simulated sales organisation is published to a broker on this machine that speaks Kafka's protocol.
    Then its time goes on, faster than real time (--pace): a working day takes ten minutes, nights and weekends are left
    out. Something happens to the company; what it is, and where to look, is said here. Nothing is kept.
    """
    from salesgauge.streams.io.logs import quiet_logs
    from salesgauge.streams.kafka import topics
    from salesgauge.streams.kafka.apache import CHECKOUT_JARS, ApacheBroker
    from salesgauge.streams.kafka.embedded import EmbeddedBroker
    from salesgauge.streams.kafka.publisher import Publisher
    from salesgauge.streams.settings.model import load

    quiet_logs()
    demonstration = Demonstration(
        Organisation(seed=seed, leads_per_day=_LEADS_PER_DAY), scenario, days, datetime.now(UTC), pace
    )
    apache = ApacheBroker(kafka_libs or CHECKOUT_JARS)
    with EmbeddedBroker() if broker == "embedded" else apache as running, as_file(_TARGETS) as targets:
        settings = load(None, _values(demonstration.organisation, running.bootstrap, available_port(port), targets))
        topics.create(settings)
        err.print(f"{_BROKERS[broker]} at {running.bootstrap}; {days:g} days of a simulated organisation are coming in")
        with demonstration.feeding(partial(Publisher, settings.kafka)) as feeder:
            run_loop(_show(settings, demonstration, feeder, seconds))


def _values(organisation: Organisation, bootstrap: str, port: int, targets: Path) -> dict[str, Any]:
    """The settings that suit the company: its hours, its targets."""
    return {
        "kafka.bootstrap": bootstrap,
        "kafka.partitions": _PARTITIONS,
        "kafka.replication": 1,
        "web.port": port,
        "thresholds": targets,
        "rules.zone": organisation.zone,
        "rules.sla_in_business_hours": True,
        "rules.stages": [
            {"name": name, "probability": chance, "limit_days": STALLED_DAYS} for name, chance in STAGES.items()
        ],
        "rules.calendar": {
            "opens": f"{organisation.opens:%H:%M}",
            "closes": f"{organisation.closes:%H:%M}",
            "holidays": organisation.country or "",
        },
    }


async def _show(settings: Settings, demonstration: Demonstration, feeder: Any, seconds: float | None) -> None:
    from salesgauge.streams.composition import process

    built = process(settings, worker=True, exporter=True, clock=demonstration.clock)
    await run_watched(built, _watch(built, demonstration, feeder, seconds))


async def _watch(built: Process, demonstration: Demonstration, feeder: Any, seconds: float | None) -> None:
    assert built.exporter is not None
    assert built.server is not None
    began = time.monotonic()
    board, running = built.exporter.board, demonstration.clock
    assert built.settings.thresholds is not None
    story = Story(demonstration, board, from_file(built.settings.thresholds, board.catalogue))
    shown = _Shown()
    with shown.live:
        while seconds is None or time.monotonic() - began < seconds:
            await asyncio.sleep(_REFRESH_SECONDS)
            if not feeder.is_alive():
                raise Failed(f"the simulator ended with exit code {feeder.exitcode}")
            if built.server.listening:
                shown.where(built.server.url)
            totals = board.totals()
            if not running.running and 0 < (demonstration.history or 0) <= totals.events + totals.rejected:
                running.start()
                shown.say(_begins(totals.events, time.monotonic() - began, demonstration.pace))
            read = await asyncio.to_thread(readings, board)
            if demonstration.clock.running:
                shown.say(await asyncio.to_thread(story.news))
            shown.draw(numbers(board, read, _title(story, demonstration, totals.events)))
    if not running.running:
        raise Failed("the history was not read in time; give it longer with --for, or look at the messages above")


def _begins(events: int, seconds: float, pace: float) -> list[str]:
    return [
        f"{events:,} events of history, read in {seconds:.0f} s.",
        f"From now on the company's working time passes {pace:g} times as fast as yours; closed hours are left out.",
    ]


def _title(story: Story, demonstration: Demonstration, events: int) -> str:
    if demonstration.clock.running:
        return f"{story.time:%A %d %B %Y, %H:%M}; {events:,} events"
    return f"reading the history, {events:,} events"


class _Shown:
    """The terminal: a table that is renewed, with the last lines below it; in a log, lines and now and then a table."""

    def __init__(self) -> None:
        self.live: Any = Live(console=out, refresh_per_second=4) if out.is_terminal else nullcontext()
        self._where = ""
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._printed = 0.0

    def where(self, url: str) -> None:
        """Say where the board is, once."""
        if not self._where:
            self._where = f"board   {url}/\nmetrics {url}/metrics"
            if not out.is_terminal:
                out.print(self._where, markup=False, highlight=False)

    def say(self, lines: Sequence[str]) -> None:
        """Add lines."""
        self._lines.extend(lines)
        if lines and not out.is_terminal:
            out.print("\n".join(lines), markup=False, highlight=False)

    def draw(self, table: Table) -> None:
        """Show the numbers."""
        if isinstance(self.live, Live):
            text = Text("\n".join([self._where, "", *self._lines, "", "Ctrl-C ends"]))
            self.live.update(Group(table, text))
        elif time.monotonic() - self._printed >= _PLAIN_SECONDS:
            self._printed = time.monotonic()
            out.print(table)
