"""No command writes over what it reads, however the file is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from salesgauge.streams.cli.main import cli

ROOT = Path(__file__).parents[2]
EVENT = {"event": "lead_created", "event_id": "1", "lead_id": "1", "occurred_at": "2026-03-01T00:00:00Z"}
SQL = "SELECT id AS lead_id, id AS event_id, created AS occurred_at FROM leads"
MAPPING = {"inputs": {"leads": "leads.csv"}, "events": [{"event": "lead_created", "sql": SQL}]}

COMMANDS = {
    "replay --parquet": "replay --events events.jsonl --config settings.yaml --parquet {}",
    "replay --openmetrics": "replay events.jsonl --config settings.yaml --openmetrics {}",
    "replay --rejects": "replay --events ev*.jsonl --config settings.yaml --rejects {}",
    "replay --resume": "replay events.jsonl --step 1h --remote-write http://127.0.0.1:1 --token-file token --resume {}",
    "publish --rejects": "publish events.jsonl --config settings.yaml --bootstrap 127.0.0.1:1 --rejects {}",
    "convert --out": "convert m.yaml --config settings.yaml --out {}",
    "convert --rejects": "convert m.yaml --config settings.yaml --out new.jsonl --rejects {}",
}
INPUTS = {
    "replay": ["events.jsonl", "settings.yaml", "token"],
    "publish": ["events.jsonl", "settings.yaml", "ca.pem"],
    "convert": ["m.yaml", "leads.csv", "settings.yaml"],
}
NAMES = {
    "itself": lambda name: name,
    "absolute": lambda name: str(Path(name).absolute()),
    "roundabout": lambda name: f"folder/../{name}",
    "symbolic link": lambda name: link(os.symlink, name),
    "hard link": lambda name: link(os.link, name),
}


def link(make, name: str) -> str:
    Path("link").unlink(missing_ok=True)
    make(name, "link")
    return "link"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("events.jsonl").write_text(json.dumps(EVENT) + "\n")
    Path("leads.csv").write_text("id,created\n1,2026-03-01\n")
    Path("m.yaml").write_text(json.dumps(MAPPING))
    Path("settings.yaml").write_text("kafka: {tls: {ca_file: ca.pem}}\n")
    Path("token").write_text("secret\n")
    Path("ca.pem").write_text("certificate\n")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def cases() -> list[tuple[str, str]]:
    tokens = {"replay --resume": ["events.jsonl", "token"]}
    found = []
    for name in COMMANDS:
        read = tokens.get(name, [one for one in INPUTS[name.split()[0]] if one != "token"])
        found += [(name, one) for one in read]
    return found


@pytest.mark.parametrize("how", NAMES)
@pytest.mark.parametrize(("command", "read"), cases())
def test_an_output_that_is_read_is_refused(command, read, how, folder):
    target = NAMES[how](read)
    before = contents(folder)
    result = CliRunner().invoke(cli, COMMANDS[command].format(target).split())
    assert result.exit_code in (1, 2)
    assert "which is read; name another file" in result.stderr
    assert contents(folder) == before


@pytest.mark.parametrize("option", ["--parquet", "--openmetrics"])
def test_two_outputs_are_two_files(option, folder):
    before = contents(folder)
    result = CliRunner().invoke(cli, ["replay", "events.jsonl", "--rejects", "x", option, "./x"])
    assert (result.exit_code, "name two files" in result.stderr) == (2, True)
    assert contents(folder) == before


def test_standard_input_and_output_may_be_files(folder):
    command = [sys.executable, "-m", "salesgauge", "replay", "-q", "-"]
    for further, out in (["--parquet", "events.jsonl"], "other"), (["--json"], "events.jsonl"):
        shutil.copy("events.jsonl", "before")
        with Path("events.jsonl").open("rb") as source, Path(out).open("ab") as target:
            done = subprocess.run(
                [*command, *further], stdin=source, stdout=target, stderr=subprocess.PIPE, text=True, check=False,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        assert (done.returncode, "which is read" in done.stderr) == (2, True), done.stderr
        assert Path("events.jsonl").read_bytes() == Path("before").read_bytes()


def test_what_is_not_read_may_be_replaced(folder):
    Path("out.parquet").write_text("old")
    assert CliRunner().invoke(cli, ["replay", "events.jsonl", "--parquet", "out.parquet"]).exit_code == 0
    assert Path("out.parquet").read_bytes()[:4] == b"PAR1"
    assert CliRunner().invoke(cli, ["replay", "events.jsonl", "--rejects", "/dev/null", "--json"]).exit_code == 0
