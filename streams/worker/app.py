"""The Faust app: one agent over all event topics and the re-key topic, the entity table, the publication.

The order that keeps everything: apply a chunk; write the changed states, the forwards and the dead letters; wait for
all acknowledgements; then let go of the chunk, so that its offset may be committed. What is published of a partition
is acknowledged state too, so the next owner can show no less.

The order of a takeover: learn the committed offsets; claim the partitions towards the exporters; read the changelog
up to a mark written after that; go on. Whatever was committed or shown by an earlier owner lies before the mark.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import faust
from aiokafka.errors import KafkaError
from faust.tables import TableManager

from salesgauge.streams.worker.changelog import Writer, mark, read_changelog
from salesgauge.streams.worker.errors import ProduceError, UntestedFaustError
from salesgauge.streams.worker.identity_log import IdentityLog
from salesgauge.streams.worker.processor import Output, Processor, Publication, Record
from salesgauge.streams.worker.transport import (
    TESTED_VERSIONS,
    ChunkConsumer,
    ChunkSchema,
    ChunkTransport,
    PlainTransport,
    RecordRun,
    is_member,
    unconfirmed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust.types import TP
    from faust.types.auth import CredentialsT

_log = logging.getLogger("salesgauge.delivery")
_GATE_SECONDS = 0.01
_BACKLOG = 20_000
"""Records behind, from which on catching up goes before showing."""
_SETTLE_SECONDS = 30.0
_POSITION_SECONDS = 60.0
"""How long after an assignment Kafka may take to tell the committed offsets."""
_STOP_SECONDS = 10.0
_LEAVE_SECONDS = 60.0
_PAUSE_SECONDS = 2.0
_HEARTBEAT_SECONDS = 2.0
_SILENT_SECONDS = 7.0
"""How long brokers may leave heartbeats or writes unanswered before the worker is not ready."""
_AGAIN_SECONDS = 2.0
_METADATA_MS = 10_000
"""New partitions are noticed within this time."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How records are delivered.

    ``connection`` are the arguments of aiokafka clients, ``credentials`` the same for Faust. ``partitions`` is the
    number of partitions of the re-key topic, the changelog and the windows topic: partition p of each is shard p's.
    A worker that was not heard of for ``session_seconds`` loses its partitions; a write that is not acknowledged
    within ``produce_seconds`` is sent again. ``unsafe_commit_before_ack`` exists for tests that show that the order
    matters.
    """

    bootstrap: str
    application: str
    topics: Sequence[str]
    rekey_topic: str
    changelog_topic: str
    windows_topic: str
    identity_topic: str
    partitions: int
    connection: dict[str, Any] = field(default_factory=dict, repr=False)
    credentials: CredentialsT | None = field(default=None, repr=False)
    batch: bool = True
    publish_every: float = 0.1
    session_seconds: float = 6.0
    produce_seconds: float = 30.0
    max_message_bytes: int = 8 * 1024 * 1024
    unsafe_commit_before_ack: bool = False


@dataclass(slots=True)
class DeliveryStatus:
    """Where the delivery stands. ``owned`` are the partitions whose state is whole and which are being processed."""

    joined: bool = False
    rebalancing: bool = False
    owned: frozenset[int] = frozenset()
    recovering: frozenset[int] = frozenset()
    generation: int = -1
    restored: int = 0
    records: int = 0
    lag: dict[str, int] = field(default_factory=dict)
    failure: str = ""

    @property
    def waiting_for(self) -> str:
        """Why the worker does not do its full share yet; empty if it does."""
        if not self.joined:
            return "joining the consumer group"
        if self.rebalancing:
            return "a rebalance of the consumer group is under way"
        return f"recovering the state of {len(self.recovering)} partitions" if self.recovering else ""


class _Tables(TableManager):
    """Faust's, without the second that it waits for tables to be declared: there are none."""

    async def on_start(self) -> None:
        """Start what follows the group's assignments."""
        await self._update_channels()
        await self.recovery.start()


class _Boot(faust.App.BootStrategy):
    enable_web = False
    enable_sensors = False


class DeliveryApp(faust.App):
    """A Faust app that drives a :class:`Processor`."""

    BootStrategy = _Boot

    def __init__(self, delivery: Delivery, processor: Processor) -> None:
        if delivery.batch and faust.__version__ not in TESTED_VERSIONS:
            raise UntestedFaustError(
                f"Faust {faust.__version__} was not tested with the batch delivery (tested: "
                f"{', '.join(TESTED_VERSIONS)}); install a tested one or set batch: false"
            )
        self.delivery = delivery
        self.processor = processor
        self.status = DeliveryStatus()
        self.failed = asyncio.Event()
        self._whole = asyncio.Condition()
        self._steps: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held by a partition's step from its application until it is acknowledged."""
        self._publishing = asyncio.Lock()
        self._recovery: asyncio.Task[None] | None = None
        self._identities = IdentityLog(
            delivery.identity_topic, {"bootstrap_servers": delivery.bootstrap, **delivery.connection}
        )
        credentials = {"broker_credentials": delivery.credentials} if delivery.credentials else {}
        super().__init__(
            delivery.application,
            broker=f"kafka://{delivery.bootstrap.replace(',', ';kafka://')}",
            autodiscover=False,
            TableManager=_Tables,
            topic_disable_leader=True,
            topic_allow_declare=False,
            broker_session_timeout=delivery.session_seconds,
            broker_heartbeat_interval=min(delivery.session_seconds / 4, _HEARTBEAT_SECONDS),
            broker_commit_interval=0.5,
            broker_max_poll_records=4000,
            stream_buffer_maxsize=2,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=delivery.max_message_bytes,
            consumer_metadata_max_age_ms=_METADATA_MS,
            producer_acks=-1,
            producer_max_batch_size=512 * 1024,
            producer_max_request_size=delivery.max_message_bytes,
            producer_linger=0.002,
            producer_request_timeout=delivery.produce_seconds,
            web_enabled=False,
            cython_optimizations=True,
            **credentials,
        )
        self.writer = Writer(
            self.producer._ensure_producer,  # noqa: SLF001 - part of the tested contract
        )
        self._declare()

    def _new_transport(self) -> Any:
        transport = ChunkTransport if self.delivery.batch else PlainTransport
        return transport(self.conf.broker_consumer, self)

    def _new_consumer(self) -> Any:
        consumer = super()._new_consumer()
        if isinstance(consumer, ChunkConsumer):
            consumer.takes = lambda partition: partition not in self.status.recovering
        return consumer

    def _create_directories(self) -> None:
        """There is no state on disk."""

    def _declare(self) -> None:
        names = [*self.delivery.topics, self.delivery.rekey_topic]
        if self.delivery.batch:
            source = self.topic(*names, schema=ChunkSchema())
        else:
            source = self.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        self.agent(source, name="events")(self._consume)
        self.task()(self._publish)
        self.task()(self._identities.follow)

    # --- Assignment and recovery -------------------------------------------------------------------------------------

    def on_rebalance_start(self) -> None:
        """Records stop."""
        self.status.rebalancing = True
        super().on_rebalance_start()

    def on_rebalance_end(self) -> None:
        """Records flow again."""
        super().on_rebalance_end()
        self.status.rebalancing = False

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Faust's own handling, and the recovery of the shards that are new here.

        What is kept over a rebalance must not have been elsewhere in between: a generation missed means that it may
        have been, and then all is recovered anew.
        """
        status = self.status
        shards = frozenset(tp.partition for tp in assigned if tp.topic == self.delivery.rekey_topic)
        kept = status.owned & shards if generation_id == status.generation + 1 else frozenset[int]()
        await self._stop_recovery()
        self._give_up((status.owned | status.recovering) - kept)
        status.owned, status.recovering = kept, shards - kept
        status.generation, status.joined = generation_id, True
        self._recovery = asyncio.ensure_future(self._recover(shards - kept, generation_id))
        await super()._on_partitions_assigned(assigned, generation_id)

    @property
    def waiting_for(self) -> str:
        """Why the worker does not do its full share now; empty if it does."""
        if not self.status.joined or self.status.rebalancing:
            return self.status.waiting_for
        silent = max(self.writer.unanswered, unconfirmed(self.consumer))
        if silent > _SILENT_SECONDS:
            return f"Kafka has not answered for {silent:.0f} s; waiting for it"
        return self.status.waiting_for

    def _give_up(self, shards: frozenset[int]) -> None:
        if shards:
            self.processor.revoked(shards)

    async def _stop_recovery(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
            self._recovery = None

    async def _recover(self, shards: frozenset[int], generation: int) -> None:
        try:
            if not await self._positioned():
                waited = f"{_POSITION_SECONDS:.0f} s"
                self._fail(f"Kafka did not return the committed offsets within {waited} after a rebalance")
                return
            if shards:
                await self._restore(shards, generation)
            async with self._whole:
                self.status.owned |= shards
                self.status.recovering = frozenset()
                self.processor.assigned(self.status.owned)
                self._whole.notify_all()
        except Exception as error:  # noqa: BLE001 - whatever it is, a worker without its state must not go on
            self._fail(f"the state could not be recovered: {error}")

    async def _positioned(self) -> bool:
        """Whether the committed offsets became known in time. Faust gives up on them in silence and stands still.

        The time in which the brokers answer nothing does not count: they are waited for, and the group begins anew.
        """
        end = time.monotonic() + _POSITION_SECONDS
        while self.rebalancing:
            await asyncio.sleep(_GATE_SECONDS)
            if unconfirmed(self.consumer) > _SILENT_SECONDS:
                end = time.monotonic() + _POSITION_SECONDS
            elif time.monotonic() > end:
                return False
        return True

    async def _restore(self, shards: frozenset[int], generation: int) -> None:
        await asyncio.gather(*(self._write_publication(self.processor.taken(shard, generation)) for shard in shards))
        topic = self.delivery.changelog_topic
        ends = await mark(self.writer, topic, shards)
        self.status.restored = await self._read_changelog(topic, ends)
        for shard in shards:
            async with self._steps[shard]:
                await self._learn(shard)

    async def _read_changelog(self, topic: str, ends: dict[int, int]) -> int:
        connection = {"bootstrap_servers": self.delivery.bootstrap, **self.delivery.connection}
        while True:
            try:
                return await read_changelog(topic, ends, self.processor, connection)
            except KafkaError as error:  # what was read is read again: it is the same
                _log.warning("the changelog cannot be read now, trying again: %r", error)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def settle(self) -> None:
        """Wait until what has begun is written. What takes too long is left: it is repeated after the rebalance."""
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                for step in [*self._steps.values(), self._publishing]:
                    async with step:
                        pass
        except TimeoutError:
            _log.warning("writes are not acknowledged after %.0f s; the rebalance goes on", _SETTLE_SECONDS)

    def _fail(self, why: str) -> None:
        """End the worker. What its libraries say from here on are consequences."""
        self.status.failure = self.status.failure or why
        for name in ("aiokafka", "asyncio", "faust", "mode"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.failed.set()

    async def on_stop(self) -> None:
        """Finish what has begun, so that it can be committed."""
        if isinstance(self._consumer, ChunkConsumer):
            self._consumer.halt()
        if not self.status.failure:
            await self.settle()
        await self._stop_recovery()
        await super().on_stop()

    # --- The agent ---------------------------------------------------------------------------------------------------

    async def _consume(self, stream: Any) -> None:
        async for event in stream.events():
            try:
                await self._process(event.message)
            except Exception as error:  # noqa: BLE001 - Faust would let go of the chunk and carry on
                self._fail(f"processing stopped at {_place(event.message)}: {error}")
                await asyncio.Event().wait()  # until the worker is stopped

    async def _process(self, message: Any) -> None:
        partition = message.tp.partition
        async with self._whole:
            await self._whole.wait_for(lambda: partition not in self.status.recovering)
        async with self._steps[partition]:
            parts, records = self._begin(message)
            if not records:
                return
            await self._learn(partition, records)
            output = self.processor.apply(partition, records)
            if self.delivery.unsafe_commit_before_ack:
                self._let_go(parts)
                await self.consumer.commit()
            await self._write(partition, output)
        self._let_go(parts)
        self.status.records += len(records)

    async def _learn(self, partition: int, records: Sequence[Record] = ()) -> None:
        """Have a partition know the identity log as far as it was read, and as far as the senders of records had."""
        known, wanted = self.processor.position(partition, records)
        await self._identities.reached(wanted)
        position = self._identities.position
        if position > known:
            await self._write(partition, self.processor.learn(partition, self._identities.since(known), position))

    async def _write(self, partition: int, output: Output) -> None:
        """Write what a step led to, and wait until all of it is acknowledged."""
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

    def _begin(self, message: Any) -> tuple[list[RecordRun], list[Record]]:
        """What of a message is to be processed now."""
        if not isinstance(self.consumer, ChunkConsumer):
            timestamp = int((message.timestamp or 0) * 1000)
            one = Record(message.topic, message.partition, message.offset, timestamp, message.key, message.value)
            return [], [one]
        parts = self.consumer.begin(message)
        return parts, [record for part in parts for record in part.records]

    def _let_go(self, parts: list[RecordRun]) -> None:
        if isinstance(self.consumer, ChunkConsumer):
            self.consumer.mark_done(parts)

    # --- Publication -------------------------------------------------------------------------------------------------

    async def _publish(self) -> None:
        while not self.should_stop:
            spent = 0.0
            try:
                for partition in sorted(self.status.owned):
                    spent += await self._publish_partition(partition)
            except Exception as error:  # noqa: BLE001 - whatever it is, a worker that does not publish must not go on
                self._fail(f"publishing stopped: {error}")
                return
            self._note_lag()
            await self.sleep(0 if self.processor.building() else max(self.delivery.publish_every, self._rest(spent)))

    def _rest(self, spent: float) -> float:
        """Seconds until the next publication, after one that took ``spent``.

        Under load publications come less often and hold more; in a backlog, where nobody needs them to be fresh, they
        take at most a fifth of the time. One that took very long was held up by a broker.
        """
        rest = 4 * spent if sum(self.status.lag.values()) > _BACKLOG else spent
        return min(rest, _PAUSE_SECONDS)

    async def _publish_partition(self, partition: int) -> float:
        """Publish what is due; the seconds it took, without the wait for the partition's present step."""
        async with self._publishing:
            async with self._steps[partition]:  # what is shown must be in the changelog
                began = time.monotonic()
                if self._may_publish(partition):
                    await self._learn(partition)
                publication = self._due(partition)
            if publication is not None:
                await self._write_publication(publication)
        await asyncio.sleep(0)
        return time.monotonic() - began

    def _due(self, partition: int) -> Publication | None:
        return self.processor.due(partition) if self._may_publish(partition) else None

    def _may_publish(self, partition: int) -> bool:
        return partition in self.status.owned and is_member(self.consumer, self.delivery.session_seconds)

    async def _write_publication(self, publication: Publication) -> None:
        headers = (("owner", publication.owner.encode()),)
        items = [(key, value, headers) for key, value in publication.records]
        await self.writer.write(self.delivery.windows_topic, publication.partition, items)

    def _note_lag(self) -> None:
        if isinstance(self.consumer, ChunkConsumer) and not self.rebalancing:
            lag: dict[str, int] = {}
            for tp, behind in self.consumer.lag().items():
                lag[str(tp.partition)] = lag.get(str(tp.partition), 0) + behind
            self.status.lag = lag


def _place(message: Any) -> str:
    """Which records a message holds, so that a crash loop names what causes it."""
    parts: Sequence[RecordRun] = getattr(message.value, "parts", ())
    spans = [f"{p.tp.topic}[{p.tp.partition}] {p.records[0].offset} to {p.records[-1].offset}" for p in parts]
    return ", ".join(spans) or f"{message.topic}[{message.partition}] {message.offset}"


async def run_app(app: DeliveryApp) -> None:
    """Run until cancelled or crashed.

    Raises:
        ProduceError: a write was not acknowledged, or the connection to Kafka broke for good.
    """
    app.finalize()
    try:
        await app.start()
        await app.wait(app.failed.wait())
    finally:
        await _stop(app)
    if app.status.failure or app.crash_reason is not None:
        raise ProduceError(app.status.failure or f"the connection to Kafka broke: {app.crash_reason!r}")


async def _stop(app: DeliveryApp) -> None:
    """Stop; where the worker has failed, or the brokers do not answer, that is not waited for."""
    hopeless = bool(app.status.failure or app.crash_reason) or app.writer.unanswered > _SILENT_SECONDS
    try:
        await asyncio.wait_for(app.stop(), _STOP_SECONDS / 5 if hopeless else _LEAVE_SECONDS)
    except TimeoutError:
        _log.warning("closed the connection without leaving the consumer group; the broker waits for the session's end")
