"""Which metrics and labels exist, and which ones a PromQL query names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salesgauge.grafana.engine import METRICS, SCRAPED
from salesgauge.grafana.thresholds import PATH, Notify, Thresholds, load
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.families import family_name, label_names, stat_names

ROOT = Path(__file__).resolve().parents[2]

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<span>(?:\d+(?:ms|[smhdwy]))+(?![\w]))
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<name>[a-zA-Z_][\w:]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){}\[\],:@])""",
    re.VERBOSE,
)
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = _GROUPING | {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"}

LEVELS = {"business": (), "week": (), "period": (), "team_period": ("team",), "window": ("window",),
          "team_window": ("team", "window"), "event": ("event",), "reason": ("reason",)}  # fmt: skip
"""Labels of recording rules by the first part of their name."""


def thresholds() -> Thresholds:
    return load(ROOT / PATH, CATALOGUE)


TOLD = {
    "slack": {"channel": "#sales-alerts", "engine_channel": "#sales-engine"},
    "email": {
        "to": "sales-lead@example.com",
        "engine_to": "operations@example.com",
        "from": "salesgauge@example.com",
        "smarthost": "smtp.example.com:587",
        "username": "salesgauge",
    },
    "webhook": {"url": "http://webhook.example.com/salesgauge", "token": True},
    "heartbeat": {"url": "http://webhook.example.com/heartbeat", "token": True},
    "teams": {
        "north": {"channel": "#sales-north", "to": "north-lead@example.com"},
        "south": {"channel": "#sales-south", "to": "south-lead@example.com"},
    },
}
"""Who is told, by every way that the Alertmanager of the tests knows."""


def notifying(**notify: Any) -> Thresholds:
    """The shipped thresholds with other channels."""
    return thresholds().model_copy(update={"notify": Notify.model_validate(notify)})


def panels_of(board: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels of a dashboard, those of folded rows too, without the rows."""
    every = [inner for panel in board["panels"] for inner in (panel, *panel.get("panels", []))]
    return [panel for panel in every if panel["type"] != "row"]


@dataclass
class Names:
    """What a query names."""

    selectors: list[tuple[str, set[str]]] = field(default_factory=list)
    grouping: set[str] = field(default_factory=set)


def tokens(query: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None:
            raise ValueError(f"no PromQL at {query[at:]!r} in {query}")
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match.group()))
        at = match.end()
    return found


def named(query: str) -> Names:
    """The metrics with the labels of their matchers, and the labels of `by`, `on` and their kind."""
    names, stream = Names(), tokens(query)
    at = 0
    while at < len(stream):
        kind, text = stream[at]
        after = stream[at + 1][1] if at + 1 < len(stream) else ""
        at += 1
        if kind != "name":
            continue
        if text.lower() in _GROUPING and after == "(":
            end = next(i for i in range(at, len(stream)) if stream[i][1] == ")")
            names.grouping |= {t for k, t in stream[at:end] if k == "name"}
            at = end + 1
        elif text.lower() in _WORDS or after == "(" or (after in _GROUPING and text not in _known_words()):
            continue
        else:
            labels: set[str] = set()
            if after == "{":
                end = next(i for i in range(at, len(stream)) if stream[i][1] == "}")
                inner = stream[at + 1 : end]
                labels = {t for i, (k, t) in enumerate(inner) if k == "name" and inner[i + 1][0] == "sign"}
                at = end + 1
            names.selectors.append((text, labels))
    return names


def _known_words() -> set[str]:
    return set(METRICS)


def kpi_metrics() -> dict[str, set[str]]:
    """Metric -> labels of all families that the catalogue can expose."""
    found: dict[str, set[str]] = {}
    for kpi in CATALOGUE.kpis:
        for by in (*(((),) if kpi.whole else ()), *kpi.breakdowns):
            for stat in stat_names(kpi):
                found.setdefault(family_name(kpi, stat, by), set()).update(label_names(kpi, stat, by))
        if kpi.samples is not None:
            found[f"{kpi.metric}_bucket"] = {"window", "le"}
            found[f"{kpi.metric}_gcount"] = found[f"{kpi.metric}_gsum"] = {"window"}
    return {name: labels | SCRAPED for name, labels in found.items()}


def known(recordings: list[str]) -> dict[str, set[str]]:
    """All metrics that queries may name, and their labels."""
    recorded = {name: set(LEVELS[name.split(":")[0]]) for name in recordings}
    return {**kpi_metrics(), **{name: set(labels) for name, labels in METRICS.items()}, **recorded}


def unknown(query: str, metrics: dict[str, set[str]]) -> list[str]:
    """What a query names that does not exist."""
    names, wrong, labels = named(query), [], set[str]()
    for metric, matchers in names.selectors:
        if metric not in metrics:
            wrong.append(metric)
            continue
        labels |= metrics[metric]
        wrong += [f"{metric}{{{label}}}" for label in sorted(matchers - metrics[metric])]
    return wrong + sorted(f"by {label}" for label in names.grouping - labels)


def plain(query: str) -> str:
    """A panel's query with values in the place of Grafana's variables."""
    query = query.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$__interval", "1m")
    return re.sub(r"\$\{?\w+\}?", "x", query)
