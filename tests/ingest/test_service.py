"""From a webhook to an event's topic over a real broker: exact over restarts, kills and a second run over the past."""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from salesgauge.schemas.codec import decode
from salesgauge.schemas.events import EventBase
from salesgauge.streams.kafka.embedded import EmbeddedBroker
from salesgauge.streams.kafka.publisher import Publisher
from salesgauge.streams.kafka.topics import Topic, create, ensure
from salesgauge.streams.kafka.whole_topic import read_topic
from salesgauge.streams.settings.model import Settings
from tests.support.wait import until

SECRET = "client-secret"
URL = "https://hooks.example.com/hooks/hubspot"
HUBSPOT = {
    "use": "hubspot", "name": "hubspot", "hook": {"secret": {"env": "HUBSPOT_SECRET"}, "url": URL}, "currency": "EUR",
}  # fmt: skip
AT = 1_780_300_800_000
PATIENCE = 60.0
"""Seconds in which a service has done what it was given."""

pytestmark = pytest.mark.integration


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def prepared(broker: EmbeddedBroker, settings_for: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HUBSPOT_SECRET", SECRET)
    found: Settings = settings_for(broker.bootstrap, **{"kafka.partitions": 2})
    create(found)
    return found


def notices(first: int, count: int) -> bytes:
    """Deals that are opened, get an amount and are won."""
    said = []
    for number in range(first, first + count):
        base = {"portalId": 700, "objectId": number, "attemptNumber": 0}
        said += [
            base | {"subscriptionType": "deal.creation", "occurredAt": AT},
            base | {"subscriptionType": "deal.propertyChange", "occurredAt": AT + 1, "propertyName": "amount",
                    "propertyValue": str(number)},
            base | {"subscriptionType": "deal.propertyChange", "occurredAt": AT + 2, "propertyName": "dealstage",
                    "propertyValue": "closedwon"},
        ]  # fmt: skip
    return json.dumps(said).encode()


def post(port: int, body: bytes) -> int:
    at = str(int(time.time() * 1000))
    signed = base64.b64encode(hmac.digest(SECRET.encode(), f"POST{URL}".encode() + body + at.encode(), "sha256"))
    headers = {"X-HubSpot-Signature-v3": signed.decode(), "X-HubSpot-Request-Timestamp": at}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/hooks/hubspot", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def published(settings: Settings, topic: str) -> dict[str, EventBase]:
    """The events of a topic by id, in the version recorded last."""
    found: dict[str, EventBase] = {}
    for record in read_topic(settings.kafka, topic):
        event = decode(record.value)
        assert isinstance(event, EventBase)
        assert record.key.decode() == event.key
        known = found.get(event.event_id)
        if known is None or (event.recorded_at or event.occurred_at) > (known.recorded_at or known.occurred_at):
            found[event.event_id] = event
    return found


def amounts(settings: Settings) -> list[int]:
    won = published(settings, "crm.deal-won").values()
    return sorted(int(event.amount) for event in won)  # type: ignore[attr-defined]


def test_a_webhook_becomes_events(prepared: Settings, run_service: Any) -> None:
    running = run_service(prepared, HUBSPOT)
    port = int(running.url.rpartition(":")[2])
    assert post(port, notices(1, 3)) == 200
    until(lambda: amounts(prepared) == [1, 2, 3], PATIENCE)
    won = published(prepared, "crm.deal-won")["hubspot:700:deal:1:won:1780300800002"]
    assert won.currency == "EUR"  # type: ignore[attr-defined]
    assert running.metric("salesgauge_ingest_events_total", source="hubspot", event="deal_won") == 3
    assert running.metric("salesgauge_ingest_filled_total", source="hubspot", event="deal_won", field="amount") == 3
    # the sender tries again: nothing new
    assert post(port, notices(1, 3)) == 200
    until(
        lambda: running.metric("salesgauge_ingest_ignored_total", source="hubspot", kind="nothing new") == 9, PATIENCE
    )
    assert len(list(read_topic(prepared.kafka, "crm.deal-won"))) == 3


def test_a_restart_remembers_and_a_second_run_makes_the_same_events(prepared: Settings, run_service: Any) -> None:
    first = run_service(prepared, HUBSPOT)
    assert post(int(first.url.rpartition(":")[2]), notices(1, 2)) == 200
    until(lambda: amounts(prepared) == [1, 2], PATIENCE)
    first.stop()
    second = run_service(prepared, HUBSPOT)
    changed = [{"portalId": 700, "objectId": 1, "subscriptionType": "deal.propertyChange", "occurredAt": AT + 9,
                "propertyName": "amount", "propertyValue": "50"}]  # fmt: skip
    assert post(int(second.url.rpartition(":")[2]), json.dumps(changed).encode()) == 200
    until(lambda: amounts(prepared) == [2, 50], PATIENCE)  # the win of deal 1 is known from before
    second.stop()
    ids = set(published(prepared, "crm.deal-won"))
    before = len(list(read_topic(prepared.kafka, "crm.deal-won")))

    third = run_service(prepared, HUBSPOT | {"revision": 1}, receive=False, since=0)
    until(lambda: len(list(read_topic(prepared.kafka, "crm.deal-won"))) >= before + 2, PATIENCE)
    third.stop()
    assert set(published(prepared, "crm.deal-won")) == ids
    assert amounts(prepared) == [2, 50]


def test_killed_at_any_moment_nothing_is_lost_or_doubled(
    prepared: Settings, tmp_path: Path, broker: EmbeddedBroker
) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "hubspot.yaml").write_text(json.dumps({key: one for key, one in HUBSPOT.items() if key != "name"}))
    variables = {
        **os.environ, "HUBSPOT_SECRET": SECRET, "SALESGAUGE_KAFKA__BOOTSTRAP": broker.bootstrap,
        "SALESGAUGE_APP_ID": prepared.app_id, "SALESGAUGE_KAFKA__SESSION_SECONDS": "1.5",
    }  # fmt: skip

    def start() -> tuple[subprocess.Popen[str], int]:
        command = [
            sys.executable,
            "-m",
            "salesgauge.streams.cli.start",
            "ingest",
            "--sources",
            str(folder),
            "--port",
            "0",
        ]
        process = subprocess.Popen([*command, "--port", "0"], env=variables, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "webhooks at" in line, line + process.stderr.read()
        return process, int(line.partition("127.0.0.1:")[2].partition("/")[0])

    thanked: list[int] = []
    for round_ in range(3):
        process, port = start()
        try:
            numbers = range(round_ * 100 + 1, round_ * 100 + 16)
            thanked += [number for number in numbers if post(port, notices(number, 1)) == 200]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    process, _ = start()
    try:
        until(lambda: set(thanked) <= set(amounts(prepared)), 90)
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert amounts(prepared) == thanked
    assert len(thanked) == 45


def test_records_of_a_topic_that_others_fill(prepared: Settings, run_service: Any, broker: EmbeddedBroker) -> None:
    """Debezium's envelopes of a table of orders, by one file without a line of Python."""
    del broker
    orders = {
        "name": "erp", "source_system": "erp", "topics": {"names": "erp.public.orders", "envelope": "debezium"},
        "key": "id", "views": {"orders": "SELECT *, value ->> '$.id' AS id FROM records"},
        "events": [
            {"event": "deal_won", "sql": """
                SELECT fact_id('', 'order', id, 'won', NULL) AS event_id, instant(value ->> '$.paid_at') AS occurred_at,
                       recorded_at, id AS deal_id, value ->> '$.customer' AS account_id,
                       value ->> '$.total' AS amount, 'EUR' AS currency
                FROM orders WHERE value ->> '$.paid_at' IS NOT NULL AND op <> 'delete'"""},
            {"event": "deal_deleted", "sql": """
                SELECT fact_id('', 'order', id, 'deleted', source_time) AS event_id, source_time AS occurred_at,
                       id AS deal_id FROM orders WHERE op = 'delete'"""},
        ],
    }  # fmt: skip

    def change(op: str, at: int, before: Any, after: Any) -> bytes:
        source = {"ts_ms": at, "lsn": at}
        return json.dumps({"before": before, "after": after, "op": op, "source": source, "ts_ms": at + 500}).encode()

    row = {"id": 1, "customer": "c1", "total": "90.50", "paid_at": None, "note": "__debezium_unavailable_value"}
    paid = row | {"paid_at": "2026-06-02T08:00:00Z"}
    ensure(prepared, [Topic("erp.public.orders", 1)])
    with Publisher(prepared.kafka) as publisher:
        for value in (
            change("c", AT, None, row), change("u", AT + 10, row, paid), change("r", AT + 5, None, row | {"id": 2}),
            change("u", AT + 20, paid, {"id": 1, "total": "95.50"}), change("d", AT + 30, paid | {"id": 3}, None),
        ):  # fmt: skip
            publisher.send_raw("erp.public.orders", "1", value)
        publisher.send_raw("erp.public.orders", "3", None)
    run_service(prepared, orders)
    until(lambda: len(published(prepared, "crm.deal-deleted")) == 1, PATIENCE)
    [won] = published(prepared, "crm.deal-won").values()
    assert won.amount == Decimal("95.5")  # type: ignore[attr-defined]
    assert won.account_id == "c1"  # type: ignore[attr-defined]


@pytest.mark.kafka
def test_what_a_transaction_took_back_never_happened(
    own_kafka: Any, settings_for: Any, run_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Apache Kafka: webhooks, and a topic whose producer aborted; its markers are no lag."""
    from confluent_kafka import Producer

    monkeypatch.setenv("HUBSPOT_SECRET", SECRET)
    prepared: Settings = settings_for(own_kafka().bootstrap, **{"kafka.partitions": 2})
    create(prepared)
    ensure(prepared, [Topic("shop.orders", 1)])
    producer = Producer({"bootstrap.servers": prepared.kafka.bootstrap, "transactional.id": "shop"})
    producer.init_transactions()
    for number, keep in ((1, False), (2, True), (3, False)):
        producer.begin_transaction()
        producer.produce("shop.orders", json.dumps({"id": number, "paid": AT, "total": number}).encode(), key=b"k")
        producer.flush()
        if keep:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    shop = {
        "name": "shop", "topics": {"names": "shop.orders"}, "events": [{"event": "deal_won", "sql": """
            SELECT fact_id('', 'order', value ->> '$.id', 'won', NULL) AS event_id, instant(value ->> '$.paid') AS
                   occurred_at, value ->> '$.id' AS deal_id, value ->> '$.total' AS amount FROM records"""}],
    }  # fmt: skip
    running = run_service(prepared, shop, HUBSPOT)
    assert post(int(running.url.rpartition(":")[2]), notices(7, 1)) == 200
    until(lambda: amounts(prepared) == [2, 7], PATIENCE)
    until(lambda: running.metric("salesgauge_ingest_lag_records", source="shop") == 0, PATIENCE)
    assert amounts(prepared) == [2, 7]


def test_a_record_on_which_our_code_fails_costs_no_other(
    prepared: Settings, run_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salesgauge.schemas.sources.hubspot import HubSpotReader

    genuine = HubSpotReader.rows

    def faulty(self: HubSpotReader, kind: str, number: str, state: Any) -> Any:
        if number == "2":
            raise RuntimeError("a fault of ours")
        return genuine(self, kind, number, state)

    monkeypatch.setattr(HubSpotReader, "rows", faulty)
    running = run_service(prepared, HUBSPOT)
    port = int(running.url.rpartition(":")[2])
    assert [post(port, notices(number, 1)) for number in (1, 2, 3)] == [200, 200, 200]
    until(lambda: amounts(prepared) == [1, 3], PATIENCE)
    assert running.metric("salesgauge_ingest_unmapped_total", source="hubspot", reason="failed") == 1


@pytest.mark.kafka
def test_a_broker_that_comes_back_gets_what_was_sent_again(
    own_kafka: Any, settings_for: Any, run_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Kafka is away senders are told to come again; nothing that was thanked for is lost, nothing is doubled."""
    monkeypatch.setenv("HUBSPOT_SECRET", SECRET)
    cluster = own_kafka()
    prepared: Settings = settings_for(cluster.bootstrap, **{"kafka.partitions": 2, "ingest.ack_seconds": 1.5})
    create(prepared)
    running = run_service(prepared, HUBSPOT)
    port = int(running.url.rpartition(":")[2])
    assert post(port, notices(1, 1)) == 200
    cluster.kill()
    waiting = [2, 3, 4]
    assert [post(port, notices(number, 1)) for number in waiting] == [503, 503, 503]
    cluster.restart()

    def sent() -> bool:
        waiting[:] = [number for number in waiting if post(port, notices(number, 1)) != 200]
        return not waiting

    until(sent, 90)
    until(lambda: amounts(prepared) == [1, 2, 3, 4], 90)
