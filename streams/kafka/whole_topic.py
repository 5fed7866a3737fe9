"""Reading a topic from its beginning to where it ends now, without a consumer group. For small topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka import TopicPartition

from salesgauge.streams.kafka.connection import BrokerError, consumer, explained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from salesgauge.streams.settings.model import Kafka

_POLL_MS = 250
_ATTEMPTS = 40


def read_topic(kafka: Kafka, topic: str, start: int = 0) -> Iterator[Any]:
    """The records of all partitions, each partition in order, from an offset on.

    Ends where the topic ended when the reading began, and not before a poll came back empty: some brokers
    report too low an end.

    Raises:
        BrokerError: the topic is missing, or the broker cannot be reached, refuses, or stops answering.
    """
    with consumer(kafka, max_poll_records=2000) as client, explained(kafka):
        if topic not in client.topics():
            raise BrokerError(f"topic {topic} is missing; run `salesgauge topics create`")
        partitions = [TopicPartition(topic, p) for p in sorted(client.partitions_for_topic(topic))]
        client.assign(partitions)
        ends = client.end_offsets(partitions)
        for partition, first in client.beginning_offsets(partitions).items():
            client.seek(partition, max(first, start))
        yield from _until_the_end(client, topic, partitions, ends)


def _until_the_end(client: Any, topic: str, partitions: list[TopicPartition], ends: dict[Any, int]) -> Iterator[Any]:
    idle = 0
    while idle < _ATTEMPTS:
        polled = client.poll(timeout_ms=_POLL_MS)
        for records in polled.values():
            yield from records
        if polled:
            idle = 0
        elif all(client.position(partition) >= ends[partition] for partition in partitions):
            return
        else:
            idle += 1
    raise BrokerError(f"topic {topic} cannot be read to its end; is a broker down?")
