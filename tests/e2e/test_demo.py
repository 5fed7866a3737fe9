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

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("embedded_kafka")]


@pytest.fixture
def demo(tmp_path):
    log = (tmp_path / "demo.log").open("w+")
    command = [sys.executable, "-m", "salesgauge", "demo", "--port", "0", "--days", "12"]
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


def test_the_demo_shows_live_numbers_and_ends_cleanly(demo):
    process, said = demo
    until(lambda: re.search(r"board\s+(http://\S+)/", said()) or process.poll() is not None, 60, "the addresses")
    match = re.search(r"board\s+(http://\S+)/", said())
    assert match, said()
    base = match[1]
    until(lambda: get(f"{base}/readyz")[0] == 200, 60, "readiness")
    until(lambda: "crm_leads_waiting{" in get(f"{base}/metrics")[1], 30, "a gauge")

    def events():
        return json.loads(get(f"{base}/api/kpis")[1])["events"]

    until(lambda: events() > 1000, 60, "the simulated past")
    before = events()
    until(lambda: events() > before, 60, "events that keep coming")
    assert get(f"{base}/healthz")[0] == 200
    assert "<html" in get(f"{base}/")[1]
    assert json.loads(get(f"{base}/api/board?window=7d")[1])["waiting"]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0, said()
    assert "Traceback" not in said()
    assert re.search(r"first readings after \d", said()) or "board" in said()


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
