"""What a simulated sales organisation is: its size, its market, its habits. Values only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays

from salesgauge.schemas.errors import InputError

LARGEST_LEADS_PER_DAY = 1_000_000
FASTEST = 10_000.0
"""The fastest pace of an acceleration."""


class SimulationError(InputError, ValueError):
    """A parameter that no sales organisation could have; the message names it and what is allowed."""


@dataclass(frozen=True, slots=True)
class LeadSource:
    """Where leads come from, and how good they are.

    Attributes:
        name: The lead's source, and the channel on which its campaigns' money is spent.
        share: Weight among the sources.
        quality: Factor on the chance of a reply, of a positive one, and of a win; 1 is average.
        qualified: Share of its leads that the source itself calls qualified.
        cost_per_lead: Mean marketing spend per lead, in major units of the currency.
        campaigns: Ids; ``{quarter}`` and ``{month}`` become the date's, so that campaigns come and go.
        asks: Whether its leads wait for an answer; those of a list do not.
    """

    name: str
    share: float
    quality: float
    qualified: float
    cost_per_lead: float
    campaigns: tuple[str, ...] = ()
    asks: bool = True


@dataclass(frozen=True, slots=True)
class SoldProduct:
    """Something that is sold. ``price`` is in minor units: per month if ``recurring``, else once."""

    name: str
    price: int
    recurring: bool = True
    share: float = 1.0


SOURCES = (
    LeadSource("Google Ads", 0.25, 1.00, 0.45, 55, ("google-brand", "google-{quarter}")),
    LeadSource("LinkedIn Ads", 0.18, 0.65, 0.30, 62, ("linkedin-awareness", "linkedin-{quarter}")),
    LeadSource("Website", 0.20, 1.10, 0.50, 9, ("content",)),
    LeadSource("Webinar", 0.09, 1.25, 0.60, 48, ("webinar-{month}",)),
    LeadSource("Referral", 0.08, 1.75, 0.80, 15, ("referral-programme",)),
    LeadSource("Partner", 0.08, 1.45, 0.70, 25, ("partner-programme",)),
    LeadSource("Trade fair", 0.05, 0.95, 0.55, 110, ("fair-{quarter}",), asks=False),
    LeadSource("Outbound", 0.07, 0.55, 0.20, 0),
)

PRODUCTS = (
    SoldProduct("Flowdesk Starter", 4_900, share=3.0),
    SoldProduct("Flowdesk Team", 19_900, share=2.5),
    SoldProduct("Flowdesk Business", 79_000, share=1.2),
    SoldProduct("Insights", 29_000, share=1.0),
    SoldProduct("Premium Support", 14_500, share=0.8),
    SoldProduct("Onboarding", 150_000, recurring=False, share=0.9),
)

LOCATIONS = (("online", 0.45), ("Berlin", 0.20), ("Hamburg", 0.13), ("Munich", 0.14), ("Vienna", 0.08))
TEAMS = ("SMB", "Mid-Market", "Enterprise")
COMPETITORS = (("Brightlane", 0.92), ("Corvia", 1.15), ("Tallyworks", 0.81))
STAFF = (
    "Petra Lindqvist", "Jonas Weber", "Amira Haddad", "Tom Becker", "Elif Yilmaz", "Marco Rossi", "Nina Vogel",
    "David Okafor", "Sofie Jensen", "Lukas Huber", "Clara Moreau", "Pawel Nowak", "Hanna Schulz", "Omar Rahimi",
    "Ines Carvalho", "Felix Brandt", "Maja Horvat", "Ben Fischer", "Laura Costa", "Erik Sandberg",
)  # fmt: skip
"""Who is hired, in this order; the first of each team leads it, gets more leads and stays. All names are invented."""


@dataclass(frozen=True, slots=True)
class Organisation:
    """The parameters of a simulation; the same ones with the same start give the same events.

    Attributes:
        seed: Of all that is random.
        zone: IANA name of the business time zone; nights, weekends and months follow it.
        country: ISO code whose public holidays are quiet days; None for none.
        leads_per_day: Mean number of leads on an average working day.
        reps: Number of reps at the start, dealt to the teams in turn.
        teams: Their names. The last one sells larger deals and has quarterly quotas, the others monthly ones.
        opens: When the working day begins, local time.
        closes: When it ends, local time.
        currency: Of all amounts.
        source_system: On all events.
        sources: The market, see `LeadSource`.
        products: The price list.
        locations: Places (or ``online``) with their weights.
        competitors: With their price level; 1 is ours.
        staff: Names of reps, in the order of their hiring; beyond them reps have numbers.
        customers: How many accounts are customers at the start.
    """

    seed: int = 1
    zone: str = "Europe/Berlin"
    country: str | None = "DE"
    leads_per_day: float = 120.0
    reps: int = 12
    teams: tuple[str, ...] = TEAMS
    opens: time = time(8, 30)
    closes: time = time(18, 0)
    currency: str = "EUR"
    source_system: str = "simulator"
    sources: tuple[LeadSource, ...] = SOURCES
    products: tuple[SoldProduct, ...] = PRODUCTS
    locations: tuple[tuple[str, float], ...] = LOCATIONS
    competitors: tuple[tuple[str, float], ...] = COMPETITORS
    staff: tuple[str, ...] = STAFF
    customers: int = 180

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            SimulationError: A parameter is out of range.
        """
        _require(
            0 < self.leads_per_day <= LARGEST_LEADS_PER_DAY,
            f"leads_per_day lies between 0 and {LARGEST_LEADS_PER_DAY}",
        )
        _require(len(self.teams) > 0, "teams needs at least one name")
        _require(self.reps >= 2 * len(self.teams), "reps: at least two for each team")
        _require(self.opens < self.closes, "opens must come before closes")
        _require(bool(self.sources) and bool(self.locations), "sources and locations need at least one entry")
        _require(self.customers >= 0, "customers is 0 or more")
        _require(any(p.recurring for p in self.products), "products needs a recurring one")
        _check_zone(self.zone)
        _check_country(self.country)


@dataclass(frozen=True, slots=True)
class Acceleration:
    """From ``since`` on the organisation has no nights and weekends, and its business time runs faster.

    At ``pace`` 60 a minute brings what an hour of a working day brings: leads, answers, meetings, deals. What
    was still to come is drawn nearer likewise. A demonstration begins with it at whatever hour it is started.

    Attributes:
        since: An aware instant.
        pace: Business time per real time.
        rate: Aim for so many events per second by raising or lowering the number of leads; None: leave it be.
    """

    since: datetime
    pace: float = 60.0
    rate: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            SimulationError: A parameter is out of range.
        """
        _require(self.since.tzinfo is not None, "since needs a time zone")
        _require(0 < self.pace <= FASTEST, f"pace lies between 0 and {FASTEST:.0f}")
        if self.rate is not None:
            _require(math.isfinite(self.rate) and self.rate > 0, "rate must be above 0")


def _require(holds: bool, message: str) -> None:  # noqa: FBT001 - an assertion's only argument
    if not holds:
        raise SimulationError(message)


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SimulationError(f"zone {name!r} is no IANA time zone such as Europe/Berlin") from error


def _check_country(code: str | None) -> None:
    if code is None:
        return
    try:
        holidays.country_holidays(code)
    except NotImplementedError as error:
        raise SimulationError(f"country {code!r} is no ISO country code with known holidays") from error
