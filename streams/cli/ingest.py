"""`salesgauge ingest`: live data of CRMs, forms, billing and topics becomes events."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from salesgauge.streams.cli.common import FAILURE, Failed, err, explained, kafka_options, out, settings_of
from salesgauge.streams.cli.live import active_settings, begun, run_loop, until_stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.schemas.sources.live import Derived
    from salesgauge.schemas.sources.source import Source
    from salesgauge.streams.ingest.checking import ApiReport
    from salesgauge.streams.ingest.service import Service
    from salesgauge.streams.settings.model import Settings

_PARTS = ("receive", "derive")
_SHOWN = 10


@click.group(invoke_without_command=True)
@kafka_options
@click.option("--sources", type=click.Path(path_type=Path), help="A source's file, or a folder of them.")
@click.option("--source", "names", multiple=True, metavar="NAME", help="Only this source; may be repeated.")
@click.option("--only", type=click.Choice(_PARTS), help="Only receive webhooks, or only derive events.")
@click.option("--from", "since", metavar="TIME", help="Derive the events of what arrived since TIME again.")
@click.option("--host", metavar="ADDRESS", help="Address to receive webhooks on (default: this machine only).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to receive webhooks on (default: 9110).")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Port of /metrics (default: 9111).")
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
    metrics_port: int | None,
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

    settings = settings_of(
        config,
        kafka__bootstrap=bootstrap,
        ingest__sources=sources,
        ingest__web__host=host,
        ingest__web__port=port,
        ingest__metrics_web__port=metrics_port,
    )
    found = read_sources(settings.ingest.sources, names)
    quiet_logs()
    if since is not None:
        err.print("deriving again: another running ingest of these sources must be stopped first, or this one waits")
    chosen = {"receive": only != "derive", "derive": only != "receive"}
    run_loop(_serve(settings, found, since=_instant(since), **chosen))


async def _serve(settings: Settings, sources: Sequence[Source], **options: Any) -> None:
    from salesgauge.streams.ingest.service import Service
    from salesgauge.streams.serve.http import Server

    settings = await active_settings(settings)
    service = Service(settings, sources, **options)
    default = "port" not in settings.ingest.metrics_web.model_fields_set
    metrics = Server(settings.ingest.metrics_web, [service.registry], any_port=default)
    await metrics.start()
    running = await begun(service.run)
    if not running.done():
        _announce(settings, service, sources)
    try:
        await until_stopped(running)
    except OSError as error:
        where = f"{settings.ingest.web.host}:{settings.ingest.web.port}"
        raise Failed(f"cannot listen on {where}: {error.strerror}; choose another --port or --host") from error
    finally:
        await metrics.stop()


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


@ingest_command.command("init", short_help="Write a source's file to begin with.")
@click.argument("name")
@click.option("--out", "target", type=click.Path(path_type=Path, dir_okay=False), help="The file (default: NAME.yaml).")
@explained
def init_command(name: str, target: Path | None) -> None:
    """Write a source's file with comments: where to click in the system, which scopes and events, what to fill in.

    NAME is a system, or json for anything that posts JSON, or debezium for tables of a database.
    """
    from salesgauge.streams.ingest.templates import template, templates

    if name not in templates():
        raise click.BadParameter(f"'{name}' is not known; there are {', '.join(templates())}", param_hint="NAME")
    path = target or Path(f"{name}.yaml")
    if path.exists():
        raise Failed(f"{path} is there already; name another with --out")
    path.write_text(template(name), encoding="utf-8")
    err.print(f"wrote {path}: fill it in, then `salesgauge ingest check {path}`")


@ingest_command.command("check", short_help="Try a source: file, credentials, stages, records as events.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--payload", "payloads", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="A payload to show as events, instead of asking the API; may be repeated.")  # fmt: skip
@explained
def check_command(file: Path, payloads: tuple[Path, ...]) -> None:
    """Try a source without Kafka: is its file right, are its credentials accepted, what do records come to?

    Exit codes: 0 all is well, 1 something was refused or gave no event, 2 the file is wrong.
    """
    from salesgauge.schemas.sources.source import load_source
    from salesgauge.streams.ingest.checking import derive_bodies, derive_payloads
    from salesgauge.streams.ingest.setup import secrets

    source = load_source(file)
    good = True
    if payloads:
        derived = derive_payloads(source, [path.read_bytes() for path in payloads])
        good = _show_derived(derived)
    else:
        derive_payloads(source, [])  # are the queries right?
        err.print(f"{file}: the file is right; source '{source.name}', reader {source.reader}")
        if source.hook is not None:
            found = secrets(source, source.hook.secret)
            err.print(f"webhooks: {source.hook.signature}, {len(found)} secret(s); POST /hooks/{source.name}")
            if source.hook.signature == "none":
                err.print("[yellow]anybody who knows the address can send: give a signature[/]")
        if source.poll is not None:
            report = _ask(source, secrets(source, source.poll.secret))
            good = _show_api(report) and _show_derived(derive_bodies(source, report.bodies))
    if not good:
        raise SystemExit(FAILURE)


def _ask(source: Source, found: Sequence[bytes]) -> ApiReport:
    from salesgauge.streams.ingest.checking import ask_api
    from salesgauge.streams.ingest.polling.api import ApiError

    try:
        return asyncio.run(ask_api(source, found))
    except ApiError as error:
        raise Failed(f"source {source.name}: the API refuses: {error}") from error


def _show_api(report: ApiReport) -> bool:
    err.print(f"API: signed in, {report.account}")
    if report.stages:
        table = Table("stage", "pipeline", "name", "outcome")
        for stage in report.stages:
            table.add_row(*stage)
        out.print(table)
    good = True
    for kind, found in report.found.items():
        if isinstance(found, int):
            err.print(f"{kind}: {found} changed in the last 30 days (first page)")
        else:
            good = False
            err.print(Text(f"{kind}: {found}", style="red"))
    return good


def _show_derived(derived: Derived) -> bool:
    from salesgauge.schemas.codec import encode

    for event in derived.events[:_SHOWN]:
        out.print(Text(encode(event).decode()))
    counts = Counter(event.name for event in derived.events)
    err.print(
        f"{len(derived.events)} events: {', '.join(f'{count} {name}' for name, count in counts.items()) or 'none'}"
    )
    for kind, count in derived.ignored.items():
        err.print(Text(f"rightly no event: {count} {kind}"))
    for rejected in derived.rejected[:_SHOWN]:
        text = f"rejected: {rejected.event}: {rejected.reason} {rejected.detail} {rejected.row}"
        err.print(Text(text, style="red"))
    for unusable in derived.unusable[:_SHOWN]:
        err.print(Text(f"no event: {unusable.reason}: {unusable.detail}", style="red"))
    return not derived.rejected and not derived.unusable
