"""The reader of PromQL names that other tests stand on."""

from __future__ import annotations

import pytest

from tests.grafana.names import named, plain, unknown

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
