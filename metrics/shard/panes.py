"""Panes: the slices of time that windows are merged from, for one source partition.

Two sizes of panes serve all windows: minutes for windows up to a day, hours for longer ones. What leaves the
retention of the hours is folded into a base, so that stocks and the window ``all`` stay exact. Contributions that lie
ahead of the clock (a deadline, the end of a quota period) wait aside until their instant has come. Of some
distributions each sample is kept, too (:mod:`.samples`), as long as the hours are.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.measures.buckets import code_of
from salesgauge.metrics.measures.registry import Kind
from salesgauge.metrics.rules.model import HOUR, MINUTE, Rules
from salesgauge.metrics.shard.leaves import CODES, LeafIndex
from salesgauge.metrics.shard.pane_store import Cells, PaneStore
from salesgauge.metrics.shard.samples import sample_cell


class Resolution(enum.StrEnum):
    """Which store a pane belongs to."""

    FINE = "fine"
    COARSE = "coarse"
    BASE = "base"
    ROSTER = "roster"
    SAMPLES = "samples"


class PaneKey(NamedTuple):
    """A pane: ``[index * size, (index + 1) * size)`` in ms. A base has index 0; rosters and samples are by hour."""

    resolution: Resolution
    index: int  # type: ignore[assignment]  # a field may hide tuple.index


Roster = dict[int, Cells]
"""instant in ms -> cells."""

BASE = PaneKey(Resolution.BASE, 0)

# An enum's member is looked up slowly, and this is the hottest path.
_FINE, _COARSE, _BASE, _ROSTER = Resolution.FINE, Resolution.COARSE, Resolution.BASE, Resolution.ROSTER
_SAMPLES = Resolution.SAMPLES
_IS_SUM, _IS_ROSTER = Kind.SUM, Kind.ROSTER


class Held(NamedTuple):
    """What panes hold: by index of a minute and of an hour, in the base, per hour and instant, ahead per instant.

    ``samples`` are by hour.
    """

    fine: dict[int, Cells]
    coarse: dict[int, Cells]
    base: Cells
    roster: dict[int, Roster]
    ahead: dict[int, Cells]
    samples: dict[int, Cells]


@dataclass(slots=True)
class Panes:
    """The panes of one source partition. ``horizon`` is the first coarse pane that is not folded into the base."""

    leaves: LeafIndex
    rules: Rules
    now: int = 0
    fine: PaneStore = field(default_factory=PaneStore)
    coarse: PaneStore = field(default_factory=PaneStore)
    base: Cells = field(default_factory=dict)
    roster: dict[int, Roster] = field(default_factory=dict)
    samples: PaneStore = field(default_factory=PaneStore)
    horizon: int = 0
    _changed: dict[Resolution, set[int]] = field(
        default_factory=lambda: {resolution: set() for resolution in Resolution}
    )
    _ahead: dict[int, Cells] = field(default_factory=dict)
    _instants: list[int] = field(default_factory=list)
    _first_fine: int = field(init=False)
    _fine_retention_ms: int = field(init=False)
    _coarse_retention_ms: int = field(init=False)
    _coarse_ms: int = field(init=False)

    def __post_init__(self) -> None:
        self._fine_retention_ms = _milliseconds(self.rules.fine_retention)
        self._coarse_retention_ms = _milliseconds(self.rules.coarse_retention)
        self._coarse_ms = self.rules.coarse_ms
        self._first_fine = (self.now - self._fine_retention_ms) // MINUTE

    def add(self, change: Contributions) -> None:
        """Add the contributions of an entity, or the difference of its old and new ones."""
        self.add_all((change,))

    def add_all(self, changes: Iterable[Contributions]) -> None:
        """Add what makes up the change of one entity."""
        cells = self.leaves.cells
        targets: dict[int, list[Cells]] = {}
        for change in changes:
            for measure, labels, at, value, amount in change:
                cell, kind = cells[measure][labels], measure.kind
                if kind is _IS_ROSTER:
                    self._add_to_roster(at, cell, amount)
                    continue
                panes = targets.get(at)
                if panes is None:
                    panes = targets[at] = self._panes_at(at)
                if kind is _IS_SUM:
                    for pane in panes:
                        _add(pane, cell, amount)
                    continue
                bucket = cell + code_of(value)
                for pane in panes:
                    _add(pane, cell, value * amount)
                    _add(pane, bucket, amount)
                if measure.exact:
                    self._add_sample(cell // CODES, at, value, amount)
        self._drop_empty(at for at, panes in targets.items() if not all(panes))

    def absorb(self, other: Held) -> None:
        """Add what other panes hold that were filled apart, with a clock that is not ahead of this one."""
        first_fine, horizon = (self.now - self._fine_retention_ms) // MINUTE, self.horizon
        for index, cells in other.fine.items():
            if index >= first_fine:
                _add_all(self.fine.open(index), cells)
                self._changed[_FINE].add(index)
        for index, cells in other.coarse.items():
            _add_all(self.coarse.open(index) if index >= horizon else self.base, cells)
            self._changed[_COARSE].add(index)
        _add_all(self.base, other.base)
        self._changed[_BASE].add(BASE.index)
        for roster in other.roster.values():
            for at, cells in roster.items():
                for cell, amount in cells.items():
                    self._add_to_roster(at, cell, amount)
        for at, cells in other.ahead.items():
            for pane in self._panes_at(at):
                _add_all(pane, cells)
        self._absorb_samples(other.samples)
        self._drop_empty([index * MINUTE for index in other.fine])
        self._drop_empty([index * self._coarse_ms for index in other.coarse])
        self._drop_empty(other.ahead)

    @property
    def held(self) -> Held:
        """Everything in these panes."""
        fine, coarse, samples = (dict(store.items()) for store in (self.fine, self.coarse, self.samples))
        return Held(fine, coarse, self.base, self.roster, self._ahead, samples)

    def advance(self, now: int) -> None:
        """Move the clock: what was ahead comes due, what leaves retention is dropped or folded into the base."""
        if now <= self.now:
            return
        self.now = now
        while self._instants and self._instants[0] <= now:
            at = heapq.heappop(self._instants)
            waiting = self._ahead.pop(at, {})
            for pane in self._panes_at(at):
                _add_all(pane, waiting)
            self._drop_empty((at,))
        self._drop_fine()
        self._fold_coarse()

    def cells(self, key: PaneKey) -> Mapping[int, int]:
        """The cells of a pane of any kind but a roster; empty where it does not exist (any more)."""
        match key.resolution:
            case Resolution.BASE:
                return self.base
            case Resolution.FINE:
                return self.fine.read(key.index)
            case Resolution.SAMPLES:
                return self.samples.read(key.index)
            case _:
                return self.coarse.read(key.index)

    def keys(self) -> Iterator[PaneKey]:
        """All panes that exist."""
        yield BASE
        for resolution, store in ((_FINE, self.fine), (_COARSE, self.coarse), (_SAMPLES, self.samples)):
            yield from (PaneKey(resolution, index) for index in store)
        yield from (PaneKey(Resolution.ROSTER, index) for index in self.roster)

    def trim(self, keep: int | None = None) -> None:
        """Pack panes that are at rest; all but ``keep`` of each size."""
        self.fine.trim(keep)
        self.coarse.trim(keep)
        self.samples.trim(keep)

    @property
    def changed(self) -> bool:
        """Whether a pane has changed since the last :meth:`take_changed`."""
        return any(self._changed.values())

    def take_changed(self) -> list[PaneKey]:
        """The panes changed since the last call; the base comes first, as it takes over what others lose."""
        self.trim()
        # "base" is also the first by name
        keys = sorted(PaneKey(resolution, index) for resolution, indices in self._changed.items() for index in indices)
        for indices in self._changed.values():
            indices.clear()
        return keys

    def _panes_at(self, at: int) -> list[Cells]:
        """The panes that what happened at an instant goes into, noted as changed; what lies ahead waits aside."""
        if at > self.now:
            return [self._waiting(at)]
        panes = []
        fine = at // MINUTE
        if fine >= self._first_fine:
            panes.append(self.fine.open(fine))
            self._changed[_FINE].add(fine)
        coarse = at // self._coarse_ms
        if coarse >= self.horizon:
            panes.append(self.coarse.open(coarse))
            self._changed[_COARSE].add(coarse)
        else:
            panes.append(self.base)
            self._changed[_BASE].add(BASE.index)
        return panes

    def _waiting(self, at: int) -> Cells:
        waiting = self._ahead.get(at)
        if waiting is None:
            waiting = self._ahead[at] = {}
            heapq.heappush(self._instants, at)
        return waiting

    def _drop_empty(self, instants: Iterable[int]) -> None:
        for at in instants:
            self.fine.drop_empty(at // MINUTE)
            self.coarse.drop_empty(at // self._coarse_ms)

    def _add_to_roster(self, at: int, cell: int, amount: int) -> None:
        hour = at // HOUR
        instants = self.roster.setdefault(hour, {})
        instant = instants.setdefault(at, {})
        _add(instant, cell, amount)
        if not instant:
            del instants[at]
        if not instants:
            del self.roster[hour]
        self._changed[_ROSTER].add(hour)

    def _absorb_samples(self, samples: Mapping[int, Cells]) -> None:
        for hour, cells in samples.items():
            if hour >= self._first_sample:
                _add_all(self.samples.open(hour), cells)
                self.samples.drop_empty(hour)
                self._changed[_SAMPLES].add(hour)

    @property
    def _first_sample(self) -> int:
        """The first hour of which samples are kept."""
        return (self.now - self._coarse_retention_ms) // HOUR

    def _add_sample(self, leaf: int, at: int, value: int, amount: int) -> None:
        hour, cell = at // HOUR, sample_cell(leaf, at, value)
        if cell is not None and hour >= self._first_sample:
            _add(self.samples.open(hour), cell, amount)
            self.samples.drop_empty(hour)
            self._changed[_SAMPLES].add(hour)

    def _drop_fine(self) -> None:
        first = (self.now - self._fine_retention_ms) // MINUTE
        if first == self._first_fine:
            return
        self._first_fine = first
        for index in [index for index in self.fine if index < first]:
            self.fine.pop(index)
            self._changed[_FINE].add(index)

    def _fold_coarse(self) -> None:
        horizon = (self.now - self._coarse_retention_ms) // self._coarse_ms
        if horizon <= self.horizon:
            return
        self.horizon = horizon
        self._changed[_BASE].add(BASE.index)
        for index in [index for index in self.coarse if index < horizon]:
            _add_all(self.base, self.coarse.pop(index))
            self._changed[_COARSE].add(index)
        for hour in [hour for hour in self.samples if hour < self._first_sample]:
            self.samples.pop(hour)
            self._changed[_SAMPLES].add(hour)


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _add(pane: Cells, cell: int, amount: int) -> None:
    known = pane.get(cell)
    if known is None:
        if amount:
            pane[cell] = amount
    elif known + amount:
        pane[cell] = known + amount
    else:
        del pane[cell]


def _add_all(pane: Cells, cells: Cells) -> None:
    for cell, amount in cells.items():
        _add(pane, cell, amount)
