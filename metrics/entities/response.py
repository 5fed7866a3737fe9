"""How long a lead waited for a person to answer, and whether it still waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.facts import Activity, Created
from salesgauge.metrics.entities.profile import Profile
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.labels import NO_REP, NO_TEAM, OwnerLabels, Rep, Team
from salesgauge.metrics.rules.model import Rules

if TYPE_CHECKING:
    from salesgauge.metrics.entities.lead import Lead

_BANDS = ((5 * 60_000, "0-5m"), (15 * 60_000, "5-15m"), (60 * 60_000, "15-60m"))
_LAST_BAND = "60m+"


def owner_labels(
    profile: Profile, at: int, rules: Rules, doer: Rep = NO_REP, doers_team: Team = NO_TEAM
) -> OwnerLabels:
    """Rep, team and source: the owner at an instant; ``doer`` stands in where nobody owned the lead."""
    rep, team = profile.owners.at(at)
    if not rep:
        rep, team = doer, team or doers_team
    return OwnerLabels(rep=rep, team=team or profile.owners.team(rep, team, rules), source=profile.source)


def first_touch(lead: Lead) -> Activity | None:
    """The first human touch at or after the creation."""
    created = lead.created
    if created is None:
        return None
    return next((a for a in lead.profile.activities if a.human_touch and a.at >= created.at), None)


def add_response(lead: Lead, created: Created, rules: Rules, out: Contributions) -> None:
    """Add how the lead was answered, or that it waits."""
    touch = first_touch(lead)
    team = Team(owner_labels(lead.profile, created.at, rules)["team"])
    deadline = rules.deadline(created.at, team)
    if touch is not None:
        _add_answer(lead.profile, created, touch, deadline, rules, out)
    else:
        _add_wait(lead, created, deadline, rules, out)


def _add_answer(
    profile: Profile, created: Created, touch: Activity, deadline: int, rules: Rules, out: Contributions
) -> None:
    labels = owner_labels(profile, touch.at, rules, touch.rep, touch.team)
    calendar = rules.calendar_of(labels["team"])
    response = touch.at - created.at
    business = calendar.between(created.at, touch.at)
    out.sample(m.RESPONSE, touch.at, response, **labels)
    out.sample(m.RESPONSE_COHORT, created.at, response, **labels)
    out.sample(m.RESPONSE_BUSINESS, touch.at, business, **labels)
    band = next((name for limit, name in _BANDS if response <= limit), _LAST_BAND)
    out.add(m.RESPONSE_BAND, touch.at, 1, band=band, **labels)
    assigned = profile.owners.assigned_at(touch.at)
    if assigned is not None:
        start = max(assigned, created.at)
        since = business if start == created.at else calendar.between(start, touch.at)
        out.sample(m.RESPONSE_ASSIGNED, touch.at, touch.at - start, **labels)
        out.sample(m.RESPONSE_ASSIGNED_BUSINESS, touch.at, since, **labels)
    in_time = touch.at <= deadline
    due = labels if in_time else owner_labels(profile, deadline, rules, touch.rep, touch.team)
    out.add(m.SLA_DUE, deadline, 1, **due)
    out.add(m.SLA_MET, deadline, int(in_time), **due)


def _add_wait(lead: Lead, created: Created, deadline: int, rules: Rules, out: Contributions) -> None:
    profile, closed = lead.profile, lead.closed_at
    if closed is None:
        owners = profile.owners
        labels = owner_labels(profile, owners.since[-1] if owners.who else created.at, rules)
        out.add(m.WAITING, created.at, 1, **labels)
        out.add(m.WAITING_SINCE, created.at, 1, **labels)
        out.add(m.WAITING_LATE, deadline, 1, **labels)
    else:
        out.sample(m.CLOSED_UNANSWERED, created.at, closed - created.at, **owner_labels(profile, closed, rules))
    if closed is None or closed > deadline:
        out.add(m.SLA_DUE, deadline, 1, **owner_labels(profile, deadline, rules))
