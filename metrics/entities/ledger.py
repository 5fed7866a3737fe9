"""Ledger pages: facts that add up without regard to each other, kept per key and day so that a page stays small."""

from __future__ import annotations

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.facts import Fact, Feedback, Price, Spend, Survey, Ticket, Usage
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.rep import DETRACTOR, PROMOTER
from salesgauge.metrics.entities.state import State
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.rules.model import Rules

_SATISFIED = 4
"""The least CSAT score of a satisfied customer."""


def contribute(state: State, who: Survivors, rules: Rules, out: Contributions) -> None:
    """Add what the page of this state adds."""
    del who
    facts = state.own.sorted()
    for fact in facts:
        _add(fact, rules, out)
    if facts and isinstance(facts[0], Ticket):
        out.add(m.TICKETS, facts[0].at, 1)


def _add(fact: Fact, rules: Rules, out: Contributions) -> None:
    if isinstance(fact, Usage):
        out.add(m.USAGE, fact.at, fact.ms)
    elif isinstance(fact, Spend):
        measure = m.SPEND if fact.category == "marketing" else m.SPEND_SALES
        amount = rules.minor(fact.amount, fact.currency, fact.at)
        out.add(measure, fact.at, amount, campaign=fact.campaign, channel=fact.channel)
    elif isinstance(fact, Price):
        _add_price(fact, rules, out)
    elif isinstance(fact, Survey):
        _add_survey(fact, out)
    elif isinstance(fact, Feedback):
        out.add(m.FEEDBACK, fact.at, 1, kind=fact.kind)


def _add_price(fact: Price, rules: Rules, out: Contributions) -> None:
    at, product, competitor = fact.at, fact.product, fact.competitor
    out.add(m.PRICES, at, 1, product=product, competitor=competitor)
    out.add(m.PRICE_THEIRS, at, rules.minor(fact.price, fact.currency, at), product=product, competitor=competitor)
    out.add(m.PRICE_OWN, at, rules.minor(fact.own, fact.currency, at), product=product, competitor=competitor)


def _add_survey(fact: Survey, out: Contributions) -> None:
    if fact.kind == "nps":
        out.add(m.NPS_ANSWERS, fact.at, 1)
        out.add(m.NPS_PROMOTERS, fact.at, int(fact.score >= PROMOTER))
        out.add(m.NPS_DETRACTORS, fact.at, int(fact.score <= DETRACTOR))
    elif fact.kind == "csat":
        out.add(m.CSAT_ANSWERS, fact.at, 1)
        out.add(m.CSAT_SUM, fact.at, fact.score)
        out.add(m.CSAT_SATISFIED, fact.at, int(fact.score >= _SATISFIED))
