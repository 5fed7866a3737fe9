"""What stands between strangers and an HTTP server: time limits, numbers of connections, credentials, headers.

A server that others can reach must answer its probes and its scraper whatever they do. When there are too many
connections, the longest idle one makes room; slow readers and writers run into time limits; every answer, errors too,
carries the headers that keep browsers from misusing it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import errno
import hmac
import ipaddress
import logging
import resource
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler, Middleware

    from salesgauge.streams.settings.model import Web

_log = logging.getLogger("salesgauge.http")

READ_SECONDS = 10.0
"""For a TLS handshake, and for the headers of a request; also how long a connection may be idle between two."""
ANSWER_SECONDS = 30.0
"""For computing and sending an answer."""
MAX_CONNECTIONS = 512
MAX_PER_CLIENT = 256
_BACKLOG = 1024
_FILES = 4096
_HEADER_FIELDS = 64
_ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - what such a host means to others
_OPEN_PATHS = frozenset({"/healthz", "/readyz"})

SECURITY_HEADERS: Mapping[str, str] = {
    "Server": "salesgauge",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer that does not set them itself."""


def application(settings: Web) -> web.Application:
    """An application whose routes are guarded: credentials, time limits, headers."""
    app = web.Application(middlewares=[_guard, _authentication(settings)])
    app.on_response_prepare.append(_prepare)  # also what aiohttp answers by itself: an odd `Expect`
    return app


async def listen(app: web.Application, settings: Web, *, any_port: bool = False) -> web.AppRunner:
    """Serve an application in the running event loop; ``cleanup()`` of the result ends it.

    Args:
        app: made by :func:`application`.
        settings: where.
        any_port: take another port where this one is taken.

    Raises:
        OSError: the address cannot be listened on.
        SettingsError: a certificate cannot be read.
    """
    _allow_files()
    runner = _Runner(
        app,
        access_log=None,
        shutdown_timeout=1,
        keepalive_timeout=READ_SECONDS,  # also ends a connection without whole headers
        lingering_time=1.0,
        max_headers=_HEADER_FIELDS,
    )
    await runner.setup()
    try:
        await _bind(runner, settings, any_port=any_port)
    except BaseException:
        await runner.cleanup()
        raise
    return runner


async def _bind(runner: web.AppRunner, settings: Web, *, any_port: bool) -> None:
    context = settings.tls.server_context() if settings.tls else None
    try:
        await _Site(runner, settings.host, settings.port, context).start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not any_port:
            raise
        await _Site(runner, settings.host, 0, context).start()


def _allow_files() -> None:
    """Have file descriptors for all connections, and for what else there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def reachable_at(settings: Web, port: int, advertised: str | None = None) -> str:
    """The URL at which other machines reach a server that listens on a port."""
    if advertised is not None:
        return advertised if urlsplit(advertised).port else f"{advertised}:{port}"
    host = socket.gethostname() if settings.host in _ANY else settings.host
    return f"{'https' if settings.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def may_show_records(settings: Web) -> bool:
    """Whether single records may be shown: only this machine reaches the server, or readers show who they are."""
    if settings.token is not None or settings.username is not None or settings.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        return False


def records_refused(name: str) -> web.Response:
    """The answer where records may not be shown; ``name`` is of the settings: ``web``."""
    how = f"set {name}.token, or {name}.username and {name}.password"
    error = f"records are shown on this machine only, or to those who show who they are: {how}"
    return web.json_response({"error": error}, status=403)


# --- connections


class _Connection(RequestHandler):
    """A connection; what aiohttp answers by itself to broken requests gets the headers too."""

    __slots__ = ("busy", "client", "since")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.busy = False
        self.client = ""
        self.since = 0.0

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Without the message, which may quote the request."""
        del message
        response = super().handle_error(request, status, exc, None)
        _protect(response)
        return response


class _Limiter(web.Server):
    """Bounds the connections, in total and of one client (an address)."""

    def __call__(self) -> RequestHandler:
        """A handler for a new connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Take it. If it is one too many an idle one makes room; where all are busy it is refused."""
        assert isinstance(handler, _Connection)
        peer = transport.get_extra_info("peername")
        handler.client, handler.since = str(peer[0]) if peer else "", self._loop.time()
        super().connection_made(handler, transport)
        if len(self._connections) > MAX_PER_CLIENT:
            self._make_room(handler, transport)

    def _make_room(self, new: _Connection, transport: asyncio.Transport) -> None:
        open_ones = {
            handler: transport
            for handler, transport in self._connections.items()
            if isinstance(handler, _Connection) and not transport.is_closing()
        }
        clients = Counter(handler.client for handler in open_ones)
        if clients[new.client] > MAX_PER_CLIENT:
            most = new.client
        elif len(open_ones) > MAX_CONNECTIONS:
            most = max(clients, key=clients.__getitem__)
        else:
            return
        idle = [one for one in open_ones if one.client == most and not one.busy and one is not new]
        oldest = min(idle, key=lambda one: one.since, default=None)
        (transport if oldest is None else open_ones[oldest]).abort()


class _Runner(web.AppRunner):
    """Runs an application behind a limiter."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Limiter(made.request_handler, request_factory=made.request_factory, **self._kwargs)


class _Site(web.TCPSite):
    """A listening socket whose TLS handshakes have a time limit."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(runner, host, port, ssl_context=context, backlog=_BACKLOG)
        self._handshake_seconds = READ_SECONDS if context else None

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            server, self._host, self._port, ssl=self._ssl_context, backlog=self._backlog,
            ssl_handshake_timeout=self._handshake_seconds,
        )  # fmt: skip


# --- requests


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer in time, whatever happens, with the headers; a client that does not read in time is hung up on."""
    connection = request.protocol
    assert isinstance(connection, _Connection)
    connection.busy = True
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            response = await _answered(request, handler)
            await response.prepare(request)
            await response.write_eof()
            return response
    except (TimeoutError, ConnectionError):  # it reads too slowly, or is gone
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError from None  # as aiohttp ends what a client left
    finally:
        connection.busy, connection.since = False, asyncio.get_running_loop().time()


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as answer:
        kept = {name: answer.headers[name] for name in ("Allow", "Location") if name in answer.headers}
        return web.json_response({"error": answer.reason}, status=answer.status, headers=kept)
    except Exception:  # noqa: BLE001 - told in the log; the connection and the others go on
        _log.exception("a request failed: %s %r", request.method, request.path)
        return web.json_response({"error": "Internal Server Error"}, status=500)


async def _prepare(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SECURITY_HEADERS["Server"]  # aiohttp has set its own
    _protect(response)


def _protect(response: web.StreamResponse) -> None:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)


# --- credentials


def authorization(settings: Web) -> dict[str, str]:
    """The header by which a reader is let in where these settings guard; none where everybody may read."""
    if settings.token is not None:
        return {"Authorization": f"Bearer {settings.token.get_secret_value()}"}
    if settings.username is not None and settings.password is not None:
        pair = f"{settings.username}:{settings.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _authentication(settings: Web) -> Middleware:
    challenges = _challenges(settings)

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (
            not challenges
            or request.path in _OPEN_PATHS
            or _allowed(request.headers.get("Authorization", ""), settings)
        ):
            return await handler(request)
        response = web.json_response({"error": "credentials are missing or wrong"}, status=401)
        for challenge in challenges:
            response.headers.add("WWW-Authenticate", challenge)
        return response

    return authenticate


def _challenges(settings: Web) -> list[str]:
    """How readers may show who they are; none where everybody may read."""
    found = []
    if settings.username is not None:
        found.append('Basic realm="salesgauge", charset="UTF-8"')
    if settings.token is not None:
        found.append('Bearer realm="salesgauge"')
    return found


def _allowed(header: str, settings: Web) -> bool:
    """Whether an Authorization header opens the door. The scheme is in any case, what is not ASCII is as it came."""
    scheme, _, value = header.strip().partition(" ")
    given = value.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() == "bearer" and settings.token is not None:
        return hmac.compare_digest(given, settings.token.get_secret_value().encode())
    if scheme.lower() == "basic" and settings.username is not None and settings.password is not None:
        wanted = f"{settings.username}:{settings.password.get_secret_value()}".encode()
        with contextlib.suppress(binascii.Error, ValueError):
            return hmac.compare_digest(base64.b64decode(given, validate=True), wanted)
    return False
