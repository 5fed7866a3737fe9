"""The entities of a shard at a moment, for somebody who reads them while the shard goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.state import State


@dataclass(frozen=True, slots=True)
class Still:
    """Packed states by address, and the survivors of merged leads and accounts."""

    states: Mapping[str, bytes]
    who: Survivors

    def state(self, address: str) -> State:
        """What an entity remembers."""
        return State.unpack(address, self.states[address])

    def each(self) -> Iterator[State]:
        """What each entity remembers, one at a time."""
        yield from map(self.state, self.states)
