"""Panes by index, of which only those that were changed lately are held open.

An open pane is a dictionary: a hundred bytes for each of its cells. Packed it takes ten, and two years of hours are
nearly all at rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from salesgauge.metrics.shard.packing import pack, unpacker

Cells = dict[int, int]
"""cell -> sum; no zeros."""

_OPEN = 512
"""Panes held open; beyond twice as many the ones opened first are packed."""

_decode: Callable[[bytes], Cells] = unpacker(Cells).decode


class PaneStore:
    """Panes of one size."""

    __slots__ = ("_open", "_packed", "reopened")

    def __init__(self) -> None:
        self._open: dict[int, Cells] = {}
        self._packed: dict[int, bytes] = {}
        self.reopened = 0
        """How many times a packed pane was opened to be changed."""

    def __len__(self) -> int:
        return len(self._open) + len(self._packed)

    def __iter__(self) -> Iterator[int]:
        yield from self._open
        yield from self._packed

    def __contains__(self, index: int) -> bool:
        return index in self._open or index in self._packed

    def read(self, index: int) -> Cells:
        """A pane to look at; empty where there is none."""
        cells = self._open.get(index)
        if cells is None:
            packed = self._packed.get(index)
            cells = {} if packed is None else _decode(packed)
        return cells

    def open(self, index: int) -> Cells:
        """A pane to change, until :meth:`trim`; a new one where there is none."""
        cells = self._open.get(index)
        if cells is None:
            packed = self._packed.pop(index, None)
            self.reopened += packed is not None
            cells = self._open[index] = {} if packed is None else _decode(packed)
        return cells

    def put(self, index: int, cells: Cells) -> None:
        """Set a pane."""
        self._packed.pop(index, None)
        self._open[index] = cells

    def pop(self, index: int) -> Cells:
        """Remove a pane; what it held."""
        cells = self.open(index)
        del self._open[index]
        return cells

    def drop_empty(self, index: int) -> None:
        """Remove a pane if it is open and holds nothing."""
        if self._open.get(index) == {}:
            del self._open[index]

    def items(self) -> Iterator[tuple[int, Cells]]:
        """All panes, to look at."""
        yield from self._open.items()
        for index, packed in self._packed.items():
            yield index, _decode(packed)

    def trim(self, keep: int | None = None) -> None:
        """Pack panes, all but ``keep``, else if many are open; what :meth:`open` gave is not to be changed any more."""
        most, left = (2 * _OPEN, _OPEN) if keep is None else (keep, keep)
        if len(self._open) <= most:
            return
        for index in list(self._open)[: len(self._open) - left]:
            self._packed[index] = pack(self._open.pop(index))
