"""A deal's way: opened, proposed, negotiated, decided, now and then opened again or put right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from salesgauge.schemas.events import (
    DealChanged,
    DealDeleted,
    DealLost,
    DealReopened,
    DealRestored,
    DealWon,
    OpportunityCreated,
    ProposalSent,
    RevenueSplit,
)
from salesgauge.streams.simulation.accounts import MONTH, SETTLED, Accounts, SimulatedAccount
from salesgauge.streams.simulation.crm_log import CONTACTS, WORKING_DAY, CrmLog, SimulatedLead
from salesgauge.streams.simulation.environment import DAY, Environment, moment, money, rounded
from salesgauge.streams.simulation.hours import HOUR

if TYPE_CHECKING:
    from salesgauge.streams.simulation.deals import Offer, PriceList
    from salesgauge.streams.simulation.people import SimulatedRep

STAGES = {"discovery": 0.15, "proposal": 0.35, "negotiation": 0.6}
"""The stages of a deal in their order, with the usual chance that it is won."""
STALLED_DAYS = 14
_WIN = 0.27  # chance of an average deal
_DUPLICATED, _MISTAKEN, _SHARED = 0.02, 0.012, 0.05  # shares of the deals


@dataclass(slots=True, eq=False)
class SimulatedDeal:
    """A new customer's first deal."""

    deal_id: str
    lead: SimulatedLead
    account_id: str
    offer: Offer
    amount: int
    account: SimulatedAccount | None = None
    closings: int = 0
    open: bool = True


class Pipeline:
    """The new customers' deals."""

    def __init__(self, env: Environment, crm: CrmLog, accounts: Accounts, prices: PriceList) -> None:
        self._env = env
        self._crm = crm
        self._accounts = accounts
        self._prices = prices
        self._negotiated: dict[str, SimulatedDeal] = {}

    def open(self, lead: SimulatedLead) -> None:
        """A held demo becomes an opportunity."""
        env = self._env
        if lead.closed:
            return
        rep = self._crm.owner(lead)
        offer = self._prices.offer(rep.deal_factor)
        estimate = rounded(env.around(offer.value, 0.2), 1_000)
        deal = SimulatedDeal(env.new_id("deal"), lead, env.new_id("account"), offer, estimate)
        self._crm.advance(lead, "opportunity")
        self._opportunity_event(deal)
        self._stage(deal, "discovery", "pipeline", expected_close=env.now + int(env.around(18, 0.4) * DAY))
        if env.chance(_DUPLICATED):
            self._duplicate(deal)
        if env.chance(_MISTAKEN):
            env.work(4, 0.6, self._delete, deal)
        if env.chance(_SHARED):
            env.work(3, 0.6, self._share, deal)
        if env.chance(0.12):
            # A typing error, put right the same day: the same fact again, recorded later.
            deal.amount = rounded(estimate * env.between(0.5, 1.6), 1_000)
            self._opportunity_event(deal, recorded_at=env.later(1.5))
        pace = 0.3 if env.chance(0.35) else 1.0  # some know what they want
        env.work(1.2 * WORKING_DAY * pace, 0.7, self._propose, deal, pace)

    def _opportunity_event(self, deal: SimulatedDeal, **more: Any) -> None:
        rep = self._crm.owner(deal.lead)
        self._env.emit(
            OpportunityCreated,
            lead_id=deal.lead.lead_id,
            deal_id=deal.deal_id,
            account_id=deal.account_id,
            rep_id=rep.rep_id,
            team=rep.team,
            amount=money(deal.amount),
            currency=self._env.organisation.currency,
            **more,
        )

    def _stage(self, deal: SimulatedDeal, stage: str, category: str, expected_close: int | None = None) -> None:
        """The deal is in a stage now; ``expected_close`` in ms, where it is set anew."""
        more = {} if expected_close is None else {"expected_close": moment(expected_close)}
        self._env.emit(
            DealChanged, deal_id=deal.deal_id, stage=stage, category=category, probability=STAGES[stage], **more
        )

    def _duplicate(self, deal: SimulatedDeal) -> None:
        """The same deal was entered twice; the copy is deleted."""
        copy = replace(deal, deal_id=self._env.new_id("deal"))
        self._opportunity_event(copy)
        self._env.work(3, 0.6, self._env.emit_later, DealDeleted, {"deal_id": copy.deal_id})

    def _delete(self, deal: SimulatedDeal) -> None:
        """Deleted by mistake, and back within the hour."""
        if deal.open:
            self._env.emit(DealDeleted, deal_id=deal.deal_id)
            self._env.work(0.5, 0.5, self._env.emit_later, DealRestored, {"deal_id": deal.deal_id})

    def _share(self, deal: SimulatedDeal) -> None:
        """Two reps share the revenue."""
        owner = self._crm.owner(deal.lead)
        colleague = self._crm.colleague(owner)
        if deal.open and colleague is not None:
            splits = tuple(RevenueSplit(rep_id=rep.rep_id, share=Decimal("0.5")) for rep in (owner, colleague))
            self._env.emit(DealChanged, deal_id=deal.deal_id, splits=splits)

    def hurry(self, share: float, hours: float) -> None:
        """A share of the deals under negotiation is decided within some hours of work."""
        env = self._env
        for deal in list(self._negotiated.values()):
            if env.chance(share):
                env.at(env.clock.after(env.now, env.between(0, hours) * HOUR), self._close, deal)

    def _propose(self, deal: SimulatedDeal, pace: float) -> None:
        env = self._env
        rep = self._crm.owner(deal.lead)
        lead_id = deal.lead.lead_id
        env.emit(ProposalSent, lead_id=lead_id, deal_id=deal.deal_id, rep_id=rep.rep_id, team=rep.team)
        if env.chance(0.2):
            env.work(WORKING_DAY * pace, 0.4, self._propose, deal, pace)
            return
        self._stage(deal, "proposal", "best_case")
        self._negotiated[deal.deal_id] = deal
        self._negotiate(deal, pace, env.number(1, 4))

    def _negotiate(self, deal: SimulatedDeal, pace: float, rounds: int) -> None:
        """Some touches more, then a decision."""
        env = self._env
        if not deal.open:
            return
        if rounds == 0:
            self._close(deal)
            return
        if rounds == 1:
            moved = env.now + int(env.between(1, 6) * DAY)
            self._stage(deal, "negotiation", "commit", expected_close=moved if env.chance(0.4) else None)
        self._crm.log(deal.lead, CONTACTS.pick(env.random()), late=0.04)
        env.work(1.1 * WORKING_DAY * pace, 0.7, self._negotiate, deal, pace, rounds - 1)

    def _close(self, deal: SimulatedDeal) -> None:
        if not deal.open:
            return
        rep = self._crm.owner(deal.lead)
        deal.closings += 1
        deal.open = False
        self._negotiated.pop(deal.deal_id, None)
        if self._env.chance(min(_WIN * rep.skill * deal.lead.source.quality**0.5, 0.85)):
            self._win(deal, rep)
        else:
            self._lose(deal, rep)

    def _win(self, deal: SimulatedDeal, rep: SimulatedRep) -> None:
        env = self._env
        referrer = self._referrer(deal.lead)
        self._won_event(deal, rep, referrer)
        if deal.closings == 1 and env.chance(0.04):
            deal.offer = self._prices.offer(rep.deal_factor)
            self._won_event(deal, rep, referrer, recorded_at=env.later(2))
        self._crm.advance(deal.lead, "customer")
        deal.account = self._accounts.add(deal, rep)
        if deal.closings == 1 and env.chance(0.025):
            env.work(1.5 * WORKING_DAY, 0.4, self._reopen, deal)

    def _won_event(self, deal: SimulatedDeal, rep: SimulatedRep, referrer: str | None, **more: Any) -> None:
        self._env.emit(
            DealWon,
            lead_id=deal.lead.lead_id,
            deal_id=deal.deal_id,
            account_id=deal.account_id,
            rep_id=rep.rep_id,
            team=rep.team,
            location=deal.lead.location,
            kind="new",
            lines=deal.offer.event_lines(),
            currency=self._env.organisation.currency,
            mrr=money(deal.offer.mrr),
            term_end=moment(self._env.now + deal.offer.months * MONTH),
            referred_by=referrer,
            **more,
        )

    def _referrer(self, lead: SimulatedLead) -> str | None:
        likely = 0.85 if lead.source.name == "referral" else 0.04
        return self._accounts.any_id() if self._env.chance(likely) else None

    def _lose(self, deal: SimulatedDeal, rep: SimulatedRep) -> None:
        env = self._env
        env.emit(
            DealLost,
            lead_id=deal.lead.lead_id,
            deal_id=deal.deal_id,
            rep_id=rep.rep_id,
            team=rep.team,
            product=deal.offer.lines[0].product.name,
            amount=money(deal.amount),
            currency=env.organisation.currency,
            reason=self._prices.why_lost(),
        )
        if deal.closings == 1 and env.chance(0.06):
            env.work(5 * WORKING_DAY, 0.5, self._reopen, deal)
        elif env.chance(0.5):
            env.work(WORKING_DAY, 0.5, self._crm.disqualify, deal.lead)

    def _reopen(self, deal: SimulatedDeal) -> None:
        """A decision is taken back; another one follows some days later."""
        if deal.account is not None:
            if not deal.account.active or deal.account.age > SETTLED:
                return  # too late: the customer has a history of their own by now
            self._accounts.suspend(deal.account)
        deal.open = True
        self._env.emit(DealReopened, lead_id=deal.lead.lead_id, deal_id=deal.deal_id)
        self._env.work(2 * WORKING_DAY, 0.6, self._close, deal)
