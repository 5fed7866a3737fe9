"""One shard with its windows and readings: the whole engine in one object, for replay, backfill, tests, benchmarks.

The live system spreads the same parts over processes: shards live in workers, window sums and views in exporters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from salesgauge.metrics.entities.state import Message
from salesgauge.metrics.explain.explainer import Explainer
from salesgauge.metrics.explain.explanation import Explanation, united
from salesgauge.metrics.explain.question import Question, Scope
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.kpi import Catalogue, Kpi
from salesgauge.metrics.kpis.readings import Reading, View
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.bulk import BulkLoad
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.panes import Panes, Resolution
from salesgauge.metrics.shard.rejections import entity_full, not_computed
from salesgauge.metrics.shard.shard import Outcome, Shard, admit
from salesgauge.metrics.windows.series import SeriesIndex
from salesgauge.metrics.windows.sums import WindowSums
from salesgauge.schemas.codec import Rejection
from salesgauge.schemas.wire import AnyEvent


def copy_changes(panes: Panes, sums: WindowSums, partition: int = 0) -> None:
    """Bring window sums up to date with the panes changed since the last call; both share one index of leaves."""
    for key in panes.take_changed():
        if key.resolution is Resolution.BASE:
            sums.replace_base(partition, panes.horizon, panes.base)
        elif key.resolution is Resolution.ROSTER:
            roster = {at: dict(cells) for at, cells in panes.roster.get(key.index, {}).items()}
            sums.replace_roster(partition, key.index, roster)
        elif key.resolution is Resolution.SAMPLES:
            sums.replace_samples(partition, key.index, panes.cells(key))
        else:
            sums.replace(partition, key, panes.cells(key))


def _refusals(outcome: Outcome, max_facts: int) -> dict[int, Rejection]:
    """Why inputs of a batch were not applied, by position; -1 stands for facts sent on by other entities."""
    refused = dict.fromkeys(outcome.refused, entity_full(max_facts))
    for failure in outcome.failed:
        rejection = not_computed(failure.error)
        refused |= dict.fromkeys((position for position, _ in failure.items), rejection)
    return refused


@dataclass(slots=True)
class Machine:
    """Events in, readings out, under a clock that the caller moves.

    ``events`` counts the distinct events that were applied. ``recorded_by`` (ms) is where the past ends that the
    sources may tell of later: see :func:`admit`.
    """

    rules: Rules = field(default_factory=Rules)
    catalogue: Catalogue = CATALOGUE
    shard: Shard = field(init=False)
    view: View = field(init=False)
    events: int = 0
    recorded_by: int = 0
    _bulk: BulkLoad | None = None

    def __post_init__(self) -> None:
        leaves = LeafIndex(self.rules.unredacted)
        self.shard = Shard(self.rules, leaves)
        sums = WindowSums(SeriesIndex(self.catalogue.plan(), leaves), self.rules, self.catalogue.windows_before())
        self.view = View(self.catalogue, sums)

    def advance(self, now: int) -> None:
        """Move the clock to ``now`` (ms)."""
        self.shard.advance(now)

    def apply(self, events: Sequence[AnyEvent]) -> list[Rejection | None]:
        """Apply events; the result says for each why it was refused, or None."""
        return self._admit(events, self.shard.apply)

    def load(self, events: Sequence[AnyEvent]) -> list[Rejection | None]:
        """The same for a machine that has applied nothing yet; nothing is computed until :meth:`finish`."""
        if self._bulk is None:
            self._bulk = BulkLoad(self.shard)
        return self._admit(events, self._bulk.add)

    def finish(self) -> list[Rejection]:
        """Compute what was loaded; says why entities could not be computed, which then add nothing."""
        bulk, self._bulk = self._bulk, None
        failures = bulk.finish() if bulk is not None else []
        self.events += len(self.shard.identities) if bulk is not None else 0
        return [not_computed(failure) for failure in failures]

    def _admit(
        self, events: Sequence[AnyEvent], apply: Callable[[Sequence[Message]], Outcome]
    ) -> list[Rejection | None]:
        admitted = [admit(event, self.rules, self.shard.panes.now, self.recorded_by) for event in events]
        batch: list[Message] = [item for item in admitted if isinstance(item, Message)]
        outcome = apply(batch)
        self.events += outcome.distinct + self.shard.learn(outcome.merges).distinct
        refused = _refusals(outcome, self.rules.max_facts)
        positions = iter(range(len(batch)))
        return [item if isinstance(item, Rejection) else refused.get(next(positions)) for item in admitted]

    def readings(self, kpis: Iterable[Kpi] | None = None, windows: frozenset[str] | None = None) -> Iterator[Reading]:
        """The readings at the machine's clock."""
        return self._current().readings(kpis, windows)

    def not_connected(self) -> dict[str, tuple[str, ...]]:
        """See :meth:`View.not_connected`, at the machine's clock."""
        return self._current().not_connected()

    def _current(self) -> View:
        copy_changes(self.shard.panes, self.view.sums)
        self.view.sums.advance(self.shard.panes.now)
        return self.view

    def explain(self, question: Question) -> Explanation:
        """The entities that make up a reading at the machine's clock."""
        scope, still = Scope(question, self.rules, self.catalogue), self.shard.still()
        explainer = Explainer(scope, still.who)
        for state in still.each():
            explainer.take(state)
        return united(scope, [explainer.answer(still.state)])
