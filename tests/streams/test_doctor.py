"""Doctor: each check tells what it found and what to do; the exit code says whether something fails."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Self

import pytest
from click.testing import CliRunner

from salesgauge.streams.cli.main import cli
from salesgauge.streams.kafka import control, topics
from salesgauge.streams.kafka.embedded import EmbeddedBroker
from salesgauge.streams.kafka.lag import Behind, by_partition
from salesgauge.streams.kafka.publisher import Publisher
from salesgauge.streams.operate import doctor
from salesgauge.streams.operate.check import Check
from salesgauge.streams.operate.doctor import Report, address, examine
from salesgauge.streams.settings.model import Settings, Tls, Web, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bare() -> Iterator[Settings]:
    """A broker without topics."""
    with EmbeddedBroker() as broker:
        yield load(None, {"kafka.bootstrap": broker.bootstrap, "kafka.partitions": 2, "web.port": 1})


@pytest.fixture
def settings(bare: Settings) -> Settings:
    """A broker with topics."""
    topics.create(bare)
    return bare


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    """Something that answers as an exporter does."""
    with Exporter() as one:
        yield one


class Exporter:
    """Answers /readyz as it is told."""

    def __init__(self) -> None:
        self.status, self.document, self.skew = 200, b"{}", 0.0
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(told.status)
                self.send_header("Date", formatdate(time.time() + told.skew, usegmt=True))
                self.end_headers()
                self.wfile.write(told.document)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def found(report: Report, name: str) -> Check:
    [check] = [one for one in report.checks if one.name == name]
    return check


@pytest.mark.integration
def test_a_good_installation_is_healthy(settings, exporter):
    report = examine(settings, exporter.url)
    states = {check.name: check.state for check in report.checks}
    assert states == {
        "Faust": "ok", "Kafka": "ok", "version": "ok", "topics": "ok", "workers": "warn", "lag": "ok",
        "dead letters": "ok", "fields": "ok", "exporter": "ok",
    }  # fmt: skip
    assert report.healthy


@pytest.mark.integration
def test_missing_topics_are_one_line_with_the_remedy(bare):
    report = examine(bare)
    check = found(report, "topics")
    assert check.state == "fail"
    assert "is missing" in check.message
    assert check.remedy == "run `salesgauge topics create`"
    assert not report.healthy


@pytest.mark.integration
def test_what_is_not_processed_is_counted_per_partition(settings):
    with Publisher(settings.kafka) as publisher:
        for n in range(7):
            publisher.send_raw("crm.deal-won", f"key-{n}", b"x")
    report = examine(settings.model_copy(update={"ready_lag": 0}))
    total = sum(by_partition(report.behind).values())
    assert 0 < total <= 7  # the embedded broker gives too low an end
    assert found(report, "lag").state == "warn"
    assert f"{total} records behind" in found(report, "lag").message


@pytest.mark.integration
def test_open_dead_letters_are_a_warning(settings):
    with Publisher(settings.kafka) as publisher:
        publisher.send_raw(settings.dead_letter_topic, None, b"x", [("reason", b"not_json"), ("offset", b"1")])
    check = found(examine(settings), "dead letters")
    assert (check.state, check.message) == ("warn", "1 open (not_json)")


@pytest.mark.integration
def test_another_version_or_other_rules_than_the_active_ones_are_told(settings):
    control.activate(settings.model_copy(update={"version": 2}))
    topics.create(settings.model_copy(update={"version": 2}))
    assert found(examine(settings), "version").message == "2 is the active one"
    named = load(None, {"kafka.bootstrap": settings.kafka.bootstrap, "kafka.partitions": 2, "version": 1})
    assert "name version 1, but 2 is the active one" in found(examine(named), "version").message
    other = settings.model_copy(update={"rules": settings.rules.model_copy(update={"zone": "Europe/Berlin"})})
    assert "computed with other rules" in found(examine(other), "version").message


@pytest.mark.integration
def test_the_latest_events_tell_which_fields_are_filled_and_which_are_unknown(settings):
    at = "2026-01-01T00:00:00Z"
    with Publisher(settings.kafka) as publisher:
        for n in range(250):  # only the last 200 are looked at
            lead = {"event": "lead_created", "event_id": f"{n}", "lead_id": "l", "occurred_at": at, "team": "north"}
            lead |= {"source_system": "crm"} | ({"campaign_id": "c", "sorce": "web"} if n >= 240 else {})
            publisher.send_raw("crm.lead-created", "l", json.dumps(lead).encode())
        publisher.send_raw("crm.deal-lost", "d", b"no event")
    report = examine(settings)
    [filled] = report.filled
    assert (filled.event, filled.source_system) == ("lead_created", "crm")
    assert 200 <= filled.events < 250  # the embedded broker gives too low an end
    fields = filled.fields
    assert (fields["team"], fields["campaign_id"], fields["source"]) == (filled.events, 10, 0)
    check = found(report, "fields")
    assert (check.state, "lead_created.sorce (10)" in check.message) == ("warn", True)


@pytest.mark.integration
def test_the_command_is_for_programs_too(settings, exporter):
    args = ["doctor", "--bootstrap", settings.kafka.bootstrap, "--exporter", exporter.url, "--json"]
    result = CliRunner(env={"SALESGAUGE_KAFKA__PARTITIONS": "2"}).invoke(cli, args)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["healthy"] is True
    assert document["lag_records"] == 0
    assert {"path": "kafka.bootstrap", "value": settings.kafka.bootstrap, "origin": "flag"} in document["settings"]


# --- without a broker


@pytest.fixture
def nowhere(impatient: None) -> Settings:
    del impatient
    return load(None, {"kafka.bootstrap": "127.0.0.1:1", "web.port": 1})


def test_no_broker_is_a_failure_and_the_rest_is_looked_at(nowhere, exporter):
    report = examine(nowhere, exporter.url)
    assert found(report, "Kafka").state == "fail"
    assert found(report, "exporter").state == "ok"
    assert not report.healthy


def test_an_exporter_that_is_not_ready_says_why(nowhere, exporter):
    exporter.status, exporter.document = 503, b'{"ready": false, "reasons": ["2 partitions are missing"]}'
    check = found(examine(nowhere, exporter.url), "exporter")
    assert check.state == "fail"
    assert "2 partitions are missing" in check.message


def test_clocks_that_differ_are_told(nowhere, exporter):
    exporter.skew = 60.0
    assert "differ by" in found(examine(nowhere, exporter.url), "clock").message


def test_what_is_no_exporter_is_told(nowhere, exporter):
    exporter.status, exporter.document = 404, b"<html>"
    assert "is not ready: 404" in found(examine(nowhere, exporter.url), "exporter").message
    assert found(examine(nowhere, "ftp://x"), "exporter").state == "fail"


def test_an_absent_exporter_fails_only_where_it_was_named(nowhere):
    assert found(examine(nowhere), "exporter").state == "warn"
    assert found(examine(nowhere, "http://127.0.0.1:1"), "exporter").state == "fail"


# --- live sources

INGEST = """\
# TYPE salesgauge_ingest_received counter
salesgauge_ingest_received_total{source="hubspot"} 12.0
salesgauge_ingest_received_total{source="shop"} 3.0
# TYPE salesgauge_ingest_last_delivery_timestamp_seconds gauge
salesgauge_ingest_last_delivery_timestamp_seconds{source="hubspot"} %(now)f
# TYPE salesgauge_ingest_lag_records gauge
salesgauge_ingest_lag_records{source="hubspot"} 4.0
# TYPE salesgauge_ingest_unmapped counter
salesgauge_ingest_unmapped_total{source="shop",reason="no lead_id"} 2.0
# TYPE salesgauge_ingest_refused counter
salesgauge_ingest_refused_total{source="",reason="unknown source"} 1.0
# TYPE salesgauge_ingest_polls counter
salesgauge_ingest_polls_total{source="hubspot",outcome="ok"} 9.0
salesgauge_ingest_polls_total{source="hubspot",outcome="limited"} 2.0
"""


def test_each_live_source_says_when_it_was_heard_and_what_is_wrong(nowhere, exporter):
    exporter.document = (INGEST % {"now": time.time() - 600}).encode()
    report = examine(nowhere, ingest=exporter.url)
    hubspot = found(report, "source hubspot")
    assert hubspot.state == "ok"
    assert hubspot.message == "last delivery 10 min ago; 4 raw records wait; 2 polls waited for the rate limit"
    shop = found(report, "source shop")
    assert shop.state == "warn"
    assert "2 unmapped (no lead_id 2)" in shop.message
    assert "--source shop --from" in shop.remedy


def test_ingest_is_looked_for_where_the_settings_or_a_flag_name_it(nowhere, exporter, tmp_path):
    assert not [check for check in examine(nowhere).checks if check.name == "ingest"]
    named = load(None, {"kafka.bootstrap": nowhere.kafka.bootstrap, "web.port": 1, "ingest.sources": tmp_path,
                        "ingest.metrics_web.port": 1})  # fmt: skip
    assert found(examine(named), "ingest").state == "warn"
    assert found(examine(nowhere, ingest="http://127.0.0.1:1"), "ingest").state == "fail"
    exporter.document = b"<html>"
    assert found(examine(nowhere, ingest=exporter.url), "ingest").state == "fail"


def test_an_untested_faust_fails(monkeypatch):
    monkeypatch.setattr(doctor, "TESTED_VERSIONS", ("0.0.1",))
    assert doctor.faust().state == "fail"
    assert "tested: 0.0.1" in doctor.faust().message


def test_variables_that_are_no_settings_are_a_warning(nowhere, monkeypatch):
    monkeypatch.setenv("SALESGAUGE_TYPO", "1")
    assert "SALESGAUGE_TYPO" in found(examine(nowhere), "settings").message


def test_where_the_exporter_is_looked_for(tmp_path: Path):
    assert address(Web()) == "http://127.0.0.1:9108"
    assert address(Web(host="0.0.0.0", port=1, tls=Tls())) == "https://127.0.0.1:1"


def test_lag_counts_from_what_is_committed_or_kept():
    assert Behind("t", 0, None, 5, 20).records == 15
    assert Behind("t", 0, 12, 5, 20).records == 8
    assert Behind("t", 0, 2, 5, 20).records == 15
    assert Behind("t", 0, 30, 5, 20).records == 0
