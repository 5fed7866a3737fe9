"""Partial sums of several shards, computed apart and merged once: the panes of each, as values that add up.

Shards that do not share an index number their leaves differently, so one index numbers the leaves of all, and panes are
sent in its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from metrics.leaves import CODES
from metrics.panes import Cells, PaneKey, Panes, Resolution, Roster
from metrics.windows import WindowSums

_Packed = tuple[dict[int, Cells], dict[int, Cells], Cells, dict[int, Roster], int]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def pack(panes: Panes, numbers: Sequence[int]) -> bytes:
    """The panes of a shard; ``numbers`` has the common number of each leaf of the shard's index."""

    def common(cells: Mapping[int, int]) -> Cells:
        return {numbers[cell // CODES] * CODES + cell % CODES: amount for cell, amount in cells.items()}

    return _encode(
        (
            {index: common(cells) for index, cells in panes.fine.items()},
            {index: common(cells) for index, cells in panes.coarse.items()},
            common(panes.base),
            {index: {at: common(cells) for at, cells in roster.items()} for index, roster in panes.roster.items()},
            panes.horizon,
        )
    )


class Partials:
    """Adds up packed panes of shards whose clocks agree."""

    def __init__(self) -> None:
        self._fine: dict[int, Cells] = {}
        self._coarse: dict[int, Cells] = {}
        self._base: Cells = {}
        self._roster: dict[int, Roster] = {}
        self._horizon = 0

    def add(self, packed: bytes) -> None:
        """Add the panes of a shard."""
        fine, coarse, base, rosters, self._horizon = _decode(packed)
        for mine, others in ((self._fine, fine), (self._coarse, coarse)):
            for index, cells in others.items():
                _add(mine.setdefault(index, {}), cells)
        _add(self._base, base)
        for index, roster in rosters.items():
            for at, cells in roster.items():
                _add(self._roster.setdefault(index, {}).setdefault(at, {}), cells)

    def show(self, sums: WindowSums, partition: int) -> None:
        """Give the sum of all to window sums, as the panes of one partition."""
        sums.replace_base(partition, self._horizon, self._base)
        for resolution, panes in ((Resolution.FINE, self._fine), (Resolution.COARSE, self._coarse)):
            for index, cells in panes.items():
                sums.replace(partition, PaneKey(resolution, index), cells)
        for index, roster in self._roster.items():
            sums.replace_roster(partition, index, roster)


def _add(mine: Cells, cells: Cells) -> None:
    if not mine:
        mine.update(cells)
        return
    get = mine.get
    for cell, amount in cells.items():
        value = get(cell, 0) + amount
        if value:
            mine[cell] = value
        else:
            mine.pop(cell, None)
