"""What happens to accounts: recurring revenue, churn, merges, support, usage, surveys."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from salesgauge.schemas.events.base import AccountEvent, EventBase
from salesgauge.schemas.values import Amount, Currency, Identifier, Minutes, Money, Name, Time, Whole

SubscriptionStatus = Literal["trial", "active", "past_due", "paused", "cancelled"]


class AccountMerged(AccountEvent):
    """The account ``account_id`` turned out to be ``survivor_id``, which takes its history."""

    event: Literal["account_merged"] = "account_merged"
    survivor_id: Identifier


class CustomerChurned(AccountEvent):
    """An account ended its last contract."""

    event: Literal["customer_churned"] = "customer_churned"
    mrr_lost: Money | None = None
    currency: Currency | None = None
    reason: Name | None = None


class SubscriptionChanged(AccountEvent):
    """The monthly recurring revenue of a subscription changed, or that of all subscriptions of an account together.

    Give the new level (``mrr_after``) or the movement (``mrr_delta``). ``mrr_before`` is only an opening balance, for
    when no level was known. Without ``subscription_id`` the values are those of the whole account.
    """

    event: Literal["subscription_changed"] = "subscription_changed"
    subscription_id: Name | None = None
    status: SubscriptionStatus | None = None
    mrr_before: Money | None = None
    mrr_after: Money | None = None
    mrr_delta: Amount | None = None
    currency: Currency | None = None
    subscriptions: Annotated[int, Whole(0, 10**9)] | None = None
    reason: Name | None = None
    cancels_at: Time | None = None

    @model_validator(mode="after")
    def _level_or_movement(self) -> Self:
        if (self.mrr_after is None) == (self.mrr_delta is None):
            raise ValueError("one of mrr_after (the new level) and mrr_delta (the movement) is required")
        return self


_SCORES = {"nps": (0, 10), "csat": (1, 5), "enps": (0, 10)}


class SurveyAnswered(EventBase):
    """A customer (nps, csat) or an employee (enps) answered a survey.

    The employee is the rep in ``rep_id``, otherwise the one in ``respondent_id``. The answer counts for that rep's
    team.
    """

    KEY_FIELDS = ("respondent_id",)
    event: Literal["survey_answered"] = "survey_answered"
    respondent_id: Identifier
    kind: Literal["nps", "csat", "enps"]
    score: Annotated[int, Whole(0, 10)]
    account_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None

    @model_validator(mode="after")
    def _score_in_range(self) -> Self:
        low, high = _SCORES[self.kind]
        if not low <= self.score <= high:
            raise ValueError(f"a {self.kind} score lies between {low} and {high}")
        return self


class SupportTicketOpened(AccountEvent):
    """A customer asked support for help. The same ``ticket_id`` of the account counts once."""

    event: Literal["support_ticket_opened"] = "support_ticket_opened"
    ticket_id: Identifier


class UsageRecorded(AccountEvent):
    """A customer spent time in the platform."""

    event: Literal["usage_recorded"] = "usage_recorded"
    minutes: Minutes


class FeedbackReceived(AccountEvent):
    """Qualitative feedback arrived."""

    event: Literal["feedback_received"] = "feedback_received"
    kind: Literal["testimonial", "employee_note", "email"]
