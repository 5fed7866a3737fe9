"""The canonical events: what they accept, their keys and their topics."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from salesgauge.metrics.entities.state import Message
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.shard import Shard, admit
from salesgauge.schemas.codec import Rejection, validate
from salesgauge.schemas.events import EVENT_TYPES, EVENTS, STAGES, TOPICS, EventBase, topic_of

AT = "2025-06-02T09:00:00Z"
MINIMAL: dict[str, dict[str, Any]] = {
    "lead_created": {"lead_id": "L"},
    "lead_assigned": {"lead_id": "L", "rep_id": "r"},
    "lead_merged": {"lead_id": "L", "survivor_id": "M"},
    "lead_reengaged": {"lead_id": "L"},
    "lead_deleted": {"lead_id": "L"},
    "lead_restored": {"lead_id": "L"},
    "lifecycle_stage_changed": {"lead_id": "L", "stage": "mql"},
    "email_bounced": {"lead_id": "L", "activity_id": "a"},
    "reply_classified": {"lead_id": "L"},
    "response_paused": {"lead_id": "L"},
    "response_resumed": {"lead_id": "L"},
    "activity_logged": {"lead_id": "L", "kind": "call"},
    "reply_received": {"lead_id": "L"},
    "meeting_booked": {"lead_id": "L", "meeting_id": "m"},
    "meeting_completed": {"lead_id": "L", "meeting_id": "m"},
    "opportunity_created": {"deal_id": "d"},
    "proposal_sent": {"lead_id": "L"},
    "deal_changed": {"deal_id": "d"},
    "deal_won": {"deal_id": "d"},
    "deal_lost": {"deal_id": "d"},
    "deal_reopened": {"deal_id": "d"},
    "deal_deleted": {"deal_id": "d"},
    "deal_restored": {"deal_id": "d"},
    "deal_credited": {"deal_id": "d", "credit_id": "c", "amount": 5},
    "account_merged": {"account_id": "A", "survivor_id": "B"},
    "customer_churned": {"account_id": "A"},
    "subscription_changed": {"account_id": "A", "mrr_after": 10},
    "survey_answered": {"respondent_id": "x", "kind": "nps", "score": 9},
    "support_ticket_opened": {"account_id": "A", "ticket_id": "t"},
    "usage_recorded": {"account_id": "A", "minutes": 5},
    "feedback_received": {"account_id": "A", "kind": "email"},
    "spend_recorded": {"campaign_id": "c", "amount": 5},
    "competitor_price_observed": {"product": "p", "competitor": "x", "price": 1, "own_price": 2},
    "quota_set": {"rep_id": "r", "period_start": AT, "period_end": "2025-07-01T00:00:00Z", "amount": 5},
    "rep_joined": {"rep_id": "r"},
    "rep_left": {"rep_id": "r"},
}


def make(name: str, **changes: Any) -> EventBase:
    result = validate({"event": name, "event_id": "1", "occurred_at": AT, **MINIMAL[name], **changes})
    assert isinstance(result, EventBase), result
    return result


def refused(name: str, **changes: Any) -> str:
    result = validate({"event": name, "event_id": "1", "occurred_at": AT, **MINIMAL[name], **changes})
    assert isinstance(result, Rejection), result
    return result.detail


def test_every_event_has_its_least_form() -> None:
    assert set(MINIMAL) == set(EVENTS)
    assert {make(name).topic for name in MINIMAL} == set(TOPICS)
    assert topic_of("lead_created") == "crm.lead-created"
    assert len(EVENT_TYPES) == len(TOPICS) == 36


@pytest.mark.parametrize("name", MINIMAL)
def test_every_event_needs_its_fields(name: str) -> None:
    for field in MINIMAL[name]:
        assert field in refused(name, **{field: None}) or "is required" in refused(name, **{field: None})


@pytest.mark.parametrize("name", MINIMAL)
def test_the_engine_takes_every_event(name: str) -> None:
    shard = Shard(Rules(), LeafIndex())
    item = admit(make(name), Rules(), 1_800_000_000_000)
    assert isinstance(item, Message)
    outcome = shard.apply([item])
    assert not outcome.failed
    assert outcome.distinct + shard.learn(outcome.merges).distinct == 1


def test_keys() -> None:
    assert make("lead_created").key == "L"
    assert make("deal_won", lead_id="L", account_id="A").key == "d"
    assert make("activity_logged", account_id="A").key == "L"
    assert make("activity_logged", lead_id=None, account_id="A").key == "A"
    assert make("activity_logged", lead_id=" ", account_id="A").key == "A"
    assert make("survey_answered").key == "x"
    assert refused("activity_logged", lead_id="", account_id="  ") == (
        "activity_logged: lead_id or account_id is required"
    )


def test_ids_may_be_numbers_and_are_trimmed() -> None:
    assert make("lead_created", lead_id=4711).key == "4711"
    assert make("lead_created", lead_id=" L ").key == "L"


def test_unknown_fields_are_ignored_and_versions_are_not() -> None:
    assert make("lead_created", shoe_size=43) == make("lead_created")
    assert "schema_version" in refused("lead_created", schema_version=2)


def test_times_need_a_zone() -> None:
    assert make("lead_created", occurred_at="2025-06-02T11:00:00+02:00").occurred_at == datetime(
        2025, 6, 2, 9, tzinfo=UTC
    )
    assert "occurred_at" in refused("lead_created", occurred_at="2025-06-02T09:00:00")
    assert "occurred_at" in refused("lead_created", occurred_at=1_748_854_800_000)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("deal_won", {"mrr": -1}),
        ("deal_won", {"currency": "euro"}),
        ("deal_won", {"lines": [{"product": "p", "quantity": -1, "unit_price": 1}]}),
        ("deal_won", {"lines": [{"product": "", "unit_price": 1}]}),
        ("deal_won", {"lines": [{"product": "p", "unit_price": "NaN"}]}),
        ("deal_won", {"lines": [{"product": "p", "unit_price": "Infinity"}]}),
        ("deal_won", {"lines": [{"product": "p", "quantity": 10**7, "unit_price": 10**7}]}),
        ("deal_won", {"lines": [{"product": "p", "unit_price": 1}] * 1001}),
        ("spend_recorded", {"amount": 10**13}),
        ("usage_recorded", {"minutes": -1}),
        ("usage_recorded", {"minutes": 10**10}),
        ("survey_answered", {"score": 11}),
        ("survey_answered", {"kind": "csat", "score": 0}),
        ("survey_answered", {"score": 8.5}),
        ("lifecycle_stage_changed", {"stage": "guru"}),
        ("deal_credited", {"amount": -1}),
        ("deal_credited", {"lines": [{"product": "p", "unit_price": -1}]}),
        ("deal_changed", {"probability": 1.5}),
        ("subscription_changed", {"mrr_delta": 1}),
        ("quota_set", {"period_end": AT}),
        ("subscription_changed", {"subscriptions": -1}),
    ],
)
def test_values_out_of_range_are_refused(name: str, changes: dict[str, Any]) -> None:
    assert refused(name, **changes)


def test_the_largest_amounts_fit_through_the_engine() -> None:
    shard = Shard(Rules(), LeafIndex())
    line = {"product": "p", "quantity": "2999999", "unit_price": "2999999.999999999999999999999999"}
    for event in (
        make("deal_won", lines=[line]),
        make("spend_recorded", amount="8999999999999.999999"),
        make("spend_recorded", amount="-8999999999999.999999", event_id="2"),
        make("usage_recorded", minutes=999_999_999),
    ):
        item = admit(event, Rules(), 1_800_000_000_000)
        assert isinstance(item, Message)
        assert not shard.apply([item]).failed


def test_amounts_are_exact() -> None:
    assert make("spend_recorded", amount="0.1").amount == Decimal("0.1")  # type: ignore[attr-defined]
    assert make("spend_recorded", amount=0.1).amount == Decimal("0.1")  # type: ignore[attr-defined]


def test_stages_are_in_their_order() -> None:
    assert STAGES[:4] == ("subscriber", "lead", "mql", "sql")
