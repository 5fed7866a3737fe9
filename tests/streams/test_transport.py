"""Chunks without a broker: whatever is fetched, sought, revoked or cut off, every record is processed in order.

The consumer is the real one, on Faust's real code for commits and rebalances; its client's thread is a model of a
broker and of aiokafka's positions. What they take for granted about Faust and aiokafka is at the end.
"""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import aiokafka
import faust
import pytest
from aiokafka.consumer.consumer import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer import message_accumulator
from faust.tables.recovery import Recovery
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salesgauge.streams.worker import transport
from salesgauge.streams.worker.app import Delivery, DeliveryApp
from salesgauge.streams.worker.errors import UntestedFaustError
from salesgauge.streams.worker.transport import ChunkConsumer, ConsumerThread, Fetched, Producer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLACES = [TP(topic, partition) for topic in ("a", "b", "rekeyed") for partition in (0, 1)]
DELIVERY = Delivery("127.0.0.1:1", "chunks", ["a", "b"], "rekeyed", "changelog", "windows", "identities", 2)


class Row(NamedTuple):
    """A record as the client gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int = 0
    headers: tuple[()] = ()
    key: bytes | None = None
    value: bytes | None = None
    checksum: None = None
    serialized_key_size: int = 0
    serialized_value_size: int = 0


@dataclass
class Log:
    """A partition: its records, and the offset of the first one that is still there.

    None stands for an offset without a record: a mark of a transaction, or a record that one took back.
    """

    rows: list[Row | None] = field(default_factory=list)
    start: int = 0

    def offsets(self, start: int, end: int) -> set[int]:
        """The offsets of records between two offsets."""
        return {offset for offset in range(max(start, self.start), end) if self.rows[offset] is not None}


class Client:
    """Stands for the client's thread and the broker behind it."""

    def __init__(self) -> None:
        self.logs = {place: Log() for place in PLACES}
        self.committed: dict[TP, int] = {}
        self.positions: dict[TP, int] = {}
        self.interrupt: Any = None
        """Awaited once in the middle of the next fetch, as a rebalance is that comes meanwhile."""

    async def fetch(self, places: set[TP], limit: int, seconds: float) -> Fetched:
        """Records from the positions on, which move; none of places that are assigned no more."""
        del seconds
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            await interrupt()
        found: dict[TP, Sequence[Any]] = {}
        for place in sorted(places & self.positions.keys()):
            log = self.logs[place]
            self.positions[place] = max(self.positions[place], log.start)  # out of range: the earliest
            rows: list[Row] = []
            for row in log.rows[self.positions[place] :]:
                if row is not None and len(rows) == limit:
                    break
                self.positions[place] += 1
                if row is not None:
                    rows.append(row)
            if rows:
                found[place] = rows
        return Fetched(found, {place: self.positions[place] for place in places & self.positions.keys()})

    async def earliest_offsets(self, *places: TP) -> Mapping[TP, int]:
        """The first offsets that are still there."""
        return {place: self.logs[place].start for place in places}

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to what is committed, or to the beginning."""
        self.reset()
        return {place: self.committed[place] for place in self.positions if place in self.committed}

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit."""
        self.committed |= offsets
        return True

    def reset(self) -> None:
        """What the client itself does for a new assignment."""
        self.positions = {place: self.committed.get(place, 0) for place in self.positions}

    def assignment(self) -> set[TP]:
        """What is assigned."""
        return set(self.positions)

    def highwater(self, place: TP) -> int:
        """The end of a partition that is assigned; asking for another one is an error, as it is of the client."""
        assert place in self.positions, "Partition is not assigned"
        return len(self.logs[place].rows)


class NoProducer:
    """Writes nothing."""

    async def flush(self) -> None:
        """Nothing is under way."""


class Idle:
    """A processor that is told of nothing here."""


class World:
    """A worker's consumer, its agent's queue, and what is known of each record."""

    def __init__(self) -> None:
        self.app = DeliveryApp(DELIVERY, Idle())  # type: ignore[arg-type]
        self.client = Client()
        self.app.producer = NoProducer()
        self.consumer: ChunkConsumer = self.app.consumer
        self.consumer._thread = self.client
        self.consumer.takes = lambda partition: partition not in self.recovering
        self.recovering: set[int] = set()
        self.queue: list[Any] = []
        self.begun: list[tuple[list[transport.RecordRun], int]] = []
        self.turn = 0
        """Of assignments."""
        self.done: dict[TP, set[int]] = {place: set() for place in PLACES}
        self.next: dict[TP, int] = {}
        """The offset that comes next, since positions were set."""

    # --- what may happen

    def append(self, place: TP, timestamps: Sequence[int]) -> None:
        """Records arrive."""
        rows = self.client.logs[place].rows
        rows += [Row(place.topic, place.partition, offset, time) for offset, time in enumerate(timestamps, len(rows))]

    def transact(self, place: TP, aborted: int) -> None:
        """A transaction ends: so many offsets, and the one of its mark, have no record for anybody."""
        self.client.logs[place].rows += [None] * (aborted + 1)

    async def fetch(self) -> None:
        """One round of the fetching task."""
        self.queue += await self.consumer._fetch()

    async def interrupted_fetch(self, assigned: set[TP]) -> None:
        """A rebalance comes while a fetch is under way; the seek waits for it."""
        if not (self.consumer.flow_active and self.consumer._get_active_partitions()):
            return
        seeks: list[asyncio.Task[None]] = []

        async def rebalance() -> None:
            await self.revoke()
            seeks.append(asyncio.ensure_future(self.assign(assigned)))
            await asyncio.sleep(0)

        self.client.interrupt = rebalance
        await self.fetch()
        self.client.interrupt = None
        await asyncio.gather(*seeks)

    async def rebalance(self, assigned: set[TP]) -> None:
        """The group moves on."""
        await self.revoke()
        await self.assign(assigned)

    async def revoke(self) -> None:
        """All that is assigned is revoked first."""
        await self.consumer.on_partitions_revoked(self.consumer.assignment())
        self.turn += 1

    async def assign(self, assigned: set[TP]) -> None:
        """What Faust does with a new assignment, in its order."""
        self.client.positions = dict.fromkeys(assigned, 0)
        self.client.reset()
        self.consumer._paused_partitions.clear()
        self.consumer._set_active_tps(set(assigned))
        if assigned:
            await self.seek()
        self.consumer.resume_flow()

    async def seek(self) -> None:
        """Positions are set anew, without any revocation before it."""
        await self.consumer.perform_seek()
        self.next.clear()

    def begin(self) -> None:
        """The agent takes a chunk."""
        if not self.queue:
            return
        parts = self.consumer.begin(self.queue.pop(0))
        for part in parts:
            first, log = part.records[0].offset, self.client.logs[part.tp]
            expected = self.next.get(part.tp, self.client.committed.get(part.tp, 0))
            assert list(part.records) == [row for row in log.rows[first : part.next] if row is not None]
            assert not log.offsets(expected, first), f"{part.tp}: {first} comes after {expected}"
            assert first >= expected
            self.next[part.tp] = part.next
        self.begun.append((parts, self.turn))

    def finish(self) -> None:
        """What the agent took first is acknowledged. It counts unless the partition was elsewhere meanwhile."""
        if self.begun:
            parts, turn = self.begun.pop(0)
            for part in parts:
                if turn == self.turn:
                    self.done[part.tp].update(row.offset for row in part.records)
            self.consumer.mark_done(parts)

    async def crash(self) -> None:
        """The process dies; another one starts with the same assignment."""
        fresh, assigned = World(), self.consumer.assignment()
        self.app, self.consumer, self.client.interrupt = fresh.app, fresh.consumer, None
        self.consumer._thread = self.client
        self.consumer.takes = lambda partition: partition not in self.recovering
        self.queue, self.begun = [], []
        await self.assign(assigned)

    # --- what must hold

    def check(self) -> None:
        """No offset is committed before all that lies below it is done, or gone."""
        for place, offset in self.client.committed.items():
            missing = self.client.logs[place].offsets(0, offset) - self.done[place]
            assert not missing, f"{place}: {offset} is committed, {sorted(missing)} are not done"

    async def drain(self) -> None:
        """Work off everything; each round of fetching must bring it on."""
        self.recovering.clear()
        await self.rebalance(set(PLACES))
        rounds = sum(len(log.rows) for log in self.client.logs.values()) + 2
        for _ in range(rounds):
            await self.fetch()
            idle = not self.queue
            while self.queue:
                self.begin()
            while self.begun:
                self.finish()
            await self.consumer.commit_all()
            self.check()
            if idle:
                break
        for place, log in self.client.logs.items():
            assert log.offsets(0, len(log.rows)) <= self.done[place]
            if len(log.rows) > log.start:
                assert self.client.committed.get(place) == len(log.rows)
        assert not self.consumer._held
        assert not any(self.consumer.lag().values())


places = st.sampled_from(PLACES)
shards = st.sets(st.sampled_from([0, 1])).map(lambda some: {place for place in PLACES if place.partition in some})
timestamps = st.lists(st.integers(0, 30) | st.sampled_from([10**15, -1]), min_size=1, max_size=12)
"""Not in order: clocks of producers differ and jump, and some send microseconds."""
usual = st.sampled_from([("fetch",), ("begin",), ("finish",), ("commit",)])
steps = st.one_of(
    usual,
    usual,
    st.tuples(st.just("append"), places, timestamps),
    st.tuples(st.just("transact"), places, st.integers(0, 5)),
    st.tuples(st.just("rebalance"), shards),
    st.tuples(st.just("interrupted_fetch"), shards),
    st.sampled_from([("seek",), ("crash",)]),
    st.tuples(st.just("recovering"), st.sets(st.sampled_from([0, 1]))),
    st.tuples(st.just("truncate"), places, st.integers(1, 6)),
)


async def play(backlog: Mapping[TP, Sequence[int]], story: Sequence[tuple[Any, ...]]) -> None:
    world = World()
    for place, times in backlog.items():
        world.append(place, times)
    await world.assign(set(PLACES))
    for name, *arguments in story:
        if name == "commit":
            await world.consumer.commit_all()
        elif name == "recovering":
            world.recovering = set(*arguments)
        elif name == "truncate":
            log = world.client.logs[arguments[0]]
            log.start = min(len(log.rows), log.start + arguments[1])
        else:
            happening = getattr(world, name)(*arguments)
            if happening is not None:
                await happening
        world.check()
    await world.drain()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few records make a chunk, so that short stories have many; nothing waits for time."""
    monkeypatch.setattr(transport, "_PART_RECORDS", 3)
    monkeypatch.setattr(transport, "_GATE_SECONDS", 0)


A = PLACES[0]
LATE_ACKNOWLEDGEMENT = [("fetch",), ("begin",), ("rebalance", set(PLACES)), ("finish",), ("commit",)]
OLD_CHUNKS = [("fetch",), ("fetch",), ("begin",), ("seek",), ("begin",), ("finish",), ("finish",), ("commit",)]
LEFT_WHILE_HELD: list[tuple[Any, ...]] = [
    ("fetch",),
    ("begin",),
    ("append", TP("a", 1), [0]),
    ("interrupted_fetch", set()),
]
TAKEN_AFTER_THE_FETCH = [("fetch",), ("truncate", A, 1), ("begin",)]
ONLY_MARKS: list[tuple[Any, ...]] = [("transact", A, 2), ("fetch",), ("commit",), ("transact", A, 0), ("fetch",)]


@settings(max_examples=max(200, settings().max_examples))
@example({A: range(9)}, LATE_ACKNOWLEDGEMENT)
@example({A: range(9)}, OLD_CHUNKS)
@example({A: range(9), TP("b", 0): [20, 20, 20]}, LEFT_WHILE_HELD)
@example({A: [0]}, TAKEN_AFTER_THE_FETCH)
@example({}, ONLY_MARKS)
@given(st.dictionaries(places, timestamps), st.lists(steps, min_size=5, max_size=40))
def test_every_record_is_processed_in_order_before_it_is_committed(backlog, story):
    asyncio.run(play(backlog, story))


def test_topics_of_a_backlog_are_read_at_one_pace():
    """What lies ahead of the others waits for them; at the end of the backlog nothing does."""

    async def read() -> list[list[int]]:
        world = World()
        world.append(TP("a", 0), [1, 2, 3, 4, 5, 6, 7])
        world.append(TP("b", 0), [2, 6, 9])
        await world.assign(set(PLACES))
        for _ in range(3):
            await world.fetch()
        return [sorted(row.timestamp for part in one.value.parts for row in part.records) for one in world.queue]

    assert asyncio.run(read()) == [[1, 2, 2, 3], [4, 5, 6, 6], [7, 9]]


def test_what_retention_took_is_told(caplog):
    """A record that is gone cannot be waited for, but it is not passed over in silence."""

    async def read() -> None:
        world = World()
        world.append(A, range(3))
        await world.assign(set(PLACES))
        await world.fetch()
        world.begin()
        world.finish()
        world.append(A, range(9))
        world.client.logs[A].start = 5
        await world.fetch()
        world.begin()

    asyncio.run(read())
    assert caplog.messages == ["a[0]: records 3 to 4 are gone: deleted by retention or by hand"]


# --- what is taken for granted about Faust and aiokafka

OVERRIDDEN = [
    (ChunkConsumer, driver.Consumer, """
        _drain_messages _new_consumer_thread perform_seek ack on_buffer_full on_buffer_drop on_partitions_revoked
        _filter_tps_with_pending_acks _new_offset _should_commit _commit verify_event_path"""),
    (ConsumerThread, driver.AIOKafkaConsumerThread, """
        _create_worker_consumer on_start on_partitions_assigned seek_to_committed highwater"""),
    (Producer, driver.Producer, "_settings_extra _new_producer on_start"),
    (DeliveryApp, faust.App, """
        _new_transport _new_consumer _create_directories on_rebalance_start on_rebalance_end _on_partitions_assigned
        on_stop"""),
]  # fmt: skip
USED = [
    (driver.Consumer, "_get_active_partitions _set_active_tps _to_message _commit_offsets highwater stop_flow"),
    (driver.AIOKafkaConsumerThread, "_fetch_records _ensure_consumer call_thread earliest_offsets"),
    (driver.Producer, "_ensure_producer"),
    (Recovery, "_resume_streams"),
    (AIOKafkaConsumer, "assignment seek seek_to_beginning highwater last_stable_offset beginning_offsets"),
    (GroupCoordinator, "_do_heartbeat fetch_committed_offsets"),
    (Fetcher, "fetched_records"),
]


def named(table: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(*owners, name) for *owners, names in table for name in names.split()]


def parameters(function: Any) -> list[tuple[str, Any]]:
    return [(one.name, one.kind) for one in inspect.signature(function).parameters.values()]


def test_the_installed_versions_are_the_tested_ones():
    assert faust.__version__ in transport.TESTED_VERSIONS, "read Faust's changes, run the fault suite, add the version"
    assert aiokafka.__version__ in transport.TESTED_CLIENTS, "read its changes, run the fault suite, add the version"


@pytest.mark.parametrize(("ours", "theirs", "name"), named(OVERRIDDEN))
def test_what_is_overridden_still_looks_the_same(ours, theirs, name):
    own, stock = getattr(ours, name), getattr(theirs, name)
    assert own is not stock
    assert parameters(own) == parameters(stock)
    assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(stock)


@pytest.mark.parametrize(("owner", "name"), named(USED))
def test_what_is_used_is_still_there(owner, name):
    assert hasattr(owner, name)


def test_what_is_set_on_the_client_still_means_something():
    """Attributes are set where Faust has no settings; one that nobody reads would change nothing."""
    source = inspect.getsource(aiokafka.consumer.consumer)
    for name in (
        "_fetch_max_wait_ms", "_isolation_level", "_partition_assignment_strategy", "_coordinator", "_fetcher",
        "_subscription",
    ):  # fmt: skip
        assert source.count(f"self.{name}") > 1, name


def test_batches_still_expire_by_one_attribute():
    """Writes are waited for as long as it takes: where batches live for ever by it, and by it alone."""
    source = inspect.getsource(message_accumulator)
    assert "self._batch_ttl, self._linger_time" in source
    assert "> self._ttl" in source


def test_faust_still_seeks_between_an_assignment_and_the_flow():
    """The order that ends the epochs before records flow."""
    resumed = inspect.getsource(Recovery._resume_streams)
    order = ["resume_partitions(", "perform_seek(", "flow_control.resume(", "resume_flow(", "on_rebalance_end("]
    assert [resumed.index(step) for step in order] == sorted(resumed.index(step) for step in order)
    revoked = inspect.getsource(faust_consumer.Consumer.on_partitions_revoked)
    assert "_on_partitions_revoked" in revoked
    assert "stop_flow" in inspect.getsource(faust.App._on_partitions_revoked)


def test_another_version_of_faust_is_refused(monkeypatch):
    monkeypatch.setattr(faust, "__version__", "9.9")
    with pytest.raises(UntestedFaustError, match=r"9\.9"):
        DeliveryApp(DELIVERY, Idle())  # type: ignore[arg-type]
