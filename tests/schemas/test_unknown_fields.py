"""Unknown fields change nothing, but are named: a misspelt one means that something is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from salesgauge.schemas.codec import Rejection, read_batch, unknown_fields
from salesgauge.streams.cli.convert import convert_command
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


def test_a_strict_replay_fails_and_names_and_counts_them(tmp_path: Any) -> None:
    path = tmp_path / "events.jsonl"
    events = [WON | {"rep": "x"}, WON | {"event_id": "2", "rep": "x", "sorce": "y"}, CREATED | {"event_id": "3"}]
    path.write_text("".join(json.dumps(one) + "\n" for one in events))
    command = ["--events", str(path), "--kpi", "new_leads", "--json"]
    result = CliRunner().invoke(replay_command, [*command, "--strict"])
    assert result.exit_code == 1
    assert "no event of the kind has: deal_won.rep (2), deal_won.sorce (1) (--strict)" in result.stderr
    assert json.loads(result.stdout)["events"] == 3
    path.write_text(json.dumps(CREATED) + "\n" + json.dumps(WON | {"event_id": "2"}) + "\n")
    assert CliRunner().invoke(replay_command, [*command, "--strict"]).exit_code == 0
    path.write_text(json.dumps(CREATED) + "\n" + json.dumps(WON | {"event_id": ""}) + "\n")
    assert CliRunner().invoke(replay_command, command).exit_code == 0
    rejected = CliRunner().invoke(replay_command, [*command, "--strict"])
    assert (rejected.exit_code, "1 records were rejected (--strict)" in rejected.stderr) == (1, True)


def test_a_strict_conversion_looks_into_lines(tmp_path: Any) -> None:
    (tmp_path / "deals.csv").write_text("id,day\nd1,2026-01-01\nd2,2026-01-02\n")
    (tmp_path / "deals.yaml").write_text(
        "inputs:\n  deals: deals.csv\nevents:\n  - event: deal_won\n    sql: |\n"
        "      SELECT id AS deal_id, day AS occurred_at, [{'product': 'p', 'unit_price': 5, 'qty': 2}] AS lines\n"
        "      FROM deals\n"
    )
    command = [str(tmp_path / "deals.yaml"), "--out", str(tmp_path / "events.jsonl")]
    lenient = CliRunner().invoke(convert_command, command)
    assert (lenient.exit_code, "deal_won.lines.qty (2); they are ignored" in lenient.stderr) == (0, True)
    strict = CliRunner().invoke(convert_command, [*command, "--strict"])
    assert (strict.exit_code, "deal_won.lines.qty (2) (--strict)" in strict.stderr) == (1, True)
