"""The exporter: reads the windows topic, merges the partials of all partitions and shows the catalogue at now."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.families import families
from salesgauge.metrics.kpis.readings import Reading, View
from salesgauge.metrics.windows.series import SeriesIndex
from salesgauge.metrics.windows.sums import WindowSums
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.io.prometheus_text import encode
from salesgauge.streams.kafka.connection import BrokerError, consumer
from salesgauge.streams.kafka.control import Active, watch
from salesgauge.streams.worker.publication import OWNER, Subscriber, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from salesgauge.metrics.kpis.kpi import Catalogue
    from salesgauge.streams.settings.model import Settings

_log = logging.getLogger("salesgauge.exporter")
_POLL_MS = 200
_CLIENT = {
    "max_poll_records": 2000,
    "fetch_max_wait_ms": 50,
    "check_crcs": False,  # computed in Python, they cost as much as all else; records are decoded and checked anyway
    "auto_offset_reset": "earliest",  # a topic that is made anew is read from its beginning
    "reconnect_backoff_max_ms": 1000,
    "request_timeout_ms": 10_000,
}
_RETRY_SECONDS = 2.0
_LOOK_SECONDS = 2.0
"""How often the ends of the partitions are asked for: who answers that is there."""
_LOOK_MS = 4000
_STALE_MS = 30_000
"""An owner that has not said anything for so long is gone, or in trouble."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the gauges can be trusted, if not, why.

    ``freshness`` is the age in s of the oldest partition's last heartbeat. ``identity_behind`` is how many records of
    the identity log some partition has read less than another: while it is not 0 a lead that was merged just now may
    be shown nowhere, or twice, for a moment.
    """

    ready: bool
    reasons: tuple[str, ...]
    lag: dict[int, int]
    freshness: float | None
    partitions: int
    workers: int
    identity_behind: int = 0


@dataclass
class Board:
    """Window sums that a subscriber feeds and readers look at, one at a time."""

    settings: Settings
    catalogue: Catalogue = field(default_factory=CATALOGUE.scoped)
    clock: Callable[[], int] = wall_clock
    """The instant of the KPIs, in ms since the epoch."""
    view: View = field(init=False)
    subscriber: Subscriber = field(init=False)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        rules = self.settings.rules
        sums = WindowSums(SeriesIndex(self.catalogue.plan()), rules, self.catalogue.windows_before())
        self.view = View(self.catalogue, sums)
        self.subscriber = Subscriber(sums)

    @contextmanager
    def now(self, at: int | None = None) -> Iterator[View]:
        """The view at an instant (ms; default: the clock's), held still while it is looked at."""
        with self.lock:
            self.view.sums.advance(self.clock() if at is None else at)
            yield self.view

    def become(self, other: Board) -> None:
        """Show what the other one shows, from one look to the next; the two share their lock."""
        with self.lock:
            self.settings, self.view, self.subscriber = other.settings, other.view, other.subscriber

    def readings(self) -> list[Reading]:
        """All readings at this moment."""
        with self.now() as view:
            return list(view.readings())

    def totals(self) -> WorkerStatus:
        """The partitions' statuses summed up; times are the newest."""
        statuses = self.subscriber.statuses.values()
        return WorkerStatus(
            at=max((s.at for s in statuses), default=0),
            newest_event=max((s.newest_event for s in statuses), default=0),
            events=sum(s.events for s in statuses),
            rejected=sum(s.rejected for s in statuses),
            entities=sum(s.entities for s in statuses),
        )


class Follower:
    """Feeds a subscriber from the windows topic of one version, in a thread of its own.

    Args:
        settings: of that version.
        subscriber: takes the records.
        lock: held while it does.
        bad_records: counts what is no publication.
    """

    def __init__(self, settings: Settings, subscriber: Subscriber, lock: threading.RLock, bad_records: Counter) -> None:
        self.settings = settings
        self.error = ""
        self.caught_up = False
        self._subscriber = subscriber
        self._lock = lock
        self._bad_records = bad_records
        self._stop = threading.Event()
        self._positions: dict[int, int] = {}
        self._lag: dict[int, int] = {}
        self._thread = threading.Thread(target=self._follow, name=settings.windows_topic, daemon=True)

    def start(self) -> None:
        """Begin to follow; what fails is tried again."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop following and wait for it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def health(self) -> Health:
        """Whether everything of this version is there."""
        statuses = dict(self._subscriber.statuses)  # a copy is one step for other threads: probes wait for nothing
        partitions = self.settings.kafka.partitions
        lag = dict(self._lag)
        ages = [wall_clock() - status.at for status in statuses.values()]
        reasons = []
        if self.error:
            reasons.append(self.error)
        if not self.caught_up:
            reasons.append(f"reading the windows topic, {sum(lag.values())} records to go")
        missing = partitions - len(statuses)
        if missing > 0:
            reasons.append(f"{missing} of {partitions} partitions have not been published by a worker")
        if ages and max(ages) > _STALE_MS:
            reasons.append(f"no heartbeat for {max(ages) // 1000} s from a partition's worker; it is down or recovers")
        if self.caught_up and sum(lag.values()) > self.settings.ready_lag:
            reasons.append(f"{sum(lag.values())} records behind on the windows topic")
        workers = len({status.worker for status in statuses.values()})
        freshness = max(ages) / 1000 if ages else None
        read = [status.identities for status in statuses.values()]
        behind = max(read, default=0) - min(read, default=0)
        return Health(not reasons, tuple(reasons), lag, freshness, len(statuses), workers, behind)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                with consumer(self.settings.kafka, **_CLIENT) as client:
                    self._read(client)
            except (BrokerError, KafkaError) as error:
                self.error = str(error)
                self._stop.wait(_RETRY_SECONDS)

    def _read(self, client: KafkaConsumer) -> None:
        topic = self.settings.windows_topic
        partitions = [TopicPartition(topic, p) for p in sorted(client.partitions_for_topic(topic) or ())]
        client.assign(partitions)
        ends = client.end_offsets(partitions)
        starts = client.beginning_offsets(partitions)
        for partition in partitions:
            client.seek(partition, max(self._positions.get(partition.partition, 0), starts[partition]))
        self.error = ""
        looked = time.monotonic()
        while not self._stop.is_set():
            if time.monotonic() - looked > _LOOK_SECONDS:
                self._look(client, partitions)
                looked = time.monotonic()
            for records in client.poll(timeout_ms=_POLL_MS).values():
                self._accept(records)
            self._positions = {p.partition: client.position(p) for p in partitions}
            behind = {p.partition: _end(client, p, ends) - self._positions[p.partition] for p in partitions}
            self._lag = {p: max(0, records) for p, records in behind.items()}
            if not self.caught_up and all(self._positions[p.partition] >= ends[p] for p in partitions):
                with self._lock:
                    self._subscriber.settle()
                self.caught_up = True

    def _look(self, client: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Ask something that is answered at once, and say so where it is not."""
        try:
            client.end_offsets(partitions, timeout_ms=_LOOK_MS)
            self.error = ""
        except KafkaError:
            self.error = f"Kafka at {self.settings.kafka.bootstrap} does not answer; waiting for it"

    def _accept(self, records: Sequence[object]) -> None:
        with self._lock:
            for record in records:
                owner = dict(record.headers or ()).get(OWNER, b"")  # type: ignore[attr-defined]
                try:
                    self._subscriber.accept(record.key, record.value, owner.decode())  # type: ignore[attr-defined]
                except ValueError:
                    self._bad_records.inc()


class Exporter:
    """Keeps a board up to date with the windows topic.

    Args:
        settings: of the version to begin with.
        board: what readers look at.
        follow: whether to change to another version when that becomes the active one. It is loaded aside, and the
            board takes it over as a whole once it is complete, so the gauges have no gap.
    """

    def __init__(self, settings: Settings, board: Board, *, follow: bool = False) -> None:
        self.board = board
        self.registry = CollectorRegistry()
        self._bad_records = Counter(
            "salesgauge_windows_bad_records",
            "Records of the windows topic that are not publications.",
            registry=self.registry,
        )
        self.scrapes = Histogram("salesgauge_scrape_seconds", "Time to compute a scrape.", registry=self.registry)
        self._follower = self._follower_of(board)
        self._next: tuple[Follower, Board] | None = None
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="control", daemon=True) if follow else None
        self._settings = settings
        self.registry.register(_Self(self))

    def exposition(self, *, openmetrics: bool) -> bytes:
        """The KPIs as ``/metrics`` shows them; none before the topic has been read. Hold the board still meanwhile."""
        return encode(families(self.board.view) if self._follower.caught_up else [], openmetrics=openmetrics)

    def start(self) -> None:
        """Begin to follow.

        Raises:
            BrokerError: Kafka cannot be reached at the start; later the exporter keeps trying.
        """
        with consumer(self._settings.kafka) as client:
            if not client.partitions_for_topic(self._settings.windows_topic):
                raise BrokerError(f"topic {self._settings.windows_topic} is missing; run `salesgauge topics create`")
        self._follower.start()
        if self._watcher is not None:
            self._watcher.start()

    def stop(self) -> None:
        """Stop following and wait for it."""
        self._stop.set()
        if self._watcher is not None and self._watcher.is_alive():
            self._watcher.join(timeout=5)
        self._drop_next()
        self._follower.stop()

    def health(self) -> Health:
        """Whether everything that should be shown is shown."""
        return self._follower.health()

    @property
    def version(self) -> int:
        """The version that is shown."""
        return self._follower.settings.version

    # --- another version becomes the active one

    def _watch(self) -> None:
        for active in watch(self._settings, self._stop):
            if active is not None:
                self._aim(active)
            if self._next is not None and self._next[0].health().ready:
                self._change(*self._next)

    def _aim(self, active: Active) -> None:
        """Load the active version, unless it is shown or being loaded."""
        loading = self._next[0].settings.version if self._next else self.version
        if active.version == loading:
            return
        self._drop_next()
        if active.version != self.version:
            board = Board(
                active.applied_to(self._settings), self.board.catalogue, self.board.clock, lock=self.board.lock
            )
            self._next = self._follower_of(board), board
            self._next[0].start()
            _log.warning("version %d is now the active one; loading it", active.version)

    def _change(self, follower: Follower, board: Board) -> None:
        old, self._next = self._follower, None
        with self.board.lock:
            self.board.become(board)
            self._follower = follower
        _log.warning("the gauges now show version %d", follower.settings.version)
        old.stop()

    def _drop_next(self) -> None:
        if self._next is not None:
            self._next[0].stop()
            self._next = None

    def _follower_of(self, board: Board) -> Follower:
        return Follower(board.settings, board.subscriber, board.lock, self._bad_records)


def _end(client: KafkaConsumer, partition: TopicPartition, ends: dict[TopicPartition, int]) -> int:
    return max(client.highwater(partition) or 0, ends[partition])


class _Self(Collector):
    """What the exporter says about itself."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        health = self._exporter.health()
        board = self._exporter.board
        yield GaugeMetricFamily("salesgauge_ready", "Whether the gauges can be trusted.", float(health.ready))
        if health.freshness is not None:
            yield GaugeMetricFamily(
                "salesgauge_freshness_seconds", "Age of the oldest partition's last heartbeat.", health.freshness
            )
        yield GaugeMetricFamily(
            "salesgauge_identity_behind_records",
            "Records of the identity log that the slowest partition lacks; the gauges are settling while it is not 0.",
            health.identity_behind,
        )
        lag = GaugeMetricFamily("salesgauge_windows_lag_records", "Records still to read.", labels=["partition"])
        for partition, behind in health.lag.items():
            lag.add_metric([str(partition)], behind)
        yield lag
        yield GaugeMetricFamily(
            "salesgauge_state_version", "Version of the state that is shown.", self._exporter.version
        )
        yield GaugeMetricFamily(
            "salesgauge_evaluated_timestamp_seconds",
            "The instant at which all KPIs of this scrape end, to the millisecond.",
            board.view.sums.now / 1000,
        )
        yield GaugeMetricFamily("salesgauge_series", "Series held.", len(board.view.sums.index))
        folded = GaugeMetricFamily(
            "salesgauge_folded_label_values", "Label values shown as `other`.", labels=["kpi", "breakdown"]
        )
        for (kpi, breakdown), count in list(board.view.folded.items()):
            folded.add_metric([kpi, "_".join(breakdown)], count)
        yield folded
        yield GaugeMetricFamily(
            "salesgauge_fenced_records",
            "Records ignored because their worker had lost the partition.",
            board.subscriber.ignored,
        )
