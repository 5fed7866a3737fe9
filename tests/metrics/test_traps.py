"""The thirteen traps of the KPI catalogue, one test (or a few) each."""

from __future__ import annotations

import random
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import pairwise, permutations
from typing import TYPE_CHECKING

import pytest

from salesgauge.metrics.engine import Machine, copy_changes
from salesgauge.metrics.entities.routes import home_key
from salesgauge.metrics.entities.state import Message
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.families import families, stat_names
from salesgauge.metrics.kpis.formula import Ratio
from salesgauge.metrics.kpis.kpi import Form, Unit
from salesgauge.metrics.kpis.readings import OTHER, View
from salesgauge.metrics.measures.buckets import RELATIVE_ERROR
from salesgauge.metrics.rules.model import CalendarRule, CurrencyRate, Rules
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.shard import Shard, admit
from salesgauge.metrics.windows.series import SeriesIndex
from salesgauge.metrics.windows.sums import WindowSums
from salesgauge.schemas.codec import Reason
from tests.support.stories import (
    NOW,
    assigned,
    churned,
    created,
    demo,
    event,
    lost,
    machine,
    ms,
    opened,
    read,
    readings,
    reply,
    spent,
    stage,
    touch,
    won,
)

if TYPE_CHECKING:
    from salesgauge.schemas.events import EventBase


def value(engine: Machine, kpi: str, window: str = "all", stat: str = "value", **labels: str) -> float | None:
    for r in engine.readings(engine.catalogue.select([kpi]), frozenset([window])):
        if (r.stat, dict(r.labels)) == (stat, labels):
            return r.value
    return None


# --- 1. Survivorship


def test_1_survivorship_leads_that_nobody_answers_show() -> None:
    """One of ten leads answered at once: the mean is a minute, and everything else says what that is worth."""
    events = [created(f"l{n}") for n in range(10)] + [touch("l0", "06-02 09:01")]
    assert read(events, "lead_response_seconds", stat="mean") == 60
    assert read(events, "leads_waiting") == 9
    assert read(events, "leads_waiting", stat="late") == 9
    assert read(events, "lead_response_sla_ratio") == 1 / 10
    assert read(events, "lead_oldest_wait_seconds", at="06-03 09:00") == 24 * 3600
    assert read(events, "lead_response_seconds", stat="survival_p50") is None  # the median lead was never answered


def test_1_survivorship_a_missed_lead_counts_the_moment_it_is_due() -> None:
    events = [created("a", "06-02 09:00")]
    assert read(events, "lead_response_sla_ratio", at="06-02 09:14") is None
    assert read(events, "leads_waiting", stat="late", at="06-02 09:14") == 0
    assert read(events, "lead_response_sla_ratio", at="06-02 09:15") == 0
    assert read(events, "leads_waiting", stat="late", at="06-02 09:15") == 1


# --- 2. Order


def test_2_order_everything_may_come_before_its_lead() -> None:
    events = [
        created("a", source="web"), assigned("a", "ann", "06-02 09:01"), touch("a", "06-02 09:05"),
        reply("a", "06-02 10:00", "positive"), opened("a", "d", "06-03 09:00", amount=10),
        won("d", "06-04 09:00", 10, lead_id="a", account_id="A"),
    ]  # fmt: skip
    orders = random.Random(1).sample(list(permutations(events)), 40)
    assert len({frozenset(_all(list(order)).items()) for order in orders}) == 1
    assert read(events[::-1], "lead_response_seconds", stat="mean", source="web") == 300


def _all(events: list[EventBase], rules: Rules | None = None) -> dict[object, float]:
    found = machine(events, rules=rules)
    return {(r.kpi, r.stat, r.window, tuple(r.labels.items())): r.value for r in found.readings()}


STAGES_OF_A_DAY = ["subscriber", "lead", "mql", "sql", "opportunity", "disqualified", "customer", "evangelist"]


@pytest.mark.parametrize(("earlier", "later"), list(pairwise(STAGES_OF_A_DAY)), ids="-".join)
def test_2_order_of_stages_at_one_instant_the_furthest_is_the_last(earlier: str, later: str) -> None:
    # Exports often know only the day.
    for _ in range(5):  # the ids, by which such events were sorted otherwise, are new each time
        events = [created("a", "06-02 00:00"), stage("a", later, "06-02 00:00"), stage("a", earlier, "06-02 00:00")]
        for order in permutations(events):
            assert read(order, "lifecycle_stage_ratio", stage=later) == 1


# --- 3. Late corrections


def test_3_late_corrections_repair_past_windows() -> None:
    engine = machine([won("d", "05-20 10:00", 500, lead_id="l"), won("e", "06-20 10:00", 100, lead_id="m")])
    assert value(engine, "sales_growth_ratio", "30d") == (100 - 500) / 500
    engine.apply([won("d", "05-20 10:00", 50, lead_id="l", recorded_at="06-25 10:00")])  # the amount was wrong
    assert value(engine, "sales_growth_ratio", "30d") == (100 - 50) / 50
    engine.apply([event("deal_reopened", "06-26 10:00", lead_id="l", deal_id="d")])
    assert value(engine, "sales_growth_ratio", "30d") is None
    assert value(engine, "sales_revenue", "90d") == 100
    engine.apply([won("d", "06-27 10:00", 70, lead_id="l")])  # won again: it counts where it was won again
    assert value(engine, "sales_revenue", "7d") == 70


def test_3_late_corrections_an_earlier_touch_moves_the_response() -> None:
    engine = machine([created("a"), touch("a", "06-05 09:00")])
    assert value(engine, "lead_response_seconds", stat="mean") == 3 * 86_400
    engine.apply([touch("a", "06-02 09:10")])
    assert value(engine, "lead_response_seconds", stat="mean") == 600
    assert value(engine, "lead_response_seconds", stat="count") == 1
    assert value(engine, "lead_response_sla_ratio") == 1


def test_3_late_corrections_the_version_recorded_last_holds() -> None:
    first = won("d", "06-10 10:00", 100, recorded_at="06-10 10:00")
    last = won("d", "06-10 10:00", 300, recorded_at="06-12 10:00")
    between = won("d", "06-10 10:00", 200, recorded_at="06-11 10:00")
    for order in permutations([first, last, between]):
        assert read(order, "sales_revenue") == 300
        assert read(order, "deals_won") == 1


def test_3_late_corrections_the_version_of_a_lead_recorded_last_holds() -> None:
    for first_id, last_id in permutations(["event-of-monday", "event-of-friday"]):
        first = created("a", source="wbe", rep_id="ann", team="north", recorded_at="06-02 10:00", id=first_id)
        last = created("a", source="web", rep_id="bob", team="south", recorded_at="06-12 10:00", id=last_id)
        for order in permutations([first, last, touch("a", "06-02 09:00")]):
            engine = machine(order)
            assert value(engine, "new_leads", source="web") == 1
            assert value(engine, "new_leads", source="wbe") is None
            assert value(engine, "lead_response_seconds", stat="count", rep="bob") == 1
            assert value(engine, "lead_response_seconds", stat="count", team="north") is None


# --- 4. Ratios across workers


def test_4_ratios_are_divided_after_merging() -> None:
    """One partition has 1 win of 1, the other 1 of 9: together 2 of 10, not the mean of 100 % and 11 %."""
    events = [won("a0", "06-10 10:00"), won("b0", "06-10 10:00"), *(lost(f"b{n}", "06-10 10:00") for n in range(1, 9))]
    rules, leaves = Rules(), LeafIndex()
    sums = WindowSums(SeriesIndex(CATALOGUE.plan(), leaves), rules, CATALOGUE.windows_before())
    for partition, letter in enumerate("ab"):
        shard = Shard(rules, leaves, lambda key, mine=letter: key.startswith(mine))  # type: ignore[misc]
        shard.advance(ms(NOW))
        items = [item for e in events if isinstance(item := admit(e, rules, ms(NOW)), Message)]
        assert not shard.apply([item for item in items if home_key(item.to).startswith(letter)]).sends
        copy_changes(shard.panes, sums, partition)
    sums.advance(ms(NOW))
    found = [r for r in View(CATALOGUE, sums).readings(CATALOGUE.select(["win_ratio"])) if not r.labels]
    assert {r.value for r in found if r.window in ("30d", "all")} == {2 / 10}
    assert [(r.numerator, r.denominator) for r in found if r.window == "all"] == [(2, 10)]


# --- 5. Sliding without events


def test_5_windows_slide_without_events() -> None:
    engine = machine([created("a", "06-30 10:00")], at="06-30 10:00")
    seen = {}
    for clock in ("06-30 10:59", "06-30 11:00", "06-30 11:01", "07-01 09:59", "07-01 10:01", "07-07 10:00"):
        engine.advance(ms(clock))
        seen[clock] = tuple(value(engine, "new_leads", window) for window in ("1h", "24h", "today", "7d", "all"))
    assert seen == {
        "06-30 10:59": (1, 1, 1, 1, 1),
        "06-30 11:00": (1, 1, 1, 1, 1),  # the start of a window belongs to it
        "06-30 11:01": (0, 1, 1, 1, 1),
        "07-01 09:59": (0, 1, 0, 1, 1),
        "07-01 10:01": (0, 0, 0, 1, 1),
        "07-07 10:00": (0, 0, 0, 1, 1),
    }
    engine.advance(ms("07-07 11:00"))
    assert value(engine, "new_leads", "7d") == 0


# --- 6. Cardinality


def test_6_cardinality_the_small_ones_are_folded_into_other_and_counted() -> None:
    leads = [created(f"{source}{n}", source=source) for source, size in
             {"big": 9, "mid": 5, "tiny": 1, "small": 2, "wee": 1}.items() for n in range(size)]  # fmt: skip
    engine = machine(leads, rules=Rules(label_ceiling=2))
    found = {
        r.labels["source"]: r.value
        for r in engine.readings(CATALOGUE.select(["new_leads"]))
        if r.window == "all" and "source" in r.labels
    }
    assert found == {"big": 9, "mid": 5, OTHER: 1 + 2 + 1}
    assert engine.view.folded["new_leads", ("source",)] == 3
    assert ("new_leads", ("location",)) not in engine.view.folded


def test_6_cardinality_other_is_a_ratio_of_sums() -> None:
    events = [won("a", "06-10 00:00", rep_id="big"), *(lost(f"b{n}", "06-10 00:00", rep_id="big") for n in range(9)),
              won("c", "06-10 00:00", rep_id="x"), lost("d", "06-10 00:00", rep_id="y"),
              lost("e", "06-10 00:00", rep_id="z")]  # fmt: skip
    assert read(events, "win_ratio", rules=Rules(label_ceiling=1), rep=OTHER) == 1 / 3


def test_6_cardinality_labels_of_a_cohort_are_ranked_by_its_leads_and_not_by_when_they_came() -> None:
    events = [stage("a", "mql", "06-02 00:00"), stage("b", "mql", "06-20 00:00")]
    events += [created("a", "06-01 00:00", source="early"), created("b", "06-01 00:00", source="late")]
    found = readings(events, "mql_to_customer_ratio", rules=Rules(label_ceiling=1))
    assert {r.labels["source"] for r in found if "source" in r.labels} == {"early", OTHER}


def test_6_cardinality_a_label_that_is_called_other_joins_the_others() -> None:
    names = {"other": 5, "web": 4, "fair": 2, "post": 1}
    events = [created(f"{name}{n}", source=name) for name, many in names.items() for n in range(many)]
    found = readings(events, "new_leads", rules=Rules(label_ceiling=2))
    parts = [(r.labels["source"], r.value) for r in found if r.window == "all" and "source" in r.labels]
    assert parts == [("web", 4), (OTHER, 5 + 2 + 1)]


# --- 7. Time zones and daylight-saving


def test_7_calendar_windows_follow_the_business_zone() -> None:
    events = [created("a", "2025-06-30T21:30:00Z"), created("b", "2025-06-30T22:30:00Z")]  # 23:30 and 0:30 in Berlin
    berlin = Rules(zone="Europe/Berlin")
    assert read(events, "new_leads", "today", at="07-01 09:00", rules=berlin) == 1
    assert read(events, "new_leads", "mtd", at="07-01 09:00", rules=berlin) == 1
    assert read(events, "new_leads", "qtd", at="07-01 09:00", rules=berlin) == 1
    assert read(events, "new_leads", "today", at="07-01 09:00") == 0
    assert read(events, "new_leads", "qtd", at="06-30 23:00") == 2


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [("2025-03-29T23:00:00Z", "2025-03-30T21:59:00Z", 23), ("2025-10-25T22:00:00Z", "2025-10-26T22:59:00Z", 25)],
    ids=["spring", "autumn"],
)
def test_7_the_day_of_a_change_of_clocks_is_today_as_a_whole(first: str, last: str, hours: int) -> None:
    berlin = Rules(zone="Europe/Berlin")
    events = [created("a", first), created("b", last)]
    assert read(events, "new_leads", "today", at=last, rules=berlin) == 2
    assert ms(last) - ms(first) == hours * 3_600_000 - 60_000


def test_7_business_hours_know_the_teams_calendar_holidays_and_clocks() -> None:
    """Created on Maundy Thursday at 16:30 in Berlin, answered on Tuesday at 9:30: an hour of work in four days."""
    rules = Rules(
        zone="Europe/Berlin",
        calendar=CalendarRule(zone="Europe/Berlin", holidays="DE"),
        team_calendars={"ny": CalendarRule(zone="America/New_York", opens=time(8), closes=time(20), holidays="US")},
    )
    kpi = "lead_response_business_seconds"
    easter = [created("a", "2025-04-17T14:30:00Z"), touch("a", "2025-04-22T07:30:00Z")]
    assert read(easter, kpi, stat="mean", rules=rules) == 3600
    assert read(easter, "lead_response_seconds", stat="mean", rules=rules) == 4 * 86_400 + 17 * 3600
    york = [created("b", "2025-04-17T14:30:00Z", rep_id="r", team="ny"), touch("b", "2025-04-17T16:30:00Z")]
    assert read(york, kpi, stat="mean", rules=rules) == 2 * 3600
    # over the night of the change of clocks nobody works: Friday 16:00 to Monday 10:00
    spring = [created("c", "2025-03-28T15:00:00Z"), touch("c", "2025-03-31T08:00:00Z")]
    assert read(spring, kpi, stat="mean", rules=rules) == 2 * 3600


def test_7_the_sla_may_stand_still_outside_business_hours() -> None:
    rules = Rules(sla_in_business_hours=True, response_sla=timedelta(minutes=30))
    events = [created("a", "06-06 16:50"), touch("a", "06-09 09:20")]  # Friday evening, Monday morning
    assert read(events, "lead_response_sla_ratio", rules=rules) == 1
    assert read(events, "lead_response_sla_ratio", rules=Rules(response_sla=timedelta(minutes=30))) == 0
    assert read([events[0]], "leads_waiting", stat="late", at="06-08 12:00", rules=rules) == 0
    assert read([events[0]], "leads_waiting", stat="late", at="06-09 09:20", rules=rules) == 1


# --- 8. Currency


def test_8_currencies_are_converted_by_the_dated_table_or_refused() -> None:
    rules = Rules(
        rates=(
            CurrencyRate(currency="USD", rate=Decimal("0.9"), since=date(2025, 1, 1)),
            CurrencyRate(currency="USD", rate=Decimal("0.8"), since=date(2025, 6, 15)),
        )
    )
    events = [won("a", "06-14 10:00", 100, currency="usd"), won("b", "06-15 10:00", 100, currency="USD"),
              won("c", "06-15 10:00", 100, currency="EUR"), won("d", "06-15 10:00", "0.07")]  # fmt: skip
    assert read(events, "sales_revenue", rules=rules) == 90 + 80 + 100 + 0.07
    engine = machine(events, rules=rules)
    foreign, too_old = won("x", "06-20 10:00", 100, currency="GBP"), won("y", "2024-12-31T10:00:00Z", 5, currency="USD")
    for result in engine.apply([foreign, too_old]):
        assert result is not None
        assert result.reason == Reason.UNKNOWN_CURRENCY
    assert value(engine, "sales_revenue") == 270.07


def test_8_amounts_below_a_cent_are_added_up_before_anything_is_rounded() -> None:
    lines = [{"product": "kwh", "quantity": 3, "unit_price": "0.3333"}, {"product": "kwh", "unit_price": "0.004"}]
    events = [won(f"d{n}", "06-15 10:00", lines=lines) for n in range(500)]
    events += [spent(0.004) for _ in range(1000)]  # a click, say
    assert read(events, "sales_revenue") == 500 * (3 * 0.3333 + 0.004) == 501.95
    assert read(events, "sales_revenue", rules=Rules(decimals=2)) == 500 * (1.00 + 0.00)
    assert read([*events, created("a")], "cost_per_lead") == 4


# --- 9. Reassignment


def test_9_reassignment_a_response_is_the_owners_and_an_activity_the_doers() -> None:
    events = [
        created("a", rep_id="ann", team="north"), assigned("a", "bob", "06-02 09:30", team="south"),
        touch("a", "06-02 10:00", rep_id="eve"), assigned("a", "cid", "06-03 09:00", team="west"),
    ]  # fmt: skip
    assert read(events, "lead_response_seconds", stat="mean", rep="bob") == 3600
    assert read(events, "lead_response_seconds", stat="mean", team="south") == 3600
    assert read(events, "lead_response_seconds", stat="count", rep="cid") is None
    assert read(events, "lead_assignment_response_seconds", stat="mean", rep="bob") == 1800
    assert read(events, "activities", rep="eve") == 1
    assert read(events, "activities", rep="bob") is None


def test_9_reassignment_a_missed_deadline_is_that_of_the_owner_then_and_waiting_that_of_the_owner_now() -> None:
    events = [created("a", rep_id="ann"), assigned("a", "bob", "06-05 09:00")]
    assert read(events, "lead_response_sla_ratio", rep="ann") == 0
    assert read(events, "lead_response_sla_ratio", rep="bob") is None
    assert read(events, "leads_waiting", rep="bob") == 1
    assert read(events, "leads_waiting", rep="ann") is None


def test_9_reassignment_the_response_to_a_lead_of_nobody_is_that_of_the_rep_and_the_team_who_gave_it() -> None:
    events = [created("a"), touch("a", "06-02 09:01", rep_id="ann", team="north")]
    assert read(events, "lead_response_seconds", stat="mean", rep="ann") == 60
    assert read(events, "lead_response_seconds", stat="mean", team="north") == 60
    assert read(events, "lead_response_sla_ratio", team="north") == 1
    given = [*events, assigned("a", "bob", "06-02 09:00", team="south")]
    assert read(given, "lead_response_seconds", stat="mean", team="south") == 60


def test_9_reassignment_a_lead_may_belong_to_a_team_before_it_belongs_to_a_rep() -> None:
    waiting = created("a", "06-02 09:00", team="north")
    assert read([waiting], "leads_waiting", team="north") == 1
    assert read([waiting], "leads_waiting", rep="unowned") == 1
    assert read([waiting, won("d", "06-04 09:00", 100, lead_id="a")], "sales_revenue", team="north") == 100
    events = [waiting, touch("a", "06-02 10:00", rep_id="eve"), assigned("a", "bob", "06-03 09:00", team="south"),
              won("d", "06-04 09:00", 100, lead_id="a")]  # fmt: skip
    for order in permutations(events):
        engine = machine(order)
        assert value(engine, "lead_response_seconds", stat="mean", team="north") == 3600
        assert value(engine, "lead_response_seconds", stat="mean", rep="eve") == 3600
        assert value(engine, "lead_assignment_response_seconds", stat="count") == 0  # nobody owned it yet
        assert value(engine, "sales_revenue", team="south") == 100


def test_9_reassignment_what_was_before_an_owner_came_is_not_the_owners() -> None:
    late = assigned("a", "bob", "06-05 09:00")
    talk = [created("a"), reply("a", "06-02 10:00"), stage("a", "sql", "06-02 11:00"), late]
    for kpi in ("lead_contact_seconds", "lead_qualification_seconds"):
        assert read(talk, kpi, stat="count") == 1
        assert read(talk, kpi, stat="count", rep="bob") is None
    assert read([*talk, demo("a", "06-02 09:30", rep_id="ann")], "lead_contact_seconds", stat="count", rep="ann") == 1
    assert read([*talk, assigned("a", "ann", "06-02 09:10")], "lead_contact_seconds", stat="count", rep="ann") == 1
    deal = [created("a"), opened("a", "d", "06-03 09:00"), won("d", "06-04 09:00", 100, lead_id="a"), late]
    assert read(deal, "sales_revenue", rep="bob") is None
    assert read(deal, "opportunities_created", rep="bob") is None
    owned = [created("a", "06-05 08:00", rep_id="bob"), won("d", "06-04 09:00", 100, lead_id="a")]
    assert read(owned, "sales_revenue", rep="bob") == 100  # the record of the lead was made after the deal


def test_9_reassignment_of_assignments_on_one_day_the_one_recorded_last_holds() -> None:
    events = [
        created("a"),
        *(assigned("a", rep, "06-03 00:00", recorded_at=f"06-03 {hour}:00", id=f"{rep}{number}")
          for number in range(4) for rep, hour in (("ann", 11), ("bob", 12), ("cid", 10))),
        won("d", "06-04 09:00", 100, lead_id="a"),
    ]  # fmt: skip
    assert read(events, "sales_revenue", rep="bob") == 100
    assert read(events, "leads_waiting", rep="bob") is None
    assert read(events, "deals_won", rep="bob") == 1


# --- 10. Merged leads and accounts


def test_10_merged_leads_are_one_with_the_earliest_creation() -> None:
    events = [
        created("a", "06-02 09:00", source="fair"), created("b", "06-05 09:00", source="web"),
        touch("b", "06-05 09:10"),
        event("lead_merged", "06-06 09:00", lead_id="b", survivor_id="a"),
    ]  # fmt: skip
    for order in permutations(events):
        engine = machine(order)
        assert value(engine, "new_leads") == 1
        assert value(engine, "new_leads", source="fair") == 1
        assert value(engine, "new_leads", source="web") is None
        assert value(engine, "lead_response_seconds", stat="mean") == 3 * 86_400 + 600
        assert value(engine, "leads_waiting") == 0


@pytest.mark.parametrize(
    "merges",
    [
        ["ab", "bc"],
        ["bc", "ab"],
        ["ab", "ac"],
        ["ab", "ba"],
        ["ab", "bc", "ca"],
        ["ab", "ac", "ab"],
        ["ab", "cb", "ba"],
    ],
    ids="-".join,
)
def test_10_merges_in_chains_twice_and_in_circles_leave_one_identity(merges: list[str]) -> None:
    names = sorted(set("".join(merges)))
    events = [created(name, f"06-0{day} 09:00") for day, name in enumerate(names, 2)]
    events += [won(f"deal-{name}", "06-10 09:00", 100, lead_id=name, account_id="A") for name in names]
    events += [
        event("lead_merged", f"06-1{day} 09:00", lead_id=pair[0], survivor_id=pair[1])
        for day, pair in enumerate(merges)
    ]
    rng = random.Random(1)
    for _ in range(30):
        rng.shuffle(events)
        engine = machine(events)
        assert value(engine, "new_leads") == 1
        assert value(engine, "sales_revenue") == 100 * len(names)
        assert value(engine, "customer_retention_ratio", "7d") == 1


def test_10_a_deal_opened_by_a_lead_and_won_on_the_account_is_found() -> None:
    events = [
        created("a", source="web"), opened("a", "d", "06-03 09:00", account_id="A", amount=10),
        won("d", "06-04 09:00", 100, account_id="A", rep_id="ann"), event("quota_set", "06-01 00:00", rep_id="ann",
        period_start="06-01 00:00", period_end="07-02 00:00", amount=100),
    ]  # fmt: skip
    for order in permutations(events):
        engine = machine(order)
        assert value(engine, "sales_revenue") == 100
        assert value(engine, "close_ratio", stat="cohort", source="web") == 1
        assert value(engine, "quota_attainment_ratio") == 1
        assert value(engine, "revenue_per_account") == 100
        assert value(engine, "leads_waiting") == 0


def test_10_a_deal_that_came_back_is_where_it_is() -> None:
    moves = [
        opened("a", "d", "06-03 09:00", account_id="x"),
        event("deal_changed", "06-04 09:00", deal_id="d", lead_id="b", account_id="y"),
        event("deal_changed", "06-05 09:00", deal_id="d", lead_id="a", account_id="x"),
    ]
    sources = [created("a", source="web"), created("b", source="fair"), created("c", "06-02 10:00", source="call")]
    events = [*sources, *moves, won("d", "06-06 09:00", 100, account_id="x", mrr=10)]
    assert read(events, "customer_lifecycle_seconds", stat="count", source="web") == 1
    assert read([*events, churned("x", "06-07 09:00")], "churn_events") == 1
    assert read([*events, churned("x", "06-07 09:00")], "revenue_per_account", stat="mrr") is None
    merged = event("lead_merged", "06-08 09:00", lead_id="a", survivor_id="c")
    back = [*sources, moves[0], moves[1], merged, won("d", "06-06 09:00", 100, lead_id="a")]
    assert read(back, "customer_lifecycle_seconds", stat="count", source="web") == 1


def test_10_an_expansion_can_be_reopened_through_a_lead() -> None:
    events = [won("d", "06-04 09:00", 100, account_id="A"),
              event("deal_reopened", "06-05 09:00", lead_id="a", account_id="A", deal_id="d")]  # fmt: skip
    for order in permutations(events):
        assert read(order, "deals_won") == 0


# --- 11. Small numbers


def test_11_small_numbers_every_quotient_shows_its_parts() -> None:
    found = readings([won("a", "06-10 00:00"), lost("b", "06-10 00:00"), lost("c", "06-10 00:00")], "win_ratio")
    whole = next(r for r in found if r.window == "all" and not r.labels)
    assert (whole.value, whole.numerator, whole.denominator) == (1 / 3, 1, 3)
    assert not [r for r in found if r.window == "1h"]  # nothing was closed: no value, and no zero


def test_11_small_numbers_all_ratios_have_a_numerator_and_a_denominator() -> None:
    composed = {"organic_growth_ratio", "sales_growth_ratio"}
    for kpi in CATALOGUE.kpis:
        if kpi.unit is Unit.SHARE:
            assert kpi.fraction is not None, kpi.id
    assert composed <= {kpi.id for kpi in CATALOGUE.kpis if kpi.fraction}


def test_11_small_numbers_quotients_beside_the_value_show_their_parts_too() -> None:
    engine = machine([opened("a", "a", "06-09 00:00"), opened("b", "b", "06-09 00:00"), won("a", "06-10 00:00")])
    close_ratio = engine.catalogue.by_id["close_ratio"]
    cohort = next(r for r in engine.readings([close_ratio]) if r.window == "30d" and r.stat == "cohort")
    assert (cohort.value, cohort.numerator, cohort.denominator) == (1 / 2, 1, 2)
    shown = {family.name: family.samples for family in families(engine.view, [close_ratio], frozenset(["30d"]))}
    assert shown["crm_close_ratio_cohort_numerator"][0].value == 1
    assert shown["crm_close_ratio_cohort_denominator"][0].value == 2
    assert set(stat_names(close_ratio)) >= {"cohort_numerator", "cohort_denominator", "numerator", "denominator"}


# --- 12. Immature cohorts


def test_12_immature_cohorts_say_the_age_at_which_they_are_read() -> None:
    events = [stage("a", "sql", "06-29 00:00"), stage("b", "sql", "06-30 12:00")]
    assert read(events, "sql_to_customer_ratio", stat="age_seconds") == (48 + 12) / 2 * 3600
    assert read(events, "sql_to_customer_ratio", "24h", "age_seconds") == 12 * 3600
    assert read(events, "sql_to_customer_ratio", "1h", "age_seconds") is None
    for kpi in CATALOGUE.kpis:
        quotient = kpi.form is Form.COHORT and isinstance(kpi.formula, Ratio)
        assert ("age_seconds" in {stat.name for stat in kpi.secondary}) == quotient, kpi.id


def test_12_immature_cohorts_ripen_in_the_window_in_which_they_began() -> None:
    events = [stage("a", "sql", "06-29 12:00"), stage("b", "sql", "06-30 12:00")]
    engine = machine(events, at="06-30 13:00")
    assert value(engine, "sql_to_customer_ratio", "24h") == 0
    engine.advance(ms(NOW))
    engine.apply([won("w", "06-30 23:00", lead_id="a")])
    assert value(engine, "sql_to_customer_ratio", "24h") == 0  # b's day; the purchase belongs to a's cohort
    assert value(engine, "sql_to_customer_ratio", "7d") == 1 / 2
    engine.apply([event("deal_reopened", "06-30 23:30", lead_id="a", deal_id="w")])
    assert value(engine, "sql_to_customer_ratio", "7d") == 0


def test_12_immature_cohorts_cannot_exceed_one_and_say_what_they_are() -> None:
    cohorts = {kpi.id for kpi in CATALOGUE.kpis if kpi.form is Form.COHORT}
    assert cohorts == {
        "demo_conversion_ratio", "customer_conversion_ratio", "lead_follow_up_ratio", "positive_reply_ratio",
        "negative_reply_ratio", "sql_to_customer_ratio", "mql_to_customer_ratio", "early_churn_ratio", "renewal_ratio",
        "trial_conversion_ratio", "stage_conversion_ratio", "created_win_ratio", "stage_time_seconds",
    }  # fmt: skip
    older = [opened(f"o{n}", f"o{n}", "05-02 00:00") for n in range(3)] + [
        won(f"o{n}", "06-20 00:00") for n in range(3)
    ]
    events = [*older, opened("new", "new", "06-20 00:00")]
    assert read(events, "close_ratio", "30d") == 3  # the period form, which counts wins of older opportunities
    assert read(events, "close_ratio", "30d", "cohort") == 0


# --- 13. Quiet streams


def test_13_quiet_streams_deadlines_waits_and_quotas_move_with_the_clock_alone() -> None:
    quota = event(
        "quota_set", "06-01 00:00", rep_id="ann", period_start="06-10 00:00", period_end="06-20 00:00", amount=100
    )
    engine = machine([quota, created("a", "06-02 09:00"), won("d", "06-02 10:00", 1, rep_id="ann")], at="06-02 10:00")
    assert value(engine, "lead_oldest_wait_seconds") == 3600
    assert value(engine, "quota_attainment_ratio") is None
    engine.advance(ms("06-15 00:00"))
    assert value(engine, "lead_oldest_wait_seconds") == 12 * 86_400 + 15 * 3600
    assert value(engine, "leads_waiting", stat="late") == 1
    assert value(engine, "quota_attainment_ratio") == 0  # the deal was won before the period
    engine.advance(ms("06-20 00:00"))
    assert value(engine, "quota_attainment_ratio") is None


def test_13_quiet_streams_customers_and_tenure_are_there_at_night() -> None:
    engine = machine([won("d", "06-02 00:00", 1, account_id="A", mrr=10)], at="06-02 01:00")
    engine.advance(ms("06-30 00:00"))
    assert value(engine, "client_engagement", stat="tenure_seconds") == 28 * 86_400
    engine.apply([churned("A", "06-29 00:00")])
    assert value(engine, "client_engagement", stat="tenure_seconds") is None


def test_quantiles_stay_within_their_error() -> None:
    events = [e for n in range(1, 60) for e in (created(f"l{n}", "06-02 09:00"), touch(f"l{n}", f"06-02 10:{n:02}"))]
    p90 = read(events, "lead_response_seconds", stat="p90")
    assert p90 == pytest.approx(3600 + 60 * (1 + 0.9 * 58), rel=RELATIVE_ERROR)
