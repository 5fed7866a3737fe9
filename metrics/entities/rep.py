"""The rep: employment, quotas with what was won towards them, commission, and answers about working here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from metrics import measures as m
from metrics.contributions import Contributions
from metrics.entities.book import Book
from metrics.entities.deals import Deal, fold_deals
from metrics.entities.period import minor_total
from metrics.facts import Fact, Joined, Left, Quota, Survey
from metrics.measures import UNKNOWN
from metrics.rules import CommissionTier, Rules

_BEGINNING = 0
PROMOTER = 9
"""The least score of a promoter (NPS, eNPS)."""
DETRACTOR = 6
"""The greatest score of a detractor."""


def write(book: Book, facts: Sequence[Fact], added: Sequence[Fact] | None, key: str) -> None:
    """Bring the book of the rep ``key`` up to date; ``facts`` are sorted by time."""
    del added
    book.chapter(_all, tuple(facts), key)


def _all(out: Contributions, rules: Rules, facts: Sequence[Fact], key: str) -> None:
    employment = [fact for fact in facts if isinstance(fact, Joined | Left)]
    for fact in employment:
        if isinstance(fact, Joined) and fact.team:
            out.add(m.REP_TEAM, fact.at, 1, key, fact.team)
    _add_headcount(employment, key, rules, out)
    _add_surveys(facts, employment, key, rules, out)
    deals = sorted(
        (deal for deal in fold_deals(facts) if deal.won is not None and deal.won.rep == key),
        key=lambda deal: (deal.closed_at, deal.id),
    )
    for quota in _current_quotas(facts):
        _add_quota(quota, deals, _team_at(employment, quota.start, key, rules), key, rules, out)


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


def _add_surveys(
    facts: Sequence[Fact], employment: Sequence[Joined | Left], rep: str, rules: Rules, out: Contributions
) -> None:
    for fact in facts:
        if isinstance(fact, Survey):
            team = fact.team or _team_at(employment, fact.at, rep, rules)
            add_enps(fact, team, out)


def add_enps(fact: Survey, team: str, out: Contributions) -> None:
    """Add one employee's answer."""
    out.add(m.ENPS_ANSWERS, fact.at, 1, team)
    if fact.score >= PROMOTER:
        out.add(m.ENPS_PROMOTERS, fact.at, 1, team)
    elif fact.score <= DETRACTOR:
        out.add(m.ENPS_DETRACTORS, fact.at, 1, team)


def _current_quotas(facts: Sequence[Fact]) -> list[Quota]:
    """One quota per period: of several for the same period the one recorded last."""
    latest: dict[tuple[int, int], Quota] = {}
    for fact in facts:
        if isinstance(fact, Quota):
            known = latest.get((fact.start, fact.end))
            if known is None or fact.version > known.version:
                latest[fact.start, fact.end] = fact
    return [latest[period] for period in sorted(latest)]


def _add_quota(quota: Quota, deals: Sequence[Deal], team: str, rep: str, rules: Rules, out: Contributions) -> None:
    """Everything of a period is added within it and taken back at its end, so a stock shows the current period."""
    target = rules.minor(quota.amount, quota.currency, quota.start)
    _during(quota, m.QUOTA, quota.start, target, out, rep, team)
    _during(quota, m.QUOTA_REPS, quota.start, 1, out, rep, team)
    won = 0
    for deal in deals:
        if not quota.start <= deal.closed_at < quota.end:
            continue
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
