"""`salesgauge worker` with something wrong about it, as variables say; run with `python -m`.

* ``ODD_DIES=3``: killed when it is about to write to the changelog for the third time.
* ``ODD_CARELESS=1``: the guarantee is switched off: offsets are committed before their state is acknowledged.
* ``ODD_FORGETS=1``: what the changelog says last of an entity is taken instead of beside what it said before.
* ``ODD_UNFENCED=1``: it does not tell exporters that it took a partition over.
* ``ODD_DEAF=1``: it does not learn of merges.
* ``ODD_SILENT=1``: it does not tell entities in other partitions anything.
* ``ODD_CLOCK=-172800,3600``: the clock jumps by so many seconds, to and fro.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import signal
from typing import TYPE_CHECKING, Any

from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.panes import Panes
from salesgauge.metrics.shard.shard import Outcome, Shard
from salesgauge.streams import composition
from salesgauge.streams.cli.main import main
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.worker import assembly, shards
from salesgauge.streams.worker.app import Delivery, DeliveryApp
from salesgauge.streams.worker.changelog import MARK, Writer
from salesgauge.streams.worker.publication import publication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from salesgauge.metrics.entities.facts import Merge
    from salesgauge.metrics.entities.state import Message
    from salesgauge.streams.worker.processor import Processor
    from salesgauge.streams.worker.publication import WindowsRecord, WorkerStatus

_STEADY_CALLS = 40
"""The clock is read so often between two jumps."""


def dying(writes: int) -> Any:
    """`Writer.write`, up to the write that is not made any more. Only what records led to counts, not what merges did:
    no offset depends on that."""
    write, left = Writer.write, itertools.count(writes - 1, -1)
    learn, learning = DeliveryApp._learn, [0]

    async def learning_apart(self: DeliveryApp, *arguments: Any) -> None:
        learning[0] += 1
        try:
            await learn(self, *arguments)
        finally:
            learning[0] -= 1

    async def last(self: Writer, topic: str, partition: int, items: Sequence[Any]) -> int:
        counts = topic.endswith("changelog") and items[0][0] != MARK and not learning[0]
        if counts and next(left) <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return await write(self, topic, partition, items)

    DeliveryApp._learn = learning_apart  # type: ignore[method-assign, assignment]
    return last


def jumping(seconds: Sequence[float]) -> Callable[[], int]:
    """The wall clock, off by each of these in turn."""
    offsets = itertools.cycle(one for one in seconds for _ in range(_STEADY_CALLS))
    return lambda: wall_clock() + round(1000 * next(offsets))


def careless(delivery: Delivery, processor: Processor) -> DeliveryApp:
    """The app with its guarantee switched off."""
    return DeliveryApp(dataclasses.replace(delivery, unsafe_commit_before_ack=True), processor)


def unclaimed(partition: int, status: WorkerStatus) -> WindowsRecord:
    """The end of a publication that says nothing, in place of a claim."""
    return next(iter(reversed(list(publication(partition, Panes(LeafIndex(), Rules()), status)))))


def deaf(_: Shard, merges: Iterable[Merge]) -> Outcome:
    """Nothing is learnt."""
    del merges
    return Outcome()


def silent(apply: Callable[[Shard, Sequence[Message]], Outcome]) -> Callable[[Shard, Sequence[Message]], Outcome]:
    """`Shard.apply` without what it sends."""

    def alone(self: Shard, batch: Sequence[Message]) -> Outcome:
        outcome = apply(self, batch)
        outcome.sends = [message for message in outcome.sends if message.from_source]
        return outcome

    return alone


if __name__ == "__main__":
    if writes := os.environ.get("ODD_DIES"):
        Writer.write = dying(int(writes))  # type: ignore[method-assign]
    if os.environ.get("ODD_CARELESS"):
        assembly.DeliveryApp = careless  # type: ignore[attr-defined, assignment]
    if os.environ.get("ODD_FORGETS"):
        Shard.unite = Shard.restore  # type: ignore[method-assign]
    if os.environ.get("ODD_UNFENCED"):
        shards.claim = unclaimed  # type: ignore[attr-defined]
    if os.environ.get("ODD_DEAF"):
        Shard.learn = deaf  # type: ignore[method-assign, assignment]
    if os.environ.get("ODD_SILENT"):
        Shard.apply = silent(Shard.apply)  # type: ignore[method-assign, assignment]
    if jumps := os.environ.get("ODD_CLOCK"):
        clock = jumping([float(one) for one in jumps.split(",")])
        composition.process = functools.partial(composition.process, clock=clock)  # the commands take it from there
    main()
