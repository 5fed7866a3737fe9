"""The composition root: settings in, the running parts out. Nothing else in the project builds them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry, Info

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.targets import Target, TargetError
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.io.memory import seldom_look_for_cycles
from salesgauge.streams.kafka.connection import BrokerError, admin, answered
from salesgauge.streams.kafka.topics import wanted
from salesgauge.streams.serve.board import DEFAULTS, from_file
from salesgauge.streams.serve.doors import reachable_at
from salesgauge.streams.serve.exporter import Board, Exporter
from salesgauge.streams.serve.http import Server
from salesgauge.streams.serve.owners import Local, Owners
from salesgauge.streams.serve.queries import WorkerQueries
from salesgauge.streams.settings.file import SettingsError
from salesgauge.streams.settings.model import DEFAULT_WORKER_PORT, Settings
from salesgauge.streams.version import VERSION

if TYPE_CHECKING:
    from salesgauge.streams.worker.app import DeliveryApp
    from salesgauge.streams.worker.shards import Worker


def check_topics(settings: Settings) -> None:
    """Refuse to start without topics: Faust would ignore the missing ones for ever.

    Raises:
        BrokerError: some are missing, or the broker cannot be reached or refuses.
    """
    with admin(settings.kafka) as client:
        existing = set(client.list_topics())
    missing = [topic.name for topic in wanted(settings) if topic.name not in existing]
    if missing:
        raise BrokerError(f"{len(missing)} topics are missing ({missing[0]} …); run `salesgauge topics create`")


@dataclass(slots=True)
class Process:
    """The parts that run in one process: a worker, an exporter, or both."""

    settings: Settings
    registry: CollectorRegistry
    app: DeliveryApp | None
    worker: Worker | None
    exporter: Exporter | None
    server: Server | None

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Run until cancelled.

        Raises:
            BrokerError: Kafka does not answer within ``kafka.start_seconds``, or refuses, or topics are missing.
            ListenError: the address cannot be listened on.
            ProduceError: a write was not acknowledged; nothing of it was committed.
        """
        seldom_look_for_cycles()
        kafka = self.settings.kafka
        await answered(kafka, lambda: asyncio.to_thread(check_topics, self.settings))
        if self.exporter is not None:
            start = self.exporter.start
            await answered(kafka, lambda: asyncio.to_thread(start))
        try:
            if self.server is not None:
                await self.server.start()
                if self.worker is not None:
                    web = self.settings.web if self.exporter is not None else self.settings.worker_web
                    self.worker.address = reachable_at(web, self.server.port, self.settings.worker_web.advertise)
            if started is not None:
                started.set()
            await self._until_stopped()
        finally:
            if self.server is not None:
                await self.server.stop()
            if self.exporter is not None:
                await asyncio.to_thread(self.exporter.stop)

    async def _until_stopped(self) -> None:
        if self.app is None:
            await asyncio.Event().wait()
            return
        from salesgauge.streams.worker.app import run_app  # noqa: PLC0415 - an exporter's process does not load Faust

        await run_app(self.app)


def process(
    settings: Settings,
    *,
    worker: bool,
    exporter: bool,
    serve: bool = True,
    follow: bool = False,
    clock: Callable[[], int] = wall_clock,
    **knobs: bool,
) -> Process:
    """Build a process of these parts.

    Args:
        settings: of all parts.
        worker: whether a worker is one of them.
        exporter: whether an exporter is.
        serve: whether they are reached by HTTP.
        follow: lets the exporter change to another version that becomes active.
        clock: now, in ms since the epoch; another one than the wall clock shows the past as if it were now.
        knobs: for tests.
    """
    registry = CollectorRegistry()
    for collector in (GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR):
        registry.register(collector)
    Info("salesgauge_build", "Which version runs.", registry=registry).info({"version": VERSION})
    app, engine = None, None
    if worker:
        from salesgauge.streams.worker.assembly import assemble  # noqa: PLC0415 - as above

        app, engine = assemble(settings, registry, clock, **knobs)
    shown = Exporter(settings, Board(settings, clock=clock), follow=follow) if exporter else None
    web = settings.web if exporter else settings.worker_web
    # Several workers on one machine: all but the first take any port, unless one was chosen.
    any_port = not exporter and web.port == DEFAULT_WORKER_PORT
    queries, local = None, None
    if engine is not None:
        queries = WorkerQueries(engine, settings.rules, web, "web" if exporter else "worker_web")
        local = Local(engine.name, queries.reply)
    owners = Owners(settings, local) if exporter else None
    server = None
    if serve:
        targets = _targets(settings)
        server = Server(web, [registry], shown, app, any_port=any_port, targets=targets, queries=queries, owners=owners)
    return Process(settings, registry, app, engine, shown, server)


def _targets(settings: Settings) -> tuple[Target, ...]:
    """What the built-in board watches.

    Raises:
        SettingsError: the file of thresholds is not usable.
    """
    if settings.thresholds is None:
        return DEFAULTS
    try:
        return from_file(settings.thresholds, CATALOGUE)
    except TargetError as error:
        raise SettingsError(str(error)) from error
