"""The identity log: merges of leads and accounts, in one partition that every worker reads whole from the beginning.

A plain consumer, not Faust's GlobalTable: a table that changes must make entities reconsider what they have told, and
messages between entities say how far their sender had read (docs/identity.md).
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger("salesgauge.identities")
_POLL_MS = 100
_RETRY_SECONDS = 1.0


class IdentityLog:
    """What has been read of the log so far. ``position`` is the offset after the last record.

    Args:
        topic: the log.
        connection: arguments of aiokafka's clients.
    """

    def __init__(self, topic: str, connection: dict[str, Any]) -> None:
        self._topic = topic
        self._connection = connection
        self._grown = asyncio.Condition()
        self._values: list[bytes] = []
        self._offsets: list[int] = []
        self.position = 0

    def since(self, position: int) -> Sequence[bytes]:
        """The records that were read at or after a position."""
        return self._values[bisect_left(self._offsets, position) :]

    async def reached(self, position: int) -> None:
        """Wait until the log has been read up to a position."""
        if position > self.position:
            async with self._grown:
                await self._grown.wait_for(lambda: self.position >= position)

    async def follow(self) -> None:
        """Read until cancelled; a broker that is away is waited for."""
        while True:
            try:
                await self._read()
            except (KafkaError, OSError) as error:
                _log.warning("the identity log cannot be read (%s); trying again", error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._connection,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_POLL_MS,
        )
        await consumer.start()
        try:
            partition = TopicPartition(self._topic, 0)
            consumer.assign([partition])
            consumer.seek(partition, self.position)
            while True:
                for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                    await self._take(records)
        finally:
            await consumer.stop()

    async def _take(self, records: Sequence[Any]) -> None:
        async with self._grown:
            for record in records:
                if record.value:
                    self._values.append(record.value)
                    self._offsets.append(record.offset)
                self.position = record.offset + 1
            self._grown.notify_all()
