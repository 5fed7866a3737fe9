"""Partial sums that were computed apart: the panes of a shard as bytes, which add up with those of others."""

from __future__ import annotations

import msgspec

from metrics.leaves import CODES
from metrics.panes import Held, Panes
from metrics.store import Cells

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[msgspec.Raw], Held]).decode


def export(panes: Panes) -> bytes:
    """All that the panes hold, with the names of their leaves: other processes number theirs differently."""
    leaves = panes.leaves
    return _encode(([leaves.packed(number) for number in range(len(leaves))], panes.held))


def absorb(panes: Panes, exported: bytes) -> None:
    """Add what other panes hold, whose clock is not ahead of that of these."""
    names, held = _decode(exported)
    firsts = [panes.leaves.of_packed(bytes(name)) * CODES for name in names]

    def own(cells: Cells) -> Cells:
        return {firsts[cell // CODES] + cell % CODES: amount for cell, amount in cells.items()}

    def each(store: dict[int, Cells]) -> dict[int, Cells]:
        return {index: own(cells) for index, cells in store.items()}

    rosters = {index: each(roster) for index, roster in held.roster.items()}
    panes.absorb(Held(each(held.fine), each(held.coarse), own(held.base), rosters, each(held.ahead)))
