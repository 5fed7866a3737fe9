"""A worker's parts, put together as the settings say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import faust
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from salesgauge.schemas.events import TOPICS
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.kafka.fast_client import fast_arguments
from salesgauge.streams.kafka.topics import changelog_topic
from salesgauge.streams.worker.app import Delivery, DeliveryApp
from salesgauge.streams.worker.shards import Worker, WorkerMetrics

if TYPE_CHECKING:
    from faust.types.auth import CredentialsT
    from prometheus_client import CollectorRegistry

    from salesgauge.streams.settings.model import Settings


def assemble(
    settings: Settings,
    registry: CollectorRegistry,
    clock: Callable[[], int] = wall_clock,
) -> tuple[DeliveryApp, Worker]:
    """The app that delivers records, and the worker that it drives; their metrics go to ``registry``."""
    worker = Worker(settings, clock, WorkerMetrics(registry))
    app = DeliveryApp(delivery(settings), worker)
    registry.register(_Delivered(app))
    return app, worker


def delivery(settings: Settings) -> Delivery:
    """How the settings want records delivered."""
    return Delivery(
        bootstrap=settings.kafka.bootstrap,
        application=settings.application,
        topics=TOPICS,
        rekey_topic=settings.rekey_topic,
        changelog_topic=changelog_topic(settings),
        windows_topic=settings.windows_topic,
        identity_topic=settings.identity_topic,
        partitions=settings.kafka.partitions,
        connection=fast_arguments(settings.kafka),
        credentials=_credentials(settings),
        batch=settings.batch,
        publish_every=settings.publish_every,
        session_seconds=settings.kafka.session_seconds,
        produce_seconds=settings.kafka.produce_seconds,
    )


def _credentials(settings: Settings) -> CredentialsT | None:
    """The same as Faust takes it."""
    given = fast_arguments(settings.kafka)
    context = given.get("ssl_context")
    if "sasl_mechanism" not in given:
        return faust.SSLCredentials(context) if context else None
    if provider := given.get("sasl_oauth_token_provider"):
        return faust.OAuthCredentials(oauth_cb=provider, ssl_context=context)
    return faust.SASLCredentials(
        username=given["sasl_plain_username"],
        password=given["sasl_plain_password"],
        mechanism=given["sasl_mechanism"],
        ssl_context=context,
    )


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
