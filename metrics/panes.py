"""Panes: the slices of time that windows are merged from, for one source partition.

Two sizes of panes serve all windows: minutes for windows up to a day, hours for longer ones. What leaves the
retention of the hours is folded into a base, so that stocks and the window ``all`` stay exact. Contributions that lie
ahead of the clock (a deadline, the end of a quota period) wait aside until their instant has come.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from metrics.contributions import Contributions
from metrics.measures import Kind
from metrics.rules import HOUR, MINUTE, Rules
from metrics.series import SeriesIndex

Cells = dict[int, int]
"""cell -> sum; no zeros."""


class Resolution(enum.StrEnum):
    """Which store a pane belongs to."""

    FINE = "fine"
    COARSE = "coarse"
    BASE = "base"
    ROSTER = "roster"


class PaneKey(NamedTuple):
    """A pane: ``[index * size, (index + 1) * size)`` in ms. A base has index 0; a roster pane is an hour of instants."""

    resolution: Resolution
    index: int


Roster = dict[int, Cells]
"""instant in ms -> cells."""

BASE = PaneKey(Resolution.BASE, 0)


@dataclass(slots=True)
class Panes:
    """The panes of one source partition. ``horizon`` is the first coarse pane that is not folded into the base."""

    index: SeriesIndex
    rules: Rules
    now: int = 0
    fine: dict[int, Cells] = field(default_factory=dict)
    coarse: dict[int, Cells] = field(default_factory=dict)
    base: Cells = field(default_factory=dict)
    roster: dict[int, Roster] = field(default_factory=dict)
    horizon: int = 0
    changed: set[PaneKey] = field(default_factory=set)
    _ahead: dict[int, Cells] = field(default_factory=dict)
    _instants: list[int] = field(default_factory=list)

    def add(self, changes: Contributions) -> None:
        """Add the contributions of an entity, or the difference of its old and new ones."""
        for (measure, labels, at, value), amount in changes.items():
            is_roster = measure.kind is Kind.ROSTER
            for cell, delta in self.index.cells(measure, labels, value, amount):
                if is_roster:
                    self._add_to_roster(cell, at, delta)
                elif at > self.now:
                    self._put_aside(cell, at, delta)
                else:
                    self._add_to_panes(cell, at, delta)

    def advance(self, now: int) -> None:
        """Move the clock: what was ahead comes due, what leaves retention is dropped or folded into the base."""
        if now <= self.now:
            return
        self.now = now
        while self._instants and self._instants[0] <= now:
            at = heapq.heappop(self._instants)
            for cell, amount in self._ahead.pop(at, {}).items():
                self._add_to_panes(cell, at, amount)
        self._drop_fine()
        self._fold_coarse()

    def cells(self, key: PaneKey) -> Mapping[int, int]:
        """The cells of a fine or coarse pane, or of the base; empty where it does not exist (any more)."""
        if key.resolution is Resolution.BASE:
            return self.base
        store = self.fine if key.resolution is Resolution.FINE else self.coarse
        return store.get(key.index, {})

    def keys(self) -> Iterator[PaneKey]:
        """All panes that exist."""
        yield BASE
        for resolution, store in ((Resolution.FINE, self.fine), (Resolution.COARSE, self.coarse)):
            yield from (PaneKey(resolution, index) for index in store)
        yield from (PaneKey(Resolution.ROSTER, index) for index in self.roster)

    def take_changed(self) -> list[PaneKey]:
        """The panes changed since the last call; the base comes first, as it takes over what others lose."""
        keys = sorted(self.changed, key=lambda key: (key.resolution is not Resolution.BASE, key))
        self.changed.clear()
        return keys

    def _add_to_panes(self, cell: int, at: int, amount: int) -> None:
        fine = at // MINUTE
        if fine >= self._first_fine():
            self._increment(self.fine, PaneKey(Resolution.FINE, fine), cell, amount)
        coarse = at // self.rules.coarse_ms
        if coarse >= self.horizon:
            self._increment(self.coarse, PaneKey(Resolution.COARSE, coarse), cell, amount)
        else:
            _increase(self.base, cell, amount)
            self.changed.add(BASE)

    def _increment(self, store: dict[int, Cells], key: PaneKey, cell: int, amount: int) -> None:
        cells = store.get(key.index)
        if cells is None:
            cells = store[key.index] = {}
        _increase(cells, cell, amount)
        if not cells:
            del store[key.index]
        self.changed.add(key)

    def _add_to_roster(self, cell: int, at: int, amount: int) -> None:
        key = PaneKey(Resolution.ROSTER, at // HOUR)
        hour = self.roster.setdefault(key.index, {})
        cells = hour.setdefault(at, {})
        _increase(cells, cell, amount)
        if not cells:
            del hour[at]
        if not hour:
            del self.roster[key.index]
        self.changed.add(key)

    def _put_aside(self, cell: int, at: int, amount: int) -> None:
        cells = self._ahead.get(at)
        if cells is None:
            cells = self._ahead[at] = {}
            heapq.heappush(self._instants, at)
        _increase(cells, cell, amount)

    def _first_fine(self) -> int:
        return (self.now - int(self.rules.fine_retention.total_seconds() * 1000)) // MINUTE

    def _drop_fine(self) -> None:
        first = self._first_fine()
        for index in [index for index in self.fine if index < first]:
            del self.fine[index]
            self.changed.add(PaneKey(Resolution.FINE, index))

    def _fold_coarse(self) -> None:
        horizon = (self.now - int(self.rules.coarse_retention.total_seconds() * 1000)) // self.rules.coarse_ms
        if horizon <= self.horizon:
            return
        self.horizon = horizon
        self.changed.add(BASE)
        for index in [index for index in self.coarse if index < horizon]:
            for cell, amount in self.coarse.pop(index).items():
                _increase(self.base, cell, amount)
            self.changed.add(PaneKey(Resolution.COARSE, index))


def _increase(cells: Cells, cell: int, amount: int) -> None:
    value = cells.get(cell, 0) + amount
    if value:
        cells[cell] = value
    else:
        cells.pop(cell, None)
