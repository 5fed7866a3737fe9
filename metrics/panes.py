"""Panes: the slices of time that windows are merged from, for one source partition.

Two sizes of panes serve all windows: minutes for windows up to a day, hours for longer ones. What leaves the
retention of the hours is folded into a base, so that stocks and the window ``all`` stay exact. Contributions that lie
ahead of the clock (a deadline, the end of a quota period) wait aside until their instant has come.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
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
    index: int  # type: ignore[assignment]  # a field may hide tuple.index


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
    _first_fine: int = field(init=False)
    _fine_retention_ms: int = field(init=False)
    _coarse_retention_ms: int = field(init=False)
    _coarse_ms: int = field(init=False)

    def __post_init__(self) -> None:
        self._fine_retention_ms = _milliseconds(self.rules.fine_retention)
        self._coarse_retention_ms = _milliseconds(self.rules.coarse_retention)
        self._coarse_ms = self.rules.coarse_ms
        self._first_fine = (self.now - self._fine_retention_ms) // MINUTE

    def add(self, changes: Contributions) -> None:
        """Add the contributions of an entity, or the difference of its old and new ones."""
        now = self.now
        for (measure, labels, at, value), amount in changes.items():
            cells = self.index.cells(measure, labels, value, amount)
            if measure.kind is Kind.ROSTER:
                self._add_to_roster(at, cells)
            elif at > now:
                self._put_aside(at, cells)
            else:
                self._add_to_panes(at, cells)

    def advance(self, now: int) -> None:
        """Move the clock: what was ahead comes due, what leaves retention is dropped or folded into the base."""
        if now <= self.now:
            return
        self.now = now
        while self._instants and self._instants[0] <= now:
            at = heapq.heappop(self._instants)
            self._add_to_panes(at, self._ahead.pop(at, {}).items())
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

    def _add_to_panes(self, at: int, cells: Iterable[tuple[int, int]]) -> None:
        fine = at // MINUTE
        if fine >= self._first_fine:
            self._increase(self.fine, Resolution.FINE, fine, cells)
        coarse = at // self._coarse_ms
        if coarse >= self.horizon:
            self._increase(self.coarse, Resolution.COARSE, coarse, cells)
        else:
            _increase(self.base, cells)
            self.changed.add(BASE)

    def _increase(
        self, store: dict[int, Cells], resolution: Resolution, index: int, cells: Iterable[tuple[int, int]]
    ) -> None:
        pane = store.get(index)
        if pane is None:
            pane = store[index] = {}
        _increase(pane, cells)
        if not pane:
            del store[index]
        self.changed.add(PaneKey(resolution, index))

    def _add_to_roster(self, at: int, cells: Iterable[tuple[int, int]]) -> None:
        key = PaneKey(Resolution.ROSTER, at // HOUR)
        hour = self.roster.setdefault(key.index, {})
        instant = hour.setdefault(at, {})
        _increase(instant, cells)
        if not instant:
            del hour[at]
        if not hour:
            del self.roster[key.index]
        self.changed.add(key)

    def _put_aside(self, at: int, cells: Iterable[tuple[int, int]]) -> None:
        waiting = self._ahead.get(at)
        if waiting is None:
            waiting = self._ahead[at] = {}
            heapq.heappush(self._instants, at)
        _increase(waiting, cells)

    def _drop_fine(self) -> None:
        first = (self.now - self._fine_retention_ms) // MINUTE
        if first == self._first_fine:
            return
        self._first_fine = first
        for index in [index for index in self.fine if index < first]:
            del self.fine[index]
            self.changed.add(PaneKey(Resolution.FINE, index))

    def _fold_coarse(self) -> None:
        horizon = (self.now - self._coarse_retention_ms) // self._coarse_ms
        if horizon <= self.horizon:
            return
        self.horizon = horizon
        self.changed.add(BASE)
        for index in [index for index in self.coarse if index < horizon]:
            _increase(self.base, self.coarse.pop(index).items())
            self.changed.add(PaneKey(Resolution.COARSE, index))


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _increase(pane: Cells, cells: Iterable[tuple[int, int]]) -> None:
    get = pane.get
    for cell, amount in cells:
        value = get(cell, 0) + amount
        if value:
            pane[cell] = value
        else:
            pane.pop(cell, None)
