"""The facts behind what an entity adds: those without which it would add something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from salesgauge.metrics.entities.facts import Fact
from salesgauge.metrics.entities.state import Box, State
from salesgauge.metrics.explain.explanation import EntityShare, FactRef

MOST_FACTS = 100
"""So many facts of an entity are looked at, the latest; each costs a computation of the entity."""
MOST_OF_ALL = 2_000
"""So many facts are looked at in all; entities that come later are listed without."""


def facts_behind(
    share: EntityShare, state: State, adds: Callable[[State], EntityShare | None], most: int = MOST_FACTS
) -> EntityShare:
    """The share with the facts behind it, by time.

    A fact is behind it where the entity would add something else without it. Where each alone could be missing (a
    thing was told twice), all facts are named that could be behind it.

    Args:
        share: what the entity adds.
        state: the entity.
        adds: what it would add in another state.
        most: facts to look at.
    """
    pairs = sorted(_facts(state), key=lambda pair: (pair[1].at, pair[1].id))
    tried = pairs[-most:] if most > 0 else []
    needed = [pair for pair in tried if adds(_without(state, *pair)) != share]
    refs = [
        FactRef(str(fact.event.model_fields["event"].default), fact.at, about, fact.id)
        for about, fact in needed or tried
    ]
    return msgspec.structs.replace(share, facts=refs, further_facts=len(pairs) - len(tried))


def _facts(state: State) -> Iterator[tuple[str, Fact]]:
    for about, box in state.boxes.items():
        yield from ((about, fact) for fact in box.facts.values())


def _without(state: State, about: str, fact: Fact) -> State:
    box = state.boxes[about]
    rest = Box({known: other for known, other in box.facts.items() if known != fact.id}, box.places)
    return State(state.address, {**state.boxes, about: rest}, state.named)
