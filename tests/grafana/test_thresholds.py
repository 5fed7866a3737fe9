"""The settings file: what it refuses, and what is computed from it."""

from __future__ import annotations

import copy
import re
from datetime import time

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from salesgauge.grafana.generate import rule_files
from salesgauge.grafana.rules import readable
from salesgauge.grafana.thresholds import PATH, BusinessHours, Slo, ThresholdsError, load, seconds
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.targets import parse
from salesgauge.metrics.rules.model import Rules
from salesgauge.streams.cli.generate import files
from salesgauge.streams.cli.main import cli
from salesgauge.streams.serve.board import DEFAULTS
from tests.grafana.names import ROOT, thresholds

DOCUMENT = yaml.safe_load((ROOT / PATH).read_text())
DAY = 24 * 60


def test_durations():
    assert [seconds(d) for d in ("90s", "15m", "1h30m", "7d", "0m", "250ms")] == [90, 900, 5400, 604_800, 0, 0.25]
    assert [readable(s) for s in (90, 1800, 14_400, 172_800)] == ["90 s", "30 min", "4 h", "2 d"]


def test_business_hours_in_utc():
    monday = BusinessHours(zone="UTC", opens=time(9), closes=time(17), weekdays=("monday",))
    assert monday.utc_spans() == [(DAY + 540, DAY + 1020)]


def test_business_hours_are_those_of_winter_and_summer_alike():
    """Berlin is UTC+1 and UTC+2: 9 to 17 is 8 to 16 and 7 to 15, and both are 8 to 15."""
    berlin = BusinessHours(zone="Europe/Berlin", opens=time(9), closes=time(17), weekdays=("monday",))
    assert berlin.utc_spans() == [(DAY + 8 * 60, DAY + 15 * 60)]


@pytest.mark.parametrize(
    ("zone", "day", "spans"),
    [
        # Auckland is UTC+12 and +13: Sunday 9 to 17 is Saturday 21 to Sunday 4, over the end of the week
        ("Pacific/Auckland", "sunday", [(0, 4 * 60), (6 * DAY + 21 * 60, 7 * DAY)]),
        # Los Angeles is UTC-8 and -7: Saturday 9 to 17 is 17 to 24
        ("America/Los_Angeles", "saturday", [(6 * DAY + 17 * 60, 7 * DAY)]),
        ("Asia/Tokyo", "monday", [(DAY, DAY + 8 * 60)]),
    ],
)
def test_business_hours_over_the_end_of_the_week(zone, day, spans):
    assert BusinessHours(zone=zone, opens=time(9), closes=time(17), weekdays=(day,)).utc_spans() == spans


def test_burn_rates_are_shares_of_the_budget():
    """10 % of a 30 days' budget within a day is three times the even rate: 30 % missed at an objective of 90 %."""
    slo = thresholds().slo
    fast = slo.burns[0]
    assert slo.rate(fast) == pytest.approx(0.10 * 30 / 1)
    assert slo.missed_above(fast) == pytest.approx(0.3)


def test_a_burn_that_could_never_fire_is_refused():
    burn = {"alert": "Never", "long": "24h", "short": "1h", "budget": 0.5, "for": "1m", "severity": "critical"}
    with pytest.raises(ValidationError, match="Never could never fire"):
        Slo.model_validate({**DOCUMENT["slo"], "burns": [burn]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kpi": "no_such_kpi"}, "target 1, there is no KPI 'no_such_kpi'"),
        ({"window": "1h"}, "leads_waiting: `window` is '1h'; write one of all"),
        ({"stat": "p50"}, "leads_waiting: `stat` is 'p50'; write one of value, late"),
        ({"by": "product"}, "`by` is ['product']; write one of [rep], [team], [source]"),
        ({"min_n": 5}, "no count is behind its numbers; leave `min_n` out"),
        ({"op": "=>"}, "`targets[1].op` is '=>'; write '>', '>=', '<' or '<='"),
        ({"colour": "red"}, "`targets[1].colour` is no known key"),
        ({"action": []}, "targets[1]: an alert needs `summary`"),
    ],
)
def test_what_is_wrong_is_told(change, message, tmp_path):
    target = {**DOCUMENT["targets"][0], **change}
    (tmp_path / "t.yml").write_text(yaml.safe_dump({**DOCUMENT, "targets": [target]}))
    with pytest.raises(ThresholdsError, match=re.escape(message)) as refused:
        load(tmp_path / "t.yml", CATALOGUE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not YAML"), ("- a", "write a mapping with the keys"), ("", "write a mapping"), (None, "No such file")],
)
def test_a_file_that_is_none_is_told(text, message, tmp_path):
    if text is not None:
        (tmp_path / "t.yml").write_text(text)
    with pytest.raises(ThresholdsError, match=message):
        load(tmp_path / "t.yml", CATALOGUE)


def test_another_setting_makes_other_files(tmp_path):
    changed = {**DOCUMENT, "currency": "USD", "hold": "7m"}
    (tmp_path / "prometheus").mkdir()
    (tmp_path / PATH).write_text(yaml.safe_dump(changed))
    made = files(tmp_path)
    assert '"unit": "currencyUSD"' in made["grafana/dashboards/sales/sales-manager.json"]
    assert "keep_firing_for: 7m" in made["prometheus/rules/alerts.yml"]


def test_the_built_in_page_reads_the_same_targets():
    read = parse(DOCUMENT["targets"], CATALOGUE)
    assert read == thresholds().targets == DEFAULTS


def test_currency_is_the_engine_s_default():
    assert thresholds().currency == Rules().currency


# --- any mistake is one line


def _leaves(node: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    inner = [leaf for key, value in items for leaf in _leaves(value, (*path, key))]
    return [path, *inner] if path else inner


_WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 100_000), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.sampled_from(["30d", "5m", "0m", "UTC", "Mars/Olympus", "25:00", "09:00", "all", "p50", ">", "A"]),
    st.sampled_from([[1], {"a": 1}]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(_leaves(DOCUMENT)), value=_WRONG)
def test_any_value_anywhere_is_used_or_refused_in_one_line(path, value, tmp_path_factory):
    document = copy.deepcopy(DOCUMENT)
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    file = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_text(yaml.safe_dump(document))
    refusal = ""
    try:
        assert rule_files(load(file, CATALOGUE), CATALOGUE)
    except ThresholdsError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert not refusal or str(path[0]) in refusal or "target" in refusal


def test_a_time_without_quotes_is_not_taken_for_another(tmp_path):
    text = (ROOT / PATH).read_text().replace('closes: "17:00"', "closes: 17:00")
    (tmp_path / "t.yml").write_text(text)
    with pytest.raises(ThresholdsError, match=r"business_hours\.closes: write the time in quotes"):
        load(tmp_path / "t.yml", CATALOGUE)


def test_a_folder_of_ones_own_is_generated_from_its_own_thresholds(tmp_path):
    run = CliRunner().invoke(cli, ["generate", "--root", str(tmp_path)])
    assert run.exit_code == 1
    run = CliRunner().invoke(cli, ["generate", "--root", str(tmp_path), "--new"])
    assert run.exit_code == 0, run.output
    settings_file = tmp_path / PATH
    settings_file.write_text(settings_file.read_text().replace("value: 14400", "value: 7200"))
    assert CliRunner().invoke(cli, ["generate", "--root", str(tmp_path), "--new"]).exit_code == 0
    assert "7200" in (tmp_path / "prometheus/rules/alerts.yml").read_text()
    assert (tmp_path / "grafana/dashboards/sales/speed-to-lead.json").is_file()
    assert not (tmp_path / "schemas").exists()
    assert CliRunner().invoke(cli, ["generate", "--root", str(tmp_path), "--check"]).exit_code == 0
    settings_file.write_text("targets: 1\n")
    run = CliRunner().invoke(cli, ["generate", "--root", str(tmp_path)])
    assert (run.exit_code, type(run.exception)) == (1, SystemExit)


def test_without_the_extra_the_rules_are_generated_and_what_is_left_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("salesgauge.streams.cli.generate.find_spec", lambda _: None)
    run = CliRunner().invoke(cli, ["generate", "--root", str(tmp_path), "--new"])
    assert run.exit_code == 0
    assert (tmp_path / "prometheus/rules/alerts.yml").is_file()
    assert not (tmp_path / "grafana/dashboards").exists()
