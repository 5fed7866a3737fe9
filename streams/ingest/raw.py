"""The raw topic: what came in, as it came, written in batches and acknowledged by all replicas.

A record's value is the body. Its headers are ``via`` (hook, poll or topic), ``at`` (when it came, ms since the epoch,
as text), ``delivery`` (the sender's id of the delivery, else a digest of the body) and ``http`` (the request's headers
as JSON, without credentials).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from salesgauge.streams.kafka.connection import MAX_MESSAGE_BYTES, failure
from salesgauge.streams.kafka.fast_client import fast_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from salesgauge.streams.settings.model import Kafka

_BATCH_BYTES = 1024 * 1024
_LINGER_SECONDS = 0.002
_OVERHEAD_BYTES = 512
"""Of a record in a batch beside its body: headers and framing, roughly."""
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_HEADER_BYTES = 8192
_DELIVERY_HEADERS = (
    "webhook-id", "svix-id", "x-hubspot-correlation-id", "x-request-id", "x-github-delivery", "idempotency-key",
)  # fmt: skip

Headers = list[tuple[str, bytes]]


class NotAcknowledgedError(Exception):
    """Kafka did not acknowledge a record in time; it may or may not be written."""


def raw_headers(via: str, at: int, body: bytes, http: Mapping[str, str], secret: str = "") -> Headers:
    """The headers of a raw record; ``at`` is in ms since the epoch, ``secret`` names a header that holds one."""
    kept = {name: value for name, value in http.items() if name not in _SECRET_HEADERS and name != secret}
    encoded = msgspec.json.encode(kept)
    delivery = next((http[name] for name in _DELIVERY_HEADERS if http.get(name)), "")
    delivery = delivery or hashlib.blake2b(body, digest_size=16).hexdigest()
    return [
        ("via", via.encode()),
        ("at", str(at).encode()),
        ("delivery", delivery.encode()),
        ("http", encoded if len(encoded) <= _HEADER_BYTES else b"{}"),
    ]


def producer(kafka: Kafka, *, timeout: float) -> AIOKafkaProducer:
    """A producer that waits for all replicas; a write that takes longer than ``timeout`` seconds fails."""
    return AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        client_id="salesgauge-ingest",
        **fast_arguments(kafka),
        acks="all",
        max_batch_size=_BATCH_BYTES,
        max_request_size=MAX_MESSAGE_BYTES,
        request_timeout_ms=int(timeout * 1000),
        linger_ms=0,
    )


@dataclass(slots=True)
class _Batch:
    """Records of one topic that are written together, and what tells those who wait."""

    builder: Any
    done: asyncio.Future[None]
    size: int = 0


@dataclass(slots=True)
class RawWriter:
    """Writes raw records of all sources. One instance per event loop.

    Records that come within two milliseconds share one batch and one acknowledgement, so that thousands a second
    cost little each.
    """

    kafka: Kafka
    timeout: float
    max_pending: int
    pending: int = 0
    """Bytes that wait for an acknowledgement."""
    _producer: AIOKafkaProducer | None = None
    _open: dict[str, _Batch] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Connect.

        Raises:
            NotAnsweringError: the broker does not answer.
            BrokerError: it refuses.
        """
        self._producer = producer(self.kafka, timeout=self.timeout)
        try:
            await self._producer.start()
        except KafkaError as error:
            with contextlib.suppress(Exception):
                await self._producer.stop()
            raise failure(self.kafka, error) from error

    async def stop(self) -> None:
        """Write what is open, and close the connections."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.timeout)
        if self._producer is not None:
            with contextlib.suppress(KafkaError, TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._producer.stop(), self.timeout)

    @property
    def full(self) -> bool:
        """Whether no more should be taken, as too much waits for Kafka."""
        return self.pending >= self.max_pending

    async def write(
        self, topic: str, value: bytes, headers: Sequence[tuple[str, bytes]], at: int, key: bytes | None = None
    ) -> None:
        """Write one record; returns when all replicas have it. ``at`` (ms) becomes its timestamp.

        Raises:
            NotAcknowledgedError: they did not say so in time.
        """
        batch = self._open.get(topic)
        if batch is None or not self._append(batch, key, value, headers, at):
            batch = self._begin(topic)
            if not self._append(batch, key, value, headers, at):
                raise NotAcknowledgedError("the record is larger than a batch")
        size = len(value) + _OVERHEAD_BYTES
        self.pending += size
        try:
            async with asyncio.timeout(self.timeout):
                await asyncio.shield(batch.done)
        except TimeoutError as error:
            raise NotAcknowledgedError("Kafka did not acknowledge in time") from error
        finally:
            self.pending -= size

    @staticmethod
    def _append(batch: _Batch, key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes]], at: int) -> bool:
        return batch.builder.append(timestamp=at, key=key, value=value, headers=list(headers)) is not None

    def _begin(self, topic: str) -> _Batch:
        assert self._producer is not None
        batch = _Batch(self._producer.create_batch(), asyncio.get_running_loop().create_future())
        batch.done.add_done_callback(_retrieved)
        self._open[topic] = batch
        task = asyncio.create_task(self._flush(topic, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return batch

    async def _flush(self, topic: str, batch: _Batch) -> None:
        """Wait a moment for more records, then send the batch and wait for the acknowledgement."""
        assert self._producer is not None
        await asyncio.sleep(_LINGER_SECONDS)
        if self._open.get(topic) is batch:
            del self._open[topic]
        try:
            batch.builder.close()
            async with asyncio.timeout(self.timeout):
                sent = await self._producer.send_batch(batch.builder, topic, partition=0)
                await asyncio.shield(sent)
            batch.done.set_result(None)
        except (KafkaError, TimeoutError, ValueError, AssertionError) as error:
            batch.done.set_exception(NotAcknowledgedError(f"{error!r}"))


def _retrieved(future: asyncio.Future[None]) -> None:
    """Nobody may be waiting any more: then the error is known all the same."""
    if not future.cancelled():
        future.exception()
