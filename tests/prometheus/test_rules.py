"""Every alert fires when it should, not when it should not, and ends: `promtool test rules` on the shipped files."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote_plus

import pytest
import yaml

from salesgauge.grafana.rules import alerts
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from tests.grafana.names import ROOT, known, thresholds, unknown
from tests.prometheus.cases import ALWAYS, CASES, START, Case
from tests.support.programs import promtool

RULES = [ROOT / "prometheus/rules/recording.yml", ROOT / "prometheus/rules/alerts.yml"]
RECORDED, ALERTING = ([r for g in yaml.safe_load(f.read_text())["groups"] for r in g["rules"]] for f in RULES)
GROUPS = [g["name"] for f in RULES for g in yaml.safe_load(f.read_text())["groups"]]
ALERTS = {rule["alert"]: rule for rule in ALERTING}

pytestmark = pytest.mark.integration


def firing(name: str, at: str, expected: list[dict[str, str]]) -> dict[str, Any]:
    """A check of what fires: labels beside those of every alert are told."""
    samples = [{"labels": _series({"alertname": name, **labels}), "value": 1} for labels in expected]
    keep = ", ".join(sorted({"alertname", *(label for labels in expected for label in labels)}))
    expr = f'max by ({keep}) (ALERTS{{alertname="{name}", alertstate="firing"}})'
    return {"expr": expr, "eval_time": at, "exp_samples": samples}


def _series(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f'{k}="{v}"' for k, v in labels.items()) + "}"


def scenario(case: Case) -> tuple[dict[str, str], int, int, int]:
    """The series of a case, and the steps at which it is quiet, fires, is over."""
    if case.story:
        return case.story, *case.at
    end = START + case.lasts
    series = {name: f"{_run(good, START)} {_run(bad, case.lasts)} {_back(good, bad, case.lasts)}"
              for name, (good, bad) in case.bad.items()}  # fmt: skip
    quiet = START + case.wait - 1 if case.wait else START - 1
    return {**series, **case.still}, quiet, START + case.wait + (1 if case.wait else 0), end + case.after


def _run(value: str, steps: int) -> str:
    return f"_x{steps}" if value == "_" else f"{value}x{steps - 1}"


def _back(good: str, bad: str, steps: int) -> str:
    if "+" in bad:  # a counter stays where it is
        begin, by = bad.split("+")
        return f"{int(begin) + int(by) * (steps - 1)}x100"
    if bad != "_" and good == "_" and "." not in bad and int(bad) == 1:
        return f"{bad}x100"
    return f"{good}x100"


def promtool_test(tmp_path, tests: list[dict[str, Any]]) -> None:
    file = tmp_path / "test.yml"
    document = {
        "rule_files": [str(rules) for rules in RULES],
        "evaluation_interval": tests[0]["interval"],
        "group_eval_order": GROUPS,
        "tests": tests,
    }
    file.write_text(yaml.safe_dump(document, width=200))
    said = promtool("test", "rules", file)
    assert said.ok, said.text


def minutes(case: Case, step: int) -> str:
    return f"{step * int(case.step[:-1])}{case.step[-1]}"


def inputs(series: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]


# --- every alert


def test_every_alert_is_tested():
    assert set(CASES) | set(ALWAYS) == set(ALERTS)
    assert not set(CASES) & set(ALWAYS)
    assert all(case.never for case in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_it_fires_and_ends(name, tmp_path):
    case = CASES[name]
    series, quiet, fires, over = scenario(case)
    labels = {"severity": ALERTS[name]["labels"]["severity"], **case.labels}
    checks = [
        firing(name, minutes(case, quiet), []),
        firing(name, minutes(case, fires), [labels]),
        firing(name, minutes(case, over), []),
    ]
    promtool_test(tmp_path, [{"interval": case.step, "input_series": inputs(series), "promql_expr_test": checks}])


@pytest.mark.parametrize(
    ("name", "number"), [(name, n) for name, case in CASES.items() for n in range(len(case.never))]
)
def test_it_does_not_fire(name, number, tmp_path):
    case = CASES[name]
    series = case.never[number]
    last = max(_length(values) for values in series.values()) - 1
    times = sorted({last, last * 3 // 4, last // 2, last // 3})
    checks = [firing(name, minutes(case, t), []) for t in times if t > 0]
    promtool_test(tmp_path, [{"interval": case.step, "input_series": inputs(series), "promql_expr_test": checks}])


def _length(values: str) -> int:
    return sum(int(part.rpartition("x")[2]) + (0 if part.startswith("_") else 1) for part in values.split())


def test_the_watchdog_always_fires(tmp_path):
    checks = [firing("Watchdog", t, [{"severity": "none"}]) for t in ("0m", "1m", "3h")]
    promtool_test(tmp_path, [{"interval": "1m", "input_series": inputs({"up": "1x1"}), "promql_expr_test": checks}])


# --- what they say


def action(name: str) -> str:
    return str(ALERTS[name]["annotations"]["action"])


@pytest.mark.parametrize("team", ["O'Brien", "x'}) or max(secret_metric) or max(x{a='", "a & b"])
def test_a_name_in_a_notice_is_a_name(team, tmp_path):
    """Names come from outside: none of them ends a query, and in a link they are escaped."""
    case = CASES["LeadsWaitPastSla"]
    series, _, fires, _ = scenario(case)
    named = {name.replace('"north"', json.dumps(team)): values for name, values in series.items()}
    expected = {
        "eval_time": minutes(case, fires),
        "alertname": "LeadsWaitPastSla",
        "exp_alerts": [
            {
                "exp_labels": {
                    "team": team, "severity": "warning", "layer": "business", "subject": "waiting",
                    "kpi": "leads_waiting",
                },
                "exp_annotations": {
                    "summary": f"Leads wait past the SLA: team {team}",
                    "description": f"Leads waiting, past the SLA, team {team}, now: 2; target at most 0. "
                    "The longest wait is 25m 0s.",
                    "action": action("LeadsWaitPastSla"),
                    "board_url": f"http://localhost:9108/#kpi=leads_waiting&team={quote_plus(team)}",
                },
            }
        ],
    }  # fmt: skip
    promtool_test(tmp_path, [{"interval": case.step, "input_series": inputs(named), "alert_rule_test": [expected]}])


def test_a_notice_tells_the_numbers_and_what_to_do(tmp_path):
    case = CASES["LeadsWaitPastSla"]
    series, _, fires, _ = scenario(case)
    expected = {
        "eval_time": minutes(case, fires),
        "alertname": "LeadsWaitPastSla",
        "exp_alerts": [
            {
                "exp_labels": {
                    "team": "north", "severity": "warning", "layer": "business", "subject": "waiting",
                    "kpi": "leads_waiting",
                },
                "exp_annotations": {
                    "summary": "Leads wait past the SLA: team north",
                    "description": "Leads waiting, past the SLA, team north, now: 2; target at most 0. "
                    "The longest wait is 25m 0s.",
                    "action": action("LeadsWaitPastSla"),
                    "board_url": "http://localhost:9108/#kpi=leads_waiting&team=north",
                },
            }
        ],
    }  # fmt: skip
    promtool_test(tmp_path, [{"interval": case.step, "input_series": inputs(series), "alert_rule_test": [expected]}])


def test_a_notice_of_a_rate_tells_how_many_stand_behind_it(tmp_path):
    case = CASES["CsatLow"]
    series, _, fires, _ = scenario(case)
    expected = {
        "eval_time": minutes(case, fires),
        "alertname": "CsatLow",
        "exp_alerts": [
            {
                "exp_labels": {"severity": "info", "layer": "business", "subject": "csat_score", "kpi": "csat_score"},
                "exp_annotations": {
                    "summary": "CSAT below 4.0",
                    "description": "Customer satisfaction (CSAT), in the last 30d: 3.2, n = 20; "
                    "target at least 4.",
                    "action": action("CsatLow"),
                    "board_url": "http://localhost:9108/#window=30d&kpi=csat_score",
                },
            }
        ],
    }  # fmt: skip
    promtool_test(tmp_path, [{"interval": case.step, "input_series": inputs(series), "alert_rule_test": [expected]}])


def test_a_burn_tells_the_objective(tmp_path):
    case = CASES["SlaBudgetBurnsFast"]
    series, _, fires, _ = scenario(case)
    expected = {
        "eval_time": minutes(case, fires),
        "alertname": "SlaBudgetBurnsFast",
        "exp_alerts": [
            {
                "exp_labels": {
                    "severity": "critical", "layer": "business", "subject": "sla", "kpi": "lead_response_sla_ratio",
                    "window": "24h",
                },
                "exp_annotations": {
                    "summary": "Too many leads are not answered within the SLA",
                    "description": "Over 24h leads missed the SLA 5 times as often as the objective allows "
                    "(90 % within the SLA over 30d), and they still do over 1h. "
                    "At this rate the allowance for 30d is used up in 6d 0h 0m 0s.",
                    "action": action("SlaBudgetBurnsFast"),
                    "board_url": "http://localhost:9108/#window=24h&kpi=lead_response_sla_ratio",
                },
            }
        ],
    }  # fmt: skip
    promtool_test(tmp_path, [{"interval": case.step, "input_series": inputs(series), "alert_rule_test": [expected]}])


def test_every_alert_is_labelled_and_explained():
    documented = set(re.findall(r"^## (\w+)$", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE))
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
        assert rule["labels"]["layer"] in {"business", "engine", "watchdog"}
        assert {"summary", "description", "action", "board_url"} == set(rule["annotations"])
        assert rule["annotations"]["board_url"].startswith("http://localhost:9108/")
        assert name in documented
        assert re.search(r"\d|\$value", rule["annotations"]["description"]) or name == "Watchdog"
        if "by (team)" in rule["expr"]:
            assert "$labels.team" in rule["annotations"]["summary"]


# --- what they name


def test_rules_name_what_exists():
    metrics = known([rule["record"] for rule in RECORDED])
    for rule in (*RECORDED, *ALERTING):
        assert unknown(rule["expr"], metrics) == [], rule
        for query in re.findall(r"query `([^`]+)`", str(rule.get("annotations", ""))):
            assert unknown(query, metrics) == []
        description = rule.get("annotations", {}).get("description", "")
        for query in re.findall(r'query "([^"]+)"', description):
            assert unknown(query, metrics) == []
        assert "printf" not in description, "no label may enter a query"


def test_recording_rules_are_named_level_metric_operations():
    for rule in RECORDED:
        assert re.fullmatch(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+", rule["record"]), rule["record"]


def test_promtool_accepts_the_rules():
    for file in RULES:
        said = promtool("check", "rules", "--lint=all", "--lint-fatal", file)
        assert said.ok, said.text


def test_all_business_alerts_hold_while_an_exporter_fails():
    for alert in alerts(thresholds(), CATALOGUE):
        if alert.layer == "business":
            assert alert.hold == thresholds().hold
