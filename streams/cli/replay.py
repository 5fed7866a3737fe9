"""`salesgauge replay`: the past from files or topics, as if it had been watched."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console

from salesgauge.metrics.kpis.readings import OTHER
from salesgauge.metrics.rules.privacy import REDACTED
from salesgauge.schemas.errors import InputError, SalesgaugeError
from salesgauge.streams.io.event_files import EventFiles
from salesgauge.streams.io.instants import Steps, aligned, iso, parse_instant, parse_span
from salesgauge.streams.io.memory import seldom_look_for_cycles
from salesgauge.streams.io.outputs import output_file
from salesgauge.streams.io.paths import STANDARD, keep_inputs
from salesgauge.streams.io.rejects import Rejects
from salesgauge.streams.replay.currency import is_open, reporting, sole_currency
from salesgauge.streams.replay.machine import Replay, Snapshot
from salesgauge.streams.replay.parallel import Parallel, Task, exchange_folder
from salesgauge.streams.replay.progress import Display
from salesgauge.streams.replay.remote_write import Endpoint, read_token
from salesgauge.streams.replay.selection import select
from salesgauge.streams.replay.sinks import (
    Resume,
    Take,
    json_lines,
    openmetrics_file,
    parquet_file,
    remote_write,
    tsdb_blocks,
)
from salesgauge.streams.replay.table import readings_table
from salesgauge.streams.settings.model import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from salesgauge.metrics.rules.model import Rules
    from salesgauge.streams.io.records import RecordSource
    from salesgauge.streams.settings.model import Settings

EXIT_NOTHING = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # as shells report Ctrl-C
_DEFAULT_STEP = "1m"
_MOST_JOBS = 256
_PLAIN_WIDTH = 200  # characters, where stdout is no terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for, as it was written."""

    events: tuple[str, ...]
    topics: bool
    bootstrap: str | None
    config: Path | None
    partitions: tuple[int, ...]
    since: str | None
    allow_truncated: bool
    at: str | None
    step: str | None
    start: str | None
    end: str | None
    corrected: bool | None
    kpis: tuple[str, ...]
    windows: tuple[str, ...]
    breakdowns: tuple[str, ...]
    as_json: bool
    openmetrics: Path | None
    tsdb: Path | None
    remote: str | None
    token_file: Path | None
    resume: Path | None
    parquet: Path | None
    labels: tuple[str, ...]
    rejects: Path | None
    jobs: int
    quiet: bool

    @property
    def stepping(self) -> bool:
        """Whether many instants are wanted."""
        return self.step is not None or self.start is not None or self.end is not None

    @property
    def has_sink(self) -> bool:
        """Whether readings go anywhere but to a table."""
        return self.as_json or any((self.openmetrics, self.tsdb, self.remote, self.parquet))


_PATH = click.Path(path_type=Path)


@click.command("replay", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--events", multiple=True, metavar="FILE", help="JSON lines, .gz, .zst or Parquet; - is stdin.")
@click.option("--topics", is_flag=True, help="Read the event topics instead of files.")
@click.option("--bootstrap", metavar="HOST:PORT", help="The broker, if not the one of the settings.")
@click.option("--config", type=_PATH, metavar="FILE", help="Settings file (YAML): broker, rules, zone, currency.")
@click.option("--partition", "partitions", type=int, multiple=True, help="Read these partitions alone.")
@click.option("--since", metavar="TIME", help="Topics: leave out what the log has before; stocks then begin there.")
@click.option("--allow-truncated", is_flag=True, help="Go on where a part of the input is missing.")
@click.option("--at", metavar="TIME", help="One instant; by default when the latest event happened.")
@click.option("--step", metavar="SPAN", help="Many instants, this far apart: 30s, 1m, 1h. 1m if only --from is given.")
@click.option("--from", "start", metavar="TIME", help="First instant; by default the first event.")
@click.option("--to", "end", metavar="TIME", help="Last instant; by default the last event, for topics now.")
@click.option(
    "--corrected/--as-known",
    default=None,
    help="With what is known today of an instant (default of --at), or was known then (of --step).",
)
@click.option("--kpi", "kpis", multiple=True, metavar="ID", help="These KPIs alone.")
@click.option("--window", "windows", multiple=True, metavar="W", help="These windows alone: 1h, 24h, mtd, all.")
@click.option(
    "--breakdown", "breakdowns", multiple=True, metavar="DIMS", help="rep or product,competitor; none: whole."
)
@click.option("--json", "as_json", is_flag=True, help="To stdout: one object, with --step one per line and instant.")
@click.option("--openmetrics", type=_PATH, metavar="FILE", help="OpenMetrics with timestamps, for promtool.")
@click.option("--tsdb", type=_PATH, metavar="DIR", help="Prometheus blocks, made by promtool.")
@click.option("--remote-write", "remote", metavar="URL", help="Send samples: http://127.0.0.1:9090/api/v1/write.")
@click.option("--token-file", type=_PATH, metavar="FILE", help="Bearer token for --remote-write.")
@click.option(
    "--resume",
    type=_PATH,
    metavar="FILE",
    help="Remember here what --remote-write has acknowledged; go on there.",
)
@click.option("--parquet", type=_PATH, metavar="FILE", help="Readings as a table.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Added to samples: job=salesgauge.")
@click.option(
    "--rejects", type=_PATH, metavar="FILE", help="List what is no valid event, with its line and the reason."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1, max=_MOST_JOBS), default=1, help="Processes that share the work of --at."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def replay_command(*, files: tuple[str, ...], events: tuple[str, ...], **options: Any) -> None:
    """Compute the past from events, as if it had been watched.

    \b
      salesgauge replay --events events.jsonl --at 2026-03-01T09:00Z
      salesgauge replay --events events.jsonl.zst --from 2026-01-01 --step 1m --tsdb blocks
      salesgauge replay --topics --from 2026-01-01 --remote-write http://127.0.0.1:9090/api/v1/write

    Exit codes: 0 done, 1 no valid event in the input or more than half of the records rejected, 2 an option or the
    input is wrong, 130 interrupted.
    """  # noqa: D301 - \b keeps click from joining the examples' lines
    asked = Options(events=(*events, *files), **options)
    console = Console(stderr=True)
    try:
        _check(asked)
        settings = load(asked.config, {"kafka.bootstrap": asked.bootstrap})
        run = Run(asked, settings, console)
        with _ended_as_by_ctrl_c():
            verdict = run.go()
        if verdict:
            _fail(console, verdict, EXIT_NOTHING)
    except SalesgaugeError as error:
        _fail(console, str(error), EXIT_USAGE)
    except BrokenPipeError:  # who reads what is printed has seen enough
        raise
    except OSError as error:
        _fail(console, f"{error.filename or 'cannot read or write'}: {error.strerror}", EXIT_USAGE)
    except KeyboardInterrupt:
        if asked.resume:
            left = f"the same command goes on from what {asked.resume} remembers"
        else:
            left = "no file was written" + ("; what was sent remains" if asked.remote else "")
        _fail(console, f"interrupted: {left}", EXIT_INTERRUPTED)


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Whoever stops the program otherwise (``kill``, a container's end) has it tidy up as well."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(console: Console, message: str, code: int) -> NoReturn:
    console.print(f"replay: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(code)


def _check(asked: Options) -> None:
    """Refuse what does not go together.

    Raises:
        click.UsageError: what and why.
    """
    if asked.topics == bool(asked.events):
        raise click.UsageError("give either --events FILE or --topics")
    if not asked.topics and (asked.bootstrap or asked.partitions or asked.since):
        raise click.UsageError("--bootstrap, --partition and --since are for --topics")
    if asked.at and asked.stepping:
        raise click.UsageError("--at is one instant; --step, --from and --to are for many")
    if asked.stepping and asked.jobs > 1:
        raise click.UsageError("--jobs is for --at; steps can be shared out by --from and --to")
    if asked.stepping and not asked.has_sink:
        raise click.UsageError("many instants need --json, --openmetrics, --tsdb, --remote-write or --parquet")
    if asked.topics and asked.stepping and not asked.start:
        raise click.UsageError("--topics needs --from TIME: the first instant")
    if (asked.resume or asked.token_file) and not asked.remote:
        raise click.UsageError("--resume and --token-file are for --remote-write")
    if asked.resume and (asked.openmetrics or asked.tsdb or asked.parquet or asked.as_json):
        raise click.UsageError("--resume goes with --remote-write alone: files are written as a whole")


class Run:
    """One replay, from options to sinks."""

    def __init__(self, asked: Options, settings: Settings, console: Console) -> None:
        self._asked = asked
        self._settings = settings
        self._console = console
        self._catalogue = select(asked.kpis, asked.windows, asked.breakdowns)
        self._labels = _labels(asked.labels)
        self._instants = 0
        self._remembered: int | None = None

    def go(self) -> str | None:
        """Run it; why it must not end with 0, or None.

        Raises:
            SalesgaugeError: the input or an option is wrong, or a sink fails.
        """
        began = time.monotonic()
        seldom_look_for_cycles()
        with ExitStack() as stack:
            source = stack.enter_context(self._source())
            self._keep_inputs(source)
            rejects = Rejects(stack.enter_context(output_file(self._asked.rejects)) if self._asked.rejects else None)
            replay = Replay(self._rules(source), self._catalogue, rejects)
            display = stack.enter_context(Display(self._console, quiet=self._asked.quiet))
            if self._asked.stepping:
                self._step(source, replay, display)
            else:
                self._load(source, replay, display)
        self._summary(replay, source, time.monotonic() - began)
        return rejects.verdict(replay.seen) if replay.valid else self.nothing()

    def _keep_inputs(self, source: RecordSource) -> None:
        asked = self._asked
        names = source.names if isinstance(source, EventFiles) else ()
        outputs = {
            "--rejects": asked.rejects, "--openmetrics": asked.openmetrics, "--tsdb": asked.tsdb,
            "--parquet": asked.parquet, "--resume": asked.resume, "standard output": STANDARD,
        }  # fmt: skip
        keep_inputs([*names, asked.config, asked.token_file, *self._settings.files()], outputs)

    def nothing(self) -> str:
        """What it means that there was no valid event."""
        if self._asked.topics and not self._corrected:
            return "the topics had no valid event by then; --corrected counts what was published later"
        return "there is no valid event in the input"

    def _rules(self, source: RecordSource) -> Rules:
        """The rules, in the currency of the files if that is one and none was set."""
        rules = self._settings.rules
        if not isinstance(source, EventFiles) or not source.rereadable or not is_open(rules):
            return rules
        currency = sole_currency(source.records(), rules.currency)
        if currency is None:
            return rules
        self._say(f"all amounts are in {currency}, so it is the reporting currency; set rules.currency to choose")
        return reporting(rules, currency)

    @property
    def _corrected(self) -> bool:
        return not self._asked.stepping if self._asked.corrected is None else self._asked.corrected

    def _time(self, text: str) -> int:
        return parse_instant(text, self._settings.rules.tz)

    def _load(self, source: RecordSource, replay: Replay, display: Display) -> None:
        at = self._time(self._asked.at) if self._asked.at else None
        with self._sinks(None) as takes:
            if self._asked.jobs > 1:
                snapshot = self._load_by_processes(source, replay, display, at)
            else:
                records = display.over(source.records(), "events", source.done, "events")
                snapshot = replay.load(records, at, corrected=self._corrected)
            self._instants = 1
            for take in takes:
                take(snapshot)
        if at is None and replay.valid:
            self._say(f"at {iso(snapshot.at)}, when the latest event happened; --at TIME asks for another instant")
        if not self._asked.has_sink and replay.valid:
            stdout = Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH)
            stdout.print(readings_table(snapshot, stdout.width, breakdowns=bool(self._asked.breakdowns)))
        if self._asked.as_json or not self._asked.has_sink:
            self._note_labels(snapshot)

    def _note_labels(self, snapshot: Snapshot) -> None:
        """Say which settings keep labels from being shown."""
        hidden = sorted({name for r in snapshot.readings for name, label in r.labels.items() if label == REDACTED})
        if hidden:
            self._say(
                f"what looks like an e-mail address or telephone number of a {' or '.join(hidden)} is shown as "
                f"`{REDACTED}`; to show it: SALESGAUGE_RULES__UNREDACTED={json.dumps(hidden)!r}"
            )
        folded = snapshot.view.folded
        if folded:
            (kpi, breakdown), count = max(folded.items(), key=lambda item: item[1])
            self._say(
                f"breakdowns show the {self._settings.rules.label_ceiling} largest labels (rules.label_ceiling); "
                f"the rest, {count:,} for {kpi} by {' and '.join(breakdown)}, is `{OTHER}`"
            )

    def _load_by_processes(self, source: RecordSource, replay: Replay, display: Display, at: int | None) -> Snapshot:
        asked = self._asked
        shares = source.shares(asked.jobs)
        with exchange_folder() as folder:
            tasks = [
                Task(
                    number=number, of=len(shares), share=share, rules=replay.rules, folder=folder, at=at,
                    selection=(asked.kpis, asked.windows, asked.breakdowns), corrected=self._corrected,
                    listing=asked.rejects is not None,
                )
                for number, share in enumerate(shares)
            ]  # fmt: skip
            with Parallel(tasks, replay) as parallel:
                for _ in display.over(parallel.read(), "events", parallel.done, "events"):
                    pass
                parallel.finish()
        source.warnings.extend(dict.fromkeys(parallel.warnings))
        return replay.show()

    def _step(self, source: RecordSource, replay: Replay, display: Display) -> None:
        steps = self._steps(source)
        if steps is None:
            return
        with self._sinks(steps) as takes:
            remembered = self._remembered
            left = [at for at in steps if remembered is None or at > remembered]
            if len(left) < len(steps):
                self._say(f"{len(steps) - len(left):,} of {len(steps):,} steps were acknowledged before")
            ordered = display.over(source.ordered(corrected=self._corrected), "events", source.done, "events")
            walk = replay.walk(ordered, left)
            for _ in display.over(walk, "steps", lambda: (self._instants, len(left)), "steps"):
                snapshot = replay.show()
                for take in takes:
                    take(snapshot)
                self._instants += 1

    def _steps(self, source: RecordSource) -> Steps | None:
        asked = self._asked
        step = parse_span(asked.step or _DEFAULT_STEP)
        first = self._time(asked.start) if asked.start else None
        last = self._time(asked.end) if asked.end else None
        if asked.topics:
            last = int(time.time() * 1000) if last is None else last
        if first is None or last is None:
            span = source.span(corrected=self._corrected)
            if span is None:
                return None
            first, last = span[0] if first is None else first, span[1] if last is None else last
        if last < first:
            raise InputError(f"--to {iso(last)} lies before --from {iso(first)}")
        return Steps(first, last, step) if asked.start else aligned(first, last, step)

    @contextmanager
    def _source(self) -> Iterator[RecordSource]:
        asked = self._asked
        source: RecordSource
        source = self._topics() if asked.topics else EventFiles(asked.events, asked.allow_truncated)
        try:
            yield source
        finally:
            source.close()

    def _topics(self) -> RecordSource:
        # Imported here: reading a file needs no Kafka client.
        from salesgauge.streams.replay.topics import Topics

        asked = self._asked
        last = asked.at or asked.end
        return Topics(
            self._settings.kafka,
            frozenset(asked.partitions) or None,
            since=self._time(asked.since) if asked.since else None,
            until=self._time(last) + 1 if last and not self._corrected else None,
            allow_truncated=asked.allow_truncated,
        )

    @contextmanager
    def _sinks(self, steps: Steps | None) -> Iterator[list[Take]]:
        asked = self._asked
        with ExitStack() as stack:
            takes: list[Take] = []
            if asked.as_json:
                takes.append(stack.enter_context(json_lines(sys.stdout.buffer)))
            if asked.openmetrics:
                takes.append(stack.enter_context(openmetrics_file(asked.openmetrics, self._labels)))
            if asked.tsdb:
                takes.append(stack.enter_context(tsdb_blocks(asked.tsdb, self._labels)))
            if asked.parquet:
                takes.append(stack.enter_context(parquet_file(asked.parquet)))
            if asked.remote:
                takes.append(stack.enter_context(self._remote(asked.remote, steps)))
            yield takes

    @contextmanager
    def _remote(self, url: str, steps: Steps | None) -> Iterator[Take]:
        token = read_token(self._asked.token_file) if self._asked.token_file else None
        resume = Resume(self._asked.resume, self._fingerprint(steps)) if self._asked.resume else None
        self._remembered = resume.read() if resume else None
        acknowledged = resume.write if resume else _forget
        with remote_write(Endpoint(url, token), self._labels, acknowledged) as take:
            yield take

    def _fingerprint(self, steps: Steps | None) -> str:
        """What makes a run the same run."""
        asked = replace(self._asked, resume=None, quiet=False, rejects=None, token_file=None, end=None, config=None)
        sizes = [Path(name).stat().st_size for name in asked.events if Path(name).exists()]
        told = repr((asked, sizes, steps and (steps.first, steps.step), self._settings.rules))
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def _say(self, text: str) -> None:
        if not self._asked.quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _summary(self, replay: Replay, source: RecordSource, seconds: float) -> None:
        for warning in source.warnings:
            self._console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        rate = replay.seen / max(seconds, 1e-9)
        self._say(
            f"{replay.machine.events:,} events applied of {replay.seen:,} records "
            f"in {seconds:.1f} s ({rate:,.0f}/s), {self._instants:,} instant{'s' * (self._instants != 1)}"
        )
        for reason, count in replay.rejects.reasons.most_common():
            self._say(f"rejected: {count:,} {reason}")
        if replay.rejects.count and not self._asked.rejects:
            self._say("--rejects FILE lists what was rejected")


def _forget(_: int) -> None:
    """Nobody wants to know what has arrived."""


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.isidentifier() or not name.isascii() or name.startswith("__"):
            raise InputError(f"--label {pair}: write it as NAME=VALUE, such as job=salesgauge")
        labels[name] = value
    return labels
