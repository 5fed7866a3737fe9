"""Boards: they draw what exists, all of it, and follow the rules of Grafana's dashboard linter."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry

from salesgauge.grafana.boards import uid_of
from salesgauge.grafana.dashboards import LONG_WINDOWS
from salesgauge.grafana.engine import METRICS, SCRAPED
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.families import CONNECTED, family_name, stat_names
from salesgauge.metrics.rules.windows import WINDOWS
from salesgauge.streams.cli.generate import files
from salesgauge.streams.ingest.metrics import IngestMetrics
from tests.grafana.linter import EXCEPTIONS, RULES, lint
from tests.grafana.names import ROOT, known, named, panels_of, plain, thresholds, unknown
from tests.support.programs import promtool

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATED = files(ROOT)
BOARDS: dict[str, dict[str, Any]] = {
    path: json.loads(text) for path, text in GENERATED.items() if path.startswith("grafana/dashboards/")
}
RECORDINGS = [
    rule["record"]
    for group in yaml.safe_load(GENERATED["prometheus/rules/recording.yml"])["groups"]
    for rule in group["rules"]
]
PANELS = [(path, p) for path, board in BOARDS.items() for p in panels_of(board)]
TARGETS = [(path, p, t) for path, p in PANELS for t in p.get("targets", [])]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

every_board = pytest.mark.parametrize("path", BOARDS)


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {v["name"]: v for v in board["templating"]["list"]}


def queries(board: dict[str, Any]) -> list[str]:
    return [t["expr"] for p in panels_of(board) for t in p["targets"]]


# --- what is drawn


def test_committed_files_are_the_generated_ones():
    stale = [
        path for path, text in GENERATED.items() if not (ROOT / path).exists() or (ROOT / path).read_text() != text
    ]
    assert stale == [], "run `salesgauge generate`"
    lying = {str(p.relative_to(ROOT)) for p in (ROOT / "grafana/dashboards").rglob("*.json")}
    assert lying == set(BOARDS)


def test_generation_is_deterministic():
    assert files(ROOT) == GENERATED


def test_every_kpi_is_drawn_at_home():
    for kpi in CATALOGUE.kpis:
        board = next(b for b in BOARDS.values() if b["uid"] == uid_of(kpi.drawn_on))
        metrics = {metric for query in queries(board) for metric, _ in named(plain(query)).selectors}
        shown = {family_name(kpi, stat, by) for stat in stat_names(kpi) for by in ((), *kpi.breakdowns)}
        assert metrics & shown, f"{kpi.id} is not drawn on {board['title']}"


def test_every_breakdown_and_every_number_beside_is_drawn():
    drawn = {m for board in BOARDS.values() for query in queries(board) for m, _ in named(plain(query)).selectors}
    wanted = {family_name(k, "p50" if k.samples else "value", by) for k in CATALOGUE.kpis for by in k.breakdowns}
    wanted |= {family_name(k, s.name) for k in CATALOGUE.kpis for s in k.secondary if k.whole}
    assert wanted - drawn == set()


@pytest.mark.parametrize(
    ("path", "panel", "target"), TARGETS, ids=lambda v: v.get("title", "") if isinstance(v, dict) else ""
)
def test_queries_name_what_exists(path, panel, target):
    assert unknown(plain(target["expr"]), known(RECORDINGS)) == []


def test_variables_and_annotations_name_what_exists():
    metrics = known(RECORDINGS)
    for board in BOARDS.values():
        for variable in variables(board).values():
            if variable["type"] == "query":
                ((selector, label),) = re.findall(r"^label_values\((.+), (\w+)\)$", variable["query"])
                assert unknown(f"sum by ({label}) ({selector})", metrics) == []
        for annotation in board["annotations"]["list"]:
            if "expr" in annotation:
                assert unknown(annotation["expr"], metrics) == []


def test_a_chosen_window_exists_for_the_kpi():
    """A panel that follows $window is never empty only because its KPI lacks that window."""
    of_family = {family_name(k, s, by): k for k in CATALOGUE.kpis for s in stat_names(k) for by in ((), *k.breakdowns)}
    offered = {"$window": set(WINDOWS), "$long_window": set(LONG_WINDOWS)}
    for path, panel, target in TARGETS:
        for metric, value in re.findall(r'(crm_\w+)\{window="([^"]+)"', target["expr"]):
            kpi = of_family[metric]
            missing = offered.get(value, {value}) - set(kpi.windows)
            if missing:
                shortest = next(window for window in LONG_WINDOWS if window in kpi.windows)
                said = panel["fieldConfig"]["defaults"]["noValue"]
                assert f"below {shortest}" in said or "below 30d" in said, (path, panel["title"], missing)


def test_an_empty_panel_says_why():
    for path, panel in PANELS:
        assert panel["fieldConfig"]["defaults"].get("noValue"), (path, panel["title"])


def test_a_number_whose_events_never_came_says_which():
    speed = BOARDS["grafana/dashboards/sales/speed-to-lead.json"]
    tile = next(p for p in panels_of(speed) if p["title"] == "Leads waiting")
    _, query = tile["targets"]
    assert query["expr"] == 'max(salesgauge_kpi_connected{kpi="leads_waiting"}) == 0'
    (override,) = tile["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": query["refId"]}
    (mapping,) = override["properties"][0]["value"]
    assert mapping["options"]["0"]["text"].startswith("not connected (needs lead_created or lead_reengaged, ")
    trend = next(p for p in panels_of(speed) if p["title"] == "Leads waiting, over time")
    assert "or not connected (needs " in trend["fieldConfig"]["defaults"]["noValue"]


def test_prometheus_accepts_every_query(tmp_path):
    rules = [{"record": f"q:{n}:q", "expr": plain(t["expr"])} for n, (_, _, t) in enumerate(TARGETS)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": rules}]}))
    said = promtool("check", "rules", file)
    assert said.ok, said.text


# --- form


@every_board
def test_the_sdk_reads_the_board_back(path):
    board = BOARDS[path]
    again = Dashboard.from_json(board)
    assert again.uid == board["uid"]
    assert len(again.panels or []) == len(board["panels"])
    assert len(board["uid"]) <= 40
    assert re.fullmatch(r"[a-z0-9-]+", board["uid"])


def test_uids_and_titles_are_unique():
    for key in ("uid", "title"):
        values = [board[key] for board in BOARDS.values()]
        assert len(set(values)) == len(values)


@every_board
def test_panels_do_not_overlap_and_stay_in_the_grid(path):
    taken: set[tuple[int, int]] = set()
    rows = [panel for panel in BOARDS[path]["panels"] if panel["type"] == "row"]
    for panel in (*panels_of(BOARDS[path]), *rows):
        g = panel["gridPos"]
        assert g["x"] + g["w"] <= 24
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in (*panels_of(BOARDS[path]), *rows)]
    assert len(set(ids)) == len(ids)


@every_board
def test_a_wall_screen_shows_numbers_that_renew_themselves(path):
    board = BOARDS[path]
    assert board["refresh"] == ("1m" if board["time"]["from"] == "now-7d" else "30s")
    first = panels_of(board)[:6]
    assert all(p["type"] == "stat" for p in first), "the numbers come first"
    assert all(p["gridPos"]["h"] >= 4 and p["gridPos"]["w"] >= 3 for p in first)


def test_numbers_are_instant_and_lines_are_ranges():
    for path, panel, target in TARGETS:
        with_course = (panel.get("options") or {}).get("graphMode") == "area" and CONNECTED not in target["expr"]
        instant = panel["type"] in {"stat", "bargauge", "table"} and not with_course
        assert bool(target.get("instant")) is instant, (path, panel["title"])
        assert bool(target.get("range")) is not instant, (path, panel["title"])


def test_boards_link_to_each_other():
    uids = {board["uid"] for board in BOARDS.values()}
    for board in BOARDS.values():
        (menu,) = [link for link in board["links"] if link["type"] == "dashboards"]
        assert menu["tags"] == ["salesgauge"]
        assert menu["includeVars"]
        assert menu["keepTime"]
        assert "salesgauge" in board["tags"]
        for uid in re.findall(r'"/d/([\w-]+)', json.dumps(board)):
            assert uid in uids


def test_alerts_recoveries_and_replays_are_marked():
    for board in BOARDS.values():
        names = {annotation["name"] for annotation in board["annotations"]["list"]}
        assert {"Alerts", "Recoveries", "Replays"} <= names


def test_targets_colour_their_panels():
    speed = BOARDS["grafana/dashboards/sales/speed-to-lead.json"]
    tile = next(p for p in panels_of(speed) if p["title"] == "Leads waiting, past the SLA")
    steps = tile["fieldConfig"]["defaults"]["thresholds"]["steps"]
    target = thresholds().target("leads_waiting", "late")
    assert target is not None
    assert [step["color"] for step in steps] == ["green", "red"]
    assert steps[1]["value"] == target.value + 1  # more than 0 of whole numbers begins at 1


@every_board
def test_a_board_is_seen_at_a_glance_and_the_rest_is_folded(path):
    board = BOARDS[path]
    rows = [panel for panel in board["panels"] if panel["type"] == "row"]
    open_ones = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert 10 <= len(open_ones) <= 20
    folded = [row["collapsed"] for row in rows]
    assert folded == sorted(folded), "what is folded comes last"
    assert all(bool(row.get("panels")) is row["collapsed"] for row in rows)


def test_targets_are_drawn_as_lines_and_limits_are_written_as_people_write_them():
    for path, panel in PANELS:
        defaults = panel["fieldConfig"]["defaults"]
        steps = [step["value"] for step in defaults.get("thresholds", {}).get("steps", []) if step["value"] is not None]
        assert all(len(f"{value:.10g}") <= 6 for value in steps), (path, panel["title"], steps)
        if panel["type"] == "timeseries" and steps:
            assert defaults["custom"]["thresholdsStyle"]["mode"] == "dashed", (path, panel["title"])


def test_headline_numbers_follow_the_chosen_team_rep_and_source():
    speed = BOARDS["grafana/dashboards/sales/speed-to-lead.json"]
    expr, _ = [t["expr"] for p in panels_of(speed) if p["title"] == "Leads waiting" for t in p["targets"]]
    for dim in ("team", "rep", "source"):
        assert f'crm_leads_waiting_by_{dim}{{window="all", {dim}=~"${dim}"}}' in expr
    expr, _ = [
        t["expr"] for p in panels_of(speed) if p["title"] == "Lead response within the SLA" for t in p["targets"]
    ]
    assert "crm_lead_response_sla_ratio_numerator_by_team" in expr


def test_no_line_is_called_value():
    assert [p["title"] for _, p, t in TARGETS if t["legendFormat"] == "value"] == []


# --- Grafana's dashboard linter


def test_the_linter_finds_nothing_but_what_is_excepted():
    findings = [finding for board in BOARDS.values() for finding in lint(board)]
    assert [f for f in findings if f.rule not in EXCEPTIONS] == []
    assert {f.rule for f in findings} == set(EXCEPTIONS), "an exception that nothing needs"
    assert all(EXCEPTIONS.values())


FAULTS: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "template-datasource-rule": lambda board, _: board["templating"]["list"][0].update(name="prometheus"),
    "template-label-promql-rule": lambda board, _: board["templating"]["list"][-1].update(query="values(up, job)"),
    "template-on-time-change-reload-rule": lambda board, _: board["templating"]["list"][-1].update(refresh=1),
    "uneditable-dashboard": lambda board, _: board.update(editable=True),
    "panel-datasource-rule": lambda _, panel: panel.update(datasource={"uid": "prometheus-1"}),
    "panel-title-description-rule": lambda _, panel: panel.update(description=""),
    "panel-units-rule": lambda _, panel: panel["fieldConfig"]["defaults"].pop("unit"),
    "panel-no-targets-rule": lambda _, panel: panel.pop("targets"),
    "target-rate-interval-rule": lambda _, panel: panel["targets"][0].update(expr="rate(a_total[5m])"),
    "target-counter-agg-rule": lambda _, panel: panel["targets"][0].update(expr='count(a_total{b="c"})'),
}


@pytest.mark.parametrize("rule", sorted(set(RULES) - set(EXCEPTIONS)))
def test_the_linter_finds_a_fault(rule):
    board = json.loads(GENERATED["grafana/dashboards/sales/speed-to-lead.json"])
    FAULTS[rule](board, next(p for p in panels_of(board) if p["type"] == "stat"))
    assert {f.rule for f in lint(board)} - set(EXCEPTIONS) == {rule}


@every_board
def test_every_variable_is_used_and_every_used_one_exists(path):
    board = BOARDS[path]
    used = {v for q in queries(board) for v in re.findall(r"\$\{?([a-z]\w*)", q)} | {"datasource"}
    assert used == set(variables(board))


def test_queries_use_the_chosen_data_source_and_name_their_lines():
    for path, panel, target in TARGETS:
        where = (path, panel["title"])
        assert target["datasource"] == panel["datasource"] == DATASOURCE, where
        assert target["legendFormat"], where


def test_refs_are_unique_in_a_panel():
    for path, panel in PANELS:
        refs = [t.get("refId") for t in panel["targets"]]
        assert len(set(refs)) == len(refs), (path, panel["title"], refs)


def test_panel_titles_are_unique_on_a_board():
    for path, board in BOARDS.items():
        titles = [p["title"] for p in panels_of(board)]
        assert len(set(titles)) == len(titles), (path, sorted({t for t in titles if titles.count(t) > 1}))


def test_no_title_says_by_twice():
    assert [p["title"] for _, p in PANELS if p["title"].count(" by ") > 1] == []


def test_what_queries_may_name_of_live_sources_is_what_ingest_exposes():
    registry = CollectorRegistry()
    metrics = IngestMetrics(registry)
    metrics.received("s", 1.0, 1)
    metrics.refused("s", "r")
    metrics.event("s", "e", frozenset({"f"}))
    metrics.unmapped("s", "r")
    metrics.lag("s", 1)
    metrics.source_lag("s", 1.0)
    metrics.polled("s", "ok")
    exposed = {sample.name: set(sample.labels) for family in registry.collect() for sample in family.samples}
    named = {name: set(labels) - SCRAPED for name, labels in METRICS.items() if "_ingest_" in name}
    assert named
    assert named == {name: exposed.get(name) for name in named}
