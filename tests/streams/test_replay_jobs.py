"""Replay by several processes: what one would have said, and an end when one of them ends."""

from __future__ import annotations

import json
import os
import random
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from salesgauge.schemas.codec import encode
from salesgauge.streams.cli.replay import replay_command
from salesgauge.streams.io.records import BATCH
from salesgauge.streams.replay import parallel
from salesgauge.streams.simulation.history import Organisation, history

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 3, 2, tzinfo=UTC)


def replay(*args: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(replay_command, [str(arg) for arg in args], input=stdin)


@pytest.fixture(scope="module")
def content() -> bytes:
    """Events in no order, some twice, with what is none among them."""
    events = history(Organisation(seed=3, leads_per_day=150, reps=6), START, START + timedelta(days=10))
    lines = [encode(event) for event in events]
    lines += [*lines[::50], b"nonsense", b'{"event":"lead_sneezed"}']
    random.Random(1).shuffle(lines)
    assert len(lines) > 2 * BATCH
    return b"\n".join(lines) + b"\n"


@pytest.fixture(scope="module")
def events(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jobs") / "events.jsonl"
    path.write_bytes(content)
    return path


def rejects(path: Path) -> list[tuple[Any, ...]]:
    return sorted(tuple(map(str, json.loads(line).values())) for line in path.read_text().splitlines())


@pytest.mark.parametrize("at", [(), ("--at", "2026-03-08T12:00Z")])
def test_processes_say_what_one_process_says(events: Path, tmp_path: Path, at: tuple[str, ...]) -> None:
    one = replay(events, *at, "--json", "--rejects", tmp_path / "one")
    three = replay(events, *at, "--json", "--rejects", tmp_path / "three", "--jobs", 3)
    assert (one.exit_code, three.exit_code) == (0, 0), three.stderr
    assert json.loads(one.stdout)["rejected"] == 2
    assert three.stdout == one.stdout
    assert rejects(tmp_path / "three") == rejects(tmp_path / "one")


def test_standard_input_is_shared_out_as_well(content: bytes, events: Path) -> None:
    kpi = ("--json", "--kpi", "sales_revenue")
    assert replay("-", *kpi, "--jobs", 2, stdin=content).stdout == replay(events, *kpi).stdout


def test_what_one_process_meets_ends_all(events: Path, tmp_path: Path) -> None:
    cut = tmp_path / "events.jsonl.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00" + bytes(6))
    result = replay(cut, "--jobs", 2)
    assert result.exit_code == 2
    assert "ends too early" in result.stderr
    assert "Traceback" not in result.stderr
    assert replay(events, "--jobs", 2, "--from", "2026-03-03", "--json").exit_code == 2


def test_a_process_that_is_killed_is_told(events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = parallel.Parallel.finish

    def kill_one_and_finish(running: parallel.Parallel) -> None:
        pid = running._processes[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        finish(running)

    monkeypatch.setattr(parallel.Parallel, "finish", kill_one_and_finish)
    result = replay(events, "--jobs", 2, "--json")
    assert result.exit_code == 2
    assert "ended from outside" in result.stderr
    assert result.stdout == ""
