"""The composition root: settings in, the running parts out. Nothing else in the project builds them."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from dataclasses import dataclass

import faust
from faust.types.auth import CredentialsT
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry, Info
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.schemas.events import TOPICS
from salesgauge.streams.io.memory import seldom_look_for_cycles
from salesgauge.streams.kafka.connection import BrokerError, admin
from salesgauge.streams.kafka.fast_client import Token, connection
from salesgauge.streams.kafka.topics import changelog_topic, wanted
from salesgauge.streams.serve.board import DEFAULTS, Threshold, ThresholdError, from_file
from salesgauge.streams.serve.exporter import Board, Exporter, milliseconds
from salesgauge.streams.serve.http import Server
from salesgauge.streams.settings.file import SettingsError
from salesgauge.streams.settings.model import DEFAULT_WORKER_PORT, Settings
from salesgauge.streams.version import VERSION
from salesgauge.streams.worker.app import Delivery, DeliveryApp
from salesgauge.streams.worker.shards import Worker, WorkerMetrics


class TopicsMissingError(BrokerError):
    """The topics are not there yet."""


def delivery(settings: Settings, *, unsafe_commit_before_ack: bool = False) -> Delivery:
    """How the settings want records delivered."""
    return Delivery(
        bootstrap=settings.kafka.bootstrap,
        application=settings.application,
        topics=TOPICS,
        rekey_topic=settings.rekey_topic,
        changelog_topic=changelog_topic(settings),
        windows_topic=settings.windows_topic,
        partitions=settings.kafka.partitions,
        connection=connection(settings.kafka),
        credentials=_credentials(settings),
        batch=settings.batch,
        publish_every=settings.publish_every,
        session_seconds=settings.kafka.session_seconds,
        produce_seconds=settings.kafka.produce_seconds,
        unsafe_commit_before_ack=unsafe_commit_before_ack,
    )


def _credentials(settings: Settings) -> CredentialsT | None:
    kafka = settings.kafka
    context: ssl.SSLContext | None = kafka.tls.client_context() if kafka.tls else None
    if kafka.sasl is None:
        return faust.SSLCredentials(context) if context else None
    if kafka.sasl.mechanism == "OAUTHBEARER":
        return faust.OAuthCredentials(oauth_cb=Token(kafka.sasl), ssl_context=context)
    assert kafka.sasl.password is not None
    return faust.SASLCredentials(
        username=kafka.sasl.username,
        password=kafka.sasl.password.get_secret_value(),
        mechanism=kafka.sasl.mechanism,
        ssl_context=context,
    )


def check_topics(settings: Settings) -> None:
    """Refuse to start without topics: Faust would ignore the missing ones for ever.

    Raises:
        TopicsMissingError: some are missing.
        BrokerError: the broker cannot be reached or refuses.
    """
    with admin(settings.kafka) as client:
        existing = set(client.list_topics())
    missing = [topic.name for topic in wanted(settings) if topic.name not in existing]
    if missing:
        raise TopicsMissingError(f"{len(missing)} topics are missing ({missing[0]} …); run `salesgauge topics create`")


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
            BrokerError: Kafka cannot be reached at the start, or topics are missing.
            ListenError: the address cannot be listened on.
            ProduceError: a write was not acknowledged; nothing of it was committed.
        """
        seldom_look_for_cycles()
        await asyncio.to_thread(check_topics, self.settings)
        if self.exporter is not None:
            await asyncio.to_thread(self.exporter.start)
        try:
            if self.server is not None:
                await self.server.start()
            if started is not None:
                started.set()
            await self._until_stopped()
        finally:
            if self.server is not None:
                await self.server.stop()
            if self.exporter is not None:
                await asyncio.to_thread(self.exporter.stop)

    async def _until_stopped(self) -> None:
        from salesgauge.streams.worker.app import run_app  # noqa: PLC0415 - keeps Faust out of the exporter's process

        if self.app is None:
            await asyncio.Event().wait()
        else:
            await run_app(self.app)


def process(
    settings: Settings, *, worker: bool, exporter: bool, serve: bool = True, follow: bool = False, **knobs: bool
) -> Process:
    """Build a process of these parts; ``follow`` lets the exporter change to another version that becomes active."""
    registry = CollectorRegistry()
    for collector in (GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR):
        registry.register(collector)
    Info("salesgauge_build", "Which version runs.", registry=registry).info({"version": VERSION})
    engine = Worker(settings, milliseconds, WorkerMetrics(registry)) if worker else None
    app = DeliveryApp(delivery(settings, **knobs), engine) if engine else None
    if app is not None:
        registry.register(_Delivered(app))
    shown = Exporter(settings, Board(settings), follow=follow) if exporter else None
    web = settings.web if exporter else settings.worker_web
    # Several workers on one machine: all but the first take any port, unless one was chosen.
    any_port = not exporter and web.port == DEFAULT_WORKER_PORT
    server = Server(web, [registry], shown, app, any_port=any_port, targets=_targets(settings)) if serve else None
    return Process(settings, registry, app, engine, shown, server)


def _targets(settings: Settings) -> tuple[Threshold, ...]:
    """What the built-in board watches.

    Raises:
        SettingsError: the file of thresholds is not usable.
    """
    if settings.thresholds is None:
        return DEFAULTS
    try:
        return from_file(settings.thresholds, CATALOGUE)
    except ThresholdError as error:
        raise SettingsError(str(error)) from error


class _Delivered(Collector):
    """What the delivery path says about itself."""

    def __init__(self, app: DeliveryApp) -> None:
        self._app = app

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        status = self._app.status
        lag = GaugeMetricFamily("salesgauge_lag_records", "Records not processed yet.", labels=["partition"])
        for partition, behind in status.lag.items():
            lag.add_metric([partition], behind)
        return [
            lag,
            GaugeMetricFamily("salesgauge_assigned_partitions", "Partitions owned.", len(status.owned)),
            GaugeMetricFamily("salesgauge_recovering", "Whether state is recovered.", float(bool(status.recovering))),
        ]


class _Sparse(logging.Filter):
    """Lets a library say the same thing only now and then: with a broker away they repeat it many times a second."""

    def __init__(self, every: float = 30.0) -> None:
        super().__init__()
        self._every = every
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("salesgauge"):
            return True
        what = record.name, str(record.msg)
        now = time.monotonic()
        if now - self._said.get(what, -self._every) < self._every:
            return False
        self._said[what] = now
        return True


def quiet_logs(level: int = logging.WARNING) -> None:
    """Only warnings of the libraries; they log much that is normal."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Sparse())
    for name in ("faust", "aiokafka", "mode", "asyncio"):
        logging.getLogger(name).setLevel(max(level, logging.ERROR))
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what fails there is raised, and told by us
