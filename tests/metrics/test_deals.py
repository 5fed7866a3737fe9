"""The deal by its definitions (docs/identity.md): every transition, corrections, moves, deletions, credits."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.stories import created, event, lost, opened, read, touch, won

if TYPE_CHECKING:
    from salesgauge.schemas.events import EventBase

Expected = dict[str, float | None]
"""``kpi``, ``kpi window`` or ``kpi window stat`` -> value; None: no value."""


def deal(name: str, at: str, recorded: str = "", **fields: Any) -> EventBase:
    """An event of deal d, recorded as it happened unless said otherwise."""
    more = {"recorded_at": recorded} if recorded else {}
    return event(name, at, **{"deal_id": "d", **more, **fields})


def close(at: str, recorded: str = "", amount: float = 900, **fields: Any) -> EventBase:
    return won("d", at, amount, **{"lead_id": "a", **({"recorded_at": recorded} if recorded else {}), **fields})


def loss(at: str, recorded: str = "", **fields: Any) -> EventBase:
    return lost("d", at, **{"lead_id": "a", **({"recorded_at": recorded} if recorded else {}), **fields})


def reopening(at: str, recorded: str = "") -> EventBase:
    return deal("deal_reopened", at, recorded, lead_id="a")


OPENED = opened("a", "d", "05-01 09:00")
ONE: Expected = {"deals_won": 1, "sales_revenue": 900}
NONE: Expected = {"deals_won": 0, "sales_revenue": 0}
IN_MAY: Expected = ONE | {"deals_won mtd": 0, "deals_won 30d": 0, "sales_revenue 90d": 900}
IN_JUNE: Expected = ONE | {"deals_won mtd": 1, "sales_revenue mtd": 900}
MERGED_ACCOUNTS = [
    won("x1", "02-10 09:00", 0, account_id="x", mrr=50),
    won("y1", "03-10 09:00", 0, account_id="y", mrr=30),
    event("account_merged", "06-01 09:00", account_id="y", survivor_id="x"),
]

STORIES: dict[str, tuple[list[EventBase], Expected]] = {
    # whose it is
    "moves to another lead": (
        [created("a", "05-01 09:00", source="web"), created("b", "05-02 09:00", source="fair"),
         touch("b", "05-02 09:01"), OPENED, close("05-09 09:00"), deal("deal_changed", "05-12 09:00", lead_id="b")],
        ONE | {"opportunities_created": 1, "sales_cycle_seconds all mean": 8 * 86_400, "leads_waiting": 0},
    ),
    "moves, and only then is won": (
        [created("a", "05-01 09:00"), created("b", "05-02 09:00"), OPENED,
         deal("deal_changed", "05-03 09:00", lead_id="b"), close("05-09 09:00", lead_id="b")],
        ONE | {"opportunities_created": 1, "close_ratio": 1},
    ),
    "is reported under three contacts": (
        [close("06-09 09:00", lead_id=lead, id="w", recorded_at=f"06-09 1{n}:00") for n, lead in enumerate("abc")],
        ONE,
    ),
    "is reported under other event ids": (
        [close("06-09 09:00", lead_id=lead, recorded_at=f"06-09 1{n}:00") for n, lead in enumerate("abc")],
        ONE,
    ),
    "belongs to accounts that are one": (
        MERGED_ACCOUNTS,
        {"deals_won": 2, "revenue_per_account all mrr": 80, "churn_events": 0, "churn_events 365d": 0},
    ),
    # when it was closed
    "is won earlier after a reopening": (
        [opened("a", "d", "06-01 09:00"), close("06-25 09:00", "06-25 09:00"), reopening("06-26 09:00"),
         close("05-30 09:00", "06-27 09:00")],
        IN_MAY,
    ),
    "is won later after a reopening": (
        [close("05-25 09:00"), reopening("06-02 09:00"), close("06-20 09:00")], IN_JUNE,
    ),
    "is won, reopened twice and won": (
        [close("05-02 09:00"), reopening("05-03 09:00"), close("05-04 09:00"), reopening("05-05 09:00"),
         close("06-06 09:00")],
        IN_JUNE,
    ),
    "closes a year too early": (
        [close("06-10 09:00", "2025-06-10T09:00:00Z", id="w"),
         close("2024-06-10T09:00:00Z", "2025-06-09T09:00:00Z", id="w")],
        IN_JUNE,
    ),
    "closes a year too early, under another id": (
        [close("2024-06-10T09:00:00Z", "06-10 09:00"), close("06-10 09:00", "06-12 09:00")], IN_JUNE,
    ),
    "closed earlier than was said": (
        [close("06-10 09:00", "06-10 09:00"), close("05-10 09:00", "06-12 09:00")], IN_MAY,
    ),
    "has another amount, at its old date": (
        [close("05-10 09:00", "05-10 09:00", 100, id="w"), close("05-10 09:00", "06-12 09:00", 900, id="w")], IN_MAY,
    ),
    "has another amount although it was closed again since": (
        [close("05-10 09:00", "05-10 09:00", 100, id="w"), close("06-10 09:00", "06-10 09:00", 900),
         close("05-10 09:00", "06-12 09:00", 300, id="w")],
        IN_JUNE,
    ),
    # how it ended
    "was lost by mistake": (
        [loss("06-03 09:00", "06-03 09:00"), close("06-03 09:00", "06-05 09:00")],
        ONE | {"win_ratio": 1},
    ),
    "was won by mistake": (
        [close("06-03 09:00", "06-03 09:00"), loss("06-03 09:00", "06-05 09:00")],
        NONE | {"win_ratio": 0},
    ),
    "is lost after a reopening": (
        [close("06-03 09:00"), reopening("06-04 09:00"), loss("06-05 09:00")], NONE | {"win_ratio": 0},
    ),
    "is reopened before it ever closed": ([OPENED, reopening("06-04 09:00"), close("06-05 09:00")], IN_JUNE),
    # whether it is there
    "is deleted": (
        [OPENED, close("05-09 09:00"), deal("deal_deleted", "06-03 09:00")],
        NONE | {"opportunities_created": 0, "customer_lifecycle_seconds all count": 0},
    ),
    "is deleted before it is won": (
        [OPENED, deal("deal_deleted", "05-03 09:00"), close("05-09 09:00")], NONE | {"opportunities_created": 0},
    ),
    "is deleted, and restored": (
        [OPENED, close("05-09 09:00"), deal("deal_deleted", "06-03 09:00"), deal("deal_restored", "06-05 09:00")],
        ONE | {"opportunities_created": 1},
    ),
    "is won while it was deleted, and restored": (
        [OPENED, deal("deal_deleted", "05-03 09:00"), close("05-09 09:00"), deal("deal_restored", "06-05 09:00")],
        ONE | {"opportunities_created": 1},
    ),
    "is deleted again": (
        [close("05-09 09:00"), deal("deal_deleted", "06-03 09:00"), deal("deal_restored", "06-05 09:00"),
         deal("deal_deleted", "06-06 09:00")],
        NONE,
    ),
    # what it brought
    "is credited": (
        [close("05-02 09:00", amount=1000), deal("deal_credited", "06-10 09:00", credit_id="c", amount=400)],
        {"deals_won": 1, "sales_revenue": 600, "sales_revenue mtd": -400, "gross_sales_revenue": 1000,
         "refund_ratio 90d": 0.4, "average_deal_size": 1000},
    ),
    "is credited twice by one note": (
        [close("05-02 09:00", amount=1000),
         *(deal("deal_credited", "06-10 09:00", f"06-1{n} 09:00", credit_id="c", amount=400, id="c") for n in (1, 2))],
        {"sales_revenue": 600},
    ),
    "is credited by more than it was": (
        [close("05-02 09:00", amount=100), deal("deal_credited", "06-10 09:00", credit_id="c", amount=150)],
        {"sales_revenue": -50, "gross_sales_revenue": 100, "deals_won": 1},
    ),
    "gives money back": (
        [close("05-02 09:00", amount=1000), won("n", "06-10 09:00", -400, lead_id="a")],
        {"deals_won": 1, "win_ratio": 1, "sales_revenue": 600, "average_deal_size": 1000},
    ),
    "is for nothing": (
        [close("05-02 09:00"), won("n", "06-10 09:00", 0, lead_id="a")],
        {"deals_won": 2, "average_deal_size": 450, "average_paid_deal_size": 900},
    ),
    "is renewed": (
        [won("d", "2024-01-10T09:00:00Z", 0, account_id="x", mrr=100),
         won("e", "01-10 09:00", 0, account_id="x", kind="renewal", mrr=110)],
        {"deals_won": 2, "revenue_per_account all mrr": 110},
    ),
}  # fmt: skip
"""A deal that …"""


@pytest.mark.parametrize("name", STORIES)
def test_a_deal(name: str) -> None:
    """In any order of arrival, of which some are tried."""
    events, expected = STORIES[name]
    orders = list(permutations(events))
    for order in orders[:: max(1, len(orders) // 6)]:
        for what, number in expected.items():
            kpi, window, stat = [*what.split(), *("all", "value")[what.count(" ") :]]
            assert read(order, kpi, window, stat, at="06-30 00:00") == number, what
