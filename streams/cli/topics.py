"""`salesgauge topics create|check`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from salesgauge.streams.cli.common import FAILURE, err, explained, kafka_options, out, settings_of


@click.group()
def topics_command() -> None:
    """Create the topics, or check that they are right."""


@topics_command.command("create", short_help="Create the topics that are missing.")
@kafka_options
@click.option(
    "--partitions", type=click.IntRange(1), help="Partitions of each topic; this is the greatest number of workers."
)
@click.option("--replication", type=click.IntRange(1), help="Replicas of each topic.")
@explained
def create_command(config: Path | None, bootstrap: str | None, partitions: int | None, replication: int | None) -> None:
    """Create the topics that are missing, with partitions, compaction and retention."""
    from salesgauge.streams.kafka import control, topics

    settings = control.resolved(
        settings_of(config, kafka__bootstrap=bootstrap, kafka__partitions=partitions, kafka__replication=replication)
    )
    created, known = topics.create(settings)
    for name in created:
        out.print(f"created {name}")
    err.print(f"{len(created)} topics created, {len(known)} were there already")


@topics_command.command("check", short_help="List what is wrong; exit 1 if anything is.")
@kafka_options
@explained
def check_command(config: Path | None, bootstrap: str | None) -> None:
    """List what is wrong with the topics; exit 1 if anything is."""
    from salesgauge.streams.kafka import control, topics

    settings = topics.adopted(control.resolved(settings_of(config, kafka__bootstrap=bootstrap)))
    findings = topics.check(settings)
    if not findings:
        err.print(f"all {len(topics.wanted(settings))} topics are right")
        return
    table = Table("topic", "problem", "what to do")
    for finding in findings:
        table.add_row(finding.topic, finding.problem, finding.remedy)
    out.print(table)
    if any(finding.fatal for finding in findings):
        raise SystemExit(FAILURE)
