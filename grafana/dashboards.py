"""Grafana's dashboards as JSON, made from the boards with the Grafana Foundation SDK."""

from __future__ import annotations

import json
import re
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders.dashboard import (
    CustomVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from salesgauge.grafana.boards import boards
from salesgauge.grafana.layout import Layout
from salesgauge.grafana.panels import DATASOURCE
from salesgauge.metrics.kpis.families import family_name
from salesgauge.metrics.rules.windows import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from salesgauge.grafana.thresholds import Thresholds
    from salesgauge.metrics.kpis.kpi import Catalogue

LONG_WINDOWS = ("7d", "30d", "90d", "365d")
SOURCES = {"rep": "activities", "team": "activities", "source": "new_leads"}
"""Where the values of a variable come from: the KPI whose breakdown has the most of them."""

_WIDTH = 24
_SCHEMA = 39


def files(thresholds: Thresholds, catalogue: Catalogue) -> dict[str, str]:
    """Folder and name of a board -> its JSON."""
    return {
        f"{folder_of(layout)}/{layout.uid.removeprefix('salesgauge-')}": render(layout, thresholds, catalogue)
        for layout in boards(thresholds, catalogue)
    }


def folder_of(layout: Layout) -> str:
    """Where the board's file lies; Grafana's folders are made of these (provisioning/dashboards/salesgauge.yml)."""
    return "engine" if "engine" in layout.tags else "sales"


def render(layout: Layout, thresholds: Thresholds, catalogue: Catalogue) -> str:
    """The JSON of a board: the same board gives the same text."""
    dashboard = (
        Dashboard(layout.title)
        .uid(layout.uid)
        .description(layout.description)
        .tags(list(layout.tags))
        .readonly()
        .refresh(layout.refresh)
        .time(layout.time_from, "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(_menu())
        .link(_to_board(thresholds))
    )
    for section in layout.sections:
        row = Row(section.title).collapsed(section.folded)
        for panel in section.panels if section.folded else ():
            row.with_panel(panel)
        dashboard.with_row(row)
        for panel in () if section.folded else section.panels:
            dashboard.with_panel(panel)
    document = json.loads(JSONEncoder(sort_keys=True).encode(dashboard.build()))
    every = _number_and_place(document["panels"])
    used = set(re.findall(r"\$(?:\{)?([a-z_]+)", json.dumps([p.get("targets", []) for p in every])))
    variables = [v.build() for v in _variables(layout, catalogue, used)]
    document["templating"] = {"list": json.loads(JSONEncoder(sort_keys=True).encode(variables))}
    document["annotations"] = {"list": _annotations(layout)}
    document["schemaVersion"] = _SCHEMA
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _menu() -> DashboardLink:
    return (
        DashboardLink("Boards")
        .type(DashboardLinkType.DASHBOARDS)
        .tags(["salesgauge"])
        .as_dropdown(True)  # noqa: FBT003 - the builder's own signature
        .include_vars(True)  # noqa: FBT003
        .keep_time(True)  # noqa: FBT003
    )


def _to_board(thresholds: Thresholds) -> DashboardLink:
    return (
        DashboardLink("Live board")
        .type(DashboardLinkType.LINK)
        .url(f"{thresholds.board.rstrip('/')}/")
        .tooltip("Who waits now, and every KPI, on the built-in board")
        .target_blank(True)  # noqa: FBT003 - the builder's own signature
    )


def _number_and_place(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give panels and queries ids, and put panels of one height in a line, so that nothing hangs in a gap.

    Panels of a folded row lie below it as they will when it is opened. Returns all panels, those of folded rows too.
    """
    every = [inner for panel in panels for inner in (panel, *panel.get("panels", []))]
    x = y = height = 0
    for number, panel in enumerate(every, 1):
        panel["id"] = number
        place = panel["gridPos"]
        for ref, target in zip(ascii_uppercase, panel.get("targets", []), strict=False):
            target["refId"] = target.get("refId") or ref
        if panel["type"] == "row":
            y, x, height = y + height, 0, 0
            panel["gridPos"] = {"h": 1, "w": _WIDTH, "x": 0, "y": y}
            y += 1
            continue
        if x + place["w"] > _WIDTH or (x and place["h"] != height):
            y, x, height = y + height, 0, 0
        panel["gridPos"] = {"h": place["h"], "w": place["w"], "x": x, "y": y}
        x, height = x + place["w"], max(height, place["h"])
    return every


# --- variables --------------------------------------------------------------------------------------------------------

_Variable = DatasourceVariable | CustomVariable | QueryVariable


def _variables(board: Layout, catalogue: Catalogue, used: set[str]) -> Iterable[_Variable]:
    yield (
        DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(VariableOption(text="Prometheus", value="salesgauge-prometheus"))
    )
    if "window" in used:
        yield _windows("window", "Window", tuple(WINDOWS), board.window, "The time span that each number speaks of.")
    if "long_window" in used:
        about = "For KPIs that need a longer span, such as churn and retention."
        yield _windows("long_window", "Long window", LONG_WINDOWS, "30d", about)
    for name in ("team", "rep", "source"):
        if name in used:
            yield _values(name, board, catalogue)


def _windows(name: str, label: str, windows: tuple[str, ...], current: str, about: str) -> CustomVariable:
    options = [VariableOption(selected=w == current, text=w, value=w) for w in windows]
    return (
        CustomVariable(name)
        .label(label)
        .description(about)
        .values(",".join(windows))
        .options(options)
        .current(VariableOption(selected=True, text=current, value=current))
        .multi(False)  # noqa: FBT003
        .include_all(False)  # noqa: FBT003
    )


def _values(name: str, board: Layout, catalogue: Catalogue) -> QueryVariable:
    family = family_name(catalogue.by_id[SOURCES[name]], breakdown=(name,))
    variable = (
        QueryVariable(name)
        .label(name.capitalize())
        .description(f"Filters the panels by {name}; numbers of the whole stay whole.")
        .datasource(DATASOURCE)
        .query(f'label_values({family}{{window="all"}}, {name})')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .hide(VariableHide.DONT_HIDE)
    )
    if name == "rep" and board.rep == "one":
        return variable.multi(False).include_all(False)  # noqa: FBT003
    everything = VariableOption(selected=True, text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(".+").current(everything)  # noqa: FBT003


# --- annotations ------------------------------------------------------------------------------------------------------


def _annotations(board: Layout) -> list[dict[str, Any]]:
    """Firing alerts, recoveries and replays.

    The SDK's builder has no title and text formats of Prometheus annotations, so they are written out.
    """
    grafana = {"type": "grafana", "uid": "-- Grafana --"}
    layer = "engine" if "engine" in board.tags else "business|engine"
    return [
        {
            "builtIn": 1, "datasource": grafana, "enable": True, "hide": True, "iconColor": "rgba(0, 211, 255, 1)",
            "name": "Annotations and alerts", "type": "dashboard",
        },
        _from_prometheus(
            "Alerts", "red", f'max by (alertname, severity, team) (ALERTS{{alertstate="firing", layer=~"{layer}"}})',
            title="{{alertname}}", text="{{severity}} {{team}}", tags="severity,team",
        ),
        _from_prometheus(
            "Recoveries", "orange", "max(salesgauge_recovering) == 1",
            title="A worker recovers", text="Numbers may stand still.", tags="",
        ),
        _from_prometheus(
            "Replays", "purple", "max(salesgauge_replayed) == 1",
            title="From a replay", text="These values were computed afterwards.", tags="",
        ),
    ]  # fmt: skip


def _from_prometheus(name: str, color: str, expr: str, *, title: str, text: str, tags: str) -> dict[str, Any]:
    return {
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "expr": expr,
        "hide": False,
        "iconColor": color,
        "name": name,
        "step": "60s",
        "tagKeys": tags,
        "textFormat": text,
        "titleFormat": title,
        "useValueForTime": False,
    }
