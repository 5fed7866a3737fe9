"""The organisation as a whole: its days, its campaigns and its market."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from salesgauge.schemas.events import CompetitorPriceObserved, SpendRecorded
from salesgauge.streams.simulation.accounts import Accounts
from salesgauge.streams.simulation.crm_log import CrmLog
from salesgauge.streams.simulation.deals import PriceList
from salesgauge.streams.simulation.environment import MINUTE, SECOND, Environment, Weighted, money, rounded
from salesgauge.streams.simulation.hours import HOUR
from salesgauge.streams.simulation.leads import Leads
from salesgauge.streams.simulation.people import Roster
from salesgauge.streams.simulation.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from salesgauge.streams.simulation.crm_log import SimulatedLead
    from salesgauge.streams.simulation.organisation import Acceleration, LeadSource
    from salesgauge.streams.simulation.people import SimulatedRep

PROFILE = (
    0.3, 0.2, 0.1, 0.1, 0.2, 0.5, 1.5, 4.0, 9.0, 11.5, 11.0, 8.5,
    4.5, 6.5, 9.0, 8.5, 7.0, 5.0, 3.5, 3.0, 2.8, 2.2, 1.3, 0.8,
)  # fmt: skip
"""Leads per local hour of a working day, in per cent: a morning peak, a dip at noon, quiet nights."""

QUIET_PROFILE = (
    0.8, 0.5, 0.3, 0.2, 0.2, 0.3, 0.8, 1.8, 3.5, 5.5, 7.0, 7.5,
    6.5, 6.0, 6.5, 7.0, 7.0, 6.5, 6.5, 7.0, 7.0, 5.5, 3.5, 2.1,
)  # fmt: skip
"""The same for weekends and holidays."""

WEEKDAYS = (1.14, 1.10, 1.02, 0.96, 0.78)
"""Leads per weekday, Monday to Friday; the mean is 1."""

QUIET = 0.2
"""Leads on a weekend day or holiday against an average working day."""

_EVENTS_PER_LEAD = 4.0  # soon after its arrival
_LEAST_LEADS = 0.15  # of the natural number, when enough happens already
_LEAST_SPEND = 0.25  # of the budget, on quiet days
_SALES_COST = 21_000  # minor units per rep and working day


@dataclass(slots=True, eq=False)
class _Flood:
    """Leads beside the usual ones."""

    source: LeadSource
    campaign: str
    per_hour: float
    junk: float
    leads: list[SimulatedLead] = field(default_factory=list)


class Company:
    """Plans a day at its midnight (in a `Acceleration`: a working day's length after the last)."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        prices = PriceList(env)
        self.roster = Roster(env)
        crm = CrmLog(env, self.roster)
        self._accounts = Accounts(env, self.roster, crm, prices)
        self.pipeline = Pipeline(env, crm, self._accounts, prices)
        self.leads = Leads(env, self.roster, crm, self.pipeline)
        self._sources = Weighted([(source, source.share) for source in env.organisation.sources])
        self._campaigns: dict[str, tuple[str, ...]] = {}
        self._price_levels = dict(env.organisation.competitors)
        self._number = 0
        self._leads_before = 0
        self._acceleration: Acceleration | None = None
        self._flood: _Flood | None = None
        self._accelerated_from = (0, 0)

    def open(self) -> None:
        """The first day, from now on."""
        self.roster.open()
        self._accounts.open()
        self._day()

    def accelerate(self, acceleration: Acceleration) -> None:
        """Begin an acceleration now."""
        self._env.accelerate(acceleration, dropped=(self._day, self._arrive))  # both are planned anew
        self._acceleration = acceleration
        self._accelerated_from = (self._env.now, self._env.emitted)
        self._leads_before = self.leads.created
        self._second()
        self._env.at(self._env.now + self._day_length(), self._day)

    # --- days

    def _day(self) -> None:
        env = self._env
        today = env.clock.local(env.now).date()
        working = self._acceleration is not None or env.clock.works_on(today)
        self._renew_campaigns(today)
        if self._acceleration is None:
            leads = self._plan_leads(today)
            env.at(env.clock.midnight(today + timedelta(days=1)), self._day)
        else:
            leads = self.leads.created - self._leads_before
            self._leads_before = self.leads.created
            env.at(env.now + self._day_length(), self._day)
        self.roster.day(today, self._number)
        self._plan_spend(leads, working=working)
        if working:
            self._plan_prices()
        self._accounts.day(self._moment(today, 7, 21), working=working)
        self._number += 1

    def _day_length(self) -> int:
        return max(1, int(self._env.clock.working_day / self._env.clock.pace))

    def _moment(self, today: date, low: float, high: float) -> Callable[[], int]:
        """Instants between two hours of the day; in an acceleration at any time of the short day."""
        env = self._env
        if self._acceleration is not None:
            length = self._day_length()
            return lambda: env.now + int(env.random() * length)
        midnight = env.clock.midnight(today)
        # A day that begins late (the first one) has its morning's entries in its first minutes.
        return lambda: max(midnight + int(env.between(low, high) * HOUR), env.now + int(env.random() * 5 * MINUTE))

    # --- leads

    def _plan_leads(self, today: date) -> int:
        """Leads of a day (from now on): a Poisson number, by the profile of the local hours."""
        env, clock = self._env, self._env.clock
        if clock.works_on(today):
            factor, profile = WEEKDAYS[today.weekday()], PROFILE
        else:
            factor, profile = QUIET, QUIET_PROFILE
        # A day has 23, 24 or 25 hours; each is weighted by what the clock on the wall shows.
        hours = range(clock.midnight(today), clock.midnight(today + timedelta(days=1)), HOUR)
        choice = Weighted([(hour, profile[clock.local(hour).hour]) for hour in hours])
        planned = env.poisson(env.organisation.leads_per_day * factor)
        for _ in range(planned):
            instant = choice.pick(env.random()) + int(env.random() * HOUR)
            if instant >= env.now:
                env.at(instant, self._arrive)
        return planned

    def _arrive(self) -> None:
        source = self._sources.pick(self._env.random())
        self.leads.create(source, self._campaign_of(source))

    def _second(self) -> None:
        """A second of an acceleration: as many leads as the pace or the wished rate of events asks for."""
        env, acceleration = self._env, self._acceleration
        if acceleration is None:
            return
        natural = env.organisation.leads_per_day / env.clock.working_day * env.clock.pace * SECOND
        mean = natural
        if acceleration.rate is not None:
            since, emitted = self._accelerated_from
            wanted = acceleration.rate * ((env.now - since) / SECOND + 1)
            missing = wanted - (env.emitted - emitted)
            floor = min(natural, acceleration.rate / _EVENTS_PER_LEAD) * _LEAST_LEADS
            mean = max(missing / _EVENTS_PER_LEAD, floor)
        for _ in range(env.poisson(mean)):
            env.at(env.now + int(env.random() * SECOND), self._arrive)
        env.at(env.now + SECOND, self._second)

    # --- what scenarios change

    def rep(self, name: str) -> SimulatedRep:
        """A rep who works here.

        Raises:
            KeyError: nobody of that name does.
        """
        return {rep.rep_id: rep for rep in self.roster.reps}[name]

    def flood(self, source: str, per_hour: float, junk: float) -> None:
        """From now on a source brings so many leads more; ``junk`` is the share with nobody behind them."""
        found = next(s for s in self._env.organisation.sources if s.name == source)
        self._flood = _Flood(found, self._campaigns[source][-1], per_hour, junk)
        self._flood_in(self._flood)

    def drain(self) -> None:
        """The flood stops, and the junk is deleted."""
        if self._flood is not None:
            self.leads.sweep(self._flood.leads)
            self._flood = None

    def _flood_in(self, flood: _Flood) -> None:
        if self._flood is not flood:
            return
        flood.leads.append(self.leads.create(flood.source, flood.campaign, junk=flood.junk))
        self._env.work(1 / flood.per_hour, 0.5, self._flood_in, flood)

    # --- campaigns and money

    def _renew_campaigns(self, today: date) -> None:
        values = {
            "quarter": f"{today.year}-q{(today.month + 2) // 3}",
            "month": f"{today.year}-{today.month:02d}",
        }
        self._campaigns = {
            source.name: tuple(name.format(**values) for name in source.campaigns)
            for source in self._env.organisation.sources
        }

    def _campaign_of(self, source: LeadSource) -> str | None:
        """Most leads can be traced to a campaign of their source, if it has any."""
        names = self._campaigns[source.name]
        return self._env.one(names) if names and self._env.chance(0.9) else None

    def _plan_spend(self, leads: int, *, working: bool) -> None:
        """The day's budgets, booked in the morning."""
        env, organisation = self._env, self._env.organisation
        today = env.clock.local(env.now).date()
        when = self._moment(today, 6, 8)
        volume = max(leads, _LEAST_SPEND * organisation.leads_per_day)
        shares = sum(source.share for source in organisation.sources)
        for source in organisation.sources:
            names = self._campaigns[source.name]
            for name in names:
                budget = source.cost_per_lead * 100 * volume * source.share / shares / len(names)
                amount = round(env.around(budget, 0.2))
                if amount:
                    env.at(when(), self._spend, name, amount, "marketing", source.name)
        if working:
            for team in organisation.teams:
                size = sum(rep.team == team for rep in self.roster.reps)
                amount = round(env.around(_SALES_COST * max(size, 1), 0.1))
                env.at(when(), self._spend, f"sales-{team}", amount, "sales", "sales")

    def _spend(self, campaign: str, amount: int, category: str, channel: str) -> None:
        self._env.emit(
            SpendRecorded,
            campaign_id=campaign,
            amount=money(amount),
            currency=self._env.organisation.currency,
            category=category,
            channel=channel,
        )

    # --- market

    def _plan_prices(self) -> None:
        """Competitors' price levels wander; some of their prices are looked up each working day."""
        env, organisation = self._env, self._env.organisation
        when = self._moment(env.clock.local(env.now).date(), 9, 17)
        for competitor, usual in organisation.competitors:
            level = self._price_levels[competitor] * env.around(1.0, 0.015)
            self._price_levels[competitor] = level + 0.1 * (usual - level)
            for product in organisation.products:
                if env.chance(0.4):
                    price = rounded(product.price * self._price_levels[competitor], 100)
                    env.at(when(), self._observe, product.name, competitor, price, product.price)

    def _observe(self, product: str, competitor: str, price: int, own: int) -> None:
        self._env.emit(
            CompetitorPriceObserved,
            product=product,
            competitor=competitor,
            price=money(price),
            own_price=money(own),
            currency=self._env.organisation.currency,
        )
