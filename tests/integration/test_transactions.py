"""Producers with transactions and with wrong clocks, on Apache Kafka: what was taken back never happened."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from kafka.admin import ConfigResource, ConfigResourceType

from salesgauge.streams.cli.main import cli
from salesgauge.streams.kafka import topics
from salesgauge.streams.kafka.lag import LagReader
from salesgauge.streams.operate.rebuild import RebuildProgress
from salesgauge.streams.replay.event_topics import EventTopics
from tests.support.live import Live
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.kafka, pytest.mark.timeout(150)]


def produce(bootstrap: str, topic: str, payloads: list[dict[str, Any]], stamp: int = 0) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    send(producer, topic, payloads, stamp)


def send(producer: Any, topic: str, payloads: list[dict[str, Any]], stamp: int = 0) -> None:
    for fields in payloads:
        producer.produce(topic, json.dumps(fields).encode(), key=fields["lead_id"], timestamp=stamp)
    assert producer.flush(30) == 0


def leads(prefix: str, count: int) -> list[dict[str, Any]]:
    at = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    return [
        {"event": "lead_created", "event_id": f"{prefix}{n}", "lead_id": f"{prefix}{n}", "occurred_at": at}
        for n in range(count)
    ]


def in_transactions(bootstrap: str, steps: list[tuple[str, int, bool]]) -> Any:
    """Each step is a transaction: its leads' prefix and number, and whether it is committed."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "crm-sync"})
    producer.init_transactions()
    for prefix, count, commit in steps:
        producer.begin_transaction()
        send(producer, "crm.lead-created", leads(prefix, count))
        producer.commit_transaction() if commit else producer.abort_transaction()
    return producer


def behind(live: Live) -> int:
    with LagReader(live.settings) as reader:
        return sum(one.records for one in reader.read())


def shown(live: Live, kpi: str = "new_leads", **labels: str) -> float | None:
    with live.exporter() as exporter:
        until(lambda: exporter.health().ready, 30, "the exporter is ready")
        readings = [one for one in exporter.board.readings() if (one.kpi, one.window) == (kpi, "all")]
    return next((one.value for one in readings if one.labels == labels and one.stat == "value"), None)


def test_aborted_transactions_never_happened(own_kafka: Callable[..., Any], tmp_path: Path) -> None:
    """They are neither counted, nor lag, nor loss; a rebuild catches up over their marks, and so does a replay."""
    with Live(own_kafka().bootstrap, tmp_path) as live:
        live.scale(2)
        live.until_shared()
        in_transactions(live.bootstrap, [("taken-back-", 7, False), ("real-", 5, True), ("taken-back-", 3, False)])
        until(lambda: behind(live) == 0, 30, "nothing is behind: marks are no lag", every=0.2)
        until(
            lambda: sum(worker.metric("salesgauge_lag_records") for worker in live.running) == 0, 10, "no lag is shown"
        )
        assert shown(live) == 5

        open_one = in_transactions(live.bootstrap, [("more-", 2, True)])
        open_one.begin_transaction()
        send(open_one, "crm.lead-created", leads("undecided-", 4))
        until(lambda: behind(live) == 0, 30, "what is undecided is no lag", every=0.2)
        assert shown(live) == 7
        open_one.commit_transaction()
        until(lambda: behind(live) == 0, 30, "all is read", every=0.2)
        assert shown(live) == 11
        assert not any("are gone" in worker.log.read_text() for worker in live.workers)

        progress = RebuildProgress()
        with LagReader(live.settings) as reader:
            for now in (0.0, 1.0):
                progress.look(reader.read(), now)
        assert progress.caught_up

        source = EventTopics(live.settings.kafka)
        records = [record for record in source.records() if record.origin.startswith("crm.lead-created")]
        assert len(records) == 11
        assert source.warnings == []


def test_timestamps_in_another_unit_hide_nothing(own_kafka: Callable[..., Any], tmp_path: Path) -> None:
    """Records with microseconds: what comes after them in their partition is known when it came."""
    with Live(own_kafka().bootstrap, tmp_path) as live:
        lenient = {"message.timestamp.after.max.ms": str(2**63 - 1)}  # as brokers before 3.6 are
        live.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "crm.lead-assigned", configs=lenient)])
        live.scale(1)
        live.until_shared()
        at = datetime.now(UTC) - timedelta(minutes=5)
        created = [fields | {"occurred_at": at.isoformat()} for fields in leads("lead-", 5)]
        produce(live.bootstrap, "crm.lead-created", created)
        call = {"event": "activity_logged", "event_id": "c", "lead_id": "other", "kind": "call"}
        produce(live.bootstrap, "crm.activity-logged", [call | {"occurred_at": at.isoformat()}])
        for rep, stamp, seconds in (("ann", int(time.time() * 1e6), 60), ("bob", 0, 120)):
            when = (at + timedelta(seconds=seconds)).isoformat()
            assigned = [
                {**fields, "event": "lead_assigned", "event_id": f"{rep}{n}", "rep_id": rep, "occurred_at": when}
                for n, fields in enumerate(created)
            ]
            produce(live.bootstrap, "crm.lead-assigned", assigned, stamp)
        until(lambda: behind(live) == 0, 30, "all is processed", every=0.2)
        assert shown(live, "leads_waiting", rep="bob") == 5

        for how in ("--as-known", "--corrected"):
            result = CliRunner().invoke(cli, [
                "replay", "--topics", "--bootstrap", live.bootstrap, "--at", datetime.now(UTC).isoformat(), how,
                "--kpi", "leads_waiting", "--breakdown", "rep", "--window", "all", "--json",
            ])  # fmt: skip
            assert result.exit_code == 0, result.stderr
            rows = [row for row in json.loads(result.stdout)["readings"] if row["stat"] == "value"]
            assert {row["labels"]["rep"]: row["value"] for row in rows} == {"bob": 5}
            assert "timestamps ahead of the clock" in result.stderr


def test_settings_that_eat_history_are_found(own_kafka: Callable[..., Any], tmp_path: Path) -> None:
    with Live(own_kafka().bootstrap, tmp_path) as live:
        for topic, config in (
            ("crm.deal-won", {"cleanup.policy": "compact"}),
            ("crm.deal-lost", {"cleanup.policy": "compact,delete"}),
            ("crm.lead-created", {"retention.ms": "604800000"}),
            ("crm.lead-merged", {"retention.bytes": "1000000"}),
            (live.settings.dead_letter_topic, {"retention.ms": "86400000"}),
        ):
            live.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=config)])
        until(lambda: len(topics.check(live.settings)) == 5, 20, "all five are found")
        found = {finding.topic: finding for finding in topics.check(live.settings)}
        assert {topic for topic, finding in found.items() if finding.fatal} == {"crm.deal-won", "crm.deal-lost"}
        assert "only the last stays" in found["crm.deal-won"].problem
        assert "keeps 7 days only" in found["crm.lead-created"].problem
        assert "keeps 1,000,000 bytes a partition only" in found["crm.lead-merged"].problem
        assert "--add-config cleanup.policy=delete" in found["crm.deal-lost"].remedy
        result = CliRunner().invoke(cli, ["topics", "check", "--bootstrap", live.bootstrap])
        assert result.exit_code != 0
