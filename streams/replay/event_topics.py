"""Events in Kafka topics, read by time up to an end fixed beforehand, without a consumer group.

A record is known from its timestamp on (the producer's clock or, better, the broker's), and in its
partition never before the records ahead of it, since workers read a log in its order. A timestamp that lies ahead of
the clock (another unit, a wrong clock) says nothing: the record is known as soon as those ahead of it are.

Transactions are read committed; offsets without a record are theirs, unless the topic is compacted.
"""

from __future__ import annotations

import heapq
import tempfile
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from salesgauge.schemas.errors import InputError, TruncatedError
from salesgauge.schemas.events import TOPICS
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.io.records import KnownRecord, RawRecord, known_at
from salesgauge.streams.io.sorted_runs import SortedRuns
from salesgauge.streams.kafka.connection import BrokerError, consumer
from salesgauge.streams.kafka.fetcher import fetcher
from salesgauge.streams.kafka.topics import compacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from salesgauge.streams.io.records import RecordShare, RecordStream
    from salesgauge.streams.kafka.fetcher import Fetcher
    from salesgauge.streams.settings.model import Kafka

_POLL_MS = 500
_PATIENCE = 60.0  # s without a single record
_POLL_RECORDS = 5_000
_BUFFERED = 2_000
"""Records of a partition that wait for the others' before it is paused."""
_RUN_LENGTH = 100_000
_AHEAD_MS = 300_000
"""How far a clock may be ahead of this one."""


class _Happened(NamedTuple):
    """A record by when it happened (ms), and when the broker got it (ms)."""

    at: int
    origin: str
    position: int
    stamp: int
    payload: bytes | None


@dataclass(slots=True)
class _Log:
    """A partition between two offsets.

    ``next`` is the offset that comes next, ``missing`` counts the gaps so far. ``settled`` says that the end
    is final: the first answer to a fetch may know of a later one than the broker's list of offsets (that of
    the embedded broker does).
    """

    partition: TopicPartition
    next: int
    end: int
    begin: int = 0
    compacted: bool = False
    settled: bool = False
    latest: int = 0
    missing: int = 0
    ahead: bool = False
    buffer: deque[RawRecord] = field(default_factory=deque)

    @property
    def origin(self) -> str:
        return f"{self.partition.topic}/{self.partition.partition}"

    @property
    def finished(self) -> bool:
        return self.next >= self.end


@dataclass(slots=True)
class EventTopics:
    """The event topics as one source.

    Args:
        partitions: read these alone; None reads all.
        since: read records from this instant on (ms); None reads all, which stocks and cohorts need.
        until: records that the log has from this instant on are not read; None reads all there are now.
        allow_truncated: go on where the beginning of a topic was deleted, or records inside are missing.

    Raises:
        InputError: from any method, if Kafka cannot be reached or refuses, or a part of the past is missing.
    """

    kafka: Kafka
    partitions: frozenset[int] | None = None
    since: int | None = None
    until: int | None = None
    allow_truncated: bool = False
    topics: Sequence[str] = tuple(TOPICS)
    warnings: list[str] = field(default_factory=list)
    clock: int = field(default_factory=wall_clock)
    """The instant (ms) that no timestamp can lie far behind."""
    _read: int = 0
    _all: int = 0

    @property
    def rereadable(self) -> bool:
        """A topic is read once."""
        return False

    def records(self) -> Iterator[RawRecord]:
        """All records, each partition in its order."""
        with self._reader() as (client, logs):
            while not all(log.finished for log in logs.values()):
                self._poll(client, logs)
                for log in logs.values():
                    while log.buffer:
                        yield log.buffer.popleft()

    def ordered(self, *, corrected: bool) -> Iterator[KnownRecord]:
        """Merged by time as they were known; sorted on disk by the time they happened where ``corrected``."""
        return self._sorted() if corrected else _in_time(self._merged())

    def span(self, *, corrected: bool) -> tuple[int, int] | None:
        """Unknown: a topic would have to be read for it."""
        del corrected
        raise InputError("topics need --from TIME")

    def done(self) -> tuple[int, int]:
        """Records read, and in all."""
        return self._read, self._all

    def shares(self, of: int) -> list[RecordShare]:
        """Some partitions of each topic for each process; no more parts than there are partitions."""
        try:
            with consumer(self.kafka) as client:
                numbers = sorted({partition.partition for partition in _partitions(self, client)})
        except BrokerError as error:
            raise InputError(str(error)) from error
        parts = [frozenset(numbers[start::of]) for start in range(min(of, len(numbers)))]
        return [
            EventTopicsShare(self.kafka, part, self.since, self.until, self.allow_truncated, tuple(self.topics))
            for part in parts
        ]

    def close(self) -> None:
        """Connections end with each pass."""

    @contextmanager
    def _reader(self) -> Iterator[tuple[Fetcher, dict[TopicPartition, _Log]]]:
        """A reader at the start of the logs."""
        try:
            with consumer(self.kafka) as client:
                logs = _logs(self, client)
            self._read = 0
            self._all = sum(max(0, log.end - log.next) for log in logs.values())
            with fetcher(self.kafka) as reader:
                reader.read({partition: log.next for partition, log in logs.items()})
                yield reader, logs
        except BrokerError as error:
            raise InputError(str(error)) from error

    def _merged(self) -> Iterator[RawRecord]:
        """By the time of the log, over all partitions; each in its own order."""
        with self._reader() as (client, logs):
            heads: list[tuple[int, int, RawRecord]] = []
            waiting = set(range(len(logs)))
            numbered = list(logs.values())
            while heads or waiting:
                self._fill(client, logs, numbered, waiting, heads)
                if heads:
                    _, number, record = heapq.heappop(heads)
                    waiting.add(number)
                    yield record

    def _fill(
        self,
        client: Fetcher,
        logs: dict[TopicPartition, _Log],
        numbered: list[_Log],
        waiting: set[int],
        heads: list[tuple[int, int, RawRecord]],
    ) -> None:
        """Take the next record of each partition whose last one was taken, or learn that there is none."""
        while waiting:
            for number in list(waiting):
                log = numbered[number]
                if log.buffer:
                    record = log.buffer.popleft()
                    heapq.heappush(heads, (record.at, number, record))
                    waiting.discard(number)
                elif log.finished:
                    waiting.discard(number)
            if waiting:
                self._poll(client, logs)

    def _sorted(self) -> Iterator[KnownRecord]:
        with tempfile.TemporaryDirectory(prefix="salesgauge-") as folder:
            runs = SortedRuns(_Happened, Path(folder), run_length=_RUN_LENGTH)
            for record in self.records():
                at = known_at(record, corrected=True) or 0
                runs.add(_Happened(at, record.origin, record.position, record.at, record.payload))
            for at, origin, position, stamp, payload in runs:
                yield at, RawRecord(payload, origin, position, stamp)

    def _poll(self, client: Fetcher, logs: dict[TopicPartition, _Log]) -> None:
        """Move what has come into the buffers; wait for it, but not for ever.

        Raises:
            TruncatedError: records are missing.
            InputError: nothing comes.
        """
        client.only({p for p, log in logs.items() if len(log.buffer) < _BUFFERED and not log.finished})
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if self._take(client.poll(_POLL_MS, _POLL_RECORDS), client, logs):
                return
        behind = next(log for log in logs.values() if not log.finished)
        raise InputError(f"{behind.origin}: the broker sends nothing from offset {behind.next} on, of {behind.end}")

    def _take(
        self,
        batches: Mapping[TopicPartition, list[Any]],
        client: Fetcher,
        logs: dict[TopicPartition, _Log],
    ) -> bool:
        """Buffer what was polled; True where something moved on."""
        moved = False
        for partition, messages in batches.items():
            log = logs[partition]
            if not log.settled:
                log.end = max(log.end, client.highwater(partition))
                log.settled = True
            for message in messages:
                if log.finished or message.offset >= log.end:
                    break
                self._note_gap(log, message.offset)
                self._note_time(log, message)
                if self.until is not None and log.latest >= self.until:
                    log.end = log.next
                    break
                log.next = message.offset + 1
                self._read += 1
                if self.since is None or log.latest >= self.since:
                    log.buffer.append(RawRecord(message.value, log.origin, message.offset, log.latest))
        for log in logs.values():
            # What ends with records that are never handed out (marks of transactions) ends nevertheless.
            if not log.finished and client.position(log.partition) >= log.end:
                self._note_gap(log, log.end)
                log.next = log.end
                moved = True
        return moved or bool(batches)

    def _note_time(self, log: _Log, message: Any) -> None:
        if message.timestamp <= self.clock + _AHEAD_MS:
            log.latest = max(log.latest, message.timestamp)
            return
        if not log.ahead:
            log.ahead = True
            self.warnings.append(
                f"{log.origin} has timestamps ahead of the clock, at offset {message.offset} the first "
                f"({message.timestamp} ms): a producer sends another unit; they are left out of account"
            )

    def _note_gap(self, log: _Log, offset: int) -> None:
        gap = offset - log.next
        if gap <= 0 or not log.compacted:
            return
        log.missing += gap
        what = f"{log.origin} lacks {gap} records before offset {offset}: the topic is compacted"
        if not self.allow_truncated:
            raise TruncatedError(f"{what}; what they said is missing from the past; --allow-truncated goes on without")
        if log.missing == gap:
            self.warnings.append(what)


@dataclass(frozen=True, slots=True)
class EventTopicsShare:
    """Some partitions of the event topics; the fields are those of :class:`EventTopics`."""

    kafka: Kafka
    partitions: frozenset[int]
    since: int | None
    until: int | None
    allow_truncated: bool
    topics: tuple[str, ...]

    @contextmanager
    def open(self) -> Iterator[RecordStream]:
        """The share, to be read."""
        yield EventTopics(self.kafka, self.partitions, self.since, self.until, self.allow_truncated, self.topics)


def _logs(topics: EventTopics, client: KafkaConsumer) -> dict[TopicPartition, _Log]:
    """The partitions to read, each between the offsets that hold now."""
    partitions = _partitions(topics, client)
    begins, ends = client.beginning_offsets(partitions), client.end_offsets(partitions)
    starts = begins if topics.since is None else ends | _at_time(client, partitions, topics.since)
    compact = compacted(topics.kafka, sorted({partition.topic for partition in partitions}))
    logs = {
        partition: _Log(
            partition, starts[partition], ends[partition], begins[partition], compacted=partition.topic in compact
        )
        for partition in partitions
    }
    if topics.since is None:
        _check_beginnings(topics, list(logs.values()))
    return logs


def _partitions(topics: EventTopics, client: KafkaConsumer) -> list[TopicPartition]:
    existing = client.topics()
    found = [topic for topic in topics.topics if topic in existing]
    if not found:
        raise InputError(f"none of the event topics exists at {topics.kafka.bootstrap}; `salesgauge topics create`")
    partitions = [
        TopicPartition(topic, number)
        for topic in found
        for number in sorted(client.partitions_for_topic(topic) or ())
        if topics.partitions is None or number in topics.partitions
    ]
    if not partitions:
        raise InputError(f"no event topic has one of the partitions {sorted(topics.partitions or ())}")
    return partitions


def _at_time(client: KafkaConsumer, partitions: list[TopicPartition], at: int) -> dict[TopicPartition, int]:
    """The offsets from which on an instant is reached, of the partitions that reach it.

    They save reading what lies before, and are not relied upon: the embedded broker answers with its own times.
    """
    found = client.offsets_for_times(dict.fromkeys(partitions, at))
    return {p: place.offset for p, place in found.items() if place is not None and place.timestamp >= 0}


def _check_beginnings(topics: EventTopics, logs: Sequence[_Log]) -> None:
    cut = [log for log in logs if log.begin > 0]
    if not cut:
        return
    first = cut[0]
    what = f"the beginning of {first.origin} was deleted (it starts at offset {first.begin})" + (
        f", and that of {len(cut) - 1} more partitions" if len(cut) > 1 else ""
    )
    if not topics.allow_truncated:
        raise TruncatedError(
            f"{what}: stocks and cohorts would lack what is gone; --allow-truncated goes on without, "
            "retention.ms=-1 keeps topics whole"
        )
    topics.warnings.append(what)


def _in_time(records: Iterator[RawRecord]) -> Iterator[KnownRecord]:
    """Hold back what a log has before it happened (a clock that is ahead) until it has."""
    early: list[tuple[int, int, RawRecord]] = []
    latest = count = 0
    for record in records:
        at = known_at(record, corrected=False)
        latest = max(latest, record.at)
        while early and early[0][0] <= latest:
            known, _, held = heapq.heappop(early)
            yield known, held
        if at is not None and at > latest:
            count += 1
            heapq.heappush(early, (at, count, record))
        else:
            yield latest, record
    while early:
        known, _, held = heapq.heappop(early)
        yield known, held
