"""The worker's side of the engine: records of a partition in, states, forwards, dead letters and publications out.

This is the processor that the delivery path drives. It is synchronous and knows no Kafka client: what it wants
written it returns, and the delivery path writes it, acknowledged, before it lets go of the records.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter as Counts
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from salesgauge.metrics.entities.facts import AnyFact, encode
from salesgauge.metrics.entities.routes import home_key
from salesgauge.metrics.entities.state import Message, StateFormatError, read_by_sender
from salesgauge.metrics.rules.privacy import redacted
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.rejections import entity_full, not_computed
from salesgauge.metrics.shard.shard import Failure, Outcome, Shard, admit
from salesgauge.schemas.codec import Reason, Rejection, read_batch, unknown_fields
from salesgauge.schemas.filling import Filling
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.io.memory import give_back
from salesgauge.streams.kafka.connection import partition_of
from salesgauge.streams.kafka.topics import CARRIED_BYTES
from salesgauge.streams.worker import Output, Publication, Record, Send
from salesgauge.streams.worker.building import Builders
from salesgauge.streams.worker.publication import WorkerStatus, claim, publication

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from salesgauge.metrics.shard.panes import PaneKey, Panes
    from salesgauge.metrics.shard.still import Still
    from salesgauge.schemas.wire import AnyEvent
    from salesgauge.streams.settings.model import Settings

_log = logging.getLogger("salesgauge.worker")
_MOST_UNKNOWN = 100
"""Unknown fields told apart; further ones are counted together."""
_HEARTBEAT_MS = 2_000
_ROUND_MS = 30 * 60_000
"""Every pane is published anew within this time, so that whatever disturbed the topic does not last."""
_CONFIRM_MS = 15_000
"""All is claimed and published once more after so long: a claim that was disputed (see :mod:`.publication`) is
undisputed by then."""


class WorkerMetrics:
    """What a worker says about itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.events = Counter("salesgauge_events", "Events read, duplicates included.", ["event"], registry=registry)
        self.repeated = Counter("salesgauge_repeated", "Duplicates: events that were already known.", registry=registry)
        self.rejected = Counter("salesgauge_rejected", "Records sent to dead letters.", ["reason"], registry=registry)
        self.unknown_fields = Counter(
            "salesgauge_unknown_fields",
            "Fields that their kind of event does not have; they were ignored.",
            ["event", "field"],
            registry=registry,
        )
        self.source_events = Counter(
            "salesgauge_source_events",
            "Events read, duplicates included, by the source system that they name.",
            ["event", "source_system"],
            registry=registry,
        )
        self.fields_filled = Counter(
            "salesgauge_fields_filled",
            "Of these, those that had the optional field.",
            ["event", "field", "source_system"],
            registry=registry,
        )
        self.forwarded = Counter("salesgauge_forwarded", "Facts sent to another partition.", registry=registry)
        self.batches = Counter("salesgauge_batches", "Batches applied.", registry=registry)
        self.newest = Gauge(
            "salesgauge_last_event_timestamp_seconds", "When the newest event happened.", registry=registry
        )
        self.entities = Gauge("salesgauge_entities", "Entities held.", registry=registry)
        self.apply = Histogram("salesgauge_apply_seconds", "Time to apply a batch.", registry=registry)
        self.publish = Histogram("salesgauge_publish_seconds", "Time to publish changed panes.", registry=registry)


@dataclass(slots=True)
class _Round:
    """Publishes panes that do not change, evenly over a time."""

    began: int = 0
    keys: Sequence[PaneKey] = ()
    done: int = 0

    def due(self, panes: Panes, now: int) -> Sequence[PaneKey]:
        """The panes whose turn has come since the last call."""
        if self.done == len(self.keys) or now < self.began:  # the clock may have been set back
            self.began, self.keys, self.done = now, list(panes.keys()), 0
        begin, self.done = self.done, min(len(self.keys), len(self.keys) * (now - self.began) // _ROUND_MS)
        return self.keys[begin : self.done]


@dataclass(slots=True)
class _Owned:
    """A partition that this worker owns: its shard, the token of the ownership and what was published."""

    shard: Shard
    learnt: int = 0
    """How far the shard knows the identity log."""
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    generation: int = 0
    published_at: int = 0
    full_at: int = 0
    confirmed: bool = False
    bulky: bool = False
    """Whether building and publishing everything took memory that is free now."""
    round: _Round = field(default_factory=_Round)
    newest: int = 0
    events: int = 0
    rejected: int = 0
    admitted: Counts[str] = field(default_factory=Counts)
    """Events of the batch at hand, by name."""
    elsewhere: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Entity -> earlier owners under whose key the changelog holds a state of it."""
    _tuples: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def changelog(self, states: Mapping[str, bytes]) -> dict[bytes, bytes | None]:
        """States as changelog records, and the removal of what they supersede.

        Keys begin with the owner: a worker that lost the partition without noticing writes under keys of its own, so
        it cannot replace what the new owner knows. At recovery the facts of all owners are united.
        """
        records: dict[bytes, bytes | None] = {}
        for address, state in states.items():
            records[f"{self.owner}/{address}".encode()] = state
            for owner in self.elsewhere.pop(address, ()):
                records[f"{owner}/{address}".encode()] = None
        return records

    def restore(self, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Take changelog records, in order."""
        for key, value in items:
            owner, _, address = key.decode().partition("/")
            owners = self.elsewhere.get(address, ())
            if value is None:
                self._hold(address, tuple(o for o in owners if o != owner))
            elif owners in ((), (owner,)):
                self._hold(address, (owner,))
                self.shard.restore(address, value)
            else:
                self._hold(address, (*(o for o in owners if o != owner), owner))
                self.shard.unite(address, value)

    def _hold(self, address: str, owners: tuple[str, ...]) -> None:
        """Note the owners of a state; the same few tuples serve all entities."""
        self.elsewhere[address] = self._tuples.setdefault(owners, owners)


class Worker:
    """Shards of the assigned partitions.

    Args:
        settings: topics, partitions and rules.
        clock: the instant of the KPIs, ms since the epoch.
    """

    def __init__(self, settings: Settings, clock: Callable[[], int], metrics: WorkerMetrics | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._leaves = LeafIndex(settings.rules.unredacted)
        self._owned: dict[int, _Owned] = {}
        self._elsewhere = _Owned(Shard(settings.rules, self._leaves, lambda _: False))
        """Stands for partitions that are not owned: nothing is at home here, all is sent on."""
        self._active: frozenset[int] = frozenset()
        self._builders = Builders(settings.rules, settings.build_processes)
        self.name = uuid.uuid4().hex[:8]
        """Tells it from other workers, in what it publishes."""
        self.address = ""
        """The URL at which it answers questions; empty while there is none."""
        self._unknown: set[tuple[str, str]] = set()
        self._filling = Filling()
        self.metrics = metrics or WorkerMetrics(CollectorRegistry())

    # --- Processor ---------------------------------------------------------------------------------------------------

    def apply(self, partition: int, records: Sequence[Record]) -> Output:
        """Apply the records of one partition."""
        owned = self._of(partition) if partition in self._active else self._elsewhere
        now = self._clock()
        owned.shard.advance(now)
        with self.metrics.apply.time():
            batch, sources, dead = self._read(owned, records, now)
            outcome = owned.shard.apply(batch)
        dead += self._unprocessed(outcome, sources)
        self._count(owned, outcome, len(dead))
        sends = [*self._sends(owned, outcome), *dead]
        return Output(owned.changelog(outcome.states), sends)

    def position(self, partition: int, records: Sequence[Record]) -> tuple[int, int]:
        """How far a partition has learnt the identity log, and how far the senders of these records had read it."""
        rekeyed = self._settings.rekey_topic
        read = (read_by_sender(record.value or b"") for record in records if record.topic == rekeyed)
        return self._known(partition).learnt, max(read, default=0)

    def learn(self, partition: int, values: Sequence[bytes], position: int) -> Output:
        """Take records of the identity log."""
        owned = self._known(partition)
        owned.shard.advance(self._clock())
        owned.learnt = position
        outcome = owned.shard.learn(map(_decode_merge, values))
        owned.events += outcome.distinct if partition == 0 else 0  # all partitions learn all merges
        dead = self._unprocessed(outcome, ())
        return Output(owned.changelog(outcome.states), [*self._sends(owned, outcome), *dead])

    def restore(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Take a chunk of the changelog."""
        self._of(partition).restore(items)

    def assigned(self, partitions: frozenset[int]) -> None:
        """These partitions are owned now, and their state is whole."""
        for partition in partitions - self._active:
            self._of(partition).shard.advance(self._clock())
        self._active = partitions

    def revoked(self, partitions: frozenset[int]) -> None:
        """These partitions are owned no more."""
        self._active -= partitions
        for partition in partitions:
            owned = self._owned.pop(partition, None)
            if owned is not None:
                self._builders.forget(owned.shard)
        if not self.building():
            self._builders.close()

    # --- Publication -------------------------------------------------------------------------------------------------

    def taken(self, partition: int, generation: int) -> Publication:
        """Claim a partition: what its earlier owners publish from now on does not count."""
        owned = self._of(partition)
        owned.generation = generation
        return Publication(partition, owned.owner, [claim(partition, self._status(owned))])

    def due(self, partition: int) -> Publication | None:
        """What of a partition is to be published now; a partition whose panes are being built waits."""
        owned = self._owned.get(partition)
        if owned is None or partition not in self._active or not self._build(owned.shard):
            return None
        if owned.bulky:
            owned.bulky = False
            give_back()
        now = self._clock()
        owned.shard.advance(now)
        full = not owned.full_at or not (owned.confirmed or 0 <= now - owned.full_at < _CONFIRM_MS)
        quiet = 0 <= now - owned.published_at < _HEARTBEAT_MS
        if quiet and not full and not owned.shard.panes.changed:
            return None
        status = self._status(owned)
        messages = [claim(partition, status)] if full else []
        panes = owned.shard.panes
        with self.metrics.publish.time():
            messages += publication(partition, panes, status, full=full, again=owned.round.due(panes, now))
        owned.published_at = now
        if full:
            owned.bulky = True
            owned.full_at, owned.confirmed = now, bool(owned.full_at)
        return Publication(partition, owned.owner, messages)

    def _build(self, shard: Shard) -> bool:
        if shard.built:
            return True
        self._builders.step(shard)
        if not self.building():
            self._builders.close()
        return shard.built

    def building(self) -> bool:
        """Whether panes of a restored partition are still being computed."""
        return any(not self._owned[p].shard.built for p in self._active if p in self._owned)

    def _status(self, owned: _Owned) -> WorkerStatus:
        # Whether a worker is alive is a matter of the wall clock, whatever time its numbers speak of.
        return WorkerStatus(
            wall_clock(), owned.newest, owned.events, owned.rejected, len(owned.shard), self.name, owned.generation,
            owned.learnt, self.address,
        )  # fmt: skip

    # --- Parts of apply ----------------------------------------------------------------------------------------------

    def _known(self, partition: int) -> _Owned:
        """What is owned or being recovered of a partition; else what stands for those of others."""
        return self._owned.get(partition, self._elsewhere)

    def _of(self, partition: int) -> _Owned:
        owned = self._owned.get(partition)
        if owned is None:
            owned = self._owned[partition] = _Owned(Shard(self._settings.rules, self._leaves, self._home(partition)))
        return owned

    def _home(self, partition: int) -> Callable[[str], bool]:
        partitions = self._settings.kafka.partitions
        return lambda key: partition_of(key, partitions) == partition

    def _read(
        self, owned: _Owned, records: Sequence[Record], now: int
    ) -> tuple[list[Message], list[Record], list[Send]]:
        """Records as addressed facts (with the record of each), and the dead letters among them."""
        rekeyed = self._settings.rekey_topic
        events = [record for record in records if record.topic != rekeyed]
        batch: list[Message] = []
        sources: list[Record] = []
        dead: list[Send] = []
        for record, decoded in zip(events, read_batch([record.value for record in events]), strict=True):
            item = decoded if isinstance(decoded, Rejection) else self._admit(owned, decoded, now)
            if isinstance(item, Rejection):
                dead.append(self._dead_letter(record, item))
            else:
                batch.append(item)
                sources.append(record)
                if not isinstance(decoded, Rejection):
                    self._note_unknown(record, decoded)
        for record in records:
            if record.topic != rekeyed:
                continue
            try:
                batch.append(Message.unpack(record.value or b""))
                sources.append(record)
            except StateFormatError as error:
                dead.append(self._dead_letter(record, Rejection(Reason.INVALID, str(error))))
        return batch, sources, dead

    def _admit(self, owned: _Owned, event: AnyEvent, now: int) -> Message | Rejection:
        item = admit(event, self._settings.rules, now)
        if isinstance(item, Message):
            owned.newest = max(owned.newest, *(fact.at for fact in item.facts))
            owned.admitted[event.name] += 1
            self._filling.add(event)
        return item

    def _note_unknown(self, record: Record, event: AnyEvent) -> None:
        """Count the fields that the event does not have, and name each once in the log."""
        for field_name in unknown_fields(record.value, event):
            name = (event.name, field_name)
            if name not in self._unknown and len(self._unknown) < _MOST_UNKNOWN:
                self._unknown.add(name)
                _log.warning("%s has no field %s: it is ignored; is it misspelt?", *name)
            shown = name if name in self._unknown else (event.name, "other")
            self.metrics.unknown_fields.labels(*shown).inc()

    def _unprocessed(self, outcome: Outcome, sources: Sequence[Record]) -> list[Send]:
        full = entity_full(self._settings.rules.max_facts)
        dead = [self._dead_letter(sources[i], full) for i in sorted(set(outcome.refused))]
        for failure in outcome.failed:
            dead += self._failed(failure, sources)
        return dead

    def _failed(self, failure: Failure, sources: Sequence[Record]) -> list[Send]:
        why = not_computed(failure.error)
        dead = []
        for position, item in failure.items:
            if position >= 0:
                dead.append(self._dead_letter(sources[position], why))
            else:
                packed = Record(self._settings.rekey_topic, -1, -1, self._clock(), None, item.pack())
                dead.append(self._dead_letter(packed, why))
        return dead

    def _dead_letter(self, record: Record, rejection: Rejection) -> Send:
        self.metrics.rejected.labels(rejection.reason.value).inc()
        headers = {
            "reason": rejection.reason.value,
            "detail": rejection.detail,
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
            "timestamp": str(record.timestamp),
        }
        encoded = [(name, value.encode()) for name, value in headers.items()]
        return Send(self._settings.dead_letter_topic, None, record.key, _carried(record.value), encoded)

    def _sends(self, owned: _Owned, outcome: Outcome) -> list[Send]:
        """Messages to entities of other partitions, and merges to the identity log."""
        sends = []
        for item in outcome.sends:
            key = home_key(item.to)
            partition = partition_of(key, self._settings.kafka.partitions)
            value = msgspec.structs.replace(item, read=owned.learnt).pack()
            sends.append(Send(self._settings.rekey_topic, partition, key.encode(), value, []))
        self.metrics.forwarded.inc(len(sends))
        for merge in outcome.merges:
            # A version of its own for each key: compaction must not let a lower one replace a higher one.
            name = f"{merge.about} {merge.id:016x} {merge.recorded}"
            sends.append(Send(self._settings.identity_topic, 0, name.encode(), encode(merge), []))
        return sends

    def _count(self, owned: _Owned, outcome: Outcome, dead: int) -> None:
        for name, count in owned.admitted.items():
            self.metrics.events.labels(name).inc(count)
        owned.admitted.clear()
        self._count_filled()
        owned.events += outcome.distinct
        owned.rejected += dead
        self.metrics.repeated.inc(outcome.repeated)
        self.metrics.batches.inc()
        self.metrics.newest.set(max(o.newest for o in (*self._owned.values(), self._elsewhere)) / 1000)
        self.metrics.entities.set(sum(len(o.shard) for o in self._owned.values()))

    def stills(self, partitions: Iterable[int]) -> dict[int, Still]:
        """The entities of those of the partitions that are owned, with their state whole, as they are now."""
        owned = self._active.intersection(partitions) & self._owned.keys()
        return {partition: self._owned[partition].shard.still() for partition in sorted(owned)}

    def _count_filled(self) -> None:
        for one in self._filling.take():
            source = redacted(one.source_system)
            self.metrics.source_events.labels(one.event, source).inc(one.events)
            for name, count in one.fields.items():
                self.metrics.fields_filled.labels(one.event, name, source).inc(count)

    @property
    def shards(self) -> Mapping[int, Shard]:
        """The shards by partition."""
        return {partition: owned.shard for partition, owned in self._owned.items()}


_decode_merge: Callable[[bytes], Any] = msgspec.msgpack.Decoder(AnyFact).decode


def _carried(value: bytes | None) -> bytes | None:
    """What a dead letter carries of the value: all of it, unless it is far beyond what an event can be."""
    return value if value is None or len(value) <= CARRIED_BYTES else value[:CARRIED_BYTES]
