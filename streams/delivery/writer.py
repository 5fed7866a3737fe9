"""Acknowledged produce: whole batches, all replicas, or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from streams.delivery.records import Headers, Send


class ProduceFailed(Exception):  # noqa: N818 - the name says what is the matter
    """Records could not be written. The offsets that depend on them are not committed."""


class Message(NamedTuple):
    """Key, value and headers of a record to write to a partition that is already chosen."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Writer:
    """Writes to Kafka and returns when all of it is acknowledged. Errors that may pass are retried by the client.

    Records of one call for one partition keep their order. Two calls for the same partition must follow each other.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self.written = 0
        self.errors = 0

    async def send(self, sends: Iterable[Send]) -> None:
        """Write records to the partitions that they name or that their keys choose.

        Raises:
            ProduceFailed: not all of them were acknowledged.
        """
        batches: dict[TopicPartition, list[Message]] = {}
        for send in sends:
            target = TopicPartition(send.topic, await self._partition(send))
            batches.setdefault(target, []).append(Message(send.key, send.value, send.headers))
        await self.write(batches)

    async def write(self, batches: Mapping[TopicPartition, Sequence[Message]]) -> dict[TopicPartition, int]:
        """Write records and return the offset of the last one of each partition.

        Raises:
            ProduceFailed: not all of them were acknowledged within the producer's request timeout.
        """
        pending: dict[TopicPartition, tuple[Any, int]] = {}
        try:
            for target, messages in batches.items():
                await self._require(target)
                for batch in self._packed(messages):
                    acknowledged = await self._producer.send_batch(batch, target.topic, partition=target.partition)
                    previous, _ = pending.get(target, (None, 0))
                    if previous is not None:
                        await previous
                    pending[target] = acknowledged, batch.record_count()
            return {target: (await ack).offset + count - 1 for target, (ack, count) in pending.items()}
        except (
            KafkaError,
            AssertionError,
            ValueError,
        ) as error:  # the client asserts that the partition exists
            self.errors += 1
            names = ", ".join(f"{target.topic}/{target.partition}" for target in batches)
            raise ProduceFailed(f"writing to {names} failed: {error!r}; check the broker and its logs") from error

    async def _require(self, target: TopicPartition) -> None:
        """The client would only assert it."""
        if target.partition not in await self._producer.partitions_for(target.topic):
            raise ValueError(f"{target.topic} has no partition {target.partition}")

    def _packed(self, messages: Sequence[Message]) -> Iterable[Any]:
        """The messages in as few batches as the producer's batch size allows."""
        batch = self._producer.create_batch()
        for key, value, headers in messages:
            while batch.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
                if not batch.record_count():
                    raise ValueError(f"a record of {len(value or b'')} bytes fits no batch")
                yield batch
                batch = self._producer.create_batch()
            self.written += 1
        if batch.record_count():
            yield batch

    async def _partition(self, send: Send) -> int:
        if send.partition is not None:
            return send.partition
        try:
            await self._producer.partitions_for(send.topic)
        except KafkaError as error:
            self.errors += 1
            raise ProduceFailed(f"topic {send.topic}: {error!r}; create it, or allow writing to it") from error
        return int(self._producer._partition(send.topic, None, None, None, send.key, None))  # noqa: SLF001
