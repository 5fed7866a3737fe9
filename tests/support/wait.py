"""Waiting for what a test needs to be true, instead of sleeping and hoping."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


T = TypeVar("T")


class NeverTrueError(AssertionError):
    """A condition did not come true before its deadline."""


def until(condition: Callable[[], T], deadline: float = 10.0, what: str = "", *, every: float = 0.05) -> T:
    """Call `condition` until its answer is true, and return that answer.

    Args:
        condition: asked again and again. An exception counts as "not yet"; the last one is told in the end.
        deadline: seconds from now.
        what: what is waited for, for the message.
        every: seconds between two questions.

    Raises:
        NeverTrueError: time is up. It tells `what`, the last answer and the last exception.
    """
    end = time.monotonic() + deadline
    while True:
        answer, error = None, None
        try:
            answer = condition()
        except Exception as caught:  # noqa: BLE001 - whatever fails now may work in a moment
            error = caught
        if answer:
            return answer
        if time.monotonic() >= end:
            last = f"last answer {answer!r}" if error is None else f"last error {error!r}"
            raise NeverTrueError(f"not within {deadline:g} s: {what or condition} ({last})") from error
        time.sleep(every)
