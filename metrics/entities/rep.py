"""The rep: employment, quotas with what was won towards them, commission, and answers about working here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from salesgauge.metrics.entities.book import Book
from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.deals import Deal, deal_facts, fold_deal
from salesgauge.metrics.entities.facts import DealFact, Fact, Joined, Left, Quota, Survey
from salesgauge.metrics.entities.period import minor_total
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.registry import UNKNOWN
from salesgauge.metrics.rules.model import CommissionTier, Rules

_BEGINNING = 0
PROMOTER = 9
"""The least score of a promoter (NPS, eNPS)."""
DETRACTOR = 6
"""The greatest score of a detractor."""


@dataclass(slots=True)
class Rep:
    """A rep's history: what is folded of it, in whatever order it becomes known."""

    employment: list[Joined | Left] = field(default_factory=list)
    surveys: list[Survey] = field(default_factory=list)
    quotas: dict[tuple[int, int], Quota] = field(default_factory=dict)
    """Period -> quota: of several for the same period the one recorded last."""
    facts_of: dict[str, list[DealFact]] = field(default_factory=dict)
    """deal id -> its facts."""
    deals: dict[str, Deal] = field(default_factory=dict)

    def take(self, facts: Sequence[Fact]) -> None:
        """Add facts."""
        for fact in facts:
            if isinstance(fact, Joined | Left):
                self.employment.append(fact)
            elif isinstance(fact, Survey):
                self.surveys.append(fact)
            elif isinstance(fact, Quota):
                known = self.quotas.get((fact.start, fact.end))
                if known is None or fact.version > known.version:
                    self.quotas[fact.start, fact.end] = fact
        for deal, told in deal_facts(facts).items():
            known_of = self.facts_of.setdefault(deal, [])
            known_of += told
            self.deals[deal] = fold_deal(deal, known_of)

    def won(self, rep: str) -> list[Deal]:
        """The deals that the rep won, sorted."""
        deals = (deal for deal in self.deals.values() if deal.won is not None and deal.won.rep == rep)
        return sorted(deals, key=lambda deal: (deal.closed_at, deal.id))


def write(book: Book, facts: Sequence[Fact], fresh: Sequence[Fact] | None, key: str) -> None:
    """Bring the book of the rep ``key`` up to date with ``facts``, sorted by time.

    Args:
        book: the book; empty at first.
        facts: all that is known.
        fresh: those that the book does not know, sorted, wherever they stand; None where some were corrected.
        key: the rep's id.
    """
    known: Rep | None = book.view
    if known is None or fresh is None:
        book.view = rep = Rep()
        rep.take(facts)
    else:
        rep = known
        rep.take(fresh)
    employment = tuple(sorted(rep.employment, key=lambda fact: (fact.at, fact.id)))
    book.chapter(_employment, employment, key)
    book.chapter(_surveys, tuple(rep.surveys) or None, employment, key)
    won = rep.won(key)
    closed = [deal.closed_at for deal in won]
    for period in known.quotas.keys() - rep.quotas.keys() if known else ():
        book.chapter(_quota, None, about=period)
    for period, quota in sorted(rep.quotas.items()):
        first, last = (bisect_left(closed, end) for end in period)
        book.chapter(_quota, quota, tuple(won[first:last]), employment, key, about=period)


def _employment(out: Contributions, rules: Rules, employment: Sequence[Joined | Left], key: str) -> None:
    for fact in employment:
        if isinstance(fact, Joined) and fact.team:
            out.add(m.REP_TEAM, fact.at, 1, key, fact.team)
    _add_headcount(employment, key, rules, out)


def _team_at(employment: Sequence[Joined | Left], at: int, rep: str, rules: Rules) -> str:
    """The team of the latest entry at or before ``at``, else of the first one known, else of the roster."""
    named = [fact for fact in employment if fact.team]
    before = [fact.team for fact in named if fact.at <= at]
    return (before[-1] if before else named[0].team if named else "") or rules.team_of(rep) or UNKNOWN


def _add_headcount(employment: Sequence[Joined | Left], rep: str, rules: Rules, out: Contributions) -> None:
    team = ""
    for fact in employment:
        if isinstance(fact, Joined):
            if team:
                out.add(m.HEADCOUNT, fact.at, -1, team)
            team = fact.team or rules.team_of(rep) or UNKNOWN
            out.add(m.HEADCOUNT, fact.at, 1, team)
        else:
            leaver = team or fact.team or rules.team_of(rep) or UNKNOWN
            if not team and fact is employment[0]:
                out.add(m.HEADCOUNT, _BEGINNING, 1, leaver)
                team = leaver
            if team:
                out.add(m.HEADCOUNT, fact.at, -1, team)
                out.add(m.REPS_LEFT, fact.at, 1, team)
            team = ""


def _surveys(
    out: Contributions, rules: Rules, surveys: Sequence[Survey], employment: Sequence[Joined | Left], rep: str
) -> None:
    for fact in surveys:
        _add_enps(fact, fact.team or _team_at(employment, fact.at, rep, rules), out)


def _add_enps(fact: Survey, team: str, out: Contributions) -> None:
    """Add one employee's answer."""
    out.add(m.ENPS_ANSWERS, fact.at, 1, team)
    if fact.score >= PROMOTER:
        out.add(m.ENPS_PROMOTERS, fact.at, 1, team)
    elif fact.score <= DETRACTOR:
        out.add(m.ENPS_DETRACTORS, fact.at, 1, team)


def _quota(
    out: Contributions, rules: Rules, quota: Quota, deals: Sequence[Deal], employment: Sequence[Joined | Left], rep: str
) -> None:
    """Add a quota and the deals won in its period, sorted.

    All of it is added within the period and taken back at its end, so a stock shows the current period.
    """
    team = _team_at(employment, quota.start, rep, rules)
    target = rules.minor(quota.amount, quota.currency, quota.start)
    _during(quota, m.QUOTA, quota.start, target, out, rep, team)
    _during(quota, m.QUOTA_REPS, quota.start, 1, out, rep, team)
    won = 0
    for deal in deals:
        amount = minor_total(deal, rules)
        before, won = won, won + amount
        _during(quota, m.QUOTA_WON, deal.closed_at, amount, out, rep, team)
        if before < target <= won:
            _during(quota, m.QUOTA_REACHED, deal.closed_at, 1, out, rep, team)
        elif won < target <= before:
            _during(quota, m.QUOTA_REACHED, deal.closed_at, -1, out, rep, team)
        earned = commission(won, target, rules.commission_tiers) - commission(before, target, rules.commission_tiers)
        _during(quota, m.COMMISSION, deal.closed_at, earned, out, rep, team)
    if target <= 0:
        _during(quota, m.QUOTA_REACHED, quota.start, 1, out, rep, team)


def _during(quota: Quota, measure: m.Measure, at: int, amount: int, out: Contributions, *labels: str) -> None:
    out.add(measure, at, amount, *labels)
    out.add(measure, quota.end, -amount, *labels)


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
