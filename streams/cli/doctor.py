"""`salesgauge doctor`: is everything reachable, right and up to date?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from salesgauge.streams.cli.common import FAILURE, err, explained, kafka_options, out, settings_of
from salesgauge.streams.cli.dead_letters import safe
from salesgauge.streams.settings.model import origins

if TYPE_CHECKING:
    from pathlib import Path

    from salesgauge.schemas.filling import Filled
    from salesgauge.streams.operate.check import Check
    from salesgauge.streams.operate.doctor import Report

_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[bold red]fail[/]"}


@click.command()
@kafka_options
@click.option("--exporter", metavar="URL", help="Address of the exporter (default: as in the settings).")
@click.option("--ingest", metavar="URL", help="Address of the metrics of ingest (default: as in the settings).")
@click.option("--all", "all_settings", is_flag=True, help="Also show settings that have their default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@explained
def doctor_command(
    config: Path | None,
    bootstrap: str | None,
    exporter: str | None,
    ingest: str | None,
    *,
    all_settings: bool,
    as_json: bool,
) -> None:
    """Check settings, Kafka, topics, workers, lag, dead letters, fields, exporter and live sources; 1 if one fails."""
    from salesgauge.streams.operate.doctor import examine

    settings = settings_of(config, kafka__bootstrap=bootstrap)
    known = origins(settings, config, {"kafka.bootstrap": bootstrap})
    report = examine(settings, exporter, ingest)
    if as_json:
        click.echo(json.dumps({"settings": [one._asdict() for one in known], **_document(report)}, indent=1))
    else:
        _print_settings([one for one in known if all_settings or one.origin != "default"], len(known))
        _print_checks(report.checks)
        _print_filled(report.filled)
        _print_lag(report)
    if not report.healthy:
        raise SystemExit(FAILURE)


def _document(report: Report) -> dict[str, Any]:
    return {
        "healthy": report.healthy,
        "checks": [
            {"check": one.name, "state": one.state, "message": one.message, "remedy": one.remedy}
            for one in report.checks
        ],
        "lag_records": sum(one.records for one in report.behind),
        "lag": [
            {
                "topic": one.topic,
                "partition": one.partition,
                "committed": one.committed,
                "end": one.end,
                "records": one.records,
            }
            for one in report.behind
        ],
        "fields": [
            {
                "event": one.event,
                "source_system": one.source_system,
                "events": one.events,
                "filled": {name: round(count / one.events, 4) for name, count in one.fields.items()},
            }
            for one in report.filled
        ],
    }


def _print_settings(shown: list[Any], total: int) -> None:
    table = Table("setting", "value", "from", title="settings")
    for one in shown:
        table.add_row(one.path, safe(one.value), one.origin)
    if shown:
        out.print(table)
    if len(shown) < total:
        out.print(f"{total - len(shown)} settings have their default; --all shows them")


def _print_checks(checks: list[Check]) -> None:
    table = Table("check", "", "finding", "what to do")
    for one in checks:
        table.add_row(one.name, _MARKS[one.state], safe(one.message), safe(one.remedy))
    out.print(table)


def _print_filled(filled: list[Filled]) -> None:
    """The share of the latest events that have each optional field; those that none has stand apart."""
    if not filled:
        return
    table = Table(
        "event", "source system", "events", "filled", "never filled", title="optional fields of the latest events"
    )
    for one in filled:
        some = ", ".join(f"{name} {count / one.events:.0%}" for name, count in one.fields.items() if count)
        never = ", ".join(name for name, count in one.fields.items() if not count)
        table.add_row(one.event, safe(one.source_system), f"{one.events:,}", some, never)
    out.print(table)


def _print_lag(report: Report) -> None:
    from salesgauge.streams.kafka.lag import by_partition

    if not report.behind:
        return
    table = Table("partition", "records behind", "most of them in", title="how far the workers are behind")
    for partition, records in by_partition(report.behind).items():
        worst = max((one for one in report.behind if one.partition == partition), key=lambda one: one.records)
        table.add_row(str(partition), f"{records:,}", worst.topic if worst.records else "")
    total = sum(one.records for one in report.behind)
    table.add_section()
    table.add_row("total", f"{total:,}", "")
    out.print(table)
    err.print(f"{total:,} records are not processed yet")
