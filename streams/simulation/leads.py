"""A lead's way to its first deal: created, answered (or not), qualified, met.

Human steps take working time, whose length depends on the rep, their load and the hour; automation and the
lead's own steps take calendar time. Probabilities are per step; a source's quality moves most of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesgauge.schemas.events import (
    LeadCreated,
    LeadDeleted,
    LeadMerged,
    LeadReengaged,
    LeadRestored,
    ReplyClassified,
    ReplyReceived,
    ResponsePaused,
    ResponseResumed,
)
from salesgauge.streams.simulation.crm_log import CONTACTS, WORKING_DAY, CrmLog, SimulatedLead
from salesgauge.streams.simulation.environment import MINUTE, SECOND, Environment, Weighted
from salesgauge.streams.simulation.inboxes import Inboxes
from salesgauge.streams.simulation.meetings import Meetings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from salesgauge.streams.simulation.organisation import LeadSource
    from salesgauge.streams.simulation.people import Roster, SimulatedRep
    from salesgauge.streams.simulation.pipeline import Pipeline

_QUICK_ANSWER = 30 * MINUTE
_REPLY_CHANCE = {"call": 0.33, "email": 0.24, "social": 0.16, "video": 0.45}
_FROM_A_LIST_HOURS = 4.0  # whoever does not wait is not answered at once
_JUNK = 0.01  # share of the leads behind whom there is nobody
_CALENDAR_LINK = 0.03
_MISJUDGED = 0.15  # of the junk: it was a person after all
_CLASSIFIED_LATER = 0.3
_SQL = 3  # rank


class Leads:
    """All leads on their way."""

    def __init__(self, env: Environment, roster: Roster, crm: CrmLog, pipeline: Pipeline) -> None:
        self._env = env
        self._roster = roster
        self._crm = crm
        self._meetings = Meetings(env, crm, pipeline, self._unmet)
        self.inboxes = Inboxes(env, roster, self._answer)
        self._locations = Weighted(env.organisation.locations)
        self.created = 0

    # --- arrival

    def create(self, source: LeadSource, campaign: str | None, *, junk: float = _JUNK) -> SimulatedLead:
        """A lead arrives; most are routed at once, the others after some minutes. ``junk``: chance that it is none."""
        env = self._env
        self.created += 1
        rep = self._roster.route() if env.chance(0.7) else None
        lead = SimulatedLead(env.new_id("lead"), source, self._locations.pick(env.random()), rep, env.now)
        lead.junk = env.chance(junk)
        self._announce(lead, campaign)
        subscriber = source.name == "Webinar" and env.chance(0.5)
        self._crm.advance(lead, "subscriber" if subscriber else "lead")
        if env.chance(0.85):
            env.at(env.now + int(env.between(1, 40) * SECOND), self._sequence_email, lead)
        if not lead.junk:
            self._ripen(lead)
        if rep is None:
            env.wait(0.02, 0.6, self._assign, lead)
        else:
            self._received(lead, rep)
        return lead

    def _ripen(self, lead: SimulatedLead) -> None:
        """What the lead itself may do next."""
        env = self._env
        if env.chance(0.06 + 0.42 * lead.source.qualified):
            env.wait(0.7, 1.2, self._crm.advance, lead, "mql")
        if env.chance(0.012):
            env.wait(6, 1.0, self._duplicate, lead)
        if env.chance(0.03):
            env.wait(9 * 24, 0.6, self._ask_again, lead)

    def _announce(self, lead: SimulatedLead, campaign: str | None) -> None:
        env, rep = self._env, lead.rep
        qualified = env.chance(0.0 if lead.junk else lead.source.qualified) if env.chance(0.92) else None
        env.emit(
            LeadCreated,
            lead_id=lead.lead_id,
            source=lead.source.name,
            campaign_id=campaign,
            location=lead.location,
            rep_id=rep.rep_id if rep else None,
            team=rep.team if rep else None,
            qualified=qualified,
            needs_response=None if lead.source.asks else False,
        )

    def _assign(self, lead: SimulatedLead) -> None:
        if not lead.closed:
            self._received(lead, self._roster.assign(lead))

    def _received(self, lead: SimulatedLead, rep: SimulatedRep) -> None:
        """The lead has a rep; what comes next depends on whether it waits."""
        if not lead.source.asks:
            self._env.work(_FROM_A_LIST_HOURS, 0.6, self._touch, lead)
        elif not lead.junk and self._env.chance(_CALENDAR_LINK):
            self._meetings.book(lead, "intro", booked_by="lead")
        else:
            self.inboxes.put(lead, rep)

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
        self.inboxes.put(copy, self._crm.owner(copy))
        env.work(3, 0.8, self._merge, copy, original)

    def _merge(self, copy: SimulatedLead, survivor: SimulatedLead) -> None:
        copy.closed = True
        self._env.emit(LeadMerged, lead_id=copy.lead_id, survivor_id=survivor.lead_id)

    def _ask_again(self, lead: SimulatedLead) -> None:
        """The lead asks for something else, days later: by the form, as before."""
        env = self._env
        if lead.closed or lead.rank >= _SQL:
            return
        request_id = env.new_id("request")
        env.emit(LeadReengaged, lead_id=lead.lead_id, request_id=request_id, source=lead.source.name)
        self.inboxes.put(lead, self._crm.owner(lead))

    # --- the first answer

    def _answer(self, lead: SimulatedLead, rep: SimulatedRep) -> None:
        if lead.junk:
            self._discard(lead)
        elif self._env.chance(0.012):
            self._pause(lead, rep)
        else:
            lead.answered_quickly = self._env.now - lead.created < _QUICK_ANSWER
            self._touch(lead)

    def _unmet(self, lead: SimulatedLead) -> None:
        """The meeting that the lead booked itself did not take place: now it waits as others do."""
        self.inboxes.put(lead, self._crm.owner(lead))

    def _pause(self, lead: SimulatedLead, rep: SimulatedRep) -> None:
        """The lead wants to be called at another time: it is its turn until then."""
        self._env.emit(ResponsePaused, lead_id=lead.lead_id, reason="asked for a later call")
        self._env.work(0.5 * WORKING_DAY, 0.4, self._resume, lead, rep)

    def _resume(self, lead: SimulatedLead, rep: SimulatedRep) -> None:
        if not lead.closed:
            self._env.emit(ResponseResumed, lead_id=lead.lead_id)
            self.inboxes.put(lead, self._roster.assign(lead) if rep.left else rep)

    # --- nobody is behind it

    def _discard(self, lead: SimulatedLead) -> None:
        """Spam and test entries are deleted; now and then one comes back."""
        if lead.closed:
            return
        lead.closed = True
        self._env.emit(LeadDeleted, lead_id=lead.lead_id)
        if self._env.chance(_MISJUDGED):
            self._env.work(0.7, 0.5, self._restore, lead)

    def _restore(self, lead: SimulatedLead) -> None:
        lead.closed = lead.junk = False
        self._env.emit(LeadRestored, lead_id=lead.lead_id)
        self.inboxes.put(lead, self._crm.owner(lead))

    def sweep(self, leads: Iterable[SimulatedLead]) -> None:
        """Delete what of these is junk, within an hour or two."""
        for lead in leads:
            if lead.junk and not lead.closed:
                self._env.work(0.5, 0.5, self._discard, lead)

    # --- touches and replies

    def _touch(self, lead: SimulatedLead) -> None:
        """A human touch, and what follows from it."""
        env = self._env
        if lead.closed:
            return
        rep = self._crm.owner(lead)
        kind = CONTACTS.pick(env.random())
        # First answers are entered at once, or leads would seem to wait for hours that do not.
        self._crm.log(lead, kind, late=0.04 if lead.touches else 0.0)
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
        positive = min(0.11 * warmth, 0.4)
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
        """A reply; a tool judges some of them only after some minutes."""
        env, rep = self._env, lead.rep
        reply_id = env.new_id("reply")
        later = not auto_reply and env.chance(_CLASSIFIED_LATER)
        env.emit(
            ReplyReceived,
            lead_id=lead.lead_id,
            reply_id=reply_id,
            channel=channel,
            sentiment="neutral" if later else sentiment,
            auto_reply=auto_reply,
            rep_id=rep.rep_id if rep else None,
            team=rep.team if rep else None,
        )
        if later:
            env.at(env.now + env.number(1, 10) * MINUTE, self._classify, lead, reply_id, sentiment)

    def _classify(self, lead: SimulatedLead, reply_id: str, sentiment: str) -> None:
        if not lead.closed:
            self._env.emit(ReplyClassified, lead_id=lead.lead_id, reply_id=reply_id, sentiment=sentiment)

    def _qualify(self, lead: SimulatedLead) -> None:
        if lead.closed:
            return
        self._crm.log(lead, "call")
        self._crm.advance(lead, "mql")
        self._env.at(self._env.now + MINUTE, self._crm.advance, lead, "sql")
        self._meetings.book(lead, "intro" if self._env.chance(0.6) else "demo")
