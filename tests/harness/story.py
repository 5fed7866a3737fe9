"""A random story: actions that disturb an installation, and the check that nothing of them shows in the end.

A seed makes a story: which events there are, what happens in which order, to whom. What depends on timing (how far a
worker was when it was killed) differs between runs; the result must not.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from kafka.admin import NewPartitions

from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.schemas.codec import Rejection, decode, encode
from salesgauge.schemas.events import EVENTS, SurveyAnswered, topic_of
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.kafka.topics import changelog_topic
from salesgauge.streams.replay.event_topics import EventTopics
from salesgauge.streams.replay.virtual_clock import ClockedEngine
from tests.support.hostile import EveryKind
from tests.support.live import CHANGELOG_MARK, Live, Message, Oracle, differences, keyed, until_exact
from tests.support.payloads import Payloads
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.schemas.events import EventBase
    from salesgauge.streams.serve.exporter import Exporter
    from tests.support.live import Worker

MOST_WORKERS = 3
MOST_PARTITIONS = 6
PAUSE_SECONDS = 3.0
"""Longer than the session of the workers, so that the group goes on without whoever is paused."""


@dataclass
class Broker:
    """What can be done to a broker. ``restart`` and ``grows`` (partitions can be added) are not every broker's."""

    pause: Callable[[], None]
    resume: Callable[[], None]
    restart: Callable[[], None] | None = None
    grows: bool = False


@dataclass
class Story:
    """One story on one installation.

    Attributes:
        odd: variables for a worker with a guarantee switched off (:mod:`tests.support.odd_worker`); empty: a right one.
        told: what was done, for whoever reads a failure.
        events: what was published so far, each once.
    """

    seed: int
    live: Live
    broker: Broker
    odd: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    events: list[EventBase] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._kinds = EveryKind(self.seed)
        self._payloads = Payloads(self.seed, 0.97)
        self._grown: dict[str, int] = {}
        self._batches = 0
        self._exporter: Exporter | None = None
        self._open, self._stack = ExitStack(), ExitStack()
        self._answers = 0
        """NPS answers that were published, or are about to be: no event takes one back."""

    @property
    def actions(self) -> dict[str, tuple[int, Callable[[], None]]]:
        """Name -> (weight, what it does)."""
        actions: dict[str, tuple[int, Callable[[], None]]] = {
            "publish": (8, self.publish),
            "publish nonsense": (2, self.publish_nonsense),
            "kill a worker": (2, self.kill),
            "end a worker": (1, self.end),
            "pause a worker": (2, self.pause),
            "take over from a worker": (2, self.take_over),
            "repeat the changelog": (2, self.repeat_changelog),
            "start a worker": (3, self.start),
            "restart the exporter": (2, self.restart_exporter),
            "freeze the broker": (1, self.freeze),
            "settle": (2, self.settle),
        }
        if self.broker.grows:
            actions["add partitions"] = (1, self.add_partitions)
        if self.broker.restart is not None:
            actions["restart the broker"] = (1, self.broker.restart)
        return actions

    def play(self, steps: int) -> None:
        """So many actions, and the check at the end.

        Raises:
            AssertionError: something shows that should not; the message has the seed and the story.
        """
        try:
            with self._stack, self._open:
                self.restart_exporter()
                self._watched = self._stack.enter_context(Watch(lambda: self._exporter, lambda: self._answers))
                self.start()
                for _ in range(steps):
                    self.step()
                self.settle()
                self.replay()
        except Exception as error:
            logs = "\n".join(f"{worker.name} ({worker.returncode}): {worker.tail(5)}" for worker in self.live.workers)
            raise AssertionError(f"seed {self.seed}: {' / '.join(self.told)}\n{error}\n{logs}") from error

    def step(self) -> None:
        """One action."""
        actions = self.actions
        name = self._rng.choices(list(actions), [weight for weight, _ in actions.values()])[0]
        self.told.append(name)
        actions[name][1]()

    # --- events

    def publish(self) -> None:
        """Events of all kinds, shuffled, some of them again, and some earlier ones once more."""
        fresh = self._kinds.events(self._rng.choice((5, 40, 200)), prefix=f"b{self._batches}-")
        self._batches += 1
        again = self._rng.sample(fresh, len(fresh) // 10) + self._rng.sample(self.events, min(len(self.events), 5))
        batch = fresh + again
        self._rng.shuffle(batch)
        self._answers += sum(isinstance(event, SurveyAnswered) and event.kind == "nps" for event in fresh)
        self._send([Message(event.topic, event.key, encode(event)) for event in batch])
        self.events += fresh

    def publish_nonsense(self) -> None:
        """Payloads of which most are no events: those become dead letters, the others count."""
        for payload in self._payloads.payloads(20):
            result = decode(payload)
            topic = topic_of(self._rng.choice(list(EVENTS)))
            if isinstance(result, Rejection):
                self._send([Message(topic, None, payload, result.reason.value)])

    def _send(self, messages: list[Message]) -> None:
        for topic in sorted({message.topic for message in messages}):
            some = [message for message in messages if message.topic == topic]
            self.live.publish(some, partitions=self._grown.get(topic))

    # --- workers

    def start(self) -> None:
        """One more, up to a number."""
        if len(self.live.running) < MOST_WORKERS:
            self._worker()

    def _worker(self) -> None:
        module = "tests.support.odd_worker" if self.odd else "salesgauge"
        self.live.worker(module=module, env=self.odd)

    def kill(self) -> None:
        """By SIGKILL."""
        self.live.kill(self._rng)

    def end(self) -> None:
        """In order."""
        if self.live.running:
            worker = self._rng.choice(self.live.running)
            worker.signal(signal.SIGTERM)
            worker.wait(60)

    def pause(self) -> None:
        """Longer than its session: when it goes on it does not know that it is out."""
        if self.live.running:
            worker = self._rng.choice(self.live.running)
            worker.pause()
            time.sleep(PAUSE_SECONDS)
            worker.resume()

    def take_over(self) -> None:
        """Another worker has all that a paused one had, and goes on with it, before that one wakes."""
        self.start()
        if len(self.live.running) < 2:
            return
        zombie, *others = self._rng.sample(self.live.running, len(self.live.running))
        self.publish()
        zombie.pause()
        try:
            until(lambda: self._owned(others) == self.live.partitions, 60, "others take over from a paused worker")
            self.publish()
        finally:
            zombie.resume()

    def _owned(self, workers: list[Worker]) -> int:
        with suppress(OSError):  # it is being replaced, or has just ended
            return sum(worker.owned for worker in workers)
        return 0

    # --- the rest

    def repeat_changelog(self) -> None:
        """Old records of the changelog come again after newer ones, as a zombie or a copied topic would write them.

        A worker ends then, so that another one reads them.
        """
        records = [
            record
            for record in self.live.read(changelog_topic(self.live.settings))
            if not record.key.startswith(CHANGELOG_MARK)
        ]
        for record in self._rng.sample(records, min(len(records), 200)):
            self.live.producer.send(record.topic, record.value, record.key, record.headers, record.partition)
        self.live.producer.flush(timeout=60)
        self.kill()

    def restart_exporter(self) -> None:
        """It begins with nothing."""
        self._open.close()
        self._exporter = self._open.enter_context(self.live.exporter())

    def freeze(self) -> None:
        """The broker answers nobody for longer than the sessions."""
        self.broker.pause()
        time.sleep(PAUSE_SECONDS)
        self.broker.resume()

    def add_partitions(self) -> None:
        """Keys of a topic move: their records find their home."""
        topic = topic_of(self._rng.choice(list(EVENTS)))
        if topic in self._grown:
            return
        self.live.admin.create_partitions({topic: NewPartitions(MOST_PARTITIONS)})
        until(lambda: len(self.live.producer.partitions_for(topic)) == MOST_PARTITIONS, 20, "the partitions are there")
        self._grown[topic] = MOST_PARTITIONS

    def settle(self) -> None:
        """Wait until all is processed; what is shown is what the events alone say, and nothing is told twice."""
        if not self.live.running:
            self._worker()
        assert self._exporter is not None
        self.live.until_drained(120)
        until_exact(self._exporter.board, Oracle(self.events, self.live.settings), 60)
        found = dict(self.live.dead_letters())
        assert found == self.live.poison, f"{len(found)} dead letters, {len(self.live.poison)} expected"
        assert not self._watched.wrong, self._watched.wrong[:3]

    def replay(self) -> None:
        """What the topics hold, computed without workers, is the same."""
        oracle = Oracle(self.events, self.live.settings)
        at, source = wall_clock(), EventTopics(self.live.settings.kafka)
        evaluation = ClockedEngine(self.live.settings.rules, CATALOGUE).load(source.records(), at)
        found = differences(keyed(evaluation.readings), oracle.readings(at))
        assert not found, f"a replay differs: {found[:5]}"
        assert not source.warnings


class Watch:
    """Looks at an exporter five times a second: what it counts of events that nothing takes back never falls while it
    lives, and is never more than was published."""

    def __init__(self, exporter: Callable[[], Exporter | None], published: Callable[[], int]) -> None:
        self._exporter, self._published = exporter, published
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.looked = 0
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(10)

    def _watch(self) -> None:
        seen, of = 0.0, self._exporter()
        while not self._done.wait(0.2):
            exporter = self._exporter()
            if exporter is None:
                continue
            seen, of = (seen if exporter is of else 0.0), exporter
            with exporter.board.now() as view:
                readings = view.readings(CATALOGUE.select(["nps_score"]), frozenset({"all"}))
                shown = next((r.denominator or 0 for r in readings if r.stat == "value" and not r.labels), 0)
            self.looked += 1
            if not seen <= shown <= self._published():
                self.wrong.append(f"{shown:g} NPS answers after {seen:g}; {self._published()} were published")
            seen = max(seen, shown)


def embedded(process: Any) -> Broker:
    """The embedded broker, which keeps its log in memory."""
    return Broker(lambda: process.send_signal(signal.SIGSTOP), lambda: process.send_signal(signal.SIGCONT))
