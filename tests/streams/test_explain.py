"""`salesgauge explain` and `salesgauge.explain`: the records of a number, from files."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

import salesgauge
from salesgauge.schemas.codec import encode
from salesgauge.streams.cli.main import cli
from salesgauge.streams.simulation.history import Organisation, history

if TYPE_CHECKING:
    from pathlib import Path

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def explain(*args: object, **env: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *map(str, args)], env=env)


def document(*args: object, **env: str) -> dict[str, Any]:
    result = explain(*args, "--json", "-q", **env)
    assert result.exit_code == 0, result.stderr
    return dict(json.loads(result.stdout, parse_float=Decimal))


def event(name: str, number: int, at: str, **fields: object) -> bytes:
    return json.dumps({"event": name, "event_id": f"e{number}", "occurred_at": at, **fields}).encode() + b"\n"


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("month") / "events.jsonl"
    organisation = Organisation(seed=7, leads_per_day=15, reps=6)
    path.write_bytes(b"".join(encode(e) + b"\n" for e in history(organisation, MONDAY, MONDAY + timedelta(days=20))))
    return path


def test_every_number_of_a_replay_is_explained(month: Path) -> None:
    """By the library and by the command, with and without labels, each the same number that a replay shows."""
    [snapshot] = salesgauge.replay(
        month, kpis=["sales_revenue", "close_ratio", "lead_response_seconds"], windows=["7d"]
    )
    wanted = [r for r in snapshot.readings if r.stat in ("value", "p50") and r.value]
    assert {len(r.labels) for r in wanted} == {0, 1}
    for reading in wanted[::4][:6]:
        found = salesgauge.explain(
            month, reading.kpi, reading.window, labels=reading.labels, limit=None, with_events=False
        )
        assert (found.value, found.numerator) == (reading.value, reading.numerator)
        assert found.count == len(found.records) > 0
        for part, total in found.parts.items():
            assert sum(record.adds.get(part, Decimal(0)) for record in found.records) == total


def test_records_are_named_with_the_events_behind_them(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        event("lead_created", 1, "2026-03-02T09:00:00Z", lead_id="a b/1", rep_id="r1", source="web")
        + event("activity_logged", 2, "2026-03-02T09:04:00Z", lead_id="a b/1", kind="call", direction="outbound")
        + event("activity_logged", 3, "2026-03-02T09:30:00Z", lead_id="a b/1", kind="call", direction="outbound")
        + event("lead_created", 4, "2026-03-02T09:10:00Z", lead_id="l2", rep_id="r1", source="web")
        + event("activity_logged", 5, "2026-03-02T09:20:00Z", lead_id="l2", kind="call", direction="outbound")
    )
    links = json.dumps({"lead": "https://crm.example/leads/{id}"})
    found = document("lead_response_seconds", path, "--window", "24h", "--rep", "r1", SALESGAUGE_LINKS=links)
    first, second = found["entities"]
    assert (first["kind"], first["key"], first["samples"]) == ("lead", "l2", {"response": [600]})
    assert (second["key"], second["samples"]) == ("a b/1", {"response": [240]})
    assert second["link"] == "https://crm.example/leads/a%20b%2F1"
    assert [fact["event_id"] for fact in second["facts"]] == ["e1", "e2"]  # the later call changes nothing
    assert [(fact["event"], fact["at"]) for fact in first["facts"]] == [
        ("lead_created", "2026-03-02T09:10:00Z"), ("activity_logged", "2026-03-02T09:20:00Z"),
    ]  # fmt: skip
    assert found["labels"] == {"rep": "r1"}
    [part] = found["parts"]
    assert (part["name"], part["total"]) == ("count(response(W))", 2)


def test_an_event_that_is_told_twice_is_named_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    twice = {"lead_id": "l", "source": "web"}
    path.write_bytes(b"".join(event("lead_created", number, "2026-03-02T09:00:00Z", **twice) for number in (1, 2)))
    [lead] = document("new_leads", path, "--window", "24h")["entities"]
    assert [fact["event_id"] for fact in lead["facts"]] == ["e1", "e2"]


def test_who_waits_is_told_since_when(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        event("lead_created", 1, "2026-03-02T09:00:00Z", lead_id="old")
        + event("rep_joined", 9, "2026-03-02T08:00:00Z", rep_id="r", team="t")
        + event("lead_created", 2, "2026-03-02T09:30:00Z", lead_id="new")
        + event("activity_logged", 3, "2026-03-01T09:30:00Z", lead_id="answered", kind="call")
    )
    found = document("lead_oldest_wait_seconds", path, "--stat", "around_the_clock", "--at", "2026-03-02T10:00:00Z")
    assert [(e["key"], e["waits"]["waiting_since"]) for e in found["entities"]] == [
        ("old", [{"since": "2026-03-02T09:00:00Z", "seconds": 3600}]),
        ("new", [{"since": "2026-03-02T09:30:00Z", "seconds": 1800}]),
    ]
    assert found["value"] == 3600


def test_what_is_not_connected_has_no_explanation(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(event("deal_won", 1, "2026-03-02T09:00:00Z", deal_id="d", amount=1))
    result = explain("win_ratio", path, "--window", "30d")
    assert result.exit_code == 2
    assert "win_ratio has no value: it is not connected, as there was no deal_lost" in result.stderr


def test_a_part_of_a_ratio_and_a_limit(month: Path) -> None:
    whole = document("close_ratio", month, "--window", "30d", "--limit", "0", "--no-facts")
    won = document("close_ratio", month, "--window", "30d", "--part", "numerator", "--limit", "2")
    assert (won["value"], won["numerator"]) == (whole["value"], whole["numerator"])
    assert won["count"] == won["numerator"] < whole["count"] == len(whole["entities"])
    assert len(won["entities"]) == 2
    assert all(entity["adds"]["deals_won(W)"] == 1 for entity in won["entities"])


def test_a_table_for_people_and_one_for_spreadsheets(month: Path, tmp_path: Path) -> None:
    shown = explain("sales_revenue", month, "--window", "30d", "--limit", "2", "-q")
    assert shown.exit_code == 0
    assert "deal_won" in shown.stdout
    assert "2 of " in shown.stdout
    rows = list(csv.DictReader(io.StringIO(explain("sales_revenue", month, "--window", "30d", "-q", "--csv").stdout)))
    total = document("sales_revenue", month, "--window", "30d")["value"]
    assert sum(Decimal(row["revenue(W)"]) for row in rows) == total > 0
    path = tmp_path / "formula.jsonl"
    path.write_bytes(event("lead_created", 1, "2026-03-02T09:00:00Z", lead_id="=cmd"))
    assert "'=cmd" in explain("new_leads", path, "--window", "24h", "--csv", "-q").stdout


def test_from_a_pipe_the_ids_of_events_stay_unknown() -> None:
    line = event("lead_created", 1, "2026-03-02T09:00:00Z", lead_id="l")
    arguments = ["explain", "new_leads", "--events", "-", "--window", "24h", "--json", "-q"]
    found = json.loads(CliRunner().invoke(cli, arguments, input=line).stdout)
    [fact] = found["entities"][0]["facts"]
    assert (fact["event"], fact["event_id"]) == ("lead_created", None)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["new_lead", "--window", "7d"], "did you mean new_leads"),
        (["new_leads"], "say which window of new_leads: 1h, 24h"),
        (["new_leads", "--window", "8d"], "there is no window of new_leads called '8d'"),
        (["new_leads", "--window", "7d", "--stat", "p50"], "there is no number of new_leads called 'p50'"),
        (["new_leads", "--window", "7d", "--part", "numerator"], "new_leads value is no quotient"),
        (["mrr", "--rep", "r1"], "mrr is not kept by rep; ask for the whole"),
        (["new_leads", "--window", "7d", "--label", "colour=red"], "not kept by colour; name one of: source"),
        (["new_leads", "--window", "7d", "--label", "red"], "write it as NAME=VALUE"),
        (["new_leads", "--window", "7d", "--at", "soon"], "is no time such as"),
    ],
)
def test_what_is_wrong_is_said(month: Path, args: list[str], said: str) -> None:
    result = explain(*args, month)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_without_a_valid_event_there_is_nothing_to_explain(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text("junk\n")
    result = explain("new_leads", tmp_path / "e.jsonl", "--window", "7d")
    assert result.exit_code == 2
    assert "no valid event" in result.stderr
    with pytest.raises(salesgauge.InputError, match="no valid event"):
        salesgauge.explain(tmp_path / "e.jsonl", "new_leads", "7d")


def test_links_are_checked() -> None:
    for links, said in (
        ({"lead": "https://x.example/"}, "{id}"),
        ({"task": "https://x.example/{id}"}, "no kind of record"),
    ):
        result = explain("new_leads", "--events", "-", "--window", "7d", SALESGAUGE_LINKS=json.dumps(links))
        assert result.exit_code == 2
        assert said in result.stderr
