"""HTTP: ``/metrics``, ``/healthz``, ``/readyz``, ``/api/kpis`` and the built-in board."""

from __future__ import annotations

import asyncio
import base64
import errno
import hmac
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from salesgauge.metrics.kpis.targets import Target
from salesgauge.streams.io.readings_json import readings_document
from salesgauge.streams.serve.board import DEFAULTS, Answer, BoardServer, page, page_gzip
from salesgauge.streams.serve.board import headers as page_headers

if TYPE_CHECKING:
    from salesgauge.streams.serve.exporter import Exporter, Health
    from salesgauge.streams.settings.model import Web
    from salesgauge.streams.worker.app import DeliveryApp

_OBSERVE_SECONDS = 5.0
_OPEN_PATHS = frozenset({"/healthz", "/readyz"})


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
    ) -> None:
        self._settings = settings
        self._targets = targets
        self._any_port = any_port
        self._app = app
        self._registries = tuple(registries)
        self._exporter = exporter
        self._shown: BoardServer | None = None
        self._observing: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self.port = settings.port

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ListenError: the address is taken or not allowed.
            SettingsError: a certificate cannot be read.
        """
        app = web.Application(middlewares=[_authentication(self._settings)])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", _alive)
        app.router.add_get("/readyz", self._ready)
        if self._exporter is not None:
            self._shown = BoardServer.for_view(self._exporter.board.view, self._targets)
            app.router.add_get("/api/kpis", self._kpis)
            app.router.add_get("/api/board", self._board)
            app.router.add_get("/", _page)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        try:
            await self._listen(self._runner)
        except OSError as error:
            await self._runner.cleanup()
            where = f"{self._settings.host}:{self._settings.port}"
            raise ListenError(f"cannot listen on {where}: {error.strerror}; choose another --port or --host") from error
        self.port = self._runner.addresses[0][1]
        if self._shown is not None:
            self._observing = asyncio.create_task(self._observe())

    async def _listen(self, runner: web.AppRunner) -> None:
        context = self._settings.tls.server_context() if self._settings.tls else None
        try:
            await web.TCPSite(runner, self._settings.host, self._settings.port, ssl_context=context).start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not self._any_port:
                raise
            await web.TCPSite(runner, self._settings.host, 0, ssl_context=context).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._observing is not None:
            self._observing.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where to look."""
        return f"{'https' if self._settings.tls else 'http'}://{self._settings.host}:{self.port}"

    async def _metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        openmetrics = content_type.startswith("application/openmetrics-text")
        body = await asyncio.to_thread(self._encode, encoder, openmetrics=openmetrics)
        response = web.Response(body=body, headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    def _encode(self, encoder: Callable[[CollectorRegistry], bytes], *, openmetrics: bool) -> bytes:
        if self._exporter is None:
            return b"".join(encoder(registry) for registry in self._registries)
        with self._exporter.scrapes.time(), self._exporter.board.now():
            own = [encoder(registry) for registry in (*self._registries, self._exporter.registry)]
            return _joined([*own, self._exporter.exposition(openmetrics=openmetrics)])

    async def _ready(self, request: web.Request) -> web.Response:
        del request
        document: dict[str, Any] = {"ready": True, "reasons": []}
        if self._exporter is not None:
            document = health_document(await asyncio.to_thread(self._exporter.health))
        if self._app is not None and (reason := self._app.status.waiting_for):
            document |= {"ready": False, "reasons": [*document["reasons"], reason]}
        return web.json_response(document, status=200 if document["ready"] else 503)

    async def _kpis(self, request: web.Request) -> web.Response:
        del request
        assert self._exporter is not None
        return web.json_response(await asyncio.to_thread(self._document), dumps=json.dumps)

    async def _board(self, request: web.Request) -> web.Response:
        answer = await asyncio.to_thread(self._answer, dict(request.query))
        response = web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        if answer.filename:
            response.headers["Content-Disposition"] = f'attachment; filename="{answer.filename}"'
        response.enable_compression()
        return response

    def _answer(self, query: dict[str, str]) -> Answer:
        assert self._exporter is not None
        assert self._shown is not None
        health = health_document(self._exporter.health())
        with self._exporter.board.now() as view:
            totals = self._exporter.board.totals()
            engine = {
                "ready": health["ready"],
                "reasons": health["reasons"],
                "lag": health["lag_records"],
                "freshness": health["freshness_seconds"],
                "partitions": health["partitions"],
                "workers": health["workers"],
                "events": totals.events,
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

    def _document(self) -> dict[str, Any]:
        assert self._exporter is not None
        board = self._exporter.board
        with board.now() as view:
            totals = board.totals()
            return readings_document(view.sums.now, totals.events, totals.rejected, view.readings())


def health_document(health: Health) -> dict[str, Any]:
    """Health as JSON."""
    return {
        "ready": health.ready,
        "reasons": list(health.reasons),
        "freshness_seconds": health.freshness,
        "partitions": health.partitions,
        "workers": health.workers,
        "lag_records": sum(health.lag.values()),
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


def _authentication(settings: Web) -> Middleware:
    accepted = _accepted(settings)

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        open_path = not accepted or request.path in _OPEN_PATHS
        if open_path or any(hmac.compare_digest(given.encode(), a.encode()) for a in accepted):
            return await handler(request)
        challenge = "Basic" if settings.username else "Bearer"
        return web.Response(status=401, headers={"WWW-Authenticate": f'{challenge} realm="salesgauge"'})

    return authenticate


def _accepted(settings: Web) -> list[str]:
    """The values of the Authorization header that open the door; none where it stands open."""
    accepted = []
    if settings.token is not None:
        accepted.append(f"Bearer {settings.token.get_secret_value()}")
    if settings.username is not None and settings.password is not None:
        pair = f"{settings.username}:{settings.password.get_secret_value()}"
        accepted.append(f"Basic {base64.b64encode(pair.encode()).decode()}")
    return accepted
