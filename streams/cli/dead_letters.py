"""`salesgauge dead-letters list|show|redrive|close`."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from salesgauge.schemas.errors import InputError
from salesgauge.streams.cli.common import FAILURE, Failed, Function, err, explained, kafka_options, out, settings_of
from salesgauge.streams.io.instants import iso, parse_since, wall_clock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from salesgauge.streams.operate.dead_letters import Full, Letter, Letters, Selection
    from salesgauge.streams.settings.model import Settings

_SHOWN_CHARACTERS = 4000


@click.group()
def dead_letters_command() -> None:
    """Inspect records that could not be processed, send them back once the cause is fixed, or close them."""


class _Since(click.ParamType):
    """An instant in ms: ISO 8601 (UTC where it names no zone), or so long ago: 90s, 15m, 2h, 7d, 1w."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_since(str(value), UTC, wall_clock())
        except InputError as error:
            self.fail(f"{error}, nor a length such as 2h", param, ctx)


def _filters(function: Function) -> Function:
    function = click.option(
        "--since",
        type=_Since(),
        default=0,
        metavar="TIME|AGE",
        help="Only letters from this time on, or not older than this: 2026-01-31T08:00Z, 2h, 7d.",
    )(function)
    function = click.option(
        "--topic", "topics", multiple=True, metavar="TOPIC", help="Only letters from this source topic (repeatable)."
    )(function)
    return click.option(
        "--reason",
        "reasons",
        multiple=True,
        metavar="REASON",
        help="Only letters with this reason (repeatable).",
    )(function)


def _selection(reasons: Sequence[str], topics: Sequence[str], since: int) -> Selection:
    from salesgauge.schemas.codec import Reason
    from salesgauge.streams.operate.dead_letters import Selection as Chosen

    known = [reason.value for reason in Reason]
    if unknown := set(reasons) - set(known):
        raise click.BadParameter(f"{min(unknown)!r} is no reason; there are {', '.join(known)}", param_hint="--reason")
    return Chosen(frozenset(reasons), frozenset(topics), since)


def _settings(config: Path | None, bootstrap: str | None) -> Settings:
    from salesgauge.streams.kafka.control import resolved

    return resolved(settings_of(config, kafka__bootstrap=bootstrap))


# --- list


@dead_letters_command.command("list", short_help="Count them, and list the newest.")
@kafka_options
@_filters
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--newest", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Letters shown.")
@explained
def list_command(
    config: Path | None,
    bootstrap: str | None,
    *,
    reasons: tuple[str, ...],
    topics: tuple[str, ...],
    since: int,
    newest: int,
    as_json: bool,
) -> None:
    """Count the letters by reason and source topic, and list the newest."""
    from salesgauge.streams.operate.dead_letters import read

    selection = _selection(reasons, topics, since)
    letters = read(_settings(config, bootstrap))
    chosen = letters.select(selection)
    if as_json:
        click.echo(json.dumps(_document(letters, chosen, newest), indent=1))
    elif not chosen:
        err.print("no dead letters" if not letters else f"none of the {len(letters)} dead letters fits")
    else:
        _print_counts(letters, chosen)
        _print_newest(letters, chosen[-newest:] if newest else [])


def _counts(letters: Letters, chosen: Sequence[Letter]) -> list[dict[str, Any]]:
    totals = Counter((one.reason, one.source.topic) for one in chosen)
    open_ = Counter((one.reason, one.source.topic) for one in chosen if letters.is_open(one))
    newest = {(one.reason, one.source.topic): one.at for one in chosen}
    return [
        {
            "reason": reason,
            "topic": topic,
            "count": count,
            "open": open_[reason, topic],
            "newest": _iso(newest[reason, topic]),
        }
        for (reason, topic), count in totals.most_common()
    ]


def _document(letters: Letters, chosen: Sequence[Letter], newest: int) -> dict[str, Any]:
    return {
        "count": len(chosen),
        "open": sum(map(letters.is_open, chosen)),
        "counts": _counts(letters, chosen),
        "newest": [_item(letters, one) for one in reversed(chosen[-newest:] if newest else [])],
    }


def _item(letters: Letters, letter: Letter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.source.topic,
        "partition": letter.source.partition,
        "offset": letter.source.offset,
        "at": _iso(letter.at),
        "bytes": letter.size,
        "cut": letter.cut,
        "redriven": letters.state(letter) == "redriven",
        "closed": letters.state(letter) == "closed",
    }


def _print_counts(letters: Letters, chosen: Sequence[Letter]) -> None:
    table = Table("reason", "source topic", "letters", "open", "newest", title=f"{len(chosen)} dead letters")
    for row in _counts(letters, chosen):
        table.add_row(row["reason"], safe(row["topic"]), str(row["count"]), str(row["open"]), row["newest"])
    out.print(table)


def _print_newest(letters: Letters, chosen: Sequence[Letter]) -> None:
    if not chosen:
        return
    table = Table("number", "source", "reason", "detail", "bytes", "state", title="newest first")
    for one in reversed(chosen):
        state = "cut" if one.cut and letters.is_open(one) else letters.state(one)
        table.add_row(str(one.number), safe(str(one.source)), one.reason, safe(one.detail[:120]), str(one.size), state)
    out.print(table)


# --- show


@dead_letters_command.command("show", short_help="Show one in full.")
@click.argument("which", metavar="NUMBER|TOPIC:PARTITION:OFFSET")
@kafka_options
@click.option("--full", is_flag=True, help=f"All of the value, not only {_SHOWN_CHARACTERS} characters.")
@explained
def show_command(which: str, config: Path | None, bootstrap: str | None, *, full: bool) -> None:
    """Show one letter: why it is there, its headers, key and value."""
    from salesgauge.streams.operate.dead_letters import fetch, read

    settings = _settings(config, bootstrap)
    letters = read(settings)
    letter = _found(letters, which)
    for found in fetch(settings, [letter]):
        outlook = _prospect(settings, letter) if letters.is_open(letter) else f"was {letters.state(letter)}"
        _show(found, outlook, full=full)


def _prospect(settings: Settings, letter: Letter) -> str:
    from salesgauge.streams.operate.dead_letters import obstacle

    hindrance = obstacle(settings, letter)
    return "can be redriven" if hindrance is None else f"cannot be redriven: {hindrance}"


def _found(letters: Letters, which: str) -> Letter:
    letter = letters.find(which)
    if letter is None:
        raise Failed(f"there is no dead letter {which}; `salesgauge dead-letters list` shows the newest")
    return letter


def _show(found: Full, state: str, *, full: bool) -> None:
    letter = found.letter
    rows = {
        "number": str(letter.number),
        "reason": letter.reason,
        "detail": letter.detail,
        "source": str(letter.source),
        "sent": _iso(letter.sent),
        "set aside": _iso(letter.at),
        "state": state,
        "key": "none" if found.key is None else readable(found.key),
        "bytes": str(letter.size),
    }
    for name, value in {**rows, **{f"header {name}": value for name, value in found.headers.items()}}.items():
        out.print(f"[dim]{escape(name):<18}[/] {safe(value)}")
    text = readable(found.value or b"")
    out.print(text if full else text[:_SHOWN_CHARACTERS], markup=False)
    if not full and len(text) > _SHOWN_CHARACTERS:
        err.print(f"… {len(text) - _SHOWN_CHARACTERS} more characters; --full shows all")


# --- redrive


@dead_letters_command.command("redrive", short_help="Send them back to their topics.")
@kafka_options
@_filters
@click.option("--dry-run", is_flag=True, help="Only show what would be sent.")
@click.option("--again", is_flag=True, help="Also letters that were sent back or closed before.")
@explained
def redrive_command(
    config: Path | None,
    bootstrap: str | None,
    *,
    reasons: tuple[str, ...],
    topics: tuple[str, ...],
    since: int,
    dry_run: bool,
    again: bool,
) -> None:
    """Send letters back to their topics, acknowledged. Sending twice is harmless: events have ids."""
    from salesgauge.streams.operate.dead_letters import obstacle, read, redrive

    selection = _selection(reasons, topics, since)
    settings = _settings(config, bootstrap)
    letters = read(settings)
    chosen = letters.select(selection, only_open=not again)
    obstacles = {letter.source: obstacle(settings, letter) for letter in chosen}
    sendable = [letter for letter in chosen if obstacles[letter.source] is None]
    for why, count in Counter(why for why in obstacles.values() if why).items():
        err.print(f"{count} cannot be redriven: {safe(why)}")
    if len(sendable) < len(chosen):
        err.print("close what can never be processed with `salesgauge dead-letters close`")
    if dry_run:
        _preview(letters, sendable)
        err.print(f"{len(sendable)} letters would be sent")
        return
    with Progress(
        TextColumn("redriving"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as bar:
        task = bar.add_task("redrive", total=len(sendable))
        sent = redrive(settings, sendable, lambda done: bar.update(task, completed=done))
    err.print(f"{sent} letters sent back to their topics and acknowledged")
    if sent < len(sendable):
        err.print(f"{len(sendable) - sent} were no longer in the topic")
        raise SystemExit(FAILURE)


def _preview(letters: Letters, chosen: Sequence[Letter]) -> None:
    for row in _counts(letters, chosen):
        out.print(f"{row['count']:>7}  {row['reason']}  {safe(row['topic'])}")


# --- close


@dead_letters_command.command("close", short_help="Close what can never be processed.")
@click.argument("which", metavar="[NUMBER|TOPIC:PARTITION:OFFSET]...", nargs=-1)
@kafka_options
@_filters
@click.option("--all", "everything", is_flag=True, help="All open letters.")
@click.option("--dry-run", is_flag=True, help="Only show what would be closed.")
@explained
def close_command(
    which: tuple[str, ...],
    config: Path | None,
    bootstrap: str | None,
    *,
    reasons: tuple[str, ...],
    topics: tuple[str, ...],
    since: int,
    everything: bool,
    dry_run: bool,
) -> None:
    """Close letters that can never be processed: they stay readable, but no longer count as open.

    Name the letters, or select them by reason, topic and time. Letters that are already closed are skipped.
    """
    from salesgauge.streams.operate.dead_letters import close, read

    if not (which or reasons or topics or since or everything):
        raise click.UsageError("say which: numbers, --reason, --topic, --since or --all")
    selection = _selection(reasons, topics, since)
    settings = _settings(config, bootstrap)
    letters = read(settings)
    chosen = letters.select(selection, only_open=True)
    if which:
        named = {_found(letters, one).source for one in which}
        chosen = [letter for letter in chosen if letter.source in named]
    if dry_run:
        _preview(letters, chosen)
        err.print(f"{len(chosen)} letters would be closed")
        return
    err.print(f"{close(settings, chosen)} letters closed")


# --- printing what others wrote


def readable(data: bytes) -> str:
    """Bytes as text for a terminal: control characters and what is not UTF-8 are written as escapes."""
    return "".join(map(_visible, data.decode(errors="backslashreplace")))


def _visible(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def safe(text: str) -> str:
    """Somebody's text in a rich table or line: no markup, no control characters."""
    return escape(readable(text.encode(errors="replace")))


def _iso(at: int) -> str:
    if at < 0:
        return "unknown"
    return iso(at - at % 1000)
