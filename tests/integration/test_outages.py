"""Brokers that freeze or are away for long: everybody waits, says so, and goes on; nothing is lost or counted twice."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from salesgauge.streams.kafka.embedded import EmbeddedBroker
from tests.support.live import Live, Worker, disturbed, watched
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from salesgauge.schemas.events import EventBase
    from salesgauge.streams.serve.exporter import Exporter

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

FREEZE_SECONDS = 25.0
"""Longer than the session (2 s), and than a write is waited for before it is sent again (10 s)."""
PATIENCE = {"SALESGAUGE_KAFKA__PRODUCE_SECONDS": "10"}


def readiness(worker: Worker) -> tuple[bool, str]:
    """Whether a worker says that it is ready, and if not, why."""
    try:
        with urllib.request.urlopen(f"{worker.url}/readyz", timeout=5) as answer:
            return bool(json.load(answer)["ready"]), ""
    except urllib.error.HTTPError as answer:
        with answer:
            return False, "; ".join(json.load(answer)["reasons"])


def outage(live: Live, exporter: Exporter, go: Callable[[], None], come: Callable[[], None]) -> None:
    """Take the broker away and bring it back: readiness follows within ten seconds, on both ends."""
    until(lambda: all(readiness(worker)[0] for worker in live.running), 60, "the workers are ready")
    until(lambda: exporter.health().ready, 30, "the exporter is ready")
    began = time.monotonic()
    go()
    until(lambda: not any(readiness(worker)[0] for worker in live.running), 10, "no worker is ready", every=0.2)
    until(lambda: not exporter.health().ready, max(1.0, began + 10 - time.monotonic()), "the exporter is not ready")
    assert any("Kafka" in reason for reason in exporter.health().reasons)
    while time.monotonic() < began + FREEZE_SECONDS:  # the length of the outage, not a wait for something
        assert not exporter.health().ready
        time.sleep(1)
    come()
    until(lambda: all(readiness(worker)[0] for worker in live.running), 120, "the workers are ready again", every=0.2)
    until(lambda: exporter.health().ready, 30, "the exporter is ready again")


def play(live: Live, events: list[EventBase], go: Callable[[], None], come: Callable[[], None]) -> None:
    with live, watched(live, events) as exporter:
        live.scale(2)
        live.until_shared()
        parts = disturbed(events, 20)
        for part in parts[:10]:
            live.publish(part)
        outage(live, exporter, go, come)
        for part in parts[10:]:
            live.publish(part)
        live.until_drained(90)
        assert len(live.running) == 2, [worker.tail() for worker in live.workers]
        assert not any("Traceback" in worker.log.read_text() for worker in live.workers)


@pytest.mark.kafka
def test_apache_kafka_freezes(own_kafka: Callable[..., Any], events: list[EventBase], tmp_path: Path) -> None:
    kafka = own_kafka()
    play(Live(kafka.bootstrap, tmp_path, extra=PATIENCE), events, kafka.pause, kafka.resume)


@pytest.mark.kafka
def test_apache_kafka_is_away(own_kafka: Callable[..., Any], events: list[EventBase], tmp_path: Path) -> None:
    """Killed, and started again on the same port and log."""
    kafka = own_kafka()
    play(Live(kafka.bootstrap, tmp_path, extra=PATIENCE), events, kafka.kill, kafka.restart)


@pytest.mark.nightly
def test_the_embedded_broker_freezes(embedded_kafka: object, events: list[EventBase], tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        process = broker._process
        assert process is not None
        play(
            Live(broker.bootstrap, tmp_path, extra=PATIENCE),
            events,
            lambda: process.send_signal(signal.SIGSTOP),
            lambda: process.send_signal(signal.SIGCONT),
        )


def test_a_worker_ends_while_the_broker_is_frozen(embedded_kafka: object, tmp_path: Path) -> None:
    """SIGTERM is obeyed, whoever does not answer."""
    with EmbeddedBroker() as broker, Live(broker.bootstrap, tmp_path, extra=PATIENCE) as live:
        live.scale(1)
        live.until_shared()
        assert broker._process is not None
        broker._process.send_signal(signal.SIGSTOP)
        try:
            worker = live.running[0]
            until(lambda: "Kafka has not answered" in readiness(worker)[1], 15, "it is not ready")
            worker.signal(signal.SIGTERM)
            worker.wait(45)
        finally:
            broker._process.send_signal(signal.SIGCONT)


def test_who_starts_before_the_broker_answers_waits(embedded_kafka: object, tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, Live(broker.bootstrap, tmp_path) as live:
        assert broker._process is not None
        broker._process.send_signal(signal.SIGSTOP)
        try:
            started = [live.worker(command=command) for command in ("worker", "exporter", "run")]
            until(lambda: all("trying again for 60 s" in one.log.read_text() for one in started), 30, "they say it")
        finally:
            broker._process.send_signal(signal.SIGCONT)
        until(lambda: all(readiness(one)[0] for one in started), 60, "they are ready")
        assert not any("Traceback" in one.log.read_text() for one in started)


@pytest.mark.kafka
def test_who_starts_while_apache_kafka_restarts_waits(own_kafka: Callable[..., Any], tmp_path: Path) -> None:
    kafka = own_kafka()
    with Live(kafka.bootstrap, tmp_path) as live:
        kafka.kill()
        live.scale(2)
        until(lambda: all("trying again" in worker.log.read_text() for worker in live.workers), 30, "they wait")
        kafka.restart()
        live.until_shared(60)
