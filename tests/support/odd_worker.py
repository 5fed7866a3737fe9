"""`salesgauge worker` with something wrong about it, as variables say; run with `python -m`.

* ``ODD_DIES=3``: killed when it is about to write to the changelog for the third time.
* ``ODD_CARELESS=1``: the guarantee is switched off: offsets are committed before their state is acknowledged.
* ``ODD_CLOCK=-172800,3600``: the clock jumps by so many seconds, to and fro.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import signal
from typing import TYPE_CHECKING, Any

from salesgauge.streams import composition
from salesgauge.streams.cli.main import main
from salesgauge.streams.io.instants import wall_clock
from salesgauge.streams.worker import assembly
from salesgauge.streams.worker.app import Delivery, DeliveryApp
from salesgauge.streams.worker.changelog import MARK, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from salesgauge.streams.worker.processor import Processor

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


if __name__ == "__main__":
    if writes := os.environ.get("ODD_DIES"):
        Writer.write = dying(int(writes))  # type: ignore[method-assign]
    if os.environ.get("ODD_CARELESS"):
        assembly.DeliveryApp = careless  # type: ignore[attr-defined, assignment]
    if jumps := os.environ.get("ODD_CLOCK"):
        clock = jumping([float(one) for one in jumps.split(",")])
        composition.process = functools.partial(composition.process, clock=clock)  # the commands take it from there
    main()
