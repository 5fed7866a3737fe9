"""`salesgauge replay`: the past from files or topics, as if it had been watched."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console

from salesgauge.metrics.kpis.kpi import never_came
from salesgauge.metrics.kpis.readings import OTHER
from salesgauge.metrics.rules.privacy import REDACTED
from salesgauge.schemas.codec import told_unknown
from salesgauge.schemas.errors import InputError, SalesgaugeError
from salesgauge.streams.cli.common import Function
from salesgauge.streams.cli.sources import PATH, check_source, record_source, source_options
from salesgauge.streams.io.instants import iso, parse_instant, parse_span, wall_clock
from salesgauge.streams.io.memory import seldom_look_for_cycles
from salesgauge.streams.io.outputs import output_file
from salesgauge.streams.io.paths import STANDARD, keep_inputs
from salesgauge.streams.io.rejects import Rejects
from salesgauge.streams.replay.progress import Display
from salesgauge.streams.replay.run import DEFAULT_STEP, ReplayRequest, ReplayRun, Span
from salesgauge.streams.replay.selection import KpiChoice
from salesgauge.streams.replay.sinks import OptionRole, SinkContext, sink_types
from salesgauge.streams.replay.table import readings_table
from salesgauge.streams.settings.model import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from salesgauge.streams.io.records import RecordSource
    from salesgauge.streams.replay.sinks import Sink, SinkOption
    from salesgauge.streams.replay.virtual_clock import ClockedEngine, Evaluation
    from salesgauge.streams.settings.model import Settings

EXIT_REJECTED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # as shells report Ctrl-C
_MOST_JOBS = 256
_PLAIN_WIDTH = 200  # characters, where stdout is no terminal
_IDENTITY = frozenset({
    "events", "topics", "bootstrap", "partitions", "since", "allow_truncated", "step", "start", "corrected",
    "kpis", "windows", "breakdowns", "labels",
})  # fmt: skip
"""The options that make two runs the same run."""


def _sink_options(function: Function) -> Function:
    """The options of all sinks."""
    for option in reversed([option for sink in sink_types() for option in (sink.option, *sink.further)]):
        kind: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {"is_flag": True}
        function = click.option(option.flag, option.name, help=option.help, **kind)(function)
    return function


@click.command("replay", context_settings={"help_option_names": ["-h", "--help"]})
@source_options
@click.option("--at", metavar="TIME", help="Compute one instant; default: when the latest event happened.")
@click.option("--step", metavar="SPAN", help="Compute many instants, this far apart: 30s, 1m, 1h (default 1m).")
@click.option("--from", "start", metavar="TIME", help="First instant; default: the first event.")
@click.option("--to", "end", metavar="TIME", help="Last instant; default: the last event, for topics now.")
@click.option(
    "--corrected/--as-known",
    default=None,
    help="Use what is known today (default with --at), or only what was known then (default with --step).",
)
@click.option("--kpi", "kpis", multiple=True, metavar="ID", help="Only compute these KPIs.")
@click.option("--window", "windows", multiple=True, metavar="W", help="Only compute these windows: 1h, 24h, mtd, all.")
@click.option(
    "--breakdown",
    "breakdowns",
    multiple=True,
    metavar="DIMS",
    help="Only compute these breakdowns: rep, or product,competitor; none is the total.",
)
@_sink_options
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Add a label to samples: job=salesgauge.")
@click.option("--rejects", type=PATH, metavar="FILE", help="List what is not a valid event, with line and reason.")
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1, max=_MOST_JOBS), default=1, help="Processes that share the work of --at."
)
@click.option("--strict", is_flag=True, help="Exit with 1 where a record was rejected or has an unknown field.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def replay_command(*, files: tuple[str, ...], events: tuple[str, ...], **options: Any) -> None:
    """Compute the past from events, as if it had been watched.

    \b
      salesgauge replay --events events.jsonl --at 2026-03-01T09:00Z
      salesgauge replay --events events.jsonl.zst --from 2026-01-01 --step 1m --tsdb blocks
      salesgauge replay --topics --from 2026-01-01 --remote-write http://127.0.0.1:9090/api/v1/write

    Exit codes: 0 done, 1 no valid event in the input, more than half of the records rejected, amounts in a currency
    without a rate or, with --strict, any record rejected or with an unknown field, 2 an option or the input is wrong,
    130 interrupted.
    """  # noqa: D301 - \b keeps click from joining the examples' lines
    asked = {**options, "events": (*events, *files)}
    console = Console(stderr=True)
    sinks: list[Sink] = []
    try:
        _check(asked)
        with _ended_as_by_ctrl_c():
            settings = load(asked["config"], {"kafka.bootstrap": asked["bootstrap"]})
            plan = _plan(asked, settings)
            sinks += plan.sinks
            verdict = _run(plan, console)
        if verdict:
            _fail(console, verdict, EXIT_REJECTED)
    except SalesgaugeError as error:
        _fail(console, str(error), EXIT_USAGE)
    except BrokenPipeError:  # who reads what is printed has seen enough
        raise
    except OSError as error:
        _fail(console, f"{error.filename or 'cannot read or write'}: {error.strerror}", EXIT_USAGE)
    except KeyboardInterrupt:
        left = next((text for sink in sinks if (text := sink.remains())), "no file was written")
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


# --- what was asked for


def _asked_sinks(asked: dict[str, Any]) -> list[type[Sink]]:
    return [sink for sink in sink_types() if asked[sink.option.name]]


def _given(asked: dict[str, Any], sink: type[Sink]) -> dict[SinkOption, str]:
    """The sink's options that were given."""
    options = (sink.option, *sink.further)
    return {option: str(asked[option.name]) for option in options if asked[option.name]}


def _check(asked: dict[str, Any]) -> None:
    """Refuse what does not go together.

    Raises:
        click.UsageError: what and why.
    """
    stepping = any(asked[name] is not None for name in ("step", "start", "end"))
    sinks = _asked_sinks(asked)
    check_source(asked)
    if asked["at"] and stepping:
        raise click.UsageError("--at is one instant; --step, --from and --to are for many")
    if stepping and asked["jobs"] > 1:
        raise click.UsageError("--jobs is for --at; steps can be shared out by --from and --to")
    if stepping and not sinks:
        outputs = ", ".join(sink.option.flag for sink in sink_types())
        raise click.UsageError(f"many instants need an output: {outputs}")
    if asked["topics"] and stepping and not asked["start"]:
        raise click.UsageError("--topics needs --from TIME: the first instant")
    for sink in sink_types():
        lost = [option.flag for option in sink.further if asked[option.name] and sink not in sinks]
        if lost:
            raise click.UsageError(f"{' and '.join(lost)} can only be used with {sink.option.flag}")
        alone = [option.flag for option in sink.further if option.alone and asked[option.name]]
        if alone and len(sinks) > 1:
            raise click.UsageError(f"{alone[0]} works for {sink.option.flag} alone; leave the other outputs out")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was asked for, understood."""

    source: RecordSource
    request: ReplayRequest
    sinks: tuple[Sink, ...]
    rejects: Path | None
    quiet: bool
    topics: bool
    breakdowns: bool
    strict: bool


def _plan(asked: dict[str, Any], settings: Settings) -> _Plan:
    """Understand the options, and see to it that nothing that is read is written to.

    Raises:
        SalesgaugeError: one is wrong.
    """
    request = _request(asked, settings)
    source = record_source(asked, settings, request.until if asked["at"] or asked["end"] else None)
    given = {sink: _given(asked, sink) for sink in _asked_sinks(asked)}
    _keep_inputs(asked, settings, source, given)
    context = SinkContext(_labels(asked["labels"]), _identity(asked, settings, list(given)))
    sinks = tuple(sink({option.flag: value for option, value in of.items()}, context) for sink, of in given.items())
    return _Plan(
        source, request, sinks,
        rejects=asked["rejects"], quiet=asked["quiet"], topics=asked["topics"],
        breakdowns=bool(asked["breakdowns"]), strict=asked["strict"],
    )  # fmt: skip


def _request(asked: dict[str, Any], settings: Settings) -> ReplayRequest:
    def instant(name: str) -> int | None:
        return parse_instant(asked[name], settings.rules.tz) if asked[name] else None

    span = None
    if any(asked[name] is not None for name in ("step", "start", "end")):
        last = wall_clock() if asked["topics"] and not asked["end"] else instant("end")
        span = Span(parse_span(asked["step"]) if asked["step"] else DEFAULT_STEP, instant("start"), last)
    return ReplayRequest(
        at=instant("at"),
        span=span,
        corrected=asked["corrected"],
        choice=KpiChoice(asked["kpis"], asked["windows"], asked["breakdowns"]),
        rules=settings.rules,
        processes=asked["jobs"],
    )


def _keep_inputs(
    asked: dict[str, Any],
    settings: Settings,
    source: RecordSource,
    given: dict[type[Sink], dict[SinkOption, str]],
) -> None:
    read = [*getattr(source, "names", ()), asked["config"], *settings.files()]
    written: dict[str, str | Path | None] = {"--rejects": asked["rejects"], "standard output": STANDARD}
    for options in given.values():
        read += [value for option, value in options.items() if option.role is OptionRole.READ]
        written |= {option.flag: value for option, value in options.items() if option.role is OptionRole.WRITTEN}
    keep_inputs(read, written)


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.isidentifier() or not name.isascii() or name.startswith("__"):
            raise InputError(f"--label {pair}: write it as NAME=VALUE, such as job=salesgauge")
        labels[name] = value
    return labels


def _identity(asked: dict[str, Any], settings: Settings, sinks: list[type[Sink]]) -> str:
    """Equal for runs that compute the same, and send it to the same place."""
    options = {name: value for name, value in asked.items() if name in _IDENTITY}
    targets = [str(asked[sink.option.name]) for sink in sinks]
    sizes = [Path(name).stat().st_size for name in asked["events"] if Path(name).exists()]
    known = repr((sorted(options.items()), targets, sizes, settings.rules))
    return hashlib.sha256(known.encode()).hexdigest()[:32]


# --- doing it


def _run(plan: _Plan, console: Console) -> str | None:
    """Do it; why the program must not end with 0, or None."""
    began = time.monotonic()
    seldom_look_for_cycles()
    with ExitStack() as stack:
        source = stack.enter_context(closing(plan.source))
        rejects = Rejects(stack.enter_context(output_file(plan.rejects)) if plan.rejects else None)
        display = stack.enter_context(Display(console, quiet=plan.quiet))
        run = ReplayRun(source, plan.request, rejects, display)
        say = _Say(console, quiet=plan.quiet)
        for note in run.notes:
            say(note)
        _deliver(run, plan, say)
    for warning in source.warnings:
        _warn(console, warning)
    if run.engine.unknown_fields:
        _warn(console, f"{told_unknown(run.engine.unknown_fields)}; they are ignored. Are they misspelt?")
    _summary(run, say, time.monotonic() - began, listing=plan.rejects is not None)
    if not run.engine.valid:
        return _nothing(plan)
    return rejects.verdict(run.engine.seen) or (_strictly(run.engine) if plan.strict else None)


def _strictly(engine: ClockedEngine) -> str | None:
    """Why --strict fails; None where nothing was rejected and no field is unknown."""
    rejected = [f"{engine.rejects.count:,} records were rejected"] if engine.rejects.count else []
    unknown = [told_unknown(engine.unknown_fields)] if engine.unknown_fields else []
    return f"{'; '.join((*rejected, *unknown))} (--strict)" if rejected or unknown else None


@dataclass(frozen=True, slots=True)
class _Say:
    """Tells a person something, unless nothing is to be said."""

    console: Console
    quiet: bool

    def __call__(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _deliver(run: ReplayRun, plan: _Plan, say: _Say) -> None:
    """Give the sinks what the gauges show; without one, print it."""
    many = plan.request.span is not None
    steps = run.steps
    if many and steps is None:
        return
    arrived = next((at for sink in plan.sinks if (at := sink.arrived()) is not None), None)
    if steps is not None and arrived is not None:
        before = sum(at <= arrived for at in steps)
        say(f"{before:,} of {len(steps):,} steps were acknowledged before")
    with ExitStack() as stack:
        takes = [stack.enter_context(sink.open()) for sink in plan.sinks]
        for evaluation in run.evaluations(after=arrived):
            for take in takes:
                take(evaluation)
            if not many:
                _explain(evaluation, run, plan, say)
    if run.engine.valid:
        _warn_not_connected(run.engine.show().not_connected, say)


def _explain(evaluation: Evaluation, run: ReplayRun, plan: _Plan, say: _Say) -> None:
    """Print one instant where no sink takes it, and say what to know of it."""
    if plan.request.at is None and run.engine.valid:
        say(f"at {iso(evaluation.at)}, when the latest event happened; --at TIME asks for another instant")
    if not plan.sinks and run.engine.valid:
        stdout = Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH)
        stdout.print(readings_table(evaluation, stdout.width, breakdowns=plan.breakdowns))
    if not plan.sinks or any(sink.option.flag == "--json" for sink in plan.sinks):
        _note_labels(evaluation, run, say)


def _warn_not_connected(absent: Mapping[str, Sequence[str]], say: _Say) -> None:
    """Name the KPIs without a value for want of events, by reason; what is written as a document names them, too."""
    by_reason: dict[str, list[str]] = {}
    for kpi, missing in absent.items():
        by_reason.setdefault(never_came(missing), []).append(kpi)
    if by_reason and not say.quiet:
        named = "; ".join(f"{reason}: {', '.join(kpis)}" for reason, kpis in by_reason.items())
        _warn(
            say.console,
            f"not connected, so without a value (`rules.zero_is_real` names events of which none is real): {named}",
        )


def _warn(console: Console, text: str) -> None:
    console.print(f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _note_labels(evaluation: Evaluation, run: ReplayRun, say: _Say) -> None:
    """Say which settings keep labels from being shown."""
    hidden = sorted({name for r in evaluation.readings for name, label in r.labels.items() if label == REDACTED})
    if hidden:
        say(
            f"what looks like an e-mail address or telephone number of a {' or '.join(hidden)} is shown as "
            f"`{REDACTED}`; to show it: SALESGAUGE_RULES__UNREDACTED={json.dumps(hidden)!r}"
        )
    folded = evaluation.view.folded
    if folded:
        (kpi, breakdown), count = max(folded.items(), key=lambda item: item[1])
        say(
            f"breakdowns show the {run.engine.rules.label_ceiling} largest labels (rules.label_ceiling); "
            f"the rest, {count:,} for {kpi} by {' and '.join(breakdown)}, is `{OTHER}`"
        )


def _summary(run: ReplayRun, say: _Say, seconds: float, *, listing: bool) -> None:
    engine = run.engine
    rate = engine.seen / max(seconds, 1e-9)
    say(
        f"{engine.machine.events:,} events applied of {engine.seen:,} records "
        f"in {seconds:.1f} s ({rate:,.0f}/s), {run.instants:,} instant{'s' * (run.instants != 1)}"
    )
    for reason, count in engine.rejects.reasons.most_common():
        say(f"rejected: {count:,} {reason}")
    if engine.rejects.count and not listing:
        say("--rejects FILE lists what was rejected")


def _nothing(plan: _Plan) -> str:
    """What it means that there was no valid event."""
    if plan.topics and not plan.request.knows_today:
        return "the topics had no valid event by then; --corrected counts what was published later"
    return "there is no valid event in the input"
