"""All files that this room generates: boards, rules, Alertmanager's configuration, targets, docs/alerts.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from salesgauge.grafana import routes, rules, runbooks

if TYPE_CHECKING:
    from salesgauge.grafana.thresholds import Thresholds
    from salesgauge.metrics.kpis.kpi import Catalogue


def dashboard_files(thresholds: Thresholds, catalogue: Catalogue) -> dict[str, str]:
    """Relative path -> JSON of each dashboard; needs the extra `boards`."""
    from salesgauge.grafana import dashboards  # noqa: PLC0415 - rules are generated without the extra

    made = dashboards.files(thresholds, catalogue)
    return {f"grafana/dashboards/{name}.json": text for name, text in made.items()}


def rule_files(thresholds: Thresholds, catalogue: Catalogue) -> dict[str, str]:
    """Relative path -> recording rules, alert rules, Alertmanager's configuration and the alerts' documentation."""
    return {
        "prometheus/rules/recording.yml": _rules(rules.recording_groups(thresholds, catalogue), thresholds),
        "prometheus/rules/alerts.yml": _rules(rules.alert_groups(thresholds, catalogue), thresholds),
        "prometheus/alertmanager.yml": _yaml(routes.alertmanager(thresholds)),
        "docs/alerts.md": runbooks.document(thresholds, catalogue),
    }


def board_targets(thresholds: Thresholds) -> dict[str, str]:
    """What the built-in board judges by where its settings name no other file."""
    lines = (json.dumps(t.model_dump(mode="json", by_alias=True), ensure_ascii=False) for t in thresholds.targets)
    return {"streams/serve/board/targets.json": "[\n" + ",\n".join(lines) + "\n]\n"}


def _rules(groups: list[rules.RuleGroup], thresholds: Thresholds) -> str:
    return _yaml({"groups": [group.document(thresholds) for group in groups]})


class _Dumper(yaml.SafeDumper):
    """Without anchors and aliases, which people do not expect."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _yaml(document: dict[str, Any]) -> str:
    return rules.header() + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)
