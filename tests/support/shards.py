"""Shards of which each has its own pace, as in the executable model of the protocol, over the real engine.

Messages are taken in any order (harsher than Kafka), repeated, and late; workers die between any two writes; the
identity log is read at any pace; everything is read again in a rebuild.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import msgspec

from salesgauge.metrics.engine import copy_changes
from salesgauge.metrics.entities.contributions import totals
from salesgauge.metrics.entities.routes import home_key
from salesgauge.metrics.entities.state import Message
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.readings import View
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.shard import Outcome, Shard, admit
from salesgauge.metrics.windows.series import SeriesIndex
from salesgauge.metrics.windows.sums import WindowSums

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Sequence

    from salesgauge.metrics.entities.contributions import Key
    from salesgauge.metrics.entities.facts import Merge
    from salesgauge.metrics.kpis.kpi import Kpi
    from salesgauge.metrics.kpis.readings import Reading
    from salesgauge.metrics.rules.model import Rules
    from salesgauge.schemas.events import EventBase


class Letter(NamedTuple):
    """What is under way, and how many messages led to it from an event or a merge, itself included."""

    message: Message
    depth: int = 0


@dataclass
class Place:
    """A shard, what is stored of it, its inbox, and how far it has read the identity log."""

    shard: Shard
    stored: dict[str, bytes] = field(default_factory=dict)
    inbox: list[Letter] = field(default_factory=list)
    read: int = 0


class World:
    """Shards, their logs, and a chance that takes messages in any order, repeats them and kills workers anywhere.

    Attributes:
        happened: how often what happened.
        deepest: messages in the longest chain; known where messages are taken one at a time.
    """

    def __init__(self, rules: Rules, now: int, chance: random.Random, size: int, *, faults: bool = False) -> None:
        self.rules, self.now, self.chance, self.size, self.faults = rules, now, chance, size, faults
        self.at_once: tuple[int, ...] = (1, 1, 2, 4, 9)
        self.log: list[Merge] = []
        self.past: list[Letter] = []
        self.happened: Counter[str] = Counter()
        self.deepest = 0
        self.leaves = LeafIndex(rules.unredacted)
        self.places = [Place(self._shard(number)) for number in range(size)]

    def _shard(self, number: int) -> Shard:
        shard = Shard(self.rules, self.leaves, lambda key: self._home(key) == number)
        shard.advance(self.now)
        return shard

    def _home(self, key: str) -> int:
        return crc32(key.encode()) % self.size

    def post(self, letter: Letter, place: int | None = None) -> None:
        """Put a letter where it belongs, or in a partition that a producer chose."""
        number = self._home(home_key(letter.message.to)) if place is None else place
        self.places[number].inbox.append(letter)

    def step(self) -> None:
        """One thing happens somewhere."""
        number = self.chance.randrange(self.size)
        place = self.places[number]
        if place.read < len(self.log) and self.chance.random() < 0.3:
            self._learn(number, place.read + self.chance.randint(1, 3))
        elif place.inbox:
            count = min(len(place.inbox), self.chance.choice(self.at_once))
            chunk = self.chance.sample(place.inbox, count)
            self._learn(number, max(letter.message.read for letter in chunk))
            outcome = place.shard.apply([letter.message for letter in chunk])
            assert not outcome.failed
            self._finish(number, outcome, chunk)
        if self.faults and self.past and self.chance.random() < 0.03:  # a paused worker wakes and repeats something old
            self.post(self.chance.choice(self.past))
            self.happened["stale messages"] += 1

    def _learn(self, number: int, to: int) -> None:
        place = self.places[number]
        if to > place.read:
            merges, place.read = self.log[place.read : to], min(to, len(self.log))
            self._finish(number, place.shard.learn(merges), [])

    def _finish(self, number: int, outcome: Outcome, chunk: Sequence[Letter]) -> None:
        """Write states and messages - in a crash some of either - and only then let go of the chunk."""
        place = self.places[number]
        crash = self.faults and self.chance.random() < 0.1
        for address, state in outcome.states.items():
            if not crash or self.chance.random() < 0.5:
                place.stored[address] = state
        depth = 1 + max((letter.depth for letter in chunk), default=0)
        for message in self.chance.sample(outcome.sends, len(outcome.sends)):
            if not crash or self.chance.random() < 0.5:
                self._send(msgspec.structs.replace(message, read=place.read), depth)
        if not crash or self.chance.random() < 0.5:
            self.log += outcome.merges
        if crash:
            self._restart(number)
            return
        for letter in chunk:
            place.inbox.remove(letter)
            if self.faults and self.chance.random() < 0.03:
                place.inbox.append(letter)

    def _send(self, message: Message, depth: int) -> None:
        letter = Letter(Message.unpack(message.pack()), depth)
        self.past.append(letter)
        self.happened["messages"] += 1
        self.deepest = max(self.deepest, depth)
        self.post(letter)

    def _restart(self, number: int) -> None:
        """A new owner: what was stored, and the log read up to anywhere."""
        place = self.places[number]
        self.happened["crashes"] += 1
        place.shard, place.read = self._shard(number), 0
        for address, state in place.stored.items():
            place.shard.restore(address, state)
        if self.chance.random() < 0.5:
            place.shard.build(self.chance.randint(0, 5))
        self._learn(number, self.chance.randint(0, len(self.log)))

    def rebuild(self) -> None:
        """All state is dropped and the sources are read again; what was under way stays so."""
        self.happened["rebuilds"] += 1
        for number, place in enumerate(self.places):
            place.stored.clear()
            place.shard, place.read = self._shard(number), 0

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way."""
        return not any(place.inbox or place.read < len(self.log) for place in self.places)

    def play(self, events: Sequence[EventBase]) -> None:
        """Tell it of events, in any order and of some again, in any partition, until nothing is under way any more.

        Raises:
            AssertionError: it does not end.
        """
        arrivals = [self._admitted(event) for event in events]
        if self.faults:
            arrivals += self.chance.sample(arrivals, self.chance.randint(0, len(arrivals)))
        self.chance.shuffle(arrivals)
        faults, steps = self.faults, 0
        rebuild = faults and self.chance.random() < 0.2
        while arrivals or rebuild or not self.quiet:
            if arrivals and self.chance.random() < 0.3:
                self.post(Letter(arrivals.pop()), self.chance.randrange(self.size))
            if rebuild and not arrivals and self.chance.random() < 0.05:
                rebuild = False
                self.rebuild()
                arrivals += [self._admitted(event) for event in events]
                self.chance.shuffle(arrivals)
            steps += 1
            self.faults = faults and steps < 3_000
            assert steps < 10_000, "it does not end"
            self.step()
        self.faults = faults
        for place in self.places:
            place.shard.build()

    def _admitted(self, event: EventBase) -> Message:
        item = admit(event, self.rules, self.now)
        assert isinstance(item, Message), item
        return item

    def total(self) -> dict[Key, int]:
        """What all shards add up to."""
        return totals(row for place in self.places for row in place.shard.contributions())

    def readings(self, kpis: Iterable[Kpi]) -> Iterator[Reading]:
        """The readings of an exporter that merges the panes of all shards."""
        sums = WindowSums(SeriesIndex(CATALOGUE.plan(), self.leaves), self.rules, CATALOGUE.windows_before())
        for number, place in enumerate(self.places):
            copy_changes(place.shard.panes, sums, number)
        sums.advance(self.now)
        return View(CATALOGUE, sums).readings(kpis)
