"""Outputs of a replay register themselves: the example of docs/adding-a-replay-output.md is one file."""

from __future__ import annotations

import csv
import importlib
import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from salesgauge.streams.cli import replay as command
from salesgauge.streams.replay import sinks
from salesgauge.streams.replay.sinks import Sink, SinkOption, sink_types

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-replay-output.md"
EVENT = {"event": "lead_created", "event_id": "1", "lead_id": "1", "occurred_at": "2026-03-01T00:00:00Z"}


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The command of an installation that has the sink of the page."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    folder = tmp_path / "sinks"
    folder.mkdir()
    (folder / "csv_file.py").write_text(code)
    monkeypatch.setattr(sinks, "__path__", [*sinks.__path__, str(folder)])
    monkeypatch.chdir(tmp_path)
    Path("events.jsonl").write_text(json.dumps(EVENT) + "\n")
    sink_types.cache_clear()
    yield importlib.reload(command)
    monkeypatch.undo()
    sys.modules.pop(f"{sinks.__name__}.csv_file", None)
    sink_types.cache_clear()
    importlib.reload(command)


def test_the_example_of_the_page_is_an_output(added: ModuleType) -> None:
    run = CliRunner().invoke
    assert "Write readings as CSV." in run(added.replay_command, ["--help"]).stdout
    done = run(added.replay_command, ["events.jsonl", "--csv", "out.csv", "--step", "1h", "--kpi", "new_leads"])
    assert done.exit_code == 0, done.stderr
    rows = list(csv.DictReader(Path("out.csv").read_text(encoding="utf-8").splitlines()))
    assert {"at": "2026-03-01T00:00:00Z", "kpi": "new_leads", "window": "all", "labels": "", "stat": "value",
            "value": "1.0"} in rows  # fmt: skip


def test_it_is_kept_from_its_input(added: ModuleType) -> None:
    before = Path("events.jsonl").read_text()
    refused = CliRunner().invoke(added.replay_command, ["events.jsonl", "--csv", "./events.jsonl"])
    assert (refused.exit_code, "which is read" in refused.stderr) == (2, True)
    assert Path("events.jsonl").read_text() == before


def test_those_that_are_shipped() -> None:
    flags = [sink.option.flag for sink in sink_types()]
    assert flags == ["--json", "--openmetrics", "--parquet", "--remote-write", "--tsdb"]


def test_a_sink_without_an_option_is_told_with_a_sentence() -> None:
    with pytest.raises(TypeError, match="the sink Forgotten needs `option = SinkOption"):
        type("Forgotten", (Sink,), {"open": lambda _: nullcontext()})


def test_an_option_of_two_sinks_is_told(added: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_types()[0], "option", SinkOption("--tsdb", ""))
    sink_types.cache_clear()
    with pytest.raises(TypeError, match="two sinks have the option --tsdb"):
        sink_types()
