"""The canonical CRM events, one pydantic model each, joined in the discriminated union :data:`Event`.

Every event says what happened (past tense), to whom (its key) and when (``occurred_at``). Field values are
facts as the source system knows them; no KPI is computed here. Unknown extra fields are ignored, so that a
producer may send more than this version reads.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from salesgauge.schemas.values import LARGEST, LONGEST, Amount, Currency, Identifier, Label, Money, Name, Time

SCHEMA_VERSION = 1
TOPIC_PREFIX = "crm."
MAX_EVENT_BYTES = 262_144
"""Larger messages are refused unread: an event is a few hundred bytes."""

Stage = Literal["subscriber", "lead", "mql", "sql", "opportunity", "customer", "evangelist", "disqualified"]
STAGES: tuple[Stage, ...] = get_args(Stage)
ActivityKind = Literal["call", "email", "meeting", "video", "social", "note"]
DealKind = Literal["new", "upsell", "cross_sell", "renewal"]


class EventBase(BaseModel):
    """The envelope that all events share.

    ``event_id`` identifies the event for ever: the same id again is a repetition and changes nothing.
    ``recorded_at`` is the instant at which the source system learnt the fact (default: ``occurred_at``);
    of two versions of one fact the one recorded last holds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    KEY_FIELDS: ClassVar[tuple[str, ...]] = ()

    event_id: Identifier
    occurred_at: Time
    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    source_system: Name | None = None
    recorded_at: Time | None = None

    @property
    def name(self) -> str:
        """The event's name, for example ``lead_created``."""
        return str(self.event)  # type: ignore[attr-defined]

    @property
    def key(self) -> str:
        """The Kafka message key: the identity of the entity that the event is about."""
        for field in self.KEY_FIELDS:
            value = getattr(self, field)
            if value:
                return str(value)
        raise AssertionError(f"{self.name} without a key")  # excluded by validation

    @property
    def topic(self) -> str:
        """The Kafka topic of this kind of event."""
        return topic_of(self.name)


def topic_of(event: str) -> str:
    """``lead_created`` -> ``crm.lead-created``."""
    return TOPIC_PREFIX + event.replace("_", "-")


class _LeadEvent(EventBase):
    KEY_FIELDS = ("lead_id",)
    lead_id: Identifier


class _AccountEvent(EventBase):
    KEY_FIELDS = ("account_id",)
    account_id: Identifier


class _LeadOrAccountEvent(EventBase):
    KEY_FIELDS = ("lead_id", "account_id")
    lead_id: Name | None = None
    account_id: Name | None = None

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if not self.lead_id and not self.account_id:
            raise ValueError("lead_id or account_id is required")
        return self


class LeadCreated(_LeadEvent):
    """A lead entered the CRM. ``qualified`` is the source's own judgement, where it has one."""

    event: Literal["lead_created"] = "lead_created"
    source: Name | None = None
    campaign_id: Name | None = None
    location: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None
    qualified: bool | None = None


class LeadAssigned(_LeadEvent):
    """A lead was given to a rep (again)."""

    event: Literal["lead_assigned"] = "lead_assigned"
    rep_id: Label
    team: Name | None = None


class LeadMerged(_LeadEvent):
    """The lead ``lead_id`` turned out to be ``survivor_id``: it is retracted, the survivor takes its history."""

    event: Literal["lead_merged"] = "lead_merged"
    survivor_id: Identifier

    @model_validator(mode="after")
    def _another_lead(self) -> Self:
        if self.survivor_id == self.lead_id:
            raise ValueError("survivor_id must differ from lead_id")
        return self


class LifecycleStageChanged(_LeadEvent):
    """A lead entered a lifecycle stage."""

    event: Literal["lifecycle_stage_changed"] = "lifecycle_stage_changed"
    stage: Stage


class ActivityLogged(_LeadOrAccountEvent):
    """Somebody, or an automation, did something with a lead or an account.

    A human touch is ``direction == "outbound" and not automated``, whatever its kind: a note that touches nobody
    is to be sent as inbound, or not at all.
    """

    event: Literal["activity_logged"] = "activity_logged"
    rep_id: Name | None = None
    team: Name | None = None
    kind: ActivityKind
    direction: Literal["inbound", "outbound"] = "outbound"
    automated: bool = False


class ReplyReceived(_LeadEvent):
    """A lead answered. An out-of-office answer has ``auto_reply`` and is no reply for any KPI."""

    event: Literal["reply_received"] = "reply_received"
    channel: Name | None = None
    sentiment: Literal["positive", "negative", "neutral"] = "neutral"
    auto_reply: bool = False
    rep_id: Name | None = None
    team: Name | None = None


class MeetingBooked(_LeadEvent):
    """A meeting with a lead was put into the calendar."""

    event: Literal["meeting_booked"] = "meeting_booked"
    meeting_id: Identifier
    kind: Literal["intro", "demo", "other"] = "other"
    scheduled_for: Time | None = None
    rep_id: Name | None = None
    team: Name | None = None


class MeetingCompleted(_LeadEvent):
    """The time of a meeting has come: it was held, missed or cancelled."""

    event: Literal["meeting_completed"] = "meeting_completed"
    meeting_id: Identifier
    kind: Literal["intro", "demo", "other"] | None = None
    outcome: Literal["held", "no_show", "cancelled"] = "held"
    rep_id: Name | None = None
    team: Name | None = None


class OpportunityCreated(_LeadEvent):
    """A deal was opened. The same ``deal_id`` again corrects its amount."""

    event: Literal["opportunity_created"] = "opportunity_created"
    deal_id: Identifier
    account_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None
    amount: Amount | None = None
    currency: Currency | None = None


class ProposalSent(_LeadEvent):
    """A proposal or quote went out."""

    event: Literal["proposal_sent"] = "proposal_sent"
    deal_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None


class DealLine(BaseModel):
    """One line of a won deal; its revenue is ``quantity * unit_price``."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    product: Label
    quantity: Annotated[Decimal, Field(ge=0, lt=LARGEST, allow_inf_nan=False)] = Decimal(1)
    unit_price: Amount

    @model_validator(mode="after")
    def _amount_in_range(self) -> Self:
        if abs(self.quantity * self.unit_price) >= LARGEST:
            raise ValueError(f"quantity * unit_price must lie within {LARGEST}")
        return self


class DealWon(_LeadOrAccountEvent):
    """A deal was won. The same ``deal_id`` again, without a re-opening between, corrects what was won.

    Revenue is the sum over ``lines``. ``mrr`` is the monthly recurring revenue that the deal adds.
    """

    event: Literal["deal_won"] = "deal_won"
    deal_id: Identifier
    rep_id: Name | None = None
    team: Name | None = None
    location: Name | None = None
    kind: DealKind = "new"
    lines: Annotated[tuple[DealLine, ...], Field(max_length=1000)] = ()
    currency: Currency | None = None
    mrr: Money | None = None
    referred_by: Name | None = None


class DealLost(_LeadOrAccountEvent):
    """A deal was lost."""

    event: Literal["deal_lost"] = "deal_lost"
    deal_id: Identifier
    rep_id: Name | None = None
    team: Name | None = None
    product: Name | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    reason: Name | None = None


class DealReopened(_LeadOrAccountEvent):
    """A won or lost deal is open again; what it had contributed is taken back."""

    event: Literal["deal_reopened"] = "deal_reopened"
    deal_id: Identifier


class CustomerChurned(_AccountEvent):
    """An account ended its last contract."""

    event: Literal["customer_churned"] = "customer_churned"
    mrr_lost: Money | None = None
    currency: Currency | None = None
    reason: Name | None = None


class SubscriptionChanged(_AccountEvent):
    """An account's recurring revenue or number of subscriptions changed; all values are absolute."""

    event: Literal["subscription_changed"] = "subscription_changed"
    mrr_before: Money = Decimal(0)
    mrr_after: Money
    currency: Currency | None = None
    subscriptions: Annotated[int, Field(ge=0, le=10**9)] | None = None


_SCORES = {"nps": (0, 10), "csat": (1, 5), "enps": (0, 10)}


class SurveyAnswered(EventBase):
    """A customer (nps, csat) or an employee (enps) answered a survey.

    An employee who is a rep is so by ``rep_id``, or else by ``respondent_id``: the answer counts for that rep's team.
    """

    KEY_FIELDS = ("respondent_id",)
    event: Literal["survey_answered"] = "survey_answered"
    respondent_id: Identifier
    kind: Literal["nps", "csat", "enps"]
    score: int
    account_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None

    @model_validator(mode="after")
    def _score_in_range(self) -> Self:
        low, high = _SCORES[self.kind]
        if not low <= self.score <= high:
            raise ValueError(f"a {self.kind} score lies between {low} and {high}")
        return self


class SupportTicketOpened(_AccountEvent):
    """A customer asked support for help. The same ``ticket_id`` of the account again does not count again."""

    event: Literal["support_ticket_opened"] = "support_ticket_opened"
    ticket_id: Identifier


class UsageRecorded(_AccountEvent):
    """A customer spent time in the platform."""

    event: Literal["usage_recorded"] = "usage_recorded"
    minutes: Annotated[Decimal, Field(ge=0, lt=LONGEST, allow_inf_nan=False)]


class FeedbackReceived(_AccountEvent):
    """Qualitative feedback arrived."""

    event: Literal["feedback_received"] = "feedback_received"
    kind: Literal["testimonial", "employee_note", "email"]


class SpendRecorded(EventBase):
    """Money was spent on acquiring customers."""

    KEY_FIELDS = ("campaign_id",)
    event: Literal["spend_recorded"] = "spend_recorded"
    campaign_id: Label
    amount: Amount
    currency: Currency | None = None
    category: Literal["marketing", "sales"] = "marketing"
    channel: Name | None = None


class CompetitorPriceObserved(EventBase):
    """A competitor's price for something comparable to one's own product was seen."""

    KEY_FIELDS = ("product",)
    event: Literal["competitor_price_observed"] = "competitor_price_observed"
    product: Label
    competitor: Label
    price: Money
    own_price: Money
    currency: Currency | None = None


class QuotaSet(EventBase):
    """A rep's target revenue for the period ``[period_start, period_end)``. The same period again replaces it."""

    KEY_FIELDS = ("rep_id",)
    event: Literal["quota_set"] = "quota_set"
    rep_id: Label
    period_start: Time
    period_end: Time
    amount: Money
    currency: Currency | None = None

    @model_validator(mode="after")
    def _period_has_length(self) -> Self:
        if self.period_end <= self.period_start:
            raise ValueError("period_end must come after period_start")
        return self


class RepJoined(EventBase):
    """A rep started (in a team), which counts for headcount, quotas and eNPS.

    What the rep does counts for the team joined last, where neither the event nor the lead names one.
    """

    KEY_FIELDS = ("rep_id",)
    event: Literal["rep_joined"] = "rep_joined"
    rep_id: Label
    team: Name | None = None


class RepLeft(EventBase):
    """A rep left the company."""

    KEY_FIELDS = ("rep_id",)
    event: Literal["rep_left"] = "rep_left"
    rep_id: Label
    team: Name | None = None


EVENT_TYPES: tuple[type[EventBase], ...] = (
    LeadCreated, LeadAssigned, LeadMerged, LifecycleStageChanged, ActivityLogged, ReplyReceived,
    MeetingBooked, MeetingCompleted, OpportunityCreated, ProposalSent, DealWon, DealLost, DealReopened,
    CustomerChurned, SubscriptionChanged, SurveyAnswered, SupportTicketOpened, UsageRecorded,
    FeedbackReceived, SpendRecorded, CompetitorPriceObserved, QuotaSet, RepJoined, RepLeft,
)  # fmt: skip

Event = Annotated[
    LeadCreated
    | LeadAssigned
    | LeadMerged
    | LifecycleStageChanged
    | ActivityLogged
    | ReplyReceived
    | MeetingBooked
    | MeetingCompleted
    | OpportunityCreated
    | ProposalSent
    | DealWon
    | DealLost
    | DealReopened
    | CustomerChurned
    | SubscriptionChanged
    | SurveyAnswered
    | SupportTicketOpened
    | UsageRecorded
    | FeedbackReceived
    | SpendRecorded
    | CompetitorPriceObserved
    | QuotaSet
    | RepJoined
    | RepLeft,
    Field(discriminator="event"),
]

EVENTS: dict[str, type[EventBase]] = {t.model_fields["event"].default: t for t in EVENT_TYPES}
"""Event name -> model."""

TOPICS: tuple[str, ...] = tuple(topic_of(name) for name in EVENTS)
"""All event topics, in the order of the models."""
