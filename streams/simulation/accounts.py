"""Customers' life: they use the product, ask for help, answer surveys, buy more, and some leave."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from salesgauge.schemas.events import (
    AccountMerged,
    ActivityLogged,
    CustomerChurned,
    DealCredited,
    DealLost,
    DealWon,
    FeedbackReceived,
    SubscriptionChanged,
    SupportTicketOpened,
    SurveyAnswered,
    UsageRecorded,
)
from salesgauge.streams.simulation.environment import DAY, Environment, Weighted, moment, money, rounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.streams.simulation.crm_log import CrmLog, SimulatedLead
    from salesgauge.streams.simulation.deals import Offer, PriceList
    from salesgauge.streams.simulation.people import Roster, SimulatedRep
    from salesgauge.streams.simulation.pipeline import SimulatedDeal

_MONTH = 30  # days of the contract's month
MONTH = _MONTH * DAY
_TRIAL_DAYS = 14
SETTLED = 5  # days after which a customer may buy more or leave
_FIRST_NPS, _NPS_EVERY = 7, 45  # days
_PROMOTER = 9


@dataclass(slots=True, eq=False)
class SimulatedAccount:
    """A customer.

    ``mrr`` is in minor units, ``age`` in days since the deal was won, ``health`` between 0 and 1 decides how
    much they use the product, what they say about it and whether they stay. Customers of the first day have no lead.
    """

    account_id: str
    lead: SimulatedLead | None
    location: str
    rep: SimulatedRep
    offer: Offer
    mrr: int
    subscriptions: int
    health: float
    age: int = 0
    active: bool = True
    deal_id: str | None = None  # the latest one that was won
    absorbed: int = 0  # recurring revenue of accounts that turned out to be this one


class Accounts:
    """All customers, day by day."""

    def __init__(self, env: Environment, roster: Roster, crm: CrmLog, prices: PriceList) -> None:
        self._env = env
        self._roster = roster
        self._crm = crm
        self._prices = prices
        self._active: dict[str, SimulatedAccount] = {}
        self._locations = Weighted(env.organisation.locations)
        self._feedback = Weighted((("testimonial", 0.2), ("employee_note", 0.35), ("email", 0.45)))
        self._reasons = Weighted((("price", 0.3), ("product", 0.25), ("no_need", 0.3), ("competitor", 0.15)))
        self._contacts = Weighted((("call", 0.4), ("email", 0.45), ("video", 0.1), ("meeting", 0.05)))
        # At most one of these befalls an account on a day; the probabilities are those of a working day.
        self._incidents: Weighted[Callable[[SimulatedAccount], None] | None] = Weighted(
            (
                (self._contact, 0.060),
                (self._open_ticket, 0.016),
                (self._give_feedback, 0.005),
                (self._change_seats, 0.006),
                (self._sell_more, 0.003),
                (self._sell_another, 0.0025),
                (self._try_out, 0.0025),
                (self._credit, 0.0015),
                (self._merge, 0.0010),
                (self._consider_leaving, 0.0030),
                (None, 0.8995),
            )
        )

    def open(self) -> None:
        """The customers of the first day, with the revenue that they bring already."""
        env = self._env
        for _ in range(env.organisation.customers):
            rep = self._roster.route()
            offer = self._prices.offer(rep.deal_factor)
            location = self._locations.pick(env.random())
            account = self._new(env.new_id("account"), None, location, rep, offer)
            account.age = env.number(30, 700)
            self._active[account.account_id] = account
            self._subscription_event(account, account.mrr)

    def add(self, deal: SimulatedDeal, rep: SimulatedRep) -> SimulatedAccount:
        """A deal was won (again): the account is a customer from now on."""
        account = deal.account or self._new(deal.account_id, deal.lead, deal.lead.location, rep, deal.offer)
        account.active = True
        account.rep, account.offer, account.mrr, account.deal_id = rep, deal.offer, deal.offer.mrr, deal.deal_id
        account.subscriptions = _seats(deal.offer)
        self._active[account.account_id] = account
        self._env.work(3, 0.8, self._provision, account)
        return account

    def _new(
        self, account_id: str, lead: SimulatedLead | None, location: str, rep: SimulatedRep, offer: Offer
    ) -> SimulatedAccount:
        health = min(max(self._env.around(0.76, 0.22), 0.05), 1.0)
        return SimulatedAccount(account_id, lead, location, rep, offer, offer.mrr, _seats(offer), health)

    def suspend(self, account: SimulatedAccount) -> None:
        """The deal that made the account a customer is open again."""
        account.active = False
        self._active.pop(account.account_id, None)

    def any_id(self) -> str | None:
        """Some customer."""
        return self._env.one(list(self._active)) if self._active else None

    def day(self, when: Callable[[], int], *, working: bool) -> None:
        """A day of all customers; ``when`` draws an instant of it."""
        env = self._env
        for account in list(self._active.values()):
            account.age += 1
            if env.chance(0.4 if working else 0.08):
                env.at(when(), self._use, account)
            if account.age % (account.offer.months * _MONTH) == 0:
                env.at(when(), self._renew, account)
            elif account.age % _NPS_EVERY == _FIRST_NPS and env.chance(0.45):
                env.at(when(), self._answer_nps, account)
            elif working:
                incident = self._incidents.pick(env.random())
                if incident is not None:
                    env.at(when(), incident, account)

    # --- what may happen on a day

    def _provision(self, account: SimulatedAccount) -> None:
        """The subscriptions are set up; revenue stays what the deal said."""
        if account.active:
            self._subscription_event(account, account.mrr)

    def _use(self, account: SimulatedAccount) -> None:
        if account.active:
            minutes = self._env.around(14 * account.health * (1 + account.subscriptions) ** 0.7, 0.5)
            tenths = Decimal(round(minutes * 10)).scaleb(-1)
            self._env.emit(UsageRecorded, account_id=account.account_id, minutes=tenths)

    def _contact(self, account: SimulatedAccount) -> None:
        """Somebody calls or writes, mostly the rep."""
        env = self._env
        if not account.active:
            return
        rep = self._manager(account)
        env.emit(
            ActivityLogged,
            account_id=account.account_id,
            rep_id=rep.rep_id,
            team=rep.team,
            kind=self._contacts.pick(env.random()),
            direction="inbound" if env.chance(0.25) else "outbound",
        )

    def _open_ticket(self, account: SimulatedAccount) -> None:
        env = self._env
        if not account.active:
            return
        env.emit(SupportTicketOpened, account_id=account.account_id, ticket_id=env.new_id("ticket"))
        account.health = max(account.health - 0.01, 0.05)
        if env.chance(0.5):
            env.work(7, 0.7, self._answer_csat, account)

    def _answer_csat(self, account: SimulatedAccount) -> None:
        score = round(1.9 + 3.3 * account.health + self._env.between(-0.8, 0.8))
        self._survey_event(account, "csat", min(max(score, 1), 5))

    def _answer_nps(self, account: SimulatedAccount) -> None:
        if not account.active:
            return
        score = min(max(round(2.5 + 8 * account.health + self._env.between(-2.0, 2.0)), 0), 10)
        self._survey_event(account, "nps", score)
        if score >= _PROMOTER and self._env.chance(0.3):
            self._env.work(20, 0.5, self._evangelise, account)

    def _evangelise(self, account: SimulatedAccount) -> None:
        if account.active and account.lead is not None:
            self._crm.advance(account.lead, "evangelist")

    def _give_feedback(self, account: SimulatedAccount) -> None:
        if account.active:
            kind = self._feedback.pick(self._env.random())
            self._env.emit(FeedbackReceived, account_id=account.account_id, kind=kind)

    def _change_seats(self, account: SimulatedAccount) -> None:
        """More or fewer seats, without a deal."""
        if not account.active or account.age <= SETTLED:
            return
        grows = self._env.chance(0.25 + 0.5 * account.health)
        seats = account.subscriptions + (1 if grows else -1)
        if seats < 1:
            return
        before, account.mrr = account.mrr, account.mrr * seats // account.subscriptions
        account.subscriptions = seats
        self._subscription_event(account, before)

    def _sell_more(self, account: SimulatedAccount) -> None:
        self._expand(account, "upsell", self._prices.more_of(account.offer))

    def _sell_another(self, account: SimulatedAccount) -> None:
        self._expand(account, "cross_sell", self._prices.something_else(account.offer))

    def _expand(self, account: SimulatedAccount, kind: str, offer: Offer | None) -> None:
        """An offer to a customer, accepted by the happy ones."""
        if not account.active or account.age <= SETTLED or offer is None:
            return
        if self._env.chance(0.25 + 0.5 * account.health):
            self._won_event(account, kind, offer, mrr=offer.mrr)
            before, account.mrr = account.mrr, account.mrr + offer.mrr
            account.subscriptions += _seats(offer)
            self._subscription_event(account, before)
        else:
            self._lost_event(account, offer)

    def _renew(self, account: SimulatedAccount) -> None:
        """The term ends: another one, or none."""
        if not account.active:
            return
        if self._env.chance(0.90 + 0.09 * account.health):
            self._won_event(account, "renewal", account.offer, mrr=account.mrr)
        else:
            self._churn(account)

    def _try_out(self, account: SimulatedAccount) -> None:
        """A trial of one more product, which some pay for in the end."""
        offer = self._prices.something_else(account.offer)
        if not account.active or account.age <= SETTLED or offer is None or not offer.mrr:
            return
        trial = self._env.new_id("subscription")
        self._subscription_event(account, 0, after=0, subscription_id=trial, status="trial")
        self._env.at(self._env.now + _TRIAL_DAYS * DAY, self._end_trial, account, trial, offer)

    def _end_trial(self, account: SimulatedAccount, trial: str, offer: Offer) -> None:
        if not account.active:
            return
        if self._env.chance(0.2 + 0.3 * account.health):
            self._won_event(account, "cross_sell", offer, mrr=offer.mrr)
            account.mrr += offer.mrr
            account.subscriptions += _seats(offer)
            self._subscription_event(account, 0, after=offer.mrr, subscription_id=trial, status="active")
        else:
            self._subscription_event(account, 0, after=0, subscription_id=trial, status="cancelled")

    def _credit(self, account: SimulatedAccount) -> None:
        """Some money of the latest deal is given back."""
        if not account.active or account.deal_id is None:
            return
        amount = rounded(account.offer.value * self._env.between(0.03, 0.15), 100)
        if amount:
            self._env.emit(
                DealCredited,
                credit_id=self._env.new_id("credit"),
                deal_id=account.deal_id,
                account_id=account.account_id,
                amount=money(amount),
                currency=self._env.organisation.currency,
                reason=self._env.one(("outage", "goodwill", "billing_error")),
            )

    def _merge(self, account: SimulatedAccount) -> None:
        """It turns out to be a department of another customer, who goes on with the revenue of both."""
        others = [other for other in self._active.values() if other is not account]
        if not account.active or account.age <= SETTLED or not others:
            return
        survivor = self._env.one(others)
        self.suspend(account)
        self._env.emit(AccountMerged, account_id=account.account_id, survivor_id=survivor.account_id)
        survivor.absorbed += account.mrr + account.absorbed

    def _consider_leaving(self, account: SimulatedAccount) -> None:
        if account.active and account.age > SETTLED and self._env.chance(0.8 * (1 - account.health)):
            self._churn(account)

    def _churn(self, account: SimulatedAccount) -> None:
        self.suspend(account)
        self._env.emit(
            CustomerChurned,
            account_id=account.account_id,
            mrr_lost=money(account.mrr + account.absorbed),
            currency=self._env.organisation.currency,
            reason=self._reasons.pick(self._env.random()),
        )

    # --- events

    def _manager(self, account: SimulatedAccount) -> SimulatedRep:
        if account.rep.left:
            account.rep = self._roster.route()
        return account.rep

    def _survey_event(self, account: SimulatedAccount, kind: str, score: int) -> None:
        self._env.emit(
            SurveyAnswered,
            respondent_id=account.account_id.replace("account", "contact", 1),
            kind=kind,
            score=score,
            account_id=account.account_id,
        )

    def _subscription_event(
        self, account: SimulatedAccount, before: int, after: int | None = None, **more: Any
    ) -> None:
        """What billing says: the level of the account, or of the subscription that is named."""
        self._env.emit(
            SubscriptionChanged,
            account_id=account.account_id,
            mrr_before=money(before),
            mrr_after=money(account.mrr if after is None else after),
            currency=self._env.organisation.currency,
            subscriptions=None if more else account.subscriptions,
            **more,
        )

    def _won_event(self, account: SimulatedAccount, kind: str, offer: Offer, *, mrr: int) -> None:
        rep = self._manager(account)
        account.deal_id = self._env.new_id("deal")
        self._env.emit(
            DealWon,
            account_id=account.account_id,
            deal_id=account.deal_id,
            rep_id=rep.rep_id,
            team=rep.team,
            location=account.location,
            kind=kind,
            lines=offer.event_lines(),
            currency=self._env.organisation.currency,
            mrr=money(mrr),
            term_end=moment(self._env.now + offer.months * MONTH),
        )

    def _lost_event(self, account: SimulatedAccount, offer: Offer) -> None:
        rep = self._manager(account)
        self._env.emit(
            DealLost,
            account_id=account.account_id,
            deal_id=self._env.new_id("deal"),
            rep_id=rep.rep_id,
            team=rep.team,
            product=offer.lines[0].product.name,
            amount=money(offer.value),
            currency=self._env.organisation.currency,
            reason=self._prices.why_lost(),
        )


def _seats(offer: Offer) -> int:
    return sum(line.quantity for line in offer.lines if line.product.recurring)
