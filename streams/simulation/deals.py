"""What is sold: lines of a deal, its value and the recurring revenue in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from salesgauge.schemas.events import DealLine
from salesgauge.streams.simulation.environment import Environment, Weighted, money

if TYPE_CHECKING:
    from salesgauge.streams.simulation.organisation import Organisation, SoldProduct

TERMS = ((1, 0.08), (3, 0.17), (12, 0.60), (24, 0.15))  # months, weight
_DISCOUNTS = ((0, 0.5), (5, 0.15), (10, 0.2), (20, 0.15))  # per cent
_MOST_LINES = 3
LOSS_REASONS = (
    ("price", 0.32),
    ("competitor", 0.22),
    ("no_budget", 0.18),
    ("timing", 0.15),
    ("no_decision", 0.13),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A product in a deal; ``monthly`` is its price in minor units: per month, or once if it is sold once."""

    product: SoldProduct
    quantity: int
    monthly: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What a deal is about: lines for a term of ``months``."""

    lines: tuple[Line, ...]
    months: int

    @property
    def value(self) -> int:
        """Revenue of the term, minor units."""
        return sum(line.quantity * self._price(line) for line in self.lines)

    @property
    def mrr(self) -> int:
        """Monthly recurring revenue, minor units."""
        return sum(line.quantity * line.monthly for line in self.lines if line.product.recurring)

    def event_lines(self) -> tuple[DealLine, ...]:
        """The lines as the event carries them."""
        return tuple(
            DealLine(product=line.product.name, quantity=line.quantity, unit_price=money(self._price(line)))
            for line in self.lines
        )

    def _price(self, line: Line) -> int:
        return line.monthly * self.months if line.product.recurring else line.monthly


class PriceList:
    """Offers at random."""

    def __init__(self, env: Environment) -> None:
        organisation: Organisation = env.organisation
        self._env = env
        self._terms = Weighted(TERMS)
        self._discounts = Weighted(_DISCOUNTS)
        self._reasons = Weighted(LOSS_REASONS)
        self._first = Weighted([(p, p.share) for p in organisation.products if p.recurring])
        self._any = Weighted([(p, p.share) for p in organisation.products])

    def offer(self, size: float) -> Offer:
        """One to three products, at least one of them recurring; ``size`` scales the quantities."""
        pick = self._env.random
        products = [self._first.pick(pick())]
        while len(products) < _MOST_LINES and self._env.chance(0.35):
            product = self._any.pick(pick())
            if product not in products:
                products.append(product)
        discount = self._discounts.pick(pick())
        return Offer(tuple(self._line(product, size, discount) for product in products), self._terms.pick(pick()))

    def more_of(self, offer: Offer) -> Offer:
        """An upsell: more of the same for the same term."""
        line = offer.lines[0]
        return Offer((Line(line.product, max(1, line.quantity // 3), line.monthly),), offer.months)

    def something_else(self, offer: Offer) -> Offer | None:
        """A cross-sell: one product that the customer has not; None if there is none."""
        owned = {line.product for line in offer.lines}
        others = [p for p in self._env.organisation.products if p not in owned]
        return Offer((self._line(self._env.one(others), 1.0, 0),), offer.months) if others else None

    def why_lost(self) -> str:
        """A reason that the CRM offers for a lost deal."""
        return self._reasons.pick(self._env.random())

    def _line(self, product: SoldProduct, size: float, discount: int) -> Line:
        quantity = max(1, round(self._env.around(2.5 * size, 0.7))) if product.recurring else 1
        return Line(product, quantity, product.price * (100 - discount) // 100)
