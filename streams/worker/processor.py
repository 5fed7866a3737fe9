"""What the delivery path and the engine say to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]


class Record(NamedTuple):
    """A consumed record; ``timestamp`` is the broker's or the producer's, ms since the epoch.

    Clients' own records have these attributes too, and stand for it.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Send(NamedTuple):
    """A record to produce; without a partition the topic's first one is used."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Output:
    """What a batch led to: changelog records of its partition (None removes one), and records for other topics."""

    state: Mapping[bytes, bytes | None] = field(default_factory=dict)
    sends: Sequence[Send] = ()


class Publication(NamedTuple):
    """Records for one partition of the windows topic, all under the owner's token."""

    partition: int
    owner: str
    records: Sequence[tuple[bytes, bytes | None]]


class Processor(Protocol):
    """The engine as the delivery path drives it. All methods are synchronous and are called in one event loop."""

    def apply(self, partition: int, records: Sequence[Record]) -> Output:
        """Apply records; called again with the same ones after a crash or a rebalance.

        A partition that was never assigned has no state here: all of its records are sent on to their homes.
        """

    def position(self, partition: int, records: Sequence[Record]) -> tuple[int, int]:
        """How far a partition has learnt the identity log, and how far it must have before it takes these records."""

    def learn(self, partition: int, values: Sequence[bytes], position: int) -> Output:
        """Take records of the identity log, up to a position."""

    def restore(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Take a chunk of the changelog, in its order."""

    def assigned(self, partitions: frozenset[int]) -> None:
        """These partitions are owned from now on, with their state restored (all of them, not only new ones)."""

    def revoked(self, partitions: frozenset[int]) -> None:
        """These partitions are owned no more; their state is to be dropped."""

    def taken(self, partition: int, generation: int) -> Publication:
        """The partition comes to this worker and is about to be restored; what to tell the readers of windows."""

    def due(self, partition: int) -> Publication | None:
        """What is to be published of an owned partition now."""

    def building(self) -> bool:
        """Whether restored state is still being worked into the panes, a step with each call of :meth:`due`."""
