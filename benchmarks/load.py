"""The load: a simulated organisation's events, the settings of a benchmark, and publishing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from salesgauge.schemas.codec import encode
from salesgauge.streams.kafka.publisher import Publisher
from salesgauge.streams.kafka.topics import create
from salesgauge.streams.settings.model import Kafka, Settings
from salesgauge.streams.simulation.history import Organisation, history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.schemas.events import EventBase

PEER_TOPIC = "bench.events"
APP = "bench"
END = datetime(2026, 3, 1, tzinfo=UTC)


LEADS_PER_DAY = 80


def events(days: int, leads_per_day: float = LEADS_PER_DAY) -> list[EventBase]:
    """The history of some days up to :data:`END`."""
    return list(history(Organisation(leads_per_day=leads_per_day), END - timedelta(days=days), END))


def settings_for(bootstrap: str, partitions: int) -> Settings:
    return Settings(app_id=f"{APP}-{partitions}", kafka=Kafka(bootstrap=bootstrap, partitions=partitions))


def publish(settings: Settings, batch: Sequence[EventBase]) -> None:
    """Publish to the event topics, which are made if need be."""
    create(settings)
    with Publisher(settings.kafka) as publisher:
        for event in batch:
            publisher.send(event)


def publish_for_peers(settings: Settings, batch: Sequence[EventBase]) -> None:
    """The same events in one topic with one partition."""
    with Publisher(settings.kafka) as publisher:
        for event in batch:
            publisher.send_raw(PEER_TOPIC, event.key, encode(event))
