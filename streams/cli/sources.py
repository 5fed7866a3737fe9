"""Where the past is read from: files of events or the event topics. The options of `replay` and `explain` for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from salesgauge.streams.io.event_files import EventFiles
from salesgauge.streams.io.instants import parse_instant

if TYPE_CHECKING:
    from salesgauge.streams.cli.common import Function
    from salesgauge.streams.io.records import RecordSource
    from salesgauge.streams.settings.model import Settings

PATH = click.Path(path_type=Path)

_OPTIONS = (
    click.argument("files", nargs=-1, metavar="[FILE]..."),
    click.option("--events", multiple=True, metavar="FILE", help="JSON lines, .gz, .zst or Parquet; - is stdin."),
    click.option("--topics", is_flag=True, help="Read the event topics instead of files."),
    click.option("--bootstrap", metavar="HOST:PORT", help="The Kafka broker, if not the one of the settings."),
    click.option("--config", type=PATH, metavar="FILE", help="Settings file (YAML): broker, rules, zone, currency."),
    click.option("--partition", "partitions", type=int, multiple=True, help="Only read these partitions."),
    click.option(
        "--since", metavar="TIME", help="Topics: skip older records. Stocks and cohorts then start at this time."
    ),
    click.option("--allow-truncated", is_flag=True, help="Go on where a part of the input is missing."),
)


def source_options(function: Function) -> Function:
    """The options that say what is read."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def check_source(asked: dict[str, Any]) -> None:
    """Refuse what does not go together; ``events`` holds all files.

    Raises:
        click.UsageError: what and why.
    """
    if asked["topics"] == bool(asked["events"]):
        raise click.UsageError("give either --events FILE or --topics")
    if not asked["topics"] and (asked["bootstrap"] or asked["partitions"] or asked["since"]):
        raise click.UsageError("--bootstrap, --partition and --since are for --topics")


def record_source(asked: dict[str, Any], settings: Settings, until: int | None) -> RecordSource:
    """What was asked for; of topics what they had by ``until`` (ms; None: all).

    Raises:
        InputError: a file is missing, or a time is none.
    """
    if not asked["topics"]:
        return EventFiles(asked["events"], asked["allow_truncated"])
    # Imported here: reading a file needs no Kafka client.
    from salesgauge.streams.replay.event_topics import EventTopics

    return EventTopics(
        settings.kafka,
        frozenset(asked["partitions"]) or None,
        since=parse_instant(asked["since"], settings.rules.tz) if asked["since"] else None,
        until=until,
        allow_truncated=asked["allow_truncated"],
    )
