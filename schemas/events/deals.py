"""What happens to deals: opened, changed, won, lost, opened again, deleted, credited."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from salesgauge.schemas.events.base import DealEvent, EventBase
from salesgauge.schemas.values import (
    LARGEST,
    Amount,
    Credit,
    Currency,
    Identifier,
    Label,
    Money,
    Name,
    Probability,
    Quantity,
    Share,
    Time,
)

DealKind = Literal["new", "upsell", "cross_sell", "renewal"]
ForecastCategory = Literal["pipeline", "best_case", "commit", "omitted"]
Lines = Annotated[tuple["DealLine", ...], Field(max_length=1000)]


class DealLine(BaseModel):
    """One line of a deal; its revenue is ``quantity * unit_price``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    product: Label
    quantity: Quantity = Decimal(1)
    unit_price: Amount

    @model_validator(mode="after")
    def _amount_in_range(self) -> Self:
        if abs(self.quantity * self.unit_price) >= LARGEST:
            raise ValueError(f"quantity * unit_price must lie within {LARGEST}")
        return self


class RevenueSplit(BaseModel):
    """A rep's share of a deal."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rep_id: Label
    share: Share


class OpportunityCreated(DealEvent):
    """A deal was opened. The same ``deal_id`` again corrects its amount."""

    event: Literal["opportunity_created"] = "opportunity_created"
    lead_id: Name | None = None
    account_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None
    amount: Amount | None = None
    currency: Currency | None = None


class DealChanged(DealEvent):
    """Attributes of a deal changed at ``occurred_at``. An absent field changes nothing; null clears the field."""

    event: Literal["deal_changed"] = "deal_changed"
    lead_id: Name | None = None
    account_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None
    stage: Name | None = None
    category: ForecastCategory | None = None
    probability: Probability | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    expected_close: Time | None = None
    splits: Annotated[tuple[RevenueSplit, ...], Field(max_length=100)] | None = None


class DealWon(DealEvent):
    """A deal was won. Recorded again, it corrects what was won, and when.

    Revenue is the sum over ``lines``. Without lines it is ``amount``, of an unknown product. A sum below zero is a
    credit, not a deal. ``mrr`` is the monthly recurring revenue that the deal adds; for a renewal it is the new
    level. ``term_end`` is when the contract ends unless it is renewed.
    """

    event: Literal["deal_won"] = "deal_won"
    lead_id: Name | None = None
    account_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None
    location: Name | None = None
    kind: DealKind = "new"
    lines: Lines = ()
    amount: Amount | None = None
    currency: Currency | None = None
    mrr: Money | None = None
    term_end: Time | None = None
    referred_by: Name | None = None


class DealLost(DealEvent):
    """A deal was lost."""

    event: Literal["deal_lost"] = "deal_lost"
    lead_id: Name | None = None
    account_id: Name | None = None
    rep_id: Name | None = None
    team: Name | None = None
    product: Name | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    reason: Name | None = None


class DealReopened(DealEvent):
    """A won or lost deal is open again. What it had added to the KPIs is taken back."""

    event: Literal["deal_reopened"] = "deal_reopened"
    lead_id: Name | None = None
    account_id: Name | None = None


class DealDeleted(DealEvent):
    """A deal was deleted. It counts nowhere until it is restored."""

    event: Literal["deal_deleted"] = "deal_deleted"


class DealRestored(DealEvent):
    """A deleted deal is back, with everything that is known of it."""

    event: Literal["deal_restored"] = "deal_restored"


class DealCredited(EventBase):
    """Money was given back, for a deal or, if no deal is named, to an account.

    All amounts are above zero. ``mrr_after`` is the account's recurring revenue from then on, if the credit changed it.
    """

    KEY_FIELDS = ("deal_id", "account_id")
    event: Literal["deal_credited"] = "deal_credited"
    credit_id: Identifier
    deal_id: Name | None = None
    account_id: Name | None = None
    lines: Lines = ()
    amount: Credit | None = None
    currency: Currency | None = None
    mrr_after: Money | None = None
    reason: Name | None = None

    @model_validator(mode="after")
    def _says_of_what_and_how_much(self) -> Self:
        if not self.deal_id and not self.account_id:
            raise ValueError("deal_id or account_id is required")
        if not self.lines and self.amount is None:
            raise ValueError("lines or amount is required")
        if any(line.unit_price <= 0 for line in self.lines):
            raise ValueError("the lines of a credit have prices above zero: what was given back")
        return self
