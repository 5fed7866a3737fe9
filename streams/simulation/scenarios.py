"""What happens in a demonstration, and when: each scenario is a value, told in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Protocol

from salesgauge.streams.simulation.environment import MINUTE, milliseconds, moment
from salesgauge.streams.simulation.hours import BusinessClock
from salesgauge.streams.simulation.organisation import STAFF, TEAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from salesgauge.streams.simulation.company import Company
    from salesgauge.streams.simulation.organisation import Organisation

_DAY = timedelta(days=1)
_MORNING, _AFTERNOON = time(10), time(13)
_QUARTER = 3


class Change(Protocol):
    """Something that changes in the company."""

    def apply(self, company: Company) -> None:
        """Let it happen now."""


@dataclass(frozen=True, slots=True)
class Absence:
    """A rep is away; nobody takes over."""

    rep: str

    def apply(self, company: Company) -> None:
        """Let it begin."""
        company.rep(self.rep).away = True


@dataclass(frozen=True, slots=True)
class HandOver:
    """Others get the leads of a rep who is away."""

    rep: str

    def apply(self, company: Company) -> None:
        """Let it begin."""
        company.leads.inboxes.hand_over(company.rep(self.rep))


@dataclass(frozen=True, slots=True)
class Return:
    """A rep is back."""

    rep: str

    def apply(self, company: Company) -> None:
        """Let it begin."""
        company.leads.inboxes.back(company.rep(self.rep))


@dataclass(frozen=True, slots=True)
class Flood:
    """A source brings so many leads more per hour; ``junk`` of them (0 to 1) have nobody behind them."""

    source: str
    per_hour: float
    junk: float

    def apply(self, company: Company) -> None:
        """Let it begin."""
        company.flood(self.source, self.per_hour, self.junk)


@dataclass(frozen=True, slots=True)
class FloodEnds:
    """The flood stops, and what of it is junk is deleted."""

    def apply(self, company: Company) -> None:
        """Let it end."""
        company.drain()


@dataclass(frozen=True, slots=True)
class Attention:
    """All reps take so many times as long to turn to a new lead; 1 is usual."""

    factor: float

    def apply(self, company: Company) -> None:
        """Let it be so."""
        company.roster.distraction = self.factor


@dataclass(frozen=True, slots=True)
class ClosingRush:
    """A share of the deals under negotiation is decided within some working hours, and reps have no time for leads."""

    share: float
    hours: float
    factor: float

    def apply(self, company: Company) -> None:
        """Let it begin."""
        company.roster.distraction = self.factor
        company.pipeline.hurry(self.share, self.hours)


@dataclass(frozen=True, slots=True)
class Step:
    """A moment of a scenario.

    Attributes:
        after: Working minutes since its beginning.
        says: What happens, in a sentence or two.
        look: Where it is to be seen.
        change: What changes in the company.
        delivers: Whether the CRM hands on its events from then on; None: as before.
    """

    after: int
    says: str
    look: str = ""
    change: Change | None = None
    delivers: bool | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A stretch of working time in a company: on an ordinary morning, or at the end of a quarter."""

    summary: str
    steps: tuple[Step, ...]
    at_quarter_end: bool = False

    def begin(self, organisation: Organisation, now: datetime) -> datetime:
        """The latest instant until ``now`` at which it may begin: on a working day, within working hours."""
        clock = BusinessClock(organisation, milliseconds(now - 100 * _DAY))
        hour = _AFTERNOON if self.at_quarter_end else _MORNING
        day = clock.local(milliseconds(now)).date()
        while True:
            at = datetime.combine(day, hour, clock.zone)
            if at <= now and clock.works_on(day) and (not self.at_quarter_end or _ends_a_quarter(clock, at)):
                return at
            day -= _DAY

    def times(self, organisation: Organisation, begin: datetime) -> list[tuple[datetime, Step]]:
        """Its steps with their instants."""
        clock = BusinessClock(organisation, milliseconds(begin - _DAY))
        first = milliseconds(begin)
        return [(moment(clock.after(first, step.after * MINUTE)), step) for step in self.steps]


def _ends_a_quarter(clock: BusinessClock, at: datetime) -> bool:
    """Whether the next working day is in another quarter."""
    day = at.date() + _DAY
    while not clock.works_on(day):
        day += _DAY
    return (day.month - 1) // _QUARTER != (at.month - 1) // _QUARTER


def delivering(times: Sequence[tuple[datetime, Step]], now: datetime) -> bool:
    """Whether the CRM hands on its events at an instant."""
    said = [step.delivers for at, step in times if at <= now and step.delivers is not None]
    return not said or said[-1]


_PETRA, _SMB = STAFF[0], TEAMS[0]
_USUAL = Step(0, "An ordinary working day: about 85 % of the leads are answered within 15 minutes.")

SCENARIOS: Mapping[str, Scenario] = {
    "rep-away": Scenario(
        "a rep falls ill, and nobody takes over her leads",
        (
            _USUAL,
            Step(
                5,
                f"{_PETRA}, who leads {_SMB}, goes home ill. The CRM goes on giving her new leads.",
                f"Leads waiting, by rep: the row of {_PETRA}. After 15 minutes her leads are late.",
                Absence(_PETRA),
            ),
            Step(
                200,
                f"The team notices it and takes over the leads of {_PETRA}.",
                "Leads waiting falls, and what needed attention is gone.",
                HandOver(_PETRA),
            ),
            Step(540, f"{_PETRA} is back at work.", "", Return(_PETRA)),
        ),
    ),
    "spam-wave": Scenario(
        "a campaign brings entries with nobody behind them",
        (
            _USUAL,
            Step(
                10,
                "Bots fill in the form of the LinkedIn campaign. Real leads wait behind the spam.",
                "Leads waiting, by source: the row of LinkedIn Ads. All reps have too many.",
                Flood("LinkedIn Ads", 260, 0.95),
            ),
            Step(
                120,
                "The campaign is stopped, and what it brought is deleted.",
                "Leads waiting falls; what was deleted no longer counts in New leads.",
                FloodEnds(),
            ),
        ),
    ),
    "crm-outage": Scenario(
        "the CRM sends nothing for two hours, then all at once",
        (
            _USUAL,
            Step(
                10,
                "The CRM stops sending events. The company goes on working, unseen.",
                "New leads in the last hour falls to 0; who waited now seems to wait for hours.",
                delivers=False,
            ),
            Step(
                130,
                "The CRM is back and sends what it kept, with the times at which it happened.",
                "The last hours are as if nothing had been wrong: late events repair the past.",
                delivers=True,
            ),
        ),
    ),
    "quarter-end": Scenario(
        "everybody closes deals, and new leads wait",
        (
            Step(0, "The last afternoon of a quarter. Up to now, an ordinary day."),
            Step(
                10,
                "Everybody is on the phone to close deals. New leads have to wait.",
                "Leads waiting and the share within the SLA; against them deals won and revenue.",
                ClosingRush(0.7, 3.5, 12.0),
            ),
            Step(
                220,
                "The deals are decided; reps turn to their leads again.",
                "Leads waiting falls. Quota attainment shows what the afternoon brought.",
                Attention(1.0),
            ),
            Step(305, "A new quarter begins, with new quotas.", "Quota attainment begins near zero."),
        ),
        at_quarter_end=True,
    ),
    "steady": Scenario("nothing goes wrong", (_USUAL,)),
}
"""By name; the first is the usual one."""
