"""What the pages about extending say is enough: it is done as written, in a copy of the project."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from salesgauge.schemas.sources.live import Deriver
from salesgauge.schemas.sources.objects import RawRecord
from salesgauge.schemas.sources.source import load_source
from tests.support.shared import ROOT

pytestmark = pytest.mark.e2e

FOLDERS = ("salesgauge", "schemas", "metrics", "streams", "grafana", "prometheus", "docs")
EDIT = re.compile(r"^```python title=\"(?P<title>[^\n]*)\"\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(
    r"(?P<file>\S+?), (?:in `(?P<within>.*?)`, )?(?:(?P<how>after|before|instead of) `(?P<line>.*)`|at the end)"
)


@dataclass(frozen=True)
class Edit:
    """Code that a page tells to write into a file."""

    file: str
    code: str
    how: str
    line: str
    within: str

    def apply(self, root: Path) -> None:
        """Write it."""
        path = root / self.file
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(self.edited(lines)))

    def edited(self, lines: list[str]) -> list[str]:
        """The lines of the file with the code among them."""
        code = self.code.splitlines(keepends=True)
        if not self.how:
            return lines + code
        begin = next(n for n, line in enumerate(lines) if self.within in line)
        at = next(n for n, line in enumerate(lines[begin:], begin) if line.strip().startswith(self.line))
        match self.how:
            case "before":
                return lines[:at] + code + lines[at:]
            case "after":
                return lines[: at + 1] + code + lines[at + 1 :]
            case _:
                return lines[:at] + code + lines[at + 1 :]


def edits(page: str) -> list[Edit]:
    """All that a page tells to write, in its order."""
    found = []
    for block in EDIT.finditer((ROOT / "docs" / page).read_text()):
        place = PLACE.fullmatch(block["title"])
        assert place, block["title"]
        found.append(Edit(place["file"], block["code"], place["how"] or "", place["line"] or "", place["within"] or ""))
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project's code."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    return tmp_path


def run(code: str, folder: Path, told: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program that imports the copy."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        input=told,
        capture_output=True,
        text=True,
        check=False,
    )


PROGRAM = """
import json, sys
from salesgauge.metrics.engine import Machine
from salesgauge.metrics.kpis.formula import In
from salesgauge.metrics.kpis.kpi import Catalogue, Form, Kpi, Role, Unit
from salesgauge.metrics.measures.registry import MEASURES
from salesgauge.schemas.codec import read_batch

measure, at, events = json.loads(sys.stdin.read())
kpi = Kpi(
    id="added", title="Added", help="What was added.", definition="the same", formula=In(MEASURES[measure]),
    unit=Unit.COUNT, role=Role.ACCOUNT_MANAGER, form=Form.PERIOD, windows=("24h",), requires=(events[0]["event"],),
)
engine = Machine(catalogue=Catalogue((kpi,)))
engine.advance(at)
refused = engine.apply(read_batch([json.dumps(event).encode() for event in events]))
assert refused == [None] * len(events), refused
print(json.dumps([reading.value for reading in engine.readings()]))
"""


def test_a_measure_with_a_new_field_takes_four_files(copy):
    told = edits("adding-a-measure.md")
    assert len({edit.file for edit in told}) == 4
    for edit in told:
        edit.apply(copy)
    events = [
        {"event": "feedback_received", "event_id": f"e{n}", "account_id": "a", "kind": "email", "rating": n,
         "occurred_at": "2026-03-02T10:00:00Z"}
        for n in (2, 5)
    ]  # fmt: skip
    assert total(copy, events, "feedback_rating") == 7
    assert is_generated(copy, "schemas/json/feedback_received.schema.json", "rating")


def test_a_kind_of_event_takes_three_files_and_a_measure_two(copy):
    told = edits("adding-an-event.md")
    files = [edit.file for edit in told]
    assert len(set(files)) == 5
    event, rest = told[:2], told[2:]
    for edit in event:
        edit.apply(copy)
    done = run("import salesgauge.metrics.entities.facts", copy)
    assert "no fact in salesgauge.metrics.entities.facts is made of TrialStarted" in done.stderr
    for edit in rest:
        edit.apply(copy)
    events = [
        {"event": "trial_started", "event_id": "t1", "account_id": "a", "occurred_at": "2026-03-02T10:00:00Z"},
        {"event": "trial_started", "event_id": "t1", "account_id": "a", "occurred_at": "2026-03-02T10:00:00Z"},
        {"event": "trial_started", "event_id": "t2", "account_id": "b", "occurred_at": "2026-03-02T11:00:00Z"},
    ]
    assert total(copy, events, "trials") == 2
    assert is_generated(copy, "docs/events.md", "## trial_started")


def total(copy: Path, events: Sequence[Mapping[str, object]], measure: str) -> float:
    """What the engine of the copy adds up of a measure, two hours later, of these events of one morning."""
    done = run(PROGRAM, copy, json.dumps([measure, 1_772_452_800_000, events]))  # 2026-03-02T12:00Z
    assert done.returncode == 0, done.stderr
    [value] = json.loads(done.stdout)
    return float(value)


def test_a_panel_takes_one_file(copy):
    [edit] = edits("adding-a-panel.md")
    edit.apply(copy)
    assert is_generated(copy, "grafana/dashboards/sales/marketing.json", "New leads by source, week by week")


def test_a_source_is_one_file(tmp_path):
    page = (ROOT / "docs" / "adding-a-source.md").read_text()
    written = dict(re.findall(r'^```\w+ title="([\w.-]+)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL))
    (tmp_path / "our-shop.yaml").write_text(written["our-shop.yaml"])
    deriver = Deriver(load_source(tmp_path / "our-shop.yaml"))
    derived = deriver.derive(
        RawRecord(value, at=1_780_300_800_000 + number)
        for number, value in enumerate(json.loads(written["records.json"]))
    )
    deriver.close()
    assert [(event.name, event.key) for event in derived.events] == [("lead_created", "F1"), ("deal_won", "O1")]
    assert sum(derived.ignored.values()) == 1
    assert not derived.rejected
    assert not derived.unusable


def is_generated(copy: Path, path: str, text: str) -> bool:
    """Whether `salesgauge generate` of the copy puts the text into a file."""
    done = run("from salesgauge.streams.cli.main import main; main(['generate'])", copy)
    assert done.returncode == 0, done.stderr
    return text in (copy / path).read_text()
