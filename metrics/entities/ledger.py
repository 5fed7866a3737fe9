"""Ledger pages: facts that add up without regard to each other, kept per key and day so that a page stays small.

A support ticket has a page of its own, so that it counts once.
"""

from __future__ import annotations

from collections.abc import Sequence

from salesgauge.metrics.entities.book import Book
from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.facts import Fact, Feedback, Price, Spend, Survey, Ticket, Usage
from salesgauge.metrics.entities.rep import DETRACTOR, PROMOTER
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.registry import UNKNOWN
from salesgauge.metrics.rules.model import Rules

_SATISFIED = 4
"""The least CSAT score of a satisfied customer."""


def write(book: Book, facts: Sequence[Fact], fresh: Sequence[Fact] | None, key: str) -> None:
    """Bring the book of a page up to date."""
    del fresh, key
    if isinstance(facts[0], Ticket):
        book.chapter(_ticket, facts[0].at)
    else:
        book.log(_entries, facts)


def _ticket(out: Contributions, rules: Rules, opened_at: int) -> None:
    del rules
    out.add(m.TICKETS, opened_at, 1)


def _entries(out: Contributions, rules: Rules, facts: Sequence[Fact]) -> None:
    for fact in facts:
        _add(fact, rules, out)


def _add(fact: Fact, rules: Rules, out: Contributions) -> None:
    if isinstance(fact, Usage):
        out.add(m.USAGE, fact.at, fact.ms)
    elif isinstance(fact, Spend):
        measure = m.SPEND if fact.category == "marketing" else m.SPEND_SALES
        amount = rules.minor(fact.amount, fact.currency, fact.at)
        out.add(measure, fact.at, amount, fact.campaign, fact.channel or UNKNOWN)
    elif isinstance(fact, Price):
        _add_price(fact, rules, out)
    elif isinstance(fact, Survey):
        _add_survey(fact, out)
    elif isinstance(fact, Feedback):
        out.add(m.FEEDBACK, fact.at, 1, fact.kind)


def _add_price(fact: Price, rules: Rules, out: Contributions) -> None:
    labels = (fact.product, fact.competitor)
    out.add(m.PRICES, fact.at, 1, *labels)
    out.add(m.PRICE_THEIRS, fact.at, rules.minor(fact.price, fact.currency, fact.at), *labels)
    out.add(m.PRICE_OWN, fact.at, rules.minor(fact.own, fact.currency, fact.at), *labels)


def _add_survey(fact: Survey, out: Contributions) -> None:
    if fact.kind == "nps":
        out.add(m.NPS_ANSWERS, fact.at, 1)
        if fact.score >= PROMOTER:
            out.add(m.NPS_PROMOTERS, fact.at, 1)
        elif fact.score <= DETRACTOR:
            out.add(m.NPS_DETRACTORS, fact.at, 1)
    elif fact.kind == "csat":
        out.add(m.CSAT_ANSWERS, fact.at, 1)
        out.add(m.CSAT_SUM, fact.at, fact.score)
        if fact.score >= _SATISFIED:
            out.add(m.CSAT_SATISFIED, fact.at, 1)
