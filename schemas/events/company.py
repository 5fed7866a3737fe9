"""What happens in the company and its market: spending, prices, quotas, reps."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AliasChoices, Field, model_validator

from salesgauge.schemas.events.base import EventBase, RepEvent
from salesgauge.schemas.values import Amount, Currency, Label, Money, Name, Time


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
    """The price of a competitor's product, comparable to one of ours, was seen."""

    KEY_FIELDS = ("product",)
    event: Literal["competitor_price_observed"] = "competitor_price_observed"
    product: Label
    competitor: Label
    price: Money
    own_price: Money
    currency: Currency | None = None


class QuotaSet(RepEvent):
    """A rep's target revenue for the period ``[period_start, period_end)``. The same period again replaces it."""

    event: Literal["quota_set"] = "quota_set"
    period_start: Time
    period_end: Time
    amount: Money
    currency: Currency | None = None

    @model_validator(mode="after")
    def _period_has_length(self) -> Self:
        if self.period_end <= self.period_start:
            raise ValueError("period_end must come after period_start")
        return self


class RepJoined(RepEvent):
    """A rep started, perhaps in a team. This counts for headcount, quotas and eNPS.

    Boards show the rep as ``display_name`` (or ``name``). If neither an event nor its lead names a team, the rep's
    work counts for the team joined last.
    """

    event: Literal["rep_joined"] = "rep_joined"
    team: Name | None = None
    display_name: Name | None = Field(default=None, validation_alias=AliasChoices("display_name", "name"))


class RepLeft(RepEvent):
    """A rep left the company."""

    event: Literal["rep_left"] = "rep_left"
    team: Name | None = None
