"""The lead: its arrival, cohorts, stages, activity and conversion. Its response time is in :mod:`.response`.

Several keys may be one lead (:mod:`.identities`): the survivor counts for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.deals import Deal, deals_of
from salesgauge.metrics.entities.distinct import add_once
from salesgauge.metrics.entities.facts import (
    DEAL,
    Classified,
    Created,
    Fact,
    LeadDeleted,
    LeadRestored,
    Proposal,
    Reply,
    Staged,
)
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.profile import Profile, fold_profile
from salesgauge.metrics.entities.requests import CUSTOMER_STAGES, meetings_held
from salesgauge.metrics.entities.response import add_responses, credited, followed_up
from salesgauge.metrics.entities.state import Box, State, chronological
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.labels import Channel, CohortLabels
from salesgauge.metrics.rules.model import Rules

_SECOND = 1000
_QUALIFIED_STAGES = frozenset({"mql", "sql", "opportunity", "customer", "evangelist"})
_STAGE_RANKS = {
    stage: rank
    for rank, stage in enumerate(
        ("subscriber", "lead", "mql", "sql", "opportunity", "disqualified", "customer", "evangelist")
    )
}
_COUNTED_ACTIVITIES = frozenset({"call", "email"})


@dataclass(frozen=True, slots=True)
class Lead:
    """A lead as its facts tell it. Instants are ms, sequences are sorted by time."""

    profile: Profile
    facts: tuple[Fact, ...]
    """All of its own, without those of deals."""
    replies: tuple[Reply, ...]
    """Those by people, each once, as they were judged."""
    stages: tuple[Staged, ...]
    deals: tuple[Deal, ...]
    first_at: int
    """The first thing that is known of it."""
    creations: tuple[Created, ...]
    """Reports of its creation that are requests: the first, and those that repeat a key. That of a key that was merged
    into it is none of its own: merging ended that wait."""

    @property
    def created(self) -> Created | None:
        """Its first report."""
        return self.profile.created

    @property
    def purchase(self) -> int | None:
        """When the first of the standing wins was won."""
        return min((deal.closed_at for deal in self.deals if deal.won is not None), default=None)

    @property
    def customer(self) -> bool:
        """Whether a deal of it stands won, or the CRM's latest stage says so."""
        return self.purchase is not None or (bool(self.stages) and self.stages[-1].stage in CUSTOMER_STAGES)

    def first_stage(self, stages: frozenset[str]) -> Staged | None:
        """The first time that the lead entered one of the stages."""
        return next((staged for staged in self.stages if staged.stage in stages), None)


def read_lead(state: State, who: Survivors, rules: Rules) -> Lead | None:
    """The lead that lives at the address of the state; None where it is deleted."""
    keys = (about for about in state.boxes if not about.startswith(f"{DEAL}/") and who(about) == state.address)
    boxes = [state.boxes[about] for about in keys]
    facts = sorted((fact for box in boxes for fact in box.facts.values()), key=chronological)
    if _is_deleted(state):
        return None
    deals = tuple(deal for deal in deals_of(state, who, rules) if state.address in deal.leads)
    times = [facts[0].at] if facts else []
    times += [deal.history.first_at for deal in deals]
    profile = fold_profile(facts)
    return Lead(
        profile=profile,
        facts=tuple(facts),
        replies=_replies(facts),
        stages=tuple(sorted((fact for fact in facts if isinstance(fact, Staged)), key=_stage_order)),
        deals=deals,
        first_at=min(times, default=0),
        creations=() if profile.created is None else (profile.created, *_repeated_creations(boxes)),
    )


def _repeated_creations(boxes: Iterable[Box]) -> Iterator[Created]:
    for box in boxes:
        reports = [fact for fact in box.sorted() if isinstance(fact, Created)]
        yield from (report for report in reports if report.at > reports[0].at)


def _is_deleted(state: State) -> bool:
    """Whether the surviving key itself was deleted last: the deletion of a merged key is part of merging."""
    box = state.own
    fates = [fact for fact in box.facts.values() if isinstance(fact, LeadDeleted | LeadRestored)]
    latest = max(
        fates, key=lambda fact: (fact.recorded, fact.at, isinstance(fact, LeadRestored), fact.id), default=None
    )
    return isinstance(latest, LeadDeleted)


def _stage_order(staged: Staged) -> tuple[int, int, int, int]:
    """By time; at one instant, as exports that know only days have it, the stage that is furthest comes last."""
    return staged.at, staged.recorded, _STAGE_RANKS[staged.stage], staged.id


def _replies(facts: Sequence[Fact]) -> tuple[Reply, ...]:
    """Two notices of one message are one reply, at its first; what judges it holds, the latest first."""
    replies: dict[str | int, Reply] = {}
    judged: dict[str | int, Classified] = {}
    for fact in facts:
        if isinstance(fact, Reply):
            replies.setdefault(fact.reply or fact.id, fact)
        elif isinstance(fact, Classified):
            name = fact.reply if fact.reply in replies else _latest_unjudged(replies, judged, fact)
            if name:
                judged[name] = fact
    shown = [_as_judged(reply, judged.get(name)) for name, reply in replies.items()]
    return tuple(reply for reply in shown if not reply.auto)


def _latest_unjudged(
    replies: dict[str | int, Reply], judged: dict[str | int, Classified], fact: Classified
) -> str | int | None:
    names = [
        name
        for name, reply in replies.items()
        if name not in judged and (not fact.channel or reply.channel == fact.channel)
    ]
    return None if fact.reply or not names else names[-1]


def _as_judged(reply: Reply, said: Classified | None) -> Reply:
    if said is None:
        return reply
    auto = reply.auto if said.auto is None else said.auto
    return Reply(
        reply.id, reply.at, reply.rec, channel=reply.channel, sentiment=said.sentiment or reply.sentiment, auto=auto,
        rep=reply.rep, team=reply.team, reply=reply.reply,
    )  # fmt: skip


# --- What a lead adds to the measures --------------------------------------------------------------------------------


def contribute(state: State, who: Survivors, rules: Rules, out: Contributions) -> None:
    """Add what the lead of this state adds; nothing where its key lives on in another one."""
    if who(state.address) != state.address:
        return
    lead = read_lead(state, who, rules)
    if lead is None:
        return
    _add_activities(lead, rules, out)
    add_responses(lead, rules, out)
    if lead.created is not None:
        _add_arrival(lead, lead.created, out)
        _add_conversation(lead, lead.created, rules, out)
        _add_qualification(lead, lead.created, rules, out)
    _add_contact(lead, rules, out)
    _add_qualified_cohorts(lead, out)
    _add_stages(lead, out)
    _add_bounces(lead, rules, out)
    _add_replies_and_meetings(lead, rules, out)
    _add_demos(lead, out)
    _add_proposals(lead, out)
    _add_conversion(lead, state.address, out)


def _add_arrival(lead: Lead, created: Created, out: Contributions) -> None:
    at, rep, source = created.at, lead.profile.owners.rep(created.at), created.source
    out.add(
        m.LEADS_CREATED, at, 1, source=source, campaign=created.campaign, location=created.location, rep=rep,
        channel=Channel(source),
    )  # fmt: skip
    staged = lead.first_stage(_QUALIFIED_STAGES)
    if staged is not None if created.qualified is None else created.qualified:
        out.add(m.LEADS_QUALIFIED, at, 1, rep=rep, source=source)
        out.add(m.QUALIFIED_AT, at, at // _SECOND, rep=rep, source=source)
        if followed_up(lead):
            out.add(m.LEADS_FOLLOWED_UP, at, 1, rep=rep, source=source)


def _add_conversation(lead: Lead, created: Created, rules: Rules, out: Contributions) -> None:
    """The first reply by a person, or the first meeting held. It is whose an answer would be."""
    profile = lead.profile
    talks = [(reply.at, reply.rep, reply.team) for reply in lead.replies[:1]]
    talks += [(touch.at, touch.rep, touch.team) for touch in meetings_held(profile)]
    held = (a for a in profile.activities if not a.automated and a.kind in ("meeting", "video"))
    talks += [(activity.at, activity.rep, activity.team) for activity in held]
    if not talks:
        return
    at, rep, team = min(talks)
    if at >= created.at:
        out.sample(m.CONTACT, at, at - created.at, **credited(profile, at, rules, profile.source, rep, team))


def _add_qualification(lead: Lead, created: Created, rules: Rules, out: Contributions) -> None:
    staged = lead.first_stage(_QUALIFIED_STAGES)
    at = created.at if created.qualified else staged.at if staged else None
    if at is not None and at >= created.at:
        out.sample(m.QUALIFICATION, at, at - created.at, **credited(lead.profile, at, rules, lead.profile.source))


def _add_contact(lead: Lead, rules: Rules, out: Contributions) -> None:
    profile = lead.profile
    outbound = (a for a in profile.activities if a.outbound and (rules.contact_includes_automated or not a.automated))
    contact = next(outbound, None)
    if contact is None:
        return
    at, rep = contact.at, profile.owners.rep(contact.at) or contact.rep
    labels = CohortLabels(rep=rep, channel=Channel(contact.kind), source=profile.source)
    moods = {reply.sentiment for reply in lead.replies if reply.at >= at}
    out.add(m.LEADS_CONTACTED, at, 1, **labels)
    out.add(m.CONTACTED_AT, at, at // _SECOND, **labels)
    out.add(m.CONTACTED_CUSTOMERS, at, int(lead.customer), **labels)
    out.add(m.CONTACTED_POSITIVE, at, int("positive" in moods), **labels)
    out.add(m.CONTACTED_NEGATIVE, at, int("negative" in moods), **labels)


def _add_qualified_cohorts(lead: Lead, out: Contributions) -> None:
    profile = lead.profile
    if (sql := lead.first_stage(frozenset({"sql"}))) is not None:
        rep = profile.owners.rep(sql.at)
        out.add(m.LEADS_SQL, sql.at, 1, rep=rep, source=profile.source)
        out.add(m.SQL_AT, sql.at, sql.at // _SECOND, rep=rep, source=profile.source)
        out.add(m.SQL_CUSTOMERS, sql.at, int(lead.customer), rep=rep, source=profile.source)
    if (mql := lead.first_stage(frozenset({"mql"}))) is not None:
        source, campaign = profile.source, profile.campaign
        out.add(m.LEADS_MQL, mql.at, 1, source=source, campaign=campaign)
        out.add(m.MQL_AT, mql.at, mql.at // _SECOND, source=source, campaign=campaign)
        out.add(m.MQL_CUSTOMERS, mql.at, int(lead.customer), source=source, campaign=campaign)


def _add_stages(lead: Lead, out: Contributions) -> None:
    if lead.created is not None:
        stage, since = "lead", lead.created.at
    elif lead.stages:
        stage, since = lead.stages[0].stage, lead.stages[0].at
    else:
        return
    out.add(m.STAGE, since, 1, stage=stage)
    for change in lead.stages:
        at = max(change.at, since)
        out.add(m.STAGE, at, -1, stage=stage)
        out.add(m.STAGE, at, 1, stage=change.stage)
        stage = change.stage


def _add_activities(lead: Lead, rules: Rules, out: Contributions) -> None:
    owners, purchase = lead.profile.owners, lead.purchase
    for activity in sorted([*lead.profile.activities, *lead.profile.bounced], key=chronological):
        rep = activity.rep or owners.rep(activity.at)
        team = activity.team or owners.team(rep, activity.team, rules)
        if activity.kind == "email" and activity.outbound:
            out.add(m.EMAILS_SENT, activity.at, 1, rep=rep, team=team)
        if activity.kind in _COUNTED_ACTIVITIES and activity.human_touch:
            out.add(m.ACTIVITIES, activity.at, 1, kind=activity.kind, rep=rep, team=team)
        if purchase is not None and activity.at > purchase and not activity.automated:
            out.add(m.INTERACTIONS, activity.at, 1, rep=rep)


def _add_bounces(lead: Lead, rules: Rules, out: Contributions) -> None:
    owners = lead.profile.owners
    for email in lead.profile.bounced:
        rep = email.rep or owners.rep(email.at)
        out.add(m.EMAILS_BOUNCED, email.at, 1, rep=rep, team=owners.team(rep, email.team, rules))


def _add_replies_and_meetings(lead: Lead, rules: Rules, out: Contributions) -> None:
    owners = lead.profile.owners
    for reply in lead.replies:
        out.add(m.REPLIES, reply.at, 1, rep=reply.rep or owners.rep(reply.at), channel=reply.channel)
    for meeting in lead.profile.booked:
        rep = meeting.rep or owners.rep(meeting.at)
        out.add(m.MEETINGS_BOOKED, meeting.at, 1, rep=rep)
        out.add(m.ACTIVITIES, meeting.at, 1, kind="meeting", rep=rep, team=owners.team(rep, meeting.team, rules))


def _add_demos(lead: Lead, out: Contributions) -> None:
    demos = lead.profile.demos()
    if not demos:
        return
    for at, rep in demos:
        out.add(m.DEMOS_HELD, at, 1, rep=rep)
    occasions = [(at, (rep,)) for at, rep in demos]
    add_once(out, m.DEMO_LEADS, occasions)
    add_once(out, m.DEMO_AT, occasions, lambda at: at // _SECOND)
    if lead.customer:
        add_once(out, m.DEMO_CUSTOMERS, occasions)


def _add_proposals(lead: Lead, out: Contributions) -> None:
    for proposal in lead.facts:
        if isinstance(proposal, Proposal):
            out.add(m.PROPOSALS, proposal.at, 1, rep=proposal.rep or lead.profile.owners.rep(proposal.at))


def _add_conversion(lead: Lead, address: str, out: Contributions) -> None:
    """A deal converts the lead that had it last."""
    wins = [deal.closed_at for deal in lead.deals if deal.won is not None and deal.leads[-1] == address]
    if not wins:
        return
    purchase, profile = min(wins), lead.profile
    out.add(m.LEADS_CONVERTED, purchase, 1, source=profile.source, campaign=profile.campaign)
    if purchase >= lead.first_at:
        out.sample(m.CUSTOMER_LIFECYCLE, purchase, purchase - lead.first_at, source=profile.source)
