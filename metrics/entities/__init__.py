"""Entities own the truth: each folds what it remembers into contributions to the measures.

An entity's address is ``kind/key`` (``lead/4711``); its home is the partition of its key, so that all facts about it
meet in one place. What an entity knows and another needs is sent to the other's address as the same facts
(:mod:`.routes`), which makes sending twice harmless.
"""

from __future__ import annotations

from collections.abc import Callable

from salesgauge.metrics.entities import account, deals, lead, ledger, rep
from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.facts import ACCOUNT, DEAL, EVENT_NAMES, LEAD, LEDGER, REP, Fact
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.routes import kind_of
from salesgauge.metrics.entities.state import State
from salesgauge.metrics.measures.registry import EVENTS_SEEN
from salesgauge.metrics.rules.model import Rules

_CONTRIBUTE: dict[str, Callable[[State, Survivors, Rules, Contributions], None]] = {
    LEAD: lead.contribute,
    DEAL: deals.contribute,
    ACCOUNT: account.contribute,
    REP: rep.contribute,
    LEDGER: ledger.contribute,
}


def contributions(state: State, who: Survivors, rules: Rules) -> Contributions:
    """What an entity adds to the measures: a pure function of what it remembers, of the survivors and the rules."""
    out = Contributions()
    if state.address in rules.skip:
        return out
    _CONTRIBUTE[kind_of(state.address)](state, who, rules, out)
    _add_seen(state, out)
    return out


def _add_seen(state: State, out: Contributions) -> None:
    """Say which kinds of events ever came about the entity, whatever became of it: by this a KPI is connected."""
    earliest: dict[type[Fact], int] = {}
    for fact in state.own.facts.values():
        kind, at = type(fact), fact.at
        if at < earliest.get(kind, at + 1):
            earliest[kind] = at
    for kind, at in earliest.items():
        out.add(EVENTS_SEEN, at, 1, event=EVENT_NAMES[kind])
