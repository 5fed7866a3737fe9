"""Requests: when a lead began to wait for an answer by a person, and what ended that.

Rules and worked examples: docs/response.md. Instants and lengths are ms; sequences are sorted by time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from salesgauge.metrics.entities.facts import Booked, Created, Paused, Proposal, Reengaged, Resumed
from salesgauge.metrics.entities.profile import Profile
from salesgauge.metrics.measures.labels import Channel, Rep, Source, Team
from salesgauge.metrics.rules.calendars import AllHours, Clock
from salesgauge.metrics.rules.model import MINUTE, Policy, Rules

if TYPE_CHECKING:
    from salesgauge.metrics.entities.lead import Lead

LOOKBACK = 30 * MINUTE
"""A touch so long before a lead's first request answers it: the call came before the record."""
ONE_REQUEST = 10 * MINUTE
"""Requests that follow one another within this time are one."""
_AT_RISK = 5
"""A request is at risk when one part of so many of its target is left."""

CUSTOMER_STAGES = frozenset({"customer", "evangelist"})
CLOSED_STAGES = CUSTOMER_STAGES | {"disqualified"}

Pause = tuple[int, float]
"""From an instant to another, which may be infinite."""
_ALL_HOURS = AllHours()


class Touch(NamedTuple):
    """Evidence that a person turned to the lead."""

    at: int
    id: int
    rep: Rep
    team: Team


class _Asked(NamedTuple):
    """One event that asks, with what it inherits from the lead."""

    at: int
    source: Source
    tier: str
    channel: str
    exempt: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and how it stands.

    It was answered by ``answer``, or closed at ``closed_at`` without one, or is open. ``exempt``: it needs no answer.
    ``pauses`` lie within the time in which it was open.
    """

    at: int
    source: Source
    exempt: bool
    policy: Policy
    first: bool = False
    answer: Touch | None = None
    closed_at: int | None = None
    pauses: tuple[Pause, ...] = ()
    repeats: tuple[int, ...] = ()
    """When the lead asked again while it waited."""

    @property
    def answered_at(self) -> int | None:
        """When it was answered; never before it was made."""
        return None if self.answer is None else max(self.answer.at, self.at)

    @property
    def deadline(self) -> int | None:
        """Until when it is to be answered; None where it is paused without an end before that."""
        return self._spent(self.policy.target)

    @property
    def at_risk(self) -> int | None:
        """From when on a fifth of the target is left, or less."""
        return self._spent(self.policy.target - self.policy.target // _AT_RISK)

    def waited(self, start: int, end: int, clock: Clock = _ALL_HOURS) -> int:
        """The time between two instants that counts on a clock: without pauses."""
        paused = ((max(start, begin), min(end, until)) for begin, until in self.pauses)
        return clock.between(start, end) - sum(clock.between(begin, int(until)) for begin, until in paused)

    def since(self, clock: Clock = _ALL_HOURS) -> int | None:
        """The instant from which on a clock without pauses would say now what this request's clock says.

        None while it is paused without an end.
        """
        if not self.pauses:
            return self.at
        end = self.pauses[-1][1]
        if math.isinf(end):
            return None
        return clock.subtract(int(end), self.waited(self.at, int(end), clock))

    def _spent(self, amount: int) -> int | None:
        """When so much of the time that counts has passed."""
        clock, start = self.policy.clock, self.at
        for begin, end in self.pauses:
            passed = clock.between(start, begin)
            if amount <= passed:
                break
            if math.isinf(end):
                return None
            amount, start = amount - passed, int(end)
        return clock.add(start, amount)


def touches(lead: Lead) -> list[Touch]:
    """What answers a request: outbound activities by people, proposals, meetings held or booked by a rep."""
    profile = lead.profile
    found = [Touch(a.at, a.id, a.rep, a.team) for a in profile.activities if a.human_touch and a.kind != "note"]
    offered = [f for f in lead.facts if isinstance(f, Proposal) or (isinstance(f, Booked) and not f.by_lead)]
    found += [Touch(fact.at, fact.id, fact.rep, fact.team) for fact in offered]
    return sorted([*found, *meetings_held(profile)])


def meetings_held(profile: Profile) -> Iterator[Touch]:
    """The meetings that were held, by who held them, else by who booked them."""
    for done in profile.completed.values():
        if done.outcome == "held":
            booked = profile.meetings.get(done.meeting)
            by_booking = booked is not None and not done.rep
            doer = booked if by_booking and booked is not None else done
            yield Touch(done.at, done.id, doer.rep, doer.team)


def read_requests(lead: Lead, evidence: Sequence[Touch], rules: Rules) -> list[Request]:
    """The requests of a lead, given its touches. One that comes while another waits only repeats that."""
    found: list[Request] = []
    waiting: Request | None = None
    for number, asked in enumerate(_grouped(_asked(lead, rules))):
        if asked.exempt:
            found.append(_request(lead, asked, rules))
            continue
        if waiting is not None:
            ended = _ended(lead, waiting, evidence, asked.at)
            if ended.answer is None and ended.closed_at is None:
                waiting = replace(waiting, repeats=(*waiting.repeats, asked.at))
                continue
            found.append(_with_pauses(lead, ended))
        waiting = _request(lead, asked, rules, first=number == 0)
    if waiting is not None:
        found.append(_with_pauses(lead, _ended(lead, waiting, evidence, math.inf)))
    return found


def _asked(lead: Lead, rules: Rules) -> Iterator[_Asked]:
    """The events that ask, sorted; two notices of one request are one."""
    seen: set[str] = set()
    events: list[Created | Reengaged] = [*lead.creations]
    events += [fact for fact in lead.facts if isinstance(fact, Reengaged)]
    profile = lead.profile
    for event in sorted(events, key=lambda event: (event.at, isinstance(event, Reengaged), event.id)):
        if isinstance(event, Reengaged) and event.request:
            if event.request in seen:
                continue
            seen.add(event.request)
        source = event.source or profile.source
        exempt = not event.needs_response
        if event.needs_response is None:
            exempt = rules.exempts(source) or (rules.response_customers == "exclude" and _is_customer(lead, event.at))
        tier = event.tier or (profile.created.tier if profile.created else "")
        yield _Asked(event.at, source, tier, event.channel, exempt)


def _grouped(events: Iterable[_Asked]) -> Iterator[_Asked]:
    """One for those that follow one another closely: the first that needs an answer, else the first."""
    group: list[_Asked] = []
    for event in events:
        if group and event.at - group[-1].at > ONE_REQUEST:
            yield min(group, key=lambda asked: asked.exempt)
            group = []
        group.append(event)
    if group:
        yield min(group, key=lambda asked: asked.exempt)


def _request(lead: Lead, asked: _Asked, rules: Rules, *, first: bool = False) -> Request:
    rep, team = lead.profile.owners.held_by(asked.at)
    team = team or (lead.profile.owners.team(rep, team, rules) if rep else team)
    policy = rules.policy(asked.source, asked.tier, team, Channel(asked.channel))
    return Request(asked.at, asked.source, asked.exempt, policy, first)


def _ended(lead: Lead, request: Request, evidence: Sequence[Touch], until: float) -> Request:
    """The request with what ended it by an instant."""
    earliest = request.at - LOOKBACK if request.first else request.at
    answer = next((touch for touch in evidence if earliest <= touch.at <= until), None)
    closed = _closed(lead, request.at, until)
    if answer is not None and (closed is None or answer.at <= closed):
        return replace(request, answer=answer)
    if request.first and (_was_dealt(lead, request.at) or (closed is None and _is_closed(lead, until))):
        closed = request.at  # a record made after the fact: nobody ever waited
    return replace(request, closed_at=closed)


def _closed(lead: Lead, start: int, until: float) -> int | None:
    """When, from ``start`` to ``until``, a deal was closed or the lead entered the closed stages that it is in."""
    times = [at for at in _closes(lead) if start <= at <= until]
    entered: int | None = None
    for staged in lead.stages:
        if start <= staged.at <= until:
            entered = (entered or staged.at) if staged.stage in CLOSED_STAGES else None
    return min([*times, *([] if entered is None else [entered])], default=None)


def _was_dealt(lead: Lead, at: int) -> bool:
    return any(closed < at for closed in _closes(lead))


def _is_closed(lead: Lead, until: float) -> bool:
    stages = [staged.stage for staged in lead.stages if staged.at <= until]
    return bool(stages) and stages[-1] in CLOSED_STAGES


def _closes(lead: Lead) -> list[int]:
    return [deal.closed_at for deal in lead.deals if deal.history.close is not None]


def _is_customer(lead: Lead, at: int) -> bool:
    """Whether the lead was a customer before an instant."""
    stages = [staged.stage for staged in lead.stages if staged.at < at]
    won = any(deal.won is not None and deal.closed_at < at for deal in lead.deals)
    return won or (bool(stages) and stages[-1] in CUSTOMER_STAGES)


def _with_pauses(lead: Lead, request: Request) -> Request:
    """The request with its pauses, as far as they lie between it and its end, joined."""
    ends = [at for at in (request.answered_at, request.closed_at) if at is not None]
    end = min(ends, default=math.inf)
    joined: list[Pause] = []
    clipped = ((max(begin, request.at), min(until, end)) for begin, until in _pauses(lead, request))
    for begin, until in sorted(clipped):
        if begin >= until:
            continue
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until))
        else:
            joined.append((begin, until))
    return replace(request, pauses=tuple(joined)) if joined else request


def _pauses(lead: Lead, request: Request) -> Iterator[Pause]:
    """When it was the lead's turn: said so, or the lead has booked a meeting that is still to come."""
    resumed = [fact.at for fact in lead.facts if isinstance(fact, Resumed)]
    booked = [fact for fact in lead.facts if isinstance(fact, Booked)]
    for fact in lead.facts:
        if isinstance(fact, Paused) and fact.at >= request.at:
            yield fact.at, next((at for at in resumed if at >= fact.at), math.inf)
    earliest = request.at - LOOKBACK if request.first else request.at
    for number, booking in enumerate(booked):
        if booking.by_lead and booking.due and booking.at >= earliest:
            ends = [at for at in resumed if at >= booking.at]
            ends += [again.at for again in booked[number + 1 :] if again.meeting == booking.meeting]
            done = lead.profile.completed.get(booking.meeting)
            ends += [done.at] if done is not None and done.at >= booking.at else []
            yield booking.at, min([booking.due, *ends])
