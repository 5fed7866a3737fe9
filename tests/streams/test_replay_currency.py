"""Files in one currency report in it, unless somebody chose another."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from salesgauge.streams.cli.main import cli


def won(number, price, currency=None):
    event = {
        "event": "deal_won",
        "event_id": f"w{number}",
        "occurred_at": f"2026-01-0{number}T10:00:00Z",
        "deal_id": f"d{number}",
        "lead_id": f"l{number}",
        "lines": [{"product": "p", "quantity": 1, "unit_price": price}],
    }
    return event | ({"currency": currency} if currency else {})


def revenue(path, events, env=None):
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    arguments = ["replay", "--events", str(path), "--at", "2026-02-01T00:00:00Z", "--json"]
    result = CliRunner().invoke(cli, arguments, env=env or {})
    document = json.loads(result.stdout)
    assert result.exit_code == (document["rejected"] > 0), result.stderr
    assert ("set rules.rates" in result.stderr) == (document["rejected"] > 0)
    whole = [r for r in document["readings"] if r["window"] == "all" and not r["labels"]]
    value = next((r["value"] for r in whole if r["kpi"] == "sales_revenue"), None)  # without a win it is not connected
    return value, document["rejected"], result.stderr


def test_one_foreign_currency_is_the_reporting_currency(tmp_path):
    value, rejected, said = revenue(tmp_path / "e.jsonl", [won(1, 100, "USD"), won(2, 20.5, "usd")])
    assert (value, rejected) == (120.5, 0)
    assert "USD" in said


@pytest.mark.parametrize("other", ["EUR", "GBP"])
def test_several_currencies_are_never_added_raw(tmp_path, other):
    value, rejected, _ = revenue(tmp_path / "e.jsonl", [won(1, 100, "USD"), won(2, 20, other)])
    assert (value, rejected) in {(20, 1), (None, 2)}


def test_a_chosen_currency_stays(tmp_path):
    chosen = {"SALESGAUGE_RULES__CURRENCY": "CHF"}
    value, rejected, _ = revenue(tmp_path / "e.jsonl", [won(1, 100, "USD"), won(2, 7)], chosen)
    assert (value, rejected) == (7, 1)
