"""Which optional fields of events are filled, by kind of event and source system.

No KPI can be broken down by a field that is never given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic.fields import FieldInfo

from salesgauge.schemas.events import EVENTS
from salesgauge.schemas.wire import AnyEvent

OTHER, UNKNOWN = "other", "unknown"
"""The source systems beyond :data:`MOST_SOURCES`, and that of events that name none."""
MOST_SOURCES = 20
"""Source systems that are told apart."""


def _may_be_empty(name: str, info: FieldInfo) -> bool:
    return name != "source_system" and not info.is_required() and info.default in (None, ())


OPTIONAL: Mapping[str, tuple[str, ...]] = {
    event: tuple(name for name, info in model.model_fields.items() if _may_be_empty(name, info))
    for event, model in EVENTS.items()
}
"""Event name -> its fields that may be left out and have no default."""


class Filled(NamedTuple):
    """How many events of a kind a source system told, and how many of them had each optional field."""

    event: str
    source_system: str
    events: int
    fields: Mapping[str, int]


@dataclass(slots=True)
class Filling:
    """Counts events, and the optional fields that they have."""

    _events: Counter[tuple[str, str]] = field(default_factory=Counter)
    _fields: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _sources: set[str] = field(default_factory=set)

    def add(self, event: AnyEvent) -> None:
        """Count one event."""
        name, source = event.name, self._source(event.source_system or UNKNOWN)
        self._events[name, source] += 1
        for optional in OPTIONAL[name]:
            if getattr(event, optional) not in (None, ()):
                self._fields[name, source, optional] += 1

    def take(self) -> Iterator[Filled]:
        """What was counted since the last call, by kind of event and source system."""
        events, fields = self._events, self._fields
        self._events, self._fields = Counter(), Counter()
        for (name, source), count in sorted(events.items()):
            yield Filled(name, source, count, {one: fields[name, source, one] for one in OPTIONAL[name]})

    def _source(self, name: str) -> str:
        if name not in self._sources:
            if len(self._sources) >= MOST_SOURCES:
                return OTHER
            self._sources.add(name)
        return name
