"""The brokers that figures are taken with: embedded, and Apache Kafka where `tools/fetch.sh kafka` has brought it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks.load import PEER_TOPIC
from salesgauge.streams.kafka.embedded import EmbeddedBroker
from tests.support.kafka import ApacheKafka, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator


def available() -> list[str]:
    return ["embedded", *([] if why_not() else ["Apache Kafka"])]


@contextmanager
def broker(name: str) -> Iterator[str]:
    """A fresh broker; gives its address."""
    with EmbeddedBroker() if name == "embedded" else ApacheKafka() as running:
        yield running.bootstrap


def make_peer_topic(bootstrap: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(PEER_TOPIC, 1, 1)])
    admin.close()
