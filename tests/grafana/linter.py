"""The rules of Grafana's dashboard linter (grafana/dashboard-linter, docs/rules), as far as they look at a board alone.

The program is written in Go and is to be had from no package registry that the tests use. Its rule target-promql-rule,
which parses queries, is promtool's here (`test_prometheus_accepts_every_query`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.grafana.names import panels_of, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Board = dict[str, Any]
Panel = dict[str, Any]
Target = dict[str, Any]

_ONE_NUMBER = (
    "A KPI is one number, whatever process shows it: queries merge exporters with `max by`, and a choice of job or "
    "instance would split it. Engine health tells processes apart by its legends instead."
)
EXCEPTIONS = {
    "template-job-rule": _ONE_NUMBER,
    "template-instance-rule": _ONE_NUMBER,
    "target-job-rule": _ONE_NUMBER,
    "target-instance-rule": _ONE_NUMBER,
}
"""Rules that no board follows, and why."""

# categories.ts of Grafana, as far as these boards use it
UNITS = {"none", "short", "percentunit", "s", "m", "bytes", "cps", "bool_yes_no", "currencyEUR"}
RATES = {"rate", "irate", "increase"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule dislikes."""

    rule: str
    board: str
    where: str


def lint(board: Board) -> list[Finding]:
    """What all rules find on a board, those with an exception too."""
    found = []
    for rule, check in RULES.items():
        found += [Finding(rule, board["title"], where) for where in check(board)]
    return found


def _panels(board: Board) -> Iterator[Panel]:
    yield from panels_of(board)


def _targets(board: Board) -> Iterator[tuple[Panel, Target]]:
    yield from ((panel, target) for panel in _panels(board) for target in panel.get("targets", []))


def _variables(board: Board, type_: str) -> Iterator[dict[str, Any]]:
    yield from (v for v in board["templating"]["list"] if v["type"] == type_)


def _template_datasource(board: Board) -> Iterator[str]:
    shown = [(v["name"], v.get("label"), v["query"]) for v in _variables(board, "datasource")]
    if shown != [("datasource", "Data source", "prometheus")]:
        yield str(shown)


def _template_label(name: str) -> Callable[[Board], Iterator[str]]:
    def check(board: Board) -> Iterator[str]:
        if not any(v["name"] == name for v in _variables(board, "query")):
            yield name

    return check


def _template_label_promql(board: Board) -> Iterator[str]:
    for variable in _variables(board, "query"):
        if not re.fullmatch(r"(label_names|label_values|metrics|query_result)\(.+\)", variable["query"]):
            yield variable["name"]


def _template_on_time_change_reload(board: Board) -> Iterator[str]:
    yield from (v["name"] for v in _variables(board, "query") if v["refresh"] != 2)


def _uneditable(board: Board) -> Iterator[str]:
    if board["editable"] is not False:
        yield "editable"


def _panel_datasource(board: Board) -> Iterator[str]:
    for panel in _panels(board):
        if (panel.get("datasource") or {}).get("uid") not in {"$datasource", "${datasource}"}:
            yield panel["title"]


def _panel_title_description(board: Board) -> Iterator[str]:
    yield from (str(p.get("title") or p["id"]) for p in _panels(board) if not (p.get("title") and p.get("description")))


def _panel_units(board: Board) -> Iterator[str]:
    yield from (p["title"] for p in _panels(board) if p["fieldConfig"]["defaults"].get("unit") not in UNITS)


def _panel_no_targets(board: Board) -> Iterator[str]:
    yield from (p["title"] for p in _panels(board) if not p.get("targets"))


def _target_rate_interval(board: Board) -> Iterator[str]:
    for panel, target in _targets(board):
        for function, span in re.findall(r"(\w+)\([^()]*\[([^\]]+)\]", target["expr"]):
            if function in RATES and span != "$__rate_interval":
                yield f"{panel['title']}: {target['expr']}"


def _target_counter_agg(board: Board) -> Iterator[str]:
    for panel, target in _targets(board):
        stream = tokens(re.sub(r"\$\w+", "5m", re.sub(r"\$\{\w+\}", "x", target["expr"])))
        texts = [text for _, text in stream]
        for at, (kind, text) in enumerate(stream):
            if kind == "name" and text.endswith("_total"):
                end = texts.index("}", at) if texts[at + 1 : at + 2] == ["{"] else at
                ranged = texts[end + 1 : end + 2] == ["["]
                if not ranged or texts[at - 1] != "(" or texts[at - 2] not in RATES:
                    yield f"{panel['title']}: {target['expr']}"


def _target_matcher(label: str) -> Callable[[Board], Iterator[str]]:
    def check(board: Board) -> Iterator[str]:
        for panel, target in _targets(board):
            if f'{label}=~"${label}"' not in target["expr"]:
                yield panel["title"]

    return check


RULES: dict[str, Callable[[Board], Iterator[str]]] = {
    "template-datasource-rule": _template_datasource,
    "template-job-rule": _template_label("job"),
    "template-instance-rule": _template_label("instance"),
    "template-label-promql-rule": _template_label_promql,
    "template-on-time-change-reload-rule": _template_on_time_change_reload,
    "uneditable-dashboard": _uneditable,
    "panel-datasource-rule": _panel_datasource,
    "panel-title-description-rule": _panel_title_description,
    "panel-units-rule": _panel_units,
    "panel-no-targets-rule": _panel_no_targets,
    "target-rate-interval-rule": _target_rate_interval,
    "target-job-rule": _target_matcher("job"),
    "target-instance-rule": _target_matcher("instance"),
    "target-counter-agg-rule": _target_counter_agg,
}
