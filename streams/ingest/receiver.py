"""The receiver of webhooks: ``POST /hooks/NAME``. What is proven is in Kafka before the sender is thanked.

========================================  ======================================================================
answer                                    when
========================================  ======================================================================
200                                       acknowledged by all replicas; also where the source makes no event of it
400, 408, 411, 413, 415                   the request cannot be read, is too slow or too large
401                                       the signature is missing, wrong, too old or from the future
404                                       no source of this name receives; never 410, which ends subscriptions
429, 503 (with Retry-After)               too many; Kafka is away: the sender is to come again
========================================  ======================================================================
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from salesgauge.streams.ingest.raw import NotAcknowledgedError, RawWriter, raw_headers
from salesgauge.streams.ingest.signatures import SignedRequest, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from salesgauge.schemas.sources.source import Hook
    from salesgauge.streams.ingest.metrics import IngestMetrics
    from salesgauge.streams.settings.model import Ingest

PATH = "/hooks/"
_RETRY_SECONDS = 5
_HEADER_FIELDS = 64
_log = logging.getLogger("salesgauge.ingest")


@dataclass(slots=True)
class Bucket:
    """Lets through ``rate`` a second, and as many at once after a pause."""

    rate: float
    level: float = 0.0
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Whether one more may pass; ``now`` in seconds of any clock that does not go back."""
        self.level = max(0.0, self.level - (now - self.at) * self.rate)
        self.at = now
        if self.level + 1 > max(self.rate, 1.0):
            return False
        self.level += 1
        return True


@dataclass(slots=True)
class HookTarget:
    """Where the requests of a source go, and how they are proven."""

    name: str
    topic: str
    hook: Hook
    secrets: Sequence[bytes] = field(repr=False)
    bucket: Bucket

    @property
    def secret_header(self) -> str:
        """The header that holds the secret itself, if one does."""
        return self.hook.header.lower() if self.hook.signature == "header" else ""


class _Refused(Exception):  # noqa: N818 - an answer
    """The request gets this answer; ``reason`` is a label of the metric."""

    def __init__(self, status: int, reason: str, *, close: bool = False) -> None:
        super().__init__(reason)
        self.status, self.reason, self.close = status, reason, close


class _Server(web.Server):
    """Refuses connections beyond a number, so that open ones keep their share."""

    limit = 1000

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > self.limit:
            transport.abort()


class Receiver:
    """Listens for webhooks in the running event loop."""

    def __init__(
        self, settings: Ingest, targets: Mapping[str, HookTarget], writer: RawWriter, metrics: IngestMetrics
    ) -> None:
        self._settings = settings
        self._targets = dict(targets)
        self._writer = writer
        self._metrics = metrics
        self._runner: web.ServerRunner | None = None
        self.port = settings.web.port

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the address is taken or not allowed.
            SettingsError: a certificate cannot be read.
        """
        server = _Server(
            self._answer,
            keepalive_timeout=self._settings.read_seconds,  # also ends a connection without whole headers
            access_log=None,
            auto_decompress=False,
            lingering_time=1.0,
            max_headers=_HEADER_FIELDS,
        )
        server.limit = self._settings.max_connections
        self._runner = web.ServerRunner(server, shutdown_timeout=self._settings.ack_seconds)
        await self._runner.setup()
        address = self._settings.web
        context = address.tls.server_context() if address.tls else None
        site = web.TCPSite(self._runner, address.host, address.port, ssl_context=context, backlog=1024)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, after the requests that are being answered."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.path.removeprefix(PATH).partition("/")[0] if request.path.startswith(PATH) else ""
        target = self._targets.get(name)
        try:
            return await (self._other(request) if target is None else self._receive(request, target))
        except _Refused as refused:
            self._metrics.refused(target.name if target else "", refused.reason)
            headers = {"Retry-After": str(_RETRY_SECONDS)} if refused.status in (429, 503) else {}
            response = web.Response(status=refused.status, text=refused.reason + "\n", headers=headers)
            if refused.close:
                response.force_close()
            return response

    async def _other(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/healthz":
            return web.json_response({"alive": True})
        raise _Refused(404, "unknown source", close=True)

    async def _receive(self, request: web.BaseRequest, target: HookTarget) -> web.Response:
        if request.method in ("GET", "HEAD"):
            return web.Response(text=f"POST webhooks of {target.name} here\n")
        if request.method not in ("POST", "PUT"):
            raise _Refused(405, "wrong method")
        if self._writer.full:
            raise _Refused(503, "Kafka is away", close=True)
        body = await self._body(request)
        now = time.time()
        headers = {name.lower(): value for name, value in request.headers.items()}
        url = target.hook.url or str(request.url)
        if "?" not in url and request.query_string:
            url += f"?{request.query_string}"
        why = refusal(SignedRequest(request.method, url, headers, body), target.hook, target.secrets, now)
        if why is not None:
            raise _Refused(401, why)
        if not target.bucket.take(time.monotonic()):
            raise _Refused(429, "too many requests")
        at = int(now * 1000)
        try:
            kept = raw_headers("hook", at, body, headers, target.secret_header)
            await self._writer.write(target.topic, body, kept, at)
        except NotAcknowledgedError as error:
            _log.warning("%s: not acknowledged, the sender is to come again: %s", target.name, error)
            raise _Refused(503, "Kafka is away") from error
        self._metrics.received(target.name, now, len(body))
        return web.Response(text="ok\n")

    async def _body(self, request: web.BaseRequest) -> bytes:
        """The body, within the limits of size and time."""
        limit = self._settings.max_body_bytes
        if (request.content_length or 0) > limit:
            raise _Refused(413, "too large", close=True)
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise _Refused(415, "compressed", close=True)
        if "Expect" in request.headers:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._settings.read_seconds):
                while part := await request.content.readany():
                    size += len(part)
                    if size > limit:
                        raise _Refused(413, "too large", close=True)
                    parts.append(part)
        except TimeoutError as error:
            raise _Refused(408, "too slow", close=True) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise _Refused(400, "broken body", close=True) from error
        if not size:
            raise _Refused(400, "empty body")
        return b"".join(parts)
