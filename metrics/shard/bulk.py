"""Bulk load: many events at once into an empty engine, when only the end counts.

The engine brings panes up to date with every batch, which costs most of its time. Here facts are only put with their
entities; at the end merges are learnt, entities tell each other what must be known, and then each is computed once. As
the result is a function of the set of events, it is the one that the engine comes to with all of them in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from salesgauge.metrics.entities.facts import DEAL, Merge
from salesgauge.metrics.entities.routes import LONGEST_CHAIN, consequences, everything, kind_of, note_names
from salesgauge.metrics.entities.state import Message, State
from salesgauge.metrics.shard.shard import Outcome, Shard

Told = dict[str, list[Message]]
"""What entities are told, by address."""

_HELD = 1_000_000
"""Facts held unpacked; beyond them all are packed."""


def _to_all_here(told: Told) -> Told | None:
    return told or None


def _only_own(merges: Sequence[Merge]) -> Sequence[Merge]:
    return merges


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
        self._states: dict[str, State] = {}
        self.merges: list[Merge] = []

    def add(self, batch: Sequence[Message]) -> Outcome:
        """Put facts with their entities; the outcome counts them, without merges, and says which were refused."""
        outcome = Outcome()
        for position, item in enumerate(batch):
            if item.is_merge:
                self.merges += [fact for fact in item.facts if isinstance(fact, Merge)]
            else:
                self._put(position, item, outcome)
        if self._held > self._limit:
            self._pack()
        return outcome

    def finish(
        self,
        exchange: Callable[[Told], Told | None] = _to_all_here,
        share: Callable[[Sequence[Merge]], Sequence[Merge]] = _only_own,
    ) -> list[Exception]:
        """Compute everything; why entities could not be computed, which then add nothing.

        Args:
            exchange: is given what entities of this shard tell, and gives what those of this shard are told; None
                where no entity of any shard was told anything.
            share: is given the merges that were read here, and gives those of all shards.
        """
        self._shard.identities.learn(share(self.merges))
        told = exchange(self._first_told())
        for _ in range(LONGEST_CHAIN + 1):
            if told is None:
                break
            told = exchange(self._deliver(told))
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

    def _first_told(self) -> Told:
        """What entities have to tell, now that all events are there."""
        told: Told = {}
        self._pack()
        who = self._shard.identities
        for address in self._shard.states:  # only deals and merged keys have; the others need not be opened
            if kind_of(address) == DEAL or who(address) != address:
                self._post(everything(self._shard.state(address), who), told)
        return told

    def _deliver(self, told: Told) -> Told:
        """Put what entities are told; what they tell others then."""
        onward: Told = {}
        for items in told.values():
            for item in items:
                state = self._open(item.to)
                note_names(state, item.facts)
                news = {about: state.box(about).unite(box) for about, box in item.boxes}
                if any(box.facts for box in news.values()):
                    self._held += sum(len(box.facts) for box in news.values())
                    self._post(consequences(state, item, news, self._shard.identities), onward)
        return onward

    @staticmethod
    def _post(messages: Iterable[Message], told: Told) -> None:
        for message in messages:
            told.setdefault(message.to, []).append(message)

    def _put(self, position: int, item: Message, outcome: Outcome) -> None:
        state = self._open(item.to)
        facts = state.own.facts
        for about, box in item.boxes:
            for fact in box.facts.values():
                known = fact.id in facts
                if not known and len(facts) >= self._shard.rules.max_facts:
                    outcome.refused.append(position)
                    return
                note_names(state, (fact,))
                news = state.box(about).add(fact)
                outcome.distinct += not known
                outcome.applied += news
                outcome.repeated += not news
                self._held += not known

    def _open(self, address: str) -> State:
        state = self._states.get(address)
        if state is None:
            state = self._states[address] = self._shard.state(address)
            self._held += len(state)
        return state

    def _pack(self) -> None:
        for state in self._states.values():
            if state.boxes:
                self._shard.load(state)
        self._states.clear()
        self._held = 0
