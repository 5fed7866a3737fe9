"""The reader of PromQL names that other tests stand on."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from salesgauge.grafana.promql import scoped
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from tests.grafana.names import named, plain, unknown
from tests.support.programs import promtool

METRICS = {"a": {"x", "y"}, "b:c:d": {"x"}, "crm_n": {"window"}}


@pytest.mark.parametrize(
    ("query", "selectors", "grouping"),
    [
        ("a", [("a", set())], set()),
        ('a{x="1",y=~"b|c{}"} > 5', [("a", {"x", "y"})], set()),
        ("sum by (x, y) (rate(a[5m]))", [("a", set())], {"x", "y"}),
        ("sum(a) by (x)", [("a", set())], {"x"}),
        ("a / on (x) group_left (y) b:c:d offset 1w", [("a", set()), ("b:c:d", set())], {"x", "y"}),
        ("histogram_quantile(0.9, sum by (le) (a))", [("a", set())], {"le"}),
        ("time() - 1e3 > bool 2 and vector(1)", [], set()),
        ("avg_over_time(max(a{x='1'})[28d:1h] offset 7d) unless b:c:d", [("a", {"x"}), ("b:c:d", set())], set()),
        ('absent(a{x="by (z)"} == 1)', [("a", {"x"})], set()),
    ],
)
def test_names_of_a_query(query, selectors, grouping):
    names = named(query)
    assert names.selectors == selectors
    assert names.grouping == grouping


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sum by (x) (a)", []),
        ("sum by (z) (a)", ["by z"]),
        ("a{z='1'} + nothing", ["a{z}", "nothing"]),
        ('max(crm_n{window="7d"})', []),
    ],
)
def test_what_does_not_exist_is_told(query, wrong):
    assert unknown(query, METRICS) == wrong


def test_variables_become_values():
    assert plain('rate(a{x=~"$rep",w="${window}"}[$__rate_interval])') == 'rate(a{x=~"x",w="x"}[5m])'


@pytest.mark.parametrize(
    ("chosen", "waiting", "sla"),
    [
        ({}, 10, 0.5),
        ({"team": "north"}, 4, 0.75),
        ({"team": "north|south"}, 10, 0.5),
        ({"rep": "ann"}, 3, None),
        ({"team": "north", "rep": "ann"}, 4, 0.75),
        ({"team": "nobody"}, 0, None),
    ],
)
def test_a_headline_is_that_of_the_chosen_part(tmp_path, chosen, waiting, sla):
    series = {
        'crm_leads_waiting{window="all"}': 10,
        'crm_leads_waiting_by_team{window="all",team="north"}': 4,
        'crm_leads_waiting_by_team{window="all",team="south"}': 6,
        'crm_leads_waiting_by_rep{window="all",rep="ann"}': 3,
        'crm_leads_waiting_by_rep{window="all",rep="bob"}': 7,
        'crm_leads_waiting_by_source{window="all",source="web"}': 10,
        'crm_lead_response_sla_ratio{window="24h"}': 0.5,
        'crm_lead_response_sla_ratio_numerator_by_team{window="24h",team="north"}': 3,
        'crm_lead_response_sla_ratio_numerator_by_team{window="24h",team="south"}': 2,
        'crm_lead_response_sla_ratio_denominator_by_team{window="24h",team="north"}': 4,
        'crm_lead_response_sla_ratio_denominator_by_team{window="24h",team="south"}': 6,
        'crm_lead_response_sla_ratio_denominator_by_rep{window="24h",rep="bob"}': 6,
    }

    def query(kpi: str, window: str) -> str:
        text = scoped(CATALOGUE.by_id[kpi], "value", window)
        return re.sub(r"\$(\w+)", lambda m: chosen.get(m[1], ".+"), text)

    def check(expr: str, value: float | None) -> dict[str, Any]:
        samples = [] if value is None else [{"labels": "{}", "value": value}]
        return {"expr": expr, "eval_time": "2m", "exp_samples": samples}

    file = tmp_path / "test.yml"
    checks = [check(query("leads_waiting", "all"), waiting), check(query("lead_response_sla_ratio", "24h"), sla)]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value}x5"} for name, value in series.items()],
        "promql_expr_test": checks,
    }
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}, width=1000))
    said = promtool("test", "rules", file)
    assert said.ok, said.text
