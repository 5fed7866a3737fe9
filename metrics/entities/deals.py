"""A deal: what its facts, in whatever order they arrive, say about its opening and its standing close."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from salesgauge.metrics.entities.facts import DealFact, Fact, Lost, Opportunity, Reopened, Won


@dataclass(slots=True)
class Deal:
    """A deal as its facts tell it.

    ``accounts`` are all that some fact names: each of them is told every fact, and only :attr:`account` counts it.
    ``won`` or ``lost`` is the close that stands (at most one), ``closed_at`` its instant in ms. Several versions of
    one close (a corrected amount) keep the earliest instant and the content recorded last.
    """

    id: str
    opened: Opportunity | None = None
    opened_at: int = 0
    won: Won | None = None
    lost: Lost | None = None
    closed_at: int = 0
    opened_account: str = ""
    accounts: set[str] = field(default_factory=set)

    @property
    def account(self) -> str:
        """The account that the deal belongs to: the close's, else the opportunity's, else the lead itself."""
        if self.won is None:
            return self.opened_account
        return self.won.account or self.opened_account or self.won.lead

    @property
    def revenue_lines(self) -> tuple[tuple[str, int], ...]:
        """(product, millionths of a major unit) of the standing win."""
        return self.won.lines if self.won else ()


def fold_deals(facts: Iterable[Fact]) -> list[Deal]:
    """The deals of the facts, in order of their ids."""
    return [fold_deal(deal, told) for deal, told in sorted(deal_facts(facts).items())]


def deal_facts(facts: Iterable[Fact]) -> dict[str, list[DealFact]]:
    """Deal id -> the facts about it, in their order."""
    by_deal: dict[str, list[DealFact]] = {}
    for fact in facts:
        if isinstance(fact, DealFact):
            by_deal.setdefault(fact.deal, []).append(fact)
    return by_deal


def fold_deal(deal_id: str, facts: Iterable[DealFact]) -> Deal:
    """The deal that its facts, in any order, tell of."""
    deal = Deal(deal_id)
    # Exports often know only dates: at one instant a close comes before the re-opening of it.
    for fact in sorted(facts, key=lambda f: (f.at, f.rec or f.at, isinstance(f, Reopened), f.id)):
        if isinstance(fact, Opportunity):
            _open(deal, fact)
        elif isinstance(fact, Won):
            _win(deal, fact)
        elif isinstance(fact, Lost):
            _lose(deal, fact)
        elif isinstance(fact, Reopened):
            deal.won = deal.lost = None
        if isinstance(fact, Lost | Reopened) and fact.account:
            deal.accounts.add(fact.account)
    return deal


def _open(deal: Deal, fact: Opportunity) -> None:
    if deal.opened is None:
        deal.opened_at = fact.at
    if deal.opened is None or fact.version > deal.opened.version:
        deal.opened = fact
    if fact.account:
        deal.accounts.add(fact.account)
        deal.opened_account = fact.account if deal.opened is fact else deal.opened_account or fact.account


def _win(deal: Deal, fact: Won) -> None:
    if deal.won is None:
        deal.closed_at = fact.at
    if deal.won is None or fact.version > deal.won.version:
        deal.won = fact
    deal.lost = None
    # A win without an account may turn out to have one when its opportunity arrives: both must hear of all facts.
    deal.accounts.add(fact.account or fact.lead)


def _lose(deal: Deal, fact: Lost) -> None:
    if deal.lost is None:
        deal.closed_at = fact.at
    if deal.lost is None or fact.version > deal.lost.version:
        deal.lost = fact
    deal.won = None
