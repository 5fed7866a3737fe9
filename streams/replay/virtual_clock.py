"""The engine under a virtual clock, fed with records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.entities.facts import millis
from salesgauge.metrics.kpis.families import Family, Type, families
from salesgauge.schemas.codec import Rejection, count_unknown, read_batch
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.io.records import BATCH, NOWHERE, KnownRecord, RawRecord, event_known_at
from salesgauge.streams.io.rejects import Rejects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from salesgauge.metrics.kpis.kpi import Catalogue
    from salesgauge.metrics.kpis.readings import Reading, View
    from salesgauge.metrics.rules.model import Rules
    from salesgauge.schemas.wire import AnyEvent


@dataclass(slots=True)
class Evaluation:
    """What the gauges show at an instant (ms), each form computed once. Use it before the clock moves on."""

    at: int
    events: int
    rejected: int
    view: View
    _families: list[Family] | None = None
    _readings: list[Reading] | None = None

    @property
    def families(self) -> list[Family]:
        """As on ``/metrics``."""
        if self._families is None:
            whole = {kpi.metric for kpi in self.view.catalogue.kpis if kpi.whole}
            self._families = [
                family
                for family in families(self.view)
                if family.type is not Type.GAUGE_HISTOGRAM or family.name in whole
            ]
        return self._families

    @property
    def readings(self) -> list[Reading]:
        """As in the catalogue."""
        if self._readings is None:
            self._readings = list(self.view.readings())
        return self._readings

    @property
    def not_connected(self) -> Mapping[str, tuple[str, ...]]:
        """The KPIs without a value for want of events, by id, with the events that never came."""
        return self.view.not_connected()


class _Ahead:
    """Records in order of time, taken up to an instant at a time."""

    def __init__(self, ordered: Iterator[KnownRecord]) -> None:
        self._ordered = ordered
        self._next = next(ordered, None)

    def until(self, at: int) -> Iterator[RawRecord]:
        """The records that were known at ``at`` (ms) and have not been taken."""
        while self._next is not None and self._next[0] <= at:
            record = self._next[1]
            self._next = next(self._ordered, None)
            yield record


@dataclass(slots=True)
class ClockedEngine:
    """Applies records and shows what the gauges would have shown.

    ``seen`` counts records, ``valid`` those that are events, whenever they happened.
    """

    rules: Rules
    catalogue: Catalogue
    rejects: Rejects = field(default_factory=Rejects)
    machine: Machine = field(init=False)
    seen: int = 0
    valid: int = 0
    unknown_fields: Counter[str] = field(default_factory=Counter)
    """Fields that no event of the kind has, such as ``deal_won.rep``, with the events that had them."""

    def __post_init__(self) -> None:
        self.machine = Machine(self.rules, self.catalogue, recorded_by=wall_clock())

    @property
    def now(self) -> int:
        """The virtual clock, ms."""
        return self.machine.shard.panes.now

    def load(self, records: Iterable[RawRecord], at: int | None, *, corrected: bool = True) -> Evaluation:
        """Apply everything known at ``at`` (ms; None: when the latest event happened), in any order.

        It is for a replay that has applied nothing yet: the records are taken in bulk.
        """
        if at is not None:
            self.machine.advance(at)
        stream = iter(records)
        while batch := list(islice(stream, BATCH)):
            pairs = self.known(batch, at, corrected=corrected)
            self._note_refusals(pairs, self.machine.load([event for _, event in pairs]))
        self._finish()
        return self.show()

    def known(self, batch: list[RawRecord], at: int | None, *, corrected: bool) -> list[tuple[RawRecord, AnyEvent]]:
        """The events among records that were known at ``at`` (ms); None: all, and the clock follows them."""
        pairs = self._decode(batch)
        if at is None:
            self._follow(pairs)
            return pairs
        return [
            (record, event) for record, event in pairs if event_known_at(event, record.at, corrected=corrected) <= at
        ]

    def walk(self, ordered: Iterator[KnownRecord], instants: Iterable[int]) -> Iterator[int]:
        """Go through time: at each instant (ms, ascending) apply what was known by it, then yield it.

        The readings are a function of the events and the clock, so the clock may move before the events
        of the step are applied. What was known by the first instant is taken in bulk: it is for a replay that has
        applied nothing yet.
        """
        ahead = _Ahead(ordered)
        for number, at in enumerate(instants):
            self.machine.advance(at)
            while batch := list(islice(ahead.until(at), BATCH)):
                pairs = self._decode(batch)
                take = self.machine.apply if number else self.machine.load
                self._note_refusals(pairs, take([event for _, event in pairs]))
            if not number:
                self._finish()
            yield at

    def show(self) -> Evaluation:
        """The readings at the clock."""
        self.machine.readings()  # brings the view up to the clock; nothing is evaluated yet
        return Evaluation(self.now, self.machine.events, self.rejects.count, self.machine.view)

    def _follow(self, pairs: list[tuple[RawRecord, AnyEvent]]) -> None:
        if pairs:
            self.machine.advance(max(millis(event.occurred_at) for _, event in pairs))

    def _decode(self, batch: list[RawRecord]) -> list[tuple[RawRecord, AnyEvent]]:
        pairs = []
        for record, result in zip(batch, read_batch([record.payload for record in batch]), strict=True):
            if isinstance(result, Rejection):
                self.rejects.add(record, result)
            else:
                pairs.append((record, result))
                count_unknown(self.unknown_fields, record.payload, result)
        self.seen += len(batch)
        self.valid += len(pairs)
        return pairs

    def _finish(self) -> None:
        for failure in self.machine.finish():
            self.rejects.add(RawRecord(None, "entities", NOWHERE), failure)

    def _note_refusals(self, pairs: list[tuple[RawRecord, AnyEvent]], refusals: list[Rejection | None]) -> None:
        for (record, _), refusal in zip(pairs, refusals, strict=True):
            if refusal is not None:
                self.rejects.add(record, refusal)
