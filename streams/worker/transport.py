"""Subclasses of Faust's transport: one message per fetched chunk of a shard, and offsets that are surely done.

Stock Faust makes an asyncio task, a message and an event of every record, which bounds it at some ten thousand records
a second. Here the message's value is a chunk: what was fetched of one partition of all topics. Faust keeps what it is
good at: the group, the assignment, flow control, the agent and the commits.

What keeps it exact is the *epoch* of a partition. It ends when the partition is revoked and when its position is set,
which Faust does after each rebalance. A part of a chunk carries the epoch in which it was fetched; one of an epoch that
is over is dropped wherever it is, because its records will be fetched again, here or elsewhere. In an epoch no part is
ever dropped, so what is done is without gaps and may be committed.

Transactions are read committed. Their marks, and what was aborted, take offsets that no record is handed out for: what
is done is therefore the client's position after the records, and where nothing is under way it follows the position.

In a backlog the topics of a shard are read at one pace by the records' timestamps, so that what belongs to one entity
comes together and in order. The result does not depend on it, the speed does.

The subclasses rely on internals of the versions of Faust and aiokafka named in :data:`TESTED_VERSIONS` and
:data:`TESTED_CLIENTS`; a contract test watches them.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import faust
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.threads import WorkerThread

from salesgauge.streams.worker.assignor import ShardAssignor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from faust.types.tuples import ConsumerMessage

TESTED_VERSIONS = ("0.15.3",)
TESTED_CLIENTS = ("0.14.0",)
_log = logging.getLogger("salesgauge.delivery")
_GATE_SECONDS = 0.01
_POLL_SECONDS = 0.2
"""How long a fetch may hold back a seek."""
_FETCH_WAIT_MS = 50
"""How long the broker may hold an empty fetch; the embedded one looks for new records only every half of it. A new
position counts from the next fetch on."""
_PART_RECORDS = 4000
"""Records of a topic in a chunk, at most."""
_AHEAD_MS = 300_000
"""A timestamp further ahead of the clock is in another unit, or of a clock that is wrong: it says nothing."""
_THREAD_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_CONFIRMED = 0.9
"""Share of the session timeout for which the group's word holds that this worker is a member."""


class RecordRun(NamedTuple):
    """Consecutive records of a partition of a topic, at least one, and the epoch in which they were fetched.

    ``next`` is the offset from which on the partition is read after them.
    """

    tp: TP
    records: Sequence[Any]
    epoch: int
    next: int

    def cut(self, count: int) -> tuple[RecordRun, RecordRun]:
        """The first ``count`` records, and the rest; neither may be empty."""
        first = self._replace(records=self.records[:count], next=self.records[count - 1].offset + 1)
        return first, self._replace(records=self.records[count:])


class Fetched(NamedTuple):
    """Records, and the offsets from which on their partitions, and those without records, are read next."""

    records: Mapping[TP, Sequence[Any]]
    positions: Mapping[TP, int]


class Chunk(NamedTuple):
    """What was fetched of one partition of all topics."""

    parts: Sequence[RecordRun]


def _timestamp(record: Any, latest: int) -> int:
    """When the record was written (ms), 0 where its timestamp cannot be: records of Kafka before 0.10 have none."""
    stamp = int(record.timestamp or 0)
    return stamp if stamp <= latest else 0


class ChunkSchema(faust.Schema):
    """Hands the chunk through as it is."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """There is no key of a chunk."""
        del app, message, loads, serializer

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The chunk."""
        del app, loads, serializer
        return message.value


class _Thread(WorkerThread):
    """A thread that does not keep the program alive when its client waits for a broker that does not answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True

    def stop(self) -> None:
        """Wait for its end, not for ever."""
        self.is_stopped.wait(_THREAD_SECONDS)


async def _started(start: Callable[[], Awaitable[None]], client: Callable[[], Any], ended: Callable[[], bool]) -> None:
    """Start one of aiokafka's clients. A broker that has gone away since the worker found it is waited for."""
    while True:
        try:
            return await start()
        except KafkaError as error:
            if not error.retriable or ended():
                raise
            _log.warning("Kafka does not answer (%r); trying again", error)
            with contextlib.suppress(Exception):  # it never was connected
                await client().stop()
        await asyncio.sleep(_AGAIN_SECONDS)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The client's thread. It fetches at shorter intervals and knows when the group last confirmed the worker."""

    Worker = _Thread
    confirmed_at = 0.0
    """When (monotonic) the last request was sent that the coordinator answered as to a member."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no settings for these.
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS  # noqa: SLF001
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._partition_assignment_strategy = [ShardAssignor(self.app.delivery.rekey_topic)]  # noqa: SLF001
        return consumer

    async def on_start(self) -> None:
        """Start the client, as soon as a broker answers, and listen to the answers to its heartbeats."""
        await _started(super().on_start, lambda: self._consumer, lambda: self.should_stop)
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001
        beat = coordinator._do_heartbeat  # noqa: SLF001

        async def heard() -> bool:
            sent_at = time.monotonic()
            accepted: bool = await beat()
            if accepted:
                self.confirmed_at = sent_at
            return accepted

        coordinator._do_heartbeat = heard  # noqa: SLF001

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """The group has just answered."""
        self.confirmed_at = time.monotonic()
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the committed offsets, or to the beginning where there are none; returns those that there are.

        Stock Faust asks for one partition after another, and leaves a partition without an offset where it stands.
        """
        return dict(await self.call_thread(self._seek_to_committed))

    def highwater(self, tp: TP) -> int | None:
        """The end of what can be read; records of a transaction that is open are not there yet."""
        consumer = self._ensure_consumer()
        stable: int | None = consumer.last_stable_offset(tp)  # -1 or None of brokers that do not tell
        end: int | None = consumer.highwater(tp)
        return end if stable is None or stable < 0 else stable

    async def fetch(self, places: set[TP], limit: int, seconds: float) -> Fetched:
        """Records of the places, at most ``limit`` of each; waits so many seconds for the first ones."""
        fetched: Fetched = await self.call_thread(self._fetch, places, limit, seconds)
        return fetched

    async def _fetch(self, places: set[TP], limit: int, seconds: float) -> Fetched:
        consumer, left = self._ensure_consumer(), set(places)
        found: dict[TP, Sequence[Any]] = {}
        positions: dict[TP, int] = {}
        while left:  # an empty set would mean all places
            some = await self._fetch_records(consumer, left, timeout=seconds, max_records=limit)
            if not some:
                break
            found |= {TP(place.topic, place.partition): records for place, records in some.items() if records}
            positions |= self._known_positions(consumer, some)
            left -= some.keys()
            seconds = 0
        return Fetched(found, positions | dict(self._known_positions(consumer, left)))

    @staticmethod
    def _known_positions(consumer: Any, places: Iterable[Any]) -> Iterator[tuple[TP, int]]:
        """Without those that are not known yet, for which the client's own method would wait."""
        subscription = consumer._subscription.subscription  # noqa: SLF001
        if subscription is None or subscription.assignment is None:
            return
        for place in places:
            state = subscription.assignment.state_value(place)
            if state is not None and state.has_valid_position:
                yield TP(place.topic, place.partition), state.position

    async def _seek_to_committed(self) -> Mapping[TP, int]:
        consumer = self._ensure_consumer()
        places = consumer.assignment()
        known = await consumer._coordinator.fetch_committed_offsets(list(places))  # noqa: SLF001
        for place, committed in known.items():
            consumer.seek(place, committed.offset)
        fresh = [place for place in places if place not in known]
        if fresh:
            await consumer.seek_to_beginning(*fresh)
        return {TP(place.topic, place.partition): committed.offset for place, committed in known.items()}


class ChunkConsumer(driver.Consumer):
    """Delivers chunks and commits what is done."""

    takes: Callable[[int], bool] = staticmethod(lambda _: True)
    """Whether records of a partition can be processed now; those of others are not fetched."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._epochs: Counter[TP] = Counter()
        self._done: dict[TP, int] = {}
        """Per partition the offset from which on records are not done, in this epoch."""
        self._fetched: dict[TP, int] = {}
        """Per partition the offset from which on records are not fetched, in this epoch, where any are."""
        self._committed: dict[TP, int] = {}
        """The same, as the broker knows it."""
        self._held: dict[TP, RecordRun] = {}
        """Records that are fetched but not handed over, because those of other topics come before them."""
        self._positions = asyncio.Lock()
        """Held while positions move: by a fetch, or by a seek."""
        self._halted = False
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # --- fetching

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                for message in await self._fetch():
                    await self._hand_over(message, fetcher)
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _fetch(self) -> list[ConsumerMessage]:
        wanted = {tp for tp in self._get_active_partitions() if self.takes(tp.partition)}
        if not (self.flow_active and wanted):
            await asyncio.sleep(_GATE_SECONDS)
            return []
        async with self._positions:
            self._drop_stale()
            epochs = self._epochs.copy()
            seconds = 0 if self._held else _POLL_SECONDS
            fetched = await self._thread.fetch(wanted - self._held.keys(), _PART_RECORDS, seconds)
        # A rebalance may have begun, and ended, while the client waited.
        positions = {tp: offset for tp, offset in fetched.positions.items() if epochs[tp] == self._epochs[tp]}
        gaps = self._gaps(fetched.records, positions)
        self._hold(
            RecordRun(tp, fetched.records[tp], epochs[tp], positions[tp]) for tp in fetched.records if tp in positions
        )
        self._pass_over(positions)
        await self._tell_of_loss(gaps)
        self._drop_stale()
        shards: dict[int, list[RecordRun]] = {}
        for tp in self._held.keys() & wanted:
            shards.setdefault(tp.partition, []).append(self._held.pop(tp))
        return [self._chunk_message(self._earliest(parts)) for parts in shards.values()]

    def _gaps(self, records: Mapping[TP, Sequence[Any]], positions: Mapping[TP, int]) -> dict[TP, int]:
        """Where the partitions go on that did not go on where they should have."""
        gaps = {}
        for tp, position in positions.items():
            expected = self._fetched.get(tp, self._done.get(tp))
            found = records[tp][0].offset if tp in records else position
            if expected is not None and found > expected:
                gaps[tp] = expected
        return gaps

    def _hold(self, parts: Iterable[RecordRun]) -> None:
        for part in parts:
            self._held[part.tp] = part
            self._fetched[part.tp] = part.next

    def _pass_over(self, positions: Mapping[TP, int]) -> None:
        """Where all that was fetched is done, what lies before the position is done as well: no record is there."""
        for tp, position in positions.items():
            done = self._done.get(tp)
            if self._fetched.get(tp, done) == done and position > (done or 0):
                self._done[tp] = position

    async def _tell_of_loss(self, gaps: Mapping[TP, int]) -> None:
        """Warn of records that the broker no longer has; other gaps are left by transactions."""
        if not gaps:
            return
        with contextlib.suppress(KafkaError):
            for place, begin in (await self._thread.earliest_offsets(*gaps)).items():
                tp = TP(place.topic, place.partition)
                if begin > gaps[tp]:
                    text = "%s[%d]: records %d to %d are gone: deleted by retention or by hand"
                    _log.warning(text, tp.topic, tp.partition, gaps[tp], begin - 1)

    def _drop_stale(self) -> None:
        self._held = {tp: part for tp, part in self._held.items() if part.epoch == self._epochs[tp]}

    def _earliest(self, parts: Sequence[RecordRun]) -> list[RecordRun]:
        """The records up to the time that all topics with more to come have reached; the others are held."""
        latest = time.time_ns() // 1_000_000 + _AHEAD_MS
        reached = [_timestamp(part.records[-1], latest) for part in parts if self._has_more(part)]
        if not reached:
            return list(parts)
        horizon, first = min(reached), []
        for part in parts:
            if _timestamp(part.records[-1], latest) <= horizon:
                first.append(part)
            elif count := bisect.bisect_right(part.records, horizon, key=lambda record: _timestamp(record, latest)):
                now, self._held[part.tp] = part.cut(count)
                first.append(now)
            else:
                self._held[part.tp] = part
        return first

    def _has_more(self, part: RecordRun) -> bool:
        end = self.highwater(part.tp)
        return end is not None and part.next < end

    def _chunk_message(self, parts: Sequence[RecordRun]) -> ConsumerMessage:
        message = self._to_message(parts[0].tp, parts[0].records[-1])
        message.key = None
        message.value = Chunk(parts)
        return message

    async def _hand_over(self, message: ConsumerMessage, fetcher: Any) -> None:
        """Give a chunk to the agent. The end of a rebalance empties the agent's queue, so it is waited for."""
        while self.app.rebalancing or self.app.in_recovery:
            if fetcher.should_stop or not self._current(message):
                return
            await asyncio.sleep(_GATE_SECONDS)
        if self._current(message):
            await self.wait_first(self.callback(message), self.suspend_flow.wait())

    def _current(self, message: ConsumerMessage) -> list[RecordRun]:
        return [part for part in message.value.parts if self._epochs[part.tp] == part.epoch]

    def on_buffer_full(self, tp: TP) -> None:
        """A full queue holds back :meth:`_hand_over`, and with it the next fetch: that is enough."""

    def on_buffer_drop(self, tp: TP) -> None:
        """See :meth:`on_buffer_full`."""

    # --- positions

    async def perform_seek(self) -> None:
        """Go back to the committed offsets, as Faust does after each rebalance: new epochs begin."""
        async with self._positions:
            self._end_epochs(self.assignment())
            await super().perform_seek()
            known = {tp: offset for tp, offset in self._committed_offset.items() if offset is not None}
            self._done, self._committed = dict(known), known
            self._fetched.clear()
            self._halted = False

    def _end_epochs(self, tps: Iterable[TP]) -> None:
        for tp in tps:
            self._epochs[tp] += 1
            self._done.pop(tp, None)
            self._fetched.pop(tp, None)

    # --- offsets

    def begin(self, message: ConsumerMessage) -> list[RecordRun]:
        """The parts of a chunk to process; the records of the others will come again, here or elsewhere."""
        return [] if self._halted else self._current(message)

    def mark_done(self, parts: Iterable[RecordRun]) -> None:
        """All that these parts led to is acknowledged: their offsets may be committed."""
        for part in parts:
            if self._epochs[part.tp] == part.epoch:
                self._done[part.tp] = part.next

    def ack(self, message: ConsumerMessage) -> bool:
        """Faust's own acknowledgement says that the agent asked for the next message; it decides nothing here."""
        self._unacked_messages.discard(message)
        message.acked = True
        return True

    async def commit_all(self) -> None:
        """Commit everything that is done by now."""
        if self._pending():
            await self.commit()
        if self._pending():  # another commit was under way, and ours joined it
            await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish what has begun and commit it before the group moves on; the rest will be repeated."""
        self.halt()
        await self.app.settle()
        await self.commit_all()
        self._end_epochs(revoked)
        await super().on_partitions_revoked(revoked)

    def halt(self) -> None:
        """Begin nothing more, until the positions are set anew."""
        self._halted = True

    def lag(self) -> dict[TP, int]:
        """Records between what is done and the end, where the end is known."""
        return {
            tp: max(0, end - done)
            for tp, done in list(self._done.items())
            if tp in self._active_partitions and (end := self.highwater(tp)) is not None
        }

    def _pending(self) -> list[TP]:
        return [tp for tp, offset in self._done.items() if self._committed.get(tp) != offset]

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self._pending() if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self._done.get(tp)

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return self._committed.get(tp) != offset  # lower ones too: the topic may have been made anew

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        committed = bool(await super()._commit(offsets))
        if committed:
            self._committed.update(offsets)
        return committed

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's watchdog looks at acknowledgements, which do not decide here; lag and freshness are exported."""


class PlainConsumer(driver.Consumer):
    """Faust's own delivery, one message per record, with the thread above."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Producer(driver.Producer):
    """Faust's producer, idempotent where the broker can do it: no retry puts an old state behind a new one.

    It tries as long as it takes: a broker that is away comes back, and what depends on a write waits for it.
    """

    _idempotent = True

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        producer = super()._new_producer(transactional_id)
        producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001 - there is no setting for it
        return producer

    def _settings_extra(self) -> Mapping[str, Any]:
        return {**super()._settings_extra(), "enable_idempotence": self._idempotent}

    async def on_start(self) -> None:
        """Start, without idempotence if the broker refuses it."""
        sender = logging.getLogger("aiokafka.producer.sender")
        sender.disabled = True  # it calls the refusal an error
        try:
            await self._start()
        except KafkaError as error:
            _log.info("the broker does not support idempotent producers: %r", error)
            with contextlib.suppress(KafkaError):
                await self._ensure_producer().stop()
            self._idempotent = False
            await self._start()
        finally:
            sender.disabled = False

    async def _start(self) -> None:
        await _started(super().on_start, lambda: self._producer, lambda: self.should_stop)


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with :class:`ChunkConsumer`."""

    Consumer = ChunkConsumer
    Producer = Producer


class PlainTransport(driver.Transport):
    """Faust's aiokafka transport, one message per record."""

    Consumer = PlainConsumer
    Producer = Producer


def is_member(consumer: Any, session_seconds: float) -> bool:
    """Whether the group confirmed this worker lately; one that was paused must not speak for its partitions."""
    return unconfirmed(consumer) < _CONFIRMED * session_seconds


def unconfirmed(consumer: Any) -> float:
    """Seconds since the group confirmed this worker."""
    return float(time.monotonic() - consumer._thread.confirmed_at)  # noqa: SLF001
