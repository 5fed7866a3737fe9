"""The organisation as a whole: its days, its campaigns and its market."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from salesgauge.schemas.events import CompetitorPriceObserved, SpendRecorded
from salesgauge.streams.simulation.accounts import Accounts
from salesgauge.streams.simulation.deals import PriceList
from salesgauge.streams.simulation.desk import MINUTE, SECOND, Desk, Weighted, money, rounded
from salesgauge.streams.simulation.hours import HOUR
from salesgauge.streams.simulation.leads import Leads
from salesgauge.streams.simulation.people import Roster
from salesgauge.streams.simulation.pipeline import Pipeline
from salesgauge.streams.simulation.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from salesgauge.streams.simulation.organisation import Rush, Source

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


class Company:
    """Plans a day at its midnight (in a `Rush`: a working day's length after the last)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        prices = PriceList(desk)
        self._roster = Roster(desk)
        records = Records(desk, self._roster)
        self._accounts = Accounts(desk, self._roster, records, prices)
        self._leads = Leads(desk, self._roster, records, Pipeline(desk, records, self._accounts, prices))
        self._sources = Weighted([(source, source.share) for source in desk.organisation.sources])
        self._campaigns: dict[str, tuple[str, ...]] = {}
        self._price_levels = dict(desk.organisation.competitors)
        self._number = 0
        self._leads_before = 0
        self._rush: Rush | None = None
        self._rushed_from = (0, 0)

    def open(self) -> None:
        """The first day, from now on."""
        self._roster.open()
        self._day()

    def hurry(self, rush: Rush) -> None:
        """Begin a rush now."""
        self._desk.hurry(rush, dropped=(self._day, self._arrive))  # both are planned anew
        self._rush = rush
        self._rushed_from = (self._desk.now, self._desk.emitted)
        self._leads_before = self._leads.created
        self._second()
        self._desk.at(self._desk.now + self._day_length(), self._day)

    # --- days

    def _day(self) -> None:
        desk = self._desk
        today = desk.clock.local(desk.now).date()
        working = self._rush is not None or desk.clock.works_on(today)
        self._renew_campaigns(today)
        if self._rush is None:
            leads = self._plan_leads(today)
            desk.at(desk.clock.midnight(today + timedelta(days=1)), self._day)
        else:
            leads = self._leads.created - self._leads_before
            self._leads_before = self._leads.created
            desk.at(desk.now + self._day_length(), self._day)
        self._roster.day(today, self._number)
        self._plan_spend(leads, working=working)
        if working:
            self._plan_prices()
        self._accounts.day(self._moment(today, 7, 21), working=working)
        self._number += 1

    def _day_length(self) -> int:
        return max(1, int(self._desk.clock.working_day / self._desk.clock.pace))

    def _moment(self, today: date, low: float, high: float) -> Callable[[], int]:
        """Instants between two hours of the day; in a rush at any time of the short day."""
        desk = self._desk
        if self._rush is not None:
            length = self._day_length()
            return lambda: desk.now + int(desk.random() * length)
        midnight = desk.clock.midnight(today)
        # A day that begins late (the first one) has its morning's entries in its first minutes.
        return lambda: max(midnight + int(desk.between(low, high) * HOUR), desk.now + int(desk.random() * 5 * MINUTE))

    # --- leads

    def _plan_leads(self, today: date) -> int:
        """Leads of a day (from now on): a Poisson number, by the profile of the local hours."""
        desk, clock = self._desk, self._desk.clock
        if clock.works_on(today):
            factor, profile = WEEKDAYS[today.weekday()], PROFILE
        else:
            factor, profile = QUIET, QUIET_PROFILE
        # A day has 23, 24 or 25 hours; each is weighted by what the clock on the wall shows.
        hours = range(clock.midnight(today), clock.midnight(today + timedelta(days=1)), HOUR)
        choice = Weighted([(hour, profile[clock.local(hour).hour]) for hour in hours])
        planned = desk.poisson(desk.organisation.leads_per_day * factor)
        for _ in range(planned):
            instant = choice.pick(desk.random()) + int(desk.random() * HOUR)
            if instant >= desk.now:
                desk.at(instant, self._arrive)
        return planned

    def _arrive(self) -> None:
        source = self._sources.pick(self._desk.random())
        self._leads.create(source, self._campaign_of(source))

    def _second(self) -> None:
        """A second of a rush: as many leads as the pace or the wished rate of events asks for."""
        desk, rush = self._desk, self._rush
        if rush is None:
            return
        natural = desk.organisation.leads_per_day / desk.clock.working_day * desk.clock.pace * SECOND
        mean = natural
        if rush.rate is not None:
            since, emitted = self._rushed_from
            wanted = rush.rate * ((desk.now - since) / SECOND + 1)
            missing = wanted - (desk.emitted - emitted)
            floor = min(natural, rush.rate / _EVENTS_PER_LEAD) * _LEAST_LEADS
            mean = max(missing / _EVENTS_PER_LEAD, floor)
        for _ in range(desk.poisson(mean)):
            desk.at(desk.now + int(desk.random() * SECOND), self._arrive)
        desk.at(desk.now + SECOND, self._second)

    # --- campaigns and money

    def _renew_campaigns(self, today: date) -> None:
        values = {
            "quarter": f"{today.year}-q{(today.month + 2) // 3}",
            "month": f"{today.year}-{today.month:02d}",
        }
        self._campaigns = {
            source.name: tuple(name.format(**values) for name in source.campaigns)
            for source in self._desk.organisation.sources
        }

    def _campaign_of(self, source: Source) -> str | None:
        """Most leads can be traced to a campaign of their source, if it has any."""
        names = self._campaigns[source.name]
        return self._desk.one(names) if names and self._desk.chance(0.9) else None

    def _plan_spend(self, leads: int, *, working: bool) -> None:
        """The day's budgets, booked in the morning."""
        desk, organisation = self._desk, self._desk.organisation
        today = desk.clock.local(desk.now).date()
        when = self._moment(today, 6, 8)
        volume = max(leads, _LEAST_SPEND * organisation.leads_per_day)
        shares = sum(source.share for source in organisation.sources)
        for source in organisation.sources:
            names = self._campaigns[source.name]
            for name in names:
                budget = source.cost_per_lead * 100 * volume * source.share / shares / len(names)
                amount = round(desk.around(budget, 0.2))
                if amount:
                    desk.at(when(), self._spend, name, amount, "marketing", source.name)
        if working:
            for team in organisation.teams:
                size = sum(rep.team == team for rep in self._roster.reps)
                amount = round(desk.around(_SALES_COST * max(size, 1), 0.1))
                desk.at(when(), self._spend, f"sales-{team}", amount, "sales", "sales")

    def _spend(self, campaign: str, amount: int, category: str, channel: str) -> None:
        self._desk.emit(
            SpendRecorded,
            campaign_id=campaign,
            amount=money(amount),
            currency=self._desk.organisation.currency,
            category=category,
            channel=channel,
        )

    # --- market

    def _plan_prices(self) -> None:
        """Competitors' price levels wander; some of their prices are looked up each working day."""
        desk, organisation = self._desk, self._desk.organisation
        when = self._moment(desk.clock.local(desk.now).date(), 9, 17)
        for competitor, usual in organisation.competitors:
            level = self._price_levels[competitor] * desk.around(1.0, 0.015)
            self._price_levels[competitor] = level + 0.1 * (usual - level)
            for product in organisation.products:
                if desk.chance(0.4):
                    price = rounded(product.price * self._price_levels[competitor], 100)
                    desk.at(when(), self._observe, product.name, competitor, price, product.price)

    def _observe(self, product: str, competitor: str, price: int, own: int) -> None:
        self._desk.emit(
            CompetitorPriceObserved,
            product=product,
            competitor=competitor,
            price=money(price),
            own_price=money(own),
            currency=self._desk.organisation.currency,
        )
