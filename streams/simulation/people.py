"""The reps: how fast, how able, what waits for them, and who gets the next lead. They come and go."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from salesgauge.schemas.events import LeadAssigned, QuotaSet, RepJoined, RepLeft, SurveyAnswered
from salesgauge.streams.simulation.environment import Environment, Weighted, moment, money, rounded

if TYPE_CHECKING:
    from datetime import date

    from salesgauge.streams.simulation.crm_log import SimulatedLead

_PACES = (3.0, 2.5, 4.0, 2.0, 5.0, 3.0, 3.5, 2.5)  # medians of the time until they turn to a lead, minutes
_LEADER_WEIGHT = 3.0
_MONTHLY_QUOTA = 4_600_000  # minor units
_SURVEY_EVERY = 14  # days
_LEAST_TEAM = 2
_BUSY = 6  # so many waiting leads cost a point of mood


@dataclass(slots=True, eq=False)
class SimulatedRep:
    """A rep's habits and what waits for them.

    Attributes:
        rep_id: A name; stable over runs.
        team: One of the organisation's.
        minutes: Median working time until they turn to a new lead.
        neglect: Share of the leads that they overlook.
        skill: Factor on the chance to win.
        persistence: Touches before they give a lead up.
        weight: Share of the incoming leads, 1 is usual.
        mood: Mean of their answers about working here, 0-10.
        deal_factor: Size of their deals, 1 is usual.
        inbox: Leads to answer next, the first one first.
        serving: They are answering one just now.
        away: They answer nobody.
        covered: Others get their leads meanwhile.
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
    inbox: list[SimulatedLead] = field(default_factory=list)
    serving: bool = False
    away: bool = False
    covered: bool = False
    left: bool = False


class Roster:
    """Who works here."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._hired = 0
        self._quota_month: tuple[int, int] | None = None
        self.reps: list[SimulatedRep] = []
        self.distraction = 1.0
        """Factor on the time until anybody turns to a new lead."""
        self._routing: Weighted[SimulatedRep]

    def open(self) -> None:
        """The first reps begin."""
        organisation = self._env.organisation
        for number in range(organisation.reps):
            self._hire(organisation.teams[number % len(organisation.teams)], leads=number < len(organisation.teams))
        self._env.wait(18 * 24, 0.2, self._leave)

    def route(self, other_than: SimulatedRep | None = None) -> SimulatedRep:
        """The rep who gets the next lead."""
        rep = self._routing.pick(self._env.random())
        while rep is other_than and sum(not rep.covered for rep in self.reps) > 1:
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

    # --- absence

    def cover(self, rep: SimulatedRep, *, covered: bool) -> None:
        """Others get a rep's new leads, or the rep does again."""
        rep.covered = covered
        self._reroute()

    # --- coming and going

    def _hire(self, team: str, *, leads: bool = False) -> None:
        env = self._env
        minutes = _PACES[self._hired % len(_PACES)]
        staff = env.organisation.staff
        name = staff[self._hired] if self._hired < len(staff) else f"Rep {self._hired + 1}"
        self._hired += 1
        rep = SimulatedRep(
            rep_id=name,
            team=team,
            minutes=env.around(minutes, 0.15),
            neglect=env.between(0.002, 0.015),
            skill=env.between(1.0, 1.3) if leads else env.between(0.75, 1.25),
            persistence=env.number(3, 6),
            weight=_LEADER_WEIGHT if leads else 1.0,
            mood=env.between(7.4, 9.6),
            deal_factor=1.9 if team == env.organisation.teams[-1] else 1.0,
        )
        self.reps.append(rep)
        self._reroute()
        env.emit(RepJoined, rep_id=rep.rep_id, team=team, display_name=name)
        if self._quota_month is not None:
            self._set_quota(rep, env.clock.local(env.now).date(), new_quarter=True)

    def _leave(self) -> None:
        """Somebody leaves, and a successor is looked for. Those who lead a team stay."""
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
        open_for_more = [rep for rep in self.reps if not rep.covered] or self.reps
        self._routing = Weighted([(rep, rep.weight) for rep in open_for_more])

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
        if rep.left or rep.away:
            return
        score = round(rep.mood - len(rep.inbox) / _BUSY + self._env.between(-1.6, 2.0))
        self._env.emit(
            SurveyAnswered,
            respondent_id=f"employee-{rep.rep_id}",
            kind="enps",
            score=min(max(score, 0), 10),
            rep_id=rep.rep_id,
            team=rep.team,
        )
