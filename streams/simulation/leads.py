"""A lead's way to its first deal: created, answered (or not), qualified, met.

Human steps take working time, whose length depends on the rep, their load and the hour; automation and the
lead's own steps take calendar time. Probabilities are per step; a source's quality moves most of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesgauge.schemas.events import LeadCreated, LeadMerged, MeetingBooked, MeetingCompleted, ReplyReceived
from salesgauge.streams.simulation.desk import MINUTE, SECOND, Desk, Weighted, moment
from salesgauge.streams.simulation.records import CONTACTS, WORKING_DAY, Lead, Records

if TYPE_CHECKING:
    from salesgauge.streams.simulation.organisation import Source
    from salesgauge.streams.simulation.people import Rep, Roster
    from salesgauge.streams.simulation.pipeline import Pipeline

_QUICK_ANSWER = 30 * MINUTE
_REPLY_CHANCE = {"call": 0.33, "email": 0.24, "social": 0.16, "video": 0.45}
_OUTCOMES = Weighted((("held", 0.79), ("no_show", 0.12), ("cancelled", 0.09)))
_SLOT = 30 * MINUTE


class Leads:
    """All leads on their way."""

    def __init__(self, desk: Desk, roster: Roster, records: Records, pipeline: Pipeline) -> None:
        self._desk = desk
        self._roster = roster
        self._records = records
        self._pipeline = pipeline
        self._locations = Weighted(desk.organisation.locations)
        self.created = 0

    # --- arrival

    def create(self, source: Source, campaign: str | None) -> None:
        """A lead arrives; most are routed at once, the others after some minutes."""
        desk = self._desk
        self.created += 1
        rep = self._roster.route() if desk.chance(0.7) else None
        lead = Lead(desk.new_id("lead"), source, self._locations.pick(desk.random()), rep, desk.now)
        self._announce(lead, campaign)
        subscriber = source.name == "webinar" and desk.chance(0.5)
        self._records.advance(lead, "subscriber" if subscriber else "lead")
        if desk.chance(0.85):
            desk.at(desk.now + int(desk.between(1, 40) * SECOND), self._sequence_email, lead)
        if desk.chance(0.3 + 0.35 * source.qualified):
            desk.wait(0.7, 1.2, self._records.advance, lead, "mql")
        if desk.chance(0.012):
            desk.wait(6, 1.0, self._duplicate, lead)
        if rep is None:
            desk.wait(0.06, 0.8, self._assign, lead)
        else:
            self._queue(lead, rep)

    def _announce(self, lead: Lead, campaign: str | None) -> None:
        desk, rep = self._desk, lead.rep
        desk.emit(
            LeadCreated,
            lead_id=lead.lead_id,
            source=lead.source.name,
            campaign_id=campaign,
            location=lead.location,
            rep_id=rep.rep_id if rep else None,
            team=rep.team if rep else None,
            qualified=desk.chance(lead.source.qualified) if desk.chance(0.92) else None,
        )

    def _assign(self, lead: Lead) -> None:
        if not lead.closed:
            self._queue(lead, self._roster.assign(lead))

    def _sequence_email(self, lead: Lead) -> None:
        self._records.log(lead, "email", automated=True)
        if self._desk.chance(0.03):
            self._desk.at(self._desk.now + self._desk.number(1, 60) * SECOND, self._out_of_office, lead)

    def _out_of_office(self, lead: Lead) -> None:
        if not lead.closed:
            self._reply_event(lead, "email", "neutral", auto_reply=True)

    # --- the same person again

    def _duplicate(self, original: Lead) -> None:
        """The same person comes in once more by another way; somebody notices and merges the two."""
        desk = self._desk
        if original.closed:
            return
        source = desk.one(desk.organisation.sources)
        copy = Lead(desk.new_id("lead"), source, original.location, original.rep, desk.now)
        self._announce(copy, None)
        self._records.advance(copy, "lead")
        if copy.rep and desk.chance(0.3):
            desk.work(0.5, 0.5, self._records.log, copy, "call")
        desk.work(5, 0.8, self._merge, copy, original)

    def _merge(self, copy: Lead, survivor: Lead) -> None:
        copy.closed = True
        self._desk.emit(LeadMerged, lead_id=copy.lead_id, survivor_id=survivor.lead_id)

    # --- the first answer

    def _queue(self, lead: Lead, rep: Rep, attention: float = 1.0) -> None:
        """The lead waits for its rep. Some wait for ever."""
        desk = self._desk
        load = rep.slowdown()
        rep.waiting += 1
        if desk.chance(rep.neglect / attention):
            desk.work(2 * WORKING_DAY, 0.3, self._go_stale, lead, rep)
            return
        hours = rep.minutes / 60 * load * self._lunch() / attention
        desk.work(hours, 1.0, self._answer, lead, rep)

    def _lunch(self) -> float:
        return 1.8 if self._desk.clock.local(self._desk.now).hour == 12 else 1.0  # noqa: PLR2004 - noon

    def _answer(self, lead: Lead, rep: Rep) -> None:
        rep.waiting -= 1
        if lead.closed:
            return
        if rep.left:
            self._queue(lead, self._roster.assign(lead))
            return
        lead.answered_quickly = self._desk.now - lead.created < _QUICK_ANSWER
        self._touch(lead)

    def _go_stale(self, lead: Lead, rep: Rep) -> None:
        """Nobody cared for two days: most such leads go to somebody else, the others are forgotten."""
        rep.waiting -= 1
        if not lead.closed and self._desk.chance(0.55):
            self._queue(lead, self._roster.assign(lead), attention=2.0)

    # --- touches and replies

    def _touch(self, lead: Lead) -> None:
        """A human touch, and what follows from it."""
        desk = self._desk
        if lead.closed:
            return
        rep = self._records.owner(lead)
        kind = CONTACTS.pick(desk.random())
        self._records.log(lead, kind, late=0.04)
        lead.touches += 1
        if kind == "email" and desk.chance(0.04):
            desk.at(desk.now + desk.number(1, 60) * SECOND, self._out_of_office, lead)
        if desk.chance(_REPLY_CHANCE[kind] * (lead.source.quality**0.5)):
            desk.wait(0.03 if kind in ("call", "video") else 4.0, 0.8, self._reply, lead, kind)
        elif lead.touches < rep.persistence:
            desk.work(1.4 * WORKING_DAY, 0.5, self._touch, lead)
        elif desk.chance(0.6):
            desk.work(3 * WORKING_DAY, 0.4, self._records.disqualify, lead)

    def _reply(self, lead: Lead, channel: str) -> None:
        desk = self._desk
        if lead.closed:
            return
        warmth = lead.source.quality * (1.25 if lead.answered_quickly else 0.9)
        positive = min(0.30 * warmth, 0.75)
        luck = desk.random()
        if luck < positive:
            self._reply_event(lead, channel, "positive")
            desk.work(0.4, 0.9, self._qualify, lead)
        elif luck < positive + 0.25:
            self._reply_event(lead, channel, "negative")
            if desk.chance(0.75):
                desk.work(1.5, 0.9, self._records.disqualify, lead)
        else:
            self._reply_event(lead, channel, "neutral")
            desk.work(3, 0.9, self._touch, lead)

    def _reply_event(self, lead: Lead, channel: str, sentiment: str, *, auto_reply: bool = False) -> None:
        rep = lead.rep
        self._desk.emit(
            ReplyReceived,
            lead_id=lead.lead_id,
            channel=channel,
            sentiment=sentiment,
            auto_reply=auto_reply,
            rep_id=rep.rep_id if rep else None,
            team=rep.team if rep else None,
        )

    def _qualify(self, lead: Lead) -> None:
        if lead.closed:
            return
        self._records.log(lead, "call")
        self._records.advance(lead, "sql")
        self._book(lead, "intro" if self._desk.chance(0.6) else "demo")

    # --- meetings

    def _book(self, lead: Lead, kind: str, rebooked: int = 0) -> None:
        desk = self._desk
        if lead.closed:
            return
        rep = self._records.owner(lead)
        slot = max(1, int(_SLOT / desk.clock.pace))
        earliest = desk.clock.after(desk.now, desk.around(1.2 * WORKING_DAY, 0.6) * 60 * MINUTE)
        scheduled = -(-earliest // slot) * slot
        meeting_id = desk.new_id("meeting")
        desk.emit(
            MeetingBooked,
            lead_id=lead.lead_id,
            meeting_id=meeting_id,
            kind=kind,
            scheduled_for=moment(scheduled),
            rep_id=rep.rep_id,
            team=rep.team,
        )
        outcome = _OUTCOMES.pick(desk.random())
        ends = scheduled + (slot if outcome == "held" else slot // 2)
        entry = {"meeting_id": meeting_id, "kind": kind, "outcome": outcome}
        desk.at(ends, self._meet, lead, entry, rebooked)

    def _meet(self, lead: Lead, entry: dict[str, str], rebooked: int) -> None:
        desk = self._desk
        if lead.closed:
            return
        rep, kind, outcome = self._records.owner(lead), entry["kind"], entry["outcome"]
        desk.emit(MeetingCompleted, lead_id=lead.lead_id, rep_id=rep.rep_id, team=rep.team, **entry)
        if outcome != "held":
            self._missed(lead, kind, rebooked)
            return
        self._records.log(lead, "video" if desk.chance(0.7) else "meeting", late=0.1)
        if not desk.chance(min(0.62 * lead.source.quality**0.4, 0.9)):
            desk.work(WORKING_DAY, 0.6, self._records.disqualify, lead)
        elif kind == "intro":
            desk.work(2, 0.8, self._book, lead, "demo")
        else:
            desk.work(0.3 * WORKING_DAY, 0.8, self._pipeline.open, lead)

    def _missed(self, lead: Lead, kind: str, rebooked: int) -> None:
        if rebooked == 0 and self._desk.chance(0.6):
            self._desk.work(2, 0.8, self._rebook, lead, kind)
        elif self._desk.chance(0.5):
            self._desk.work(3 * WORKING_DAY, 0.5, self._records.disqualify, lead)

    def _rebook(self, lead: Lead, kind: str) -> None:
        if not lead.closed:
            self._records.log(lead, "call")
            self._book(lead, kind, 1)
