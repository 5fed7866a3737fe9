"""What the organisation knows of a lead, and the entries about it that any of its steps may make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from salesgauge.schemas.events import ActivityLogged, EmailBounced, LifecycleStageChanged
from salesgauge.streams.simulation.environment import MINUTE, SECOND, Environment, Weighted
from salesgauge.streams.simulation.hours import HOUR

if TYPE_CHECKING:
    from salesgauge.streams.simulation.organisation import LeadSource
    from salesgauge.streams.simulation.people import Roster, SimulatedRep

WORKING_DAY = 9.5  # working hours, the unit in which sales people promise
CONTACTS = Weighted((("call", 0.46), ("email", 0.40), ("social", 0.08), ("video", 0.06)))
_BOUNCES = 0.012
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
    junk: bool = False  # nobody is behind it
    answered_quickly: bool = False
    closed: bool = False  # disqualified, merged or deleted: nothing happens to it any more


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

    def colleague(self, rep: SimulatedRep) -> SimulatedRep | None:
        """Somebody else of the rep's team."""
        others = [other for other in self._roster.reps if other is not rep and other.team == rep.team]
        return self._env.one(others) if others else None

    def log(self, lead: SimulatedLead, kind: str, *, automated: bool = False, late: float = 0.0) -> None:
        """An activity; ``late`` is the chance that it was entered only hours after it happened."""
        if lead.closed:
            return
        env = self._env
        rep = None if automated else self.owner(lead)
        more: dict[str, Any] = {"recorded_at": env.later(2.5)} if late and env.chance(late) else {}
        if kind == "email" and env.chance(1.0 if lead.junk else _BOUNCES):
            more["activity_id"] = activity_id = env.new_id("email")
            env.at(env.now + int(env.between(5, 90) * SECOND), self._bounce, lead, activity_id)
        env.emit(
            ActivityLogged,
            lead_id=lead.lead_id,
            rep_id=rep.rep_id if rep else None,
            team=rep.team if rep else None,
            kind=kind,
            automated=automated,
            **more,
        )

    def _bounce(self, lead: SimulatedLead, activity_id: str) -> None:
        """An e-mail comes back; who wrote it calls instead."""
        if lead.closed:
            return
        self._env.emit(EmailBounced, lead_id=lead.lead_id, activity_id=activity_id)
        if not lead.junk and lead.rep is not None:
            self._env.work(20 * MINUTE / HOUR, 0.6, self.log, lead, "call")

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
