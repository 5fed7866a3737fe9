"""The answer: the reading, its parts, and the entities that make it up."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from salesgauge.metrics.explain.question import Part, Question, Scope, Side
from salesgauge.metrics.explain.sums import ContributionSums, SeriesSums
from salesgauge.metrics.kpis.formula import Ratio

Weight = tuple[int, int, int]
"""The longest sample or wait (ms), then the amounts in the numerator (or in all parts) and in the denominator."""


class FactRef(msgspec.Struct, frozen=True):
    """A fact: the event that states it, when it happened (ms), and the address of whom it is about.

    ``id`` is the hash of the event id that entities keep; ``event_id`` is known where the events were read again.
    """

    event: str
    at: int
    about: str
    id: int
    event_id: str | None = None


class Wait(msgspec.Struct, frozen=True):
    """Somebody on a roster: since which instant (ms), and for how long (ms) on the clock of that roster."""

    since: int
    waited: int


class EntityShare(msgspec.Struct, frozen=True):
    """What an entity adds to a reading.

    Attributes:
        address: where the entity is found: ``kind/key``.
        weight: orders entities, the greatest first.
        amounts: part -> amount, in the measure's own integers; without zeros.
        samples: measure -> its samples in the window, ms.
        waits: measure -> who waits since when.
        facts: those without which it would add something else.
        further_facts: how many of its facts were not looked at.
    """

    address: str
    weight: Weight
    amounts: dict[str, int]
    samples: dict[str, list[int]] = {}
    waits: dict[str, list[Wait]] = {}
    facts: list[FactRef] = []
    further_facts: int = 0


def heaviest(entities: Iterable[EntityShare], limit: int | None) -> list[EntityShare]:
    """The first so many of them by weight; by address where that is equal."""
    ordered = sorted(entities, key=lambda one: (*(-part for part in one.weight), one.address))
    return ordered if limit is None else ordered[:limit]


class Partial(msgspec.Struct, frozen=True, tag="explain"):
    """What the entities of some partitions say: the heaviest, how many there are, and the sums over all of them."""

    entities: list[EntityShare]
    count: int
    sums: list[SeriesSums]
    parts: dict[str, Part]


class Explanation(msgspec.Struct, frozen=True):
    """A reading and the entities that make it up.

    Attributes:
        question: what was asked.
        value: the reading, computed from what the entities add; None where it has no value.
        not_connected: the events that it requires and that never came; then it has no value.
        numerator: of a quotient.
        denominator: of a quotient.
        parts: name -> part.
        totals: name of a part -> the sum of what all entities add to it, in the measure's own integers.
        entities: the heaviest first.
        count: how many entities add something; more than are listed where there is a limit.
    """

    question: Question
    value: float | None
    numerator: float | None
    denominator: float | None
    parts: dict[str, Part]
    totals: dict[str, int]
    entities: list[EntityShare]
    count: int
    not_connected: tuple[str, ...] = ()


def united(scope: Scope, partials: Iterable[Partial]) -> Explanation:
    """The explanation of the whole from those of its partitions."""
    question, total = scope.question, ContributionSums(scope)
    entities: list[EntityShare] = []
    parts: dict[str, Part] = {}
    count = 0
    for partial in partials:
        total.merge(partial.sums)
        entities += partial.entities
        parts |= partial.parts
        count += partial.count
    totals: dict[str, int] = {}
    for addend in scope.addends(total):
        totals |= addend.amounts(scope.reader(total))
    totals = {name: totals.get(name, 0) for name in parts} | totals
    missing = scope.missing(total)
    value, numerator, denominator = (None, None, None) if missing else _evaluated(scope, total)
    return Explanation(
        question, value, numerator, denominator, parts, totals, heaviest(entities, question.limit), count, missing
    )


def _evaluated(scope: Scope, total: ContributionSums) -> tuple[float | None, float | None, float | None]:
    at = scope.reader(total)
    if isinstance(scope.formula, Ratio):
        both = scope.formula.parts(at)
        return (None, None, None) if both is None else (both[0] / both[1], *both)
    return scope.formula.evaluate(at), None, None


__all__ = ["EntityShare", "Explanation", "FactRef", "Partial", "Side", "Wait", "Weight", "heaviest", "united"]
