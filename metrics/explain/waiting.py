"""The leads that wait for an answer by a person, one by one: those that the KPI ``leads_waiting`` counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from salesgauge.metrics.entities.facts import LEAD
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.lead import read_lead
from salesgauge.metrics.entities.response import OpenRequest, open_request
from salesgauge.metrics.entities.routes import kind_of
from salesgauge.metrics.entities.state import State
from salesgauge.metrics.measures.labels import UNKNOWN
from salesgauge.metrics.measures.registry import WAITING
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import LeafIndex

DIMENSIONS = WAITING.dims
"""By what the list can be narrowed."""
_KEPT = 4


class WaitingQuestion(msgspec.Struct, frozen=True, kw_only=True, tag="waiting"):
    """Which leads wait.

    Attributes:
        at: at which instant, ms.
        labels: dimension -> value, of those that are wanted; empty: all.
        teams: rep -> team, for leads whose facts name a rep but no team.
        limit: list so many at most.
    """

    at: int
    labels: dict[str, str] = {}
    teams: dict[str, str] = {}
    limit: int = 100


class WaitingLead(msgspec.Struct, frozen=True):
    """A lead that waits. Instants and lengths are ms; see `OpenRequest`. ``late`` and ``at_risk`` are states, too."""

    address: str
    rep: str
    team: str
    source: str
    policy: str
    state: str
    made: int
    waited: int
    left: int
    deadline: int | None


class WaitingPartial(msgspec.Struct, frozen=True, tag="waiting"):
    """Those of some partitions who have waited longest, and how many wait."""

    leads: list[WaitingLead]
    count: int


def longest(leads: Iterable[WaitingLead], limit: int) -> list[WaitingLead]:
    """The first so many: who has waited longest on the clock of its SLA comes first."""
    return sorted(leads, key=lambda lead: (-lead.waited, lead.made, lead.address))[:limit]


def together(question: WaitingQuestion, partials: Iterable[WaitingPartial]) -> WaitingPartial:
    """The list of the whole from those of its partitions."""
    leads: list[WaitingLead] = []
    count = 0
    for partial in partials:
        leads += partial.leads
        count += partial.count
    return WaitingPartial(longest(leads, question.limit), count)


@dataclass(slots=True)
class WaitingList:
    """Takes entities one by one; then gives the leads among them that wait."""

    question: WaitingQuestion
    rules: Rules
    who: Survivors
    _leaves: LeafIndex = field(init=False)
    _found: list[WaitingLead] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self._leaves = LeafIndex(self.rules.unredacted)

    def take(self, state: State) -> None:
        """Take an entity."""
        address = state.address
        if kind_of(address) != LEAD or self.who(address) != address or address in self.rules.skip:
            return
        lead = read_lead(state, self.who, self.rules)
        request = None if lead is None else open_request(lead, self.rules, self.question.at)
        if request is None:
            return
        shown = self._shown(request)
        if any(shown[dim] != value for dim, value in self.question.labels.items()):
            return
        self._count += 1
        self._found.append(_row(address, request, shown))
        if len(self._found) > _KEPT * self.question.limit:
            self._found = longest(self._found, self.question.limit)

    def answer(self) -> WaitingPartial:
        """Who waits."""
        return WaitingPartial(longest(self._found, self.question.limit), self._count)

    def _shown(self, request: OpenRequest) -> dict[str, str]:
        """The labels as they are shown, with the team of a rep that names none."""
        rep, team, source = request.labels["rep"], request.labels["team"], request.labels["source"]
        _, values = self._leaves.shown(WAITING, (rep, team or UNKNOWN, source or UNKNOWN))
        shown = dict(zip(DIMENSIONS, map(str, values), strict=True))
        if shown["team"] == UNKNOWN:
            shown["team"] = self.question.teams.get(shown["rep"], UNKNOWN)
        return shown


def _row(address: str, request: OpenRequest, shown: Mapping[str, str]) -> WaitingLead:
    return WaitingLead(
        address,
        shown["rep"],
        shown["team"],
        shown["source"],
        request.policy,
        request.state,
        request.made,
        request.waited,
        request.left,
        request.deadline,
    )
