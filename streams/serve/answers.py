"""Answers that take time: computed in a thread of their own, one after the other, each once for all who ask."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class BusyError(Exception):
    """Too many different answers are being waited for."""


class Answers(Generic[T]):
    """Computes answers in one thread. Who asks for one that is being computed, or is fresh, gets the same.

    Args:
        name: of the thread.
        fresh_seconds: how long an answer is good for those who ask later.
        max_waiting: different answers that may be waited for; a further one is refused.
    """

    def __init__(self, name: str, *, fresh_seconds: float = 0.0, max_waiting: int = 32) -> None:
        self._pool = ThreadPoolExecutor(1, name)
        self._fresh_seconds = fresh_seconds
        self._max_waiting = max_waiting
        self._waiting: dict[Hashable, asyncio.Future[T]] = {}
        self._kept: dict[Hashable, tuple[float, T]] = {}

    async def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The answer for a key; ``compute`` is called in the thread, where nobody has it.

        Raises:
            BusyError: too many others are being waited for.
        """
        self._forget()
        if key in self._kept:
            return self._kept[key][1]
        if key not in self._waiting:
            if len(self._waiting) >= self._max_waiting:
                raise BusyError
            future = asyncio.get_running_loop().run_in_executor(self._pool, compute)
            self._waiting[key] = future
            future.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(self._waiting[key])  # one who leaves must not take it from the others

    def close(self) -> None:
        """Compute nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self, key: Hashable, future: asyncio.Future[T]) -> None:
        self._waiting.pop(key, None)
        if not future.cancelled() and future.exception() is None and self._fresh_seconds:
            self._kept[key] = time.monotonic(), future.result()

    def _forget(self) -> None:
        limit = time.monotonic() - self._fresh_seconds
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > limit}
