"""Labels: what contributions are broken down by.

Each dimension has a type of its own, so that a rep cannot stand where a team is meant.
"""

from __future__ import annotations

from typing import NewType, TypedDict

UNKNOWN = "unknown"
"""The label value where no event says which."""

Rep = NewType("Rep", str)
Team = NewType("Team", str)
Source = NewType("Source", str)
Campaign = NewType("Campaign", str)
Location = NewType("Location", str)
Product = NewType("Product", str)
Channel = NewType("Channel", str)

UNOWNED = Rep("unowned")
"""The rep of what waits without one."""

NO_REP, NO_TEAM, NO_SOURCE, NO_LOCATION = Rep(""), Team(""), Source(""), Location("")


class Labels(TypedDict, total=False):
    """The dimensions of all measures. A tuple stands for several values of one thing: the products of a deal.

    An empty text is shown as :data:`UNKNOWN`.
    """

    rep: Rep | tuple[Rep, ...]
    team: Team | tuple[Team, ...]
    source: Source | tuple[Source, ...]
    campaign: Campaign
    location: Location
    product: Product | tuple[Product, ...]
    channel: Channel
    competitor: str
    band: str
    kind: str
    outcome: str
    stage: str
    category: str
    change: str
    referrer: str
    policy: str
    clock: str
    state: str
    reason: str
    movement: str
    window: str
    currency: str
    event: str


class OwnerLabels(TypedDict):
    """Whose something is, and where it came from."""

    rep: Rep
    team: Team
    source: Source


class DealLabels(TypedDict):
    """Where an open deal stands, and whose it is."""

    stage: str
    category: str
    rep: Rep
    team: Team


class CohortLabels(TypedDict):
    """Who first contacted a lead, how, and where it came from."""

    rep: Rep
    channel: Channel
    source: Source
