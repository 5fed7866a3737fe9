"""`salesgauge explain`: which records make a number."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from salesgauge.schemas.errors import InputError
from salesgauge.streams.cli.common import Failed, explained, out
from salesgauge.streams.cli.sources import check_source, record_source, source_options
from salesgauge.streams.io.explanation_json import (
    amount,
    encode,
    explanation_document,
    explanation_table,
    link,
    subject,
)
from salesgauge.streams.io.instants import iso, parse_instant
from salesgauge.streams.io.rejects import Rejects
from salesgauge.streams.replay.explaining import DEFAULT_LIMIT, Wanted, explain_records, find
from salesgauge.streams.replay.progress import Display
from salesgauge.streams.replay.table import duration
from salesgauge.streams.settings.model import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.metrics.explain.explanation import EntityShare, Explanation
    from salesgauge.streams.io.records import RecordSource
    from salesgauge.streams.settings.model import Settings

_EXIT_USAGE = 2
_PLAIN_WIDTH = 200  # characters, where stdout is no terminal
_SHOWN_FACTS = 3


@click.command("explain", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("kpi")
@source_options
@click.option("--window", metavar="W", help="Which window: 1h, 24h, mtd, all; may be left out where there is only one.")
@click.option("--stat", metavar="NAME", help="Which of its numbers: p90, count; default: the main one.")
@click.option("--rep", metavar="ID", help="Of this rep alone.")
@click.option("--team", metavar="NAME", help="Of this team alone.")
@click.option("--source", metavar="NAME", help="From this source alone.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Another label: product=basic.")
@click.option("--part", type=click.Choice(["numerator", "denominator"]), help="Only what adds to this part of a ratio.")
@click.option("--at", metavar="TIME", help="At which instant; default: when the latest event happened.")
@click.option("--corrected/--as-known", default=True, help="Use what is known today, or only what was known then.")
@click.option("--limit", type=click.IntRange(min=0), default=DEFAULT_LIMIT, help="List so many; 0 lists all.")
@click.option("--facts/--no-facts", default=True, help="Look for the events behind each record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@explained
def explain_command(*, files: tuple[str, ...], events: tuple[str, ...], **options: Any) -> None:
    """Show which records make a number.

    \b
      salesgauge explain leads_waiting --rep rep-12 events.jsonl
      salesgauge explain lead_conversion_ratio --window 30d --part numerator --csv events.jsonl.zst
      salesgauge explain revenue --window mtd --topics

    Each record is listed with what it adds to each part of the formula, and with the events behind that. The amounts
    add up to the number exactly.

    Exit codes: 0 done, 1 no valid event in the input, 2 an option or the input is wrong.
    """  # noqa: D301 - \b keeps click from joining the examples' lines
    asked = {**options, "events": (*events, *files)}
    check_source(asked)
    if asked["as_json"] and asked["as_csv"]:
        raise click.UsageError("--json and --csv are two forms; choose one")
    settings = load(asked["config"], {"kafka.bootstrap": asked["bootstrap"]})
    try:
        wanted = _wanted(asked)
        find(wanted)
        at = parse_instant(asked["at"], settings.rules.tz) if asked["at"] else None
        source = record_source(asked, settings, None if at is None or asked["corrected"] else at + 1)
        explanation = _explanation(asked, settings, source, wanted, at)
    except InputError as error:
        failure = Failed(str(error))
        failure.exit_code = _EXIT_USAGE
        raise failure from error
    _print(explanation, settings.links, asked)


def _wanted(asked: Mapping[str, Any]) -> Wanted:
    labels = {}
    for pair in asked["labels"]:
        name, separator, value = pair.partition("=")
        if not separator:
            raise InputError(f"--label {pair}: write it as NAME=VALUE, such as product=basic")
        labels[name] = value
    labels |= {dim: asked[dim] for dim in ("rep", "team", "source") if asked[dim] is not None}
    return Wanted(
        kpi=asked["kpi"], window=asked["window"], stat=asked["stat"], labels=labels, side=asked["part"],
        limit=asked["limit"] or None, facts=asked["facts"],
    )  # fmt: skip


def _explanation(
    asked: Mapping[str, Any], settings: Settings, source: RecordSource, wanted: Wanted, at: int | None
) -> Explanation:
    with ExitStack() as stack:
        stack.enter_context(closing(source))
        display = stack.enter_context(Display(Console(stderr=True), quiet=asked["quiet"]))
        rejects = Rejects()
        found = explain_records(
            source, wanted, at=at, corrected=asked["corrected"], rules=settings.rules, rejects=rejects,
            progress=display, again=asked["topics"] or source.rereadable,
        )  # fmt: skip
    for warning in source.warnings:
        click.echo(f"warning: {warning}", err=True)
    if rejects.count and not asked["quiet"]:
        click.echo(f"{rejects.count:,} records were rejected; `salesgauge replay --rejects FILE` lists them", err=True)
    return found


def _print(explanation: Explanation, links: Mapping[str, str], asked: Mapping[str, Any]) -> None:
    if asked["as_json"]:
        click.echo(encode(explanation_document(explanation, links)))
    elif asked["as_csv"]:
        click.echo(explanation_table(explanation, links), nl=False)
    else:
        _show(explanation, links)


def _show(explanation: Explanation, links: Mapping[str, str]) -> None:
    question = explanation.question
    labels = "".join(f", {dim} {value}" for dim, value in question.labels.items())
    value = "no value" if explanation.value is None else f"{explanation.value:,.10g}"
    stat = "" if question.stat == "value" else f" {question.stat}"
    out.print(Text(f"{question.kpi}{stat}, {question.window}{labels}, at {iso(question.at)}: {value}"))
    for name, part in explanation.parts.items():
        sides = f" ({' and '.join(part.sides)})" if part.sides else ""
        out.print(Text(f"  {name}{sides} = {amount(part, explanation.totals[name]):,}"))
    if explanation.entities:
        stdout = Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH)
        stdout.print(_table(explanation, links))
    listed = len(explanation.entities)
    if listed < explanation.count:
        out.print(f"{listed:,} of {explanation.count:,} records are listed; --limit 0 lists all")
    elif not listed:
        out.print("no record adds anything")


def _table(explanation: Explanation, links: Mapping[str, str]) -> Table:
    names = list(explanation.parts)
    lengths = any(entity.samples or entity.waits for entity in explanation.entities)
    linked = any(link(links, *subject(entity.address)[:2]) for entity in explanation.entities)
    extra = [Column("longest", justify="right")] if lengths else []
    last = [Column("link")] if linked else []
    columns = (Column("record", no_wrap=True), *(Column(name, justify="right") for name in names), *extra)
    table = Table(*columns, Column("events"), *last)
    for entity in explanation.entities:
        kind, key, page = subject(entity.address)
        amounts = [f"{amount(explanation.parts[name], entity.amounts.get(name, 0)):,}" for name in names]
        longest = [duration(entity.weight[0] / 1000)] if lengths else []
        where = [Text(link(links, kind, key) or "")] if linked else []
        record = Text(f"{kind} {key}" + (f" {page}" if page else ""))
        table.add_row(record, *amounts, *longest, Text(_events(entity)), *where)
    return table


def _events(entity: EntityShare) -> str:
    shown = [f"{fact.event} {iso(fact.at)} {fact.event_id or ''}".rstrip() for fact in entity.facts[:_SHOWN_FACTS]]
    more = len(entity.facts) - len(shown)
    return "\n".join([*shown, *([f"and {more} more"] if more else [])])
