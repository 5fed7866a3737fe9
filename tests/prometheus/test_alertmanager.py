"""Alertmanager's configuration: valid, each alert goes to the right people, and what it is made of exists."""

from __future__ import annotations

import re

import pytest
import yaml

from salesgauge.grafana.routes import alertmanager
from tests.grafana.names import ROOT, thresholds
from tests.support.programs import amtool, promtool

CONFIG = ROOT / "prometheus/alertmanager.yml"
DOCUMENT = yaml.safe_load(CONFIG.read_text())
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "prometheus/rules/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}

pytestmark = pytest.mark.integration


def test_amtool_accepts_it():
    said = amtool("check-config", CONFIG)
    assert said.ok, said.text
    assert "1 templates" in said.text


@pytest.mark.parametrize("file", ["prometheus/prometheus.yml"])
def test_promtool_accepts_the_configuration(file):
    said = promtool("check", "config", ROOT / file)
    assert said.ok, said.text
    assert "2 rule files found" in said.text


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=Watchdog severity=none layer=watchdog", "heartbeat"),
        ("alertname=LeadsWaitPastSla layer=business severity=warning team=north", "team-north"),
        ("alertname=LeadWaitsForHours layer=business severity=critical team=south", "team-south-critical"),
        ("alertname=LeadWaitsForHours layer=business severity=critical team=elsewhere", "business-critical"),
        ("alertname=LeadsWaitPastSla layer=business severity=warning team=elsewhere", "business"),
        ("alertname=ManyLeadsWait layer=business severity=critical", "business-critical"),
        ("alertname=CsatLow layer=business severity=info", "business-digest"),
        ("alertname=WorkerDown layer=engine severity=warning", "engine"),
        ("alertname=SeriesTruncated layer=engine severity=info", "engine"),
        ("alertname=NoWorker layer=engine severity=critical", "engine-critical"),
        ("alertname=FromSomebodyElse", "business"),
    ],
)
def test_an_alert_goes_to(labels, receiver):
    said = amtool(
        "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}", *labels.split()
    )
    assert said.ok, said.text


def test_every_shipped_alert_reaches_somebody():
    told = {r["name"] for r in DOCUMENT["receivers"] if set(r) - {"name"}}
    for name, rule in ALERTS.items():
        labels = [f"{k}={v}" for k, v in {"alertname": name, **rule["labels"]}.items() if "{" not in v]
        said = amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels)
        assert said.text.split()[-1] in told, (name, said.text)


def test_every_receiver_is_used_and_secrets_are_files():
    text = CONFIG.read_text()
    used = set(re.findall(r"receiver: (\S+)", text))
    assert used == {receiver["name"] for receiver in DOCUMENT["receivers"]}
    assert not re.search(r"(api_url|password|credentials|token):", text), "secrets are given as files"
    named = set(re.findall(r"_file: (\S+)", text))
    folder = thresholds().notify.secrets
    assert named == {f"{folder}/{name}" for name in ("slack_url", "smtp_password", "webhook_token")}
    for path in named:
        assert path.removeprefix(f"{folder}/") in (ROOT / "prometheus/secrets/README.md").read_text()


def test_blind_boards_silence_the_business():
    blinding = {name for name, rule in ALERTS.items() if rule["labels"].get("blinds") == "true"}
    assert blinding == {"BoardsStale", "ExporterDown", "ExporterNotReady", "NoWorker"}
    (rule,) = [r for r in DOCUMENT["inhibit_rules"] if r["source_matchers"] == ['blinds="true"']]
    assert rule["target_matchers"] == ['layer="business"']
    assert "equal" not in rule
    assert all(ALERTS[name]["labels"]["layer"] == "engine" for name in blinding)


def test_inhibitions_name_alerts_that_exist():
    for rule in DOCUMENT["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            if matcher.startswith("alertname"):
                for name in re.split(r"\|", matcher.split('"')[1]):
                    assert name in ALERTS


def test_notices_that_are_not_urgent_wait_for_business_hours():
    (digest,) = [r for r in DOCUMENT["route"]["routes"] if r["receiver"] == "business-digest"]
    assert digest["active_time_intervals"] == ["business-hours"]
    (hours,) = DOCUMENT["time_intervals"]
    assert hours["time_intervals"][0]["times"] == [{"start_time": "09:00", "end_time": "17:00"}]


def test_templates_that_notices_use_are_defined():
    defined = set(re.findall(r'define "([^"]+)"', (ROOT / "prometheus/templates/salesgauge.tmpl").read_text()))
    assert set(re.findall(r'template "([^"]+)"', CONFIG.read_text())) <= defined


def test_the_document_is_made_from_the_thresholds():
    assert alertmanager(thresholds()) == DOCUMENT


DATA = {
    "receiver": "x", "status": "firing", "externalURL": "http://am", "groupLabels": {"alertname": "LeadsWaitPastSla"},
    "commonLabels": {"severity": "warning", "team": "north"},
    "commonAnnotations": {"summary": "Leads wait past the SLA: team north"},
    "alerts": [
        {
            "status": "firing", "labels": {"severity": "warning", "team": "north"}, "startsAt": "2026-03-02T10:00:00Z",
            "annotations": {"summary": "Leads wait past the SLA: team north", "description": "Two <wait>.",
                            "runbook_url": "docs/alerts.md#leadswaitpastsla"},
            "generatorURL": "http://p/graph",
        },
        {
            "status": "resolved", "labels": {"severity": "warning", "team": "north"},
            "startsAt": "2026-03-02T09:00:00Z",
            "endsAt": "2026-03-02T09:30:00Z",
            "annotations": {"summary": "Another one", "description": "One.", "runbook_url": "docs/alerts.md"},
            "generatorURL": "http://p/graph",
        },
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "type_", "expected"),
    [
        ("salesgauge.title", "text", ["[WARNING] north: Leads wait past the SLA: team north"]),
        ("salesgauge.text", "text", ["* Two <wait>.", "since 2026-03-02 10:00 UTC", "docs/alerts.md#leadswaitpastsla",
                                     "* over: Another one (09:00 to 09:30 UTC)"]),
        ("salesgauge.html", "html", ["Two &lt;wait&gt;.", "Over: Another one", "what to do</a>"]),
        ("salesgauge.color", "text", ["warning"]),
        ("salesgauge.link", "text", ["docs/alerts.md#leadswaitpastsla"]),
    ],
)  # fmt: skip
def test_what_a_notice_says(template, type_, expected, tmp_path):
    import json

    (tmp_path / "data.json").write_text(json.dumps(DATA))
    said = amtool(
        "template", "render", f"--template.glob={ROOT}/prometheus/templates/*.tmpl",
        f'--template.text={{{{ template "{template}" . }}}}', f"--template.type={type_}",
        f"--template.data={tmp_path}/data.json",
    )  # fmt: skip
    assert said.ok, said.text
    for text in expected:
        assert text in said.text
