"""Partial sums that were computed apart: the panes of a shard as messages, which add up with those of others.

The first message names the leaves, each further one holds some of the panes, so that taking one is never long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from salesgauge.metrics.shard.leaves import CODES
from salesgauge.metrics.shard.packing import pack, unpacker
from salesgauge.metrics.shard.pane_store import Cells
from salesgauge.metrics.shard.panes import Held, Panes
from salesgauge.metrics.shard.samples import leaf_of, with_leaf

_CELLS = 20_000
"""Cells in a message, about."""

_decode_names = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_held = unpacker(Held).decode


def export(panes: Panes, size: int = _CELLS) -> Iterator[bytes]:
    """All that the panes hold, with the names of their leaves: other processes number theirs differently.

    A message is full once it holds ``size`` cells; panes are not divided.
    """
    leaves = panes.leaves
    yield pack([leaves.packed(number) for number in range(len(leaves))])
    yield from map(pack, _parts(panes.held, size))


def _parts(held: Held, size: int) -> Iterator[Held]:
    part, room = _nothing()._replace(base=held.base), size - len(held.base)
    for field in ("fine", "coarse", "ahead", "roster", "samples"):
        for index, cells in getattr(held, field).items():
            if room <= 0:
                yield part
                part, room = _nothing(), size
            getattr(part, field)[index] = cells
            room -= len(cells)
    yield part


def _nothing() -> Held:
    return Held({}, {}, {}, {}, {}, {})


class Absorber:
    """Adds what others hold to panes whose clock is not behind, message by message as :func:`export` gives them."""

    def __init__(self, panes: Panes) -> None:
        self._panes = panes
        self._firsts: list[int] | None = None
        """The cells here of the leaves there, by their number there."""

    def take(self, message: bytes) -> None:
        """Add the next message."""
        if self._firsts is None:
            leaves = self._panes.leaves
            self._firsts = [leaves.of_packed(bytes(name)) * CODES for name in _decode_names(message)]
            return
        held = _decode_held(message)
        rosters = {index: self._each(roster) for index, roster in held.roster.items()}
        fine, coarse, ahead = map(self._each, (held.fine, held.coarse, held.ahead))
        samples = {hour: self._own_samples(cells) for hour, cells in held.samples.items()}
        self._panes.absorb(Held(fine, coarse, self._own(held.base), rosters, ahead, samples))
        self._panes.trim()

    def _each(self, store: dict[int, Cells]) -> dict[int, Cells]:
        return {index: self._own(cells) for index, cells in store.items()}

    def _own(self, cells: Cells) -> Cells:
        firsts = self._firsts
        assert firsts is not None
        return {firsts[cell // CODES] + cell % CODES: amount for cell, amount in cells.items()}

    def _own_samples(self, cells: Cells) -> Cells:
        firsts = self._firsts
        assert firsts is not None
        own = ((with_leaf(cell, firsts[leaf_of(cell)] // CODES), count) for cell, count in cells.items())
        return {cell: count for cell, count in own if cell is not None}


def absorb(panes: Panes, exported: Iterable[bytes]) -> None:
    """Add all that other panes hold."""
    absorber = Absorber(panes)
    for message in exported:
        absorber.take(message)
