"""Unknown fields change nothing, but are named: a misspelt one means that something is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from salesgauge.schemas.codec import Rejection, read_batch, unknown_fields
from salesgauge.streams.cli.replay import replay_command
from tests.streams.test_worker import Pair

WON = {"event": "deal_won", "event_id": "1", "occurred_at": "2026-01-01T00:00:00Z", "deal_id": "d"}
CREATED = {"event": "lead_created", "event_id": "1", "occurred_at": "2026-01-01T00:00:00Z", "lead_id": "l"}
JOINED = {"event": "rep_joined", "event_id": "1", "occurred_at": "2026-01-01T00:00:00Z", "rep_id": "r"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (WON, []),
        (WON | {"rep": "x", "sorce": "y"}, ["rep", "sorce"]),
        (WON | {"lines": [{"product": "p", "unit_price": 1, "prodct": 2}]}, ["lines.prodct"]),
        (CREATED | {"sorce": "x"}, ["sorce"]),
        (CREATED | {"source": "x", "campaign_id": None}, []),
        (JOINED | {"name": "Ada"}, []),
    ],
)
def test_unknown_fields_are_named(payload: dict[str, Any], expected: list[str]) -> None:
    packed = json.dumps(payload).encode()
    [event] = read_batch([packed])
    assert not isinstance(event, Rejection)
    assert unknown_fields(packed, event) == expected


def test_a_replay_warns_of_them(tmp_path: Any) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(json.dumps(WON | {"rep": "x"}) + "\n")
    result = CliRunner().invoke(replay_command, ["--events", str(path), "--kpi", "deals_won"])
    assert result.exit_code == 0, result.output
    assert "deal_won.rep (1)" in result.output


def test_a_worker_counts_them_and_names_each_once(caplog: pytest.LogCaptureFixture) -> None:
    pair = Pair()
    for number in range(3):
        pair.give(0, event="lead_created", event_id=f"e{number}", lead_id="l", sorce="web")
    found = [sample for metric in pair.worker.metrics.registry.collect() for sample in metric.samples]
    [count] = [sample for sample in found if sample.name == "salesgauge_unknown_fields_total"]
    assert (count.labels, count.value) == ({"event": "lead_created", "field": "sorce"}, 3)
    assert sum("sorce" in record.message for record in caplog.records) == 1
