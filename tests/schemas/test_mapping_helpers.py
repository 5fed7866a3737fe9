"""Helpers of a mapping: levels from changes and back, stage histories, totals per day."""

# ruff: noqa: E501 (queries in one line)

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salesgauge.schemas.sources.conversion import Rejected, convert
from salesgauge.schemas.sources.mapping import ConvertError, parse_mapping


def events(folder: Path, text: str, view: Any, **queries: str) -> list[Any]:
    (folder / "t.csv").write_text(text)
    content = {
        "inputs": {"t": "t.csv"},
        "views": {"v": view},
        "events": [{"event": event, "sql": sql} for event, sql in queries.items()],
    }
    found = list(convert(parse_mapping(content), folders=(folder,)))
    assert not [result for result in found if isinstance(result, Rejected)]
    return sorted(found, key=lambda e: (e.occurred_at, e.name, e.event_id))


SUBSCRIPTION = "SELECT Account AS account_id, Day AS occurred_at, before AS mrr_before, after AS mrr_after FROM v"


def test_levels_from_changes(tmp_path: Path) -> None:
    text = "Account,Day,Change\na,2026-01-03,-20\na,2026-01-01,100\nb,2026-01-02,7\na,2026-01-02,50.5\n"
    found = events(
        tmp_path, text, {"delta": {"from": "t", "by": "Account", "at": "Day", "change": "Change"}},
        subscription_changed=SUBSCRIPTION,
    )  # fmt: skip
    levels = [(e.account_id, e.mrr_before, e.mrr_after) for e in found if e.account_id == "a"]
    assert levels == [("a", 0, 100), ("a", 100, Decimal("150.5")), ("a", Decimal("150.5"), Decimal("130.5"))]
    assert [(e.mrr_before, e.mrr_after) for e in found if e.account_id == "b"] == [(0, 7)]


def test_changes_from_levels(tmp_path: Path) -> None:
    text = "Account,Day,MRR\na,2026-01-01,100\na,2026-02-01,100\na,2026-03-01,80\nb,2026-02-01,5\na,2026-04-01,\n"
    found = events(
        tmp_path, text, {"delta": {"from": "t", "by": "Account", "at": "Day", "level": "MRR"}},
        subscription_changed=f"{SUBSCRIPTION} WHERE change <> 0",
    )  # fmt: skip
    assert [(e.account_id, e.mrr_before, e.mrr_after) for e in found] == [("a", 0, 100), ("b", 0, 5), ("a", 100, 80)]


def test_rows_of_one_day_are_taken_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "Account,Day,Change\na,2026-01-01,100\na,2026-01-01,-40\na,2026-01-01,5\n"
    found = events(
        tmp_path, text, {"delta": {"from": "t", "by": ["Account"], "at": "Day", "change": "Change"}},
        subscription_changed=SUBSCRIPTION,
    )  # fmt: skip
    assert {(e.mrr_before, e.mrr_after) for e in found} == {(0, 100), (100, 60), (60, 65)}


HISTORY = {"history": {"from": "t", "by": "Deal", "at": "Changed", "stage": "Stage", "closed": ["Won", "Lost"]}}
STAGES = """Deal,Changed,Stage
1,2026-01-01,New
1,2026-01-05,Won
1,2026-01-05,Won
1,2026-01-09,Negotiation
1,2026-01-12,Won
2,2026-01-02,New
2,2026-01-03,Lost
"""


def test_a_stage_history_with_re_openings(tmp_path: Path) -> None:
    found = events(
        tmp_path, STAGES, HISTORY,
        opportunity_created="SELECT Deal AS deal_id, Deal AS lead_id, Changed AS occurred_at FROM v WHERE is_first",
        deal_won="SELECT Deal AS deal_id, Deal AS lead_id, Changed AS occurred_at FROM v WHERE Stage = 'Won'",
        deal_lost="SELECT Deal AS deal_id, Deal AS lead_id, Changed AS occurred_at FROM v WHERE Stage = 'Lost'",
        deal_reopened="SELECT Deal AS deal_id, Deal AS lead_id, Changed AS occurred_at FROM v WHERE reopened",
    )  # fmt: skip
    assert [(e.name, e.deal_id, e.occurred_at.day) for e in found] == [
        ("opportunity_created", "1", 1), ("opportunity_created", "2", 2), ("deal_lost", "2", 3), ("deal_won", "1", 5),
        ("deal_reopened", "1", 9), ("deal_won", "1", 12),
    ]  # fmt: skip


def test_what_a_history_knows_of_the_row_before_and_after(tmp_path: Path) -> None:
    sql = """SELECT Deal AS lead_id, Changed AS occurred_at, coalesce(previous_stage, '-') || '>' || coalesce(next_stage, '-') AS source,
                    is_last AS qualified FROM v WHERE Deal = 1"""
    found = events(tmp_path, STAGES, HISTORY, lead_created=sql)
    assert [(e.source, e.qualified) for e in found] == [
        ("->Won", False), ("New>Negotiation", False), ("Won>Won", False), ("Negotiation>-", True),
    ]  # fmt: skip


def test_a_count_per_day_becomes_as_many_rows_with_lasting_ids(tmp_path: Path) -> None:
    view = {"daily": {"from": "t", "day": "Day", "count": "Leads", "by": "Source"}}
    sql = "SELECT id AS event_id, id AS lead_id, Day AS occurred_at, Source AS source FROM v"
    one = events(
        tmp_path, "Day,Source,Leads\n2026-01-01,Web,2\n2026-01-01,Fair,1\n2026-01-02,Web,0\n", view, lead_created=sql
    )
    assert {e.lead_id for e in one} == {"Web|2026-01-01|1", "Web|2026-01-01|2", "Fair|2026-01-01|1"}
    later = events(tmp_path, "Day,Source,Leads\n2026-01-01,Fair,1\n2026-01-01,Web,3\n", view, lead_created=sql)
    assert {e.event_id for e in one} < {e.event_id for e in later}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cents=st.integers(-(10**9), 10**9), days=st.integers(1, 400))
def test_shares_of_days_add_up_to_the_amount(tmp_path: Path, cents: int, days: int) -> None:
    amount = Decimal(cents) / 100
    view = {"daily": {"from": "t", "start": "Begin", "end": "Finish", "amount": "Budget"}}
    (tmp_path / "t.csv").write_text("x\n1\n")
    text = f"Begin,Finish,Budget\n2026-01-01,{_day(days)},{amount}\n"
    found = events(
        tmp_path, text, view, spend_recorded="SELECT 'c' AS campaign_id, day AS occurred_at, share AS amount FROM v"
    )
    assert len(found) == days
    assert sum(e.amount for e in found) == amount
    assert max(e.amount for e in found) - min(e.amount for e in found) <= Decimal("0.000002")


def _day(days: int) -> str:
    from datetime import date, timedelta

    return (date(2026, 1, 1) + timedelta(days=days - 1)).isoformat()


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"delta": {"from": "t", "by": "a", "at": "b"}}, "give change"),
        ({"delta": {"from": "t", "by": "a", "at": "b", "change": "c", "level": "d"}}, "give change"),
        ({"history": {"from": "t", "by": "a", "at": "b"}}, "stage"),
        ({"daily": {"from": "t", "day": "a"}}, "give day and count, or start, end and amount"),
        ({"dayly": {"from": "t"}}, "one of the helpers delta, history, daily"),
        ({"delta": {"from": "t", "by": "Nobody", "at": "Day", "change": "Change"}}, "Nobody"),
    ],
)
def test_wrong_helpers_are_named(tmp_path: Path, view: Any, message: str) -> None:
    with pytest.raises(ConvertError) as caught:
        events(tmp_path, "Account,Day,Change\na,2026-01-01,1\n", view, subscription_changed=SUBSCRIPTION)
    assert message in str(caught.value)
