"""The reps: how fast, how diligent, how able, and who gets the next lead. They come and go."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salesgauge.schemas.events import LeadAssigned, QuotaSet, RepJoined, RepLeft, SurveyAnswered
from salesgauge.streams.simulation.environment import Environment, Weighted, moment, money, rounded

if TYPE_CHECKING:
    from datetime import date

    from salesgauge.streams.simulation.crm_log import SimulatedLead

_PACES = (5.0, 14.0, 28.0, 9.0, 40.0, 20.0, 75.0, 12.0)  # medians of the response time, minutes
_OVERLOADED_PACE = 150.0
_COMFORTABLE = 8  # so many waiting leads double a rep's response time
_SLOWEST = 4.0
_MONTHLY_QUOTA = 4_000_000  # minor units
_SURVEY_EVERY = 14  # days
_LEAST_TEAM = 2


@dataclass(slots=True, eq=False)
class SimulatedRep:
    """A rep's habits and what waits for them.

    Attributes:
        rep_id: Stable over runs.
        team: One of the organisation's.
        minutes: Median working time to the first touch of a lead, when little else waits.
        neglect: Share of the leads that they never answer.
        skill: Factor on the chance to win.
        persistence: Touches before they give a lead up.
        weight: Share of the incoming leads, 1 is usual.
        mood: Mean of their answers about working here, 0-10.
        deal_factor: Size of their deals, 1 is usual.
        waiting: Leads of theirs that nobody has answered.
        left: They have left the company.
    """

    rep_id: str
    team: str
    minutes: float
    neglect: float
    skill: float
    persistence: int
    weight: float
    mood: float
    deal_factor: float
    waiting: int = 0
    left: bool = False

    def slowdown(self) -> float:
        """The factor by which their load slows their answers."""
        return min(1 + self.waiting / _COMFORTABLE, _SLOWEST)


class Roster:
    """Who works here."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._hired = 0
        self._quota_month: tuple[int, int] | None = None
        self.reps: list[SimulatedRep] = []
        self._routing: Weighted[SimulatedRep]

    def open(self) -> None:
        """The first reps begin."""
        organisation = self._env.organisation
        for number in range(organisation.reps):
            team = organisation.teams[number % len(organisation.teams)]
            self._hire(team, overloaded=number >= organisation.reps - organisation.overloaded)
        self._env.wait(18 * 24, 0.2, self._leave)

    def route(self, other_than: SimulatedRep | None = None) -> SimulatedRep:
        """The rep who gets the next lead."""
        rep = self._routing.pick(self._env.random())
        while rep is other_than and len(self.reps) > 1:
            rep = self._routing.pick(self._env.random())
        return rep

    def assign(self, lead: SimulatedLead) -> SimulatedRep:
        """Give a lead to a rep other than the one who has it."""
        lead.rep = rep = self.route(other_than=lead.rep)
        self._env.emit(LeadAssigned, lead_id=lead.lead_id, rep_id=rep.rep_id, team=rep.team)
        return rep

    def day(self, today: date, number: int) -> None:
        """What happens once a day: quotas when a month begins, a survey every fortnight."""
        if self._quota_month != (today.year, today.month):
            new_quarter = self._quota_month is None or today.month % 3 == 1
            self._quota_month = (today.year, today.month)
            for rep in self.reps:
                self._set_quota(rep, today, new_quarter=new_quarter)
        if number % _SURVEY_EVERY == 3:  # noqa: PLR2004 - not on the very first day
            for rep in self.reps:
                if self._env.chance(0.85):
                    self._env.work(4, 0.6, self._answer, rep)

    def _hire(self, team: str, *, overloaded: bool = False) -> None:
        env = self._env
        pace = _PACES[self._hired % len(_PACES)]
        self._hired += 1
        rep = SimulatedRep(
            rep_id=f"rep-{self._hired:02d}",
            team=team,
            minutes=env.around(_OVERLOADED_PACE if overloaded else pace, 0.15),
            neglect=0.30 if overloaded else env.between(0.01, 0.12),
            skill=env.between(0.65, 0.85) if overloaded else env.between(0.75, 1.35),
            persistence=2 if overloaded else env.number(3, 6),
            weight=3.0 if overloaded else 1.0,
            mood=env.between(4.0, 6.0) if overloaded else env.between(6.8, 9.4),
            deal_factor=1.9 if team == env.organisation.teams[-1] else 1.0,
        )
        self.reps.append(rep)
        self._reroute()
        env.emit(RepJoined, rep_id=rep.rep_id, team=team)
        if self._quota_month is not None:
            self._set_quota(rep, env.clock.local(env.now).date(), new_quarter=True)

    def _leave(self) -> None:
        """Somebody leaves, and a successor is looked for. The overloaded ones stay: that is the trouble."""
        env = self._env
        sizes = Counter(rep.team for rep in self.reps)
        leaving = [rep for rep in self.reps if rep.weight == 1.0 and sizes[rep.team] >= _LEAST_TEAM]
        if leaving:
            rep = env.one(leaving)
            rep.left = True
            self.reps.remove(rep)
            self._reroute()
            env.emit(RepLeft, rep_id=rep.rep_id, team=rep.team)
            env.work(60, 0.3, self._hire, rep.team)
        env.wait(80 * 24, 0.4, self._leave)

    def _reroute(self) -> None:
        self._routing = Weighted([(rep, rep.weight) for rep in self.reps])

    def _set_quota(self, rep: SimulatedRep, today: date, *, new_quarter: bool) -> None:
        env, quarterly = self._env, rep.deal_factor > 1
        if quarterly and not new_quarter:
            return
        months = 3 if quarterly else 1
        first = today.replace(month=today.month - (today.month - 1) % months, day=1)
        year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
        amount = _MONTHLY_QUOTA * months * rep.deal_factor * rep.weight**0.5 * env.between(0.8, 1.2)
        env.emit(
            QuotaSet,
            rep_id=rep.rep_id,
            period_start=moment(env.clock.midnight(first)),
            period_end=moment(env.clock.midnight(first.replace(year=year, month=month + 1))),
            amount=money(rounded(amount, 100_000)),
            currency=env.organisation.currency,
        )

    def _answer(self, rep: SimulatedRep) -> None:
        if rep.left:
            return
        # Load spoils the mood.
        score = round(rep.mood - rep.slowdown() / 2 + self._env.between(-1.6, 2.4))
        self._env.emit(
            SurveyAnswered,
            respondent_id=f"employee-{rep.rep_id.removeprefix('rep-')}",
            kind="enps",
            score=min(max(score, 0), 10),
            rep_id=rep.rep_id,
            team=rep.team,
        )
