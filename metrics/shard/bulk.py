"""Bulk load: many events at once into an empty engine, when only the end counts.

The engine brings panes up to date with every batch, which costs most of its time. Here facts are only put with their
entities; at the end entities tell each other what must be known, and then each is computed once. As the result is a
function of the set of events, it is the one that the engine comes to with all of them in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from salesgauge.metrics import entities
from salesgauge.metrics.entities.facts import Fact
from salesgauge.metrics.shard.shard import MAX_HOPS, Addressed, Outcome, Shard, prevails

Told = dict[str, list[Addressed]]
"""What entities are told, by address."""

_HELD = 1_000_000
"""Facts held unpacked; beyond them all are packed."""


def _to_all_here(told: Told) -> Told | None:
    return told or None


class BulkLoad:
    """Collects the facts of a shard that holds nothing yet.

    Args:
        shard: it stays empty until :meth:`finish`.
        held: facts to hold unpacked at most.

    Raises:
        ValueError: the shard is not empty.
    """

    def __init__(self, shard: Shard, held: int = _HELD) -> None:
        if len(shard):
            raise ValueError("a bulk load is for an empty shard")
        self._shard = shard
        self._limit = held
        self._held = 0
        self._facts: dict[str, dict[int, Fact]] = {}
        self._telling: dict[str, None] = {}

    def add(self, batch: Sequence[Addressed]) -> Outcome:
        """Put facts with their entities; the outcome counts them and says which were refused."""
        outcome = Outcome()
        for position, item in enumerate(batch):
            self._take(position, item, outcome)
        if self._held > self._limit:
            self._pack()
        return outcome

    def finish(self, exchange: Callable[[Told], Told | None] = _to_all_here) -> list[Exception]:
        """Compute everything; why entities could not be computed, which then add nothing.

        Args:
            exchange: is given what entities of this shard tell, and gives what those of this shard are told; None
                where no entity of any shard was told anything.
        """
        told = exchange(self._told((address, None) for address in self._telling))
        for _ in range(MAX_HOPS):
            if told is None:
                break
            for items in told.values():
                for item in items:
                    self._take(-1, item, Outcome())
            told = exchange(self._told((a, items) for a, items in told.items() if a in self._telling))
            if self._held > self._limit:
                self._pack()
        self._pack()
        failures: list[Exception] = []
        while not self._shard.built:
            try:
                self._shard.build()
            except Exception as error:  # noqa: BLE001 - one poisonous entity must not stop the others
                failures.append(error)
        return failures

    def _told(self, tellers: Iterable[tuple[str, list[Addressed] | None]]) -> Told:
        """What entities tell others after ``items`` came to them (None: after all that they know), by addressee."""
        told: Told = {}
        for address, items in tellers:
            facts = sorted(self._open(address).values(), key=lambda fact: (fact.at, fact.id))
            touched = facts if items is None else [fact for item in items for fact in item.facts]
            for to, news in entities.outbound(address, facts, touched).items():
                told.setdefault(to, []).append(Addressed(to, tuple(news), 1))
        return told

    def _take(self, position: int, item: Addressed, outcome: Outcome) -> None:
        facts = self._open(item.address)
        for fact in item.facts:
            known = facts.get(fact.id)
            if known is None:
                if len(facts) >= self._shard.rules.max_facts:
                    outcome.refused.append(position)
                    continue
                outcome.distinct += 1
                self._held += 1
            elif not prevails(fact, known):
                outcome.repeated += 1
                continue
            facts[fact.id] = fact
            outcome.applied += 1
            if type(fact) in entities.TELLING:
                self._telling[item.address] = None

    def _open(self, address: str) -> dict[int, Fact]:
        facts = self._facts.get(address)
        if facts is None:
            facts = self._facts[address] = {fact.id: fact for fact in self._shard.facts(address)}
            self._held += len(facts)
        return facts

    def _pack(self) -> None:
        for address, facts in self._facts.items():
            if facts:
                self._shard.load(address, facts.values())
        self._facts.clear()
        self._held = 0
