"""From a waiting lead to a notice, on real Prometheus and Alertmanager with the shipped configuration (only faster)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from salesgauge.grafana.thresholds import seconds
from salesgauge.metrics.rules.model import Rules
from tests.grafana.names import ROOT
from tests.prometheus.stack import FASTER, exposition, inbox, watching
from tests.support.process import Process, free_port
from tests.support.programs import amtool
from tests.support.wait import until

ROUTES = ROOT / "prometheus/alertmanager.yml"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

HEALTHY = """\
salesgauge_ready 1
salesgauge_freshness_seconds 1
salesgauge_batches_total 10
salesgauge_last_event_timestamp_seconds {now}
salesgauge_events_total{{event="lead_created"}} 10
"""
WAITING = """\
# TYPE crm_leads_waiting_late_by_team gauge
crm_leads_waiting_late_by_team{{team="north",window="all"}} {late}
crm_lead_oldest_wait_seconds_by_team{{team="north",window="all"}} {oldest}
crm_leads_waiting_late{{window="all"}} {late}
"""


def healthy() -> str:
    return HEALTHY.format(now=int(time.time()))


def test_a_waiting_lead_is_promised_to_be_told_within_two_minutes():
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())["global"]
    rules = yaml.safe_load((ROOT / "prometheus/rules/alerts.yml").read_text())["groups"]
    (alert,) = [r for g in rules for r in g["rules"] if r.get("alert") == "LeadsWaitPastSla"]
    route = yaml.safe_load(ROUTES.read_text())["route"]
    times = (config["scrape_interval"], config["evaluation_interval"], alert["for"], route["group_wait"])
    assert sum(map(seconds, times)) <= 120


def test_a_waiting_lead_is_told_and_so_is_its_answer(tmp_path):
    with exposition() as stub, inbox() as box:
        stub.text = healthy() + WAITING.format(late=0, oldest=30)
        with watching(tmp_path, {"salesgauge-exporter": [stub.port]}, box) as (watch, told):
            until(lambda: watch.value('up{job="salesgauge-exporter"}'), 20, "the first scrape")
            assert box.alerts("LeadsWaitPastSla", "firing") == []
            stub.text = healthy() + WAITING.format(late=2, oldest=1500)
            until(lambda: any(a["labels"]["alertname"] == "LeadsWaitPastSla" for a in told.alerts()), 20, "firing")
            (alert, *_) = until(lambda: box.alerts("LeadsWaitPastSla", "firing"), 20, "the webhook")
            assert alert["labels"]["team"] == "north"
            assert alert["annotations"]["description"] == (
                "Leads waiting, past the SLA, team north, now: 2; target at most 0. The longest wait is 25m 0s."
            )
            assert any(auth == "Bearer token-of-the-test" for path, _, auth in box.delivered if path == "/webhook")
            until(
                lambda: "[WARNING] Leads wait past the SLA: team north" in box.texts("/slack"), 20, "the chat message"
            )
            assert "#sales-north" in box.texts("/slack")

            stub.text = healthy() + WAITING.format(late=0, oldest=5)
            until(lambda: box.alerts("LeadsWaitPastSla", "resolved"), 30, "the word that it is over")
            # Prometheus repeats an alert that fires from its start after a minute; here its way is tried alone.
            said = amtool(
                "alert", "add", "Watchdog", "severity=none", "layer=watchdog", f"--alertmanager.url={told.url}"
            )
            assert said.ok, said.text
            until(lambda: box.texts("/heartbeat").count("Watchdog"), 10, "the heartbeat")


def test_a_failing_exporter_is_told_and_does_not_look_like_an_answer(tmp_path):
    with exposition() as stub, inbox() as box:
        stub.text = healthy() + WAITING.format(late=2, oldest=1500)
        with watching(tmp_path, {"salesgauge-exporter": [stub.port]}, box) as (watch, _told):
            until(lambda: box.alerts("LeadsWaitPastSla", "firing"), 30, "the webhook")
            stub.up = False
            until(lambda: box.alerts("ExporterDown", "firing"), 30, "the exporter's alert")
            # Prometheus says that the lead's alert is over; a notice of that would follow within two group intervals.
            alert = 'ALERTS{alertname="LeadsWaitPastSla", alertstate="firing"}'
            until(lambda: watch.value(f"absent({alert})"), 30, "the end of the alert")
            time.sleep(2 * seconds(yaml.safe_load(ROUTES.read_text())["route"]["group_interval"]) / FASTER)
            assert box.alerts("LeadsWaitPastSla", "resolved") == []


# --- the real pipeline ------------------------------------------------------------------------------------------------


def salesgauge(*args: str, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "salesgauge", *args], check=True, capture_output=True, text=True, timeout=60, cwd=ROOT,
        **kwargs,
    )  # fmt: skip


def event(name: str, at: datetime, **fields: object) -> str:
    return json.dumps(
        {"event": name, "event_id": f"{name}-{fields['lead_id']}", "occurred_at": at.isoformat(), **fields}
    )


def test_a_lead_that_nobody_answers_in_the_real_pipeline(fresh_embedded, tmp_path):
    now = datetime.now(UTC)
    sla = Rules().response_sla
    environment = {
        "SALESGAUGE_KAFKA__BOOTSTRAP": fresh_embedded.bootstrap, "SALESGAUGE_KAFKA__PARTITIONS": "2",
        "SALESGAUGE_APP_ID": "alerting",
    }  # fmt: skip
    port = free_port()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        salesgauge("topics", "create")
        with Process(
            [sys.executable, "-m", "salesgauge", "run", "--port", str(port)], log=tmp_path / "run.log", cwd=ROOT
        ) as run:
            run.until_listening(port, 60)
            lead = {"lead_id": "lead-1", "rep_id": "ada", "team": "north"}
            # answered within the SLA: never an alert; and one that falls due in some seconds
            events = [
                event("lead_created", now - timedelta(minutes=30), lead_id="lead-0", source="web",
                      team="south", rep_id="ben"),
                event("activity_logged", now - timedelta(minutes=29), lead_id="lead-0", rep_id="ben", kind="call",
                      direction="outbound", automated=False),
                event("lead_created", now - sla + timedelta(seconds=8), source="web", **lead),
            ]  # fmt: skip
            (tmp_path / "events.jsonl").write_text("\n".join(events) + "\n")
            salesgauge("publish", str(tmp_path / "events.jsonl"))
            with inbox() as box, watching(tmp_path, {"salesgauge-exporter": [port]}, box) as (watch, _told):
                until(lambda: watch.value('crm_leads_waiting{window="all"}'), 60, "the lead on /metrics")
                (alert, *_) = until(lambda: box.alerts("LeadsWaitPastSla", "firing"), 60, "the webhook")
                assert alert["labels"]["team"] == "north"
                assert "The longest wait is 15m" in alert["annotations"]["description"]
                assert not [a for a in box.alerts("LeadsWaitPastSla", "firing") if a["labels"]["team"] == "south"]

                answer = event("activity_logged", datetime.now(UTC), lead_id="lead-1", rep_id="ada", kind="call",
                               direction="outbound", automated=False)  # fmt: skip
                (tmp_path / "answer.jsonl").write_text(answer + "\n")
                salesgauge("publish", str(tmp_path / "answer.jsonl"))
                until(lambda: box.alerts("LeadsWaitPastSla", "resolved"), 60, "the word that it is over")
                assert watch.value('crm_lead_response_seconds_count{window="1h"}') == 2
