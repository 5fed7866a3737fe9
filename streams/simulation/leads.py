"""A lead's way to its first deal: created, answered (or not), qualified, met.

Human steps take working time, whose length depends on the rep, their load and the hour; automation and the
lead's own steps take calendar time. Probabilities are per step; a source's quality moves most of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesgauge.schemas.events import LeadCreated, LeadMerged, MeetingBooked, MeetingCompleted, ReplyReceived
from salesgauge.streams.simulation.crm_log import CONTACTS, WORKING_DAY, CrmLog, SimulatedLead
from salesgauge.streams.simulation.environment import MINUTE, SECOND, Environment, Weighted, moment

if TYPE_CHECKING:
    from salesgauge.streams.simulation.organisation import LeadSource
    from salesgauge.streams.simulation.people import Roster, SimulatedRep
    from salesgauge.streams.simulation.pipeline import Pipeline

_QUICK_ANSWER = 30 * MINUTE
_REPLY_CHANCE = {"call": 0.33, "email": 0.24, "social": 0.16, "video": 0.45}
_OUTCOMES = Weighted((("held", 0.79), ("no_show", 0.12), ("cancelled", 0.09)))
_SLOT = 30 * MINUTE


class Leads:
    """All leads on their way."""

    def __init__(self, env: Environment, roster: Roster, crm: CrmLog, pipeline: Pipeline) -> None:
        self._env = env
        self._roster = roster
        self._crm = crm
        self._pipeline = pipeline
        self._locations = Weighted(env.organisation.locations)
        self.created = 0

    # --- arrival

    def create(self, source: LeadSource, campaign: str | None) -> None:
        """A lead arrives; most are routed at once, the others after some minutes."""
        env = self._env
        self.created += 1
        rep = self._roster.route() if env.chance(0.7) else None
        lead = SimulatedLead(env.new_id("lead"), source, self._locations.pick(env.random()), rep, env.now)
        self._announce(lead, campaign)
        subscriber = source.name == "webinar" and env.chance(0.5)
        self._crm.advance(lead, "subscriber" if subscriber else "lead")
        if env.chance(0.85):
            env.at(env.now + int(env.between(1, 40) * SECOND), self._sequence_email, lead)
        if env.chance(0.3 + 0.35 * source.qualified):
            env.wait(0.7, 1.2, self._crm.advance, lead, "mql")
        if env.chance(0.012):
            env.wait(6, 1.0, self._duplicate, lead)
        if rep is None:
            env.wait(0.06, 0.8, self._assign, lead)
        else:
            self._queue(lead, rep)

    def _announce(self, lead: SimulatedLead, campaign: str | None) -> None:
        env, rep = self._env, lead.rep
        env.emit(
            LeadCreated,
            lead_id=lead.lead_id,
            source=lead.source.name,
            campaign_id=campaign,
            location=lead.location,
            rep_id=rep.rep_id if rep else None,
            team=rep.team if rep else None,
            qualified=env.chance(lead.source.qualified) if env.chance(0.92) else None,
        )

    def _assign(self, lead: SimulatedLead) -> None:
        if not lead.closed:
            self._queue(lead, self._roster.assign(lead))

    def _sequence_email(self, lead: SimulatedLead) -> None:
        self._crm.log(lead, "email", automated=True)
        if self._env.chance(0.03):
            self._env.at(self._env.now + self._env.number(1, 60) * SECOND, self._out_of_office, lead)

    def _out_of_office(self, lead: SimulatedLead) -> None:
        if not lead.closed:
            self._reply_event(lead, "email", "neutral", auto_reply=True)

    # --- the same person again

    def _duplicate(self, original: SimulatedLead) -> None:
        """The same person comes in once more by another way; somebody notices and merges the two."""
        env = self._env
        if original.closed:
            return
        source = env.one(env.organisation.sources)
        copy = SimulatedLead(env.new_id("lead"), source, original.location, original.rep, env.now)
        self._announce(copy, None)
        self._crm.advance(copy, "lead")
        if copy.rep and env.chance(0.3):
            env.work(0.5, 0.5, self._crm.log, copy, "call")
        env.work(5, 0.8, self._merge, copy, original)

    def _merge(self, copy: SimulatedLead, survivor: SimulatedLead) -> None:
        copy.closed = True
        self._env.emit(LeadMerged, lead_id=copy.lead_id, survivor_id=survivor.lead_id)

    # --- the first answer

    def _queue(self, lead: SimulatedLead, rep: SimulatedRep, attention: float = 1.0) -> None:
        """The lead waits for its rep. Some wait for ever."""
        env = self._env
        load = rep.slowdown()
        rep.waiting += 1
        if env.chance(rep.neglect / attention):
            env.work(2 * WORKING_DAY, 0.3, self._go_stale, lead, rep)
            return
        hours = rep.minutes / 60 * load * self._lunch() / attention
        env.work(hours, 1.0, self._answer, lead, rep)

    def _lunch(self) -> float:
        return 1.8 if self._env.clock.local(self._env.now).hour == 12 else 1.0  # noqa: PLR2004 - noon

    def _answer(self, lead: SimulatedLead, rep: SimulatedRep) -> None:
        rep.waiting -= 1
        if lead.closed:
            return
        if rep.left:
            self._queue(lead, self._roster.assign(lead))
            return
        lead.answered_quickly = self._env.now - lead.created < _QUICK_ANSWER
        self._touch(lead)

    def _go_stale(self, lead: SimulatedLead, rep: SimulatedRep) -> None:
        """Nobody cared for two days: most such leads go to somebody else, the others are forgotten."""
        rep.waiting -= 1
        if not lead.closed and self._env.chance(0.55):
            self._queue(lead, self._roster.assign(lead), attention=2.0)

    # --- touches and replies

    def _touch(self, lead: SimulatedLead) -> None:
        """A human touch, and what follows from it."""
        env = self._env
        if lead.closed:
            return
        rep = self._crm.owner(lead)
        kind = CONTACTS.pick(env.random())
        self._crm.log(lead, kind, late=0.04)
        lead.touches += 1
        if kind == "email" and env.chance(0.04):
            env.at(env.now + env.number(1, 60) * SECOND, self._out_of_office, lead)
        if env.chance(_REPLY_CHANCE[kind] * (lead.source.quality**0.5)):
            env.wait(0.03 if kind in ("call", "video") else 4.0, 0.8, self._reply, lead, kind)
        elif lead.touches < rep.persistence:
            env.work(1.4 * WORKING_DAY, 0.5, self._touch, lead)
        elif env.chance(0.6):
            env.work(3 * WORKING_DAY, 0.4, self._crm.disqualify, lead)

    def _reply(self, lead: SimulatedLead, channel: str) -> None:
        env = self._env
        if lead.closed:
            return
        warmth = lead.source.quality * (1.25 if lead.answered_quickly else 0.9)
        positive = min(0.30 * warmth, 0.75)
        luck = env.random()
        if luck < positive:
            self._reply_event(lead, channel, "positive")
            env.work(0.4, 0.9, self._qualify, lead)
        elif luck < positive + 0.25:
            self._reply_event(lead, channel, "negative")
            if env.chance(0.75):
                env.work(1.5, 0.9, self._crm.disqualify, lead)
        else:
            self._reply_event(lead, channel, "neutral")
            env.work(3, 0.9, self._touch, lead)

    def _reply_event(self, lead: SimulatedLead, channel: str, sentiment: str, *, auto_reply: bool = False) -> None:
        rep = lead.rep
        self._env.emit(
            ReplyReceived,
            lead_id=lead.lead_id,
            channel=channel,
            sentiment=sentiment,
            auto_reply=auto_reply,
            rep_id=rep.rep_id if rep else None,
            team=rep.team if rep else None,
        )

    def _qualify(self, lead: SimulatedLead) -> None:
        if lead.closed:
            return
        self._crm.log(lead, "call")
        self._crm.advance(lead, "sql")
        self._book(lead, "intro" if self._env.chance(0.6) else "demo")

    # --- meetings

    def _book(self, lead: SimulatedLead, kind: str, rebooked: int = 0) -> None:
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
            rep_id=rep.rep_id,
            team=rep.team,
        )
        outcome = _OUTCOMES.pick(env.random())
        ends = scheduled + (slot if outcome == "held" else slot // 2)
        entry = {"meeting_id": meeting_id, "kind": kind, "outcome": outcome}
        env.at(ends, self._meet, lead, entry, rebooked)

    def _meet(self, lead: SimulatedLead, entry: dict[str, str], rebooked: int) -> None:
        env = self._env
        if lead.closed:
            return
        rep, kind, outcome = self._crm.owner(lead), entry["kind"], entry["outcome"]
        env.emit(MeetingCompleted, lead_id=lead.lead_id, rep_id=rep.rep_id, team=rep.team, **entry)
        if outcome != "held":
            self._missed(lead, kind, rebooked)
            return
        self._crm.log(lead, "video" if env.chance(0.7) else "meeting", late=0.1)
        if not env.chance(min(0.62 * lead.source.quality**0.4, 0.9)):
            env.work(WORKING_DAY, 0.6, self._crm.disqualify, lead)
        elif kind == "intro":
            env.work(2, 0.8, self._book, lead, "demo")
        else:
            env.work(0.3 * WORKING_DAY, 0.8, self._pipeline.open, lead)

    def _missed(self, lead: SimulatedLead, kind: str, rebooked: int) -> None:
        if rebooked == 0 and self._env.chance(0.6):
            self._env.work(2, 0.8, self._rebook, lead, kind)
        elif self._env.chance(0.5):
            self._env.work(3 * WORKING_DAY, 0.5, self._crm.disqualify, lead)

    def _rebook(self, lead: SimulatedLead, kind: str) -> None:
        if not lead.closed:
            self._crm.log(lead, "call")
            self._book(lead, kind, 1)
