"""What a closed deal adds to the period it was closed in, whether it belongs to a lead or to an account alone."""

from __future__ import annotations

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.deals import Deal
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.registry import UNKNOWN
from salesgauge.metrics.rules.model import Rules


def add_period_measures(deal: Deal, labels: tuple[str, str, str, str], rules: Rules, out: Contributions) -> None:
    """Add a close's count and revenue; ``labels`` are (rep, team, source, location of the lead)."""
    rep, team, source, location = labels
    at = deal.closed_at
    if deal.won is not None:
        products = tuple(sorted({product for product, _ in deal.won.lines})) or (UNKNOWN,)
        out.add(m.DEALS_WON, at, 1, rep, team, source, products)
        for product, amount in minor_lines(deal, rules):
            out.add(m.REVENUE, at, amount, rep, team, product, deal.won.location or location)
    elif deal.lost is not None:
        out.add(m.DEALS_LOST, at, 1, rep, team, source, (deal.lost.product or UNKNOWN,))


def minor_lines(deal: Deal, rules: Rules) -> list[tuple[str, int]]:
    """(product, revenue in the rules' smallest unit) of each line of the standing win."""
    won = deal.won
    if won is None:
        return []
    return [(product, rules.minor(micros, won.currency, won.at)) for product, micros in won.lines]


def minor_total(deal: Deal, rules: Rules) -> int:
    """Revenue of the standing win in the rules' smallest unit."""
    return sum(amount for _, amount in minor_lines(deal, rules))
