"""CRM events in Kafka become live sales KPIs in Prometheus and Grafana.

As a library (docs/as-a-library.md): :class:`Engine` computes KPIs from events, :func:`replay` shows the past from files
of events, :func:`explain` tells which records make a number, :func:`convert` makes events of a CRM's export, and
:mod:`salesgauge.events` has the events as models.
Every error that a person can do something about is a :class:`SalesgaugeError`.

Nothing is loaded before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salesgauge import events
    from salesgauge.explanations import EventRef, ExplainedRecord, Explanation, Wait, explain
    from salesgauge.library import (
        AnyInput,
        Engine,
        InputError,
        OutputError,
        Reading,
        Reason,
        Reject,
        Rejection,
        Rules,
        SalesgaugeError,
        Snapshot,
        TruncatedError,
        convert,
        replay,
    )

    __version__: str

__all__ = [
    "AnyInput",
    "Engine",
    "EventRef",
    "ExplainedRecord",
    "Explanation",
    "InputError",
    "OutputError",
    "Reading",
    "Reason",
    "Reject",
    "Rejection",
    "Rules",
    "SalesgaugeError",
    "Snapshot",
    "TruncatedError",
    "Wait",
    "__version__",
    "convert",
    "events",
    "explain",
    "replay",
]

_EXPLANATIONS = frozenset({"EventRef", "ExplainedRecord", "Explanation", "Wait", "explain"})


if not TYPE_CHECKING:  # a type checker is to notice a name that is not there

    def __getattr__(name: str) -> Any:
        if name == "events":
            return importlib.import_module("salesgauge.events")
        if name == "__version__":
            return importlib.import_module("salesgauge.streams.version").VERSION
        if name in _EXPLANATIONS:
            return getattr(importlib.import_module("salesgauge.explanations"), name)
        if name in __all__:
            return getattr(importlib.import_module("salesgauge.library"), name)
        raise AttributeError(f"module 'salesgauge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
