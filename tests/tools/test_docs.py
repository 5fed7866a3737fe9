"""The pages are right: their commands run, their links lead somewhere, their lists are complete."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from salesgauge.metrics.kpis.families import CONNECTED
from salesgauge.streams.cli.main import cli
from salesgauge.streams.ingest.metrics import IngestMetrics
from tests.support.shared import ROOT

DOCS = ROOT / "docs"
TUTORIAL = (DOCS / "own-export.md").read_text()
AT_THE_ROOT = sorted(ROOT.glob("*.md"))


def call(command: str) -> str:
    """The output of a command line as a page has it."""
    program, *words = shlex.split(command)
    assert program == "salesgauge"
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, f"{command}\n{done.output}"
    return done.output


def test_the_tutorial_about_an_export_works_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in re.findall(r'```\w+ title="(\S+)"\n(.*?)```', TUTORIAL, re.DOTALL):
        Path(name).write_text(content)
    first, *later = [
        line for block in re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL) for line in block.splitlines()
    ]
    assert len(later) == 3
    call(first)
    shown = call(f"{later[0]} --json --quiet")
    readings = {
        (r["kpi"], r["stat"], r["window"]): r["value"] for r in json.loads(shown)["readings"] if not r["labels"]
    }
    assert readings["win_ratio", "value", "30d"] == 0.5
    assert readings["sales_revenue", "value", "30d"] == 1200.5
    assert readings["lead_response_seconds", "count", "30d"] == 2
    for command in later[1:]:
        call(command.partition("#")[0])


@pytest.mark.parametrize("page", AT_THE_ROOT, ids=lambda page: page.name)
def test_links_of_the_pages_outside_the_site_lead_somewhere(page):
    """`make docs` checks those of the site."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"", page.read_text()):
        path = "".join(target)
        assert path.startswith("https://") or (ROOT / path).exists(), path


def test_every_own_metric_is_in_the_reference():
    made = r"(?:Counter|Gauge|Histogram|Info|GaugeMetricFamily|CounterMetricFamily)\(\s*\"(salesgauge_\w+)\""
    source = "\n".join(path.read_text() for path in (ROOT / "streams").rglob("*.py"))
    endings = {"Counter": "_total", "Info": "_info"}
    names = {m[1] + endings.get(m[0].partition("(")[0], "") for m in re.finditer(made, source)}
    registry = CollectorRegistry()
    IngestMetrics(registry)
    names |= {family.name + endings.get(family.type.title(), "") for family in registry.collect()}
    shown = set(re.findall(r"^\| `(salesgauge_\w+)`", (DOCS / "metrics.md").read_text(), re.MULTILINE))
    assert len(names) > 20
    assert shown - {"salesgauge_replayed", CONNECTED} == names


def test_pages_say_one_number_of_kpis():
    """38 of the literature and 12 of its template. The catalogue has more entries: some KPIs are several numbers."""
    pages = [*AT_THE_ROOT, *DOCS.glob("*.md")]
    said = {(page.name, count) for page in pages for count in re.findall(r"(\d+) KPIs", page.read_text())}
    assert {count for _, count in said} == {"50"}, said
