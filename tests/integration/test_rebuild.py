"""A rebuild: a second version beside the running one, compared, switched to without a gap, the old one dropped."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from salesgauge.streams.cli.main import cli
from salesgauge.streams.kafka import control, topics
from salesgauge.streams.kafka.connection import admin
from salesgauge.streams.kafka.lag import Behind
from salesgauge.streams.kafka.publisher import Publisher
from salesgauge.streams.operate import rebuild
from salesgauge.streams.operate.rebuild import RebuildProgress
from salesgauge.streams.settings.model import load
from tests.support.kafka import ROOT
from tests.support.process import Process, free_port
from tests.support.wait import until

pytestmark = pytest.mark.integration

LEADS = 200


def events() -> list[tuple[str, str, dict[str, str]]]:
    """Leads of the last hours; each is answered after ten minutes."""
    start = datetime.now(UTC) - timedelta(hours=6)
    made = []
    for n in range(LEADS):
        created = start + timedelta(minutes=n)
        lead = {"lead_id": f"lead-{n}", "rep_id": f"rep-{n % 3}"}
        made += [
            ("lead_created", created, {**lead, "source": "web"}),
            ("activity_logged", created + timedelta(minutes=10), {**lead, "kind": "call"}),
        ]
    return [
        (
            f"crm.{name.replace('_', '-')}",
            fields["lead_id"],
            {"event": name, "event_id": f"{name}-{i}", **_at(at), **fields},
        )
        for i, (name, at, fields) in enumerate(made)
    ]


def _at(at: datetime) -> dict[str, str]:
    return {"occurred_at": at.isoformat()}


def publish(settings) -> None:
    with Publisher(settings.kafka) as publisher:
        for topic, key, fields in events():
            publisher.send_raw(topic, key, json.dumps(fields).encode())


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read(), "utf-8")


def sample(text: str, series: str) -> float | None:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


LEADS_SHOWN = 'crm_new_leads{window="all"}'
IN_TIME = 'crm_lead_response_sla_ratio{window="all"}'
VERSION = "salesgauge_state_version"


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_other_rules_reach_the_past_without_a_gap(own_kafka, tmp_path):
    bootstrap = own_kafka().bootstrap
    settings = load(None, {"kafka.bootstrap": bootstrap, "kafka.partitions": 2})
    env = {"SALESGAUGE_KAFKA__BOOTSTRAP": bootstrap, "SALESGAUGE_KAFKA__PARTITIONS": "2"}
    stricter = {**env, "SALESGAUGE_RULES__RESPONSE_SLA": "PT5M"}
    topics.create(settings)
    publish(settings)
    port = free_port()

    def program(name: str, *args: str, given: dict[str, str] = env) -> Process:
        argv = [sys.executable, "-m", "salesgauge", *args]
        return Process(argv, log=tmp_path / f"{name}.log", name=name, env=given, cwd=ROOT)

    with (
        program("worker", "worker", "--port", "0") as worker,
        program("exporter", "exporter", "--port", str(port)),
    ):
        until(lambda: sample(scrape(port), LEADS_SHOWN) == LEADS, 60, "all leads on /metrics")
        until(lambda: sample(scrape(port), IN_TIME) == 1, 30, "all answers on /metrics")

        seen: list[str] = []
        done = threading.Event()
        watching = threading.Thread(target=lambda: _watch(port, seen, done), daemon=True)
        watching.start()
        rebuilding = program("rebuild", "rebuild", "run", "--switch", given=stricter)
        with rebuilding:
            until(lambda: sample(scrape(port), VERSION) == 2, 90, "the exporter shows version 2")
            worker.stop()
            with program("successor", "worker", "--port", "0", given=stricter) as successor:
                until(lambda: "version 2 is the active one" in successor.tail(), 30, "the worker follows")
                until(lambda: _members(settings, 2) == 2, 30, "the worker has joined")
                rebuilding.stop()
                until(lambda: _members(settings, 2) == 1, 30, "the rebuild has left")
                done.set()
                watching.join()
                until(lambda: sample(scrape(port), IN_TIME) == 0, 10, "the stricter rule holds for the past")

        said = rebuilding.log.read_text()
        assert "version 2 has caught up" in said
        assert "lead_response_sla_ratio" in said
        assert re.search(r"\b[1-9][\d,]* of [\d,]+ readings differ", said)
        assert len(seen) > 20
        assert {sample(text, LEADS_SHOWN) for text in seen} == {LEADS}
        assert {sample(text, VERSION) for text in seen} == {1, 2}
        pairs = {(sample(text, VERSION), sample(text, IN_TIME)) for text in seen}
        assert pairs == {(1, 1), (2, 0)}

    refused = run(bootstrap, "drop", "2", "--yes", code=1)
    assert "version 2 is the active one" in refused
    assert "deleted salesgauge.windows.v1" in run(bootstrap, "drop", "1", "--yes")
    assert rebuild.existing(settings) == [2]
    with admin(settings.kafka) as client:
        left = set(client.list_topics())
    assert {"crm.lead-created", "salesgauge.dead-letters"} <= left
    assert not {name for name in left if "v1" in name}
    assert "active" in run(bootstrap, "status")


def _watch(port: int, seen: list[str], done: threading.Event) -> None:
    while not done.is_set():
        seen.append(scrape(port))
        time.sleep(0.1)


def _members(settings, version: int) -> int | None:
    return next(one.members for one in rebuild.status(settings) if one.number == version)


def run(bootstrap: str, *args: str, code: int = 0) -> str:
    name, *rest = args
    result = CliRunner(env={"SALESGAUGE_KAFKA__PARTITIONS": "2"}).invoke(
        cli, ["rebuild", name, "--bootstrap", bootstrap, *rest]
    )
    assert result.exit_code == code, result.output
    return result.output


# --- parts


@pytest.fixture
def settings(embedded_kafka, request):
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50]
    return load(None, {"kafka.bootstrap": embedded_kafka.bootstrap, "kafka.partitions": 2, "app_id": name})


def test_the_active_version_is_the_one_switched_to_last(settings):
    assert control.read(settings) is None
    assert control.resolved(settings).version == 1
    topics.create(settings)
    assert control.read(settings) is None
    for version in (2, 3):
        control.activate(rebuild.version_of(settings, version))
    active = control.read(settings)
    assert active is not None
    assert (active.version, active.rules, active.partitions) == (3, settings.rules, 2)
    assert control.resolved(settings).version == 3
    explicit = load(None, {"kafka.bootstrap": settings.kafka.bootstrap, "app_id": settings.app_id, "version": 1})
    assert control.resolved(explicit).version == 1


def test_topics_are_made_and_checked_of_the_active_version(settings):
    topics.create(settings)
    topics.create(rebuild.version_of(settings, 2))
    control.activate(rebuild.version_of(settings, 2))
    rebuild.drop(settings)
    runner = CliRunner(
        env={
            "SALESGAUGE_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
            "SALESGAUGE_KAFKA__PARTITIONS": "2",
            "SALESGAUGE_APP_ID": settings.app_id,
        }
    )
    for action in ("check", "create"):
        told = runner.invoke(cli, ["topics", action])
        assert told.exit_code == 0, told.output
    assert rebuild.existing(settings) == [2]


def test_a_stray_record_does_not_change_the_version(settings):
    topics.create(settings)
    control.activate(rebuild.version_of(settings, 2))
    with Publisher(settings.kafka) as publisher:
        publisher.send_raw(settings.control_topic, "active", b"not ours")
    active = control.read(settings)
    assert active is not None
    assert active.version == 2


def test_a_rebuild_goes_on_with_the_version_it_began(settings):
    topics.create(settings)
    assert rebuild.target(settings) == 2
    topics.create(rebuild.version_of(settings, 2))
    assert rebuild.target(settings) == 2
    control.activate(rebuild.version_of(settings, 2))
    assert rebuild.target(settings) == 3


def test_an_incomplete_version_is_not_switched_to(settings, monkeypatch):
    monkeypatch.setattr(rebuild, "_LOAD_SECONDS", 1.0)
    topics.create(settings)
    with pytest.raises(rebuild.RebuildError, match="has no topics"):
        rebuild.switch(rebuild.version_of(settings, 2))
    topics.create(rebuild.version_of(settings, 2))
    with pytest.raises(rebuild.RebuildError, match=r"not complete: .*2 of 2 partitions have not been published"):
        rebuild.switch(rebuild.version_of(settings, 2))
    rebuild.switch(rebuild.version_of(settings, 2), force=True)
    assert rebuild.active_version(settings) == 2


def test_caught_up_means_all_that_was_there_a_moment_ago():
    progress = RebuildProgress()

    def look(committed: int | None, end: int, now: float) -> bool:
        progress.look([Behind("crm.deal-won", 0, committed, 0, end)], now)
        return progress.caught_up

    assert not look(None, 100, 0)
    assert not look(60, 110, 1)
    assert not look(100, 200, 30)  # reached what was there half a minute ago: a new goal of 200
    assert not look(190, 210, 31)
    assert look(200, 220, 32)
    assert progress.first == {0: 100}
    assert progress.left == {0: 20}


def test_nothing_to_read_is_caught_up_at_the_second_look():
    progress = RebuildProgress()
    for now in (0, 1):
        progress.look([Behind("crm.deal-won", 0, None, 0, 0)], now)
    assert progress.caught_up
