"""`salesgauge ingest`: live data of CRMs, forms, billing and topics becomes events."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from salesgauge.streams.cli.common import Failed, err, explained, kafka_options, settings_of
from salesgauge.streams.cli.live import run_loop, until_stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.schemas.sources.source import Source
    from salesgauge.streams.ingest.service import Service
    from salesgauge.streams.settings.model import Settings

_PARTS = ("receive", "derive")


@click.group(invoke_without_command=True)
@kafka_options
@click.option("--sources", type=click.Path(path_type=Path), help="A source's file, or a folder of them.")
@click.option("--source", "names", multiple=True, metavar="NAME", help="Only this source; may be repeated.")
@click.option("--only", type=click.Choice(_PARTS), help="Only receive webhooks, or only derive events.")
@click.option("--from", "since", metavar="TIME", help="Derive the events of what arrived since TIME again.")
@click.option("--host", metavar="ADDRESS", help="Address to receive webhooks on (default: this machine only).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to receive webhooks on (default: 9110).")
@click.pass_context
@explained
def ingest_command(
    context: click.Context,
    config: Path | None,
    bootstrap: str | None,
    sources: Path | None,
    names: tuple[str, ...],
    only: str | None,
    since: str | None,
    host: str | None,
    port: int | None,
) -> None:
    """Live data in: receive webhooks, read topics, and make events of what they say.

    What arrives is kept as it came, in a raw topic per source, before its sender is thanked. Events are derived from
    there by the source's file, with ids that depend on the facts alone: --from derives them again, after the file was
    changed, and nothing counts twice.
    """
    if context.invoked_subcommand is not None:
        return
    from salesgauge.streams.ingest.setup import read_sources
    from salesgauge.streams.io.logs import quiet_logs
    from salesgauge.streams.kafka import control, topics

    settings = settings_of(
        config, kafka__bootstrap=bootstrap, ingest__sources=sources, ingest__web__host=host, ingest__web__port=port
    )
    found = read_sources(settings.ingest.sources, names)
    quiet_logs()
    active = topics.adopted(control.resolved(settings))
    chosen = {"receive": only != "derive", "derive": only != "receive"}
    run_loop(_serve(active, found, since=_instant(since), **chosen))


async def _serve(settings: Settings, sources: Sequence[Source], **options: Any) -> None:
    from salesgauge.streams.ingest.service import Service

    service = Service(settings, sources, **options)
    started = asyncio.Event()
    running = asyncio.ensure_future(service.run(started))
    waiting = asyncio.ensure_future(started.wait())
    tasks: set[asyncio.Future[Any]] = {running, waiting}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not running.done():
        _announce(settings, service, sources)
    try:
        await until_stopped(running)
    except OSError as error:
        where = f"{settings.ingest.web.host}:{settings.ingest.web.port}"
        raise Failed(f"cannot listen on {where}: {error.strerror}; choose another --port or --host") from error


def _announce(settings: Settings, service: Service, sources: Sequence[Source]) -> None:
    scheme = "https" if settings.ingest.web.tls else "http"
    for source in sources:
        if service.receiver is not None and source.hook is not None:
            where = f"{scheme}://{settings.ingest.web.host}:{service.receiver.port}/hooks/{source.name}"
            err.print(f"{source.name}: webhooks at {where}")
        if source.topics is not None:
            err.print(f"{source.name}: topics {', '.join(source.topics.names)}")


def _instant(text: str | None) -> int | None:
    from salesgauge.schemas.sources.instants import milliseconds

    if text is None:
        return None
    found = milliseconds(text)
    if found is None:
        raise click.BadParameter(
            f"'{text}' is no time; write it as 2026-11-28 or 2026-11-28T09:00:00Z", param_hint="--from"
        )
    return found
