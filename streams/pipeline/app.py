"""The Faust app: one agent over all event topics and the re-key topic, the entity table, the publication.

The order that keeps everything: apply a chunk; write the changed states, the forwards and the dead letters; wait for
all acknowledgements; then let go of the chunk, so that its offset may be committed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.types import TP
from faust.types.auth import CredentialsT

from streams.pipeline.changelog import ProduceError, Writer, read_changelog
from streams.pipeline.processor import Processor, Record
from streams.pipeline.transport import TESTED_VERSIONS, ChunkConsumer, ChunkSchema, ChunkTransport

_log = logging.getLogger("salesgauge.delivery")
_SESSION_SECONDS = 6.0


class UntestedFaustError(Exception):
    """This version of Faust was never tested with the subclasses that deliver batches."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How records are delivered.

    ``connection`` are the arguments of aiokafka clients, ``credentials`` the same for Faust. ``partitions`` is the number
    of partitions of the re-key topic, the changelog and the windows topic: partition p of each belongs to shard p.
    ``unsafe_commit_before_ack`` exists for tests that show that the order matters.
    """

    bootstrap: str
    application: str
    topics: Sequence[str]
    rekey_topic: str
    changelog_topic: str
    windows_topic: str
    partitions: int
    connection: dict[str, Any] = field(default_factory=dict)
    credentials: CredentialsT | None = None
    batch: bool = True
    publish_every: float = 0.1
    max_message_bytes: int = 8 * 1024 * 1024
    unsafe_commit_before_ack: bool = False


@dataclass(slots=True)
class Status:
    """Where the delivery stands. ``owned`` are the partitions whose state is whole and which are being processed."""

    owned: frozenset[int] = frozenset()
    recovering: frozenset[int] = frozenset()
    restored: int = 0
    records: int = 0
    lag: dict[str, int] = field(default_factory=dict)
    failure: str = ""


class _Boot(faust.App.BootStrategy):  # type: ignore[name-defined, misc]
    enable_web = False
    enable_sensors = False


class DeliveryApp(faust.App):
    """A Faust app that drives a :class:`Processor`."""

    BootStrategy = _Boot

    def __init__(self, delivery: Delivery, processor: Processor) -> None:
        if delivery.batch and faust.__version__ not in TESTED_VERSIONS:
            raise UntestedFaustError(
                f"Faust {faust.__version__} was not tested with the batch delivery (tested: {', '.join(TESTED_VERSIONS)});"
                " install a tested one or set batch: false"
            )
        self.delivery = delivery
        self.processor = processor
        self.status = Status()
        self._whole = asyncio.Condition()
        self._generation = -1
        self._recovery: asyncio.Task[None] | None = None
        credentials = {"broker_credentials": delivery.credentials} if delivery.credentials else {}
        super().__init__(
            delivery.application,
            broker=f"kafka://{delivery.bootstrap.replace(',', ';kafka://')}",
            autodiscover=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            broker_session_timeout=_SESSION_SECONDS,
            broker_heartbeat_interval=_SESSION_SECONDS / 3,
            broker_commit_interval=0.5,
            broker_max_poll_records=4000,
            stream_buffer_maxsize=16,
            stream_wait_empty=False,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=delivery.max_message_bytes,
            producer_acks=-1,
            producer_max_batch_size=512 * 1024,
            producer_max_request_size=delivery.max_message_bytes,
            producer_linger=0.002,
            web_enabled=False,
            cython_optimizations=True,
            **credentials,
        )
        self.writer = Writer(lambda: self.producer._ensure_producer())  # noqa: SLF001 - part of the tested contract
        self._declare()

    def _new_transport(self) -> Any:
        if not self.delivery.batch:
            return super()._new_transport()
        return ChunkTransport(self.conf.broker_consumer, self)

    def _declare(self) -> None:
        names = [*self.delivery.topics, self.delivery.rekey_topic]
        if self.delivery.batch:
            source = self.topic(*names, schema=ChunkSchema())
        else:
            source = self.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        self.agent(source, name="events")(self._consume)
        self.task()(self._publish)

    # --- Assignment and recovery -------------------------------------------------------------------------------------

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Faust's own handling, then the recovery of the shards that are new here.

        What is kept over a rebalance must not have been elsewhere in between: a generation missed means that it may
        have been, and then all is recovered anew.
        """
        shards = frozenset(tp.partition for tp in assigned if tp.topic == self.delivery.rekey_topic)
        missed = generation_id != self._generation + 1
        self._generation = generation_id
        kept = frozenset() if missed else self.status.owned & shards
        await self._stop_recovery()
        self._give_up((self.status.owned | self.status.recovering) - kept)
        self.status.owned, self.status.recovering = kept, shards - kept
        self._recovery = asyncio.ensure_future(self._recover(shards - kept))
        await super()._on_partitions_assigned(assigned, generation_id)

    def _give_up(self, shards: frozenset[int]) -> None:
        if shards:
            self.processor.revoked(shards)

    async def _stop_recovery(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
            self._recovery = None

    async def _recover(self, shards: frozenset[int]) -> None:
        try:
            if shards:
                connection = {"bootstrap_servers": self.delivery.bootstrap, **self.delivery.connection}
                topic = self.delivery.changelog_topic
                self.status.restored = await read_changelog(topic, shards, self.processor, connection)
            async with self._whole:
                self.status.owned |= shards
                self.status.recovering = frozenset()
                self.processor.assigned(self.status.owned)
                self._whole.notify_all()
        except Exception as error:  # noqa: BLE001 - whatever it is, a worker without its state must not go on
            await self._fail(f"the state could not be recovered: {error!r}", error)

    async def _fail(self, why: str, error: BaseException) -> None:
        self.status.failure = why
        _log.error(why)
        await self.crash(error)

    # --- The agent ---------------------------------------------------------------------------------------------------

    async def _consume(self, stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            records = _records(message)
            try:
                await self._process(message, records)
            except Exception as error:  # noqa: BLE001 - Faust would let go of the chunk and carry on
                await self._fail(f"processing stopped: {error}", error)
                await asyncio.Event().wait()

    async def _process(self, message: Any, records: list[Record]) -> None:
        consumer = self.consumer
        async with self._whole:
            await self._whole.wait_for(lambda: not self.status.recovering)
        if isinstance(consumer, ChunkConsumer) and not consumer.follows(message):
            return
        partition = message.tp.partition
        output = self.processor.apply(partition, records)
        if self.delivery.unsafe_commit_before_ack:
            self._let_go(message)
            await consumer.commit()
        writes = []
        if output.state:
            items = [(key, value, ()) for key, value in output.state.items()]
            writes.append(self.writer.write(self.delivery.changelog_topic, partition, items))
        by_target: dict[tuple[str, int], list[Any]] = {}
        for send in output.sends:
            by_target.setdefault((send.topic, send.partition or 0), []).append((send.key, send.value, send.headers))
        writes += [self.writer.write(topic, target, items) for (topic, target), items in by_target.items()]
        if writes:
            await asyncio.gather(*writes)
        self._let_go(message)
        self.status.records += len(records)

    def _let_go(self, message: Any) -> None:
        if isinstance(self.consumer, ChunkConsumer):
            self.consumer.mark_done(message)

    # --- Publication -------------------------------------------------------------------------------------------------

    async def _publish(self) -> None:
        while not self.should_stop:
            began = time.monotonic()
            try:
                for partition in sorted(self.status.owned):
                    await self._publish_partition(partition)
            except ProduceError as error:
                await self._fail(f"publishing stopped: {error}", error)
                return
            self._note_lag()
            # Under load publications come less often and hold more: they take at most a fifth of the time.
            spent = time.monotonic() - began
            await self.sleep(0 if self.processor.building() else max(self.delivery.publish_every, 4 * spent))

    async def _publish_partition(self, partition: int) -> None:
        for publication in self.processor.due(partition):
            headers = (("owner", publication.owner.encode()),)
            items = [(key, value, headers) for key, value in publication.records]
            await self.writer.write(self.delivery.windows_topic, publication.partition, items)
        await asyncio.sleep(0)

    def _note_lag(self) -> None:
        consumer = self.consumer
        if isinstance(consumer, ChunkConsumer):
            lag: dict[str, int] = {}
            for tp in consumer.assignment():
                end = consumer.highwater(tp)
                done = consumer.done(tp)
                if end is not None and done is not None:
                    lag[str(tp.partition)] = lag.get(str(tp.partition), 0) + max(0, end - done)
            self.status.lag = lag


def _records(message: Any) -> list[Record]:
    if not isinstance(message.value, list | tuple):
        timestamp = int((message.timestamp or 0) * 1000)
        return [Record(message.topic, message.partition, message.offset, timestamp, message.key, message.value)]
    return [Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value) for r in message.value]


async def run_app(app: DeliveryApp) -> None:
    """Run until cancelled or crashed.

    Raises:
        KafkaError: the broker could not be reached at the start.
        ProduceError: a write was not acknowledged.
    """
    app.finalize()
    try:
        await app.start()
        await app.wait_until_stopped()
    finally:
        await app.stop()
    if app.status.failure:
        raise ProduceError(app.status.failure)


__all__ = ["Delivery", "DeliveryApp", "KafkaError", "Status", "UntestedFaustError", "run_app"]
