"""A live installation for tests: topics on some broker, real worker processes, an exporter, and the oracle.

The oracle is one `Machine` that is fed the same events without Kafka. What the exporter shows must be equal to it,
reading by reading, and the states in the changelog to the machine's.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import uuid4

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from metrics.engine import Shard
from metrics.machine import Machine
from metrics.series import SeriesIndex
from schemas.codec import encode
from schemas.events import TOPICS
from streams import brokers, topics
from streams.brokers import BrokerError, partition_of
from streams.exporter import Board, Exporter, milliseconds
from streams.settings import Kafka, Settings
from tests.support.process import Process
from tests.support.wait import until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from metrics.readings import Reading
    from schemas.events import EventBase

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-12
CHANGELOG_MARK = b"\x00"

Reading_ = tuple[str, str, tuple[tuple[str, str], ...], str]


class Message(NamedTuple):
    """Something to publish. ``reason`` says why it must become a dead letter; None for an event."""

    topic: str
    key: str | None
    value: bytes | None
    reason: str | None = None


class Origin(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


def messages(events: Iterable[EventBase]) -> list[Message]:
    """Events as they are published."""
    return [Message(event.topic, event.key, encode(event)) for event in events]


class Worker(Process):
    """A `salesgauge worker` process."""

    def __init__(self, live: Live, number: int, *, module: str, env: Mapping[str, str], cwd: Path | None) -> None:
        super().__init__(
            [sys.executable, "-m", module, "worker", "--port", "0"],
            log=live.folder / f"worker-{number}.log",
            name=f"worker {number}",
            env={**live.env, **env},
            cwd=cwd or live.folder,
        )

    @property
    def url(self) -> str | None:
        """Where its metrics are; None before it listens."""
        found = re.search(r"listening on (\S+)", self.tail())
        return found[1] if found else None


@dataclass
class Live:
    """One installation on a broker. Leaving the `with` block ends its processes."""

    bootstrap: str
    folder: Path
    partitions: int = 4
    replication: int = 1
    session_seconds: float = 2.0
    extra: dict[str, str] = field(default_factory=dict)
    settings: Settings = field(init=False)
    workers: list[Worker] = field(default_factory=list)
    ends: Counter[TopicPartition] = field(default_factory=Counter)
    """Where each event topic ends, as the broker acknowledged it."""
    poison: dict[Origin, str] = field(default_factory=dict)
    """What must be found among the dead letters, with its reason."""

    def __post_init__(self) -> None:
        self.settings = Settings(
            app_id=f"t{uuid4().hex[:8]}",
            kafka=Kafka(bootstrap=self.bootstrap, partitions=self.partitions, replication=self.replication),
        )
        self._numbers = itertools.count(1)
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def env(self) -> dict[str, str]:
        """The variables of its processes."""
        return {
            "PYTHONPATH": str(ROOT),
            "SALESGAUGE_APP_ID": self.settings.app_id,
            "SALESGAUGE_KAFKA__BOOTSTRAP": self.bootstrap,
            "SALESGAUGE_KAFKA__PARTITIONS": str(self.partitions),
            "SALESGAUGE_KAFKA__REPLICATION": str(self.replication),
            "SALESGAUGE_KAFKA__SESSION_SECONDS": str(self.session_seconds),
            **self.extra,
        }

    def __enter__(self) -> Self:
        wipe(self.settings)
        topics.create(self.settings)
        until(lambda: not topics.check(self.settings), 30, "the topics are known to the broker")
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()

    # --- workers

    def worker(
        self, *, module: str = "streams.cli", env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Worker:
        """Start one more worker."""
        worker = Worker(self, next(self._numbers), module=module, env=env or {}, cwd=cwd)
        self.workers.append(worker)
        return worker

    @property
    def running(self) -> list[Worker]:
        """The workers that live."""
        return [worker for worker in self.workers if worker.running]

    def scale(self, count: int, rng: random.Random | None = None) -> None:
        """Start workers, or end some in order (SIGTERM), until so many run."""
        while len(self.running) < count:
            self.worker()
        surplus = self.running[count:]
        for worker in surplus:
            worker.signal(15)
        for worker in surplus:
            worker.wait(30)

    def kill(self, rng: random.Random) -> None:
        """SIGKILL one of the running workers."""
        if self.running:
            rng.choice(self.running).kill()

    # --- events

    def publish(self, batch: Sequence[Message], *, partitions: int | None = None) -> None:
        """Send messages, acknowledged, and note where the topics end and where the poison lies."""
        with contextlib.closing(brokers.producer(self.settings.kafka, max_request_size=64 * 1024 * 1024)) as producer:
            pending = []
            for message in batch:
                chosen = None if message.key is None else partition_of(message.key, partitions or self.partitions)
                key = None if message.key is None else message.key.encode()
                pending.append((message, producer.send(message.topic, message.value, key, [], chosen)))
            producer.flush(timeout=60)
            for message, future in pending:
                sent = future.get(timeout=60)
                place = TopicPartition(sent.topic, sent.partition)
                self.ends[place] = max(self.ends[place], sent.offset + 1)
                if message.reason is not None:
                    self.poison[Origin(sent.topic, sent.partition, sent.offset)] = message.reason

    def committed(self) -> dict[TopicPartition, int]:
        """The committed offsets of the event topics and the re-key topic."""
        with self._group_consumer() as consumer:
            places = [*self.ends, *self._rekeyed()]
            return {place: consumer.committed(place) or 0 for place in places}

    def behind(self) -> dict[TopicPartition, int]:
        """Partitions whose committed offset lies before their end, with the distance."""
        with self._group_consumer() as consumer:
            rekeyed = self._rekeyed()
            ends = {**self.ends, **consumer.end_offsets(rekeyed)}
            return {
                place: end - (consumer.committed(place) or 0)
                for place, end in ends.items()
                if end > (consumer.committed(place) or 0)
            }

    def until_drained(self, deadline: float = 60.0) -> None:
        """Wait until everything published is processed and committed."""

        def drained() -> bool:
            for worker in self.running:
                worker.check()
            return not self.behind()

        until(drained, deadline, f"all events committed; behind: {self.behind()}", every=0.2)

    def allow(self, topic: str, max_bytes: int) -> None:
        """Let a topic take larger messages, where the broker has such a limit."""
        from kafka.admin import ConfigResource, ConfigResourceType

        config = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": str(max_bytes)})
        with brokers.admin(self.settings.kafka) as client, contextlib.suppress(KafkaError, BrokerError):
            client.alter_configs([config], raise_on_unknown=False)

    def _rekeyed(self) -> list[TopicPartition]:
        return [TopicPartition(self.settings.rekey_topic, partition) for partition in range(self.partitions)]

    def _group_consumer(self) -> Any:
        return brokers.consumer(self.settings.kafka, group_id=self.settings.application)

    # --- results

    @contextlib.contextmanager
    def exporter(self) -> Iterator[Exporter]:
        """An exporter in this process, following the windows topic."""
        exporter = Exporter(self.settings, Board(self.settings))
        exporter.start()
        try:
            yield exporter
        finally:
            exporter.stop()

    def dead_letters(self) -> list[tuple[Origin, str]]:
        """Origin and reason of all dead letters, in the order of the topic."""
        found = []
        for record in self.read(self.settings.dead_letter_topic):
            headers = {name: value.decode() for name, value in record.headers}
            place = Origin(headers["topic"], int(headers["partition"]), int(headers["offset"]))
            found.append((place, headers["reason"]))
        return found

    def states(self) -> dict[str, bytes]:
        """The states in the changelog: per entity the facts of all owners, as recovery unites them."""
        latest: dict[tuple[int, bytes], bytes | None] = {}
        for record in self.read(topics.changelog_topic(self.settings)):
            if not record.key.startswith(CHANGELOG_MARK):
                latest[record.partition, record.key] = record.value
        shard = Shard(self.settings.rules, SeriesIndex(Board(self.settings).catalogue.plan()))
        home: dict[str, int] = {}
        for (partition, key), value in latest.items():
            address = key.decode().partition("/")[2]
            if value is None:
                continue
            assert home.setdefault(address, partition) == partition, f"{address} lives in two partitions"
            if shard.knows(address):
                shard.unite(address, value)
            else:
                shard.restore(address, value)
        return dict(shard.states)

    def read(self, topic: str) -> list[Any]:
        """All records of a topic, up to its end at this moment."""
        with brokers.consumer(self.settings.kafka, auto_offset_reset="earliest") as consumer:
            return read_all(consumer, topic)


def read_all(consumer: KafkaConsumer, topic: str, quiet: float = 0.5) -> list[Any]:
    """All records of a topic; the end is believed after a quiet moment, as some brokers report too low an end."""
    places = [TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic) or ())]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    records: list[Any] = []
    last = time.monotonic()
    while True:
        for chunk in consumer.poll(timeout_ms=100).values():
            records += chunk
            last = time.monotonic()
        if time.monotonic() - last > quiet and all(consumer.position(p) >= ends[p] for p in places):
            return records


def wipe(settings: Settings) -> None:
    """Remove the event topics that an earlier test left on the broker."""
    with brokers.admin(settings.kafka) as client:
        left = [name for name in client.list_topics() if name in TOPICS]
        if not left:
            return
        client.delete_topics(left)
        until(lambda: not set(client.list_topics()) & set(TOPICS), 30, "the old event topics are gone")


# --- the oracle


@dataclass
class Oracle:
    """What must come out: the same events, applied to one machine at once."""

    events: Sequence[EventBase]
    settings: Settings
    machine: Machine = field(init=False)

    def __post_init__(self) -> None:
        self.machine = Machine(self.settings.rules)
        self.machine.advance(milliseconds())
        rejected = [why for why in self.machine.apply(self.events) if why is not None]
        assert not rejected, rejected[:3]

    def readings(self, at: int) -> dict[Reading_, float | None]:
        """All readings at an instant (ms) that does not lie before an earlier one."""
        self.machine.advance(at)
        return keyed(self.machine.readings())

    def states(self) -> dict[str, bytes]:
        """Packed state by entity."""
        return dict(self.machine.shard.states)


def keyed(readings: Iterable[Reading]) -> dict[Reading_, float | None]:
    """Readings by what they say something about."""
    found: dict[Reading_, float | None] = {}
    for one in readings:
        key = (one.kpi, one.window, tuple(sorted(one.labels.items())), one.stat)
        assert key not in found, f"{key} appears twice"
        found[key] = one.value
    return found


def differences(
    shown: Mapping[Reading_, float | None], wanted: Mapping[Reading_, float | None]
) -> list[tuple[Reading_, float | None, float | None]]:
    """The readings that differ: what is shown, what is wanted."""
    return [
        (key, shown.get(key), wanted.get(key))
        for key in sorted(shown.keys() | wanted.keys(), key=repr)
        if (key in shown) != (key in wanted) or not _equal(shown[key], wanted[key])
    ]


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or abs(one - other) <= TOLERANCE * max(abs(one), abs(other))


def until_exact(board: Board, oracle: Oracle, deadline: float = 15.0) -> None:
    """Wait until the board shows what the oracle says, to the last reading; then both stand still and are compared."""
    end = time.monotonic() + deadline
    while True:
        with board.now() as view:
            at, shown = view.sums.now, keyed(view.readings())
        found = differences(shown, oracle.readings(at))
        if not found:
            return
        if time.monotonic() > end:
            lines = "\n".join(f"  {key}: shown {one}, wanted {other}" for key, one, other in found[:10])
            raise AssertionError(f"{len(found)} of {len(shown)} readings differ after {deadline:g} s:\n{lines}")
        time.sleep(0.1)


def assert_same_states(live: Live, oracle: Oracle) -> None:
    """The changelog holds the oracle's states, byte for byte."""
    stored, wanted = live.states(), oracle.states()
    missing = wanted.keys() - stored.keys()
    other = [address for address in wanted.keys() & stored.keys() if wanted[address] != stored[address]]
    surplus = stored.keys() - wanted.keys()
    assert not any((missing, other, surplus)), (
        f"missing {sorted(missing)[:5]} ({len(missing)}), different {sorted(other)[:5]} ({len(other)}), "
        f"surplus {sorted(surplus)[:5]} ({len(surplus)})"
    )


def assert_dead_letters(live: Live) -> None:
    """The dead letters are the poison exactly. After a crash one may be there twice: its origin names it."""
    found = live.dead_letters()
    by_origin = dict(found)
    assert by_origin == live.poison, (
        f"missing {[p for p in live.poison.items() if by_origin.get(p[0]) != p[1]][:5]}, "
        f"surplus {[f for f in by_origin.items() if live.poison.get(f[0]) != f[1]][:5]}"
    )
    assert all(by_origin[origin] == reason for origin, reason in found), "one record has two reasons"


# --- looking while things happen


class Observer(threading.Thread):
    """Looks at a board again and again, for quantities that can only grow.

    Args:
        board: the exporter's.
        quantities: name -> function of the readings.
    """

    def __init__(self, exporter: Exporter, look: Callable[[Any], dict[str, float]], every: float = 0.02) -> None:
        super().__init__(name="observer", daemon=True)
        self._exporter = exporter
        self._look = look
        self._every = every
        self._end = threading.Event()
        self.looks = 0
        self.history: dict[str, list[tuple[float, float]]] = {}
        self.dips: list[str] = []

    def run(self) -> None:
        """Look until `stop`."""
        while not self._end.wait(self._every):
            with self._exporter.board.now() as view:
                seen = self._look(view)
            self.looks += 1
            for name, value in seen.items():
                past = self.history.setdefault(name, [])
                if past and value < past[-1][1]:
                    self.dips.append(f"{name}: {past[-1][1]} -> {value}")
                if not past or value != past[-1][1]:
                    past.append((time.monotonic(), value))

    def stop(self) -> None:
        """End, and fail if anything shrank."""
        self._end.set()
        self.join(5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def reading_of(kpi: str, window: str = "all", stat: str = "value") -> Callable[[Any], dict[str, float]]:
    """A look at one reading without labels."""
    from metrics.catalogue import CATALOGUE

    wanted = [one for one in CATALOGUE.kpis if one.id == kpi]

    def look(view: Any) -> dict[str, float]:
        return {
            f"{one.kpi}/{one.window}/{one.stat}": one.value
            for one in view.readings(wanted, frozenset({window}))
            if not one.labels and one.stat == stat and one.value is not None
        }

    return look


__all__ = [
    "KafkaError",
    "Live",
    "Message",
    "Observer",
    "Oracle",
    "Origin",
    "assert_dead_letters",
    "assert_same_states",
    "differences",
    "keyed",
    "messages",
    "reading_of",
    "until_exact",
]
