"""What a process that holds many small objects tells the interpreter and the C library about its memory."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc

_THRESHOLDS = (50_000, 20, 100)


def seldom_look_for_cycles() -> None:
    """Have the collector look for cycles seldom, and never among what is there already.

    The engine makes many small objects and no cycles: looking for some often costs a sixth of the time.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)  # what is never collected is reported as leaked by extensions, when the process ends
    gc.set_threshold(*_THRESHOLDS)


def give_back() -> None:
    """Give what is free to the system, where the C library has a way to (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
