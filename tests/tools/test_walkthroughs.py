"""What the pages about extending say is enough: it is done as written, in a copy of the project."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from salesgauge.schemas.sources.live import Deriver
from salesgauge.schemas.sources.objects import Record
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
        Record(value, at=1_780_300_800_000 + number) for number, value in enumerate(json.loads(written["records.json"]))
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
