"""What delivery hands to the code it drives, and what it takes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]


class Record(NamedTuple):
    """A record of Kafka, as it was read; nothing is decoded. `timestamp_ms` is epoch milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Send(NamedTuple):
    """A record to produce; without a partition the key chooses it, as Kafka's default partitioner does."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Output:
    """What one `Processor.apply` leads to."""

    state: Mapping[bytes, bytes | None] = field(default_factory=dict)
    """Changed states by entity key, for the partition's changelog; None removes the entity."""
    sends: Sequence[Send] = ()
    """Records for other topics: re-keyed facts, dead letters."""


class Processor(Protocol):
    """The code that delivery drives: synchronous, in one thread, without input or output of its own.

    It must be idempotent: a record may come again, after a crash or when a partition moves. An exception out of it
    stops the worker, so what cannot be processed belongs into `Output.sends` as a dead letter.
    """

    def apply(self, partition: int, records: Sequence[Record]) -> Output:
        """Take records of one partition, of any source topic, in the order of each topic.

        The state it returns is in the changelog, acknowledged, before the offsets of the records are committed.
        """
        ...

    def restore(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Take over a chunk of the partition's changelog, in its order: the last value of a key counts."""
        ...

    def assigned(self, partitions: frozenset[int], generation: int) -> None:
        """These partitions are this worker's, all of them restored; called after each rebalance.

        Args:
            partitions: all active ones, not only new ones.
            generation: of the consumer group; it grows with each rebalance while the group exists.
        """
        ...

    def revoked(self, partitions: frozenset[int]) -> None:
        """Forget the state of these partitions. They may be restored again, from the beginning."""
        ...
