"""No panel is empty in the demo unless it says why: simulate, broker, worker, exporter, Prometheus, each query."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from salesgauge.grafana.engine import METRICS
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.streams.cli.kpis import metrics_of
from salesgauge.streams.simulation.pipeline import STAGES
from tests.grafana.names import ROOT, kpi_metrics, panels_of
from tests.prometheus.stack import write_prometheus
from tests.support.process import Process, free_ports
from tests.support.programs import Prometheus, get_json, prometheus
from tests.support.wait import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

BOARDS = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "grafana/dashboards").rglob("*.json"))}
DAYS = "60"

EMPTY = {
    "Dead letters by reason": "nothing is refused in the demo",
    "KPIs not connected": "all are connected in the demo",
    "Folded label values": "nothing is folded in the demo",
    "Organic growth (long window)": "existing customers bought nothing in the month before last",
    "Organic growth (long window), over time": "as above",
    "Organic growth (long window) by product": "as above",
    **dict.fromkeys(
        (
            "Renewal rate (long window)",
            "Renewal rate, mean age of the cohort (long window)",
            "Renewal rate (long window), over time",
            "Renewal rate (long window) by product",
            "Trial conversion (long window)",
            "Trial conversion, mean age of the cohort (long window)",
            "Trial conversion (long window), over time",
            "Trial conversion (long window) by source",
            "Refund rate (long window) by reason",
            "Requests without a clock by source",
            "Requests without a clock by policy",
            "Leads waiting without a rep by source",
            "Leads waiting without a rep by team",
        ),
        "the simulated organisation has no such contracts, trials, credits, exempt requests, unowned leads",
    ),
    **dict.fromkeys(
        (
            "Time in stage (long window)",
            "Time in stage, at least (long window)",
            "Time in stage, at most (long window)",
            "Time in stage (long window) by stage",
            "Time in stage (long window) by rep",
            "Time in stage (long window) by team",
            "Slipped deals (long window)",
            "Slipped deals (long window) by rep",
            "Slipped deals (long window) by team",
            "Customer lifetime value (long window)",
            "Customer lifetime value (long window), over time",
            "Customer lifetime value, MRR per customer (long window)",
            "Customer lifetime value, mean lifetime (long window)",
            "Customer lifetime value, departures (long window)",
            "Lifetime value to acquisition cost (long window)",
            "Lifetime value to acquisition cost (long window), over time",
            "Payback time of acquisition costs (long window)",
            "Payback time of acquisition costs (long window), over time",
        ),
        "computed for 90 and 365 days alone; the demo's window is shorter",
    ),
    **dict.fromkeys(
        (
            "Since the last delivery",
            "Behind the source",
            "Raw records that wait",
            "Deliveries",
            "Refused and unmapped",
            "Polls by outcome",
            "Least filled fields",
        ),
        "the demo has no live source",
    ),
    "Lead response time, median with those waiting, at most": "too many wait for an upper end of the interval",
}
"""Panels that may be empty in the demo, and why; each says so itself."""


@pytest.fixture(scope="module")
def demo(fresh_embedded, tmp_path_factory):
    """A simulated organisation's two months in the real pipeline, scraped by the shipped configuration."""
    folder = tmp_path_factory.mktemp("demo")
    port, unused = free_ports(2)
    environment = {
        "SALESGAUGE_KAFKA__BOOTSTRAP": fresh_embedded.bootstrap, "SALESGAUGE_KAFKA__PARTITIONS": "2",
        "SALESGAUGE_APP_ID": "panels",
        "SALESGAUGE_RULES__STAGES": json.dumps([{"name": name, "limit_days": 1} for name in STAGES]),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        command = [sys.executable, "-m", "salesgauge"]
        subprocess.run([*command, "topics", "create"], check=True, cwd=ROOT, timeout=60, capture_output=True)
        simulate = [*command, "simulate", "--publish", "--live", "--days", DAYS, "--seed", "1", "--quiet"]
        run = [*command, "run", "--port", str(port)]
        with (
            Process(simulate, log=folder / "simulate.log", cwd=ROOT),
            Process(run, log=folder / "run.log", cwd=ROOT) as engine,
            prometheus(write_prometheus(folder, {"salesgauge-exporter": [port]}, unused, "5s"), folder) as watch,
        ):
            until(lambda: watch.value("salesgauge_ready") == 1, 90, "the engine is ready")
            settled(watch)
            yield watch
            engine.check()


def settled(watch: Prometheus) -> None:
    """Wait until the past has come in: leads of 30 days, and a number that no longer grows fast."""
    last, deadline = -1.0, time.monotonic() + 150
    while time.monotonic() < deadline:
        leads = watch.value('crm_new_leads{window="365d"}') or 0.0
        lag = watch.value("sum(salesgauge_lag_records)") or 0.0
        if leads > 100 and leads - last <= 5 and lag < 100:
            return
        last = leads
        time.sleep(6)
    pytest.fail(f"the demo's past did not come in: {last} leads")


def variables(board: dict[str, Any], rep: str) -> dict[str, str]:
    values = {}
    for variable in board["templating"]["list"]:
        current = variable.get("current", {}).get("value", "")
        values[variable["name"]] = ".+" if current == ["$__all"] else (current or rep)
    return values


def filled_in(query: str, values: dict[str, str]) -> str:
    query = query.replace("$__rate_interval", "1m")
    return re.sub(r"\$\{?(\w+)\}?", lambda m: values[m.group(1)], query)


def panels() -> list[tuple[str, dict[str, Any]]]:
    return [(name, p) for name, board in BOARDS.items() for p in panels_of(board)]


def has_number(watch: Prometheus, query: str) -> bool:
    """Whether a panel shows something: a quotient of two zeros is a sample too, but no number."""
    return any(math.isfinite(float(sample["value"][1])) for sample in watch.query(query))


def not_connected(watch: Prometheus) -> set[str]:
    """The metrics of KPIs for which the demo has not the events: their panels say which these are."""
    absent = [sample["metric"]["kpi"] for sample in watch.query("salesgauge_kpi_connected == 0")]
    return {metric for kpi in absent for metric in metrics_of(CATALOGUE.by_id[kpi])}


def test_no_panel_is_empty_unless_it_says_why(demo: Prometheus):
    reps = get_json(f"{demo.url}/api/v1/label/rep/values")["data"]
    (rep, *_) = [r for r in reps if r not in {"unknown", "other"}]
    empty, absent = [], not_connected(demo)
    for name, panel in panels():
        if any(absent.intersection(re.findall(r"crm_\w+", target["expr"])) for target in panel["targets"]):
            assert "not connected" in json.dumps(panel["fieldConfig"]), panel["title"]
            continue
        values = variables(BOARDS[name], rep)
        if not any(has_number(demo, filled_in(target["expr"], values)) for target in panel["targets"]):
            empty.append((name, panel["title"], panel["fieldConfig"]["defaults"]["noValue"]))
    assert set(EMPTY) <= {panel["title"] for _, panel in panels()}
    unexplained = [e for e in empty if e[1] not in EMPTY]
    assert not unexplained, "\n".join(map(str, unexplained))


def test_variables_have_values(demo: Prometheus):
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                ((selector, label),) = re.findall(r"^label_values\((.+), (\w+)\)$", variable["query"])
                assert len(demo.query(f"count by ({label}) ({selector})")) > 1, variable["name"]


def test_what_is_exposed_is_what_queries_may_name(demo: Prometheus):
    """The list of metrics and labels that rules and boards are checked against is that of the real /metrics."""
    expected = {**kpi_metrics(), **{name: set(labels) for name, labels in METRICS.items()}}
    exposed: dict[str, set[str]] = {}
    for series in get_json(f"{demo.url}/api/v1/series?match[]={{job=%22salesgauge-exporter%22}}")["data"]:
        exposed.setdefault(series["__name__"], set()).update(set(series) - {"__name__"})
    wrong = {
        name: labels - expected[name]
        for name, labels in exposed.items()
        if name in expected and labels - expected[name]
    }
    assert wrong == {}
    unlisted = {name for name in exposed if name.startswith("crm_")} - set(expected)
    assert unlisted == set()
    engine = {name for name in METRICS if name.startswith("salesgauge_") and "_ingest_" not in name}
    only_sometimes = {"salesgauge_rejected_total", "salesgauge_folded_label_values", "salesgauge_replayed"}
    assert engine - set(exposed) - only_sometimes == set()


def test_no_alert_rule_fails(demo: Prometheus):
    groups = get_json(f"{demo.url}/api/v1/rules")["data"]["groups"]
    assert [(r["name"], r["lastError"]) for g in groups for r in g["rules"] if r.get("lastError")] == []
    assert Path(demo.process.log).exists()
