"""Adding up restored entities in several processes: the longest part of a recovery, and the one that can be shared.

The worker keeps a share of the work; what the other processes have added up is merged into its panes. They end with the
worker, however that ends: their end of the pipe closes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from salesgauge.metrics.shard.partials import Absorber, export
from salesgauge.metrics.shard.shard import LentPanes
from salesgauge.streams.io.memory import seldom_look_for_cycles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from salesgauge.metrics.entities.facts import Merge
    from salesgauge.metrics.rules.model import Rules
    from salesgauge.metrics.shard.shard import Shard

    _Lent = tuple[Sequence[tuple[str, bytes]], int, Sequence[Merge]]
    """Entities (address and state), the clock of the shard (ms), and the merges that it knows."""

_OWN_STEP = 500
_LENT = 5_000
"""Entities given to a process at a time: it does not wait for long, nor does the worker."""
_HELD = 50_000
"""Entities that a process adds up before it hands over: many of them share cells, which are then taken once."""
_MOST = 3
_WORTHWHILE = 20_000
"""Entities, from which on the start of a process pays."""


class BuildError(Exception):
    """A process that added up entities ended before it had done so."""


def _cores() -> int:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(slots=True)
class _Mate:
    """Another process, and what it was given of a shard.

    It answers what it is asked with an empty message, which ends the messages of what it hands over.
    """

    process: BaseProcess
    connection: Connection
    shard: Shard | None = None
    holds: int = 0
    """Entities."""
    asked: bool = False
    taking: Absorber | None = None
    """Where it is handing over."""

    def serve(self, shard: Shard) -> None:
        """Take the next message, or ask for something."""
        if self.asked:
            if self.connection.poll():
                self._take(self.connection.recv_bytes())
        elif self.holds < _HELD and (entries := shard.lend(_LENT)):
            self._ask((entries, shard.panes.now, shard.identities.merges))
            self.shard, self.holds = shard, self.holds + len(entries)
        elif self.shard is not None:
            self._ask(None)
            self.taking = Absorber(self.shard.panes)

    def _ask(self, what: _Lent | None) -> None:
        self.connection.send(what)
        self.asked = True

    def _take(self, message: bytes) -> None:
        if message and self.taking is not None:
            self.taking.take(message)
            return
        self.asked = False
        if self.taking is not None and self.shard is not None:
            self.shard.returned(self.holds)
            self.shard, self.holds, self.taking = None, 0, None


class Builders:
    """Brings the panes of restored shards up to date, one after the other and a step at a time.

    Args:
        rules: the rules of the business.
        processes: how many to start beside this one, once there is enough to do for them; None: one for each further
            core, to three.
    """

    def __init__(self, rules: Rules, processes: int | None = None) -> None:
        self._rules = rules
        self._processes = min(_cores() - 1, _MOST) if processes is None else processes
        self._mates: Sequence[_Mate] = ()
        self._current: Shard | None = None

    def step(self, shard: Shard) -> bool:
        """Go on with a shard, if it is its turn; True once its panes hold all entities.

        Raises:
            BuildError: a process has ended.
        """
        if shard.built:
            return True
        if self._current is None or self._current.built:
            self._current = shard
        if shard is not self._current:
            return False
        if not self._mates and shard.unbuilt > _WORTHWHILE:
            self._mates = [self._start() for _ in range(self._processes)]
        try:
            for mate in self._mates:
                mate.serve(shard)
        except (EOFError, OSError) as error:
            raise BuildError("a process that helped to build the panes was stopped; is there enough memory?") from error
        if not any(mate.taking for mate in self._mates):  # they wait while it is taken
            shard.build(_OWN_STEP)
        if self._mates and not shard.unbuilt and not shard.built:
            wait([mate.connection for mate in self._mates], 0.01)  # nothing else to do
        return shard.built

    def forget(self, shard: Shard) -> None:
        """It is no longer needed."""
        if shard is self._current:
            self.close()

    def close(self) -> None:
        """End the processes."""
        for mate in self._mates:
            mate.connection.close()
            mate.process.terminate()
            mate.process.join()
        self._mates, self._current = (), None

    def _start(self) -> _Mate:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_add_up, args=(there, self._rules), daemon=True)
        process.start()
        there.close()
        return _Mate(process, here)


def _add_up(connection: Connection, rules: Rules) -> None:
    """The life of such a process."""
    seldom_look_for_cycles()
    lent = LentPanes(rules)
    with contextlib.suppress(EOFError, OSError):  # the worker has ended, or has no more to do
        while True:
            more: _Lent | None = connection.recv()
            if more is None:
                for message in export(lent.panes):
                    connection.send_bytes(message)
                lent = LentPanes(rules)
            else:
                lent.add(*more)
            connection.send_bytes(b"")
