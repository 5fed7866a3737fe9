"""The entity table's changelog: read as a whole at recovery, written in acknowledged batches."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from salesgauge.streams.worker.errors import ProduceError
from salesgauge.streams.worker.processor import Headers, Processor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MARK = b"\x00mark"
"""The key of records that only say: so far."""
_CHUNK = 20_000
_POLL_MS = 250

Item = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers of a record to write."""


async def mark(writer: Writer, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Write a mark to the changelogs of some partitions; returns where they lie.

    A mark is an end that can be trusted: brokers report one that is too low now and then, but what comes before an
    acknowledged record is there.
    """
    wanted = sorted(partitions)
    offsets = await asyncio.gather(*(writer.write(topic, partition, [(MARK, b"", ())]) for partition in wanted))
    return dict(zip(wanted, offsets, strict=True))


async def read_changelog(topic: str, ends: Mapping[int, int], processor: Processor, connection: dict[str, Any]) -> int:
    """Feed the changelogs of some partitions to the processor, each up to an offset; returns how many records came."""
    remaining = dict(ends)
    consumer = AIOKafkaConsumer(
        **connection,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=16 * 1024 * 1024,
        fetch_max_wait_ms=_POLL_MS,
        check_crcs=False,
    )
    await consumer.start()
    total = 0
    try:
        wanted = [TopicPartition(topic, partition) for partition in sorted(remaining)]
        consumer.assign(wanted)
        await consumer.seek_to_beginning(*wanted)
        while remaining:
            for tp, records in (await consumer.getmany(timeout_ms=_POLL_MS, max_records=_CHUNK)).items():
                processor.restore(tp.partition, [(r.key, r.value) for r in records if r.key != MARK])
                total += len(records)
                if records and records[-1].offset >= remaining.get(tp.partition, 0):
                    remaining.pop(tp.partition, None)
            await asyncio.sleep(0)
    finally:
        await consumer.stop()
    return total


class Writer:
    """Writes records in batches and waits until all replicas have them, as long as it takes.

    Args:
        producer: gives the running producer of the app.
    """

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._begun: dict[object, float] = {}
        """When (monotonic) each write began that is not acknowledged yet."""

    @property
    def unanswered(self) -> float:
        """Seconds for which the oldest write has been waiting for its acknowledgement."""
        return time.monotonic() - min(self._begun.values(), default=time.monotonic())

    async def write(self, topic: str, partition: int, items: Iterable[Item]) -> int:
        """Write records to one partition, in order; returns an offset that lies not before the first of the last batch.

        Raises:
            ProduceError: the brokers refuse some.
        """
        pending = await self.send(topic, partition, items)
        await self.acknowledged(pending)
        return int(pending[-1].result().offset) if pending else -1

    async def send(self, topic: str, partition: int, items: Iterable[Item]) -> list[asyncio.Future[Any]]:
        """Hand records to the producer, in order; await :meth:`acknowledged` on the result.

        Raises:
            ProduceError: the producer does not take them.
        """
        producer: AIOKafkaProducer = self._producer()
        with self._waiting():
            try:
                return [await _send(producer, batch, topic, partition) for batch in _packed(producer, items)]
            except Exception as error:
                raise ProduceError(_unacknowledged(f"{topic}[{partition}]: {error!r}")) from error

    async def acknowledged(self, pending: Sequence[asyncio.Future[Any]]) -> None:
        """Wait for acknowledgements.

        Raises:
            ProduceError: the brokers refuse a record.
        """
        with self._waiting():
            results = await asyncio.gather(*pending, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise ProduceError(_unacknowledged(repr(result))) from result

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        token = object()
        self._begun[token] = time.monotonic()
        try:
            yield
        finally:
            del self._begun[token]


async def _send(producer: AIOKafkaProducer, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
    while True:
        try:
            sent: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
        except KafkaTimeoutError:  # the batch before it still waits for the brokers
            continue
        return sent


def _packed(producer: AIOKafkaProducer, items: Iterable[Item]) -> Iterator[Any]:
    """Records in as few batches as the producer's batch size allows."""
    batch = producer.create_batch()
    for key, value, headers in items:
        while batch.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
            if not batch.record_count():
                raise ValueError(f"a record of {len(value or b'')} bytes is larger than the limit of a batch")
            yield batch
            batch = producer.create_batch()
    if batch.record_count():
        yield batch


def _unacknowledged(why: str) -> str:
    return (
        f"Kafka did not acknowledge a write ({why}); nothing that depends on it was committed. "
        "Check the brokers and start the worker again: it continues from there"
    )
