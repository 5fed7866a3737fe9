"""A worker that cannot learn where to go on after a rebalance is not ready, and ends instead of standing still."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from salesgauge.streams.composition import process
from salesgauge.streams.kafka import topics
from salesgauge.streams.settings.model import Kafka, Settings, Web, WorkerWeb
from salesgauge.streams.worker import app as pipeline
from salesgauge.streams.worker.errors import ProduceError

if TYPE_CHECKING:
    from salesgauge.streams.composition import Process

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


def asked(worker: Process) -> tuple[int, list[str]]:
    """What `/readyz` answers, or nothing while nobody listens."""
    assert worker.server is not None
    try:
        with urllib.request.urlopen(f"{worker.server.url}/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)["reasons"]
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, json.load(answer)["reasons"]
    except OSError:
        return 0, []


async def until_ready(worker: Process, running: asyncio.Future[None]) -> None:
    while not running.done() and (await asyncio.to_thread(asked, worker))[0] != 200:  # noqa: ASYNC110 - over HTTP
        await asyncio.sleep(0.02)


async def never(*_args: Any) -> Any:
    """A broker that does not say which offsets are committed."""
    await asyncio.Event().wait()


@pytest.mark.filterwarnings("ignore:Setting new value")
@pytest.mark.parametrize(("patience", "exporter"), [("ours", False), ("Faust's", True)])
def test_a_worker_that_does_not_learn_its_offsets_says_so_and_ends(own_embedded, monkeypatch, patience, exporter):
    """Also if Faust, whose own patience ends in silence, gives up first; and although all it owns it owned before."""
    kafka = Kafka(bootstrap=own_embedded, partitions=2)
    settings = Settings(kafka=kafka, web=Web(port=0), worker_web=WorkerWeb(port=0))
    topics.create(settings)
    monkeypatch.setattr(pipeline, "_POSITION_SECONDS", 1.0)

    async def story() -> tuple[set[int], set[str]]:
        first = process(settings, worker=True, exporter=exporter)
        second = process(settings, worker=True, exporter=False)
        running = asyncio.ensure_future(first.run())
        await until_ready(first, running)
        assert first.app is not None
        first.app.consumer._thread.seek_to_committed = never
        if patience == "Faust's":
            first.app.conf.broker_request_timeout = 0.2
        joins = first.app.rebalancing_count
        joining = asyncio.ensure_future(second.run())
        statuses, reasons = set(), set()
        while not running.done():
            begun = first.app.rebalancing_count > joins  # before it is asked: the answer is not from an earlier moment
            status, why = await asyncio.to_thread(asked, first)
            if begun:
                statuses.add(status)
                reasons |= set(why)
            await asyncio.sleep(0.02)
        with pytest.raises(ProduceError, match="committed offsets"):
            await running
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        return statuses, reasons

    statuses, reasons = asyncio.run(asyncio.wait_for(story(), 45))
    assert 200 not in statuses
    assert any("rebalance" in reason for reason in reasons)
