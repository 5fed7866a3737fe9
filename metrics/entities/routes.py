"""Who is told what: how entities on many shards come to know what they need of each other.

Attributes flow down, outcomes flow up: what an entity sends depends on the *kind* of fact, and the kinds form an
acyclic graph even where entities refer to each other. :data:`LONGEST_CHAIN` is computed at import; a circle of kinds is
an error there. Claims, proof and bounds: docs/identity.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from salesgauge.metrics.entities.facts import (
    ACCOUNT,
    DEAL,
    FACTS,
    LEAD,
    LEDGER_SEPARATOR,
    REP,
    DealFact,
    Fact,
    Merge,
    address,
)
from salesgauge.metrics.entities.identities import Survivors
from salesgauge.metrics.entities.state import Box, Message, State

_LEAD_KEY, _LEAD_IDENTITY = "key of a lead", "lead"
_ACCOUNT_KEY, _ACCOUNT_IDENTITY = "key of an account", "account"

_PROFILE = frozenset(fact for fact in FACTS.values() if fact.profile)
_CREDIT = frozenset(fact for fact in FACTS.values() if fact.credit)
_DEAL = frozenset(fact for fact in FACTS.values() if issubclass(fact, DealFact))
_OTHER = frozenset(fact for fact in FACTS.values() if not issubclass(fact, DealFact | Merge))

CARRIES: Mapping[tuple[str, str], frozenset[type[Fact]]] = {
    (_LEAD_KEY, _LEAD_IDENTITY): _OTHER,
    (_ACCOUNT_KEY, _ACCOUNT_IDENTITY): _OTHER,
    (_LEAD_IDENTITY, DEAL): _PROFILE,
    (DEAL, _LEAD_IDENTITY): _DEAL,
    (DEAL, _ACCOUNT_IDENTITY): _DEAL | _CREDIT,
    (DEAL, REP): _DEAL | _CREDIT,
}
"""Which kinds of facts travel from where to where. A deal's facts also ask its leads for their profile."""


def _chain(station: str, kind: type[Fact], seen: frozenset[tuple[str, type[Fact]]] = frozenset()) -> int:
    """Messages in the longest chain that a fact of this kind sets off."""
    if (station, kind) in seen:
        raise TypeError(f"facts of the kind {kind.__name__} would go in circles")
    onward = [(to, kind) for (at, to), kinds in CARRIES.items() if at == station and kind in kinds]
    if station == _LEAD_IDENTITY and issubclass(kind, DealFact):
        onward += [(DEAL, profile) for profile in _PROFILE]
    return max((1 + _chain(to, on, seen | {(station, kind)}) for to, on in onward), default=0)


LONGEST_CHAIN = 1 + max(_chain(at, kind) for (at, _), kinds in CARRIES.items() for kind in kinds)
"""Messages that one event can set off in a row, the way home included."""


def kind_of(entity: str) -> str:
    """``lead/4711`` -> ``lead``."""
    return entity.partition("/")[0]


def home_key(entity: str) -> str:
    """The key whose partition is the entity's home: its own, without a ledger page's day or ticket."""
    return entity.partition("/")[2].partition(LEDGER_SEPARATOR)[0]


def note_names(state: State, facts: Iterable[Fact]) -> None:
    """Remember whom facts name, for ever: whoever is named no longer must learn that, too."""
    if kind_of(state.address) == DEAL:
        state.named.update(name for fact in facts for name in fact.names())
        return
    for fact in facts:
        if isinstance(fact, DealFact):
            state.named.update(fact.names())


def consequences(state: State, arrived: Message, news: Mapping[str, Box], who: Survivors) -> list[Message]:
    """What the entity tells others after a message.

    Args:
        state: the entity, the message taken.
        arrived: the message.
        news: what it brought, by whom it is about. None at all may mean the repair of a crash: then everything that
            the message led to is said again.
        who: the survivors.
    """
    kind = kind_of(state.address)
    again = not any(box.facts for box in news.values())
    abouts = [about for about, _ in arrived.boxes]
    if kind == DEAL:
        return _of_deal(state, abouts, who)
    if kind == LEAD:
        return _of_lead(state, abouts, news, who, again=again)
    if kind == ACCOUNT and state.address in abouts:
        return _to_survivor(state, _part(state, state.address, news, again=again), who)
    return []


def everything(state: State, who: Survivors) -> list[Message]:
    """All that the entity has to tell: after merges of those it mentions, and when it has a new owner."""
    abouts = list(state.boxes)
    kind = kind_of(state.address)
    if kind == DEAL:
        return _of_deal(state, [state.address, *abouts], who)
    if kind == LEAD:
        return _of_lead(state, abouts, {}, who, again=True)
    return _to_survivor(state, state.own, who) if kind == ACCOUNT else []


def _of_deal(state: State, abouts: Iterable[str], who: Survivors) -> list[Message]:
    """A deal's own facts go to all that any version named; what its leads say goes on to accounts and reps alone."""
    own = state.own
    if not own.facts:
        return []
    upwards = state.address in abouts
    credit = [(about, part) for about, box in sorted(state.boxes.items()) if (part := _only(box, _CREDIT)).facts]
    messages = []
    for to in sorted(_targets(state, who)):
        if kind_of(to) != LEAD:
            messages.append(Message(to, ((state.address, own), *credit)))
        elif upwards:
            messages.append(Message(to, ((state.address, own),)))
    return messages


def _targets(state: State, who: Survivors) -> set[str]:
    """Whom a deal tells: the survivors of all it ever named, and accounts that are named like its leads."""
    targets = {who(name) for name in state.named}
    return targets | {address(ACCOUNT, to.partition("/")[2]) for to in targets if kind_of(to) == LEAD}


def _of_lead(
    state: State, abouts: Iterable[str], news: Mapping[str, Box], who: Survivors, *, again: bool
) -> list[Message]:
    """A merged key relays what it holds; a lead tells its deals its profile, all of it where a deal's facts came."""
    if len(state.boxes) == 1 and who(state.address) == state.address:
        return []  # most leads: not merged, without deals
    messages: list[Message] = []
    deals = [about for about in state.boxes if kind_of(about) == DEAL]
    asking = [about for about in abouts if kind_of(about) == DEAL]
    parts: dict[str, Box] = {}
    for about in abouts:
        if about == state.address and who(about) != about:
            messages += _to_survivor(state, _part(state, about, news, again=again), who)
        elif kind_of(about) == LEAD and who(about) == state.address:
            parts[about] = _only(_part(state, about, news, again=again), _PROFILE)
    if asking:
        whole = [
            (about, _only(box, _PROFILE)) for about, box in sorted(state.boxes.items()) if _is_member(about, state, who)
        ]
        messages += _tell(asking, whole)
        deals = [deal for deal in deals if deal not in asking]
    return messages + _tell(deals, sorted(parts.items()))


def _is_member(about: str, state: State, who: Survivors) -> bool:
    return kind_of(about) == LEAD and who(about) == state.address


def _tell(deals: Iterable[str], boxes: Iterable[tuple[str, Box]]) -> list[Message]:
    told = tuple((about, box) for about, box in boxes if box.facts)
    return [Message(deal, told) for deal in deals] if told else []


def _to_survivor(state: State, box: Box, who: Survivors) -> list[Message]:
    survivor = who(state.address)
    return [Message(survivor, ((state.address, box),))] if survivor != state.address and box.facts else []


def _part(state: State, about: str, news: Mapping[str, Box], *, again: bool) -> Box:
    return state.box(about) if again else news.get(about, Box())


def _only(box: Box, kinds: frozenset[type[Fact]]) -> Box:
    return Box({fact.id: fact for fact in box.facts.values() if type(fact) in kinds})
