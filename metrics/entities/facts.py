"""Facts: what an entity remembers of an event.

A fact is the part of an event that some measure needs, small and typed. An entity's state is a *set* of facts,
keyed by ``id`` (a 64-bit hash of the event id), so applying an event twice or in another order gives the same
state. Packed states are the values of the changelog: fields are positional there, so new ones go to the end with
a default, and a tag or a position is never reused.

Times are milliseconds since the epoch; amounts are millionths of a currency's major unit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from salesgauge.schemas.events import EVENTS
from salesgauge.schemas.wire import WIRE_EVENTS, AnyEvent

_HASH = blake2b(digest_size=8)
_EPOCH = datetime.fromtimestamp(0, UTC)
_DAY = 86_400_000  # ms
_ONE = Decimal(1)
MICROS = 1_000_000


class Fact(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """``id`` of the event, the instant ``at`` which it happened, ``rec`` when it was recorded (0: as it happened)."""

    id: int
    at: int
    rec: int = 0

    @property
    def version(self) -> tuple[int, int]:
        """Orders versions of one fact: the one recorded last is the greatest."""
        return (self.rec or self.at, self.id)


class Created(Fact, tag=1, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead entered the CRM."""

    source: str = ""
    campaign: str = ""
    location: str = ""
    rep: str = ""
    team: str = ""
    qualified: bool | None = None
    lead: str = ""


class Assigned(Fact, tag=2, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead was given to a rep."""

    rep: str = ""
    team: str = ""


class Merged(Fact, tag=3, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead turned out to be another one."""

    survivor: str = ""


class Staged(Fact, tag=4, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead entered a lifecycle stage."""

    stage: str = ""


class Activity(Fact, tag=5, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Somebody, or an automation, did something with a lead or an account."""

    kind: str = ""
    outbound: bool = True
    automated: bool = False
    rep: str = ""
    team: str = ""

    @property
    def human_touch(self) -> bool:
        """An outbound activity that no automation sent."""
        return self.outbound and not self.automated


class Reply(Fact, tag=6, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A lead answered."""

    channel: str = ""
    sentiment: str = "neutral"
    auto: bool = False
    rep: str = ""
    team: str = ""


class Booked(Fact, tag=7, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A meeting was booked."""

    meeting: str = ""
    kind: str = ""
    rep: str = ""
    team: str = ""


class Completed(Fact, tag=8, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """The time of a meeting has come."""

    meeting: str = ""
    kind: str = ""
    outcome: str = "held"
    rep: str = ""
    team: str = ""


class Opportunity(Fact, tag=9, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A deal was opened, or its opening corrected."""

    deal: str = ""
    account: str = ""
    rep: str = ""
    team: str = ""
    amount: int = 0
    currency: str = ""
    lead: str = ""


class Proposal(Fact, tag=10, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A proposal went out."""

    deal: str = ""
    rep: str = ""
    team: str = ""


class Won(Fact, tag=11, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """``lines`` are (product, revenue); ``lead`` is set where the deal belongs to a lead."""

    deal: str = ""
    account: str = ""
    rep: str = ""
    team: str = ""
    location: str = ""
    kind: str = "new"
    lines: tuple[tuple[str, int], ...] = ()
    currency: str = ""
    mrr: int | None = None
    referrer: str = ""
    lead: str = ""


class Lost(Fact, tag=12, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A deal was lost."""

    deal: str = ""
    rep: str = ""
    team: str = ""
    product: str = ""
    amount: int = 0
    currency: str = ""
    reason: str = ""
    lead: str = ""
    account: str = ""


class Reopened(Fact, tag=13, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A closed deal is open again."""

    deal: str = ""
    lead: str = ""
    account: str = ""


class Churned(Fact, tag=14, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """An account left."""

    mrr_lost: int | None = None
    currency: str = ""
    reason: str = ""


class Subscription(Fact, tag=15, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """An account's recurring revenue or subscriptions changed."""

    before: int = 0
    after: int = 0
    currency: str = ""
    subscriptions: int | None = None


class Survey(Fact, tag=16, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A survey was answered."""

    kind: str = ""
    score: int = 0
    team: str = ""


class Ticket(Fact, tag=17, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A support ticket was opened."""


class Usage(Fact, tag=18, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Time was spent in the platform."""

    ms: int = 0


class Feedback(Fact, tag=19, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Feedback arrived."""

    kind: str = ""


class Spend(Fact, tag=20, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Money was spent on acquisition."""

    campaign: str = ""
    amount: int = 0
    currency: str = ""
    category: str = "marketing"
    channel: str = ""


class Price(Fact, tag=21, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A competitor's price was seen."""

    product: str = ""
    competitor: str = ""
    price: int = 0
    own: int = 0
    currency: str = ""


class Quota(Fact, tag=22, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A rep's target for a period."""

    start: int = 0
    end: int = 0
    amount: int = 0
    currency: str = ""


class Joined(Fact, tag=23, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A rep started."""

    team: str = ""


class Left(Fact, tag=24, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A rep left."""

    team: str = ""


AnyFact = (
    Created
    | Assigned
    | Merged
    | Staged
    | Activity
    | Reply
    | Booked
    | Completed
    | Opportunity
    | Proposal
    | Won
    | Lost
    | Reopened
    | Churned
    | Subscription
    | Survey
    | Ticket
    | Usage
    | Feedback
    | Spend
    | Price
    | Quota
    | Joined
    | Left
)
DealFact = Opportunity | Won | Lost | Reopened


def to_fact(event: AnyEvent) -> Fact:
    """The fact that ``event`` states."""
    recorded = event.recorded_at
    return _MAKERS[type(event)](
        event, fact_id(event.event_id), millis(event.occurred_at), millis(recorded) if recorded else 0
    )


def fact_id(event_id: str) -> int:
    """A 64-bit hash of the event id; within one entity a collision is practically excluded."""
    digest = _HASH.copy()
    digest.update(event_id.encode())
    return int.from_bytes(digest.digest(), "big")


def millis(time: datetime) -> int:
    """Milliseconds since the epoch, rounded to the nearest."""
    passed = time - _EPOCH
    return passed.days * _DAY + passed.seconds * 1000 + (passed.microseconds + 500) // 1000


def micros(amount: Decimal | None) -> int:
    """Millionths of a major unit; absent is 0."""
    return 0 if amount is None else int((amount * MICROS).quantize(_ONE, ROUND_HALF_EVEN))


def _optional_micros(amount: Decimal | None) -> int | None:
    return None if amount is None else micros(amount)


_Maker = Callable[[Any, int, int, int], Fact]

_MAKERS_BY_NAME: dict[str, _Maker] = {
    "lead_created": lambda e, i, t, r: Created(
        i, t, r, e.source or "", e.campaign_id or "", e.location or "", e.rep_id or "", e.team or "", e.qualified,
        e.lead_id,
    ),
    "lead_assigned": lambda e, i, t, r: Assigned(i, t, r, e.rep_id, e.team or ""),
    "lead_merged": lambda e, i, t, r: Merged(i, t, r, e.survivor_id),
    "lifecycle_stage_changed": lambda e, i, t, r: Staged(i, t, r, e.stage),
    "activity_logged": lambda e, i, t, r: Activity(
        i, t, r, e.kind, e.direction == "outbound", e.automated, e.rep_id or "", e.team or ""
    ),
    "reply_received": lambda e, i, t, r: Reply(
        i, t, r, e.channel or "", e.sentiment, e.auto_reply, e.rep_id or "", e.team or ""
    ),
    "meeting_booked": lambda e, i, t, r: Booked(i, t, r, e.meeting_id, e.kind, e.rep_id or "", e.team or ""),
    "meeting_completed": lambda e, i, t, r: Completed(
        i, t, r, e.meeting_id, e.kind or "", e.outcome, e.rep_id or "", e.team or ""
    ),
    "opportunity_created": lambda e, i, t, r: Opportunity(
        i, t, r, e.deal_id, e.account_id or "", e.rep_id or "", e.team or "", micros(e.amount), e.currency or "",
        e.lead_id or "",
    ),
    "proposal_sent": lambda e, i, t, r: Proposal(i, t, r, e.deal_id or "", e.rep_id or "", e.team or ""),
    "deal_won": lambda e, i, t, r: Won(
        i, t, r, e.deal_id, e.account_id or "", e.rep_id or "", e.team or "", e.location or "", e.kind,
        tuple((line.product, micros(line.quantity * line.unit_price)) for line in e.lines),
        e.currency or "", _optional_micros(e.mrr), e.referred_by or "", e.lead_id or "",
    ),
    "deal_lost": lambda e, i, t, r: Lost(
        i, t, r, e.deal_id, e.rep_id or "", e.team or "", e.product or "", micros(e.amount), e.currency or "",
        e.reason or "", e.lead_id or "", e.account_id or "",
    ),
    "deal_reopened": lambda e, i, t, r: Reopened(i, t, r, e.deal_id, e.lead_id or "", e.account_id or ""),
    "customer_churned": lambda e, i, t, r: Churned(
        i, t, r, _optional_micros(e.mrr_lost), e.currency or "", e.reason or ""
    ),
    "subscription_changed": lambda e, i, t, r: Subscription(
        i, t, r, micros(e.mrr_before), micros(e.mrr_after), e.currency or "", e.subscriptions
    ),
    "survey_answered": lambda e, i, t, r: Survey(i, t, r, e.kind, e.score, e.team or ""),
    "support_ticket_opened": lambda _, i, t, r: Ticket(i, t, r),
    "usage_recorded": lambda e, i, t, r: Usage(i, t, r, int(e.minutes * 60_000)),
    "feedback_received": lambda e, i, t, r: Feedback(i, t, r, e.kind),
    "spend_recorded": lambda e, i, t, r: Spend(
        i, t, r, e.campaign_id, micros(e.amount), e.currency or "", e.category, e.channel or ""
    ),
    "competitor_price_observed": lambda e, i, t, r: Price(
        i, t, r, e.product, e.competitor, micros(e.price), micros(e.own_price), e.currency or ""
    ),
    "quota_set": lambda e, i, t, r: Quota(
        i, t, r, millis(e.period_start), millis(e.period_end), micros(e.amount), e.currency or ""
    ),
    "rep_joined": lambda e, i, t, r: Joined(i, t, r, e.team or ""),
    "rep_left": lambda e, i, t, r: Left(i, t, r, e.team or ""),
}  # fmt: skip

KNOWN_KINDS = frozenset(_MAKERS_BY_NAME)

_MAKERS: dict[type[AnyEvent], _Maker] = {EVENTS[name]: maker for name, maker in _MAKERS_BY_NAME.items()} | {
    struct: _MAKERS_BY_NAME[name] for name, struct in WIRE_EVENTS.items() if name in _MAKERS_BY_NAME
}
