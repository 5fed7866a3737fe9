"""How far a consumer group lies behind the ends of its topics, and who is in it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kafka import TopicPartition
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
)

from salesgauge.schemas.events import TOPICS
from salesgauge.streams.kafka.connection import admin, consumer, explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.streams.settings.model import Settings

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.25
_PASSING = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)


@dataclass(frozen=True, slots=True)
class Behind:
    """A partition of a topic: up to where it is committed (None: nothing yet) and where it ends."""

    topic: str
    partition: int
    committed: int | None
    begin: int
    end: int

    @property
    def records(self) -> int:
        """Records that are not committed; none where retention has taken what was not read."""
        start = self.begin if self.committed is None else max(self.committed, self.begin)
        return max(0, self.end - start)

    def reached(self, end: int) -> bool:
        """Whether everything before this end is committed (or was never there)."""
        return self.records == 0 or (self.committed is not None and self.committed >= end)


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """A consumer group; ``members`` is None where the broker does not tell."""

    name: str
    state: str
    members: int | None


def consumed_topics(settings: Settings) -> tuple[str, ...]:
    """The topics that workers consume."""
    return (*TOPICS, settings.rekey_topic)


class LagReader:
    """Asks again and again over connections that stay open. A context manager.

    Raises:
        BrokerError: from any method, if the broker cannot be reached or refuses.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._admin = self._stack.enter_context(admin(self._settings.kafka))
        self._consumer = self._stack.enter_context(consumer(self._settings.kafka))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self) -> list[Behind]:
        """How far each partition is behind; topics that are missing are left out."""
        with explained(self._settings.kafka):
            return self._read()

    def _read(self) -> list[Behind]:
        existing = self._consumer.topics()
        partitions = [
            TopicPartition(topic, partition)
            for topic in consumed_topics(self._settings)
            if topic in existing
            for partition in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        if not partitions:
            return []
        committed = self._committed(partitions)
        ends = self._consumer.end_offsets(partitions)
        begins = self._consumer.beginning_offsets(partitions)
        return [Behind(p.topic, p.partition, _offset(committed.get(p)), begins[p], ends[p]) for p in partitions]

    def _committed(self, partitions: list[TopicPartition]) -> dict[TopicPartition, Any]:
        group = self._settings.application
        for attempt in range(_ATTEMPTS):
            try:
                return dict(self._admin.list_group_offsets({group: partitions}).get(group, {}))
            except _PASSING:  # a fresh or moving coordinator
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_PAUSE_SECONDS)
        return {}

    def group(self) -> ConsumerGroup:
        """The workers' group."""
        name = self._settings.application
        try:
            found = self._admin.describe_groups([name])[name]
        except (KafkaError, ValueError, KeyError, TypeError):  # the embedded broker answers what the client cannot read
            return ConsumerGroup(name, "unknown", None)
        return ConsumerGroup(name, str(found.get("group_state", "unknown")), len(found.get("members") or ()))


def _offset(committed: Any) -> int | None:
    return None if committed is None or committed.offset < 0 else int(committed.offset)


def by_partition(behind: Sequence[Behind]) -> dict[int, int]:
    """Records behind per partition number, over all topics."""
    totals: dict[int, int] = {}
    for one in behind:
        totals[one.partition] = totals.get(one.partition, 0) + one.records
    return dict(sorted(totals.items()))
