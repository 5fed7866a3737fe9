"""Questions about single records, between exporter and workers over HTTP; and what is said where one is silent."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.explain.explanation import Partial, united
from salesgauge.metrics.explain.question import Question, Scope, ask
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.schemas.codec import Rejection, decode
from salesgauge.streams.kafka.connection import partition_of
from salesgauge.streams.serve.doors import may_show_records, reachable_at
from salesgauge.streams.serve.exporter import Board, Exporter
from salesgauge.streams.serve.http import Server
from salesgauge.streams.serve.owners import Local, Owners
from salesgauge.streams.serve.queries import WorkerQueries
from salesgauge.streams.serve.records_api import RecordsApi
from salesgauge.streams.settings.model import Kafka, Settings, Web, WorkerWeb
from salesgauge.streams.worker import Record, queries
from salesgauge.streams.worker.publication import WorkerStatus
from salesgauge.streams.worker.shards import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.streams.serve.owners import Answered

NOW = int(time.time() * 1000)
PARTITIONS = 4
SETTINGS = Settings(kafka=Kafka(partitions=PARTITIONS))


def event(number: int) -> bytes:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW / 1000 - 60 * number))
    fields = {"event": "lead_created", "event_id": str(number), "lead_id": f"l{number}", "occurred_at": at}
    return json.dumps(fields | {"source": "web"}).encode()


EVENTS = [event(number) for number in range(1, 41)]


@dataclass
class Fleet:
    """Workers that share the partitions, each behind its own HTTP server; who owns what is told as they would."""

    settings: Settings = SETTINGS
    workers: list[Worker] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)

    async def start(self, *shares: set[int]) -> None:
        for share in shares:
            worker = Worker(self.settings, lambda: NOW)
            for partition in share:
                worker.taken(partition, 1)
            worker.assigned(frozenset(share))
            for partition in share:
                values = [value for value in EVENTS if partition_of(lead(value), PARTITIONS) == partition]
                worker.apply(partition, [Record("crm.lead-created", partition, 0, NOW, None, v) for v in values])
            web = self.settings.worker_web.model_copy(update={"port": 0})
            asked = WorkerQueries(worker, self.settings.rules, web, "worker_web")
            server = Server(web, [CollectorRegistry()], queries=asked)
            await server.start()
            worker.address = reachable_at(web, server.port)
            self.workers.append(worker)
            self.servers.append(server)

    def owners(self) -> dict[int, WorkerStatus]:
        return {
            partition: WorkerStatus(NOW, worker=worker.name, address=worker.address)
            for worker in self.workers
            for partition in worker.shards
        }

    async def stop(self) -> None:
        for server in self.servers:
            await server.stop()


def lead(value: bytes) -> str:
    return str(json.loads(value)["lead_id"])


def machine() -> Machine:
    made = Machine(SETTINGS.rules, CATALOGUE.scoped())
    made.advance(NOW)
    made.apply([one for value in EVENTS if not isinstance(one := decode(value), Rejection)])
    list(made.readings(windows=frozenset()))
    return made


def asked(made: Machine) -> Question:
    kpi = CATALOGUE.by_id["new_leads"]
    return ask(made.view, kpi, kpi.headline, "24h", {"source": "web"}, limit=7)


async def answers(fleet: Fleet, owners: Owners, question: Question) -> Answered:
    try:
        return await owners.ask(question, PARTITIONS, fleet.owners)
    finally:
        await owners.close()


def test_what_workers_say_together_is_what_one_engine_says() -> None:
    made = machine()
    question = asked(made)

    async def run() -> Answered:
        fleet = Fleet()
        await fleet.start({0, 2}, {1, 3})
        try:
            return await answers(fleet, Owners(SETTINGS), question)
        finally:
            await fleet.stop()

    found = asyncio.run(run())
    assert not found.missing
    explanation = united(Scope(question, SETTINGS.rules, CATALOGUE), found.of(Partial))
    assert explanation == made.explain(question)
    assert (explanation.value, explanation.count, len(explanation.entities)) == (40, 40, 7)


def test_a_worker_of_the_same_process_needs_no_connection() -> None:
    async def run() -> Answered:
        fleet = Fleet()
        await fleet.start(set(range(PARTITIONS)))
        [worker] = fleet.workers
        worker.address = "http://127.0.0.1:1"  # nobody is there
        local = Local(worker.name, WorkerQueries(worker, SETTINGS.rules, Web(), "web").reply)
        try:
            return await answers(fleet, Owners(SETTINGS, local), asked(machine()))
        finally:
            await fleet.stop()

    assert not asyncio.run(run()).missing


async def _gone(fleet: Fleet) -> None:
    await fleet.servers[1].stop()


async def _moved(fleet: Fleet) -> None:
    told = fleet.owners()
    fleet.owners = lambda: told  # type: ignore[method-assign]
    fleet.workers[1].revoked(frozenset({1, 3}))


async def _silent(fleet: Fleet) -> None:
    fleet.workers[1].address = ""


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (_gone, "no answer from the worker at http://127.0.0.1:"),
        (_moved, "on its way"),
        (_silent, "does not say where"),
    ],
)
def test_a_partition_that_nobody_answers_for_is_named(happens: Any, said: str) -> None:
    async def run() -> Answered:
        fleet = Fleet()
        await fleet.start({0, 2}, {1, 3})
        await happens(fleet)
        try:
            return await answers(fleet, Owners(SETTINGS, patience=0), asked(machine()))
        finally:
            await fleet.stop()

    found = asyncio.run(run())
    assert [one.partition for one in found.missing] == [1, 3]
    assert all(said in one.reason for one in found.missing)
    assert found.partials.keys() == {0, 2}


def test_a_partition_on_its_way_is_waited_for() -> None:
    async def run() -> Answered:
        fleet = Fleet()
        await fleet.start({0, 1, 2})
        arrival = asyncio.get_running_loop().create_task(_arrives(fleet))
        try:
            return await answers(fleet, Owners(SETTINGS, patience=20), asked(machine()))
        finally:
            await arrival
            await fleet.stop()

    async def _arrives(fleet: Fleet) -> None:
        await asyncio.sleep(0.05)
        await fleet.start({3})

    assert not asyncio.run(run()).missing


def test_a_question_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "ANSWER_SECONDS", -1.0)

    async def run() -> Answered:
        fleet = Fleet()
        await fleet.start(set(range(PARTITIONS)))
        try:
            return await answers(fleet, Owners(SETTINGS, patience=0), asked(machine()))
        finally:
            await fleet.stop()

    [*_, last] = asyncio.run(run()).missing
    assert "too many records to answer in time" in last.reason


def test_only_who_may_gets_records_of_a_worker() -> None:
    """A token of the workers lets the exporter in; without one a worker that others reach tells nothing."""
    guarded = SETTINGS.model_copy(update={"worker_web": WorkerWeb(token="t0ken")})
    wide = SETTINGS.model_copy(update={"worker_web": WorkerWeb(host="0.0.0.0")})

    async def run(settings: Settings, exporter: Settings) -> Answered:
        fleet = Fleet(settings)
        await fleet.start(set(range(PARTITIONS)))
        fleet.workers[0].address = f"http://127.0.0.1:{fleet.servers[0].port}"
        try:
            async with aiohttp.ClientSession() as session:
                reply = await session.post(f"{fleet.workers[0].address}/query", data=b"nonsense")
                assert reply.status in (401, 403)
            return await answers(fleet, Owners(exporter, patience=0), asked(machine()))
        finally:
            await fleet.stop()

    assert not asyncio.run(run(guarded, guarded)).missing
    assert "401" in asyncio.run(run(guarded, SETTINGS)).missing[0].reason
    assert "set worker_web.token" in asyncio.run(run(wide, wide)).missing[0].reason


def test_a_body_that_is_no_question_is_refused() -> None:
    async def run() -> int:
        fleet = Fleet()
        await fleet.start({0})
        try:
            async with aiohttp.ClientSession() as session:
                return (await session.post(f"{fleet.workers[0].address}/query", data=b"nonsense")).status
        finally:
            await fleet.stop()

    assert asyncio.run(run()) == 400


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({}, 400, "say which KPI"),
        ({"kpi": "new_lead"}, 404, "did you mean new_leads"),
        ({"kpi": "new_leads"}, 400, "say which window"),
        ({"kpi": "new_leads", "window": "7d", "limit": "1001"}, 400, "from 1 to 1000"),
        ({"kpi": "new_leads", "window": "7d", "limit": "-1"}, 400, "from 1 to 1000"),
        ({"kpi": "new_leads", "window": "7d", "limit": "٣"}, 400, "from 1 to 1000"),
        ({"kpi": "new_leads", "window": "7d", "label": "red"}, 400, "NAME=VALUE"),
        ({"kpi": "new_leads", "window": "7d", "colour": "red"}, 400, "there is no parameter 'colour'"),
        ({"kpi": "new_leads", "window": "7d", "format": "xml"}, 400, "write json or csv"),
        ({"kpi": "new_leads", "window": "7d", "facts": "yes"}, 400, "write 0 or 1"),
        ({"kpi": "new_leads", "window": "7d", "format": "csv"}, 503, "4 partitions are missing"),
    ],
)
def test_what_cannot_be_answered_says_why(query: Mapping[str, str], status: int, said: str) -> None:
    exporter = Exporter(SETTINGS, Board(SETTINGS))

    async def run() -> Any:
        owners = Owners(SETTINGS, patience=0)
        return await RecordsApi(exporter, owners).explain(query)

    found = asyncio.run(run())
    assert found.status == status
    assert said in json.loads(found.body)["error"]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"limit": "0"}, 400, "from 1 to 1000"),
        ({"kpi": "leads_waiting"}, 400, "there is no parameter 'kpi'; there are rep, team, source"),
        ({"format": "csv"}, 503, "4 partitions are missing: no worker has published it"),
    ],
)
def test_who_waits_cannot_be_told_and_why(query: Mapping[str, str], status: int, said: str) -> None:
    exporter = Exporter(SETTINGS, Board(SETTINGS))
    found = asyncio.run(RecordsApi(exporter, Owners(SETTINGS, patience=0)).waiting(query))
    assert found.status == status
    assert said in json.loads(found.body)["error"]


@pytest.mark.parametrize(
    ("web", "shown"),
    [
        (Web(), True), (Web(host="localhost"), True), (Web(host="::1"), True), (Web(host="0.0.0.0"), False),
        (Web(host="crm.example"), False), (Web(host="0.0.0.0", token="t"), True),
        (Web(host="10.0.0.1", username="u", password="p"), True),
    ],
)  # fmt: skip
def test_records_are_for_this_machine_or_for_those_who_show_who_they_are(web: Web, shown: bool) -> None:
    assert may_show_records(web) is shown


@pytest.mark.parametrize(
    ("web", "advertised", "url"),
    [
        (Web(), None, "http://127.0.0.1:5"), (Web(host="::1"), None, "http://[::1]:5"),
        (Web(), "http://w1.example", "http://w1.example:5"), (Web(), "https://w1.example:9", "https://w1.example:9"),
    ],
)  # fmt: skip
def test_where_a_worker_is_reached(web: Web, advertised: str | None, url: str) -> None:
    assert reachable_at(web, 5, advertised) == url
    assert "0.0.0.0" not in reachable_at(Web(host="0.0.0.0"), 5)
