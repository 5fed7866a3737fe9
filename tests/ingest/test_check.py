"""`ingest init` and `ingest check`: what somebody sees who connects a system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from salesgauge.schemas.sources.live import Deriver
from salesgauge.schemas.sources.source import load_source
from salesgauge.streams.cli.main import cli
from salesgauge.streams.ingest.templates import template, templates
from tests.ingest.fakes import FakeHubSpot

START = 1_780_300_800_000


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["ingest", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize("name", templates())
def test_each_template_is_a_right_source(name: str, tmp_path: Path) -> None:
    done = run("init", name, "--out", tmp_path / f"{name}.yaml")
    assert done.exit_code == 0
    Deriver(load_source(tmp_path / f"{name}.yaml")).close()


@pytest.mark.parametrize("name", ["hubspot", "pipedrive", "salesforce"])
def test_the_commented_parts_of_templates_are_right_too(name: str, tmp_path: Path) -> None:
    keys = ("hook:", "topics:", "properties:", "events:", "currency:", "  ")
    lines = [line for line in template(name).splitlines() if not line.startswith("# ---")]
    plain = [raw.removeprefix("# ") for raw in lines]
    kept = [line for line, raw in zip(plain, lines, strict=True) if line == raw or line.startswith(keys)]
    (tmp_path / "whole.yaml").write_text("\n".join(kept))
    source = load_source(tmp_path / "whole.yaml")
    assert source.hook is not None or source.topics is not None
    Deriver(source).close()


def test_init_does_not_overwrite_and_knows_its_names(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("mine")
    assert run("init", "hubspot", "--out", tmp_path / "a.yaml").exit_code == 1
    assert (tmp_path / "a.yaml").read_text() == "mine"
    assert "there are calendly" in run("init", "fax").output


def test_payloads_become_events_or_a_reason(tmp_path: Path) -> None:
    run("init", "json", "--out", tmp_path / "form.yaml")
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"id": 7, "submitted_at": 1_780_300_800, "email": "A@b.example", "utm_source": "ad"}))
    bad.write_text("<xml/>")
    done = run("check", tmp_path / "form.yaml", "--payload", good)
    assert done.exit_code == 0
    event = json.loads(done.stdout.splitlines()[0])
    assert (event["event_id"], event["lead_id"], event["source"]) == ("form:submission:7:created", "a@b.example", "ad")
    done = run("check", tmp_path / "form.yaml", "--payload", bad)
    assert done.exit_code == 1
    assert "not JSON" in done.output


def test_the_api_is_asked_for_stages_and_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    fake = FakeHubSpot()
    fake.put("deals", 7, int(time.time() * 1000) - 1000, (21,), dealstage="200", amount="900")
    file = tmp_path / "hubspot.yaml"
    file.write_text(f"use: hubspot\npoll: {{secret: {{env: HUBSPOT_TOKEN}}, base: '{fake.url}'}}\n")
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-1")
    done = run("check", file)
    assert done.exit_code == 0, done.output
    assert "portal 700" in done.output
    assert "Signed" in done.output
    assert any(json.loads(line)["event"] == "deal_won" for line in done.stdout.splitlines() if line.startswith("{"))
    monkeypatch.setenv("HUBSPOT_TOKEN", "wrong")
    done = run("check", file)
    assert done.exit_code == 1
    assert "401" in done.output
    fake.stop()


def test_mistakes_in_a_file_are_named(tmp_path: Path) -> None:
    for text, said in (
        ("use: fax\n", "no source 'fax' is shipped"),
        ("events: []\nhok: {}\n", "unknown key 'hok'"),
        ("use: hubspot\nhook: {secret: plain}\n", "not the secret itself"),
        ("use: hubspot\nhook: {secret: {env: A}}\n", "needs url"),
        ("events: [{event: lead_created, sql: SELECT key AS lead_id FROM records}]\n", "does not select occurred_at"),
        ("events: [{event: lead_created, sql: SELECT x AS lead_id FROM nowhere}]\n", "nowhere"),
        ("reader: fax\nevents: []\n", "no reader 'fax'"),
    ):
        file = tmp_path / "a.yaml"
        file.write_text(text)
        done = run("check", file)
        assert done.exit_code != 0
        assert said in done.output.replace("\n", " "), (text, done.output)
