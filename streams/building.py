"""Adding up restored entities in several processes: the longest part of a recovery, and the one that can be shared.

The worker keeps a share of the work; what the other processes have added up is merged into its panes. They end with the
worker, however that ends: their end of the pipe closes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metrics.engine import added_up
from streams.memory import seldom_look_for_cycles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from metrics.engine import Shard
    from metrics.rules import Rules

_OWN_STEP = 500
_LENT = 5_000
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
    """Another process, and the shard whose entities it is adding up."""

    process: BaseProcess
    connection: Connection
    shard: Shard | None = None


class Builders:
    """Brings the panes of restored shards up to date, a step at a time.

    Args:
        rules: the rules of the business.
        processes: how many to start beside this one, once there is enough to do for them; None: one for each further
            core, to three.
    """

    def __init__(self, rules: Rules, processes: int | None = None) -> None:
        self._rules = rules
        self._processes = min(_cores() - 1, _MOST) if processes is None else processes
        self._mates: Sequence[_Mate] = ()

    def step(self, shard: Shard) -> bool:
        """Go on with a shard; True once its panes hold all entities.

        Raises:
            BuildError: a process has ended.
        """
        if shard.built:
            return True
        if not self._mates and shard.unbuilt > _WORTHWHILE:
            self._mates = [self._start() for _ in range(self._processes)]
        for mate in self._mates:
            self._collect(mate)
            if mate.shard is None and (entries := shard.lend(_LENT)):
                mate.connection.send((entries, shard.panes.now))
                mate.shard = shard
        shard.build(_OWN_STEP)
        if self._mates and not shard.unbuilt and not shard.built:
            self._mates[0].connection.poll(0.01)  # nothing else to do than to wait
        return shard.built

    def close(self) -> None:
        """End the processes."""
        for mate in self._mates:
            mate.connection.close()
            mate.process.terminate()
            mate.process.join()
        self._mates = ()

    def _start(self) -> _Mate:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_add_up, args=(there, self._rules), daemon=True)
        process.start()
        there.close()
        return _Mate(process, here)

    @staticmethod
    def _collect(mate: _Mate) -> None:
        if mate.shard is None:
            return
        try:
            if mate.connection.poll():
                mate.shard.absorb(mate.connection.recv_bytes())
                mate.shard = None
        except (EOFError, OSError) as error:
            raise BuildError("a process that added up restored leads was ended; is there enough memory?") from error


def _add_up(connection: Connection, rules: Rules) -> None:
    """The life of such a process."""
    seldom_look_for_cycles()
    with contextlib.suppress(EOFError, OSError):  # the worker has ended, or has no more to do
        while True:
            entries, now = connection.recv()
            connection.send_bytes(added_up(entries, rules, now))
