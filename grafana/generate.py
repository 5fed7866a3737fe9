"""All files that this room generates: boards, rules, Alertmanager's configuration, targets, docs/alerts.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from salesgauge.grafana import dashboards, routes, rules, runbooks
from salesgauge.grafana.thresholds import PATH, Thresholds, load
from salesgauge.metrics.kpis.catalogue import CATALOGUE

if TYPE_CHECKING:
    from salesgauge.metrics.kpis.kpi import Catalogue

ROOT = Path(__file__).resolve().parent.parent


def files(root: Path = ROOT, catalogue: Catalogue = CATALOGUE) -> dict[str, str]:
    """Relative path -> content, from the catalogue and the thresholds under ``root``; the same input, the same text.

    Raises:
        ThresholdsError: ``prometheus/thresholds.yml`` cannot be used.
    """
    thresholds = load(root / PATH, catalogue)
    return {
        **{f"grafana/dashboards/{name}.json": text for name, text in dashboards.files(thresholds, catalogue).items()},
        "prometheus/rules/recording.yml": _rules(rules.recording_groups(thresholds, catalogue), thresholds),
        "prometheus/rules/alerts.yml": _rules(rules.alert_groups(thresholds, catalogue), thresholds),
        "prometheus/alertmanager.yml": _yaml(routes.alertmanager(thresholds)),
        "streams/serve/board/targets.json": _targets(thresholds),
        "docs/alerts.md": runbooks.document(thresholds, catalogue),
    }


def _targets(thresholds: Thresholds) -> str:
    """What the built-in board watches where it is given no other file."""
    lines = (json.dumps(t.model_dump(mode="json", by_alias=True), ensure_ascii=False) for t in thresholds.targets)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _rules(groups: list[rules.Group], thresholds: Thresholds) -> str:
    return _yaml({"groups": [group.document(thresholds.runbooks) for group in groups]})


class _Dumper(yaml.SafeDumper):
    """Without anchors and aliases, which people do not expect."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _yaml(document: dict[str, Any]) -> str:
    return rules.header() + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)
