"""Raw records to events: a consumer per source, exact after crashes.

The order that keeps everything: read a batch; derive its events; write the events and what is remembered of objects;
wait for all acknowledgements; commit the offsets. After a crash a batch is read again: its events have the same ids,
and what is remembered is a set of observations, to which adding them again changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from salesgauge.schemas.codec import encode
from salesgauge.schemas.sources.envelopes import Raw, open_envelope
from salesgauge.schemas.sources.live import Derived, Deriver
from salesgauge.schemas.sources.objects import Ignored, ObjectState, RawRecord, Unusable
from salesgauge.streams.ingest.raw import producer
from salesgauge.streams.ingest.registry import RegistryClient, RegistryUnavailableError
from salesgauge.streams.kafka.connection import BrokerError
from salesgauge.streams.kafka.fast_client import fast_arguments
from salesgauge.streams.kafka.whole_topic import read_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from salesgauge.schemas.sources.source import Source
    from salesgauge.streams.ingest.metrics import IngestMetrics
    from salesgauge.streams.ingest.polling.poller import Poller
    from salesgauge.streams.settings.model import Settings

_log = logging.getLogger("salesgauge.ingest")
_BATCH = 1000
_POLL_MS = 250
_RETRY_SECONDS = 2.0
_CLOCK_SKEW_MS = 5 * 60_000
_PLAUSIBLE_MS = 946_684_800_000
"""The year 2000: a record's timestamp before it was written in another unit."""
_LOGGED = 5
_GONE = (KafkaError, BrokerError, RegistryUnavailableError, TimeoutError)
"""What passes: the batch is read again."""


class _Assigned(ConsumerRebalanceListener):
    """Notes that partitions came or went: then what is remembered must be read anew."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Partitions went to another process."""
        if revoked:
            self.changed.set()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Partitions came."""
        if assigned:
            self.changed.set()


class Mapper:
    """Derives the events of one source, for as long as it runs.

    Args:
        settings: where Kafka is.
        source: whose records.
        metrics: what is counted.
        poller: of the source, if it has one; it polls while this mapper has the source's partition.
        since: read everything that is kept anew and publish what arrived from this instant on (ms); None goes on
            where the last run stopped.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        metrics: IngestMetrics,
        *,
        poller: Poller | None = None,
        since: int | None = None,
    ) -> None:
        self._settings = settings
        self._source = source
        self._metrics = metrics
        self._poller = poller
        self._since = since
        self._anew = since is not None
        self._raw = settings.raw_topic(source.name)
        self._memory_topic = settings.memory_topic(source.name)
        self._topics = [self._raw, *(source.topics.names if source.topics else ())]
        registry = source.topics.registry if source.topics else None
        self._registry = RegistryClient(registry) if registry else None
        self._deriver: Deriver | None = None
        self._logged = 0
        self.caught_up = asyncio.Event()
        """Set while everything that had arrived is mapped."""

    async def run(self) -> None:
        """Run until cancelled; goes on by itself when Kafka or the registry come back."""
        while True:
            try:
                await self._session()
            except _GONE as error:
                _log.warning("%s: interrupted, starting again: %s", self._source.name, error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _session(self) -> None:
        """From joining the group until something fails."""
        settings = self._settings
        assigned = _Assigned()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka.bootstrap,
            client_id="salesgauge-ingest",
            group_id=f"{settings.app_id}-ingest-{self._source.name}",
            **fast_arguments(settings.kafka),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=int(settings.kafka.session_seconds * 1000),
            heartbeat_interval_ms=int(settings.kafka.session_seconds * 1000 / 4),
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        consumer.subscribe(self._topics, listener=assigned)
        writer = producer(settings.kafka, timeout=settings.kafka.produce_seconds)
        try:
            await consumer.start()
            await writer.start()
            while True:
                if assigned.changed.is_set():
                    assigned.changed.clear()
                    await self._take_over(consumer)
                batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
                if assigned.changed.is_set():
                    continue  # the positions were set anew, or belong to another process
                if batches:
                    await self._step(batches, writer)
                    await consumer.commit({tp: records[-1].offset + 1 for tp, records in batches.items()})
                await self._show_lag(consumer, idle=not batches)
        finally:
            self._lead(None)
            for client in (consumer, writer):
                with contextlib.suppress(*_GONE):
                    await asyncio.wait_for(client.stop(), _RETRY_SECONDS)

    async def _take_over(self, consumer: AIOKafkaConsumer) -> None:
        """Learn what is remembered; begin with the oldest record where everything is to be read anew."""
        memory = await asyncio.to_thread(self._remembered)
        partitions = consumer.assignment()
        if self._anew and partitions:
            self._anew = False
            await consumer.seek_to_beginning(*partitions)
            memory = await self._earlier(consumer, memory)
        if self._deriver is not None:
            self._deriver.close()
        self._deriver = await asyncio.to_thread(Deriver, self._source, memory)
        _log.info("%s: %d objects remembered", self._source.name, len(memory))
        self._lead(consumer)

    def _lead(self, consumer: AIOKafkaConsumer | None) -> None:
        """Let the poller work if this process has the raw topic's partition."""
        if self._poller is None:
            return
        if consumer is not None and any(partition.topic == self._raw for partition in consumer.assignment()):
            self._poller.leading.set()
        else:
            self._poller.leading.clear()

    async def _earlier(self, consumer: AIOKafkaConsumer, memory: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """What is remembered of the time before the oldest record that is kept."""
        begins = await consumer.beginning_offsets(list(consumer.assignment()))
        if not any(begins.values()):
            return {}
        found = await consumer.offsets_for_times(dict.fromkeys(begins, 0))
        return _before(memory, min((one.timestamp for one in found.values() if one), default=0))

    def _remembered(self) -> dict[bytes, bytes]:
        memory: dict[bytes, bytes] = {}
        for record in read_topic(self._settings.kafka, self._memory_topic):
            if record.value is None:
                memory.pop(record.key, None)
            else:
                memory[record.key] = record.value
        return memory

    async def _step(self, batches: Mapping[Any, Sequence[Any]], writer: Any) -> None:
        """Map a batch and write what it comes to, acknowledged."""
        assert self._deriver is not None
        records, unread, published_from = [], [], 0
        for fetched in batches.values():
            for one in fetched:
                opened = await asyncio.to_thread(self._open, one) if self._registry else self._open(one)
                if isinstance(opened, RawRecord):
                    records.append(opened)
                    if self._poller is not None and opened.headers.get("via") == "hook":
                        self._poller.notice(opened.value)
                else:
                    unread.append(opened)
        if self._since is not None:
            published_from = self._since
        early = [record for record in records if record.at < published_from]
        current = [record for record in records if record.at >= published_from]
        for some, publish in ((early, False), (current, True)):
            if some:
                derived = await asyncio.to_thread(self._derive, some)
                await self._write(derived, writer, publish=publish)
                self._count(derived, some, published=publish)
        self._count_unread(unread)

    def _derive(self, records: Sequence[RawRecord]) -> Derived:
        """The events of records. One on which our own code fails is told of, and costs no other and not the process."""
        assert self._deriver is not None
        try:
            return self._deriver.derive(records)
        except Exception as error:  # noqa: BLE001 - whatever it is, the records after it must not wait
            if len(records) == 1:
                _log.exception("%s: a record could not be read; it is in %s", self._source.name, self._raw)
                return Derived(unusable=[Unusable("failed", f"{type(error).__name__}: {error}"[:500])])
        whole = Derived()
        for record in records:
            whole.add(self._derive([record]))
        return whole

    def _open(self, record: Any) -> RawRecord | Ignored | Unusable:
        """A record of a topic without its envelope; a raw one came by a hook or a poll, as JSON."""
        headers = {name: value for name, value in record.headers if value is not None}
        at = _plausible(record.timestamp, time.time_ns() // 1_000_000)
        raw = Raw(record.value, record.key, headers, record.topic, at)
        topics = self._source.topics
        envelope = "json" if topics is None or record.topic == self._raw else topics.envelope
        return open_envelope(raw, envelope, self._registry)

    async def _write(self, derived: Derived, writer: Any, *, publish: bool) -> None:
        pending = []
        messages = [(event.topic, event.key.encode(), encode(event)) for event in derived.events if publish]
        for topic, key, value in (*messages, *((self._memory_topic, *item) for item in derived.memory.items())):
            pending.append(await writer.send(topic, value, key=key))
        if pending:
            await asyncio.gather(*pending)

    # --- what is said about it

    def _count(self, derived: Derived, records: Sequence[RawRecord], *, published: bool) -> None:
        name = self._source.name
        self._metrics.mapped(name, len(records))
        self._metrics.found(name, derived.found)
        if published:
            for event in derived.events:
                filled = event.model_fields_set - _ENVELOPE
                self._metrics.event(name, event.name, frozenset(filled))
        for kind, count in derived.ignored.items():
            self._metrics.ignored(name, kind, count)
        for rejected in derived.rejected:
            self._metrics.unmapped(name, rejected.reason)
            self._log_once("%s: %s: %s %s: %s", name, rejected.event, rejected.reason, rejected.detail, rejected.row)
        self._count_unread(derived.unusable)
        if derived.last_source_time is not None:
            self._metrics.source_lag(name, max(0.0, records[-1].at / 1000 - derived.last_source_time / 1000))

    def _count_unread(self, unread: Iterable[Ignored | Unusable]) -> None:
        for one in unread:
            if isinstance(one, Ignored):
                self._metrics.ignored(self._source.name, one.kind)
            else:
                self._metrics.unmapped(self._source.name, one.reason)
                self._log_once("%s: %s: %s", self._source.name, one.reason, one.detail)

    def _log_once(self, text: str, *details: object) -> None:
        """The first few of a run; the metric counts all."""
        self._logged += 1
        if self._logged <= _LOGGED:
            _log.warning(text, *details)

    async def _show_lag(self, consumer: AIOKafkaConsumer, *, idle: bool) -> None:
        behind = 0
        for partition in consumer.assignment():
            end = consumer.highwater(partition)
            if end is not None:
                behind += max(0, end - await consumer.position(partition))
        self._metrics.lag(self._source.name, behind)
        if idle and self._deriver is not None:
            self.caught_up.set()
        else:
            self.caught_up.clear()


_ENVELOPE = frozenset({"event", "event_id", "occurred_at", "recorded_at", "schema_version", "source_system"})


def _plausible(timestamp: int | None, now: int) -> int:
    """A record's time of arrival; a timestamp in another unit, or beyond our clock, is worth no more than the clock."""
    if timestamp is None or not _PLAUSIBLE_MS <= timestamp <= now + _CLOCK_SKEW_MS:
        return now
    return timestamp


def _before(memory: Mapping[bytes, bytes], instant: int) -> dict[bytes, bytes]:
    """What was known of the objects before an instant: what raw records tell of is learnt from them again."""
    found = {}
    for key, data in memory.items():
        state = ObjectState.decode(data).until(instant)
        if any(True for _ in state.names()):
            found[key] = state.encode()
    return found
