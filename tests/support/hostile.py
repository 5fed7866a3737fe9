"""A hostile history: events about few leads, accounts, deals and reps, with as much left out as may be.

Deals close before they open and again and again, belong to a lead, an account or both, replies precede contacts, leads
are reported twice or never: what no organisation does on purpose and every CRM's export has. :class:`Hostile` keeps to
what the batch oracle computes; :class:`EveryKind` makes every kind that the models declare.
"""

# ruff: noqa: E501 - an event a line

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from salesgauge.schemas.codec import Rejection, validate
from salesgauge.schemas.events import EVENTS, EventBase
from tests.support.payloads import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel

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


POOLS: dict[str, list[str]] = {
    "lead_id": [f"l{n}" for n in range(6)],
    "account_id": [f"a{n}" for n in range(4)],
    "deal_id": [f"d{n}" for n in range(6)],
    "rep_id": ["r1", "r2", "r3"],
    "team": ["T1", "T2"],
}
"""Few of each, so that events meet; a field of another name has two values."""


class EveryKind:
    """Valid events of every kind that the models declare, about few of everything, at different instants.

    The same seed makes the same. A kind that is added is covered without a change here.
    """

    def __init__(self, seed: int, start: datetime = START, days: float = DAYS, kinds: Sequence[str] = ()) -> None:
        self._rng = random.Random(seed)
        self._start = start
        self._milliseconds = round(days * 86_400_000)
        self._kinds = list(kinds or EVENTS)

    def events(self, count: int, prefix: str = "e") -> list[EventBase]:
        """So many events in no order; kinds come in turn, so that none is missing."""
        instants = self._rng.sample(range(self._milliseconds), count)
        return [self._event(f"{prefix}{n}", self._kinds[n % len(self._kinds)], at) for n, at in enumerate(instants)]

    def _event(self, event_id: str, name: str, at: int) -> EventBase:
        for _ in range(200):  # what holds between fields is left to luck
            fields = self._object(EVENTS[name]) | {"event": name, "event_id": event_id, "occurred_at": self._iso(at)}
            fields.pop("schema_version", None)
            fields.pop("recorded_at", None)
            if self._rng.random() < 0.2:
                fields["recorded_at"] = self._iso(self._rng.randrange(at, self._milliseconds))
            event = validate(fields)
            if not isinstance(event, Rejection):
                return event
        raise AssertionError(f"no valid {name} was found")

    def _object(self, model: type[BaseModel]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, info in model.model_fields.items():
            if name != "event" and (info.is_required() or self._rng.random() < 0.6):
                made[name] = self._value(model, name)
        return made

    def _value(self, model: type[BaseModel], name: str) -> Any:
        kind, detail = kind_of(model, name)
        if kind == "text":
            key = getattr(model, "KEY_FIELDS", (name,))[0] if name == "survivor_id" else name
            return self._rng.choice(POOLS.get(key, [f"{key}-x", f"{key}-y"]))
        if kind == "time":
            return self._iso(self._rng.randrange(self._milliseconds))
        if kind == "literal":
            return self._rng.choice(detail)
        if kind == "list":
            return [self._object(detail) for _ in range(self._rng.randrange(1, 3))]
        choices: dict[str, list[Any]] = {
            "int": [1, 2, 5], "decimal": [0, "0.5", 1, "99.99", 250], "bool": [True, False], "code": ["EUR"],
        }  # fmt: skip
        return self._rng.choice(choices[kind])

    def _iso(self, at: int) -> str:
        return (self._start + timedelta(milliseconds=at)).isoformat()
