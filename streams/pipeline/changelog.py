"""The entity table's changelog: read as a whole at recovery, written in acknowledged batches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.pipeline.processor import Headers, Processor

_CHUNK = 20_000
_QUIET_MS = 250
"""The end is believed when nothing more came for so long: some brokers report too low an end."""

Item = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers of a record to write."""


class ProduceError(Exception):
    """Records were not acknowledged; the worker must not go on."""


async def read_changelog(topic: str, partitions: Iterable[int], processor: Processor, connection: dict[str, Any]) -> int:
    """Feed the changelog of some partitions to the processor; returns how many records there were."""
    wanted = [TopicPartition(topic, partition) for partition in sorted(partitions)]
    consumer = AIOKafkaConsumer(
        **connection,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=16 * 1024 * 1024,
        fetch_max_wait_ms=_QUIET_MS,
        check_crcs=False,
    )
    await consumer.start()
    total = 0
    try:
        consumer.assign(wanted)
        await consumer.seek_to_beginning(*wanted)
        ends = await consumer.end_offsets(wanted)
        while True:
            chunks = await consumer.getmany(*wanted, timeout_ms=_QUIET_MS, max_records=_CHUNK)
            for tp, records in chunks.items():
                processor.restore(tp.partition, [(record.key, record.value) for record in records])
                total += len(records)
            await asyncio.sleep(0)
            if not any(chunks.values()) and await _at_end(consumer, wanted, ends):
                return total
    finally:
        await consumer.stop()


async def _at_end(consumer: AIOKafkaConsumer, partitions: list[TopicPartition], ends: dict[TopicPartition, int]) -> bool:
    for partition in partitions:
        position = await consumer.position(partition)
        if position < max(ends[partition], consumer.highwater(partition) or 0):
            return False
    return True


class Writer:
    """Writes records in batches and waits until all replicas have them.

    Args:
        producer: gives the running producer of the app.
        timeout: seconds after which unacknowledged records are an error.
    """

    def __init__(self, producer: Any, timeout: float = 60.0) -> None:
        self._producer = producer
        self._timeout = timeout

    async def write(self, topic: str, partition: int, items: Iterable[Item]) -> None:
        """Write records to one partition, in order.

        Raises:
            ProduceError: some were not acknowledged.
        """
        acknowledgements = await self.send(topic, partition, items)
        await self.acknowledged(acknowledgements)

    async def send(self, topic: str, partition: int, items: Iterable[Item]) -> list[asyncio.Future[Any]]:
        """Hand records to the producer, in order; await :meth:`acknowledged` on the result."""
        producer: AIOKafkaProducer = self._producer()
        pending: list[asyncio.Future[Any]] = []
        batch = producer.create_batch()
        try:
            for key, value, headers in items:
                if batch.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
                    pending.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    if batch.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
                        raise ProduceError(f"a record of {len(value or b'')} bytes is too large for {topic}")
            if batch.record_count():
                pending.append(await producer.send_batch(batch, topic, partition=partition))
        except ProduceError:
            raise
        except Exception as error:
            raise ProduceError(f"{topic}[{partition}] took nothing: {error!r}") from error
        return pending

    async def acknowledged(self, pending: Iterable[asyncio.Future[Any]]) -> None:
        """Wait for acknowledgements.

        Raises:
            ProduceError: one is missing.
        """
        try:
            await asyncio.wait_for(asyncio.gather(*pending), self._timeout)
        except Exception as error:
            raise ProduceError(f"records were not acknowledged: {error!r}; nothing was committed") from error
