"""How long requests waited for an answer by a person, and which still wait: what they add to the measures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.profile import Profile
from salesgauge.metrics.entities.requests import LOOKBACK, Request, Touch, read_requests, touches
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.labels import NO_REP, NO_TEAM, UNOWNED, OwnerLabels, Rep, Source, Team
from salesgauge.metrics.rules.calendars import Clock
from salesgauge.metrics.rules.model import Rules

if TYPE_CHECKING:
    from salesgauge.metrics.entities.lead import Lead

_BANDS = ((5 * 60_000, "0-5m"), (15 * 60_000, "5-15m"), (60 * 60_000, "15-60m"))
_LAST_BAND = "60m+"

PAUSED, WAITING, AT_RISK, LATE = OPEN_STATES = ("paused", "waiting", "at_risk", "late")
ANSWERED, CLOSED, EXEMPT = "answered", "closed", "exempt"


def followed_up(lead: Lead) -> bool:
    """Whether a person turned to the lead at its creation or later."""
    created = lead.created
    return created is not None and any(touch.at >= created.at - LOOKBACK for touch in touches(lead))


def add_responses(lead: Lead, rules: Rules, out: Contributions) -> None:
    """Add how each request of the lead was answered, or that it waits."""
    evidence = touches(lead)
    for request in read_requests(lead, evidence, rules):
        policy = request.policy.name
        if request.exempt:
            out.add(m.REQUESTS_EXEMPT, request.at, 1, source=request.source, policy=policy)
            _add_state(EXEMPT, request.at, request, credited(lead.profile, request.at, rules, request.source), out)
            continue
        out.add(m.REQUESTS, request.at, 1, source=request.source, policy=policy)
        for at in request.repeats:
            out.add(m.REQUESTS_REPEATED, at, 1, source=request.source, policy=policy)
        if request.answer is not None:
            _add_answer(lead.profile, request, request.answer, rules, out)
        elif request.closed_at is not None:
            _add_close(lead.profile, request, request.closed_at, rules, out)
        else:
            _add_wait(lead.profile, request, rules, out)
    _add_next_responses(lead, evidence, rules, out)


def credited(
    profile: Profile, at: int, rules: Rules, source: Source, doer: Rep = NO_REP, doers_team: Team = NO_TEAM
) -> OwnerLabels:
    """The owner at an instant; where nobody owned the lead then, ``doer``. Who came later gets nothing."""
    rep, team = profile.owners.held_by(at)
    if not rep:
        rep, team = doer, team or doers_team
    return OwnerLabels(rep=rep, team=team or profile.owners.team(rep, team, rules), source=source)


def _add_state(state: str, at: int, request: Request, labels: OwnerLabels, out: Contributions, sign: int = 1) -> None:
    rep, team = labels["rep"], labels["team"]
    out.add(m.RESPONSE_STATES, at, sign, state=state, rep=rep, team=team, policy=request.policy.name)


def _add_answer(profile: Profile, request: Request, touch: Touch, rules: Rules, out: Contributions) -> None:
    at = max(touch.at, request.at)
    labels = credited(profile, at, rules, request.source, touch.rep, touch.team)
    clock = _working_hours(request, labels["team"], rules)
    response, business = request.waited(request.at, at), request.waited(request.at, at, clock)
    out.sample(m.RESPONSE, at, response, **labels)
    out.sample(m.RESPONSE_COHORT, request.at, response, **labels)
    out.sample(m.RESPONSE_BUSINESS, at, business, **labels)
    band = next((name for limit, name in _BANDS if response <= limit), _LAST_BAND)
    out.add(m.RESPONSE_BAND, at, 1, band=band, **labels)
    assigned = profile.owners.assigned_at(at)
    if assigned is not None:
        start = max(assigned, request.at)
        out.sample(m.RESPONSE_ASSIGNED, at, request.waited(start, at), **labels)
        out.sample(m.RESPONSE_ASSIGNED_BUSINESS, at, request.waited(start, at, clock), **labels)
    _add_state(ANSWERED, at, request, labels, out)
    deadline = request.deadline
    assert deadline is not None  # its pauses ended with the answer
    in_time = at <= deadline
    _add_due(
        deadline, request, labels if in_time else credited(profile, deadline, rules, request.source), out, met=in_time
    )


def _working_hours(request: Request, team: Team, rules: Rules) -> Clock:
    """The working hours by which a response is measured: the policy's, else the team's that gave it."""
    return request.policy.clock if request.policy.runs_in_working_hours else rules.calendar_of(team)


def _add_due(deadline: int, request: Request, labels: OwnerLabels, out: Contributions, *, met: bool = False) -> None:
    out.add(m.SLA_DUE, deadline, 1, policy=request.policy.name, **labels)
    out.add(m.SLA_MET, deadline, int(met), policy=request.policy.name, **labels)


def _add_close(profile: Profile, request: Request, closed: int, rules: Rules, out: Contributions) -> None:
    labels = credited(profile, closed, rules, request.source)
    out.sample(m.RESPONSE_CENSORED, request.at, request.waited(request.at, closed), **labels)
    _add_state(CLOSED, closed, request, labels, out)
    deadline = request.deadline
    if deadline is not None and deadline < closed:
        _add_due(deadline, request, credited(profile, deadline, rules, request.source), out)


class OpenRequest(NamedTuple):
    """A request that waits for an answer, as it stands at an instant.

    ``made`` is when it was made (ms), ``waited`` how much of its target has passed on the clock of its policy, ``left``
    how much is left (ms; below 0: over), ``deadline`` when nothing is left.
    """

    made: int
    labels: OwnerLabels
    policy: str
    state: str
    waited: int
    left: int
    deadline: int | None


def open_request(lead: Lead, rules: Rules, at: int) -> OpenRequest | None:
    """The request of a lead that waits at an instant (ms), without a pause; None where none does."""
    for request in read_requests(lead, touches(lead), rules)[-1:]:
        if request.exempt or request.answer is not None or request.closed_at is not None or request.at > at:
            return None
        state = _state_at(at, request.pauses, request.at_risk, request.deadline)
        since, policy = request.since(request.policy.clock), request.policy
        if state == PAUSED or since is None:
            return None
        waited = policy.clock.between(since, at)
        labels = _waiting_for(lead.profile, request, rules)
        return OpenRequest(request.at, labels, policy.name, state, waited, policy.target - waited, request.deadline)
    return None


def _waiting_for(profile: Profile, request: Request, rules: Rules) -> OwnerLabels:
    """Whose request it is that waits: the present owner's."""
    owners = profile.owners
    owner = credited(profile, owners.since[-1] if owners.who else request.at, rules, request.source)
    return OwnerLabels(rep=owner["rep"] or UNOWNED, team=owner["team"], source=owner["source"])


def _add_wait(profile: Profile, request: Request, rules: Rules, out: Contributions) -> None:
    deadline, labels = request.deadline, _waiting_for(profile, request, rules)
    for change in _changes(request, deadline):
        _add_change(change, request, labels, out)
    since, on_clock = request.since(), request.since(request.policy.clock)
    if since is None or on_clock is None:
        until = int(request.pauses[-1][0])
        out.sample(m.RESPONSE_CENSORED, request.at, request.waited(request.at, until), **labels)
    else:
        out.add(m.WAITING_SINCE, since, 1, **labels)
        out.add(m.WAITING_ON_CLOCK, on_clock, 1, clock=request.policy.clock_name, **labels)
    if deadline is not None:
        _add_due(deadline, request, credited(profile, deadline, rules, request.source), out)


class _Change(NamedTuple):
    at: int
    old: str
    new: str


def _changes(request: Request, deadline: int | None) -> Iterator[_Change]:
    """The states that an open request was, is and will be in, as far as time alone decides."""
    at_risk = request.at_risk
    ends = [end for pause in request.pauses for end in pause]
    instants = {int(at) for at in (request.at, at_risk, deadline, *ends) if at is not None and not math.isinf(at)}
    old = ""
    for at in sorted(instants):
        new = _state_at(at, request.pauses, at_risk, deadline)
        if new != old:
            yield _Change(at, old, new)
        old = new


def _state_at(at: int, pauses: Sequence[tuple[int, float]], at_risk: int | None, deadline: int | None) -> str:
    if any(begin <= at < end for begin, end in pauses):
        return PAUSED
    if deadline is not None and at >= deadline:
        return LATE
    return AT_RISK if at_risk is not None and at >= at_risk else WAITING


def _add_change(change: _Change, request: Request, labels: OwnerLabels, out: Contributions) -> None:
    for state, sign in ((change.old, -1), (change.new, 1)):
        if not state:
            continue
        _add_state(state, change.at, request, labels, out, sign)
        if state == LATE:
            out.add(m.WAITING_LATE, change.at, sign, **labels)
        if state != PAUSED:
            out.add(m.WAITING, change.at, sign, **labels)
        if state != PAUSED and labels["rep"] == UNOWNED:
            out.add(m.UNOWNED_WAITING, change.at, sign, team=labels["team"], source=labels["source"])


def _add_next_responses(lead: Lead, evidence: Sequence[Touch], rules: Rules, out: Contributions) -> None:
    """From a reply of the lead to our next touch; of several replies before it the first counts."""
    answered = -math.inf
    for reply in lead.replies:
        touch = next((touch for touch in evidence if touch.at > reply.at), None)
        if touch is None:
            return
        if reply.at >= answered:
            answered = touch.at
            owner = credited(lead.profile, touch.at, rules, lead.profile.source, touch.rep, touch.team)
            rep, team = owner["rep"], owner["team"]
            out.sample(m.NEXT_RESPONSE, touch.at, touch.at - reply.at, rep=rep, team=team, channel=reply.channel)
