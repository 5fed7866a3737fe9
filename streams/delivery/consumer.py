"""Faust's consumer, handing over one message per fetched chunk of a partition instead of one per record.

What keeps it exact is the *epoch* of a partition: it changes whenever the partition is revoked or its position is set.
A chunk carries the epoch in which it was fetched, and every step on its way drops it if the epoch has changed since,
because then it will be fetched again. A chunk of the current epoch is never dropped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.delivery.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import aiokafka

_POLL = 0.2
"""Seconds that a fetch may hold back a seek."""
_FETCH_WAIT_MS = 50
"""How long the broker may hold an empty fetch. A seek takes effect with the next fetch, and the embedded broker looks
for new records only every half of it."""
_CHECK_EVERY = 0.01


class Chunk(ConsumerMessage):
    """A message that stands for consecutive records of a partition. Its offset is the first one's."""

    __slots__ = ("epoch", "records")

    def __init__(self, tp: TP, records: Sequence[Record], epoch: int, generation: int) -> None:
        first = records[0]
        super().__init__(
            tp.topic, tp.partition, first.offset, first.timestamp_ms / 1000, 0, None, None, None, None,
            serialized_key_size=0, serialized_value_size=0, tp=tp, generation_id=generation,
        )  # fmt: skip
        self.records = records
        self.epoch = epoch

    @property
    def next_offset(self) -> int:
        """The offset to commit when the chunk is done."""
        return self.records[-1].offset + 1


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread with the client, and the time of the coordinator's last word."""

    confirmed_at = 0.0
    """When (`time.monotonic`) the last request was sent that the coordinator answered as to a member."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS  # noqa: SLF001 - no setting of Faust reaches it
        return consumer

    async def on_start(self) -> None:
        """Start the client and listen to its heartbeats."""
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001
        beat = coordinator._do_heartbeat  # noqa: SLF001

        async def heard() -> bool:
            sent_at = monotonic()
            accepted: bool = await beat()
            if accepted:
                self.confirmed_at = sent_at
            return accepted

        coordinator._do_heartbeat = heard  # noqa: SLF001

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """A worker joins the group right after this."""
        await super().on_partitions_revoked(revoked)
        self.confirmed_at = monotonic()


class Consumer(driver.Consumer):
    """Fetches chunks, and commits what the lanes have done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._epochs: Counter[TP] = Counter()
        self._done: dict[TP, int] = {}
        self._positions = asyncio.Lock()  # held while positions move: by a fetch, or by a seek
        self.last_commit: float | None = None
        """When (`time.monotonic`) offsets were last committed."""
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # --- fetching

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                for chunk in await self._fetch():
                    await self._hand_over(chunk, fetcher)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _fetch(self) -> list[Chunk]:
        active = frozenset(self._get_active_partitions())  # a copy: an emptied set would mean "all partitions"
        if not (self.flow_active and active):
            await asyncio.sleep(_CHECK_EVERY)
            return []
        async with self._positions:
            epochs = self._epochs.copy()
            fetched = await self._getmany(active_partitions=active, timeout=_POLL)
        chunks: list[Chunk] = []
        for key, records in fetched.items():
            tp = TP(key.topic, key.partition)
            chunks += self._chunks(tp, records, epochs[tp])
        return chunks

    def _chunks(self, tp: TP, records: Sequence[Any], epoch: int) -> Iterator[Chunk]:
        topic, partition = tp
        taken = [Record(topic, partition, r.offset, r.timestamp, r.key, r.value, r.headers) for r in records]
        size = len(taken) if self.app.delivery.batch or self._is_changelog_tp(tp) else 1
        for start in range(0, len(taken), size or 1):
            yield Chunk(tp, taken[start : start + size], epoch, self.app.consumer_generation_id)

    async def _hand_over(self, chunk: Chunk, fetcher: Any) -> None:
        if self._is_changelog_tp(chunk.tp):
            if self.is_current(chunk):
                self.app.tables.recovery.take(chunk.tp, chunk.records)
            return
        while self.app.rebalancing or self.app.in_recovery:
            if fetcher.should_stop or not self.is_current(chunk):
                return
            await asyncio.sleep(_CHECK_EVERY)
        if self.is_current(chunk):
            chunk.generation_id = self.app.consumer_generation_id
            await self.wait_first(self.callback(chunk), self.suspend_flow.wait())

    def is_current(self, chunk: Chunk) -> bool:
        """Whether the chunk is still to be processed; if not, its records will come again, here or elsewhere."""
        return self._epochs[chunk.tp] == chunk.epoch

    def on_buffer_full(self, tp: TP) -> None:
        """The agent's queue blocks `_hand_over` when it is full: that is all the flow control there is."""

    def on_buffer_drop(self, tp: TP) -> None:
        """See `on_buffer_full`."""

    # --- positions

    def _advance(self, tps: Iterable[TP]) -> None:
        for tp in tps:
            self._epochs[tp] += 1
            self._done.pop(tp, None)

    async def perform_seek(self) -> None:
        """Go to the committed offsets, and to the beginning where there are none.

        The client leaves a partition without a committed offset where it stands, which may be behind records that
        were dropped.
        """
        async with self._positions:
            sources = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
            self._advance(sources)
            await super().perform_seek()
            fresh = {tp for tp in sources if self._committed_offset[tp] is None}
            if fresh:
                await self._thread.seek_to_beginning(*driver.ensure_aiokafka_TPset(fresh))

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Go to these offsets."""
        async with self._positions:
            self._advance(partitions)
            await super().seek_wait(partitions)

    # --- offsets

    def done(self, chunk: Chunk) -> None:
        """All that the chunk led to is acknowledged: its offsets may be committed."""
        if self.is_current(chunk):
            self._done[chunk.tp] = chunk.next_offset

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._done) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self._done.get(tp)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        committed = bool(await super()._commit(offsets))
        if committed:
            self.last_commit = monotonic()
        return committed

    async def wait_empty(self) -> None:
        """Let what was applied be written, forget what was not, and commit."""
        await self.app.lanes.drain()
        await self.commit_and_end_transactions()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit before Faust forgets the offsets."""
        self.stop_flow()
        await self.wait_empty()
        self._advance(revoked)
        await super().on_partitions_revoked(revoked)

    # --- membership

    async def is_member(self, generation: int) -> bool:
        """Wait until the coordinator has lately confirmed the membership; False if it is over.

        A worker that was paused or cut off must not write: its partitions may be another's by now. What the
        coordinator confirmed holds for the session timeout, counted from when the question was sent.
        """
        allowed = 0.9 * float(self.app.conf.broker_session_timeout)
        while self.app.consumer_generation_id == generation:
            if monotonic() - self._thread.confirmed_at < allowed:
                return True
            if self.app.rebalancing and not self.app.in_recovery:
                return False
            await asyncio.sleep(_CHECK_EVERY)
        return False

    def lag(self) -> dict[TP, int]:
        """Records between what is done and the end, by source partition; only those whose end is known."""
        lags: dict[TP, int] = {}
        for tp in self._active_partitions - self.app.changelog_partitions:
            end = self._thread.highwater(tp)
            if end is not None:
                lags[tp] = max(0, end - (self._done.get(tp) or self._committed_offset[tp] or 0))
        return lags


class Transport(driver.Transport):
    """Faust's transport with the consumer above."""

    Consumer = Consumer
