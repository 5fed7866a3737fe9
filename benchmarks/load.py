"""The load: a simulated organisation's events, the settings of a benchmark, and publishing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from schemas.codec import encode
from streams.publish import Publisher
from streams.settings import Kafka, Settings
from streams.simulate import Organisation, history
from streams.topics import create

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import EventBase

PEER_TOPIC = "bench.events"
APP = "bench"
END = datetime(2026, 3, 1, tzinfo=UTC)


def events(days: int, leads_per_day: float = 80) -> list[EventBase]:
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
