"""The board without Kafka: its page and `/api/board` over one machine, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from aiohttp import web

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.explain.waiting import WaitingList, WaitingQuestion
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.kpi import SCOPES
from salesgauge.metrics.kpis.targets import Target
from salesgauge.metrics.rules.model import Rules
from salesgauge.streams.io.explanation_json import encode, explanation_document
from salesgauge.streams.io.waiting_json import waiting_document
from salesgauge.streams.replay.explaining import Wanted, find, question
from salesgauge.streams.serve import board
from salesgauge.streams.simulation.history import Organisation, events
from salesgauge.streams.simulation.scenarios import Absence, Attention, Change
from tests.support.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from salesgauge.schemas.events import EventBase

NOON = datetime(2026, 3, 12, 14, 37, tzinfo=UTC)
"""A Thursday afternoon, when a sales team is at work."""
_OPEN_SEED = 7


def troubled(organisation: Organisation, start: datetime, end: datetime) -> list[EventBase]:
    """The simulator's history of a company in trouble: one rep has been away for days, and nobody has time today."""
    away, late = end - timedelta(days=6), end - timedelta(days=2)
    changes: list[tuple[datetime, Change]] = [(away, Absence(organisation.staff[0])), (late, Attention(300.0))]
    return list(takewhile(lambda e: e.occurred_at < end, events(organisation, start, changes=changes)))


def filled_machine(end: datetime = NOON, days: float = 40, organisation: Organisation | None = None) -> Machine:
    """A machine with the history of a company in trouble up to ``end``."""
    org = organisation or Organisation(leads_per_day=40, reps=9, seed=_OPEN_SEED)
    machine = Machine(Rules(zone=org.zone), CATALOGUE.scoped())
    machine.advance(milliseconds(end))
    machine.apply(troubled(org, end - timedelta(days=days), end))
    return machine


def milliseconds(instant: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(instant.timestamp() * 1000)


@dataclass
class BoardServer:
    """Serves a machine's board. Its clock stands still unless `pass_time` moves it."""

    machine: Machine
    now: int
    port: int = field(default_factory=free_port)
    thresholds: tuple[Target, ...] = board.DEFAULTS
    broken: bool = False
    reasons: tuple[str, ...] = ()
    settling: bool = False
    requests: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    unanswered: str = ""
    """Why no records are shown."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        list(self.machine.readings([], frozenset()))
        self.board = board.BoardServer.for_view(self.machine.view, self.thresholds)
        for ago in (60_000, 50_000):  # it has been looking for a minute
            self.board.progress.look(self.now - ago, self.machine.events, self.now - ago, 0)
        self.board.observe(self.machine.view, self.machine.events, self.now)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def apply(self, events: Sequence[EventBase]) -> None:
        """Let events happen."""
        with self._lock:
            refused = [r for r in self.machine.apply(events) if r is not None]
            assert not refused, refused

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        with self._lock:
            self.now += int(seconds * 1000)
            self.machine.advance(self.now)

    def answer(self, query: dict[str, str]) -> board.Answer:
        """What `/api/board` says."""
        with self._lock:
            self.now += 1000  # each request sees a new second, as it does in life
            self.machine.advance(self.now)
            list(self.machine.readings([], frozenset()))
            self.board.observe(self.machine.view, self.machine.events, self.now)
            engine = {
                "ready": not self.reasons,
                "reasons": list(self.reasons),
                "settling": self.settling,
                "lag": 0,
                "freshness": 1.2,
                "partitions": 6,
                "workers": 2,
                "events": self.machine.events,
                "newest_event": self.now,
            }
            return self.board.answer(self.machine.view, query, engine)

    async def _page(self, request: web.Request) -> web.Response:
        del request
        return web.Response(body=board.page(), headers=dict(board.headers()))

    async def _api(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        if self.broken:
            return web.Response(status=503)
        answer = self.answer(dict(request.query))
        return web.Response(body=answer.body, status=answer.status, content_type=answer.content_type)

    async def _records(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        if self.unanswered:
            return web.json_response({"error": self.unanswered}, status=503)
        with self._lock:
            document = self._explained(dict(request.query)) if "kpi" in request.query else self._waiting(request.query)
        return web.Response(body=encode(document | {"missing": []}), content_type="application/json")

    def _explained(self, query: dict[str, str]) -> dict[str, Any]:
        labels: dict[str, str] = {dim: query[dim] for dim in SCOPES if dim in query}
        wanted = Wanted(kpi=query["kpi"], window=query["window"], labels=labels, limit=int(query["limit"]), facts=False)
        asked = question(wanted, find(wanted), self.machine.view)
        return explanation_document(self.machine.explain(asked), self.links)

    def _waiting(self, query: Mapping[str, str]) -> dict[str, Any]:
        labels: dict[str, str] = {dim: query[dim] for dim in SCOPES if dim in query}
        asked = WaitingQuestion(at=self.now, labels=labels, limit=int(query["limit"]))
        still = self.machine.shard.still()
        listed = WaitingList(asked, self.machine.rules, still.who)
        for state in still.each():
            listed.take(state)
        return waiting_document(asked, listed.answer(), self.links)

    def app(self) -> web.Application:
        """The application."""
        app = web.Application()
        app.add_routes([
            web.get("/", self._page), web.get("/api/board", self._api),
            web.get("/api/explain", self._records), web.get("/api/leads/waiting", self._records),
        ])  # fmt: skip
        return app


@contextmanager
def serving(server: BoardServer) -> Iterator[BoardServer]:
    """The server runs within the `with` block."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    runner: Any = None

    async def start() -> None:
        nonlocal runner
        runner = web.AppRunner(server.app(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", server.port).start()
        started.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
