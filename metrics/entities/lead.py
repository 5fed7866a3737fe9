"""The lead: arrival, assignment, touches, replies, meetings, stages and its deals.

Facts are folded, in order of time, into a :class:`Lead`; its book then has one chapter per question asked of it. Facts
that come last in time continue the fold; any other order folds anew.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from salesgauge.metrics.entities.book import Book
from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.deals import Deal, fold_deals
from salesgauge.metrics.entities.distinct import add_once
from salesgauge.metrics.entities.facts import (
    Activity,
    Assigned,
    Booked,
    Completed,
    Created,
    Fact,
    Lost,
    Merged,
    Opportunity,
    Proposal,
    Reopened,
    Reply,
    Staged,
    Won,
)
from salesgauge.metrics.entities.period import add_period_measures
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.registry import UNKNOWN
from salesgauge.metrics.rules.model import Rules

_SECOND = 1000
_CLOSED_STAGES = frozenset({"customer", "evangelist", "disqualified"})
_CUSTOMER_STAGES = frozenset({"customer", "evangelist"})
_QUALIFIED_STAGES = frozenset({"mql", "sql", "opportunity", "customer", "evangelist"})
_STAGE_RANKS = {
    stage: rank
    for rank, stage in enumerate(
        ("subscriber", "lead", "mql", "sql", "opportunity", "disqualified", "customer", "evangelist")
    )
}
_BANDS = ((5 * 60_000, "0-5m"), (15 * 60_000, "5-15m"), (60 * 60_000, "15-60m"))
_LAST_BAND = "60m+"
_COUNTED_ACTIVITIES = frozenset({"call", "email"})
_TOUCH_KINDS = frozenset({"call", "email", "video"})


@dataclass(frozen=True, slots=True)
class Owners:
    """Who owned a lead: ``who`` are (rep, team), each from its instant in ``since`` (ms) on.

    The first may be a team without a rep.
    """

    since: tuple[int, ...] = ()
    who: tuple[tuple[str, str], ...] = ()

    def then(self, at: int, rep: str, team: str) -> Owners:
        """With one more owner."""
        return Owners((*self.since, at), (*self.who, (rep, team)))

    def at(self, at: int) -> tuple[str, str]:
        """(rep, team) who owned the lead at an instant; before the first owner is known, the first one."""
        who = self.who
        if len(who) == 1:
            return who[0]
        return who[max(0, bisect.bisect_right(self.since, at) - 1)] if who else ("", "")

    def rep(self, at: int) -> str:
        """The rep of :meth:`at`."""
        return self.at(at)[0]

    def assigned_at(self, at: int) -> int | None:
        """When the rep who owned the lead at ``at`` got it; None where no rep did."""
        index = bisect.bisect_right(self.since, at) - 1
        return self.since[index] if index >= 0 and self.who[index][0] else None

    def team(self, rep: str, said: str, rules: Rules) -> str:
        """The team of a rep: what the event says, what this lead knows of that rep, or the configured roster.

        Without a rep it is the team that has the lead without one.
        """
        if said:
            return said
        if rep == UNKNOWN:
            rep = ""
        for owner, team in reversed(self.who):
            if owner == rep and team:
                return team
        return rules.team_of(rep) or UNKNOWN

    def labels(
        self, at: int, created: Created, rules: Rules, doer: str = "", doers_team: str = ""
    ) -> tuple[str, str, str]:
        """(rep, team, source): the owner at an instant; ``doer`` stands in where nobody owned the lead."""
        rep, team = self.at(at)
        if not rep:
            rep, team = doer, team or doers_team
        return rep or UNKNOWN, team or self.team(rep, team, rules), created.source or UNKNOWN


@dataclass(slots=True)
class Lead:
    """A lead's history: the view that its chapters are written from. Instants are ms, sequences are sorted by time."""

    created: Created | None = None
    first_at: int = -1
    owners: Owners = field(default_factory=Owners)
    touch: Activity | None = None
    """The first human touch at or after the creation."""
    outbound: Activity | None = None
    """The first outbound activity."""
    human_outbound: Activity | None = None
    """The first that no automation sent."""
    conversation: Activity | None = None
    """The first meeting or video call logged as an activity."""
    activities: list[Activity] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    booked: list[Booked] = field(default_factory=list)
    meetings: dict[str, Booked] = field(default_factory=dict)
    completed: dict[str, Completed] = field(default_factory=dict)
    proposals: list[Proposal] = field(default_factory=list)
    stages: tuple[Staged, ...] = ()
    deal_facts: list[Fact] = field(default_factory=list)
    deals: tuple[Deal, ...] = ()

    def contact(self, rules: Rules) -> Activity | None:
        """The first outbound activity that makes the lead a contacted one."""
        return self.outbound if rules.contact_includes_automated else self.human_outbound

    def first_conversation(self) -> int | None:
        """The first reply by a person, or the first meeting held."""
        times = [reply.at for reply in self.replies[:1]]
        times += [done.at for done in self.completed.values() if done.outcome == "held"]
        if self.conversation is not None:
            times.append(self.conversation.at)
        return min(times, default=None)

    def first_stage(self, stages: frozenset[str]) -> Staged | None:
        """The first time that the lead entered one of the stages."""
        for staged in self.stages:
            if staged.stage in stages:
                return staged
        return None

    def demos(self) -> tuple[tuple[int, str], ...]:
        """(instant, rep) of each demo held."""
        demos = []
        for done in self.completed.values():
            booked = self.meetings.get(done.meeting)
            kind = done.kind or (booked.kind if booked else "")
            if kind == "demo" and done.outcome == "held":
                rep = done.rep or (booked.rep if booked else "") or self.owners.rep(done.at) or UNKNOWN
                demos.append((done.at, rep))
        return tuple(sorted(demos))

    def closed_at(self) -> int | None:
        """When the lead stopped waiting for an answer by other means: a deal closed, or a closing stage."""
        times = [deal.closed_at for deal in self.deals if deal.won or deal.lost]
        if self.stages and self.stages[-1].stage in _CLOSED_STAGES:
            times.append(self.stages[-1].at)
        return min(times, default=None)

    def purchase(self) -> int | None:
        """When the first of the standing wins was won."""
        return min((deal.closed_at for deal in self.deals if deal.won is not None), default=None)


def merged_into(facts: Sequence[Fact], key: str) -> Merged | None:
    """The merge that says where the lead ``key`` lives on: of several, the one recorded last. None where it stands.

    Leads that were merged in several directions, or in a circle, are one identity all the same: each lead tells the
    latest merge it knows of to all that were named as survivors, so exactly one of them stands.
    """
    latest: Merged | None = None
    for fact in facts:
        if isinstance(fact, Merged) and (latest is None or fact.version > latest.version):
            latest = fact
    return None if latest is None or latest.survivor == key else latest


_SQL, _MQL = frozenset({"sql"}), frozenset({"mql"})


def write(book: Book, facts: Sequence[Fact], fresh: Sequence[Fact] | None, key: str) -> None:
    """Bring the book of the lead ``key`` up to date with ``facts``, sorted by time.

    What comes after all that the book knows is folded into its view; else the view is made anew.

    Args:
        book: the book; empty at first.
        facts: all that is known.
        fresh: those that the book does not know, sorted, wherever they stand; None where some were corrected.
        key: the lead's id.
    """
    lead: Lead | None = book.view
    anew = False
    if lead is not None and fresh is not None and _goes_on(facts, fresh):
        _fold(lead, fresh)
    else:
        anew = lead is not None
        if merged_into(facts, key) is not None:
            book.view = None
            book.strike()
            return
        book.view = lead = Lead()
        _fold(lead, facts)
    _write_chapters(book, lead, anew=anew)


def _goes_on(facts: Sequence[Fact], fresh: Sequence[Fact]) -> bool:
    """Whether the fresh facts come after all others, and none of them is a merge, which moves the others."""
    return facts[-len(fresh)] is fresh[0] and not any(isinstance(fact, Merged) for fact in fresh)


def _fold(lead: Lead, facts: Sequence[Fact]) -> None:
    deal_facts = len(lead.deal_facts)
    for fact in facts:
        take = _HANDLERS.get(type(fact))
        if take is not None:
            take(lead, fact)
        if lead.first_at < 0 and not isinstance(fact, Merged):
            lead.first_at = fact.at
    if len(lead.deal_facts) > deal_facts:
        lead.deals = tuple(fold_deals(lead.deal_facts))


def _write_chapters(book: Book, lead: Lead, *, anew: bool) -> None:
    """Bring all chapters up to date.

    What a lead has nothing of is passed over, unless it is written ``anew``: then a chapter whose subject is gone (a
    fact was corrected) takes itself back.
    """
    created, owners, stages = lead.created, lead.owners, lead.stages
    purchase = lead.purchase() if lead.deals else None
    customer = purchase is not None or (bool(stages) and stages[-1].stage in _CUSTOMER_STAGES)
    book.log(_activities, lead.activities, owners, purchase)
    if created is not None or anew:
        _write_arrival(book, lead)
    contact = lead.contact(book.rules)
    if contact is not None or anew:
        replies = lead.replies
        moods = {reply.sentiment for reply in replies if reply.at >= contact.at} if contact and replies else ()
        book.chapter(_contacted, contact, owners, created, customer, "positive" in moods, "negative" in moods)
    if stages or anew:
        book.chapter(_sql, lead.first_stage(_SQL), owners, created, customer)
        book.chapter(_mql, lead.first_stage(_MQL), created, customer)
    book.chapter(_stages, stages or (created and ()), created)
    if lead.replies or lead.booked or lead.completed or anew:
        _write_meetings(book, lead, customer=customer)
    if lead.deals or lead.proposals or anew:
        _write_deals(book, lead, purchase)


def _write_meetings(book: Book, lead: Lead, *, customer: bool) -> None:
    book.log(_replies, lead.replies, lead.owners)
    book.log(_meetings, lead.booked, lead.owners)
    book.chapter(_demos, lead.demos() or None, customer)


def _write_deals(book: Book, lead: Lead, purchase: int | None) -> None:
    created, owners, deals, demos = lead.created, lead.owners, lead.deals or None, lead.demos()
    book.log(_proposals, lead.proposals, owners)
    book.chapter(_deals, deals, created, owners, demos[0][0] if demos else None)
    book.chapter(_touches, deals, owners, tuple(lead.activities) if deals else ())
    book.chapter(_conversion, purchase, created, lead.first_at)


def _write_arrival(book: Book, lead: Lead) -> None:
    created, owners, touch = lead.created, lead.owners, lead.touch
    if created is None:
        for chapter in (_arrival, _response, _waiting, _conversation, _qualification):
            book.chapter(chapter, None)
        return
    staged = lead.first_stage(_QUALIFIED_STAGES) if lead.stages else None
    qualified = staged is not None if created.qualified is None else created.qualified
    book.chapter(_arrival, created, owners.rep(created.at), qualified, touch is not None)
    book.chapter(_response, touch, created, owners)
    book.chapter(_waiting, created if touch is None else None, owners, lead.closed_at() if touch is None else None)
    book.chapter(_conversation, lead.first_conversation(), created, owners)
    book.chapter(_qualification, created.at if created.qualified else staged and staged.at, created, owners)


# --- The fold --------------------------------------------------------------------------------------------------------


def _on_created(lead: Lead, fact: Created) -> None:
    known = lead.created
    if known is not None and known.at == fact.at and known.lead == fact.lead:
        _correct_creation(lead, known, fact)
        return
    if not lead.owners.who:
        lead.owners = _first_owners(fact)
    # A lead may be reported twice (a merge, a second form): it is as old as its first report.
    if known is None:
        lead.created = fact
        lead.touch = next((a for a in lead.activities if a.human_touch and a.at >= fact.at), None)


def _correct_creation(lead: Lead, known: Created, fact: Created) -> None:
    """Of two versions of one report the one recorded last holds."""
    if fact.version < known.version:
        return
    lead.created = fact
    if lead.owners == _first_owners(known):
        lead.owners = _first_owners(fact)


def _first_owners(fact: Created) -> Owners:
    """A rep, or a team alone, out of which a rep will take the lead."""
    return Owners().then(fact.at, fact.rep, fact.team) if fact.rep or fact.team else Owners()


def _on_assigned(lead: Lead, fact: Assigned) -> None:
    lead.owners = lead.owners.then(fact.at, fact.rep, fact.team)


def _on_activity(lead: Lead, fact: Activity) -> None:
    lead.activities.append(fact)
    if fact.outbound:
        if lead.outbound is None:
            lead.outbound = fact
        if not fact.automated:
            if lead.human_outbound is None:
                lead.human_outbound = fact
            if lead.touch is None and lead.created is not None:
                lead.touch = fact
    if lead.conversation is None and not fact.automated and fact.kind in ("meeting", "video"):
        lead.conversation = fact


def _on_reply(lead: Lead, fact: Reply) -> None:
    if not fact.auto:
        lead.replies.append(fact)


def _on_booked(lead: Lead, fact: Booked) -> None:
    if fact.meeting not in lead.meetings:
        lead.meetings[fact.meeting] = fact
        lead.booked.append(fact)


def _on_completed(lead: Lead, fact: Completed) -> None:
    known = lead.completed.get(fact.meeting)
    if known is None or fact.version > known.version:
        lead.completed[fact.meeting] = fact


def _on_staged(lead: Lead, fact: Staged) -> None:
    latest = lead.stages[-1:]
    lead.stages = (*lead.stages, fact)
    if latest and latest[0].at == fact.at:
        lead.stages = tuple(sorted(lead.stages, key=_stage_order))


def _stage_order(staged: Staged) -> tuple[int, int, int, int]:
    """By time; at one instant, as exports that know only days have it, the stage that is furthest comes last."""
    return staged.at, staged.rec or staged.at, _STAGE_RANKS[staged.stage], staged.id


def _on_proposal(lead: Lead, fact: Proposal) -> None:
    lead.proposals.append(fact)


def _on_deal(lead: Lead, fact: Fact) -> None:
    lead.deal_facts.append(fact)


_HANDLERS: dict[type[Fact], Callable[[Lead, Any], None]] = {
    Created: _on_created,
    Assigned: _on_assigned,
    Activity: _on_activity,
    Reply: _on_reply,
    Booked: _on_booked,
    Completed: _on_completed,
    Staged: _on_staged,
    Proposal: _on_proposal,
    Opportunity: _on_deal,
    Won: _on_deal,
    Lost: _on_deal,
    Reopened: _on_deal,
}


# --- The chapters: pure functions of their subjects ------------------------------------------------------------------


def _source(created: Created | None) -> str:
    return (created.source if created else "") or UNKNOWN


def _campaign(created: Created | None) -> str:
    return (created.campaign if created else "") or UNKNOWN


def _location(created: Created | None) -> str:
    return (created.location if created else "") or UNKNOWN


def _arrival(out: Contributions, rules: Rules, created: Created, owner: str, qualified: bool, touched: bool) -> None:  # noqa: FBT001
    del rules
    at, rep, source = created.at, owner or UNKNOWN, created.source or UNKNOWN
    out.add(m.LEADS_CREATED, at, 1, source, _campaign(created), _location(created), rep, source)
    if qualified:
        out.add(m.LEADS_QUALIFIED, at, 1, rep, source)
        out.add(m.QUALIFIED_AT, at, at // _SECOND, rep, source)
        if touched:
            out.add(m.LEADS_FOLLOWED_UP, at, 1, rep, source)


def _deadline(created: Created, owners: Owners, rules: Rules) -> int:
    return rules.deadline(created.at, owners.labels(created.at, created, rules)[1])


def _response(out: Contributions, rules: Rules, touch: Activity, created: Created, owners: Owners) -> None:
    labels = owners.labels(touch.at, created, rules, touch.rep, touch.team)
    calendar = rules.calendar_of(labels[1])
    response = touch.at - created.at
    business = calendar.between(created.at, touch.at)
    out.sample(m.RESPONSE, touch.at, response, *labels)
    out.sample(m.RESPONSE_COHORT, created.at, response, *labels)
    out.sample(m.RESPONSE_BUSINESS, touch.at, business, *labels)
    band = next((name for limit, name in _BANDS if response <= limit), _LAST_BAND)
    out.add(m.RESPONSE_BAND, touch.at, 1, band, *labels)
    assigned = owners.assigned_at(touch.at)
    if assigned is not None:
        start = max(assigned, created.at)
        since = business if start == created.at else calendar.between(start, touch.at)
        out.sample(m.RESPONSE_ASSIGNED, touch.at, touch.at - start, *labels)
        out.sample(m.RESPONSE_ASSIGNED_BUSINESS, touch.at, since, *labels)
    deadline = _deadline(created, owners, rules)
    if touch.at <= deadline:
        out.add(m.SLA_DUE, deadline, 1, *labels)
        out.add(m.SLA_MET, deadline, 1, *labels)
    else:
        out.add(m.SLA_DUE, deadline, 1, *owners.labels(deadline, created, rules, touch.rep, touch.team))


def _waiting(out: Contributions, rules: Rules, created: Created, owners: Owners, closed: int | None) -> None:
    deadline = _deadline(created, owners, rules)
    if closed is None:
        labels = owners.labels(owners.since[-1] if owners.who else created.at, created, rules)
        out.add(m.WAITING, created.at, 1, *labels)
        out.add(m.WAITING_SINCE, created.at, 1, *labels)
        out.add(m.WAITING_LATE, deadline, 1, *labels)
    else:
        out.sample(m.CLOSED_UNANSWERED, created.at, closed - created.at, *owners.labels(closed, created, rules))
    if closed is None or closed > deadline:
        out.add(m.SLA_DUE, deadline, 1, *owners.labels(deadline, created, rules))


def _conversation(out: Contributions, rules: Rules, talk: int, created: Created, owners: Owners) -> None:
    if talk >= created.at:
        out.sample(m.CONTACT, talk, talk - created.at, *owners.labels(talk, created, rules))


def _qualification(out: Contributions, rules: Rules, at: int, created: Created, owners: Owners) -> None:
    if at >= created.at:
        out.sample(m.QUALIFICATION, at, at - created.at, *owners.labels(at, created, rules))


def _contacted(
    out: Contributions,
    rules: Rules,
    contact: Activity,
    owners: Owners,
    created: Created | None,
    customer: bool,  # noqa: FBT001
    positive: bool,  # noqa: FBT001
    negative: bool,  # noqa: FBT001
) -> None:
    del rules
    labels = (owners.rep(contact.at) or contact.rep or UNKNOWN, contact.kind, _source(created))
    out.add(m.LEADS_CONTACTED, contact.at, 1, *labels)
    out.add(m.CONTACTED_AT, contact.at, contact.at // _SECOND, *labels)
    if customer:
        out.add(m.CONTACTED_CUSTOMERS, contact.at, 1, *labels)
    if positive:
        out.add(m.CONTACTED_POSITIVE, contact.at, 1, *labels)
    if negative:
        out.add(m.CONTACTED_NEGATIVE, contact.at, 1, *labels)


def _sql(
    out: Contributions,
    rules: Rules,
    sql: Staged,
    owners: Owners,
    created: Created | None,
    customer: bool,  # noqa: FBT001
) -> None:
    del rules
    labels = (owners.rep(sql.at) or UNKNOWN, _source(created))
    out.add(m.LEADS_SQL, sql.at, 1, *labels)
    out.add(m.SQL_AT, sql.at, sql.at // _SECOND, *labels)
    if customer:
        out.add(m.SQL_CUSTOMERS, sql.at, 1, *labels)


def _mql(out: Contributions, rules: Rules, mql: Staged, created: Created | None, customer: bool) -> None:  # noqa: FBT001
    del rules
    labels = (_source(created), _campaign(created))
    out.add(m.LEADS_MQL, mql.at, 1, *labels)
    out.add(m.MQL_AT, mql.at, mql.at // _SECOND, *labels)
    if customer:
        out.add(m.MQL_CUSTOMERS, mql.at, 1, *labels)


def _demos(out: Contributions, rules: Rules, demos: tuple[tuple[int, str], ...], customer: bool) -> None:  # noqa: FBT001
    del rules
    for at, rep in demos:
        out.add(m.DEMOS_HELD, at, 1, rep)
    occasions = [(at, (rep,)) for at, rep in demos]
    add_once(out, m.DEMO_LEADS, occasions)
    add_once(out, m.DEMO_AT, occasions, lambda at: at // _SECOND)
    if customer:
        add_once(out, m.DEMO_CUSTOMERS, occasions)


def _stages(out: Contributions, rules: Rules, stages: tuple[Staged, ...], created: Created | None) -> None:
    del rules
    if created is not None:
        stage, since = "lead", created.at
    else:
        stage, since = stages[0].stage, stages[0].at
    out.add(m.STAGE, since, 1, stage)
    for change in stages:
        at = max(change.at, since)
        out.add(m.STAGE, at, -1, stage)
        out.add(m.STAGE, at, 1, change.stage)
        stage = change.stage


def _activities(
    out: Contributions, rules: Rules, activities: Sequence[Activity], owners: Owners, purchase: int | None
) -> None:
    for activity in activities:
        rep = activity.rep or owners.rep(activity.at)
        if activity.kind in _COUNTED_ACTIVITIES and activity.outbound and not activity.automated:
            team = activity.team or owners.team(rep, "", rules)
            out.add(m.ACTIVITIES, activity.at, 1, activity.kind, rep or UNKNOWN, team)
        if purchase is not None and activity.at > purchase and not activity.automated:
            out.add(m.INTERACTIONS, activity.at, 1, rep or UNKNOWN)


def _replies(out: Contributions, rules: Rules, replies: Sequence[Reply], owners: Owners) -> None:
    del rules
    for reply in replies:
        out.add(m.REPLIES, reply.at, 1, reply.rep or owners.rep(reply.at) or UNKNOWN, reply.channel or UNKNOWN)


def _meetings(out: Contributions, rules: Rules, meetings: Sequence[Booked], owners: Owners) -> None:
    for meeting in meetings:
        rep = meeting.rep or owners.rep(meeting.at)
        out.add(m.MEETINGS_BOOKED, meeting.at, 1, rep or UNKNOWN)
        out.add(m.ACTIVITIES, meeting.at, 1, "meeting", rep or UNKNOWN, owners.team(rep, meeting.team, rules))


def _proposals(out: Contributions, rules: Rules, proposals: Sequence[Proposal], owners: Owners) -> None:
    del rules
    for proposal in proposals:
        out.add(m.PROPOSALS, proposal.at, 1, proposal.rep or owners.rep(proposal.at) or UNKNOWN)


def _deals(
    out: Contributions,
    rules: Rules,
    deals: tuple[Deal, ...],
    created: Created | None,
    owners: Owners,
    first_demo: int | None,
) -> None:
    for deal in deals:
        _add_opportunity(deal, created, owners, rules, out)
        close = deal.won or deal.lost
        if close is None:
            continue
        rep = _closer(deal, owners)
        team = owners.team(rep, close.team, rules)
        add_period_measures(deal, (rep, team, _source(created), _location(created)), rules, out)
        if deal.won is not None:
            if first_demo is not None and first_demo <= deal.closed_at:
                out.add(m.DEALS_WON_AFTER_DEMO, deal.closed_at, 1, rep)
            _add_cycle(deal, created, rep, out)


def _closer(deal: Deal, owners: Owners) -> str:
    close = deal.won or deal.lost
    return (close.rep if close else "") or owners.rep(deal.closed_at) or UNKNOWN


def _add_opportunity(deal: Deal, created: Created | None, owners: Owners, rules: Rules, out: Contributions) -> None:
    opened = deal.opened
    if opened is None:
        return
    rep = opened.rep or owners.rep(deal.opened_at) or UNKNOWN
    labels = (rep, owners.team(rep, opened.team, rules), _source(created))
    out.add(m.OPPORTUNITIES, deal.opened_at, 1, *labels)
    amount = rules.minor(opened.amount, opened.currency, opened.at)
    out.add(m.OPPORTUNITY_AMOUNT, deal.opened_at, amount, *labels)
    if deal.won is not None:
        out.add(m.OPPORTUNITIES_WON, deal.opened_at, 1, *labels)


def _add_cycle(deal: Deal, created: Created | None, rep: str, out: Contributions) -> None:
    # A CRM may hold deals closed before their lead was created; they have no cycle, and no negative one.
    if created is None or deal.closed_at < created.at:
        return
    products = tuple(sorted({product for product, _ in deal.revenue_lines})) or (UNKNOWN,)
    out.sample(m.SALES_CYCLE, deal.closed_at, deal.closed_at - created.at, rep, products)


def _touches(
    out: Contributions, rules: Rules, deals: tuple[Deal, ...], owners: Owners, activities: tuple[Activity, ...]
) -> None:
    del rules
    for deal in deals:
        if deal.won is None and deal.lost is None:
            continue
        outcome, rep = "won" if deal.won else "lost", _closer(deal, owners)
        out.add(m.DEALS_CLOSED, deal.closed_at, 1, outcome, rep)
        for activity in activities:
            if activity.kind in _TOUCH_KINDS and activity.human_touch and activity.at <= deal.closed_at:
                out.add(m.TOUCHES, deal.closed_at, 1, outcome, activity.kind, rep)


def _conversion(out: Contributions, rules: Rules, purchase: int, created: Created | None, first_at: int) -> None:
    del rules
    out.add(m.LEADS_CONVERTED, purchase, 1, _source(created), _campaign(created))
    if purchase >= first_at:
        out.sample(m.CUSTOMER_LIFECYCLE, purchase, purchase - first_at, _source(created))
