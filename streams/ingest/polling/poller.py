"""A source's poller: the whole past at first, then what changed, what was deleted, and what webhooks left out.

A cursor is written after the data that it stands for, to the topic of what is remembered. A sweep has a fixed upper
bound and looks back, as sources show changes late; what was written before is not written again. Once a day it looks
back a whole day and for deletions: so what webhooks lost is found, and comes with the same ids.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from salesgauge.schemas.sources.instants import milliseconds
from salesgauge.schemas.sources.objects import FieldValue, ObjectState
from salesgauge.streams.ingest.polling import hubspot, pipedrive, salesforce
from salesgauge.streams.ingest.polling.api import Api, ApiError
from salesgauge.streams.ingest.raw import NotAcknowledgedError, raw_headers
from salesgauge.streams.kafka.connection import BrokerError
from salesgauge.streams.kafka.whole_topic import read_topic
from salesgauge.streams.settings.file import SettingsError

if TYPE_CHECKING:
    from salesgauge.schemas.sources.source import Source
    from salesgauge.streams.ingest.metrics import IngestMetrics
    from salesgauge.streams.ingest.polling.system import Bodies, System
    from salesgauge.streams.ingest.raw import RawWriter
    from salesgauge.streams.settings.model import Settings

_log = logging.getLogger("salesgauge.ingest")
_SYSTEMS: dict[str, tuple[Any, str | None, float]] = {
    "hubspot": (hubspot.HubSpot, hubspot.BASE, hubspot.INTERVAL),
    "pipedrive": (pipedrive.Pipedrive, pipedrive.BASE, pipedrive.INTERVAL),
    "salesforce": (salesforce.Salesforce, None, salesforce.INTERVAL),
}
_CURSOR = "@cursor"
_DAY = 86_400.0
_AGAIN_SECONDS = 30.0
_ENRICH_SECONDS = 1.0
_FETCH = 100
_MOST_WANTED = 50_000
_SEEN = 200_000


def system_of(source: Source, secrets: Sequence[bytes]) -> System:
    """The system that a source polls.

    Raises:
        SettingsError: its reader's system cannot be polled, or credentials are missing.
    """
    if source.reader not in _SYSTEMS:
        raise SettingsError(f"source {source.name}: poll: only {', '.join(_SYSTEMS)} can be polled")
    if source.reader == "salesforce" and len(secrets) != 2:  # noqa: PLR2004 - see the message
        raise SettingsError(f"source {source.name}: poll.secret: give two, the connected app's id and its secret")
    found: System = _SYSTEMS[source.reader][0](source, secrets)
    return found


def api_of(source: Source, session: aiohttp.ClientSession, metrics: IngestMetrics | None) -> Api:
    """The API of a source, not signed in yet.

    Raises:
        SettingsError: its address is not known.
    """
    assert source.poll is not None
    _, base, interval = _SYSTEMS[source.reader]
    address = source.poll.base or base
    if address is None:
        raise SettingsError(
            f"source {source.name}: poll.base: give the address, such as https://acme.my.salesforce.com"
        )
    api = Api(session, address.rstrip("/"), interval=interval if source.poll.base is None else 0.0)
    if metrics is not None:
        api.count = lambda outcome: metrics.polled(source.name, outcome)
    return api


class Poller:
    """Polls one source while it leads: while this process is the one that maps its records."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        secrets: Sequence[bytes],
        writer: RawWriter,
        metrics: IngestMetrics,
    ) -> None:
        assert source.poll is not None
        self._settings = settings
        self._source = source
        self._poll = source.poll
        self._system = system_of(source, secrets)
        self._writer = writer
        self._metrics = metrics
        self._cursors: dict[str, int] = {}
        self._wanted: dict[tuple[str, str], None] = {}
        self._seen: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._daily = 0.0
        self.leading = asyncio.Event()
        self.swept = 0
        """How many sweeps were completed."""

    def notice(self, body: Any) -> None:
        """A webhook came: what it leaves out is to be fetched. If too much waits, the next sweep brings it."""
        for one in self._system.lacking(body):
            if len(self._wanted) < _MOST_WANTED:
                self._wanted[one] = None

    async def run(self) -> None:
        """Run until cancelled; goes on by itself when the source or Kafka comes back."""
        while True:
            try:
                await self.leading.wait()
                async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
                    await self._session(api_of(self._source, session, self._metrics))
            except (ApiError, NotAcknowledgedError, BrokerError, KeyError, TypeError, ValueError) as error:
                _log.warning("%s: polling is interrupted, trying again: %s: %s", self._source.name,
                             type(error).__name__, error)  # fmt: skip
                await asyncio.sleep(min(_AGAIN_SECONDS, self._poll.every))

    async def _session(self, api: Api) -> None:
        account = await self._system.sign_in(api)
        _log.info("%s: polling %s", self._source.name, account)
        await self._write(await self._system.lookups(api), "poll")
        self._cursors = await asyncio.to_thread(self._read_cursors)
        due = 0.0
        while self.leading.is_set():
            if time.monotonic() >= due:
                await self._sweep(api)
                due = time.monotonic() + self._poll.every
            await self._enrich(api)
            await asyncio.sleep(min(_ENRICH_SECONDS, self._poll.every))

    async def _sweep(self, api: Api) -> None:
        """Everything that changed since the cursors; once a day further back, and deletions."""
        daily = time.monotonic() >= self._daily
        for kind in self._poll.objects or self._system.objects:
            until = time.time_ns() // 1_000_000
            known = self._cursors.get(kind)
            back = self._poll.lookback if not daily else max(self._poll.lookback, _DAY)
            first = milliseconds(self._poll.start) or 0
            since = first if known is None else max(first, known - int(back * 1000))
            via = "backfill" if known is None else "poll"
            async for page in self._system.changed(api, kind, since, until):
                await self._write(page, via)
            if daily:
                async for page in self._system.deleted(api, kind, since):
                    await self._write(page, via)
            await self._advance(kind, until)
        if daily:
            self._daily = time.monotonic() + _DAY
        self.swept += 1

    async def _enrich(self, api: Api) -> None:
        """Fetch what webhooks named, once per object however many came."""
        by_kind: dict[str, list[str]] = {}
        for kind, number in list(self._wanted)[:_FETCH]:
            by_kind.setdefault(kind, []).append(number)
        for kind, numbers in by_kind.items():
            await self._write(await self._system.fetch(api, kind, numbers), "fetch")
            for number in numbers:
                self._wanted.pop((kind, number), None)

    async def _write(self, bodies: Bodies, via: str) -> None:
        """Write raw records, acknowledged; those that were written before are left out."""
        topic, at = self._settings.raw_topic(self._source.name), time.time_ns() // 1_000_000
        values = [value for body in bodies if (value := self._fresh(body)) is not None]
        size = max(1, self._writer.max_pending // (4 * max([len(value) for value in values], default=1)))
        for start in range(0, len(values), size):
            some = values[start : start + size]
            await asyncio.gather(
                *(self._writer.write(topic, value, raw_headers(via, at, value, {}), at) for value in some)
            )

    def _fresh(self, body: dict[str, Any]) -> bytes | None:
        value = msgspec.json.encode(body, order="sorted")
        digest = hashlib.blake2b(value, digest_size=12).digest()
        found = body.get("object") or body
        kind = str(body.get("objectType") or body.get("entity") or (body.get("attributes") or {}).get("type"))
        key = kind, str(found.get("id") or found.get("Id"))
        if self._seen.get(key) == digest:
            self._seen.move_to_end(key)
            return None
        self._seen[key] = digest
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)
        return value

    async def _advance(self, kind: str, until: int) -> None:
        state = ObjectState()
        state.add([FieldValue("until", until, until)], frozenset())
        topic = self._settings.memory_topic(self._source.name)
        await self._writer.write(topic, state.encode(), [], until, key=f"{_CURSOR}:{kind}".encode())
        self._cursors[kind] = until
        self._metrics.cursor(self._source.name, kind, until / 1000)

    def _read_cursors(self) -> dict[str, int]:
        found = {}
        for record in read_topic(self._settings.kafka, self._settings.memory_topic(self._source.name)):
            if record.key.startswith(_CURSOR.encode() + b":") and record.value is not None:
                kind = record.key.decode().partition(":")[2]
                found[kind] = int(ObjectState.decode(record.value).get("until", 0))
        return found
