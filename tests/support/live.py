"""A live installation for tests: topics on some broker, real worker processes, an exporter, and the oracle.

The oracle is one `Machine` that is fed the same events without Kafka. What the exporter shows must be equal to it,
reading by reading, and the states in the changelog to the machine's.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import sys
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import uuid4

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.shard import Shard
from salesgauge.schemas.codec import encode
from salesgauge.schemas.events import TOPICS
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.kafka import connection as brokers
from salesgauge.streams.kafka import topics
from salesgauge.streams.kafka.connection import partition_of
from salesgauge.streams.serve.exporter import Board, Exporter
from salesgauge.streams.settings.model import Kafka, Settings
from salesgauge.streams.simulation.history import Organisation, disturb, history
from tests.support.process import Process
from tests.support.wait import NeverTrueError, until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from salesgauge.metrics.kpis.readings import Reading
    from salesgauge.schemas.events import EventBase

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


def some_events(seed: int, days: int = 20, leads_per_day: float = 18, without: Container[str] = ()) -> list[EventBase]:
    """A simulated past that ended yesterday: merges, reopened deals, corrections and all."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    company = Organisation(seed=seed, leads_per_day=leads_per_day, customers=30)
    past = history(company, end - timedelta(days=days), end)
    return [event for event in past if event.name not in without]


def slices(items: list[Message], count: int) -> list[list[Message]]:
    """Items in so many parts."""
    size = -(-len(items) // count)
    return [items[start : start + size] for start in range(0, len(items), size)]


class Worker(Process):
    """A process of `salesgauge worker`, or of another command."""

    def __init__(
        self, live: Live, number: int, *, command: str, module: str, env: Mapping[str, str], cwd: Path | None
    ) -> None:
        super().__init__(
            [sys.executable, "-m", module, command, "--port", "0"],
            log=live.folder / f"{command}-{number}.log",
            name=f"{command} {number}",
            env={**live.env, **env},
            cwd=cwd or live.folder,
        )

    @property
    def url(self) -> str | None:
        """Where it shows its own metrics; None while it does not listen."""
        found = re.search(r"listening on (\S+)", self.log.read_text(errors="replace"))
        return found[1] if found else None

    def metric(self, name: str) -> float:
        """The sum of a metric's series; 0 while it does not listen."""
        url = self.url
        if url is None:
            return 0.0
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}(\{{| )", line))

    @property
    def owned(self) -> int:
        """How many partitions it owns, with their state whole."""
        return round(self.metric("salesgauge_assigned_partitions"))


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
        self._open = contextlib.ExitStack()
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
        self._open.close()

    @functools.cached_property
    def producer(self) -> Any:
        """One producer for all that is published."""
        producer = brokers.producer(
            self.settings.kafka,
            max_request_size=64 * 1024 * 1024,
            retries=1000,
            metadata_max_age_ms=1000,
            request_timeout_ms=5000,
            reconnect_backoff_max_ms=500,
        )
        self._open.callback(producer.close, timeout=1)
        return producer

    @functools.cached_property
    def admin(self) -> Any:
        """One client for administration."""
        return self._open.enter_context(brokers.admin(self.settings.kafka))

    @functools.cached_property
    def reader(self) -> Any:
        """One consumer, without a group."""
        return self._open.enter_context(brokers.consumer(self.settings.kafka, auto_offset_reset="earliest"))

    # --- workers

    def worker(
        self,
        *,
        command: str = "worker",
        module: str = "salesgauge",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Worker:
        """Start one more worker, or what another command starts."""
        worker = Worker(self, next(self._numbers), command=command, module=module, env=env or {}, cwd=cwd)
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

    def until_shared(self, deadline: float = 30.0) -> None:
        """Wait until the running workers own all partitions among them, each its share."""

        def shared() -> bool:
            owned = [worker.owned for worker in self.running]
            return sum(owned) == self.partitions and min(owned) >= self.partitions // len(owned)

        until(shared, deadline, f"{len(self.running)} workers share {self.partitions} partitions", every=0.1)

    def kill(self, rng: random.Random) -> None:
        """SIGKILL one of the running workers."""
        if self.running:
            rng.choice(self.running).kill()

    # --- events

    def publish(self, batch: Sequence[Message], *, partitions: int | None = None) -> None:
        """Send messages, acknowledged, and note where the topics end and where the poison lies."""
        pending = []
        for message in batch:
            chosen = None if message.key is None else partition_of(message.key, partitions or self.partitions)
            key = None if message.key is None else message.key.encode()
            pending.append((message, self.producer.send(message.topic, message.value, key, [], chosen)))
        self.producer.flush(timeout=60)
        for message, future in pending:
            sent = future.get(timeout=60)
            place = TopicPartition(sent.topic, sent.partition)
            self.ends[place] = max(self.ends[place], sent.offset + 1)
            if message.reason is not None:
                self.poison[Origin(sent.topic, sent.partition, sent.offset)] = message.reason

    def publish_widely(self, parts: Iterable[Sequence[Message]], grown: Container[str], partitions: int) -> None:
        """Publish after some topics have got more partitions."""
        for part in parts:
            self.publish([message for message in part if message.topic not in grown])
            self.publish([message for message in part if message.topic in grown], partitions=partitions)

    def committed(self) -> dict[TopicPartition, int]:
        """The committed offsets."""
        group = self.settings.application
        known = self.admin.list_group_offsets({group: [*self.ends, *self._rekeyed()]})[group]
        return {place: max(0, one.offset) for place, one in known.items()}

    def behind(self) -> dict[TopicPartition, int]:
        """Partitions whose committed offset lies before their end, with the distance."""
        ends = {**self.ends, **self.reader.end_offsets(self._rekeyed())}
        committed = self.committed()
        return {place: end - committed.get(place, 0) for place, end in ends.items() if end > committed.get(place, 0)}

    def until_drained(self, deadline: float = 60.0) -> None:
        """Wait until everything published is processed and committed."""

        try:
            until(lambda: not self.behind(), deadline, every=0.2)
        except NeverTrueError:
            logs = "\n".join(f"{worker.name} ({worker.returncode}): {worker.tail(5)}" for worker in self.workers)
            raise NeverTrueError(f"not committed within {deadline:g} s: {self.behind()}\n{logs}") from None

    def allow(self, topic: str, max_bytes: int) -> None:
        """Let a topic take larger messages, where the broker has such a limit."""
        from kafka.admin import ConfigResource, ConfigResourceType

        config = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": str(max_bytes)})
        with contextlib.suppress(KafkaError):
            self.admin.alter_configs([config], raise_on_unknown=False)

    def _rekeyed(self) -> list[TopicPartition]:
        return [TopicPartition(self.settings.rekey_topic, partition) for partition in range(self.partitions)]

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
        shard = Shard(self.settings.rules, LeafIndex())
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
        return read_all(self.reader, topic)


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
        self.machine.advance(wall_clock())
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


def check(live: Live, oracle: Oracle, exporter: Exporter) -> None:
    """Everything is there, nothing is there twice."""
    live.until_drained(60)
    until_exact(exporter.board, oracle)
    assert_same_states(live, oracle)
    assert_dead_letters(live)
    for worker in live.workers:
        log = worker.log.read_text()
        assert "are gone" not in log, f"{worker.name} missed records:\n{log[-2000:]}"


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


GROWING = (
    "activities", "deals_won", "new_leads", "opportunities_created", "product_demos", "proposals_sent", "sales_revenue"
)  # fmt: skip
"""KPIs that can only grow with the set of events, unless some take back what others said."""
SHRINKING = frozenset({
    "account_merged", "deal_credited", "deal_deleted", "deal_reopened", "email_bounced", "lead_deleted", "lead_merged",
})  # fmt: skip


def totals(*kpis: str) -> Callable[[Any], dict[str, float]]:
    """A look at the totals of some KPIs."""
    from salesgauge.metrics.kpis.catalogue import CATALOGUE

    wanted = [CATALOGUE.by_id[kpi] for kpi in kpis or GROWING]
    everything = frozenset({"all"})

    def look(view: Any) -> dict[str, float]:
        readings = view.readings(wanted, everything)
        return {f"{one.kpi} {one.stat}": one.value for one in readings if not one.labels and one.value is not None}

    return look


class Flow(threading.Thread):
    """Publishes messages steadily, beside what the test does; leaving the `with` block waits for the rest."""

    def __init__(self, live: Live, parts: Sequence[Sequence[Message]], pause: float = 0.05) -> None:
        super().__init__(name="flow", daemon=True)
        self._live = live
        self._parts = parts
        self._pause = pause
        self._hurry = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Publish part by part."""
        try:
            for part in self._parts:
                self._live.publish(part)
                self._hurry.wait(self._pause)
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            self._error = error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._hurry.set()
        self.join(60)
        if kind is None:
            assert not self.is_alive(), "publishing hangs"
            if self._error is not None:
                raise self._error


@contextlib.contextmanager
def watched(live: Live, events: Sequence[EventBase]) -> Iterator[Exporter]:
    """An exporter that must not dip; in the end it shows what the oracle says."""
    with live.exporter() as exporter, Observer(exporter, totals()) as observer:
        yield exporter
        check(live, Oracle(events, live.settings), exporter)
        assert observer.looks > 10
        assert not observer.dips, observer.dips


def disturbed(events: Sequence[EventBase], parts: int = 60) -> list[list[Message]]:
    """The events shuffled, some twice, in parts."""
    return slices(list(disturb(messages(events), seed=5)), parts)


__all__ = [
    "SHRINKING",
    "Flow",
    "KafkaError",
    "Live",
    "Message",
    "Observer",
    "Oracle",
    "Origin",
    "assert_dead_letters",
    "assert_same_states",
    "check",
    "differences",
    "disturbed",
    "keyed",
    "messages",
    "slices",
    "some_events",
    "totals",
    "until_exact",
    "watched",
]
