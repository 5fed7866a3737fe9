"""Explains a reading from entities: what each adds to its parts, by the contributions that the engine adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from salesgauge.metrics import entities
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.state import State
from salesgauge.metrics.explain.behind import MOST_FACTS, MOST_OF_ALL, facts_behind
from salesgauge.metrics.explain.explanation import EntityShare, Partial, Wait, heaviest
from salesgauge.metrics.explain.question import Addend, Part, Scope, Side
from salesgauge.metrics.explain.sums import ContributionSums
from salesgauge.metrics.kpis.formula import EnlistedIn, Expr
from salesgauge.metrics.measures.registry import Kind, Measure

_KEPT = 4
"""So many times the limit are held before all but the heaviest are let go."""


@dataclass(slots=True)
class Explainer:
    """Takes entities one by one, of one or more partitions; then gives what they say together.

    Args:
        scope: the question, understood.
        who: the survivors of merged leads and accounts.
    """

    scope: Scope
    who: Survivors
    _total: ContributionSums = field(init=False)
    _addends: list[Addend] = field(init=False)
    _found: list[EntityShare] = field(default_factory=list)
    _parts: dict[str, Part] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        self._total = ContributionSums(self.scope)
        self._addends = self.scope.addends(self._total)
        for addend in self._addends:
            if not addend.in_currencies:
                name = str(addend.term)
                self._parts[name] = addend.part(name, self.scope.digits)

    def take(self, state: State) -> None:
        """Take an entity."""
        sums = self._sums(state)
        if sums is None:
            return
        self._total.absorb(sums)
        share = self._share(state.address, sums, note=True)
        if share is None:
            return
        self._count += 1
        self._found.append(share)
        limit = self.scope.question.limit
        if limit is not None and len(self._found) > _KEPT * limit:
            self._found = heaviest(self._found, limit)

    def answer(self, state_of: Callable[[str], State]) -> Partial:
        """What the entities say, with the facts behind those that are listed; ``state_of`` opens one by address."""
        listed = heaviest(self._found, self.scope.question.limit)
        if self.scope.question.facts:
            listed = list(self._with_facts(listed, state_of))
        return Partial(listed, self._count, self._total.export(), self._parts)

    def _sums(self, state: State) -> ContributionSums | None:
        measures = self.scope.measures
        rows = [row for row in entities.contributions(state, self.who, self.scope.rules) if row[0] in measures]
        if not rows:
            return None
        sums = ContributionSums(self.scope)
        sums.add(rows)
        return sums

    def _share(self, address: str, sums: ContributionSums, *, note: bool = False) -> EntityShare | None:
        """What an entity adds; None where that is nothing. ``note``: remember the names of its parts."""
        at, side = self.scope.reader(sums), self.scope.question.side
        amounts: dict[str, int] = {}
        listed = False
        numerator = denominator = 0
        for addend in self._addends:
            here = addend.amounts(at)
            listed |= bool(here) and (side is None or side in addend.sides)
            size = sum(map(abs, here.values()))
            if addend.sides == (Side.DENOMINATOR,):
                denominator += size
            else:
                numerator += size
            amounts |= here
            if note:
                self._parts |= {name: addend.part(name, self.scope.digits) for name in here}
        if not listed:
            return None
        samples, waits = self._samples(sums), self._waits(sums)
        lengths = [value for values in samples.values() for value in values]
        lengths += [wait.waited for found in waits.values() for wait in found]
        weight = (max(lengths, default=0), numerator, denominator)
        return EntityShare(address, weight, amounts, samples, waits)

    def _terms(self, kind: Kind) -> Iterator[tuple[Expr, Measure]]:
        for addend in self._addends:
            for term in addend.term.terms():
                if term.measure.kind is kind:
                    yield term, term.measure

    def _samples(self, sums: ContributionSums) -> dict[str, list[int]]:
        at, found = self.scope.reader(sums), {}
        for _, measure in self._terms(Kind.DISTRIBUTION):
            counts = [sums.values[number] for number in at.numbers(measure) if number in sums.values]
            if counts:
                found[measure.name] = sorted(value for count in counts for value in count.elements())
        return found

    def _waits(self, sums: ContributionSums) -> dict[str, list[Wait]]:
        at, found = self.scope.reader(sums), {}
        for term, measure in self._terms(Kind.ROSTER):
            first = at.start if isinstance(term, EnlistedIn) else 0
            by_clock = "clock" in measure.dims
            groups = at.instants_by(measure, "clock") if by_clock else {"": at.instants(measure)}
            waits = [
                Wait(since, self.scope.rules.clock(name).between(since, at.now) if by_clock else at.now - since)
                for name, instants in groups.items()
                for since in instants
                if first <= since <= at.now
            ]
            if waits:
                found[measure.name] = waits
        return found

    def _with_facts(self, shares: list[EntityShare], state_of: Callable[[str], State]) -> Iterator[EntityShare]:
        def adds(state: State) -> EntityShare | None:
            sums = self._sums(state)
            return None if sums is None else self._share(state.address, sums)

        left = MOST_OF_ALL
        for share in shares:
            state = state_of(share.address)
            yield facts_behind(share, state, adds, min(left, MOST_FACTS))
            left -= min(left, MOST_FACTS, len(state))
