"""Alertmanager's configuration: valid, each alert goes to the right people, and what it is made of exists."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from salesgauge.grafana.routes import alertmanager
from tests.grafana.names import ROOT, TOLD, notifying, thresholds
from tests.support.programs import amtool, promtool

SHIPPED = ROOT / "prometheus/alertmanager.yml"
DOCUMENT = alertmanager(notifying(**TOLD))
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "prometheus/rules/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alertmanager's configuration with every channel, and its templates beside it."""
    return write(DOCUMENT, tmp_path_factory.mktemp("alertmanager"))


def write(document: dict[str, Any], folder: Path) -> Path:
    shutil.copytree(ROOT / "prometheus/templates", folder / "templates")
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_amtool_accepts_it(config):
    said = amtool("check-config", config)
    assert said.ok, said.text
    assert "1 templates" in said.text


@pytest.mark.parametrize(
    "chosen", [(), ("slack",), ("email",), ("webhook",), ("heartbeat",), ("slack", "webhook"), ("slack", "email")]
)
def test_each_channel_is_a_choice_and_none_is_compulsory(chosen, tmp_path):
    document = alertmanager(notifying(**{name: TOLD[name] for name in chosen}))
    said = amtool("check-config", write(document, tmp_path))
    assert said.ok, said.text
    text = yaml.safe_dump(document)
    for name, word in {"slack": "slack_", "email": "smtp_", "webhook": "webhook.example.com/salesgauge"}.items():
        assert (word in text) == (name in chosen)
    urgent = next(r for r in document["receivers"] if r["name"] == "business-critical")
    assert bool(set(urgent) - {"name"}) == bool(set(chosen) - {"heartbeat"})
    plain = next(r for r in document["receivers"] if r["name"] == "business")
    assert bool(set(plain) - {"name"}) == bool(set(chosen) - {"heartbeat"})


def test_microsoft_teams_is_a_choice():
    document = alertmanager(notifying(msteams=True))
    urgent = next(r for r in document["receivers"] if r["name"] == "business-critical")
    assert urgent["msteamsv2_configs"][0]["webhook_url_file"] == "/etc/alertmanager/secrets/msteams_url"


def test_what_is_shipped_tells_nobody_and_needs_no_secret():
    said = amtool("check-config", SHIPPED)
    assert said.ok, said.text
    document = yaml.safe_load(SHIPPED.read_text())
    assert all(set(receiver) == {"name"} for receiver in document["receivers"])
    assert "_file" not in SHIPPED.read_text()


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
def test_an_alert_goes_to(labels, receiver, config):
    said = amtool(
        "config", "routes", "test", f"--config.file={config}", f"--verify.receivers={receiver}", *labels.split()
    )
    assert said.ok, said.text


def test_every_shipped_alert_reaches_somebody(config):
    told = {r["name"] for r in DOCUMENT["receivers"] if set(r) - {"name"}}
    for name, rule in ALERTS.items():
        labels = [f"{k}={v}" for k, v in {"alertname": name, **rule["labels"]}.items() if "{" not in v]
        said = amtool("config", "routes", "test", f"--config.file={config}", *labels)
        assert said.text.split()[-1] in told, (name, said.text)


def test_every_receiver_is_used_and_secrets_are_files(config):
    text = config.read_text()
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


def test_templates_that_notices_use_are_defined(config):
    defined = set(re.findall(r'define "([^"]+)"', (ROOT / "prometheus/templates/salesgauge.tmpl").read_text()))
    assert set(re.findall(r'template "([^"]+)"', config.read_text())) <= defined


def test_the_document_is_made_from_the_thresholds():
    assert alertmanager(thresholds()) == yaml.safe_load(SHIPPED.read_text())


DATA = {
    "receiver": "x", "status": "firing", "externalURL": "http://am", "groupLabels": {"alertname": "LeadsWaitPastSla"},
    "commonLabels": {"severity": "warning", "team": "north"},
    "commonAnnotations": {"summary": "Leads wait past the SLA: team north"},
    "alerts": [
        {
            "status": "firing", "labels": {"severity": "warning", "team": "north"}, "startsAt": "2026-03-02T10:00:00Z",
            "annotations": {"summary": "Leads wait past the SLA: team north", "description": "Two <wait>.",
                            "action": "1. Call.", "board_url": "http://board/#kpi=leads_waiting&team=north",
                            "runbook_url": "http://wiki/alerts#leadswaitpastsla"},
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
        ("salesgauge.title", "text", ["[WARNING] Leads wait past the SLA: team north"]),
        ("salesgauge.text", "text", ["Two <wait>.", "Since 2026-03-02 10:00 UTC", "1. Call.",
                                     "Board: http://board/#kpi=leads_waiting&team=north",
                                     "Runbook: http://wiki/alerts#leadswaitpastsla",
                                     "Over: Another one (09:00 to 09:30 UTC)"]),
        ("salesgauge.slack.text", "text", ["Two &lt;wait&gt;.",
                                           "<http://board/#kpi=leads_waiting&team=north|Open the board>"]),
        ("salesgauge.html", "html", ["Two &lt;wait&gt;.", "Over: Another one", "what to do</a>", "1. Call."]),
        ("salesgauge.color", "text", ["warning"]),
        ("salesgauge.link", "text", ["http://board/#kpi=leads_waiting&team=north"]),
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


@pytest.mark.parametrize("name", ["<!channel>", "<https://evil.example|Log in>", "A & B"])
def test_names_from_outside_are_text_in_slack(name, tmp_path):
    import json

    data = json.loads(json.dumps(DATA).replace("team north", f"team {name}"))
    (tmp_path / "data.json").write_text(json.dumps(data))
    for template in ("salesgauge.slack.title", "salesgauge.slack.text"):
        said = amtool(
            "template", "render", f"--template.glob={ROOT}/prometheus/templates/*.tmpl",
            f'--template.text={{{{ template "{template}" . }}}}', f"--template.data={tmp_path}/data.json",
        )  # fmt: skip
        assert said.ok, said.text
        assert name not in said.text
