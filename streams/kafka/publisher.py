"""Publishing events to their topics: keyed, acknowledged, in order per key."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata

from salesgauge.schemas.codec import encode
from salesgauge.schemas.events import EventBase
from salesgauge.streams.kafka.connection import BrokerError, explained, partition_of, producer
from salesgauge.streams.settings.model import Kafka

_IN_FLIGHT = 20_000
_TIMEOUT = 60


class Publisher:
    """Sends events; every send is acknowledged by all replicas before :meth:`flush` returns.

    Raises:
        BrokerError: from any method, if Kafka cannot be reached or refuses a message.
    """

    def __init__(self, kafka: Kafka, **arguments: Any) -> None:
        self._kafka = kafka
        self._producer = producer(kafka, **arguments)
        self._unacknowledged: deque[FutureRecordMetadata] = deque()
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._producer.close(timeout=5)

    def send(self, event: EventBase) -> None:
        """Send one event; blocks while too many are on their way."""
        self.send_raw(event.topic, event.key, encode(event))

    def send_raw(
        self,
        topic: str,
        key: str | bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        """Send any message; one with a key goes to the partition that Kafka's default partitioner gives it."""
        encoded = key.encode() if isinstance(key, str) else key
        with explained(self._kafka):
            partition = None
            if encoded is not None:
                partitions = self._producer.partitions_for(topic)
                partition = partition_of(encoded, len(partitions)) if partitions else None
            future = self._producer.send(topic, value, encoded, list(headers), partition)
        self._unacknowledged.append(future)
        self.sent += 1
        if len(self._unacknowledged) > _IN_FLIGHT:
            self._await(_IN_FLIGHT // 2)

    def flush(self) -> None:
        """Wait until everything sent is acknowledged."""
        with explained(self._kafka):
            self._producer.flush(timeout=_TIMEOUT)
        self._await(0)

    def _await(self, remaining: int) -> None:
        while len(self._unacknowledged) > remaining:
            future = self._unacknowledged.popleft()
            try:
                future.get(timeout=_TIMEOUT)
            except KafkaError as error:
                raise BrokerError(f"a message was not acknowledged: {error!r}; nothing after it is certain") from error
