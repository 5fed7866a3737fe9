"""Windows: which panes they hold at an instant, and their running sums.

Where windows begin is said in :mod:`salesgauge.metrics.rules.windows`. Sums are kept running: a pane is added when it
comes in and subtracted when it falls out, so reading costs the number of series, not of panes.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sortedcontainers import SortedList

from salesgauge.metrics.measures.registry import REP_TEAM
from salesgauge.metrics.rules.model import HOUR, MINUTE, Rules
from salesgauge.metrics.rules.privacy import REDACTED
from salesgauge.metrics.rules.windows import WINDOWS, Window
from salesgauge.metrics.shard.leaves import CODES
from salesgauge.metrics.shard.pane_store import Cells, PaneStore
from salesgauge.metrics.shard.panes import BASE, PaneKey, Resolution, Roster
from salesgauge.metrics.shard.samples import DurationSample, samples
from salesgauge.metrics.windows.series import SeriesIndex

MOST_SAMPLES = 10_000
"""A window that holds more samples of a distribution is read from its buckets."""


def _resolution(window: Window) -> Resolution:
    """Which panes serve a window."""
    return Resolution.FINE if window.short else Resolution.COARSE


def pane_size(window: Window, rules: Rules) -> int:
    """The size of the panes that serve a window, ms."""
    return MINUTE if _resolution(window) is Resolution.FINE else rules.coarse_ms


def pane_bounds(window: Window, now: int, rules: Rules, *, before: bool = False) -> tuple[int, int]:
    """The first pane of a window that ends at ``now`` (ms), and the one after its last; or of the window ``before``."""
    size = pane_size(window, rules)
    if before:
        return _ceiling(now - 2 * window.span, size), _ceiling(now - window.span, size)
    first = window.begin(now, rules)
    return (0 if first is None else first // size), now // size + 1


@dataclass(slots=True)
class _Running:
    """Running sums, by series, over the panes ``[low, high)`` of one resolution; ``shift`` is 1 for the window before.

    ``counted`` remembers the bucket counts of distributions that were asked for and have not changed since.
    """

    window: Window
    shift: int = 0
    low: int = 0
    high: int = 0
    sums: Cells = field(default_factory=dict)
    counted: dict[int, dict[int, int]] = field(default_factory=dict)

    def add(self, cells: Mapping[int, int], sign: int) -> None:
        """Add or subtract cells of series."""
        sums, counted = self.sums, self.counted
        for cell, amount in cells.items():
            value = sums.get(cell, 0) + sign * amount
            if value:
                sums[cell] = value
            else:
                sums.pop(cell, None)
            if counted and cell % CODES:
                counted.pop(cell // CODES, None)

    def clear(self) -> None:
        """Hold no panes."""
        self.low = self.high = 0
        self.sums.clear()
        self.counted.clear()


def _ceiling(instant: int, size: int) -> int:
    return -(-instant // size)


@dataclass(slots=True)
class _Partition:
    """The panes published for one source partition; their cells are of leaves."""

    fine: PaneStore = field(default_factory=PaneStore)
    coarse: PaneStore = field(default_factory=PaneStore)
    base: Cells = field(default_factory=dict)
    horizon: int = 0
    roster: dict[int, Roster] = field(default_factory=dict)
    samples: PaneStore = field(default_factory=PaneStore)

    def store(self, resolution: Resolution) -> PaneStore:
        return self.fine if resolution is Resolution.FINE else self.coarse


class WindowSums:
    """Merges the panes of all partitions and keeps the sums of all windows up to date.

    ``before`` names the windows whose preceding window is wanted too.
    """

    def __init__(self, index: SeriesIndex, rules: Rules, before: Iterable[str] = ()) -> None:
        self.index = index
        self.rules = rules
        self.now = 0
        self._partitions: dict[int, _Partition] = {}
        self._running = {(name, 0): _Running(window) for name, window in WINDOWS.items()}
        self._running |= {(name, 1): _Running(WINDOWS[name], shift=1) for name in before}
        self._codes: dict[int, set[int]] = {}
        self._joined: dict[str, Counter[tuple[int, str]]] = {}
        """Per rep: when which team was joined."""
        self._teams_changed = False
        self._rosters: dict[int, SortedList[int]] = {}
        self._exact: dict[tuple[int, int], dict[int, Counter[int]]] = {}
        """First and last minute of a window -> series -> value -> number of samples."""

    def replace(self, partition: int, key: PaneKey, cells: Mapping[int, int]) -> None:
        """Set a fine or coarse pane of a partition to absolute values; an empty one is removed."""
        panes = self._partitions.setdefault(partition, _Partition())
        if key.resolution is Resolution.COARSE and key.index < panes.horizon:
            return
        store = panes.store(key.resolution)
        changes = _changes(cells, store.read(key.index))
        if cells:
            store.put(key.index, dict(cells))
        else:
            store.pop(key.index)
        holding = [
            running
            for running in self._running.values()
            if _resolution(running.window) is key.resolution and running.low <= key.index < running.high
        ]
        if holding and changes:
            expanded = self._expand(changes)
            for running in holding:
                running.add(expanded, 1)

    def replace_base(self, partition: int, horizon: int, cells: Mapping[int, int]) -> None:
        """Set the base of a partition, which holds all coarse panes before ``horizon``."""
        panes = self._partitions.setdefault(partition, _Partition())
        for index in [index for index in panes.coarse if index < horizon]:
            self.replace(partition, PaneKey(Resolution.COARSE, index), {})
        panes.horizon = horizon
        changes = _changes(cells, panes.base)
        panes.base = dict(cells)
        self._running["all", 0].add(self._expand(changes), 1)

    def replace_roster(self, partition: int, hour: int, roster: Roster) -> None:
        """Set an hour of the roster of a partition."""
        panes = self._partitions.setdefault(partition, _Partition())
        old = panes.roster.get(hour, {})
        for at in old.keys() | roster.keys():
            self._move_rosters(at, _changes(roster.get(at, {}), old.get(at, {})))
        if roster:
            panes.roster[hour] = roster
        else:
            panes.roster.pop(hour, None)

    def replace_samples(self, partition: int, hour: int, cells: Mapping[int, int]) -> None:
        """Set an hour of the exact samples of a partition."""
        panes = self._partitions.setdefault(partition, _Partition())
        if cells:
            panes.samples.put(hour, dict(cells))
        else:
            panes.samples.pop(hour)
        self._exact.clear()

    def keys(self, partition: int) -> list[PaneKey]:
        """All panes held of a partition."""
        panes = self._partitions.get(partition, _Partition())
        found = [BASE] if panes.base else []
        for resolution in (Resolution.FINE, Resolution.COARSE):
            found += [PaneKey(resolution, index) for index in panes.store(resolution)]
        found += [PaneKey(Resolution.SAMPLES, hour) for hour in panes.samples]
        return found + [PaneKey(Resolution.ROSTER, hour) for hour in panes.roster]

    def drop(self, partition: int, key: PaneKey) -> None:
        """Remove one pane of any resolution."""
        if key.resolution is Resolution.BASE:
            self.replace_base(partition, self._partitions[partition].horizon, {})
        elif key.resolution is Resolution.ROSTER:
            self.replace_roster(partition, key.index, {})
        elif key.resolution is Resolution.SAMPLES:
            self.replace_samples(partition, key.index, {})
        else:
            self.replace(partition, key, {})

    def advance(self, now: int) -> None:
        """Move all windows to end at ``now`` (ms), which may also lie before the present end."""
        self.now = now
        if self._teams_changed:
            self._assign_teams()
        fresh = []
        for running in self._running.values():
            low, high = pane_bounds(running.window, now, self.rules, before=bool(running.shift))
            if running.low == running.high:
                fresh.append(running)
            else:
                for left in _outside(running.low, running.high, low, high):
                    self._shift(running, left, -1)
                for entered in _outside(low, high, running.low, running.high):
                    self._shift(running, entered, 1)
            running.low, running.high = low, high
        for resolution in (Resolution.FINE, Resolution.COARSE):
            self._fill(resolution, [running for running in fresh if _resolution(running.window) is resolution])
        self._drop_fine(now)
        for panes in self._partitions.values():
            panes.fine.trim()
            panes.coarse.trim()
            panes.samples.trim()

    def sums(self, window: str, *, before: bool = False) -> Mapping[int, int]:
        """Running sums of a window, by cell."""
        return self._running[window, int(before)].sums

    def total(self, window: str, number: int) -> int:
        """The sum of one series in a window, in the measure's own unit."""
        return self._running[window, 0].sums.get(number * CODES, 0)

    def counts(self, window: str, number: int, *, before: bool = False) -> Mapping[int, int]:
        """Bucket code -> count of a distribution's series in a window."""
        running = self._running[window, int(before)]
        known = running.counted.get(number)
        if known is None:
            sums, first = running.sums, number * CODES
            known = {code: n for code in self._codes.get(number, ()) if (n := sums.get(first + code, 0))}
            running.counted[number] = known
        return known

    def between(self, edges: Sequence[int], numbers: Collection[int], resolution: Resolution) -> list[Cells]:
        """Sums by series in the stretches between instants, of some series only.

        Args:
            edges: in ms, rising; each stretch holds the panes that begin in it. They are read one by one.
            numbers: of the series.
            resolution: of the panes read.
        """
        size = MINUTE if resolution is Resolution.FINE else self.rules.coarse_ms
        ends = [_ceiling(edge, size) for edge in edges]
        stretches: list[Cells] = [{} for _ in ends[1:]]
        for panes in self._partitions.values():
            store = panes.store(resolution)
            for index in _present(store, range(ends[0], ends[-1])):
                sums = stretches[bisect.bisect_right(ends, index) - 1]
                for cell, amount in store.read(index).items():
                    for number in self.index.of_leaf(cell // CODES):
                        if number in numbers:
                            key = number * CODES + cell % CODES
                            sums[key] = sums.get(key, 0) + amount
        return stretches

    def samples(self, window: str, number: int, whole: int) -> Mapping[int, int] | None:
        """Value in ms -> count of an exact distribution's series in a window.

        None where not all of them are kept, or where ``whole``, the series of the whole, has too many.
        """
        if self._count(window, whole) > MOST_SAMPLES:
            return None
        found = self._samples_in(window).get(number, Counter())
        return found if found.total() == self._count(window, number) else None

    def roster(self, number: int) -> SortedList[int]:
        """The instants of a roster's series, sorted."""
        return self._rosters.get(number) or SortedList()

    def first_instant(self) -> int:
        """The start of the earliest pane that holds something, in ms; now where there is none."""
        starts = [min(p.coarse) for p in self._partitions.values() if p.coarse]
        return min(starts) * self.rules.coarse_ms if starts else self.now

    def _count(self, window: str, number: int) -> int:
        return sum(self.counts(window, number).values())

    def _samples_in(self, window: str) -> dict[int, Counter[int]]:
        """The samples of a window, by series."""
        running = self._running[window, 0]
        size = pane_size(running.window, self.rules)
        bounds = running.low * size // MINUTE, self.now // MINUTE
        found = self._exact.get(bounds)
        if found is None:
            found = self._exact[bounds] = {}
            for sample in self._kept_samples(*bounds):
                for number in self.index.of_leaf(sample.leaf):
                    found.setdefault(number, Counter())[sample.value] += sample.number
            while len(self._exact) > len(self._running):
                del self._exact[next(iter(self._exact))]
        return found

    def _kept_samples(self, first: int, last: int) -> Iterator[DurationSample]:
        """The samples from a minute to another."""
        hours = range(first * MINUTE // HOUR, last * MINUTE // HOUR + 1)
        for panes in self._partitions.values():
            for hour in _present(panes.samples, hours):
                yield from (s for s in samples(hour, panes.samples.read(hour)) if first <= s.minute <= last)

    def _fill(self, resolution: Resolution, fresh: Sequence[_Running]) -> None:
        """Add panes to windows that held none: each pane once, to its stretch between two ends of windows."""
        ends = sorted({end for running in fresh for end in (running.low, running.high)})
        stretches: list[Cells] = [{} for _ in ends[1:]]
        for panes in self._partitions.values():
            for index, cells in panes.store(resolution).items():
                number = bisect.bisect_right(ends, index) - 1
                if 0 <= number < len(stretches):
                    _add(stretches[number], cells)
        for first, stretch in zip(ends, stretches, strict=False):
            if stretch:
                expanded = self._expand(stretch)
                for running in fresh:
                    if running.low <= first < running.high:
                        running.add(expanded, 1)

    def _shift(self, running: _Running, indices: range, sign: int) -> None:
        """Add or subtract the panes of a range: all of them by leaf first, and then the sum by series."""
        moved: Cells = {}
        for panes in self._partitions.values():
            store = panes.store(_resolution(running.window))
            for index in _present(store, indices):
                _add(moved, store.read(index))
        if moved:
            running.add(self._expand(moved), sign)

    def _expand(self, cells: Mapping[int, int]) -> Cells:
        """Cells of leaves as cells of series; notes which buckets of distributions there are."""
        expanded = self.index.expand(cells)
        for cell in expanded:
            if code := cell % CODES:
                self._codes.setdefault(cell // CODES, set()).add(code)
        return expanded

    def _assign_teams(self) -> None:
        """Let reps be of the team that they joined last; where that changes, form the sums by series anew."""
        self._teams_changed = False
        joined = {rep: +when for rep, when in self._joined.items() if rep != REDACTED}
        if not self.index.assign({rep: max(when)[1] for rep, when in joined.items() if when}):
            return
        for running in self._running.values():
            running.clear()
        self._rosters.clear()
        self._exact.clear()
        for panes in self._partitions.values():
            self._running["all", 0].add(self._expand(panes.base), 1)
            for roster in panes.roster.values():
                for at, cells in roster.items():
                    self._move_in_series(at, cells)

    def _move_rosters(self, at: int, changes: Cells) -> None:
        self._move_in_series(at, changes)
        for cell, amount in changes.items():
            measure, labels = self.index.leaves.leaves[cell // CODES]
            if measure is REP_TEAM:
                rep, team = map(str, labels)
                self._joined.setdefault(rep, Counter())[at, team] += amount
                self._teams_changed = True

    def _move_in_series(self, at: int, changes: Cells) -> None:
        for cell, amount in changes.items():
            for number in self.index.of_leaf(cell // CODES):
                self._move_roster(number, at, amount)

    def _move_roster(self, number: int, at: int, amount: int) -> None:
        instants = self._rosters.setdefault(number, SortedList())
        for _ in range(abs(amount)):
            if amount > 0:
                instants.add(at)
            else:
                instants.discard(at)

    def _drop_fine(self, now: int) -> None:
        first = (now - int(self.rules.fine_retention.total_seconds() * 1000)) // MINUTE
        for panes in self._partitions.values():
            for index in [index for index in panes.fine if index < first]:
                panes.fine.pop(index)


def _outside(low: int, high: int, other_low: int, other_high: int) -> Iterator[range]:
    """The parts of ``[low, high)`` that are not in ``[other_low, other_high)``."""
    if other_high <= low or high <= other_low:
        parts = [range(low, high)]
    else:
        parts = [range(low, min(high, other_low)), range(max(low, other_high), high)]
    yield from (part for part in parts if part)


def _present(store: PaneStore, indices: range) -> list[int]:
    if len(indices) <= len(store):
        return [index for index in indices if index in store]
    return [index for index in store if index in indices]


def _add(sums: Cells, cells: Mapping[int, int]) -> None:
    get = sums.get
    for cell, amount in cells.items():
        sums[cell] = get(cell, 0) + amount


def _changes(new: Mapping[int, int], old: Mapping[int, int]) -> Cells:
    changes = {cell: value - old.get(cell, 0) for cell, value in new.items() if value != old.get(cell, 0)}
    changes.update({cell: -value for cell, value in old.items() if cell not in new})
    return changes
