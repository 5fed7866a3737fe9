"""`import salesgauge`: light, typed, and as docs/as-a-library.md says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import assert_type

import pytest
from click.testing import CliRunner

import salesgauge
from salesgauge import events
from salesgauge.events import LeadCreated
from salesgauge.streams.cli.main import cli
from salesgauge.streams.replay.selection import select
from salesgauge.streams.simulation.history import Organisation, history

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "as-a-library.md"
START = datetime(2026, 3, 2, tzinfo=UTC)


def lead(number: int, at: datetime = START, **fields: object) -> dict[str, object]:
    return {"event": "lead_created", "event_id": str(number), "lead_id": str(number), "occurred_at": at, **fields}


def loaded(code: str) -> set[str]:
    """The modules that a program has loaded in the end."""
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_what_the_page_says_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(\w+)(?: (\S+))?\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for _, name, content in blocks:
        if name:
            Path(name).write_text(content)
    code = [content for kind, name, content in blocks if kind == "python"]
    assert len(code) >= 6
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block, str(PAGE), "exec"), names)


def test_importing_it_loads_next_to_nothing():
    heavy = {"pydantic", "msgspec", "duckdb", "faust", "kafka", "aiokafka", "click", "rich", "aiohttp"}
    assert not heavy & loaded("import salesgauge; dir(salesgauge)")
    assert not (heavy - {"pydantic", "msgspec"}) & loaded("import salesgauge; salesgauge.replay, salesgauge.convert")


def test_all_that_is_offered_is_there_and_listed():
    for name in salesgauge.__all__:
        assert getattr(salesgauge, name) is not None
    assert set(salesgauge.__all__) <= set(dir(salesgauge))
    assert salesgauge.events is events
    assert set(events.__all__) >= {model.__name__ for model in events.EVENT_TYPES}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = salesgauge.nothing  # type: ignore[attr-defined]


def test_type_checkers_see_it(tmp_path):
    (tmp_path / "e.jsonl").write_text(json.dumps(lead(1), default=str))
    engine = salesgauge.Engine()
    assert_type(engine.now, datetime)
    assert_type(engine.apply([]), list[salesgauge.Rejection | None])
    assert_type(engine.readings(), list[salesgauge.Reading])
    for snapshot in salesgauge.replay(tmp_path / "e.jsonl"):
        assert_type(snapshot, salesgauge.Snapshot)
        assert_type(snapshot.value("new_leads", "all"), float | None)
    assert_type(LeadCreated(event_id="1", lead_id="1", occurred_at=START).lead_id, str)


def test_a_replay_says_what_the_command_says(tmp_path):
    path = tmp_path / "events.jsonl"
    happened = history(Organisation(seed=5, leads_per_day=30, reps=6), START, START + timedelta(days=4))
    path.write_text("".join(event.model_dump_json(exclude_none=True) + "\n" for event in happened) + "junk\n")
    asked = ["--from", "2026-03-04T00:00Z", "--to", "2026-03-05T00:00Z", "--step", "12h", "--json", "-q"]
    said = CliRunner().invoke(cli, ["replay", str(path), *asked])
    documents = [json.loads(line) for line in said.stdout.splitlines()]
    snapshots = list(
        salesgauge.replay(
            path, start=START + timedelta(days=2), end=START + timedelta(days=3), step=timedelta(hours=12)
        )
    )
    assert len(snapshots) == len(documents) == 3
    for snapshot, document in zip(snapshots, documents, strict=True):
        assert snapshot.at == datetime.fromisoformat(document["at"])
        assert (snapshot.events, snapshot.rejected) == (document["events"], document["rejected"])
        assert [{**row, "at": None} for row in snapshot.rows()] == [{"at": None, **row} for row in document["readings"]]


def test_an_engine_says_what_a_replay_says(tmp_path):
    happened = list(history(Organisation(seed=6, leads_per_day=20, reps=6), START, START + timedelta(days=3)))
    path = tmp_path / "events.jsonl"
    path.write_text("".join(event.model_dump_json(exclude_none=True) + "\n" for event in happened))
    end = START + timedelta(days=3)
    [snapshot] = salesgauge.replay([path], at=end)
    engine = salesgauge.Engine()
    engine.advance(end)
    assert not any(engine.apply(happened))
    assert (engine.now, engine.events) == (end, snapshot.events)
    assert tuple(engine.readings()) == snapshot.readings


def test_events_are_models_fields_or_json():
    engine = salesgauge.Engine(kpis=["new_leads"], windows=["all"])
    engine.advance(START)
    results = engine.apply([
        LeadCreated(event_id="1", lead_id="1", occurred_at=START), {"event": "x"}, lead(2),
        json.dumps(lead(3), default=str), b"[]", json.dumps(lead(4), default=str).encode(),
        lead(5, START + timedelta(hours=1)),
    ])  # fmt: skip
    assert [result and result.reason for result in results] == [
        None, "unknown_event", None, None, "not_an_object", None, "future",
    ]  # fmt: skip
    [total] = [reading for reading in engine.readings() if not reading.labels]
    assert total.value == 4


def test_times_have_a_zone_and_go_forward(tmp_path):
    (tmp_path / "e.jsonl").write_text(json.dumps(lead(1), default=str))
    engine = salesgauge.Engine()
    engine.advance(datetime(2026, 3, 2, 9, tzinfo=timezone(timedelta(hours=9))))
    assert engine.now == START
    naive = datetime(2026, 3, 3)  # noqa: DTZ001 - the point
    for wrong in (lambda: engine.advance(naive), lambda: salesgauge.replay(tmp_path / "e.jsonl", at=naive)):
        with pytest.raises(salesgauge.InputError, match="has no time zone"):
            wrong()
    with pytest.raises(salesgauge.InputError, match="cannot go back"):
        engine.advance(START - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"kpis": ["new_lead"]}, "did you mean new_leads"),
        ({"at": START, "step": timedelta(hours=1)}, "at is one instant"),
        ({"step": timedelta(0)}, "at least a millisecond"),
    ],
)
def test_what_is_wrong_is_told_at_once(tmp_path, asked, said):
    (tmp_path / "e.jsonl").write_text("")
    with pytest.raises(salesgauge.InputError, match=said):
        salesgauge.replay(tmp_path / "e.jsonl", **asked)
    with pytest.raises(salesgauge.InputError, match="does not exist"):
        salesgauge.replay(tmp_path / "none.jsonl")


def test_nothing_valid_is_no_snapshot(tmp_path):
    (tmp_path / "e.jsonl").write_text("junk\n")
    refused: list[salesgauge.Reject] = []
    assert list(salesgauge.replay(tmp_path / "e.jsonl", on_reject=refused.append)) == []
    assert [one.payload for one in refused] == ["junk"]


def test_a_choice_is_computed_alone():
    engine = salesgauge.Engine(kpis=["new_leads"], windows=["24h"], breakdowns=["none"])
    assert [kpi.id for kpi in select(["new_leads"]).kpis] == ["new_leads"]
    engine.advance(START)
    engine.apply([lead(1)])
    assert [(one.kpi, one.window, dict(one.labels)) for one in engine.readings()] == [("new_leads", "24h", {})]
