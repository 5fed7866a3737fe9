"""Boards: they draw what exists, all of it, and follow the rules of Grafana's dashboard linter.

The linter's rules (grafana/dashboard-linter, docs/rules) are implemented here, since the program itself is not
to be had from a package registry. Excepted:
- template-job, template-instance, target-job, target-instance: KPIs are the same whatever process shows them; queries
  merge exporters with `max by`, and a job or instance variable would split one number into several.
- template-uneditable applies (boards are generated, so they are not editable); target-logql: no Loki here.
- panel-units on bar gauges and time series is stricter here than there: every panel that shows numbers has a unit.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.boards import home_of
from grafana.dashboards import LONG_WINDOWS
from grafana.generate import files
from metrics.catalogue import CATALOGUE
from metrics.families import family_name, stat_names
from metrics.windows import WINDOWS
from tests.grafana.names import ROOT, known, named, plain, thresholds, unknown
from tests.support.programs import promtool

GENERATED = files(ROOT)
BOARDS: dict[str, dict[str, Any]] = {
    path: json.loads(text) for path, text in GENERATED.items() if path.startswith("grafana/dashboards/")
}
RECORDINGS = [
    rule["record"]
    for group in yaml.safe_load(GENERATED["prometheus/rules/recording.yml"])["groups"]
    for rule in group["rules"]
]
PANELS = [(path, p) for path, board in BOARDS.items() for p in board["panels"] if p["type"] != "row"]
TARGETS = [(path, p, t) for path, p in PANELS for t in p.get("targets", [])]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# categories.ts of Grafana, as far as these boards use it
UNITS = {"none", "short", "percentunit", "s", "m", "bytes", "cps", "bool_yes_no", "currencyEUR"}

every_board = pytest.mark.parametrize("path", BOARDS)


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {v["name"]: v for v in board["templating"]["list"]}


def queries(board: dict[str, Any]) -> list[str]:
    return [t["expr"] for p in board["panels"] for t in p.get("targets", [])]


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
        board = next(b for b in BOARDS.values() if b["uid"] == home_of(kpi))
        metrics = {metric for query in queries(board) for metric, _ in named(plain(query)).selectors}
        shown = {family_name(kpi, stat, by) for stat in stat_names(kpi) for by in ((), *kpi.breakdowns)}
        assert metrics & shown, f"{kpi.id} is not drawn on {board['title']}"


def test_every_breakdown_and_every_number_beside_is_drawn():
    drawn = {m for board in BOARDS.values() for query in queries(board) for m, _ in named(plain(query)).selectors}
    wanted = {family_name(k, "p50" if k.samples else "value", by) for k in CATALOGUE.kpis for by in k.breakdowns}
    wanted |= {family_name(k, s.name) for k in CATALOGUE.kpis for s in k.beside if k.whole}
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
                assert "below 30d" in panel["fieldConfig"]["defaults"]["noValue"], (path, panel["title"], missing)


def test_an_empty_panel_says_why():
    for path, panel in PANELS:
        assert panel["fieldConfig"]["defaults"].get("noValue"), (path, panel["title"])


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
    for panel in BOARDS[path]["panels"]:
        g = panel["gridPos"]
        assert g["x"] + g["w"] <= 24
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in BOARDS[path]["panels"]]
    assert len(set(ids)) == len(ids)


@every_board
def test_a_wall_screen_shows_numbers_that_renew_themselves(path):
    board = BOARDS[path]
    assert board["refresh"] == "30s"
    first = [p for p in board["panels"] if p["type"] != "row"][:6]
    assert all(p["type"] == "stat" for p in first), "the numbers come first"
    assert all(p["gridPos"]["h"] >= 4 and p["gridPos"]["w"] >= 3 for p in first)


def test_numbers_are_instant_and_lines_are_ranges():
    for path, panel, target in TARGETS:
        instant = panel["type"] in {"stat", "bargauge", "table"}
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
    tile = next(p for p in speed["panels"] if p.get("title") == "Leads waiting, past the SLA")
    steps = tile["fieldConfig"]["defaults"]["thresholds"]["steps"]
    target = thresholds().target("leads_waiting", "late")
    assert target is not None
    assert [step["color"] for step in steps] == ["green", "red"]
    assert steps[1]["value"] == pytest.approx(target.value)


# --- Grafana's dashboard linter


@every_board
def test_linter_template_datasource(path):
    (variable,) = [v for v in BOARDS[path]["templating"]["list"] if v["type"] == "datasource"]
    assert (variable["name"], variable["label"], variable["query"]) == ("datasource", "Data source", "prometheus")


@every_board
def test_linter_template_on_time_change_reload_and_label_promql(path):
    for variable in variables(BOARDS[path]).values():
        if variable["type"] == "query":
            assert variable["refresh"] == 2
            assert variable["query"].startswith("label_values(")
            assert variable["datasource"] == DATASOURCE


@every_board
def test_linter_uneditable_dashboard(path):
    assert BOARDS[path]["editable"] is False


@every_board
def test_every_variable_is_used_and_every_used_one_exists(path):
    board = BOARDS[path]
    used = {v for q in queries(board) for v in re.findall(r"\$\{?([a-z]\w*)", q)} | {"datasource"}
    assert used == set(variables(board))


def test_linter_panel_rules():
    for path, panel in PANELS:
        where = (path, panel.get("title"))
        assert panel["datasource"] == DATASOURCE, where
        assert panel["title"], where
        assert panel["description"], where
        assert panel["fieldConfig"]["defaults"].get("unit") in UNITS, where
        assert panel["targets"], where


def test_linter_target_rules():
    for path, panel, target in TARGETS:
        where = (path, panel["title"])
        assert target["expr"].strip(), where
        assert target["datasource"] == DATASOURCE, where
        assert target["legendFormat"], where
        for span in re.findall(r"\[([^\]]+)\]", target["expr"]):
            assert span == "$__rate_interval", where
        for counter in re.findall(r"\b\w+_total\b", target["expr"]):
            assert re.search(rf"(rate|increase|irate|count)\({counter}", target["expr"]), where


def test_refs_are_unique_in_a_panel():
    for path, panel in PANELS:
        refs = [t.get("refId") for t in panel["targets"]]
        assert len(set(refs)) == len(refs), (path, panel["title"], refs)


def test_panel_titles_are_unique_on_a_board():
    for path, board in BOARDS.items():
        titles = [p["title"] for p in board["panels"] if p["type"] != "row"]
        assert len(set(titles)) == len(titles), (path, sorted({t for t in titles if titles.count(t) > 1}))
