"""HTTP: ``/metrics``, ``/healthz``, ``/readyz``, ``/api/kpis`` and the built-in board."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import threading
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from salesgauge.metrics.kpis.targets import Target
from salesgauge.streams.serve.answers import Answers, BusyError
from salesgauge.streams.serve.board import DEFAULTS, Answer, BoardServer, page, page_gzip
from salesgauge.streams.serve.board import headers as page_headers
from salesgauge.streams.serve.doors import application, listen, may_show_records, records_refused
from salesgauge.streams.serve.readings_api import readings_answer
from salesgauge.streams.serve.records_api import RecordsApi
from salesgauge.streams.worker.queries import PATH

if TYPE_CHECKING:
    from salesgauge.streams.serve.exporter import Exporter, Health
    from salesgauge.streams.serve.owners import Owners
    from salesgauge.streams.serve.queries import WorkerQueries
    from salesgauge.streams.settings.model import Web
    from salesgauge.streams.worker.app import DeliveryApp

_OBSERVE_SECONDS = 5.0
_FRESH_SECONDS = 0.5
"""How long an answer of the API is good for those who ask the same."""
_PARAMETERS = 20
_LONGEST = 1000
"""Characters of a parameter of the API."""
_COMPRESSED_FROM = 1024
_SCRAPE_SECONDS = 1.0
"""How long a scrape that is under way may hold up an answer of the API."""


class ListenError(Exception):
    """The address cannot be listened on; the message says what to do."""


class Server:
    """An HTTP server in the running event loop."""

    def __init__(
        self,
        settings: Web,
        registries: Iterable[CollectorRegistry],
        exporter: Exporter | None = None,
        app: DeliveryApp | None = None,
        *,
        any_port: bool = False,
        targets: tuple[Target, ...] = DEFAULTS,
        queries: WorkerQueries | None = None,
        owners: Owners | None = None,
    ) -> None:
        self._settings = settings
        self._queries = queries
        self._owners = owners
        self._records = RecordsApi(exporter, owners) if exporter is not None and owners is not None else None
        self._targets = targets
        self._any_port = any_port
        self._app = app
        self._registries = tuple(registries)
        self._exporter = exporter
        self._shown: BoardServer | None = None
        self._observing: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        # One thread each, so that a scrape waits for one answer of the API at most, and probes for none.
        self._scrapes: Answers[bytes] = Answers("scrapes")
        self._api: Answers[_Packed] = Answers("api", fresh_seconds=_FRESH_SECONDS)
        self._scraping = 0
        self._no_scrape = threading.Event()
        self._no_scrape.set()
        self.port = settings.port

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ListenError: the address is taken or not allowed.
            SettingsError: a certificate cannot be read.
        """
        app = application(self._settings)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", _alive)
        app.router.add_get("/readyz", self._ready)
        if self._exporter is not None:
            self._shown = BoardServer.for_view(self._exporter.board.view, self._targets)
            app.router.add_get("/api/kpis", self._kpis)
            app.router.add_get("/api/board", self._board)
            app.router.add_get("/", _page)
        if self._records is not None:
            app.router.add_get("/api/explain", partial(self._of_records, self._records.explain))
            app.router.add_get("/api/leads/waiting", partial(self._of_records, self._records.waiting))
        if self._queries is not None:
            app.router.add_post(PATH, self._queries.handle)
        try:
            self._runner = await listen(app, self._settings, any_port=self._any_port)
        except OSError as error:
            where = f"{self._settings.host}:{self._settings.port}"
            raise ListenError(f"cannot listen on {where}: {error.strerror}; choose another --port or --host") from error
        self.port = self._runner.addresses[0][1]
        if self._shown is not None:
            self._observing = asyncio.create_task(self._observe())

    async def stop(self) -> None:
        """Stop listening."""
        if self._observing is not None:
            self._observing.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        self._scrapes.close()
        self._api.close()
        if self._queries is not None:
            self._queries.close()
        if self._owners is not None:
            await self._owners.close()

    @property
    def listening(self) -> bool:
        """Whether it can be reached."""
        return self._runner is not None

    @property
    def url(self) -> str:
        """Where to look."""
        return f"{'https' if self._settings.tls else 'http'}://{self._settings.host}:{self.port}"

    async def _metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        openmetrics = content_type.startswith("application/openmetrics-text")
        with self._scrape():
            body = await self._scrapes.get(content_type, partial(self._encode, encoder, openmetrics=openmetrics))
        response = web.Response(body=body, headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    @contextlib.contextmanager
    def _scrape(self) -> Iterator[None]:
        """Answers of the API wait meanwhile."""
        self._scraping += 1
        self._no_scrape.clear()
        try:
            yield
        finally:
            self._scraping -= 1
            if not self._scraping:
                self._no_scrape.set()

    def _encode(self, encoder: Callable[[CollectorRegistry], bytes], *, openmetrics: bool) -> bytes:
        if self._exporter is None:
            return b"".join(encoder(registry) for registry in self._registries)
        with self._exporter.board.now(), self._exporter.scrapes.time():
            own = [encoder(registry) for registry in (*self._registries, self._exporter.registry)]
            return _joined([*own, self._exporter.exposition(openmetrics=openmetrics)])

    async def _ready(self, request: web.Request) -> web.Response:
        del request
        document: dict[str, Any] = {"ready": True, "reasons": []}
        if self._exporter is not None:
            document = health_document(self._exporter.health())
        if self._app is not None and (reason := self._app.waiting_for):
            document |= {"ready": False, "reasons": [*document["reasons"], reason]}
        return web.json_response(document, status=200 if document["ready"] else 503)

    async def _kpis(self, request: web.Request) -> web.Response:
        query = self._query(request)
        if query is None:
            return web.json_response({"error": "the query is too long"}, status=400)
        return await self._computed(request, ("kpis", *query.items()), partial(self._readings, query))

    async def _board(self, request: web.Request) -> web.Response:
        query = self._query(request)
        if query is None:
            return web.json_response({"error": "the query is too long"}, status=400)
        return await self._computed(request, ("board", *query.items()), partial(self._answer, query))

    async def _of_records(
        self, answer: Callable[[Mapping[str, str]], Awaitable[Answer]], request: web.Request
    ) -> web.Response:
        if not may_show_records(self._settings):
            return records_refused("web")
        query = self._query(request)
        if query is None:
            return web.json_response({"error": "the query is too long"}, status=400)
        return _Packed.of(await answer(query)).response(request)

    @staticmethod
    def _query(request: web.Request) -> dict[str, str] | None:
        """The parameters, several of one name joined with commas; None where they are too many or too long."""
        names = sorted(request.query.keys())
        query = {name: ",".join(request.query.getall(name)) for name in names}
        return None if len(names) > _PARAMETERS or any(len(value) > _LONGEST for value in query.values()) else query

    async def _computed(self, request: web.Request, key: Hashable, compute: Callable[[], Answer]) -> web.Response:
        def packed() -> _Packed:
            self._no_scrape.wait(_SCRAPE_SECONDS)
            return _Packed.of(compute())

        try:
            return (await self._api.get(key, packed)).response(request)
        except BusyError:
            busy = {"error": "too many different questions at once; ask again"}
            return web.json_response(busy, status=503, headers={"Retry-After": "1"})

    def _answer(self, query: dict[str, str]) -> Answer:
        assert self._exporter is not None
        assert self._shown is not None
        health = health_document(self._exporter.health())
        with self._exporter.board.now() as view:
            totals = self._exporter.board.totals()
            engine = {
                "ready": health["ready"],
                "reasons": health["reasons"],
                "settling": health["settling"],
                "lag": health["lag_records"],
                "freshness": health["freshness_seconds"],
                "partitions": health["partitions"],
                "workers": health["workers"],
                "events": totals.events,
                "newest_event": totals.newest_event,
                "rejected": totals.rejected,
            }
            return self._shown.answer(view, query, engine)

    async def _observe(self) -> None:
        """Feed the board's small charts."""
        while True:
            await asyncio.to_thread(self._observe_once)
            await asyncio.sleep(_OBSERVE_SECONDS)

    def _observe_once(self) -> None:
        assert self._exporter is not None
        assert self._shown is not None
        if self._exporter.health().ready:
            with self._exporter.board.now() as view:
                totals = self._exporter.board.totals()
                self._shown.observe(view, totals.events, totals.newest_event)

    def _readings(self, query: dict[str, str]) -> Answer:
        assert self._exporter is not None
        board = self._exporter.board
        with board.now() as view:
            totals = board.totals()
            return readings_answer(view, query, totals.events, totals.rejected)


@dataclass(frozen=True, slots=True)
class _Packed:
    """An answer, and the same compressed where that is worth it."""

    answer: Answer
    compressed: bytes | None

    @classmethod
    def of(cls, answer: Answer) -> _Packed:
        large = len(answer.body) >= _COMPRESSED_FROM
        return cls(answer, gzip.compress(answer.body, 1, mtime=0) if large else None)

    def response(self, request: web.Request) -> web.Response:
        headers = {"Vary": "Accept-Encoding"}
        if self.answer.filename:
            headers["Content-Disposition"] = f'attachment; filename="{self.answer.filename}"'
        body = self.answer.body
        if self.compressed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = self.compressed, "gzip"
        kind = self.answer.content_type
        return web.Response(status=self.answer.status, body=body, content_type=kind, headers=headers)


def health_document(health: Health) -> dict[str, Any]:
    """Health as JSON."""
    return {
        "ready": health.ready,
        "reasons": list(health.reasons),
        "freshness_seconds": health.freshness,
        "partitions": health.partitions,
        "workers": health.workers,
        "lag_records": sum(health.lag.values()),
        "settling": health.identity_behind > 0,
    }


def _joined(parts: list[bytes]) -> bytes:
    """Expositions of several registries as one: OpenMetrics ends with one EOF."""
    end = b"# EOF\n"
    if not parts[-1].endswith(end):
        return b"".join(parts)
    return b"".join(part.removesuffix(end) for part in parts) + end


async def _page(request: web.Request) -> web.Response:
    headers = dict(page_headers())
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=page_gzip(), headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=page(), headers=headers)


async def _alive(request: web.Request) -> web.Response:
    del request
    return web.json_response({"alive": True})
