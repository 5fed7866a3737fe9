"""``salesgauge convert``: a CRM's export to events, through a mapping."""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from salesgauge.metrics.rules.model import Rules
from salesgauge.schemas.codec import told_unknown
from salesgauge.schemas.errors import SalesgaugeError
from salesgauge.schemas.events import EVENTS
from salesgauge.schemas.sources.conversion import convert
from salesgauge.schemas.sources.inputs import resolve_inputs
from salesgauge.schemas.sources.mapping import (
    ConvertError,
    Mapping,
    find_mapping,
    input_folders,
    load_mapping,
    shipped_mappings,
)
from salesgauge.streams.io.event_output import Summary, write_events
from salesgauge.streams.io.paths import keep_inputs
from salesgauge.streams.settings.model import load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from salesgauge.schemas.events import EventBase
    from salesgauge.schemas.sources.conversion import Rejected

STDOUT = "-"
EXIT_REJECTS = 1
MUCH = 0.5
"""The share of an event's rows from which on a conversion has failed, whatever else came out."""
EXIT_USAGE = 2
_REASONS_SHOWN = 20
_WIDE = 200
_INVALID = "invalid"


@click.command(
    "convert",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Shipped mappings: {', '.join(shipped_mappings())}.",
)
@click.argument("names", nargs=-1, required=True, metavar="MAPPING")
@click.option("--describe", is_flag=True, help="List the columns of export files, given instead of a mapping.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=PATH", help="Path or glob of an input.")
@click.option("--out", metavar="FILE", help="Events, JSON lines; .gz, .zst compress; - is stdout.")
@click.option("--rejects", type=click.Path(path_type=Path), help="Rejected rows; <out>.rejects.jsonl if open.")
@click.option("--timezone", metavar="ZONE", help="Zone of times without one, instead of the mapping's.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (YAML): rules.zone.")
@click.option("--drop-duplicates", "distinct", multiple=True, metavar="NAME", help="Read an input's equal rows once.")
@click.option("--strict", is_flag=True, help="Exit with 1 where rows were rejected or have unknown fields.")
def convert_command(
    *,
    names: tuple[str, ...],
    describe: bool,
    inputs: tuple[str, ...],
    out: str | None,
    rejects: Path | None,
    timezone: str | None,
    config: Path | None,
    distinct: tuple[str, ...],
    strict: bool,
) -> None:
    """Convert a CRM's export to events.

    MAPPING is a YAML file, or the name of a shipped mapping: its inputs name the files, and one SQL query per
    kind of event selects the events' columns from them. Rows that are no valid event are counted and written
    to the rejects file with the reason; the others are written sorted by time. Nothing is written if the
    mapping is wrong.

    With --describe, the arguments are export files (CSV, Excel, Parquet, JSON): their columns are listed, with types,
    samples and doubtful notations.

    Exit codes: 0 done; 1 no event came out, or half of an event's rows or more were rejected as invalid, or, with
    --strict, any row was rejected or has an unknown field; 2 the mapping, an input or an option is wrong.
    """
    console = Console(stderr=True)
    if describe:
        _describe(console, names, timezone)
        return
    if out is None:
        raise click.UsageError("say where the events go: --out FILE")
    if len(names) > 1:
        raise click.UsageError(f"one mapping at a time, not also '{names[1]}'; its files are inputs: --input NAME=PATH")
    mapping = names[0]
    if rejects is None and out != STDOUT:
        rejects = Path(f"{out}.rejects.jsonl")
    started = time.perf_counter()
    notices: list[str] = []
    unknown: Counter[str] = Counter()
    try:
        path = find_mapping(mapping)
        loaded = load_mapping(path)
        overrides, folders = _overrides(inputs), input_folders(path)
        settings = load(config)
        read = chain.from_iterable(resolve_inputs(loaded, overrides=overrides, folders=folders).values())
        keep_inputs([path, config, *settings.files(), *read], {"--out": out, "--rejects": rejects})
        results = convert(
            loaded,
            overrides=overrides,
            folders=folders,
            timezone=timezone,
            default_timezone=settings.rules.zone,
            not_after=datetime.now(UTC),
            distinct=distinct,
            notice=notices.append,
            unknown=unknown,
        )
        summary = _write(console, results, out, rejects)
    except SalesgaugeError as error:
        _fail(console, str(error))
    except OSError as error:
        _fail(console, f"cannot write: {error}")
    report(console, loaded, summary, seconds=time.perf_counter() - started)
    for notice in notices:
        console.print(f"note: {notice}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    _name_files(console, out, rejects, summary)
    _say_currencies(console, summary, settings.rules)
    if failed := _failed(summary) or (_strictly(summary, unknown) if strict else ""):
        console.print(f"convert: {failed}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(EXIT_REJECTS)


def _describe(console: Console, names: Iterable[str], timezone: str | None) -> None:
    """Print the columns of export files: their types, how full they are, samples, and what is doubtful."""
    from salesgauge.schemas.sources.describing import describe

    shown = Console()
    if not shown.is_terminal:
        shown.width = _WIDE
    try:
        exports = [export for name in names for export in describe(Path(name), zone=timezone or "UTC")]
    except SalesgaugeError as error:
        _fail(console, str(error))
    for export in exports:
        sheet = f", sheet {export.spec.sheet}" if export.spec.sheet else ""
        encoding = f", encoding {export.spec.encoding}" if export.spec.encoding else ""
        title = f"{export.path.name}{sheet}{encoding}: {export.rows:,} rows"
        if export.unreadable:
            title += f", {len(export.unreadable):,} lines that do not fit"
        table = Table(
            Column("column", overflow="fold"),
            "type",
            Column("filled", justify="right"),
            Column("distinct", justify="right"),
            title=title,
        )
        table.add_column("most frequent values")
        table.add_column("notation, doubts")
        for column in export.columns:
            filled = f"{column.filled / column.rows:.0%}" if column.rows else "-"
            cells = (
                column.name,
                column.type.lower(),
                filled,
                f"{column.distinct:,}",
                " · ".join(column.samples),
                column.note,
            )
            table.add_row(*map(Text, cells))
        shown.print(table)


def _strictly(summary: Summary, unknown: Counter[str]) -> str:
    """Why --strict fails; empty where no row was rejected and no field is unknown."""
    reasons = ["rows were rejected"] if summary.rejected else []
    if unknown:
        reasons.append(told_unknown(unknown))
    return f"{'; '.join(reasons)} (--strict)" if reasons else ""


def _failed(summary: Summary) -> str:
    """Why the conversion is no success though it has ended; empty where it is one."""
    if not summary.rejected:
        return ""
    if not summary.events:
        return "no row became an event; the reasons are above"
    for event, converted in summary.events.items():
        invalid = sum(n for (name, reason, _), n in summary.rejected.items() if name == event and reason == _INVALID)
        if invalid >= MUCH * (invalid + converted):
            return f"{invalid:,} of {invalid + converted:,} rows of {event} were rejected as invalid"
    for event in {name for name, reason, _ in summary.rejected if reason == _INVALID} - set(summary.events):
        return f"no row of {event} became an event; the reasons are above"
    return ""


def _say_currencies(console: Console, summary: Summary, rules: Rules) -> None:
    """Amounts in a currency without a rate count nowhere; that is to be known before the KPIs are looked at."""
    reporting = rules.currency
    unknown = sorted(set(summary.currencies) - {reporting, *(rate.currency for rate in rules.rates)})
    if unknown and len(summary.currencies) > 1:
        counted = ", ".join(f"{n:,} in {currency}" for currency, n in summary.currencies.most_common())
        console.print(
            f"note: events with amounts: {counted}. Without a rate those in {', '.join(unknown)} will be refused: set "
            f"rules.rates in the settings, such as [{{currency: {unknown[0]}, rate: 0.9}}] (units of {reporting} for "
            "one), or rules.currency",
            style="yellow", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


def _overrides(inputs: Iterable[str]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for pair in inputs:
        name, separator, path = pair.partition("=")
        if not separator or not name or not path:
            raise ConvertError(f"--input {pair}: write it as NAME=PATH")
        if name in overrides:
            raise ConvertError(f"--input {name}=… is given twice; several files of one input are a glob")
        overrides[name] = path
    return overrides


def _write(console: Console, results: Iterable[EventBase | Rejected], out: str, rejects: Path | None) -> Summary:
    target = sys.stdout.buffer if out == STDOUT else Path(out)
    with console.status("reading") as status:
        return write_events(
            results,
            target,
            rejects,
            progress=lambda so_far: status.update(f"{so_far.events.total():,} events"),
        )


def _fail(console: Console, message: str) -> NoReturn:
    console.print(f"convert: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(EXIT_USAGE)


def report(console: Console, mapping: Mapping, summary: Summary, *, seconds: float) -> None:
    """Print how many events of each kind a conversion made, and why rows were rejected."""
    events = Table("event", Column("events", justify="right"), Column("rejected", justify="right"))
    inputs = (event for event, _, _ in summary.rejected if event not in EVENTS)
    for name in dict.fromkeys([*(spec.event for spec in mapping.events), *inputs]):
        lost = sum(count for (event, _, _), count in summary.rejected.items() if event == name)
        events.add_row(name, f"{summary.events[name]:,}", f"{lost:,}")
    console.print(events)
    if summary.rejected:
        console.print(_reasons(summary))
    total = summary.events.total()
    rate = total / max(seconds, 1e-9)
    console.print(f"{total:,} events in {seconds:.1f} s ({rate:,.0f} events/s)", highlight=False)


def _reasons(summary: Summary) -> Table:
    reasons = Table("event", "rejected because", Column("rows", justify="right"))
    shown = summary.rejected.most_common(_REASONS_SHOWN)
    for (event, reason, detail), count in shown:
        reasons.add_row(event, Text(f"{reason}: {detail}" if detail else reason), f"{count:,}")
    rest = summary.rejected.total() - sum(count for _, count in shown)
    if rest:
        reasons.add_row("", f"{len(summary.rejected) - len(shown)} other reasons", f"{rest:,}")
    return reasons


def _name_files(console: Console, out: str, rejects: Path | None, summary: Summary) -> None:
    if out != STDOUT:
        console.print(f"events: {out}", markup=False, highlight=False, soft_wrap=True)
    if rejects is not None:
        console.print(f"rejected rows: {rejects}", markup=False, highlight=False, soft_wrap=True)
    elif summary.rejected:
        console.print("rejected rows were not kept; --rejects FILE keeps them", highlight=False)
