"""`salesgauge simulate`: the events of a simulated sales organisation, to a file, a pipe or a broker."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from salesgauge.schemas.errors import InputError, SalesgaugeError
from salesgauge.streams.io.instants import moment, parse_instant
from salesgauge.streams.settings.model import Settings, load
from salesgauge.streams.simulation.history import Organisation, disturb, history, live
from salesgauge.streams.simulation.output import EventOutput, JsonLinesOutput, file_output
from salesgauge.streams.simulation.pacing import in_real_time, throttled, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from salesgauge.schemas.events import EventBase
    from salesgauge.streams.settings.model import Kafka

_DEFAULTS = Organisation()
_DEFAULT_DAYS = 30.0
_INTERRUPTED = 130  # as shells report Ctrl-C
_SHOW_EVERY = 0.5  # seconds


@dataclass(slots=True)
class SimulationProgress:
    """How far it is, on stderr if that is a terminal, and the summary at the end."""

    quiet: bool
    zone: ZoneInfo
    count: int = 0
    _began: float = field(default_factory=time.monotonic)
    _shown: float = 0.0
    _last: datetime | None = None

    def add(self, batch: list[EventBase]) -> None:
        """So many more are done."""
        if batch:
            self.count += len(batch)
            self._last = batch[-1].occurred_at
        if self.quiet or not sys.stderr.isatty() or time.monotonic() - self._shown < _SHOW_EVERY:
            return
        self._shown = time.monotonic()
        click.echo(f"\r{self._text()}\x1b[K", nl=False, err=True)

    def end(self) -> None:
        """The summary."""
        if self.quiet:
            return
        start_of_line = "\r\x1b[K" if self._shown else ""
        click.echo(f"{start_of_line}{self._text()}", err=True)

    def _text(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-3)
        until = f" until {self._last.astimezone(self.zone):%Y-%m-%d %H:%M:%S %Z}" if self._last else ""
        return f"{self.count:,} events{until} · {self.count / seconds:,.0f}/s"


@click.command("simulate", context_settings={"show_default": True})
@click.option("--seed", type=int, default=_DEFAULTS.seed, help="Seed of the random numbers.")
@click.option("--from", "start", metavar="TIME", help="Start of the history; without a zone it is local time.")
@click.option("--to", "end", metavar="TIME", help="End of the history (default: now).")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Length of the history (default: 30).")
@click.option("--leads-per-day", type=float, default=_DEFAULTS.leads_per_day, help="On an average working day.")
@click.option("--reps", type=int, default=_DEFAULTS.reps, help="Number of sales reps.")
@click.option("--zone", default=_DEFAULTS.zone, help="Business time zone, an IANA name.")
@click.option("--country", default=_DEFAULTS.country, help="Country whose public holidays count (ISO code), or none.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="EVENTS_PER_SECOND",
    help="Deliver a history at this rate; with --live, create as many leads as the rate needs.",
)
@click.option("--live", "is_live", is_flag=True, help="Continue in real time after the history, until Ctrl-C.")
@click.option("--busy/--no-busy", default=True, help="Live: skip nights and weekends, and run faster (--pace).")
@click.option("--pace", type=float, default=60.0, help="Live and busy: business hours per real hour.")
@click.option("--for", "seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="Live: stop after this time.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.0, help="Share of events delivered twice.")
@click.option("--shuffle", is_flag=True, help="Deliver in random order (keeps all events in memory).")
@click.option("--out", default="-", metavar="FILE", help="JSON lines; .gz and .zst compress; '-' is stdout.")
@click.option("--publish", is_flag=True, help="Send the events to Kafka instead.")
@click.option("--bootstrap", metavar="HOST:PORT", help="Kafka for --publish, if not the one of the settings.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (YAML) for --publish.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def simulate_command(
    *,
    seed: int,
    start: str | None,
    end: str | None,
    days: float | None,
    leads_per_day: float,
    reps: int,
    zone: str,
    country: str,
    rate: float | None,
    is_live: bool,
    busy: bool,
    pace: float,
    seconds: float | None,
    duplicates: float,
    shuffle: bool,
    out: str,
    publish: bool,
    bootstrap: str | None,
    config: Path | None,
    quiet: bool,
) -> None:
    """Produce a realistic sales organisation's events.

    The same --seed, --from and parameters produce the same events.

    \b
      salesgauge simulate --from 2026-01-01 --days 90 --out events.jsonl.zst
      salesgauge simulate --live --publish
    """  # noqa: D301 - \b keeps click from joining the examples' lines
    _check_combination(is_live=is_live, end=end, seconds=seconds, out=out, publish=publish, bootstrap=bootstrap)
    if is_live and (shuffle or duplicates):
        raise click.UsageError("--shuffle and --duplicates are for histories, not for --live")
    if config and not publish:
        raise click.UsageError("--config is for --publish")
    settings = _settings(config, bootstrap) if publish else None
    now = utc_now()
    with _parameters():
        organisation = Organisation(
            seed=seed,
            zone=zone,
            country=None if country.lower() == "none" else country,
            leads_per_day=leads_per_day,
            reps=reps,
        )
        begin, finish = _stretch(ZoneInfo(zone), start, end, days, now)
        if is_live:
            arriving = live(organisation, begin, now, pace=pace if busy else None, rate=rate if busy else None)
            batches = in_real_time(arriving, until=None if seconds is None else now + timedelta(seconds=seconds))
        else:
            ordered = history(organisation, begin, finish)
            batches = throttled(_disturbed(ordered, seed=seed, shuffle=shuffle, duplicates=duplicates), rate)
    progress = SimulationProgress(quiet, ZoneInfo(zone))
    prompt = is_live or rate is not None
    with (
        _interruptible(is_live=is_live, progress=progress),
        _output(out, settings.kafka if settings else None) as output,
    ):
        deliver(batches, output, progress, prompt=prompt)
    progress.end()


def _disturbed(ordered: Iterator[EventBase], *, seed: int, shuffle: bool, duplicates: float) -> Iterator[EventBase]:
    if not shuffle and not duplicates:
        return ordered
    return disturb(ordered, seed=seed, duplicates=duplicates, window=None if shuffle else 1)


def deliver(
    batches: Iterable[list[EventBase]], output: EventOutput, progress: SimulationProgress, *, prompt: bool
) -> None:
    """Send all batches; with ``prompt`` each is delivered before the next is taken."""
    for batch in batches:
        for event in batch:
            output.send(event)
        if prompt and batch:
            output.flush()
        progress.add(batch)
    output.flush()


def _stretch(
    zone: ZoneInfo, start: str | None, end: str | None, days: float | None, now: datetime
) -> tuple[datetime, datetime]:
    """Where the history begins and ends, of any two of start, end and length."""
    if start and end and days is not None:
        raise click.UsageError("give two of --from, --to and --days, not all three")
    length = timedelta(days=_DEFAULT_DAYS if days is None else days)
    begin = moment(parse_instant(start, zone)) if start else None
    finish = moment(parse_instant(end, zone)) if end else None
    if begin is not None:
        return begin, finish or (begin + length if days is not None else now)
    finish = finish or now
    # At midnight, so that runs on the same day agree.
    first = (finish - length).astimezone(zone)
    return first.replace(hour=0, minute=0, second=0, microsecond=0, fold=0), finish


def _check_combination(
    *, is_live: bool, end: str | None, seconds: float | None, out: str, publish: bool, bootstrap: str | None
) -> None:
    if bootstrap and not publish:
        raise click.UsageError("--bootstrap is for --publish")
    if publish and out != "-":
        raise click.UsageError("--publish and --out exclude each other")
    if is_live and end:
        raise click.UsageError("--live goes on from now: it has no --to; --for SECONDS ends it")
    if is_live and out != "-":
        raise click.UsageError("--live writes to stdout or, with --publish, to a broker; a file needs an end")
    if seconds is not None and not is_live:
        raise click.UsageError("--for is for --live; a history has --days or --to")


@contextmanager
def _parameters() -> Iterator[None]:
    """Parameters that no organisation could have are wrong usage."""
    try:
        yield
    except InputError as error:
        raise click.UsageError(str(error)) from error
    except OverflowError as error:
        raise click.UsageError("the times are too far away for a calendar") from error


@contextmanager
def _interruptible(*, is_live: bool, progress: SimulationProgress) -> Iterator[None]:
    """Ctrl-C ends a live run as wished; a history that it cuts short leaves no file."""
    try:
        yield
    except KeyboardInterrupt:
        if is_live:
            return
        progress.end()
        click.echo("interrupted: the output is incomplete", err=True)
        sys.exit(_INTERRUPTED)


def _output(out: str, kafka: Kafka | None) -> AbstractContextManager[EventOutput]:
    if kafka is not None:
        return _publisher(kafka)
    if out == "-":
        return nullcontext(JsonLinesOutput(click.get_binary_stream("stdout")))
    return _file(Path(out))


@contextmanager
def _file(path: Path) -> Iterator[EventOutput]:
    if path.is_dir():
        raise click.UsageError(f"--out {path} is a directory")
    try:
        with file_output(path) as output:
            yield output
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _publisher(kafka: Kafka) -> Iterator[EventOutput]:
    # Imported here: writing a file needs no Kafka client.
    from salesgauge.streams.kafka.publisher import Publisher

    try:
        with Publisher(kafka) as publisher:
            yield publisher
    except SalesgaugeError as error:
        raise click.ClickException(str(error)) from error


def _settings(config: Path | None, bootstrap: str | None) -> Settings:
    try:
        return load(config, {"kafka.bootstrap": bootstrap})
    except SalesgaugeError as error:
        raise click.UsageError(str(error)) from error
