"""`salesgauge publish`: events from files to their topics."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from salesgauge.schemas.codec import told_unknown
from salesgauge.schemas.errors import SalesgaugeError
from salesgauge.streams.cli.common import FAILURE, err, explained, kafka_options, settings_of

if TYPE_CHECKING:
    from salesgauge.streams.io.rejects import Rejects
    from salesgauge.streams.operate.publish import Published


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@kafka_options
@click.option("--rejects", type=click.Path(path_type=Path), metavar="FILE", help="List what is no valid event here.")
@click.option("--strict", is_flag=True, help="Stop where a record is no valid event or has an unknown field.")
@click.option("--allow-truncated", is_flag=True, help="Publish what a cut file still has.")
@explained
def publish_command(
    files: tuple[str, ...],
    config: Path | None,
    bootstrap: str | None,
    rejects: Path | None,
    *,
    strict: bool,
    allow_truncated: bool,
) -> None:
    """Publish events from files: validated, keyed, acknowledged.

    Files are JSON lines (plain, gzip or zstandard) or Parquet; - is standard input.

    With --strict the command ends with 1 at the first record that is no valid event, and publishes nothing of files
    with fields that their kind of event does not have.

    Exit codes: 0 done, 1 nothing was published, more than half of the records were rejected, or an error, 2 an option
    is wrong.
    """
    from salesgauge.streams.io.event_files import EventFiles
    from salesgauge.streams.io.outputs import output_file
    from salesgauge.streams.io.paths import keep_inputs
    from salesgauge.streams.io.rejects import Rejects
    from salesgauge.streams.kafka.publisher import Publisher
    from salesgauge.streams.operate.publish import publish

    settings = settings_of(config, kafka__bootstrap=bootstrap)
    began = time.monotonic()
    with ExitStack() as stack:
        source = stack.enter_context(closing(EventFiles(files, allow_truncated)))
        keep_inputs([*source.names, config, *settings.files()], {"--rejects": rejects})
        publisher = stack.enter_context(Publisher(settings.kafka))
        file = stack.enter_context(output_file(rejects, keep=(SalesgaugeError,))) if rejects else None
        listed = Rejects(file)
        done = publish(source, publisher, listed, strict=strict)
    for warning in source.warnings:
        err.print(f"warning: {warning}", markup=False)
    _report(done, listed, time.monotonic() - began, listing=rejects is not None)


def _report(done: Published, rejects: Rejects, seconds: float, *, listing: bool) -> None:
    rate = done.sent / max(seconds, 1e-9)
    err.print(f"{done.sent:,} events published and acknowledged in {seconds:.1f} s ({rate:,.0f}/s)")
    for reason, count in rejects.reasons.most_common():
        err.print(f"{count:,} records rejected: {reason}")
    if rejects.count and not listing:
        err.print("--rejects FILE lists them, with the line and the reason")
    if done.unknown_fields:
        err.print(f"warning: {told_unknown(done.unknown_fields)}; they are ignored. Are they misspelt?", markup=False)
    verdict = "nothing was published" if not done.sent else rejects.verdict(done.read)
    if verdict:
        err.print(verdict)
        raise SystemExit(FAILURE)
