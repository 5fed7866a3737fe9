"""The rep: employment, quotas with what was won towards them, commission, and answers about working here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.deals import Deal, deals_of, minor_total
from salesgauge.metrics.entities.facts import Joined, Left, Quota, Survey, Won
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.state import State
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.labels import Rep, Team
from salesgauge.metrics.measures.registry import Measure
from salesgauge.metrics.rules.model import CommissionTier, Rules

_BEGINNING = 0
PROMOTER = 9
"""The least score of a promoter (NPS, eNPS)."""
DETRACTOR = 6
"""The greatest score of a detractor."""


@dataclass(frozen=True, slots=True)
class Employment:
    """When a rep joined which team and left, sorted."""

    rep: Rep
    changes: tuple[Joined | Left, ...]
    rules: Rules

    def team(self, at: int) -> Team:
        """The team of the latest entry at or before ``at``, else of the first one known, else of the roster."""
        named = [change for change in self.changes if change.team]
        before = [change.team for change in named if change.at <= at]
        return (before[-1] if before else named[0].team if named else Team("")) or Team(self.rules.team_of(self.rep))


def contribute(state: State, who: Survivors, rules: Rules, out: Contributions) -> None:
    """Add what the rep of this state adds."""
    rep = Rep(state.address.partition("/")[2])
    facts = state.own.sorted()
    employment = Employment(rep, tuple(fact for fact in facts if isinstance(fact, Joined | Left)), rules)
    _add_teams(employment, out)
    _add_headcount(employment, out)
    for fact in facts:
        if isinstance(fact, Survey):
            _add_answer(fact, fact.team or employment.team(fact.at), out)
    quotas = _quotas(facts)
    if quotas:
        won = _won(rep, deals_of(state, who, rules))
        closed = [deal.closed_at for deal, _ in won]
        for quota in quotas:
            first, last = bisect_left(closed, quota.start), bisect_left(closed, quota.end)
            _add_quota(quota, won[first:last], employment, out)


def _quotas(facts: Sequence[object]) -> list[Quota]:
    """Of several quotas for the same period the one recorded last."""
    latest: dict[tuple[int, int], Quota] = {}
    for fact in facts:
        if isinstance(fact, Quota):
            known = latest.get((fact.start, fact.end))
            if known is None or fact.version > known.version:
                latest[fact.start, fact.end] = fact
    return [latest[period] for period in sorted(latest)]


def _won(rep: Rep, deals: Sequence[Deal]) -> list[tuple[Deal, Won]]:
    """The deals that are credited to the rep, with what was given back, sorted by their close."""
    closes = [(deal, deal.won or deal.credit_note) for deal in deals if deal.owner == rep]
    won = [(deal, close) for deal, close in closes if close is not None]
    return sorted(won, key=lambda pair: (pair[0].closed_at, pair[0].key))


def _add_teams(employment: Employment, out: Contributions) -> None:
    for change in employment.changes:
        if isinstance(change, Joined) and change.team:
            out.add(m.REP_TEAM, change.at, 1, rep=employment.rep, team=change.team)


def _add_headcount(employment: Employment, out: Contributions) -> None:
    roster = Team(employment.rules.team_of(employment.rep))
    present: Team | None = None
    for change in employment.changes:
        if isinstance(change, Joined):
            if present is not None:
                out.add(m.HEADCOUNT, change.at, -1, team=present)
            present = change.team or roster
            out.add(m.HEADCOUNT, change.at, 1, team=present)
        else:
            if present is None and change is employment.changes[0]:
                present = change.team or roster
                out.add(m.HEADCOUNT, _BEGINNING, 1, team=present)
            if present is not None:
                out.add(m.HEADCOUNT, change.at, -1, team=present)
                out.add(m.REPS_LEFT, change.at, 1, team=present)
            present = None


def _add_answer(answer: Survey, team: Team, out: Contributions) -> None:
    out.add(m.ENPS_ANSWERS, answer.at, 1, team=team)
    out.add(m.ENPS_PROMOTERS, answer.at, int(answer.score >= PROMOTER), team=team)
    out.add(m.ENPS_DETRACTORS, answer.at, int(answer.score <= DETRACTOR), team=team)


def _add_quota(quota: Quota, won: Sequence[tuple[Deal, Won]], employment: Employment, out: Contributions) -> None:
    """Add a quota and the deals won in its period, sorted.

    All of it is added within the period and taken back at its end, so a stock shows the current period.
    """
    rules, rep, team = employment.rules, employment.rep, employment.team(quota.start)
    target = rules.minor(quota.amount, quota.currency, quota.start)

    def add(measure: Measure, at: int, amount: int) -> None:
        out.add(measure, at, amount, rep=rep, team=team)
        out.add(measure, quota.end, -amount, rep=rep, team=team)

    add(m.QUOTA, quota.start, target)
    add(m.QUOTA_REPS, quota.start, 1)
    add(m.QUOTA_REACHED, quota.start, int(target <= 0))
    total = 0
    for deal, win in won:
        before, total = total, total + minor_total(win, rules)
        add(m.QUOTA_WON, deal.closed_at, total - before)
        add(m.QUOTA_REACHED, deal.closed_at, int(before < target <= total) - int(total < target <= before))
        tiers = rules.commission_tiers
        add(m.COMMISSION, deal.closed_at, commission(total, target, tiers) - commission(before, target, tiers))


def commission(won: int, quota: int, tiers: Sequence[CommissionTier]) -> int:
    """Commission on ``won`` against ``quota``, all in the rules' smallest unit.

    The tiers are marginal, as tax brackets are: each rate applies to the revenue between its attainment and the next
    tier's.
    """
    total = 0.0
    bounds = [tier.attainment * quota for tier in tiers]
    for tier, (low, high) in zip(tiers, pairwise([*bounds, float("inf")]), strict=True):
        total += tier.rate * max(0.0, min(won, high) - low)
    return round(total)
