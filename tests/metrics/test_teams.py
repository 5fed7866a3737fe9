"""Whose team a number belongs to where the event does not say: the lead's, the roster's, what the rep joined last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from salesgauge.metrics.rules.model import Rules
from tests.support.stories import NOW, assigned, created, event, machine, ms, read, won

if TYPE_CHECKING:
    from salesgauge.schemas.events import EventBase

DEALS = [won("a", "06-10 10:00", 100, rep_id="ana"), won("b", "06-11 10:00", 30, account_id="acme", rep_id="bo")]


def joined(rep: str, team: str, at: str = "01-02 09:00") -> EventBase:
    return event("rep_joined", at, rep_id=rep, team=team)


def test_a_deal_of_a_rep_counts_for_the_team_that_the_rep_joined():
    events = [*DEALS, joined("ana", "north"), joined("bo", "south")]
    assert read(events, "sales_revenue", team="north") == 100
    assert read(events, "sales_revenue", team="south") == 30
    assert read(events, "sales_revenue", team="unknown") is None
    assert read(events, "sales_revenue") == 130


@pytest.mark.parametrize("order", [1, -1])
def test_the_team_that_was_joined_last_holds_whatever_arrives_first(order):
    joins = [joined("ana", "north", "01-02 09:00"), joined("ana", "west", "03-02 09:00")][::order]
    assert read([*joins, *DEALS], "deals_won", team="west") == 1
    assert read([*DEALS, *joins], "deals_won", team="north") is None


@pytest.mark.parametrize(
    ("events", "rules", "team"),
    [
        ([won("a", "06-10 10:00", 100, rep_id="ana", team="said")], None, "said"),
        ([created("a"), assigned("a", "ana", "06-03 09:00", team="the lead's"), DEALS[0]], None, "the lead's"),
        ([DEALS[0]], Rules(roster={"ana": "the roster's"}), "the roster's"),
    ],
)
def test_what_is_nearer_to_the_deal_goes_before(events, rules, team):
    assert read([*events, joined("ana", "north")], "sales_revenue", rules=rules, team=team) == 100


def test_teams_move_with_all_windows_stocks_and_waiting_leads_when_they_become_known():
    engine = machine([created("x", "06-30 23:30", rep_id="ana"), *DEALS])

    def teams(kpi, stat="value", window="all"):
        found = engine.readings(engine.catalogue.select([kpi]), frozenset({window}))
        return {r.labels["team"]: r.value for r in found if [*r.labels] == ["team"] and r.stat == stat}

    assert teams("leads_waiting") == {"unknown": 1}
    assert teams("sales_revenue", window="30d") == {"unknown": 130}
    for team in ("north", "south"):
        engine.apply([joined("ana", team, "02-02 09:00" if team == "north" else "04-02 09:00")])
        assert teams("leads_waiting") == {team: 1}
        assert teams("lead_oldest_wait_seconds") == {team: 30 * 60}
        assert teams("sales_revenue", window="30d") == {team: 100, "unknown": 30}
        assert teams("sales_growth_ratio", window="30d").keys() <= {team, "unknown"}
    engine.advance(ms(NOW) + 60 * 24 * 3600 * 1000)
    assert teams("sales_revenue", window="30d") == {"south": 0, "unknown": 0}
    assert teams("sales_revenue") == {"south": 100, "unknown": 30}


def test_hidden_names_share_no_team():
    """All reps whose names are hidden are one label value; they need not be of one team."""
    events = [won("a", "06-10 10:00", 100, rep_id="ana@example.org"), joined("bo@example.org", "south")]
    assert read(events, "sales_revenue", team="unknown") == 100
