"""Reading topics to where they end now, without a consumer group: a small one whole, of others what came last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka import TopicPartition

from salesgauge.streams.kafka.connection import BrokerError, consumer, explained

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
        yield from _until_the_end(client, f"topic {topic}", partitions, ends)


def read_latest(kafka: Kafka, topics: Iterable[str], most: int) -> Iterator[Any]:
    """The last records of each partition, at most ``most``; of topics that there are.

    Raises:
        BrokerError: the broker cannot be reached, refuses, or stops answering.
    """
    with consumer(kafka, max_poll_records=2000) as client, explained(kafka):
        there = client.topics()
        partitions = [
            TopicPartition(topic, p) for topic in topics if topic in there for p in client.partitions_for_topic(topic)
        ]
        if not partitions:
            return
        client.assign(partitions)
        ends, firsts = client.end_offsets(partitions), client.beginning_offsets(partitions)
        for partition, end in ends.items():
            client.seek(partition, max(firsts[partition], end - most))
        yield from _until_the_end(client, "a topic of events", partitions, ends)


def _until_the_end(client: Any, what: str, partitions: list[TopicPartition], ends: dict[Any, int]) -> Iterator[Any]:
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
    raise BrokerError(f"{what} cannot be read to its end; is a broker down?")
