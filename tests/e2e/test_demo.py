"""`salesgauge demo` as a newcomer runs it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.support.wait import until

REP = "Petra Lindqvist"

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("embedded_kafka")]


@pytest.fixture
def demo(tmp_path):
    log = (tmp_path / "demo.log").open("w+")
    command = [sys.executable, "-m", "salesgauge", "demo", "--port", "0", "--days", "6", "--pace", "600"]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)

    def said():
        log.seek(0)
        return log.read()

    yield process, said
    if process.poll() is None:
        process.kill()
        process.wait()
    log.close()


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_demo_tells_a_story_that_terminal_board_and_metrics_agree_on(demo):
    process, said = demo
    until(lambda: re.search(r"board\s+(http://\S+)/", said()) or process.poll() is not None, 60, "the addresses")
    match = re.search(r"board\s+(http://\S+)/", said())
    assert match, said()
    base = match[1]
    until(lambda: get(f"{base}/readyz")[0] == 200, 60, "readiness")
    assert get(f"{base}/healthz")[0] == 200
    assert "<html" in get(f"{base}/")[1]

    def board():
        return json.loads(get(f"{base}/api/board?window=24h")[1])

    def petra():
        return [item for item in board()["firing"] if item.get("labels") == {"rep": REP}]

    until(lambda: f"{REP}, who leads SMB, goes home ill" in said(), 90, "the first step")
    until(petra, 30, "the alert on the board", every=0.1)
    until(lambda: re.search(rf"ALERT \(\w+\): .*, {REP}: ", said()), 30, "the alert in the terminal")
    metrics = get(f"{base}/metrics")[1]
    assert re.search(rf'^crm_leads_waiting_late_by_rep{{.*rep="{REP}".*}} [2-9]', metrics, re.MULTILINE)
    until(lambda: f"takes over the leads of {REP}" in said(), 60, "the last step but one")
    until(lambda: f"over: Leads wait past the SLA, {REP}" in said(), 30, "the end of the alert")
    until(lambda: not petra(), 30, "an empty list on the board")
    sla = next(kpi for kpi in board()["kpis"] if kpi["id"] == "lead_response_sla_ratio")
    assert 0.7 < sla["value"] < 0.95
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0, said()
    assert "Traceback" not in said()


@pytest.mark.kafka
def test_the_demo_runs_on_apache_kafka(apache_kafka):
    from tests.support.kafka import JARS

    command = [sys.executable, "-m", "salesgauge", "demo", "--port", "0", "--days", "3", "--for", "60"]
    command += ["--broker", "kafka", "--kafka-libs", str(JARS)]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=150)
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    assert "Apache Kafka at 127.0.0.1:" in said
    assert re.search(r"board\s+http://", said)
    assert "Traceback" not in said
