"""The control topic: which version of the state is the active one.

It holds one record per switch under one key, so that compaction keeps the last. Workers and exporters that
were started without a version of their own take the active one; a running exporter follows it (`exporter`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from kafka import TopicPartition
from kafka.errors import KafkaError
from pydantic import ValidationError

from salesgauge.metrics.rules.model import Rules
from salesgauge.streams.kafka.connection import BrokerError, consumer
from salesgauge.streams.kafka.publisher import Publisher
from salesgauge.streams.kafka.whole_topic import read_topic

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping

    from salesgauge.streams.settings.model import Settings

_KEY = b"active"
_POLL_MS = 500
_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Active:
    """The active version, the rules and the partitions it was computed with, and since when (ms)."""

    version: int
    rules: Rules
    partitions: int
    since: int

    def applied_to(self, settings: Settings) -> Settings:
        """Settings for this version."""
        kafka = settings.kafka.model_copy(update={"partitions": self.partitions})
        return settings.model_copy(update={"version": self.version, "rules": self.rules, "kafka": kafka})


def explicit(settings: Settings) -> bool:
    """Whether the settings name a version of their own, by flag, variable or file."""
    return "version" in settings.model_fields_set


def read(settings: Settings) -> Active | None:
    """The active version; None where nobody ever switched.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    with consumer(settings.kafka) as client:
        if settings.control_topic not in client.topics():
            return None
    return _latest(list(read_topic(settings.kafka, settings.control_topic)))


def resolved(settings: Settings) -> Settings:
    """The settings with the active version, unless they name one. The rules stay those of the settings.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    active = None if explicit(settings) else read(settings)
    return settings if active is None else settings.model_copy(update={"version": active.version})


def activate(settings: Settings) -> None:
    """Make the version of the settings the active one, acknowledged.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    record = {
        "active": settings.version,
        "rules": settings.rules.model_dump(mode="json"),
        "partitions": settings.kafka.partitions,
        "since": time.time_ns() // 1_000_000,
    }
    with Publisher(settings.kafka) as publisher:
        publisher.send_raw(settings.control_topic, _KEY, msgspec.json.encode(record))


def watch(settings: Settings, stop: threading.Event) -> Iterator[Active | None]:
    """The active version whenever it may have changed, and None every moment, until stopped. Never raises."""
    while not stop.is_set():
        try:
            with consumer(settings.kafka) as client:
                yield from _watch(client, settings.control_topic, stop)
        except (BrokerError, KafkaError):
            yield None
        stop.wait(_RETRY_SECONDS)


def _watch(client: Any, topic: str, stop: threading.Event) -> Iterator[Active | None]:
    if topic not in client.topics():
        yield None
        return
    partition = TopicPartition(topic, 0)
    client.assign([partition])
    client.seek_to_beginning(partition)
    end = client.end_offsets([partition])[partition]
    latest = None
    while not stop.is_set():
        latest = _latest(client.poll(timeout_ms=_POLL_MS).get(partition, [])) or latest
        if client.position(partition) >= end:
            yield latest
            latest = None


def _latest(records: list[Any]) -> Active | None:
    found = None
    for record in records:
        found = _parse(record.value) or found
    return found


def _parse(value: bytes | None) -> Active | None:
    """The record, or None where it is none of ours: a stray record must not stop the gauges."""
    try:
        document: Mapping[str, Any] = msgspec.json.decode(value or b"")
        return Active(
            version=int(document["active"]),
            rules=Rules.model_validate(document["rules"]),
            partitions=int(document["partitions"]),
            since=int(document["since"]),
        )
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, ValidationError):
        return None
