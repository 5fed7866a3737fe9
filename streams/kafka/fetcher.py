"""Reads partitions from given offsets on, as fast as Python can: aiokafka's consumer, driven step by step."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from salesgauge.streams.kafka.connection import failure, unreachable
from salesgauge.streams.kafka.fast_client import fast_arguments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from salesgauge.streams.settings.model import Kafka

_PARTITION_BYTES = 4 * 1024 * 1024
_WAIT_MS = 100
"""How long a broker waits for what does not come, before it answers with nothing."""


class Fetcher:
    """A consumer without a group, in the partitions that it is given; made by :func:`fetcher`.

    Any method raises aiokafka's errors.
    """

    def __init__(self, kafka: Kafka, runner: asyncio.Runner) -> None:
        self._run = runner.run
        self._consumer = self._run(_started(kafka))

    def close(self) -> None:
        """Close the connections."""
        self._run(self._consumer.stop())

    def read(self, places: Mapping[Any, int]) -> None:
        """Read these partitions from these offsets on."""

        async def assign() -> None:
            self._consumer.assign([TopicPartition(*partition) for partition in places])
            for partition, offset in places.items():
                self._consumer.seek(TopicPartition(*partition), offset)

        self._run(assign())

    def only(self, partitions: Collection[Any]) -> None:
        """Hand out what these partitions have, and nothing of the others."""

        async def choose() -> None:
            paused = self._consumer.paused()
            self._consumer.resume(*(partition for partition in paused if partition in partitions))
            others = self._consumer.assignment() - paused
            self._consumer.pause(*(partition for partition in others if partition not in partitions))

        self._run(choose())

    def poll(self, timeout_ms: int, most: int) -> Mapping[Any, list[Any]]:
        """The next records, by partition; none where none came in time."""
        return dict(self._run(self._consumer.getmany(timeout_ms=timeout_ms, max_records=most)))

    def position(self, partition: Any) -> int:
        """The offset that comes next."""
        return int(self._run(self._consumer.position(partition)))

    def highwater(self, partition: Any) -> int:
        """The end of what can be read of a partition as its last answer knew it; 0 where there was none."""
        stable = self._consumer.last_stable_offset(partition)  # -1 or None of brokers that do not tell
        end = self._consumer.highwater(partition) if stable is None or stable < 0 else stable
        return end or 0


async def _started(kafka: Kafka) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        **fast_arguments(kafka),
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",  # what was deleted meanwhile shows as a gap
        max_partition_fetch_bytes=_PARTITION_BYTES,
        fetch_max_wait_ms=_WAIT_MS,
        # Checksums in Python take half of the time; librdkafka does not check by default either.
        check_crcs=False,
    )
    try:
        await consumer.start()
    except BaseException:
        await consumer.stop()
        raise
    return consumer


@contextmanager
def fetcher(kafka: Kafka) -> Iterator[Fetcher]:
    """A fetcher for the time of the block.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its errors are raised, and shown by us
    try:
        with asyncio.Runner() as runner:
            client = Fetcher(kafka, runner)
            try:
                yield client
            finally:
                client.close()
    except KafkaConnectionError as error:
        raise unreachable(kafka) from error
    except KafkaError as error:
        raise failure(kafka, error) from error
