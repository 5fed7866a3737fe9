"""Meetings with leads: booked, held, missed, booked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesgauge.schemas.events import MeetingBooked, MeetingCompleted
from salesgauge.streams.simulation.crm_log import WORKING_DAY, CrmLog, SimulatedLead
from salesgauge.streams.simulation.environment import MINUTE, Environment, Weighted, moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.streams.simulation.pipeline import Pipeline

_OUTCOMES = Weighted((("held", 0.79), ("no_show", 0.12), ("cancelled", 0.09)))
_MISSED_BY_REP = 0.06  # of the missed ones
_SLOT = 30 * MINUTE


class Meetings:
    """The calendar of all reps; ``unmet`` is called with a lead that booked a meeting itself and still waits."""

    def __init__(
        self, env: Environment, crm: CrmLog, pipeline: Pipeline, unmet: Callable[[SimulatedLead], None]
    ) -> None:
        self._env = env
        self._unmet = unmet
        self._crm = crm
        self._pipeline = pipeline

    def book(self, lead: SimulatedLead, kind: str, booked_by: str = "rep", rebooked: int = 0) -> None:
        """Put a meeting into the calendar; ``booked_by`` is ``rep`` or ``lead``."""
        env = self._env
        if lead.closed:
            return
        rep = self._crm.owner(lead)
        slot = max(1, int(_SLOT / env.clock.pace))
        earliest = env.clock.after(env.now, env.around(1.2 * WORKING_DAY, 0.6) * 60 * MINUTE)
        scheduled = -(-earliest // slot) * slot
        meeting_id = env.new_id("meeting")
        env.emit(
            MeetingBooked,
            lead_id=lead.lead_id,
            meeting_id=meeting_id,
            kind=kind,
            scheduled_for=moment(scheduled),
            booked_by=booked_by,
            rep_id=rep.rep_id,
            team=rep.team,
        )
        outcome = _OUTCOMES.pick(env.random())
        ends = scheduled + (slot if outcome == "held" else slot // 2)
        entry = {"meeting_id": meeting_id, "kind": kind, "outcome": outcome}
        if outcome == "no_show" and env.chance(_MISSED_BY_REP):
            entry["missed_by"] = "rep"
        env.at(ends, self._meet, lead, entry, rebooked)

    def _meet(self, lead: SimulatedLead, entry: dict[str, str], rebooked: int) -> None:
        env = self._env
        if lead.closed:
            return
        rep, kind = self._crm.owner(lead), entry["kind"]
        env.emit(MeetingCompleted, lead_id=lead.lead_id, rep_id=rep.rep_id, team=rep.team, **entry)
        if entry["outcome"] != "held":
            self._missed(lead, kind, rebooked)
            return
        lead.touches += 1
        self._crm.log(lead, "video" if env.chance(0.7) else "meeting", late=0.1)
        self._crm.advance(lead, "sql")
        if not env.chance(min(0.62 * lead.source.quality**0.4, 0.9)):
            env.work(WORKING_DAY, 0.6, self._crm.disqualify, lead)
        elif kind == "intro":
            env.work(2, 0.8, self.book, lead, "demo")
        else:
            env.work(0.3 * WORKING_DAY, 0.8, self._pipeline.open, lead)

    def _missed(self, lead: SimulatedLead, kind: str, rebooked: int) -> None:
        if lead.touches == 0:
            self._unmet(lead)
        elif rebooked == 0 and self._env.chance(0.6):
            self._env.work(2, 0.8, self._rebook, lead, kind)
        elif self._env.chance(0.5):
            self._env.work(3 * WORKING_DAY, 0.5, self._crm.disqualify, lead)

    def _rebook(self, lead: SimulatedLead, kind: str) -> None:
        if not lead.closed:
            self._crm.log(lead, "call")
            self.book(lead, kind, rebooked=1)
