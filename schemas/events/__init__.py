"""The canonical CRM events, one pydantic model each, joined in the discriminated union :data:`EVENT_UNION`.

A kind of event is declared in one place: its class, in the module of what it is about. Its name, topic, key, JSON
Schema and documentation follow from the class; what is remembered of it is declared beside its fact
(:mod:`salesgauge.metrics.entities.facts`).
"""

from __future__ import annotations

from typing import Annotated, Union

from pydantic import Field

from salesgauge.schemas.events.accounts import (
    AccountMerged,
    CustomerChurned,
    FeedbackReceived,
    SubscriptionChanged,
    SupportTicketOpened,
    SurveyAnswered,
    UsageRecorded,
)
from salesgauge.schemas.events.base import (
    DECLARED,
    SCHEMA_VERSION,
    STAGES,
    TOPIC_PREFIX,
    EventBase,
    Stage,
    topic_of,
)
from salesgauge.schemas.events.company import CompetitorPriceObserved, QuotaSet, RepJoined, RepLeft, SpendRecorded
from salesgauge.schemas.events.deals import (
    DealChanged,
    DealCredited,
    DealDeleted,
    DealKind,
    DealLine,
    DealLost,
    DealReopened,
    DealRestored,
    DealWon,
    OpportunityCreated,
    RevenueSplit,
)
from salesgauge.schemas.events.leads import (
    ActivityKind,
    ActivityLogged,
    EmailBounced,
    LeadAssigned,
    LeadCreated,
    LeadDeleted,
    LeadMerged,
    LeadReengaged,
    LeadRestored,
    LifecycleStageChanged,
    MeetingBooked,
    MeetingCompleted,
    ProposalSent,
    ReplyClassified,
    ReplyReceived,
    ResponsePaused,
    ResponseResumed,
)

_MODULES = ("leads", "deals", "accounts", "company")

EVENTS: dict[str, type[EventBase]] = dict(
    sorted(DECLARED.items(), key=lambda declared: _MODULES.index(declared[1].__module__.rpartition(".")[2]))
)
"""Event name -> model, in the order of the modules and of their definition there."""

EVENT_TYPES: tuple[type[EventBase], ...] = tuple(EVENTS.values())

EVENT_UNION = Annotated[Union[EVENT_TYPES], Field(discriminator="event")]  # type: ignore[valid-type]  # noqa: UP007
"""What pydantic validates a payload against; the static type of an event is :class:`EventBase`."""

TOPICS: tuple[str, ...] = tuple(topic_of(name) for name in EVENTS)
"""All event topics, in the order of the models."""

__all__ = [
    "EVENTS",
    "EVENT_TYPES",
    "EVENT_UNION",
    "SCHEMA_VERSION",
    "STAGES",
    "TOPICS",
    "TOPIC_PREFIX",
    "AccountMerged",
    "ActivityKind",
    "ActivityLogged",
    "CompetitorPriceObserved",
    "CustomerChurned",
    "DealChanged",
    "DealCredited",
    "DealDeleted",
    "DealKind",
    "DealLine",
    "DealLost",
    "DealReopened",
    "DealRestored",
    "DealWon",
    "EmailBounced",
    "EventBase",
    "FeedbackReceived",
    "LeadAssigned",
    "LeadCreated",
    "LeadDeleted",
    "LeadMerged",
    "LeadReengaged",
    "LeadRestored",
    "LifecycleStageChanged",
    "MeetingBooked",
    "MeetingCompleted",
    "OpportunityCreated",
    "ProposalSent",
    "QuotaSet",
    "RepJoined",
    "RepLeft",
    "ReplyClassified",
    "ReplyReceived",
    "ResponsePaused",
    "ResponseResumed",
    "RevenueSplit",
    "SpendRecorded",
    "Stage",
    "SubscriptionChanged",
    "SupportTicketOpened",
    "SurveyAnswered",
    "UsageRecorded",
    "topic_of",
]
