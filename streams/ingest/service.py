"""The parts of `salesgauge ingest` in one event loop: a receiver, and per source what reads and maps records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from salesgauge.schemas.sources.live import Deriver
from salesgauge.streams.ingest.mapper import Mapper
from salesgauge.streams.ingest.metrics import IngestMetrics
from salesgauge.streams.ingest.polling.poller import Poller
from salesgauge.streams.ingest.raw import RawWriter
from salesgauge.streams.ingest.receiver import Bucket, HookTarget, Receiver
from salesgauge.streams.ingest.setup import create_topics, require_topics, secrets
from salesgauge.streams.kafka.connection import answered

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
        derive: whether to make events of the raw records.
        since: make the events of what arrived from this instant on (ms) again; None goes on.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        *,
        receive: bool = True,
        derive: bool = True,
        since: int | None = None,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self.registry = CollectorRegistry()
        self.metrics = IngestMetrics(self.registry)
        self._writer = RawWriter(
            settings.kafka, timeout=settings.ingest.ack_seconds, max_pending=settings.ingest.max_pending_bytes
        )
        targets = self._targets() if receive else {}
        self.receiver = Receiver(settings.ingest, targets, self._writer, self.metrics) if targets else None
        self.pollers = {
            source.name: Poller(settings, source, secrets(source, source.poll.secret), self._writer, self.metrics)
            for source in sources
            if derive and source.poll is not None
        }
        self.mappers = {
            source.name: Mapper(settings, source, self.metrics, poller=self.pollers.get(source.name), since=since)
            for source in sources
            if derive
        }

    def _targets(self) -> dict[str, HookTarget]:
        found = {}
        for source in self._sources:
            if source.hook is not None:
                found[source.name] = HookTarget(
                    name=source.name,
                    topic=self._settings.raw_topic(source.name),
                    hook=source.hook,
                    secrets=secrets(source, source.hook.secret),
                    bucket=Bucket(self._settings.ingest.max_rate),
                )
        return found

    def _prepare(self) -> None:
        """Check the queries, and create the sources' topics; those of events must be there.

        Raises:
            ConvertError: a source's query is wrong.
            BrokerError: Kafka cannot be reached, or topics are missing.
        """
        for source in self._sources:
            Deriver(source).close()
        require_topics(self._settings, self._sources, events=bool(self.mappers))
        create_topics(self._settings, self._sources)

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Run until cancelled.

        Raises:
            ConvertError: a source's query is wrong.
            BrokerError: Kafka does not answer within ``kafka.start_seconds``, or refuses, or topics are missing.
            OSError: the address cannot be listened on.
        """
        await answered(self._settings.kafka, lambda: asyncio.to_thread(self._prepare))
        await answered(self._settings.kafka, self._writer.start)
        try:
            if self.receiver is not None:
                await self.receiver.start()
            if started is not None:
                started.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.Event().wait())
                for mapper in self.mappers.values():
                    tasks.create_task(mapper.run())
                for poller in self.pollers.values():
                    tasks.create_task(poller.run())
        finally:
            if self.receiver is not None:
                await self.receiver.stop()
            await self._writer.stop()
