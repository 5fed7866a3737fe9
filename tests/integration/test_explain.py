"""Which records make a number, live: asked of real workers. What is missing while one of them is killed is named."""

from __future__ import annotations

import asyncio
import json
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.explain.question import ask
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.streams.io.explanation_json import encode, explanation_document
from salesgauge.streams.io.instants import parse_instant
from salesgauge.streams.serve.owners import Owners
from salesgauge.streams.serve.records_api import RecordsApi
from tests.support.live import Live, messages, some_events
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.streams.serve.exporter import Exporter

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

QUERIES: tuple[Mapping[str, str], ...] = (
    {"kpi": "leads_waiting"},
    {"kpi": "sales_revenue", "window": "30d"},
    {"kpi": "close_ratio", "window": "30d", "part": "numerator"},
    {"kpi": "lead_response_seconds", "window": "7d", "limit": "5"},
    {"kpi": "lead_response_sla_ratio", "window": "30d", "team": "north"},
    {"kpi": "lead_response_seconds", "window": "30d", "stat": "survival_p50"},
    {"kpi": "mrr"},
)


def answer(
    exporter: Exporter, query: Mapping[str, str], patience: float = 8, *, waiting: bool = False
) -> dict[str, Any]:
    async def asked() -> Any:
        owners = Owners(exporter.board.settings, patience=patience)
        try:
            api = RecordsApi(exporter, owners)
            return await (api.waiting(query) if waiting else api.explain(query))
        finally:
            await owners.close()

    found = asyncio.run(asked())
    assert found.status == 200, found.body
    return dict(json.loads(found.body, parse_float=Decimal))


def expected(machine: Machine, query: Mapping[str, str], at: int) -> dict[str, Any]:
    """What one machine says that has all events."""
    machine.advance(at)
    machine.readings()
    kpi = CATALOGUE.by_id[query["kpi"]]
    stat = kpi.stat(query["stat"]) if "stat" in query else kpi.headline
    labels = {"team": query["team"]} if "team" in query else {}
    question = ask(machine.view, kpi, stat, query.get("window", "all"), labels, limit=int(query.get("limit", 100)))
    if "part" in query:
        question = msgspec.convert(msgspec.to_builtins(question) | {"side": query["part"]}, type(question))
    document = json.loads(encode(explanation_document(machine.explain(question), {})), parse_float=Decimal)
    return dict(document) | {"missing": []}


def test_on_three_workers_while_one_is_killed(embedded: Live) -> None:
    events = some_events(3, days=5, leads_per_day=60)  # those of the last evening wait
    live = embedded
    live.scale(3)
    live.publish(messages(events))
    live.until_shared()
    live.until_drained()
    machine = Machine(live.settings.rules, CATALOGUE.scoped())
    with live.exporter() as exporter:
        until(lambda: exporter.health().ready, 30, "the exporter is ready")
        machine.advance(exporter.board.clock())
        assert not any(machine.apply(events))
        for query in QUERIES:
            found = answer(exporter, query)
            assert found == expected(machine, query, parse_instant(found["at"], live.settings.rules.tz)), query
        listed = answer(exporter, {"limit": "1"}, waiting=True)
        assert listed["count"] == answer(exporter, QUERIES[0])["value"] > 1 == len(listed["leads"])
        [first] = listed["leads"]
        assert answer(exporter, {"rep": first["rep"], "limit": "1"}, waiting=True)["leads"][0]["lead"] == first["lead"]
        assert listed["missing"] == []
        live.kill(random.Random(1))
        seen = []
        for query in QUERIES[:3]:  # the first comes while nobody has noticed
            found = answer(exporter, query)
            seen.append(found)
            if not found["missing"]:
                assert found == expected(machine, query, parse_instant(found["at"], live.settings.rules.tz)), query
        assert not seen[-1]["missing"]
        live.scale(0)
        found = answer(exporter, QUERIES[0], patience=0)
        assert [one["partition"] for one in found["missing"]] == list(range(live.partitions))
        assert all("no answer from the worker at http://127.0.0.1:" in one["reason"] for one in found["missing"])
