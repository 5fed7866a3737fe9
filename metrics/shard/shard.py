"""A shard: one source partition's share of the entities. Messages in; changed states, pane changes and messages out.

An entity's state is a set of facts. Applying a message unites sets; what the entity then adds to the measures is
compared with what it added before. So the result is a function of the set of events: order, batching, repetition and
restarts cannot change it.

Everything is recomputed in full: this engine is the specification that faster ones are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from salesgauge.metrics import entities
from salesgauge.metrics.entities.contributions import Contributions, difference
from salesgauge.metrics.entities.facts import CURRENCY_FACTS, Fact, Merge, to_fact
from salesgauge.metrics.entities.identities import Identities, Survivors
from salesgauge.metrics.entities.routes import consequences, everything, home_key, note_names
from salesgauge.metrics.entities.state import Box, Message, State, mentioned_in
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.panes import Panes
from salesgauge.metrics.shard.still import Still
from salesgauge.schemas.codec import Reason, Rejection
from salesgauge.schemas.wire import AnyEvent

_RECENT = 8192
"""Entities kept open: what was touched is often touched again soon."""

_STEP = 500
"""Entities that are built before panes at rest are packed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Messages that an entity could not take because computing it failed; nothing of them was applied."""

    items: tuple[tuple[int, Message], ...]
    error: Exception


@dataclass(slots=True)
class Outcome:
    """What applying a batch led to.

    ``states`` holds the packed state of each changed entity, ``sends`` the messages for entities whose home is another
    partition, ``merges`` what is to go to the identity log, ``refused`` the positions of inputs whose entity is full,
    ``failed`` what could not be computed (position -1: sent on by an entity of this shard). ``distinct`` counts the
    events that were new to their entity, ``applied`` and ``repeated`` facts of any origin.
    """

    states: dict[str, bytes] = field(default_factory=dict)
    sends: list[Message] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    distinct: int = 0
    applied: int = 0
    repeated: int = 0


def admit(event: AnyEvent, rules: Rules, now: int, recorded_by: int = 0) -> Message | Rejection:
    """Turn a valid event into a message to its entity, or say why it cannot count at ``now`` (ms).

    A replay that looks at the past also takes what was recorded afterwards, until ``recorded_by`` (ms).
    """
    home, fact = to_fact(event)
    if rules.skip and not rules.skip.isdisjoint((event.event_id, home)):
        return Rejection(Reason.SKIPPED, "`rules.skip` names the event or its entity")
    if fact.at > now + rules.max_future_ms:
        return _ahead("occurred_at", fact.at - now, rules)
    if fact.rec > max(now, recorded_by) + rules.max_future_ms:
        return _ahead("recorded_at", fact.rec - max(now, recorded_by), rules)
    if fact.at < 0 or fact.rec < 0:
        return Rejection(Reason.INVALID, "occurred_at or recorded_at lies before 1970")
    if type(fact) in CURRENCY_FACTS:
        currency = fact.currency  # type: ignore[attr-defined]
        if not rules.knows(currency, fact.at):
            return Rejection(Reason.UNKNOWN_CURRENCY, f"no rate for {currency} at that date; add it to `rates`")
    return Message(home, ((home, Box({fact.id: fact})),), from_source=True)


def _ahead(field: str, ms: int, rules: Rules) -> Rejection:
    return Rejection(Reason.FUTURE, f"{field} lies {ms / 1000:.0f} s ahead; {rules.max_future} are allowed")


def _always_here(_: str) -> bool:
    return True


@dataclass(slots=True)
class _Open:
    """An entity whose state is unpacked, with what the panes hold of it."""

    state: State
    added: Contributions


_Pending = dict[str, list[tuple[int, Message]]]


class Shard:
    """Entities and panes of one source partition.

    Args:
        rules: the rules of the business.
        leaves: numbers the leaves; shards of one process may share it.
        is_home: whether an entity (by its home key) belongs to this partition; messages to others leave the shard.
        identities: the merges that are known; shards of one process may not share it, since each learns for itself.
    """

    def __init__(
        self,
        rules: Rules,
        leaves: LeafIndex,
        is_home: Callable[[str], bool] = _always_here,
        identities: Identities | None = None,
    ) -> None:
        self.rules = rules
        self.panes = Panes(leaves, rules)
        self.identities = Identities() if identities is None else identities
        self._is_home = is_home
        self._states: dict[str, bytes] = {}
        self._unbuilt: dict[str, None] = {}
        self._lent = 0
        self._scattered = False
        """Whether the entities that are being built are of all times."""
        self._recent: dict[str, _Open] = {}
        self._mentioned_by: dict[str, set[str]] = {}
        """Lead and account addresses -> the entities here that depend on where they live on."""

    def __len__(self) -> int:
        return len(self._states)

    @property
    def states(self) -> Mapping[str, bytes]:
        """Packed state by entity address."""
        return self._states

    def knows(self, address: str) -> bool:
        """Whether the entity lives here (then it is at home here)."""
        return address in self._states

    def advance(self, now: int) -> None:
        """Move the shard's clock to ``now`` (ms)."""
        self.panes.advance(now)

    def apply(self, batch: Sequence[Message]) -> Outcome:
        """Apply a batch; the caller stores states and sends messages and merges before it forgets the batch."""
        outcome = Outcome()
        pending: _Pending = {}
        for position, item in enumerate(batch):
            self._route(position, item, pending, outcome)
        self._run(pending, outcome)
        return outcome

    def learn(self, merges: Iterable[Merge]) -> Outcome:
        """Take what the identity log says. The caller treats the outcome as that of a batch."""
        outcome = Outcome()
        before, known = self.identities.frozen(), len(self.identities)
        changed = self.identities.learn(merges)
        outcome.distinct = len(self.identities) - known
        if changed:
            keys = {address for key in changed for address in (key, before(key), self.identities(key))}
            self._reconsider(keys, before, outcome)
        return outcome

    def restore(self, address: str, state: bytes) -> None:
        """Take the packed state of an entity from the changelog, instead of what was known of it.

        The panes lack restored entities until :meth:`build` has come to them.

        Raises:
            StateFormatError: another version of salesgauge wrote it.
        """
        self._index(address, mentioned_in(address, state))
        self._states[address] = state
        self._unbuilt[address] = None
        self._recent.pop(address, None)

    def load(self, state: State) -> None:
        """Take the state of an entity, as :meth:`restore` takes its packed form."""
        self._index(state.address, state.mentioned())
        self._states[state.address] = state.pack()
        self._unbuilt[state.address] = None
        self._recent.pop(state.address, None)

    def unite(self, address: str, state: bytes) -> None:
        """Take a packed state beside what was known: the entity then has the facts of both."""
        known = self.state(address)
        known.unite(State.unpack(address, state))
        self.load(known)

    def build(self, limit: int | None = None) -> bool:
        """Add up to ``limit`` restored entities to the panes; True when none is left."""
        left = len(self._unbuilt) if limit is None else min(limit, len(self._unbuilt))
        while left > 0:
            some = min(left, _STEP)
            self._build(some)
            left -= some
        return self.built

    def _build(self, number: int) -> None:
        reopened = self.panes.coarse.reopened
        for _ in range(number):
            address, _ = self._unbuilt.popitem()
            self.panes.add(self._contributions(self.state(address)))
        # A changelog is in order of time, more or less: only some panes are needed at a time. Where it is not, packing
        # and opening all of them again and again would take most of the time.
        self._scattered |= self.panes.coarse.reopened - reopened > 2 * number
        if self.built:
            self._rest()
        elif not self._scattered:
            self.panes.trim()

    def _rest(self) -> None:
        """Give up what building took."""
        self._unbuilt, self._scattered = {}, False  # an emptied dictionary keeps its size
        self.panes.trim(0)

    def lend(self, limit: int) -> list[tuple[str, bytes]]:
        """Up to ``limit`` restored entities, address and state, for somebody else to add up; see :class:`LentPanes`.

        They count as added from now on: what happens to them meanwhile is added as a difference. The panes are
        whole only after :meth:`returned`.
        """
        addresses = [address for address, _ in zip(self._unbuilt, range(limit), strict=False)]
        for address in addresses:
            del self._unbuilt[address]
        self._lent += len(addresses)
        return [(address, self._states[address]) for address in addresses]

    def returned(self, number: int) -> None:
        """The panes have taken what so many entities that were lent add up to."""
        self._lent -= number
        if self.built:
            self._rest()

    @property
    def unbuilt(self) -> int:
        """Restored entities that neither the panes nor anybody who is adding them up has."""
        return len(self._unbuilt)

    @property
    def built(self) -> bool:
        """Whether the panes hold all entities."""
        return not self._unbuilt and not self._lent

    def rebuild(self, now: int) -> None:
        """Compute all panes from the entities."""
        self.panes = Panes(self.panes.leaves, self.rules)
        self.panes.advance(now)
        self._recent.clear()
        self._unbuilt = dict.fromkeys(self._states)
        self.build()

    def contributions(self) -> Contributions:
        """What all entities add together: the oracle that the running panes are tested against."""
        total = Contributions()
        for address in self._states:
            total += self._contributions(self.state(address))
        return total

    def state(self, address: str) -> State:
        """What an entity remembers; nothing where it is unknown."""
        packed = self._states.get(address)
        return State.unpack(address, packed) if packed else State(address)

    def still(self) -> Still:
        """All entities as they are now, whatever comes later."""
        return Still(dict(self._states), self.identities.frozen())

    def facts(self, address: str) -> list[Fact]:
        """The facts about an entity that it remembers itself, sorted; none where it is unknown."""
        return self.state(address).own.sorted()

    def _contributions(self, state: State, who: Survivors | None = None) -> Contributions:
        return entities.contributions(state, who or self.identities, self.rules)

    def _index(self, entity: str, mentioned: Iterable[str]) -> None:
        for address in mentioned:
            self._mentioned_by.setdefault(address, set()).add(entity)

    def _route(self, position: int, item: Message, pending: _Pending, outcome: Outcome) -> None:
        if item.is_merge:
            outcome.merges += [fact for fact in item.facts if isinstance(fact, Merge)]
        elif item.to in self._states or self._is_home(home_key(item.to)):
            pending.setdefault(item.to, []).append((position, item))
        else:
            outcome.sends.append(item)

    def _run(self, pending: _Pending, outcome: Outcome) -> None:
        """Take messages in waves: many leads tell the same account or rep, which then takes all of it at once."""
        while pending:
            wave, pending = pending, {}
            for address, items in wave.items():
                for message in self._attempt(address, items, outcome):
                    self._route(-1, message, pending, outcome)

    def _attempt(self, address: str, items: Sequence[tuple[int, Message]], outcome: Outcome) -> list[Message]:
        try:
            return self._apply_to(address, items, outcome)
        except Exception as error:  # noqa: BLE001 - one poisonous entity must not stop the others
            self._recent.pop(address, None)
            outcome.failed.append(Failure(tuple(items), error))
            return []

    def _apply_to(self, address: str, items: Sequence[tuple[int, Message]], outcome: Outcome) -> list[Message]:
        entity = self._recent.pop(address, None) or self._open(address)
        counted = Outcome()
        messages: list[Message] = []
        for position, item in items:
            messages += self._take(entity.state, position, item, counted)
        if counted.applied:
            self._keep(entity, outcome)
        outcome.distinct += counted.distinct
        outcome.applied += counted.applied
        outcome.repeated += counted.repeated
        outcome.refused += counted.refused
        if address not in self._unbuilt:
            self._recent[address] = entity
            if len(self._recent) > _RECENT:
                del self._recent[next(iter(self._recent))]
        return messages

    def _open(self, address: str) -> _Open:
        """Unpack an entity; the panes hold nothing of it while it is not built."""
        state = self.state(address)
        built = state.boxes and address not in self._unbuilt
        return _Open(state, self._contributions(state) if built else Contributions())

    def _take(self, state: State, position: int, item: Message, counted: Outcome) -> list[Message]:
        """Unite a message with what the entity remembers; what it tells others then."""
        facts, own = item.facts, state.own.facts
        unseen = sum(fact.id not in own for fact in facts) if item.from_source else 0
        if unseen and len(own) >= self.rules.max_facts:
            counted.refused.append(position)
            return []
        note_names(state, facts)
        news = {about: state.box(about).unite(box) for about, box in item.boxes}
        fresh = sum(len(box.facts) for box in news.values())
        counted.applied += fresh
        counted.repeated += len(facts) - fresh
        counted.distinct += unseen
        return consequences(state, item, news, self.identities)

    def _keep(self, entity: _Open, outcome: Outcome) -> None:
        """Add the difference to the panes. What may fail comes first: an entity is applied as a whole or not at all."""
        state = entity.state
        packed, added = state.pack(), self._contributions(state)
        self.panes.add(difference(added, entity.added))
        entity.added = added
        self._unbuilt.pop(state.address, None)
        self._index(state.address, state.mentioned())
        self._states[state.address] = outcome.states[state.address] = packed

    def _reconsider(self, keys: Iterable[str], before: Survivors, outcome: Outcome) -> None:
        """Compute anew what depends on where these addresses live on, and tell others what they must know now."""
        pending: _Pending = {}
        affected = {address for key in keys for address in (key, *self._mentioned_by.get(key, ()))}
        for address in sorted(affected & self._states.keys()):
            state = self.state(address)
            try:
                self._compute_anew(state, before)
            except Exception as error:  # noqa: BLE001 - one poisonous entity must not stop the others
                known = Message(address, ((address, state.own),))
                outcome.failed.append(Failure(((-1, known),), error))
                continue
            for message in everything(state, self.identities):
                self._route(-1, message, pending, outcome)
        self._run(pending, outcome)

    def _compute_anew(self, state: State, before: Survivors) -> None:
        """Add to the panes what an entity adds by the survivors now, instead of by those before."""
        if state.address in self._unbuilt:
            return
        added = self._contributions(state)
        self.panes.add(difference(added, self._contributions(state, before)))
        self._recent[state.address] = _Open(state, added)


class LentPanes:
    """The panes of entities that a shard has lent, in another process; :mod:`.partials` takes them back."""

    def __init__(self, rules: Rules) -> None:
        self.panes = Panes(LeafIndex(rules.unredacted), rules)
        self._identities = Identities()

    def add(self, entries: Iterable[tuple[str, bytes]], now: int, merges: Iterable[Merge] = ()) -> None:
        """Add entities (address and state) at the clock of the shard (ms), by the merges that it knows."""
        panes = self.panes
        panes.advance(now)
        self._identities.learn(merges)
        for address, packed in entries:
            state = State.unpack(address, packed)
            panes.add(entities.contributions(state, self._identities, panes.rules))


__all__ = ["Failure", "LentPanes", "Outcome", "Shard", "admit"]
