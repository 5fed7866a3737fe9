"""The parts of `salesgauge ingest` in one event loop: a receiver, and per source what reads and maps records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from salesgauge.streams.ingest.metrics import IngestMetrics
from salesgauge.streams.ingest.raw import RawWriter
from salesgauge.streams.ingest.receiver import Bucket, Receiver, Target
from salesgauge.streams.ingest.setup import create_topics, secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.schemas.sources.source import Source
    from salesgauge.streams.settings.model import Settings


class Service:
    """All sources of one process.

    Args:
        settings: where Kafka is, limits.
        sources: what comes in.
        receive: whether to listen for webhooks.
    """

    def __init__(self, settings: Settings, sources: Sequence[Source], *, receive: bool = True) -> None:
        self._settings = settings
        self._sources = sources
        self.registry = CollectorRegistry()
        self.metrics = IngestMetrics(self.registry)
        self._writer = RawWriter(
            settings.kafka, timeout=settings.ingest.ack_seconds, max_pending=settings.ingest.max_pending_bytes
        )
        targets = self._targets() if receive else {}
        self.receiver = Receiver(settings.ingest, targets, self._writer, self.metrics) if targets else None

    def _targets(self) -> dict[str, Target]:
        found = {}
        for source in self._sources:
            if source.hook is not None:
                found[source.name] = Target(
                    name=source.name,
                    topic=self._settings.raw_topic(source.name),
                    hook=source.hook,
                    secrets=secrets(source, source.hook.secret),
                    bucket=Bucket(self._settings.ingest.max_rate),
                )
        return found

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Run until cancelled.

        Raises:
            BrokerError: Kafka cannot be reached at the start, or refuses.
            OSError: the address cannot be listened on.
        """
        await asyncio.to_thread(create_topics, self._settings, self._sources)
        await self._writer.start()
        try:
            if self.receiver is not None:
                await self.receiver.start()
            if started is not None:
                started.set()
            await asyncio.Event().wait()
        finally:
            if self.receiver is not None:
                await self.receiver.stop()
            await self._writer.stop()
