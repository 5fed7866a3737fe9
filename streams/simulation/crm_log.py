"""What the organisation knows of a lead, and the entries about it that any of its steps may make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from salesgauge.schemas.events import ActivityLogged, LifecycleStageChanged
from salesgauge.streams.simulation.environment import Environment, Weighted

if TYPE_CHECKING:
    from salesgauge.streams.simulation.organisation import LeadSource
    from salesgauge.streams.simulation.people import Roster, SimulatedRep

WORKING_DAY = 9.5  # working hours, the unit in which sales people promise
CONTACTS = Weighted((("call", 0.46), ("email", 0.40), ("social", 0.08), ("video", 0.06)))
_RANKS = {"subscriber": 0, "lead": 1, "mql": 2, "sql": 3, "opportunity": 4, "customer": 5, "evangelist": 6}


@dataclass(slots=True, eq=False)
class SimulatedLead:
    """What the organisation knows of a lead."""

    lead_id: str
    source: LeadSource
    location: str
    rep: SimulatedRep | None
    created: int
    rank: int = -1
    touches: int = 0
    answered_quickly: bool = False
    closed: bool = False  # disqualified or merged: nothing happens to it any more


class CrmLog:
    """Entries in the CRM about a lead. About a closed lead nothing is entered."""

    def __init__(self, env: Environment, roster: Roster) -> None:
        self._env = env
        self._roster = roster

    def owner(self, lead: SimulatedLead) -> SimulatedRep:
        """The lead's rep; if they have left, a new one."""
        if lead.rep is None or lead.rep.left:
            return self._roster.assign(lead)
        return lead.rep

    def log(self, lead: SimulatedLead, kind: str, *, automated: bool = False, late: float = 0.0) -> None:
        """An activity; ``late`` is the chance that it was entered only hours after it happened."""
        if lead.closed:
            return
        rep = None if automated else self.owner(lead)
        more = {"recorded_at": self._env.later(2.5)} if late and self._env.chance(late) else {}
        self._env.emit(
            ActivityLogged,
            lead_id=lead.lead_id,
            rep_id=rep.rep_id if rep else None,
            team=rep.team if rep else None,
            kind=kind,
            automated=automated,
            **more,
        )

    def advance(self, lead: SimulatedLead, stage: str) -> None:
        """The lead enters a stage, unless it is there or beyond."""
        rank = _RANKS[stage]
        if lead.closed or rank <= lead.rank:
            return
        lead.rank = rank
        self._env.emit(LifecycleStageChanged, lead_id=lead.lead_id, stage=stage)

    def disqualify(self, lead: SimulatedLead) -> None:
        """Nothing will come of it."""
        if not lead.closed:
            lead.closed = True
            self._env.emit(LifecycleStageChanged, lead_id=lead.lead_id, stage="disqualified")
