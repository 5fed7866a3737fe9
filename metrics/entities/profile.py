"""The profile of a lead: where it came from, who owned it when, how people touched it. Its deals are told of it."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

from salesgauge.metrics.entities.facts import (
    Activity,
    Assigned,
    Booked,
    Bounced,
    Completed,
    Created,
    Fact,
)
from salesgauge.metrics.measures.labels import NO_REP, NO_TEAM, Campaign, Location, Rep, Source, Team
from salesgauge.metrics.rules.model import Rules

__all__ = ["Owners", "Profile", "fold_profile"]


@dataclass(frozen=True, slots=True)
class Owners:
    """Who owned a lead: ``who`` are (rep, team), each from its instant in ``since`` (ms) on.

    The first may be a team without a rep.
    """

    since: tuple[int, ...] = ()
    who: tuple[tuple[Rep, Team], ...] = ()

    def then(self, at: int, rep: Rep, team: Team) -> Owners:
        """With one more owner."""
        return Owners((*self.since, at), (*self.who, (rep, team)))

    def at(self, at: int) -> tuple[Rep, Team]:
        """(rep, team) who owned the lead at an instant; before the first owner is known, the first one."""
        who = self.who
        if len(who) == 1:
            return who[0]
        return who[max(0, bisect.bisect_right(self.since, at) - 1)] if who else (NO_REP, NO_TEAM)

    def held_by(self, at: int) -> tuple[Rep, Team]:
        """(rep, team) who owned the lead at an instant; before the first owner is known, nobody."""
        index = bisect.bisect_right(self.since, at) - 1
        return self.who[index] if index >= 0 else (NO_REP, NO_TEAM)

    def rep(self, at: int) -> Rep:
        """The rep of :meth:`at`."""
        return self.at(at)[0]

    def assigned_at(self, at: int) -> int | None:
        """When the rep who owned the lead at ``at`` got it; None where no rep did."""
        index = bisect.bisect_right(self.since, at) - 1
        return self.since[index] if index >= 0 and self.who[index][0] else None

    def team(self, rep: Rep, said: Team, rules: Rules) -> Team:
        """The team of a rep: what the event says, what this lead knows of that rep, or the configured roster.

        Without a rep it is the team that has the lead without one.
        """
        if said:
            return said
        for owner, team in reversed(self.who):
            if owner == rep and team:
                return team
        return Team(rules.team_of(rep))


@dataclass(slots=True)
class Profile:
    """Instants are ms, sequences are sorted by time."""

    created: Created | None = None
    owners: Owners = field(default_factory=Owners)
    activities: list[Activity] = field(default_factory=list)
    """Without e-mails that bounced."""
    booked: list[Booked] = field(default_factory=list)
    """The first booking of each meeting."""
    meetings: dict[str, Booked] = field(default_factory=dict)
    completed: dict[str, Completed] = field(default_factory=dict)
    bounced: list[Activity] = field(default_factory=list)

    @property
    def source(self) -> Source:
        """Where the lead came from."""
        return self.created.source if self.created else Source("")

    @property
    def campaign(self) -> Campaign:
        """What brought the lead."""
        return self.created.campaign if self.created else Campaign("")

    @property
    def location(self) -> Location:
        """Where the lead is."""
        return self.created.location if self.created else Location("")

    def owner(self, at: int) -> Rep:
        """Who owned the lead then, whoever came later; before its record was made, whose it was made."""
        return self.owners.held_by(at if self.created is None else max(at, self.created.at))[0]

    def demos(self) -> list[tuple[int, Rep]]:
        """(instant, rep) of each demo held, sorted."""
        demos = []
        for done in self.completed.values():
            booked = self.meetings.get(done.meeting)
            kind = done.kind or (booked.kind if booked else "")
            if kind == "demo" and done.outcome == "held":
                demos.append((done.at, done.rep or (booked.rep if booked else NO_REP) or self.owners.rep(done.at)))
        return sorted(demos)


def fold_profile(facts: Sequence[Fact]) -> Profile:
    """The profile that the facts of a lead (of all its keys), sorted by time, tell of."""
    profile = Profile()
    bounces = {fact.activity for fact in facts if isinstance(fact, Bounced)}
    for fact in facts:
        if isinstance(fact, Created):
            _add_creation(profile, fact)
        elif isinstance(fact, Assigned):
            profile.owners = profile.owners.then(fact.at, fact.rep, fact.team)
        elif isinstance(fact, Activity):
            bounced = bool(bounces) and (fact.activity or fact.id) in bounces
            (profile.bounced if bounced else profile.activities).append(fact)
        elif isinstance(fact, Booked):
            if fact.meeting not in profile.meetings:
                profile.meetings[fact.meeting] = fact
                profile.booked.append(fact)
        elif isinstance(fact, Completed):
            known = profile.completed.get(fact.meeting)
            if known is None or fact.version > known.version:
                profile.completed[fact.meeting] = fact
    return profile


def _add_creation(profile: Profile, fact: Created) -> None:
    """A lead may be reported twice (a merge, a second form): it is as old as its first report.

    Of two reports of one instant, as an export that is repeated under new ids has them, the one recorded last holds.
    """
    known = profile.created
    if not profile.owners.who and (fact.rep or fact.team):
        profile.owners = profile.owners.then(fact.at, fact.rep, fact.team)
    if known is None:
        profile.created = fact
    elif known.at == fact.at and fact.version > known.version:
        profile.created = fact
        if profile.owners.since[:1] == (fact.at,) and profile.owners.who[:1] == ((known.rep, known.team),):
            profile.owners = Owners().then(fact.at, fact.rep, fact.team)
