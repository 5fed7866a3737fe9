"""The engine: facts in, changed entity states, pane changes and forwards out. One shard per source partition.

An entity's state is the packed, sorted set of its facts. Applying facts unites the sets; what the entity then adds to
the measures is compared with what it added before. So the result is a function of the set of events: order, batching,
repetition and restarts cannot change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import msgspec

from salesgauge.metrics import entities
from salesgauge.metrics.entities.book import Book
from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.facts import (
    KNOWN_KINDS,
    AnyFact,
    Fact,
    Lost,
    Opportunity,
    Price,
    Quota,
    Spend,
    Subscription,
    Won,
    millis,
    to_fact,
)
from salesgauge.metrics.entities.facts import Churned as ChurnedFact
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.panes import Panes
from salesgauge.schemas.codec import Reason, Rejection
from salesgauge.schemas.wire import AnyEvent

MAX_HOPS = 32
"""Facts travel lead -> survivor -> survivor's survivor ... at most so far: a circle of merges ends."""

_RECENT = 8192
"""Entities kept open: what was touched is often touched again soon."""

_STEP = 500
"""Entities that are built before panes at rest are packed."""

_PAGES = f"{entities.EntityKind.PAGE.value}/"
"""Most pages are touched once, and none tells much: they are not kept open."""

_CURRENCY_FACTS = frozenset({Opportunity, Won, Lost, ChurnedFact, Subscription, Spend, Price, Quota})

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[AnyFact]).decode


class Addressed(msgspec.Struct, frozen=True, gc=False):
    """Facts on their way to an entity."""

    address: str
    facts: tuple[Fact, ...]
    hops: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Facts that an entity could not take because computing it failed; nothing of them was applied."""

    items: tuple[tuple[int, Addressed], ...]
    error: Exception


@dataclass(slots=True)
class Outcome:
    """What applying a batch led to.

    ``states`` holds the packed state of each changed entity, ``forwards`` the facts for entities whose home is another
    partition, ``refused`` the positions of inputs whose entity is full, ``failed`` what could not be computed (position
    -1: sent on by an entity of this shard). ``distinct`` counts the events that were new to
    their entity (what other entities told it is none), ``applied`` and ``repeated`` facts of any origin.
    """

    states: dict[str, bytes] = field(default_factory=dict)
    forwards: list[Addressed] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    distinct: int = 0
    applied: int = 0
    repeated: int = 0


def admit(event: AnyEvent, rules: Rules, now: int, recorded_by: int = 0) -> Addressed | Rejection:
    """Turn a valid event into an addressed fact, or say why it cannot count at ``now`` (ms).

    A replay that looks at the past also takes what was recorded afterwards, until ``recorded_by`` (ms).
    """
    if event.name not in KNOWN_KINDS:
        return Rejection(Reason.UNKNOWN_EVENT, f"this version does not count {event.name} yet")
    fact = to_fact(event)
    if fact.at > now + rules.max_future_ms:
        return _ahead("occurred_at", fact.at - now, rules)
    if fact.rec > max(now, recorded_by) + rules.max_future_ms:
        return _ahead("recorded_at", fact.rec - max(now, recorded_by), rules)
    if fact.at < 0 or fact.rec < 0:
        return Rejection(Reason.INVALID, "occurred_at or recorded_at lies before 1970")
    if type(fact) in _CURRENCY_FACTS:
        currency = fact.currency  # type: ignore[attr-defined]
        if not rules.knows(currency, fact.at):
            return Rejection(Reason.UNKNOWN_CURRENCY, f"no rate for {currency} at that date; add it to `rates`")
    return Addressed(entities.address_of(event), (fact,))


def _ahead(field: str, ms: int, rules: Rules) -> Rejection:
    return Rejection(Reason.FUTURE, f"{field} lies {ms / 1000:.0f} s ahead; {rules.max_future} are allowed")


def _always_here(_: str) -> bool:
    return True


class _Open:
    """An entity whose facts are unpacked: by id, and sorted by time in ``ordered``."""

    __slots__ = ("book", "facts", "kinds", "ordered")

    def __init__(self, facts: list[Fact], rules: Rules) -> None:
        self.ordered = facts
        self.facts = {fact.id: fact for fact in facts}
        self.kinds = set(map(type, facts))
        self.book = Book(rules)

    def add(self, fresh: list[Fact], *, corrected: bool) -> None:
        """Order the facts again, and the fresh ones."""
        self.kinds.update(map(type, fresh))
        if len(fresh) > 1:
            fresh.sort(key=_chronological)
        if corrected or (self.ordered and _chronological(fresh[0]) < _chronological(self.ordered[-1])):
            self.ordered = sorted(self.facts.values(), key=_chronological)
        else:
            self.ordered += fresh


class Shard:
    """Entities and panes of one source partition.

    Args:
        rules: the rules of the business.
        leaves: numbers the leaves; shards of one process may share it.
        is_home: whether an entity (by its home key) belongs to this partition; forwards to others leave the shard.
    """

    def __init__(self, rules: Rules, leaves: LeafIndex, is_home: Callable[[str], bool] = _always_here) -> None:
        self.rules = rules
        self.panes = Panes(leaves, rules)
        self._is_home = is_home
        self._states: dict[str, bytes] = {}
        self._unbuilt: dict[str, None] = {}
        self._lent = 0
        self._scattered = False
        """Whether the entities that are being built are of all times."""
        self._recent: dict[str, _Open] = {}

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

    def apply(self, batch: Sequence[Addressed]) -> Outcome:
        """Apply a batch; the caller stores ``states`` and sends ``forwards`` before it forgets the batch."""
        outcome = Outcome()
        pending: dict[str, list[tuple[int, Addressed]]] = {}
        for position, item in enumerate(batch):
            self._route(position, item, pending, outcome)
        while pending:
            # In waves: many leads tell the same account or rep, which then takes all of it at once.
            wave, pending = pending, {}
            for address, items in wave.items():
                for forward in self._attempt(address, items, outcome):
                    self._route(-1, forward, pending, outcome)
        return outcome

    def restore(self, address: str, state: bytes) -> None:
        """Take the packed state of an entity from the changelog, instead of what was known of it.

        The panes lack restored entities until :meth:`build` has come to them.
        """
        self._states[address] = state
        self._unbuilt[address] = None
        self._recent.pop(address, None)

    def load(self, address: str, facts: Iterable[Fact]) -> None:
        """Take the facts of an entity, in any order, as :meth:`restore` takes its packed state."""
        self.restore(address, _encode(sorted(facts, key=_chronological)))

    def unite(self, address: str, state: bytes) -> None:
        """Take a packed state beside what was known: the entity then has the facts of both."""
        facts = {fact.id: fact for fact in self.facts(address)}
        for fact in _decode(state):
            known = facts.get(fact.id)
            if known is None or prevails(fact, known):
                facts[fact.id] = fact
        self.load(address, facts.values())

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
            self.panes.add(entities.contributions(address, _decode(self._states[address]), self.rules))
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
        for address, state in self._states.items():
            total += entities.contributions(address, _decode(state), self.rules)
        return total

    def facts(self, address: str) -> list[Fact]:
        """The facts of an entity, sorted; none where it is unknown."""
        state = self._states.get(address)
        return list(_decode(state)) if state else []

    def _route(
        self, position: int, item: Addressed, pending: dict[str, list[tuple[int, Addressed]]], outcome: Outcome
    ) -> None:
        if item.hops > MAX_HOPS:
            return
        if item.address in self._states or self._is_home(entities.home_key(item.address)):
            pending.setdefault(item.address, []).append((position, item))
        else:
            outcome.forwards.append(item)

    def _attempt(self, address: str, items: Sequence[tuple[int, Addressed]], outcome: Outcome) -> list[Addressed]:
        try:
            return self._apply_to(address, items, outcome)
        except Exception as error:  # noqa: BLE001 - one poisonous entity must not stop the others
            outcome.failed.append(Failure(tuple(items), error))
            return []

    def _apply_to(self, address: str, items: Sequence[tuple[int, Addressed]], outcome: Outcome) -> list[Addressed]:
        entity = self._recent.pop(address, None)
        if entity is None:
            entity = self._open(address)
        fresh, corrected = self._unite(entity, items, outcome)
        if fresh:
            entity.add(fresh, corrected=corrected)
            entities.write(address, entity.book, entity.ordered, None if corrected else fresh)
            self._keep(address, entity, outcome)
        if address not in self._unbuilt and not address.startswith(_PAGES):
            self._recent[address] = entity
            if len(self._recent) > _RECENT:
                del self._recent[next(iter(self._recent))]
        if entities.TELLING.isdisjoint(entity.kinds):
            return []
        return self._forwards(address, entity.ordered, items)

    def _open(self, address: str) -> _Open:
        """Unpack an entity; its book says what the panes hold of it (nothing while it is not built)."""
        entity = _Open(self.facts(address), self.rules)
        if entity.ordered and address not in self._unbuilt:
            entity.book.recall(lambda: entities.write(address, entity.book, entity.ordered, None))
        return entity

    def _unite(
        self, entity: _Open, items: Sequence[tuple[int, Addressed]], outcome: Outcome
    ) -> tuple[list[Fact], bool]:
        """The facts that are news to the entity, and whether some correct known ones."""
        facts, fresh, corrected, limit = entity.facts, [], False, self.rules.max_facts
        for position, item in items:
            for fact in item.facts:
                known = facts.get(fact.id)
                if known is None:
                    if len(facts) >= limit:
                        if position >= 0:
                            outcome.refused.append(position)
                        continue
                    if position >= 0 and not item.hops:
                        outcome.distinct += 1
                elif not prevails(fact, known):
                    outcome.repeated += 1
                    continue
                else:
                    corrected = True
                facts[fact.id] = fact
                fresh.append(fact)
        outcome.applied += len(fresh)
        return fresh, corrected

    def _keep(self, address: str, entity: _Open, outcome: Outcome) -> None:
        state = _encode(entity.ordered)  # what may fail comes first: an entity is applied as a whole or not at all
        self.panes.add_all(entity.book.take_changes())
        self._unbuilt.pop(address, None)
        self._states[address] = outcome.states[address] = state

    def _forwards(self, address: str, facts: Sequence[Fact], items: Sequence[tuple[int, Addressed]]) -> list[Addressed]:
        touched = (fact for _, item in items for fact in item.facts)
        hops = max(item.hops for _, item in items) + 1
        told = entities.outbound(address, facts, touched)
        return [Addressed(to, tuple(facts), hops) for to, facts in told.items()]


class LentPanes:
    """The panes of entities that a shard has lent, in another process; :mod:`.partials` takes them back."""

    def __init__(self, rules: Rules) -> None:
        self.panes = Panes(LeafIndex(rules.unredacted), rules)

    def add(self, entries: Iterable[tuple[str, bytes]], now: int) -> None:
        """Add entities (address and state) at the clock of the shard (ms)."""
        panes = self.panes
        panes.advance(now)
        for address, state in entries:
            panes.add(entities.contributions(address, _decode(state), panes.rules))


def prevails(fact: Fact, known: Fact) -> bool:
    """Whether a fact stands in place of the one with the same id: of two that differ the greater, in any order."""
    return fact != known and _encode(fact) > _encode(known)


_chronological: Callable[[Fact], tuple[int, int]] = attrgetter("at", "id")


def pack_addressed(item: Addressed) -> bytes:
    """An addressed set of facts as the value of a message on the re-key topic."""
    return _encode((item.address, item.hops, item.facts))


_decode_addressed = msgspec.msgpack.Decoder(tuple[str, int, tuple[AnyFact, ...]]).decode


def unpack_addressed(value: bytes) -> Addressed:
    """The inverse of :func:`pack_addressed`.

    Raises:
        ValueError: the value was not written by it.
    """
    try:
        address, hops, facts = _decode_addressed(value)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not an addressed set of facts: {error}") from error
    return Addressed(address, facts, hops)


__all__ = [
    "MAX_HOPS",
    "Addressed",
    "LentPanes",
    "Outcome",
    "Shard",
    "admit",
    "millis",
    "pack_addressed",
    "prevails",
    "unpack_addressed",
]
