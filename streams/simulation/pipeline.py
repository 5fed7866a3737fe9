"""A deal's way: opened, proposed, negotiated, decided, now and then opened again or put right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from salesgauge.schemas.events import DealLost, DealReopened, DealWon, OpportunityCreated, ProposalSent
from salesgauge.streams.simulation.accounts import SETTLED, Account, Accounts
from salesgauge.streams.simulation.desk import Desk, money, rounded
from salesgauge.streams.simulation.records import CONTACTS, WORKING_DAY, Lead, Records

if TYPE_CHECKING:
    from salesgauge.streams.simulation.deals import Offer, PriceList
    from salesgauge.streams.simulation.people import Rep


@dataclass(slots=True, eq=False)
class Deal:
    """A new customer's first deal."""

    deal_id: str
    lead: Lead
    account_id: str
    offer: Offer
    amount: int
    account: Account | None = None
    closings: int = 0


class Pipeline:
    """The new customers' deals."""

    def __init__(self, desk: Desk, records: Records, accounts: Accounts, prices: PriceList) -> None:
        self._desk = desk
        self._records = records
        self._accounts = accounts
        self._prices = prices

    def open(self, lead: Lead) -> None:
        """A held demo becomes an opportunity."""
        desk = self._desk
        if lead.closed:
            return
        rep = self._records.owner(lead)
        offer = self._prices.offer(rep.deal_factor)
        estimate = rounded(desk.around(offer.value, 0.2), 1_000)
        deal = Deal(desk.new_id("deal"), lead, desk.new_id("account"), offer, estimate)
        self._records.advance(lead, "opportunity")
        self._opportunity_event(deal)
        if desk.chance(0.12):
            # A typing error, put right the same day: the same fact again, recorded later.
            deal.amount = rounded(estimate * desk.between(0.5, 1.6), 1_000)
            self._opportunity_event(deal, recorded_at=desk.later(1.5))
        pace = 0.3 if desk.chance(0.35) else 1.0  # some know what they want
        desk.work(1.2 * WORKING_DAY * pace, 0.7, self._propose, deal, pace)

    def _opportunity_event(self, deal: Deal, **more: Any) -> None:
        rep = self._records.owner(deal.lead)
        self._desk.emit(
            OpportunityCreated,
            lead_id=deal.lead.lead_id,
            deal_id=deal.deal_id,
            account_id=deal.account_id,
            rep_id=rep.rep_id,
            team=rep.team,
            amount=money(deal.amount),
            currency=self._desk.organisation.currency,
            **more,
        )

    def _propose(self, deal: Deal, pace: float) -> None:
        desk = self._desk
        rep = self._records.owner(deal.lead)
        lead_id = deal.lead.lead_id
        desk.emit(ProposalSent, lead_id=lead_id, deal_id=deal.deal_id, rep_id=rep.rep_id, team=rep.team)
        if desk.chance(0.2):
            desk.work(WORKING_DAY * pace, 0.4, self._propose, deal, pace)
            return
        self._negotiate(deal, pace, desk.number(1, 4))

    def _negotiate(self, deal: Deal, pace: float, rounds: int) -> None:
        """Some touches more, then a decision."""
        desk = self._desk
        if rounds == 0:
            self._close(deal)
            return
        self._records.log(deal.lead, CONTACTS.pick(desk.random()), late=0.04)
        desk.work(1.1 * WORKING_DAY * pace, 0.7, self._negotiate, deal, pace, rounds - 1)

    def _close(self, deal: Deal) -> None:
        rep = self._records.owner(deal.lead)
        deal.closings += 1
        if self._desk.chance(min(0.40 * rep.skill * deal.lead.source.quality**0.5, 0.85)):
            self._win(deal, rep)
        else:
            self._lose(deal, rep)

    def _win(self, deal: Deal, rep: Rep) -> None:
        desk = self._desk
        referrer = self._referrer(deal.lead)
        self._won_event(deal, rep, referrer)
        if deal.closings == 1 and desk.chance(0.04):
            deal.offer = self._prices.offer(rep.deal_factor)
            self._won_event(deal, rep, referrer, recorded_at=desk.later(2))
        self._records.advance(deal.lead, "customer")
        deal.account = self._accounts.add(deal, rep)
        if deal.closings == 1 and desk.chance(0.025):
            desk.work(1.5 * WORKING_DAY, 0.4, self._reopen, deal)

    def _won_event(self, deal: Deal, rep: Rep, referrer: str | None, **more: Any) -> None:
        self._desk.emit(
            DealWon,
            lead_id=deal.lead.lead_id,
            deal_id=deal.deal_id,
            account_id=deal.account_id,
            rep_id=rep.rep_id,
            team=rep.team,
            location=deal.lead.location,
            kind="new",
            lines=deal.offer.event_lines(),
            currency=self._desk.organisation.currency,
            mrr=money(deal.offer.mrr),
            referred_by=referrer,
            **more,
        )

    def _referrer(self, lead: Lead) -> str | None:
        likely = 0.85 if lead.source.name == "referral" else 0.04
        return self._accounts.any_id() if self._desk.chance(likely) else None

    def _lose(self, deal: Deal, rep: Rep) -> None:
        desk = self._desk
        desk.emit(
            DealLost,
            lead_id=deal.lead.lead_id,
            deal_id=deal.deal_id,
            rep_id=rep.rep_id,
            team=rep.team,
            product=deal.offer.lines[0].product.name,
            amount=money(deal.amount),
            currency=desk.organisation.currency,
            reason=self._prices.why_lost(),
        )
        if deal.closings == 1 and desk.chance(0.06):
            desk.work(5 * WORKING_DAY, 0.5, self._reopen, deal)
        elif desk.chance(0.5):
            desk.work(WORKING_DAY, 0.5, self._records.disqualify, deal.lead)

    def _reopen(self, deal: Deal) -> None:
        """A decision is taken back; another one follows some days later."""
        if deal.account is not None:
            if not deal.account.active or deal.account.age > SETTLED:
                return  # too late: the customer has a history of their own by now
            self._accounts.suspend(deal.account)
        self._desk.emit(DealReopened, lead_id=deal.lead.lead_id, deal_id=deal.deal_id)
        self._desk.work(2 * WORKING_DAY, 0.6, self._close, deal)
