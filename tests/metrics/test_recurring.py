"""Recurring revenue, retention, credits and renewals worked out by hand, and inputs that were once read wrongly.

Times are of 2026 in UTC; unless said otherwise a KPI is read on 30 June at noon. The window of 30 days then begins on
31 May at noon, the month to date on 1 June at midnight.
"""

# ruff: noqa: E501 - an event a line

from __future__ import annotations

from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

from salesgauge.metrics.kpis.formula import Constant, Monthly
from salesgauge.metrics.rules.model import Rules
from tests.support.stories import event, machine, spent, won

if TYPE_CHECKING:
    from collections.abc import Sequence

    from salesgauge.schemas.events import EventBase

NOW = "2026-06-30T12:00:00Z"
AHEAD = timedelta(days=1000)
"""Events after the instant of a reading are taken, too, and must not show before their time."""
RULES = Rules(max_future=AHEAD)


def year(at: str) -> str:
    """``06-02`` or ``06-02 09:30`` of 2026."""
    if at[4:5] == "-":
        return at
    day, _, time = at.partition(" ")
    return f"2026-{day}T{time or '09:00'}:00Z"


def billed(account: str, at: str, after: float | None = None, before: float | None = None, **fields: Any) -> EventBase:
    return event("subscription_changed", year(at), account_id=account, mrr_after=after, mrr_before=before, **fields)


def sold(deal: str, at: str, account: str, amount: float = 0, **fields: Any) -> EventBase:
    return won(deal, year(at), amount, account_id=account, **fields)


def left(account: str, at: str, **fields: Any) -> EventBase:
    return event("customer_churned", year(at), account_id=account, **fields)


def value(
    events: Sequence[EventBase],
    kpi: str,
    window: str = "30d",
    stat: str = "value",
    *,
    at: str = NOW,
    rules: Rules = RULES,
    **labels: str,
) -> float | None:
    engine = machine(events, year(at), rules)
    for reading in engine.readings(engine.catalogue.select([kpi])):
        if (reading.window, reading.stat, dict(reading.labels)) == (window, stat, labels):
            return reading.value
    return None


# --- The month of June: A grows, B shrinks, C leaves, D leaves and returns, E comes, F comes and goes, G is back, H is on
# trial, I pays in dollars, J ends one of two subscriptions.

USD = Rules(
    rates=[
        {"currency": "USD", "rate": "0.95", "since": "2026-01-01"},
        {"currency": "USD", "rate": "0.90", "since": "2026-06-15"},
    ],
    gross_margin=0.8,
    max_future=AHEAD,
)
JUNE = [
    billed("A", "01-10", 100), billed("A", "06-05", 150, 100),
    billed("B", "01-10", 200), billed("B", "06-06", 120, 200),
    billed("C", "01-10", 100), billed("C", "06-07", 0, 100),
    billed("D", "01-10", 100), billed("D", "06-08", 0), billed("D", "06-20", 90),
    billed("E", "06-09", 80),
    billed("F", "06-10", 60), billed("F", "06-25", 0),
    billed("G", "01-10", 70), billed("G", "03-10", 0), billed("G", "06-11", 70),
    billed("H", "06-12", 50, status="trial"),
    billed("I", "01-10", 100, currency="USD"),
    billed("J", "01-10", 40, subscription_id="j1"), billed("J", "01-10", 60, subscription_id="j2"),
    billed("J", "06-13", 0, 60, subscription_id="j2"),
]  # fmt: skip


@pytest.mark.parametrize("window", ["30d", "mtd"])
def test_the_movements_of_june(window: str) -> None:
    expected = {"new": 140, "reactivation": 160, "expansion": 50, "contraction": 140, "churn": 260, "fx": -5}
    found = {kind: value(JUNE, "mrr_movement", window, rules=USD, movement=kind) for kind in expected}
    assert found == pytest.approx(expected)
    assert value(JUNE, "mrr", "all", rules=USD) == pytest.approx(640)
    assert 695 + 140 + 160 + 50 - 140 - 260 - 5 == 640
    accounts = {kind: value(JUNE, "mrr_movement", window, "accounts", rules=USD, movement=kind) for kind in expected}
    assert accounts == {"new": 2, "reactivation": 2, "expansion": 1, "contraction": 2, "churn": 3, "fx": 0}


@pytest.mark.parametrize("window", ["30d", "mtd"])
@pytest.mark.parametrize(
    ("kpi", "stat", "expected"),
    [
        ("gross_revenue_retention_ratio", "value", (695 - 80 - 100 - 10 - 60) / 695),
        ("net_revenue_retention_ratio", "value", (150 + 120 + 0 + 90 + 95 + 40) / 695),
        ("revenue_churn_ratio", "value", 250 / 695),
        ("revenue_churn_ratio", "net", 1 - 495 / 695),
        ("customer_retention_ratio", "value", 5 / 6),
        ("customer_churn_ratio", "value", 1 / 6),
        ("early_churn_ratio", "value", 1 / 2),
        ("churn_events", "value", 3),
        ("quick_ratio", "value", 350 / 400),
        ("revenue_per_account", "mrr", 640 / 7),
    ],
)
def test_the_figures_of_june(kpi: str, stat: str, expected: float, window: str) -> None:
    assert value(JUNE, kpi, window, stat, rules=USD) == pytest.approx(expected)


def test_the_figures_of_june_to_the_digit() -> None:
    found = [value(JUNE, f"{kind}_revenue_retention_ratio", rules=USD) for kind in ("gross", "net")]
    logo = value(JUNE, "customer_retention_ratio", rules=USD)
    assert [round(figure or 0, 3) for figure in (*found, logo)] == [0.640, 0.712, 0.833]


def test_nothing_of_june_is_left_a_month_later() -> None:
    """The start of the window has passed all changes: their second contributions have come due by themselves."""
    at = "2026-07-25T09:00:01Z"  # the last change, 25 June at 9, has just left the window of 30 days
    for kind in ("new", "reactivation", "expansion", "contraction", "churn", "fx"):
        assert value(JUNE, "mrr_movement", rules=USD, at=at, movement=kind) == 0
    assert value(JUNE, "net_revenue_retention_ratio", rules=USD, at=at) == 1
    assert value(JUNE, "early_churn_ratio", rules=USD, at=at) is None
    before = "2026-07-25T09:00:00Z"
    assert value(JUNE, "mrr_movement", rules=USD, at=before, movement="churn") == 60


def test_lifetime_value() -> None:
    """A churn of a sixth a month, 80 % margin: 640 / 7 x 0.8 / (1 / 6) = 439; the window's churn is taken to a month."""
    assert round(640 / 7 * 0.8 / (1 / 6)) == 439
    churn = 2 / 8
    events = [billed(f"c{n}", "01-10", 100) for n in range(8)]
    events += [left("c0", "05-05"), left("c1", "06-05")]
    monthly = 1 - (1 - churn) ** (30.44 / 90)
    assert value(events, "customer_lifetime_value", "90d", rules=USD) == pytest.approx(100 * 0.8 / monthly)
    assert value(events, "customer_lifetime_value", "90d", "lifetime_months", rules=USD) == pytest.approx(1 / monthly)
    assert value(events, "customer_lifetime_value", "90d", "departures", rules=USD) == 2
    assert value(events, "customer_lifetime_value", "30d", rules=USD) is None, "windows of a quarter and a year alone"
    assert value(events[:8], "customer_lifetime_value", "90d", rules=USD) is None, "nobody left: no lifetime"


def test_a_month_of_its_own_length_is_itself() -> None:
    class Month:
        length = 30.44 * 86_400_000

    assert Monthly(Constant(1 / 6)).evaluate(Month()) == pytest.approx(1 / 6)  # type: ignore[arg-type]


def test_payback_of_acquisition_costs() -> None:
    """CAC 1200, 180 a month from each new customer, margin 75 %: 1200 / 135 = 8.9 months."""
    events = [billed("a", "06-05", 100), billed("b", "06-06", 260), spent(2000, year("06-01")),
              spent(400, year("06-02"), category="sales")]  # fmt: skip
    rules = Rules(gross_margin=0.75, max_future=AHEAD)
    assert value(events, "cac_payback_months", "90d", rules=rules) == pytest.approx(1200 / (180 * 0.75))
    assert round(1200 / (180 * 0.75), 1) == 8.9


# --- Revenue, credits, renewals


G = [
    sold("d", "05-02", "A", 1000),
    event("deal_credited", year("06-10"), credit_id="k", deal_id="d", amount=400, reason="broken"),
]


def test_a_credit_counts_at_its_own_date() -> None:
    assert value(G, "sales_revenue", "mtd") == -400
    assert value(G, "sales_revenue", "mtd", at="05-31") == 1000
    assert value(G, "sales_revenue", "qtd") == 600
    assert value(G, "gross_sales_revenue", "qtd") == 1000
    assert value(G, "deals_won", "qtd") == 1
    assert value(G, "average_deal_size", "qtd") == 1000
    assert value(G, "refund_ratio", "qtd") == 0.4
    assert value(G, "refund_ratio", "qtd", reason="broken") == 0.4
    assert value(G, "refund_ratio", "mtd") is None, "nothing was won in June"


def test_accounts_that_are_merged_are_one_customer() -> None:
    """X won in February with 50 a month, Y in March with 30; Y turns out to be X."""
    events = [sold("x", "02-05", "X", 10, mrr=50), sold("y", "03-05", "Y", 10, mrr=30),
              event("account_merged", year("04-05"), account_id="Y", survivor_id="X")]  # fmt: skip
    assert value(events, "mrr", "all") == 80
    assert value(events, "mrr_movement", "365d", "accounts", movement="new") == 1
    assert value(events, "mrr_movement", "365d", movement="new") == 50
    assert value(events, "mrr_movement", "365d", movement="expansion") == 30
    assert value(events, "churn_events", "all") == 0
    assert value(events, "customer_outcomes", "all") == 20, "20 / 1 customer"
    assert value(events, "organic_growth_ratio", "365d", "existing_share") == 0.5


def test_a_renewal_states_the_new_level() -> None:
    events = [
        sold("d", "2025-01-10T09:00:00Z", "A", 1200, mrr=100),
        sold("r", "01-10", "A", 1320, mrr=110, kind="renewal"),
    ]
    assert value(events, "deals_won", "all") == 2
    assert value(events, "deals_won", "all", kind="new") == 1
    assert value(events, "deals_won", "all", kind="renewal") == 1
    assert value(events, "mrr", "all") == 110
    assert value(events, "mrr_movement", "365d", movement="expansion") == 10


def test_the_average_of_paid_deals_leaves_out_what_was_won_for_nothing() -> None:
    events = [sold("a", "06-05", "A", 900), sold("b", "06-06", "B", 0)]
    assert value(events, "deals_won") == 2
    assert value(events, "average_deal_size") == 450
    assert value(events, "average_paid_deal_size") == 900
    assert value(events, "average_paid_deal_size", kind="new") == 900


def test_renewals_of_contracts_that_are_due() -> None:
    """Ten contracts end in June; eight are renewed: one early, in May, one late, after its end."""
    due = [sold(f"d{n}", "2025-06-10T09:00:00Z", f"a{n}", 100, term_end=year("06-10")) for n in range(10)]
    on_time = [sold(f"r{n}", "06-09", f"a{n}", 100, kind="renewal", term_end="2027-06-10T09:00:00Z") for n in range(6)]
    early, late = sold("r6", "05-05", "a6", 100, kind="renewal"), sold("r7", "06-28", "a7", 100, kind="renewal")
    other = sold("r8", "06-09", "a8", 100, product="another", kind="renewal")
    again = sold("r9", "06-09", "a9", 100, kind="upsell")
    events = [*due, *on_time, early, late, other, again]
    assert value(events, "renewal_ratio") == 0.8
    assert value(events, "renewal_ratio", at="06-05") is None, "none is due yet, the one that is renewed included"


# --- Inputs that were once read wrongly, each with others of its kind


def test_customers_who_came_and_left_within_the_window_are_on_neither_side() -> None:
    old = sold("d0", "01-10", "A", 900)
    came_and_left = [
        sold("d1", "06-05", "B", 900),
        left("B", "06-20"),
        sold("d2", "06-06", "C", 900),
        left("C", "06-21"),
    ]
    assert value([old, *came_and_left], "customer_retention_ratio") == 1
    assert value([old, *came_and_left], "customer_churn_ratio") == 0
    assert value(came_and_left, "customer_retention_ratio") is None, "nobody was there at the start"
    back = [old, left("A", "06-05"), sold("d3", "06-20", "A", 5)]
    assert value(back, "customer_retention_ratio") == 1, "away and back is no loss"
    thrice = [
        old,
        left("A", "06-05"),
        sold("d3", "06-07", "A", 5),
        left("A", "06-10"),
        sold("d4", "06-12", "A", 5),
        left("A", "06-15"),
    ]
    assert value(thrice, "customer_churn_ratio") == 1, "one customer cannot be lost three times"
    assert value(thrice, "churn_events") == 3


def test_new_customers_cannot_hide_or_cause_churn_of_revenue() -> None:
    a = billed("A", "01-10", 100, 0)
    grown = [billed("B", "06-05", 10, 0), billed("B", "06-10", 110, 10)]
    shrunk = [billed("C", "06-15", 80, 0), billed("C", "06-18", 20, 80)]
    for stat in ("value", "net"):
        assert value([a, *grown, *shrunk], "revenue_churn_ratio", stat=stat) == 0
    gone = [billed("D", "06-15", 80, 0), left("D", "06-18")]
    assert value([a, *gone], "revenue_churn_ratio") == 0
    assert value([*grown, *gone], "revenue_churn_ratio") is None
    dip = [billed("A", "06-05", 10), billed("A", "06-09", 95)]
    assert value([a, *dip], "revenue_churn_ratio") == pytest.approx(0.05), "the ends are compared, not the path"


def test_a_level_of_zero_is_a_departure() -> None:
    start = [billed("A", "01-01", 100, 0), billed("B", "01-01", 100, 0)]
    for end in (
        billed("A", "06-05", 0, 100),
        billed("A", "06-05", 40, status="paused"),
        billed("A", "06-05", None, mrr_delta=-100),
        billed("A", "06-05", 100, status="cancelled"),
        billed("A", "06-01", 0, cancels_at=year("06-05")),
    ):
        assert value([*start, end], "customer_churn_ratio") == 0.5
        assert value([*start, end], "customer_retention_ratio") == 0.5
        assert value([*start, end], "revenue_per_account", "all", "mrr") == 100
        assert value([*start, end], "churn_events") == 1
    paused = [*start, billed("A", "06-05", 40, status="paused")]
    assert value(paused, "churn_events", reason="pause") == 1
    past_due = [*start, billed("A", "06-05", 100, status="past_due")]
    assert value(past_due, "customer_churn_ratio") == 0, "who is late with paying has not left"


def test_exchange_rates_are_neither_churn_nor_growth() -> None:
    rules = Rules(rates=[
        {"currency": "USD", "rate": "0.95", "since": "2026-01-01"}, {"currency": "USD", "rate": "0.85", "since": "2026-06-01"}], max_future=AHEAD)  # fmt: skip
    paying = billed("A", "01-10", 100, 0, currency="USD", subscriptions=1)
    same = billed("A", "06-10", 100, 100, currency="USD", subscriptions=2)
    for stat in ("value", "net"):
        assert value([paying, same], "revenue_churn_ratio", stat=stat, rules=rules) == 0
    assert value([paying, same], "mrr_movement", movement="fx", rules=rules) == pytest.approx(-10)
    assert value([paying], "mrr_movement", movement="fx", rules=rules) == pytest.approx(-10), "without any event, too"
    grown = billed("A", "06-10", 120, 100, currency="USD")
    assert value([paying, grown], "mrr_movement", movement="expansion", rules=rules) == pytest.approx(19)
    assert value([paying, grown], "mrr_movement", movement="fx", rules=rules) == pytest.approx(-12)
    assert value([paying, grown], "mrr", "all", rules=rules) == pytest.approx(102)
    switched = billed("A", "06-10", 95, currency="EUR")
    assert value([paying, switched], "gross_revenue_retention_ratio", rules=rules) == pytest.approx(1)
    assert value([paying, switched], "mrr", "all", rules=rules) == 95
    both = [paying, billed("A", "02-10", 40, 0, currency="EUR", subscription_id="s")]
    assert value(both, "mrr", "all", rules=rules) == pytest.approx(125)


def test_a_refund_is_no_deal() -> None:
    sale = sold("d", "05-10", "A", 1000, rep_id="ann")
    note = sold("d-credit", "06-10", "A", -400, rep_id="ann")
    credited = event(
        "deal_credited", year("06-10"), credit_id="k", deal_id="d", lines=[{"product": "gauge", "unit_price": 400}]
    )
    of_account = event("deal_credited", year("06-10"), credit_id="k", account_id="A", amount=400)
    for refund in (note, credited, of_account):
        events = [sale, refund]
        assert value(events, "deals_won", "all") == 1
        assert value(events, "average_deal_size", "all") == 1000
        assert value(events, "sales_revenue", "mtd") == -400
        assert value(events, "sales_revenue", "all") == 600
        assert value(events, "gross_sales_revenue", "all") == 1000
        assert value(events, "organic_growth_ratio", "90d", "existing_share") == 0
    assert value([sale, note], "sales_revenue", "all", rep="ann") == 600
    part = sold("p", "06-12", "A", lines=[{"product": "x", "unit_price": 100}, {"product": "y", "unit_price": -30}])
    assert value([sale, part], "deals_won", "all") == 2, "a discount line does not make a credit of a deal"
    assert value([sale, part], "sales_revenue", "all", product="y") == -30
    lower = event("deal_credited", year("06-10"), credit_id="k", deal_id="d", amount=400, mrr_after=60)
    assert value([sold("d", "05-10", "A", 1000, mrr=100), lower], "mrr_movement", movement="contraction") == 40


def test_a_subscriber_who_left_and_returned() -> None:
    at = "2026-03-31T00:00:00Z"
    a = [billed("A", "01-10", 100, 0, subscriptions=1), billed("A", "02-10", 0, 100, subscriptions=0), left("A", "02-10"),
         billed("A", "03-10", 100, 0, subscriptions=1)]  # fmt: skip
    b = billed("B", "01-10", 50, 0, subscriptions=1)
    assert value([*a, b], "revenue_per_account", "30d", "mrr", at=at) == 75
    assert value([*a, b], "customer_retention_ratio", "90d", at=at) is None
    assert value([*a, b], "mrr_movement", "90d", movement="reactivation", at=at) == 100
    assert value([*a, b], "mrr_movement", "90d", "accounts", movement="new", at=at) == 2
    assert value([*a, b], "churn_events", "90d", at=at) == 1, "billing and the report of it are one departure"
    by_deal = [sold("d", "01-10", "A", mrr=100), left("A", "02-10"), sold("e", "03-10", "A", mrr=70)]
    assert value(by_deal, "mrr_movement", "90d", movement="reactivation", at=at) == 70
    one_off = [billed("A", "01-10", 100), left("A", "02-10"), sold("e", "03-10", "A", 500)]
    assert value(one_off, "customer_outcomes", "all", at=at) == 500, "a one-off win makes a customer again"
    early = [sold("e", "01-20", "A", 500), billed("A", "01-10", 100), billed("A", "02-10", 0)]
    assert value(early, "customer_outcomes", "all", at=at) is None, "one won while it paid does not"


def test_an_upsell_that_billing_reports_too_counts_once() -> None:
    at = "2026-03-31T00:00:00Z"
    events = [sold("d1", "01-10", "A", mrr=100), sold("d2", "03-10 10:00", "A", mrr=50, kind="upsell"),
              billed("A", "03-10 10:05", 150, 100)]  # fmt: skip
    for order in (events, events[::-1]):
        assert value(order, "revenue_churn_ratio", "30d", "net", at=at) == -0.5
        assert value(order, "mrr_movement", "30d", movement="expansion", at=at) == 50
        assert value(order, "mrr", "all", at="03-01") == 100, "what was so before is not rewritten"
    assert value(events, "mrr_mismatch", "30d", at=at) == 1
    late_deal = [
        sold("d1", "01-10", "A", mrr=100),
        billed("A", "03-10 10:05", 150, 100),
        sold("d2", "03-11", "A", mrr=50),
    ]
    assert value(late_deal, "mrr", "all", at=at) == 150, "billing has the last word"
    in_pieces = [sold("d1", "01-10", "A", mrr=100), billed("A", "03-10 10:00", 60, subscription_id="s"),
                 billed("A", "03-10 10:20", 40, subscription_id="t")]  # fmt: skip
    assert value(in_pieces, "revenue_churn_ratio", "30d", at=at) == 0
    assert value(in_pieces, "mrr_movement", "30d", movement="contraction", at=at) == 0, "changes within an hour are one"
    delta = [sold("d1", "01-10", "A", mrr=100), billed("A", "03-10", mrr_delta=50)]
    assert value(delta, "mrr", "all", at=at) == 150


# --- Further rules


def test_an_opening_balance_was_so_before() -> None:
    events = [billed("A", "06-05", 150, 100)]
    assert value(events, "net_revenue_retention_ratio") == 1.5
    assert value(events, "customer_retention_ratio") == 1
    assert value(events, "mrr_movement", movement="new") == 0
    lost = [left("A", "06-05", mrr_lost=100)]
    assert value(lost, "gross_revenue_retention_ratio") == 0
    assert value(lost, "customer_churn_ratio") == 1
    won_before = [sold("d", "02-10", "A", 500), billed("A", "06-05", 150, 100)]
    assert value(won_before, "mrr_movement", "365d", movement="new") == 100, "it pays since it was won"
    falling = [billed("A", "06-05", mrr_delta=-30)]
    assert value(falling, "mrr_movement", movement="churn") == 30, "who pays 30 less has paid 30"


def test_an_announced_end_comes_by_itself() -> None:
    events = [billed("A", "01-10", 100), billed("A", "06-05", 100, cancels_at=year("07-15")), billed("B", "01-10", 50)]
    assert value(events, "scheduled_churn_mrr", "all") == 100
    assert value(events, "mrr", "all") == 150
    assert value(events, "churn_events") == 0
    assert value(events, "scheduled_churn_mrr", "all", at="07-15 09:00") == 0
    assert value(events, "mrr", "all", at="07-15 09:00") == 50
    assert value(events, "churn_events", at="07-16") == 1
    withdrawn = [*events, billed("A", "06-20", 100)]
    assert value(withdrawn, "scheduled_churn_mrr", "all") == 0
    assert value(withdrawn, "mrr", "all", at="07-20") == 150
    by_hand = [*events, billed("A", "07-15 09:00", 0), left("A", "07-15 09:00", reason="price")]
    assert value(by_hand, "churn_events", at="07-16") == 1
    assert value(by_hand, "churn_events", at="07-16", reason="price") == 1


def test_trials() -> None:
    def trial(account: str) -> EventBase:
        return billed(account, "06-01", 30, status="trial")

    events = [trial("a"), billed("a", "06-10", 30, status="active"), trial("b"), billed("b", "06-11", 0, status="cancelled"),
              trial("c"), left("c", "06-12"), trial("d"),
              billed("e", "06-01", 30, status="trial", cancels_at=year("06-15")), billed("e", "06-20", 30, status="active")]  # fmt: skip
    assert value(events, "trial_conversion_ratio") == 0.5, "a and e of a, b, c, e"
    assert value(events, "mrr", "all") == 60
    assert value(events, "mrr_movement", "30d", "accounts", movement="new") == 2


def test_a_subscription_is_a_part_of_what_was_said_of_the_whole() -> None:
    events = [billed("A", "01-10", 100), billed("A", "06-05", 70, 60, subscription_id="s")]
    assert value(events, "mrr", "all") == 110
    added = [billed("A", "01-10", 100), billed("A", "06-05", 70, 0, subscription_id="s")]
    assert value(added, "mrr", "all") == 170
    whole = [
        billed("A", "01-10", 60, subscription_id="s"),
        billed("A", "01-10", 40, subscription_id="t"),
        billed("A", "06-05", 90),
    ]
    assert value(whole, "mrr", "all") == 90
    ended = [*whole, billed("A", "06-06", 0, subscription_id="s")]
    assert value(ended, "mrr", "all") == 30


def test_merged_accounts_keep_what_each_paid() -> None:
    merge = event("account_merged", year("04-05"), account_id="Y", survivor_id="X")
    both = [billed("X", "01-10", 50), billed("Y", "02-10", 30), merge]
    assert value(both, "mrr", "all") == 80
    duplicate_ended = [*both, left("Y", "04-04")]
    assert value(duplicate_ended, "mrr", "all") == 50
    assert value(duplicate_ended, "churn_events", "all") == 0
    gone = [*both, left("X", "06-05")]
    assert value(gone, "mrr", "all") == 0
    assert value(gone, "customer_churn_ratio") == 1
    moved = [billed("Y", "02-10", 30, subscription_id="s"), merge, billed("X", "06-05", 40, subscription_id="s")]
    assert value(moved, "mrr", "all") == 40


def test_rolling_windows_begin_on_the_hour_for_all_their_figures() -> None:
    """At 12:30 the window of 30 days begins at 13:00 of the 31st of May; a change at 12:45 that day is before it."""
    events = [billed("A", "01-10", 100), billed("A", "05-31 12:45", 50), billed("B", "05-31 13:00", 10)]
    at = "2026-06-30T12:30:00Z"
    assert value(events, "gross_revenue_retention_ratio", at=at) == 1
    assert value(events, "mrr_movement", movement="contraction", at=at) == 0
    assert value(events, "mrr_movement", movement="new", at=at) == 10
    assert value(events, "gross_revenue_retention_ratio", at="2026-06-30T12:00:00Z") == 0.5


def test_an_account_that_changed_a_thousand_times_is_quick() -> None:
    events = [
        billed("A", f"{m:02}-{d:02} {h:02}:00", (d * 37 + h * 11) % 90)
        for m in range(1, 5)
        for d in range(1, 26)
        for h in range(0, 24, 2)
    ]
    began = perf_counter()
    machine(events[:1000], year("06-30"), RULES)
    assert perf_counter() - began < 10, "a bound far above what it takes, for what would grow with the square"
