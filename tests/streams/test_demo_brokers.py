"""The brokers of the demo are confined: the loopback, a temporary folder, none of our variables; they leave nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from salesgauge.streams.kafka.apache import ApacheBroker, ApacheKafkaUnavailable
from salesgauge.streams.kafka.embedded import EmbeddedBroker
from salesgauge.streams.kafka.probe import Who, probe
from tests.support.kafka import JARS

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "SALESGAUGE_WEB__TOKEN"


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedBroker | ApacheBroker]:
    """Each of them, started by a process with secrets in its variables."""
    request.getfixturevalue("embedded_kafka" if request.param == "embedded" else "apache_kafka")
    monkeypatch.setenv(SECRET, "secret")
    with EmbeddedBroker() if request.param == "embedded" else ApacheBroker(JARS) as running:
        yield running


def test_a_broker_is_confined(broker: EmbeddedBroker | ApacheBroker) -> None:
    assert broker._process is not None
    process = psutil.Process(broker._process.pid)
    listening = [one.laddr.ip for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    folder = Path(process.cwd())
    assert folder.is_relative_to(tempfile.gettempdir())
    assert SECRET in os.environ
    assert not any(name.startswith("SALESGAUGE") for name in process.environ())
    assert probe(broker.bootstrap).who is Who.KAFKA
    broker.stop()
    assert not process.is_running()
    assert not folder.exists()
    broker.stop()


def test_missing_jars_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ApacheKafkaUnavailable, match=r"no jars of Apache Kafka in .*--kafka-libs"):
        ApacheBroker(tmp_path).start()
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n", encoding="utf-8")
    with pytest.raises(ApacheKafkaUnavailable, match="too old"):
        ApacheBroker(tmp_path).start()
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ApacheKafkaUnavailable, match="java is missing"):
        ApacheBroker(tmp_path).start()
