# ruff: noqa: E501 - tables of odd requests
"""Strangers at the HTTP server: many of them, slow ones, broken ones; probes and scrapes are answered nevertheless."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from salesgauge.metrics.engine import Machine, copy_changes
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.rules.windows import WINDOWS
from salesgauge.streams.cli.main import cli
from salesgauge.streams.serve import doors
from salesgauge.streams.serve.exporter import Board, Exporter
from salesgauge.streams.serve.http import Server
from salesgauge.streams.serve.owners import Owners
from salesgauge.streams.settings.model import Settings, Web
from salesgauge.streams.simulation.history import Organisation, history

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(120)

PROBES = ("/healthz", "/readyz", "/metrics")
ROUTES = (*PROBES, "/api/kpis", "/api/board", "/api/explain", "/api/leads/waiting", "/", "/nowhere")
LONGEST_ANSWER_SECONDS = 10


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    """One that shows a month of a small company: its scrapes take a fraction of a second on a busy machine too."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    made = Machine()
    made.advance(int(end.timestamp() * 1000))
    made.apply(list(history(Organisation(seed=4, leads_per_day=8, reps=6), end - timedelta(days=30), end)))
    settings = Settings()
    board = Board(settings)
    leaves = made.shard.panes.leaves
    board.view.sums.index.leaves = leaves
    copy_changes(made.shard.panes, board.view.sums)
    exporter = Exporter(settings, board)
    exporter._follower.caught_up = True
    assert len(board.readings()) > 2000
    return exporter


@contextmanager
def serving(exporter: Exporter | None = None, **web: Any) -> Iterator[Server]:
    """A server in a thread of its own."""
    owners = None if exporter is None else Owners(exporter.board.settings, patience=0.1)
    server = Server(Web(port=0, **web), [CollectorRegistry()], exporter, owners=owners)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@pytest.fixture
def server(exporter: Exporter) -> Iterator[Server]:
    with serving(exporter) as running:
        yield running


class Answered:
    """An answer, and how long it took (s)."""

    def __init__(self, server: Server, path: str, method: str = "GET", **headers: str) -> None:
        began = time.monotonic()
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        client.request(method, path, headers=headers)
        answer = client.getresponse()
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()
        client.close()
        self.seconds = time.monotonic() - began


def knock(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def raw(server: Server, request: bytes, *, cut: bool = False) -> bytes:
    """What is answered until the server hangs up; ``cut`` sends nothing more."""
    with knock(server) as connection:
        connection.sendall(request)
        if cut:
            connection.shutdown(socket.SHUT_WR)
        return drained(connection)


def drained(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def assert_probes_answer(server: Server, times: int = 5) -> None:
    """Within a second. Of a scrape on a machine that has much else to do, its own work is not counted."""
    assert server._exporter is not None
    for _ in range(times):
        for path in PROBES:
            worked = _scrape_seconds(server._exporter)
            answered = Answered(server, path)
            assert answered.status in {200, 503}, (path, answered.status)
            assert answered.seconds - (_scrape_seconds(server._exporter) - worked) < 1, (path, answered.seconds)


def _scrape_seconds(exporter: Exporter) -> float:
    return next(s.value for m in exporter.scrapes.collect() for s in m.samples if s.name.endswith("_sum"))


def test_a_thousand_held_connections_shut_nobody_out(server: Server) -> None:
    with ExitStack() as held:
        for number in range(1024):
            connection = held.enter_context(knock(server))
            if number % 2:
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        assert_probes_answer(server)


def test_slow_headers_and_slow_readers_are_hung_up_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a byte now and then, and one that asks for much and reads nothing."""
    monkeypatch.setattr(doors, "ANSWER_SECONDS", 2.0)
    slow, deaf = knock(server), socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", server.port))
    deaf.sendall(b"GET /api/kpis HTTP/1.1\r\nHost: a\r\n\r\n" * 8)
    slow.sendall(b"GET / HTTP/1.1\r\n")
    end = time.monotonic() + doors.READ_SECONDS + 5
    with slow, deaf:
        while True:
            assert time.monotonic() < end, "the slow one is still served"
            try:
                slow.sendall(b"a")
                time.sleep(0.2)
            except OSError:
                break
        assert_probes_answer(server, 1)
        deaf.settimeout(15)
        assert len(drained(deaf)) < 8 * len(Answered(server, "/api/kpis").body), (
            "it got all, without having read in time"
        )


def test_heavy_questions_hold_up_no_probe(server: Server) -> None:
    """A hundred at once, all different ones: some are asked to come again, none breaks the rest."""
    kpis = [kpi.id for kpi in CATALOGUE.kpis]
    paths = [f"/api/board?kpi={kpis[n % len(kpis)]}&window={list(WINDOWS)[n % len(WINDOWS)]}" for n in range(97)]
    paths += ["/api/kpis", "/api/kpis", "/api/kpis"]
    with ThreadPoolExecutor(100) as crowd:
        answers = [crowd.submit(Answered, server, path) for path in paths]
        assert_probes_answer(server)
        statuses = [answer.result().status for answer in answers]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > 20


def test_viewers_share_an_answer(server: Server) -> None:
    with ThreadPoolExecutor(50) as crowd:
        answers = [answer.result() for answer in [crowd.submit(Answered, server, "/api/board") for _ in range(50)]]
    assert {answer.status for answer in answers} == {200}
    assert len({json.loads(answer.body)["at"] for answer in answers}) <= 5


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_every_answer_is_protected(server: Server, path: str, method: str) -> None:
    answered = Answered(server, path, method)
    assert answered.status == (404 if path == "/nowhere" else 405 if method == "POST" else answered.status)
    for name in doors.SECURITY_HEADERS:
        assert answered.headers[name], name
    assert answered.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in answered.headers["Content-Security-Policy"]
    assert "aiohttp" not in str(answered.headers)


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: secret-token\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(500)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Odd: \xff\xfe\r\n b\r\n\r\n",
    ],
)
def test_broken_requests_are_refused_with_the_headers(server: Server, request_: bytes) -> None:
    answer = raw(server, request_, cut=True)
    if answer:  # nothing where no line of a request came
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/9.9 4")), answer[:200]
        assert b"X-Content-Type-Options: nosniff" in answer
    assert b"secret-token" not in answer
    assert b"Traceback" not in answer
    assert_probes_answer(server, 1)


WORDS = [
    "24h", "all", "now", "new_leads", "sales_revenue", "leads_waiting", "value", "p50", "rep", "rep-01", "source", "web",
    "json", "csv", "0", "1", "-1", "1e999", "NaN", "9" * 30, "null", "[]", "{}", "%00", "%ff", "%2e%2e", "..", "%", "%0d%0aX-Evil:1",
    "\U0001f4a5", "'", '"', "<script>", "&", "=", ";", ",", "a" * 3000,
]  # fmt: skip
PARAMETERS = [
    "kpi",
    "window",
    "stat",
    "part",
    "rep",
    "team",
    "source",
    "label",
    "limit",
    "facts",
    "format",
    "trends",
    "catalogue",
    "x",
]
HEADERS = [
    "Accept", "Authorization", "If-None-Match", "If-Modified-Since", "Accept-Encoding", "Cookie", "Range", "Origin", "Content-Type",
    "Expect", "X-Forwarded-For", "Upgrade",
]  # fmt: skip
METHODS = ["GET", "GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "TRACE", "BREW"]


def odd_request(rng: random.Random) -> str:
    """A request from a grammar: a route, mostly with the parameters that there are, with right and odd values."""
    path = rng.choice(ROUTES) + rng.choice(["", "", "", "/", "//", f"/{rng.choice(WORDS)}", ";x"])
    pairs = [
        f"{rng.choice(PARAMETERS)}{rng.choice(['=', '=', '=', ''])}{rng.choice(WORDS)}" for _ in range(rng.randrange(5))
    ]
    if pairs:
        path += "?" + rng.choice(["&", "&", "&", ";", "&&"]).join(pairs)
    lines = [f"{rng.choice(HEADERS)}: {rng.choice(WORDS)}{rng.choice(WORDS)}" for _ in range(rng.randrange(4))]
    method, body = rng.choice(METHODS), ""
    if rng.random() < 0.1:
        body = rng.choice(WORDS)
        lines.append(f"Content-Length: {len(body.encode())}")
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *lines, "", body])


@pytest.mark.parametrize(
    ("seed", "count"), [(7, 250), pytest.param(None, 10_000, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])]
)
def test_no_request_is_too_odd(server: Server, seed: int | None, count: int) -> None:
    """Whatever is asked, there is a protected answer below 500 (or 503) before long, and the server goes on."""
    seed = random.SystemRandom().randrange(10**9) if seed is None else seed
    rng = random.Random(seed)
    statuses: Counter[int] = Counter()
    for _ in range(count):
        request = odd_request(rng)
        began = time.monotonic()
        answer = raw(server, request.encode())
        head = answer.split(b"\r\n\r\n")[0]
        assert time.monotonic() - began < LONGEST_ANSWER_SECONDS, (seed, request)
        status = int(head.split(b" ", 2)[1])
        statuses[status] += 1
        assert status < 500 or status == 503, (seed, request, answer[:200])
        assert b"X-Evil" not in head, (seed, request)
        for name in doors.SECURITY_HEADERS:
            assert name.encode() in head, (seed, name, request)
    assert statuses[200] > count / 20, "the grammar finds what there is"
    assert statuses[400] > count / 20, statuses
    assert_probes_answer(server, 1)


def test_every_route_is_among_the_odd_requests(server: Server) -> None:
    assert server._runner is not None
    assert {route.resource.canonical for route in server._runner.app.router.routes() if route.resource} <= set(ROUTES)


# --- credentials

SECRET = "t\u00f6ken"
PASSWORD = "pass:w\u00f6rd"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {SECRET}", 200),
        (f"bearer {SECRET}", 200),
        (f"BEARER   {SECRET} ", 200),
        (basic("reader", PASSWORD), 200),
        (basic("reader", PASSWORD).replace("Basic", "basic"), 200),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (SECRET, 401),
        (f"Token {SECRET}", 401),
        (f"Bearer {SECRET}x", 401),
        ("Bearer \udcff\udcfe", 401),
        (basic("reader", "wrong"), 401),
        (basic("", ""), 401),
        ("Basic !!!", 401),
        ("Basic \udcff", 401),
        ("Basic " + "A" * 5000, 401),
        (f"Basic {SECRET}", 401),
    ],
)
def test_credentials(exporter: Exporter, header: str, status: int) -> None:
    """Odd ones are wrong, and nothing worse; no answer tells what would be right."""
    with serving(exporter, token=SecretStr(SECRET), username="reader", password=SecretStr(PASSWORD)) as server:
        line = f"GET /api/board HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {header}\r\n\r\n"
        answer = raw(server, line.encode("utf-8", "surrogateescape"))
        assert int(answer.split(b" ", 2)[1]) == status, answer[:300]
        if status == 401:
            head = answer.partition(b"\r\n\r\n")[0]
            assert b'WWW-Authenticate: Basic realm="salesgauge"' in head
            assert b'WWW-Authenticate: Bearer realm="salesgauge"' in head
            assert b"nosniff" in head
            assert SECRET.encode() not in answer
        for path in ("/healthz", "/readyz"):
            assert Answered(server, path).status in {200, 503}
        assert Answered(server, "/metrics").status == 401


def test_a_failing_answer_tells_nothing(server: Server, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the password is 12345")

    monkeypatch.setattr(Server, "_readings", fail)
    answered = Answered(server, "/api/kpis")
    assert answered.status == 500
    assert json.loads(answered.body) == {"error": "Internal Server Error"}
    assert answered.headers["X-Frame-Options"] == "DENY"
    assert "a request failed: GET '/api/kpis'" in caplog.text
    assert_probes_answer(server, 1)


@pytest.mark.parametrize(
    "command",
    [
        ["doctor", "--bootstrap", "127.0.0.1:1", "--exporter", "http://bob:s3cret@127.0.0.1:1"],
        ["diff", "http://bob:s3cret@127.0.0.1:1", "-"],
        ["replay", "--events", "-", "--remote-write", "https://bob:s3cret@:::"],
    ],
)
def test_addresses_are_shown_without_their_passwords(command: list[str]) -> None:
    result = CliRunner().invoke(cli, command, input="{}")
    assert result.exit_code != 0
    assert "s3cret" not in result.output.replace("\n", "")
