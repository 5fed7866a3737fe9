"""The lead: arrival, assignment, touches, replies, meetings, stages and its deals."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from metrics import measures as m
from metrics.contributions import Contributions
from metrics.entities.deals import Deal, fold_deals
from metrics.entities.period import add_period_measures
from metrics.facts import (
    Activity,
    Assigned,
    Booked,
    Completed,
    Created,
    Fact,
    Merged,
    Proposal,
    Reply,
    Staged,
)
from metrics.measures import UNKNOWN
from metrics.rules import Rules

_CLOSED_STAGES = frozenset({"customer", "evangelist", "disqualified"})
_CUSTOMER_STAGES = frozenset({"customer", "evangelist"})
_QUALIFIED_STAGES = frozenset({"mql", "sql", "opportunity", "customer", "evangelist"})
_BANDS = ((5 * 60_000, "0-5m"), (15 * 60_000, "5-15m"), (60 * 60_000, "15-60m"))
_LAST_BAND = "60m+"
_COUNTED_ACTIVITIES = frozenset({"call", "email"})
_TOUCH_KINDS = {"call": "call", "email": "email", "video": "video", "meeting": "video"}


@dataclass(slots=True)
class Lead:
    """A lead's history, sorted: the view that its measures are computed from. Instants are ms."""

    created: Created | None = None
    first_at: int = 0
    owners_from: list[int] = field(default_factory=list)
    owners: list[tuple[str, str]] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    meetings: dict[str, Booked] = field(default_factory=dict)
    completed: dict[str, Completed] = field(default_factory=dict)
    proposals: dict[str, Proposal] = field(default_factory=dict)
    stages: list[Staged] = field(default_factory=list)
    deals: list[Deal] = field(default_factory=list)

    @property
    def source(self) -> str:
        return (self.created.source if self.created else "") or UNKNOWN

    @property
    def campaign(self) -> str:
        return (self.created.campaign if self.created else "") or UNKNOWN

    @property
    def location(self) -> str:
        return (self.created.location if self.created else "") or UNKNOWN

    @property
    def standing(self) -> list[Deal]:
        """The deals that are won."""
        return [deal for deal in self.deals if deal.won is not None]

    @property
    def is_customer(self) -> bool:
        """A deal stands won, or the CRM's latest stage says so."""
        return bool(self.standing) or (bool(self.stages) and self.stages[-1].stage in _CUSTOMER_STAGES)

    def owner(self, at: int) -> tuple[str, str]:
        """(rep, team) who owned the lead at an instant; before the first owner is known, the first one."""
        if not self.owners:
            return ("", "")
        return self.owners[max(0, bisect.bisect_right(self.owners_from, at) - 1)]

    def assigned_at(self, at: int) -> int | None:
        """When the owner at ``at`` got the lead."""
        index = bisect.bisect_right(self.owners_from, at) - 1
        return self.owners_from[index] if index >= 0 else None

    def team(self, rep: str, said: str, rules: Rules) -> str:
        """The team of a rep: what the event says, what this lead knows of that rep, or the configured roster."""
        if said:
            return said
        for owner, team in reversed(self.owners):
            if owner == rep and team:
                return team
        return rules.team_of(rep) or UNKNOWN

    def first_touch(self) -> Activity | None:
        """The first human touch at or after the creation."""
        assert self.created is not None
        start = self.created.at
        return next((a for a in self.activities if a.human_touch and a.at >= start), None)

    def first_contact(self, rules: Rules) -> Activity | None:
        """The first outbound activity."""
        for activity in self.activities:
            if activity.outbound and (rules.contact_includes_automated or not activity.automated):
                return activity
        return None

    def first_conversation(self) -> int | None:
        """The first reply by a person, or the first meeting held."""
        times = [r.at for r in self.replies[:1]]
        times += [c.at for c in self.completed.values() if c.outcome == "held"]
        times += [a.at for a in self.activities if a.kind in ("meeting", "video") and not a.automated][:1]
        return min(times, default=None)

    def first_stage(self, *stages: str) -> Staged | None:
        """The first time that the lead entered one of the stages."""
        return next((s for s in self.stages if s.stage in stages), None)

    def demos(self) -> list[tuple[int, str]]:
        """(instant, rep) of each demo held."""
        demos = []
        for done in self.completed.values():
            booked = self.meetings.get(done.meeting)
            kind = done.kind or (booked.kind if booked else "")
            if kind == "demo" and done.outcome == "held":
                demos.append((done.at, done.rep or (booked.rep if booked else "") or self.owner(done.at)[0] or UNKNOWN))
        return sorted(demos)

    def closed_at(self) -> int | None:
        """When the lead stopped waiting for an answer by other means: a deal closed, or a closing stage."""
        times = [deal.closed_at for deal in self.deals if deal.won or deal.lost]
        if self.stages and self.stages[-1].stage in _CLOSED_STAGES:
            times.append(self.stages[-1].at)
        return min(times, default=None)


def merged_into(facts: Sequence[Fact], key: str) -> Merged | None:
    """The merge that says where the lead ``key`` lives on: of several, the one recorded last. None where it stands.

    Leads that were merged in several directions, or in a circle, are one identity all the same: each lead tells the
    latest merge it knows of to all that were named as survivors, so exactly one of them stands.
    """
    merges = [fact for fact in facts if isinstance(fact, Merged)]
    latest = max(merges, key=lambda fact: fact.version, default=None)
    return None if latest is None or latest.survivor == key else latest


def view(facts: Sequence[Fact], key: str) -> Lead | None:
    """The lead ``key`` that ``facts`` (sorted by time) tell of; None where it was merged into another."""
    if merged_into(facts, key) is not None:
        return None
    lead = Lead()
    known = [fact for fact in facts if not isinstance(fact, Merged)]
    for fact in known:
        _HANDLERS.get(type(fact), _ignore)(lead, fact)
    lead.first_at = known[0].at if known else 0
    lead.deals = fold_deals(facts)
    return lead


def contributions(facts: Sequence[Fact], key: str, rules: Rules) -> Contributions:
    """What the lead ``key`` adds to the measures."""
    out = Contributions()
    lead = view(facts, key)
    if lead is None:
        return out
    _add_activity(lead, rules, out)
    if lead.created is not None:
        _add_arrival(lead, lead.created, rules, out)
        _add_response(lead, lead.created, rules, out)
    _add_cohorts(lead, rules, out)
    _add_stages(lead, out)
    _add_deals(lead, rules, out)
    return out


def _on_created(lead: Lead, fact: Created) -> None:
    # A lead may be reported twice (a merge, a second form): it is as old as its first report.
    if lead.created is None:
        lead.created = fact
    if fact.rep and not lead.owners:
        _own(lead, fact.at, fact.rep, fact.team)


def _on_assigned(lead: Lead, fact: Assigned) -> None:
    _own(lead, fact.at, fact.rep, fact.team)


def _own(lead: Lead, at: int, rep: str, team: str) -> None:
    lead.owners_from.append(at)
    lead.owners.append((rep, team))


def _on_activity(lead: Lead, fact: Activity) -> None:
    lead.activities.append(fact)


def _on_reply(lead: Lead, fact: Reply) -> None:
    if not fact.auto:
        lead.replies.append(fact)


def _on_booked(lead: Lead, fact: Booked) -> None:
    lead.meetings.setdefault(fact.meeting, fact)


def _on_completed(lead: Lead, fact: Completed) -> None:
    known = lead.completed.get(fact.meeting)
    if known is None or fact.version > known.version:
        lead.completed[fact.meeting] = fact


def _on_staged(lead: Lead, fact: Staged) -> None:
    lead.stages.append(fact)


def _on_proposal(lead: Lead, fact: Proposal) -> None:
    lead.proposals[str(fact.id)] = fact


def _ignore(lead: Lead, fact: Fact) -> None:
    del lead, fact


_HANDLERS: dict[type[Fact], Callable[[Lead, Any], None]] = {
    Created: _on_created,
    Assigned: _on_assigned,
    Activity: _on_activity,
    Reply: _on_reply,
    Booked: _on_booked,
    Completed: _on_completed,
    Staged: _on_staged,
    Proposal: _on_proposal,
}


def _add_arrival(lead: Lead, created: Created, rules: Rules, out: Contributions) -> None:
    rep = lead.owner(created.at)[0] or UNKNOWN
    source = lead.source
    out.add(m.LEADS_CREATED, created.at, 1, source, lead.campaign, lead.location, rep, source)
    if _is_qualified(lead, created):
        out.add(m.LEADS_QUALIFIED, created.at, 1, rep, source)
        if lead.first_touch() is not None:
            out.add(m.LEADS_FOLLOWED_UP, created.at, 1, rep, source)


def _is_qualified(lead: Lead, created: Created) -> bool:
    if created.qualified is not None:
        return created.qualified
    return any(s.stage in _QUALIFIED_STAGES for s in lead.stages)


def _add_response(lead: Lead, created: Created, rules: Rules, out: Contributions) -> None:
    touch = lead.first_touch()
    if touch is None:
        _add_waiting(lead, created, rules, out)
    else:
        _add_touch(lead, created, touch, rules, out)
    _add_milestones(lead, created, rules, out)


def _owner_labels(lead: Lead, at: int, rules: Rules, doer: str = "") -> tuple[str, str, str]:
    """(rep, team, source): the owner at an instant; ``doer`` stands in where nobody owned the lead."""
    rep, team = lead.owner(at)
    rep = rep or doer
    return rep or UNKNOWN, lead.team(rep, team, rules), lead.source


def _deadline(lead: Lead, created: Created, rules: Rules) -> int:
    return rules.deadline(created.at, _owner_labels(lead, created.at, rules)[1])


def _add_touch(lead: Lead, created: Created, touch: Activity, rules: Rules, out: Contributions) -> None:
    labels = _owner_labels(lead, touch.at, rules, touch.rep)
    calendar = rules.calendar_of(labels[1])
    response = touch.at - created.at
    out.sample(m.RESPONSE, touch.at, response, *labels)
    out.sample(m.RESPONSE_COHORT, created.at, response, *labels)
    out.sample(m.RESPONSE_BUSINESS, touch.at, calendar.between(created.at, touch.at), *labels)
    band = next((name for limit, name in _BANDS if response <= limit), _LAST_BAND)
    out.add(m.RESPONSE_BAND, touch.at, 1, band, *labels)
    assigned = lead.assigned_at(touch.at)
    if assigned is not None:
        start = max(assigned, created.at)
        out.sample(m.RESPONSE_ASSIGNED, touch.at, touch.at - start, *labels)
        out.sample(m.RESPONSE_ASSIGNED_BUSINESS, touch.at, calendar.between(start, touch.at), *labels)
    deadline = _deadline(lead, created, rules)
    if touch.at <= deadline:
        out.add(m.SLA_DUE, deadline, 1, *labels)
        out.add(m.SLA_MET, deadline, 1, *labels)
    else:
        out.add(m.SLA_DUE, deadline, 1, *_owner_labels(lead, deadline, rules, touch.rep))


def _add_waiting(lead: Lead, created: Created, rules: Rules, out: Contributions) -> None:
    deadline, closed = _deadline(lead, created, rules), lead.closed_at()
    if closed is None:
        labels = _owner_labels(lead, lead.owners_from[-1] if lead.owners else created.at, rules)
        out.add(m.WAITING, created.at, 1, *labels)
        out.add(m.WAITING_SINCE, created.at, 1, *labels)
        out.add(m.WAITING_LATE, deadline, 1, *labels)
    if closed is None or closed > deadline:
        out.add(m.SLA_DUE, deadline, 1, *_owner_labels(lead, deadline, rules))


def _add_milestones(lead: Lead, created: Created, rules: Rules, out: Contributions) -> None:
    talk = lead.first_conversation()
    if talk is not None and talk >= created.at:
        out.sample(m.CONTACT, talk, talk - created.at, *_owner_labels(lead, talk, rules))
    qualified = lead.first_stage(*_QUALIFIED_STAGES)
    at = created.at if created.qualified else qualified.at if qualified else None
    if at is not None and at >= created.at:
        out.sample(m.QUALIFICATION, at, at - created.at, *_owner_labels(lead, at, rules))


def _add_cohorts(lead: Lead, rules: Rules, out: Contributions) -> None:
    customer = lead.is_customer
    contact = lead.first_contact(rules)
    if contact is not None:
        labels = (lead.owner(contact.at)[0] or contact.rep or UNKNOWN, contact.kind, lead.source)
        out.add(m.LEADS_CONTACTED, contact.at, 1, *labels)
        if customer:
            out.add(m.CONTACTED_CUSTOMERS, contact.at, 1, *labels)
        sentiments = {reply.sentiment for reply in lead.replies if reply.at >= contact.at}
        if "positive" in sentiments:
            out.add(m.CONTACTED_POSITIVE, contact.at, 1, *labels)
        if "negative" in sentiments:
            out.add(m.CONTACTED_NEGATIVE, contact.at, 1, *labels)
    sql = lead.first_stage("sql")
    if sql is not None:
        rep = lead.owner(sql.at)[0] or UNKNOWN
        out.add(m.LEADS_SQL, sql.at, 1, rep, lead.source)
        if customer:
            out.add(m.SQL_CUSTOMERS, sql.at, 1, rep, lead.source)
    mql = lead.first_stage("mql")
    if mql is not None:
        out.add(m.LEADS_MQL, mql.at, 1, lead.source, lead.campaign)
        if customer:
            out.add(m.MQL_CUSTOMERS, mql.at, 1, lead.source, lead.campaign)
    demos = lead.demos()
    if demos:
        at, rep = demos[-1]
        out.add(m.DEMO_LEADS, at, 1, rep)
        if customer:
            out.add(m.DEMO_CUSTOMERS, at, 1, rep)


def _add_stages(lead: Lead, out: Contributions) -> None:
    if lead.created is None and not lead.stages:
        return
    stage, since = "lead", lead.created.at if lead.created else 0
    if lead.created is None:
        stage, since = lead.stages[0].stage, lead.stages[0].at
    out.add(m.STAGE, since, 1, stage)
    for change in lead.stages:
        at = max(change.at, since)
        out.add(m.STAGE, at, -1, stage)
        out.add(m.STAGE, at, 1, change.stage)
        stage = change.stage


def _add_activity(lead: Lead, rules: Rules, out: Contributions) -> None:
    purchase = min((deal.closed_at for deal in lead.standing), default=None)
    for activity in lead.activities:
        rep = activity.rep or lead.owner(activity.at)[0]
        if activity.human_touch and activity.kind in _COUNTED_ACTIVITIES:
            team = lead.team(rep, activity.team, rules)
            out.add(m.ACTIVITIES, activity.at, 1, activity.kind, rep or UNKNOWN, team)
        if purchase is not None and activity.at > purchase and not activity.automated:
            out.add(m.INTERACTIONS, activity.at, 1, rep or UNKNOWN)
    for reply in lead.replies:
        rep = reply.rep or lead.owner(reply.at)[0] or UNKNOWN
        out.add(m.REPLIES, reply.at, 1, rep, reply.channel or UNKNOWN)
    for meeting in lead.meetings.values():
        rep = meeting.rep or lead.owner(meeting.at)[0]
        out.add(m.MEETINGS_BOOKED, meeting.at, 1, rep or UNKNOWN)
        out.add(m.ACTIVITIES, meeting.at, 1, "meeting", rep or UNKNOWN, lead.team(rep, meeting.team, rules))
    for at, demo_rep in lead.demos():
        out.add(m.DEMOS_HELD, at, 1, demo_rep)
    for proposal in lead.proposals.values():
        out.add(m.PROPOSALS, proposal.at, 1, proposal.rep or lead.owner(proposal.at)[0] or UNKNOWN)


def _add_deals(lead: Lead, rules: Rules, out: Contributions) -> None:
    demos = lead.demos()
    for deal in lead.deals:
        _add_opportunity(lead, deal, rules, out)
        close = deal.won or deal.lost
        if close is None:
            continue
        rep = close.rep or lead.owner(deal.closed_at)[0] or UNKNOWN
        team = lead.team(rep, close.team, rules)
        add_period_measures(deal, (rep, team, lead.source, lead.location), rules, out)
        _add_touches(lead, deal, rep, out)
        if deal.won is not None:
            if demos and demos[0][0] <= deal.closed_at:
                out.add(m.DEALS_WON_AFTER_DEMO, deal.closed_at, 1, rep)
            _add_cycle(lead, deal, rep, out)
    purchase = min((deal.closed_at for deal in lead.standing), default=None)
    if purchase is not None:
        out.add(m.LEADS_CONVERTED, purchase, 1, lead.source, lead.campaign)
        if purchase >= lead.first_at:
            out.sample(m.CUSTOMER_LIFECYCLE, purchase, purchase - lead.first_at, lead.source)


def _add_opportunity(lead: Lead, deal: Deal, rules: Rules, out: Contributions) -> None:
    opened = deal.opened
    if opened is None:
        return
    rep = opened.rep or lead.owner(deal.opened_at)[0] or UNKNOWN
    labels = (rep, lead.team(rep, opened.team, rules), lead.source)
    out.add(m.OPPORTUNITIES, deal.opened_at, 1, *labels)
    amount = rules.minor(opened.amount, opened.currency, opened.at)
    out.add(m.OPPORTUNITY_AMOUNT, deal.opened_at, amount, *labels)
    if deal.won is not None:
        out.add(m.OPPORTUNITIES_WON, deal.opened_at, 1, *labels)


def _add_touches(lead: Lead, deal: Deal, rep: str, out: Contributions) -> None:
    outcome = "won" if deal.won else "lost"
    out.add(m.DEALS_CLOSED, deal.closed_at, 1, outcome, rep)
    for activity in lead.activities:
        kind = _TOUCH_KINDS.get(activity.kind)
        if kind and activity.human_touch and activity.at <= deal.closed_at:
            out.add(m.TOUCHES, deal.closed_at, 1, outcome, kind, rep)


def _add_cycle(lead: Lead, deal: Deal, rep: str, out: Contributions) -> None:
    created = lead.created
    # A CRM may hold deals closed before their lead was created; they have no cycle, and no negative one.
    if created is None or deal.closed_at < created.at:
        return
    products = tuple(sorted({product for product, _ in deal.revenue_lines})) or (UNKNOWN,)
    out.sample(m.SALES_CYCLE, deal.closed_at, deal.closed_at - created.at, rep, products)
