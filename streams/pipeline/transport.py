"""Subclasses of Faust's transport: one message per fetched chunk of a partition, and offsets that are surely done.

Stock Faust makes an asyncio task, a message and an event of every record, which bounds it at some ten thousand records
a second. Here the message's value is the chunk. Faust keeps what it is good at: the group, the assignment, flow
control, the agent and the commits.

Offsets: a chunk is *done* when the agent has seen all that it led to acknowledged. Only done chunks that follow
each other without a gap are committed; a gap (a chunk lost in a queue that a rebalance cleared) is fetched again.

The subclasses rely on internals of the Faust version named in :data:`TESTED_VERSIONS`; a contract test watches them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

TESTED_VERSIONS = ("0.15.3",)
_GATE_SECONDS = 0.02
_POLL_SECONDS = 0.2
"""How long a fetch may hold back a seek or a commit."""
_FETCH_WAIT_MS = 50
"""How long the broker may hold an empty fetch; the embedded one looks for new records only every half of it."""


class ChunkSchema(faust.Schema):
    """Hands the chunk through as it is."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """There is no key of a chunk."""
        del app, message, loads, serializer

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The chunk."""
        del app, loads, serializer
        return message.value


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that fetches, with fetches short enough for an idle system to answer at once."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS  # noqa: SLF001 - no setting of Faust reaches it
        return consumer


class ChunkConsumer(driver.Consumer):
    """Delivers chunks and commits what is done."""

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._next: dict[TP, int] = {}
        """Per partition the offset after the last done chunk."""
        self._reached: set[TP] = set()
        """Partitions with done chunks that are not committed."""
        self._sought: dict[TP, int] = {}

    async def perform_seek(self) -> None:
        """Go back to the committed offsets, as Faust does after each rebalance."""
        await super().perform_seek()
        self._next.clear()
        self._reached.clear()
        self._sought.clear()
        committed = {tp: offset for tp, offset in self._committed_offset.items() if offset is not None}
        fresh = [tp for tp in self.assignment() if tp not in committed and not self._is_changelog_tp(tp)]
        starts = await self.earliest_offsets(*fresh) if fresh else {}
        self._next.update(starts)
        self._next.update(committed)

    def follows(self, message: ConsumerMessage) -> bool:
        """Whether a chunk continues what is done; if not, the missing records are fetched again and it is left.

        A gap that is there again at the second fetch is one of the log itself (deleted or transactional records).
        """
        tp, first = message.tp, message.value[0].offset
        expected = self._next.get(tp)
        if expected is None or first <= expected:
            return True
        if self._sought.get(tp) == expected:
            return True
        self._sought[tp] = expected
        self._thread.seek(tp, expected)
        return False

    def mark_done(self, message: ConsumerMessage) -> None:
        """All that a chunk led to is acknowledged: its offset may be committed.

        Faust's own acknowledgement, which says that the agent asked for the next message, decides nothing here.
        """
        tp = message.tp
        if tp in self.assignment():
            self._next[tp] = max(self._next.get(tp, 0), message.offset + 1)
            self._reached.add(tp)

    def done(self, tp: TP) -> int | None:
        """The offset after the last done chunk."""
        return self._next.get(tp)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is done before it is given away; what is not will be repeated elsewhere."""
        await self.commit()
        await super().on_partitions_revoked(revoked)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._reached) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        self._reached.discard(tp)
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._next.get(tp)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's watchdog looks at acknowledgements that do not decide here; lag and freshness are exported instead."""

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                records, active = await self._wait_next_records(_POLL_SECONDS)
                if records is None or self.should_stop:
                    return
                if not self.flow_active:
                    await self.perform_seek()
                    continue
                await self._deliver(records, active)
                await asyncio.sleep(0)
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _deliver(self, records: dict[TP, Sequence[Any]], active: set[TP] | None) -> None:
        generation = self.app.consumer_generation_id
        for tp, chunk in records.items():
            if not chunk:
                continue
            while self.app.rebalancing or self.app.in_recovery:  # flow control drops what is handed over meanwhile
                if self.should_stop:
                    return
                await asyncio.sleep(_GATE_SECONDS)
            if self.app.consumer_generation_id != generation or not self.flow_active:
                return
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                self._thread.seek(tp, chunk[0].offset)
                continue
            await self.wait_first(self.callback(self._chunk_message(tp, chunk)), self.suspend_flow.wait())

    def _chunk_message(self, tp: TP, chunk: Sequence[Any]) -> ConsumerMessage:
        message = self._to_message(tp, chunk[-1])
        message.key = None
        message.value = chunk
        return message


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with :class:`ChunkConsumer`."""

    Consumer = ChunkConsumer
