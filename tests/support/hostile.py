"""A hostile history: every kind of event about few leads, accounts, deals and reps, with as much left out as may be.

Deals close before they open and again and again, belong to a lead, an account or both, replies precede contacts, leads
are reported twice or never: what no organisation does on purpose and every CRM's export has.
"""

# ruff: noqa: E501 - an event a line

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from salesgauge.schemas.codec import Rejection, validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.schemas.events import EventBase

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 60
_MILLISECONDS = DAYS * 86_400_000


class Hostile:
    """Makes the events; the same seed makes the same."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._leads = [f"l{n}" for n in range(25)]
        self._accounts = [f"a{n}" for n in range(8)]
        self._loyal = set(self._accounts)
        self._deals = [self._deal(n) for n in range(25)]
        self._makers: dict[str, Callable[[], dict[str, Any]]] = {
            "lead_created": self._created,
            "lead_assigned": lambda: {"lead_id": self._lead, "rep_id": self._named_rep, "team": self._any("T1", "T2", None)},
            "lifecycle_stage_changed": lambda: {
                "lead_id": self._lead, "stage": self._any("lead", "mql", "sql", "opportunity", "customer", "disqualified")},
            "activity_logged": self._activity,
            "reply_received": self._reply,
            "meeting_booked": lambda: self._meeting() | {"kind": self._any("demo", "intro")},
            "meeting_completed": lambda: self._meeting() | {
                "kind": self._any("demo", "intro", None), "outcome": self._any("held", "held", "no_show", "cancelled")},
            "opportunity_created": self._opportunity,
            "proposal_sent": lambda: {"lead_id": self._lead, "rep_id": self._rep},
            "deal_won": self._won,
            "deal_lost": lambda: self._any(*self._deals) | {"rep_id": self._rep, "product": self._any("P", None)},
            "deal_reopened": lambda: self._any(*self._deals),
            "customer_churned": self._churned,
            "subscription_changed": self._subscription,
            "survey_answered": self._survey,
            "support_ticket_opened": lambda: {"account_id": self._account, "ticket_id": "t"},
            "usage_recorded": lambda: {"account_id": self._account, "minutes": self._rng.randrange(90)},
            "feedback_received": lambda: {"account_id": self._account, "kind": self._any("testimonial", "email")},
            "spend_recorded": lambda: {
                "campaign_id": self._any("c", "d"), "amount": self._any(10, 0.005), "channel": self._any("x", None),
                "category": self._any("marketing", "sales")},
            "competitor_price_observed": lambda: {
                "product": "P", "competitor": self._any("K", "J"), "price": self._any(9, 11.5), "own_price": 10},
            "quota_set": lambda: {
                "rep_id": self._named_rep, "period_start": "2025-01-01T00:00:00Z", "period_end": "2025-04-01T00:00:00Z",
                "amount": self._any(50, 100)},
            "rep_joined": lambda: {"rep_id": self._named_rep, "team": self._any("T1", "T2")},
            "rep_left": lambda: {"rep_id": self._named_rep},
        }  # fmt: skip

    def events(self, count: int) -> list[EventBase]:
        """About ``count`` events in no order, all at different instants."""
        instants = self._rng.sample(range(_MILLISECONDS), count)
        made = (self._event(number, at) for number, at in enumerate(instants))
        return [event for event in made if event is not None]

    def _event(self, number: int, at: int) -> EventBase | None:
        name = self._any(*self._makers, "activity_logged", "deal_won")
        fields = {field: value for field, value in self._makers[name]().items() if value is not None}
        if not fields:
            return None
        occurred = (START + timedelta(milliseconds=at)).isoformat()
        event = validate({"event": name, "event_id": f"e{number}", "occurred_at": occurred, **fields})
        assert not isinstance(event, Rejection), event
        return event

    def _any(self, *values: Any) -> Any:
        return self._rng.choice(values)

    @property
    def _lead(self) -> str:
        return self._rng.choice(self._leads)

    @property
    def _account(self) -> str:
        return self._rng.choice(self._accounts)

    @property
    def _rep(self) -> str | None:
        return self._rng.choice(["r1", "r2", "r3", None])

    @property
    def _named_rep(self) -> str:
        return self._rng.choice(["r1", "r2", "r3"])

    def _deal(self, number: int) -> dict[str, Any]:
        lead, account = self._any(self._lead, None), self._any(self._account, None)
        return {"deal_id": f"d{number}", "lead_id": lead if lead or account else self._lead, "account_id": account}

    def _created(self) -> dict[str, Any]:
        return {
            "lead_id": self._lead, "source": self._any("x", "y", None), "campaign_id": self._any("c", "d", None),
            "location": self._any("DE", None), "rep_id": self._rep, "team": self._any("T1", None),
            "qualified": self._any(True, False, None),
        }  # fmt: skip

    def _activity(self) -> dict[str, Any]:
        about: dict[str, Any] = self._any(*3 * [{"lead_id": self._lead}], {"account_id": self._account})
        return about | {
            "kind": self._any("call", "email", "meeting", "video", "social", "note"), "rep_id": self._rep,
            "team": self._any("T3", None), "direction": self._any("inbound", "outbound", "outbound"),
            "automated": self._any(True, False, False),
        }  # fmt: skip

    def _reply(self) -> dict[str, Any]:
        return {
            "lead_id": self._lead, "rep_id": self._rep, "sentiment": self._any("positive", "negative", "neutral"),
            "auto_reply": self._any(True, False, False),
        }  # fmt: skip

    def _meeting(self) -> dict[str, Any]:
        number = self._rng.randrange(15)
        return {"lead_id": self._leads[number], "meeting_id": f"m{number}", "rep_id": self._rep}

    def _opportunity(self) -> dict[str, Any]:
        deal = self._any(*(deal for deal in self._deals if deal["lead_id"]))
        return {**deal, "rep_id": self._rep, "amount": self._rng.randrange(1000)}

    def _won(self) -> dict[str, Any]:
        prices = [self._any(10, 0.333, -1) for _ in range(self._rng.randrange(3))]
        lines = [
            {"product": self._any("P", "Q"), "quantity": self._any(1, 2.5), "unit_price": price} for price in prices
        ]
        return dict(self._any(*self._deals)) | {
            "rep_id": self._rep, "team": self._any("T1", None), "location": self._any("AT", None), "lines": lines,
            "kind": self._any("new", "upsell", "cross_sell"), "mrr": self._any(None, 10, 5.5),
            "referred_by": self._any(None, "a1"),
        }  # fmt: skip

    def _churned(self) -> dict[str, Any]:
        """Once per account, without an amount: a second churn, or one of what a downgrade took, may be the same loss."""
        if not self._loyal:
            return {}
        account = self._any(*sorted(self._loyal))
        self._loyal.remove(account)
        return {"account_id": account}

    def _subscription(self) -> dict[str, Any]:
        return {
            "account_id": self._account, "mrr_before": self._any(0, 10), "mrr_after": self._any(0, 10, 20),
            "subscriptions": self._any(None, 1, 3),
        }  # fmt: skip

    def _survey(self) -> dict[str, Any]:
        kind = self._any("nps", "csat", "enps")
        score = self._rng.randrange(1, 6) if kind == "csat" else self._rng.randrange(11)
        return {"respondent_id": "p", "kind": kind, "score": score, "rep_id": self._rep if kind == "enps" else None}
