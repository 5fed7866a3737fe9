"""What is remembered of a source's objects: of each field, which value it had since when.

A source tells of an object in parts, late, twice and out of order. An :class:`ObjectState` is the set of all these
observations, thinned out; two states of the same observations are equal in whatever order they came.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

DELETED = "@deleted"
"""A field that each object has: whether it is deleted."""
MERGED = "@merged_into"
"""A field that each object may have: the id of the object that it became a part of."""

_LONGEST_HISTORY = 100
_MOST_VERSIONS = 9_999
"""Versions are told apart by milliseconds; after these, by what the source says alone."""


class FieldValue(NamedTuple):
    """At an instant (ms since the epoch) a field had a value; None means that the source said it is empty."""

    field: str
    at: int
    value: Any


class ObjectChange(NamedTuple):
    """What a record says about an object."""

    kind: str
    id: str
    facts: Sequence[FieldValue]


class Forget(NamedTuple):
    """The object is to be forgotten: a person asked for it."""

    kind: str
    id: str
    at: int


class Row(NamedTuple):
    """A row of a table that needs no memory."""

    table: str
    values: Mapping[str, Any]


class Ignored(NamedTuple):
    """Something that is rightly no event; ``kind`` is a short label."""

    kind: str


class Unusable(NamedTuple):
    """Something that gives no event though it should; ``reason`` is a short label, ``detail`` is for a person."""

    reason: str
    detail: str


Told = ObjectChange | Forget | Row | Ignored | Unusable


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it came, with its envelope removed.

    ``value`` is decoded JSON; ``op`` is one of create, change, delete, snapshot where the envelope says; ``at`` is the
    instant of arrival and ``source_time`` the source's own (ms since the epoch).
    """

    value: Any
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    topic: str = ""
    at: int = 0
    op: str | None = None
    before: Any = None
    source_time: int | None = None


class ObjectState:
    """The observations of one object: with its history for some fields, of the others the last value."""

    __slots__ = ("_fields", "_latest", "_version")

    def __init__(self, fields: dict[str, list[list[Any]]] | None = None, version: int = 0, latest: int = 0) -> None:
        self._fields = fields or {}
        self._version = version
        self._latest = latest

    @classmethod
    def decode(cls, data: bytes) -> ObjectState:
        """From :meth:`encode`."""
        version, latest, fields = msgspec.json.decode(data)
        return cls(fields, version, latest)

    def encode(self) -> bytes:
        """As canonical JSON."""
        return msgspec.json.encode([self._version, self._latest, self._fields], order="deterministic")

    def add(self, facts: Iterable[FieldValue], histories: frozenset[str]) -> bool:
        """Add observations; whether that changes any value or the instant since which it holds."""
        changed = False
        for name, at, value in facts:
            known = self._fields.setdefault(name, [])
            before = _runs(known)
            _insert(known, at, value, whole=name in histories)
            if _runs(known) != before:
                changed = True
                self._latest = max(self._latest, at)
        self._version += changed
        return changed

    def names(self) -> Iterable[str]:
        """The fields of which anything is known."""
        return self._fields.keys()

    def get(self, name: str, default: Any = None) -> Any:
        """The last value; ``default`` where it is unknown or empty."""
        known = self._fields.get(name)
        value = known[-1][1] if known else None
        return default if value is None else value

    def knows(self, name: str) -> bool:
        """Whether the source ever spoke of the field."""
        return name in self._fields

    def since(self, name: str) -> int | None:
        """Since when the last value is known to hold."""
        runs = _runs(self._fields.get(name, []))
        return runs[-1][0] if runs else None

    def runs(self, name: str) -> list[tuple[int, Any]]:
        """The values that follow each other, each with the instant since which it is known to hold."""
        return _runs(self._fields.get(name, []))

    def at(self, name: str, instant: int, *, before: bool = True) -> Any:
        """The value at an instant; ``before`` the first observation that one stands in, as nothing else is known."""
        known = self._fields.get(name, [])
        place = bisect.bisect_right(known, instant, key=_instant)
        if not known or (place == 0 and not before):
            return None
        return known[max(place - 1, 0)][1]

    def until(self, instant: int) -> ObjectState:
        """What was known of the time before an instant."""
        kept = {name: [one for one in known if one[0] < instant] for name, known in self._fields.items()}
        latest = max((known[-1][0] for known in kept.values() if known), default=0)
        return ObjectState({name: known for name, known in kept.items() if known}, self._version, latest)

    def values(self) -> dict[str, Any]:
        """The last value of each field that a source names."""
        return {name: known[-1][1] for name, known in self._fields.items() if known and not name.startswith("@")}

    @property
    def latest(self) -> int:
        """The latest instant (ms) of anything that changed what is known."""
        return self._latest

    def recorded(self, at: int | None = None) -> int:
        """When what is known was learnt (ms): the latest instant of anything that changed it, or ``at``.

        A millisecond is added for each change of the state, so that what is made of it later is a later version of the
        same event, even where an older observation came late.
        """
        return (self._latest if at is None else at) + min(self._version, _MOST_VERSIONS)


def _instant(observation: Sequence[Any]) -> int:
    return int(observation[0])


def _runs(known: Sequence[Sequence[Any]]) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    for at, value in known:
        if not found or found[-1][1] != value:
            found.append((at, value))
    return found


def _insert(known: list[list[Any]], at: int, value: Any, *, whole: bool) -> None:
    """Add an observation to those of a field and drop what says no more than its neighbours."""
    place = bisect.bisect_left(known, at, key=_instant)
    if place < len(known) and known[place][0] == at:
        known[place][1] = max(known[place][1], value, key=_canonical)
    else:
        known.insert(place, [at, value])
    thin = [
        one
        for number, one in enumerate(known)
        if number in (0, len(known) - 1) or not known[number - 1][1] == one[1] == known[number + 1][1]
    ]
    if not whole:
        first = len(thin) - 1
        while first > 0 and thin[first - 1][1] == thin[-1][1]:
            first -= 1
        thin = thin[first:]
    known[:] = thin[-_LONGEST_HISTORY:]


def _canonical(value: Any) -> bytes:
    """Of two values at one instant the greater encoding holds, so that the order of arrival does not matter."""
    return msgspec.json.encode(value, order="deterministic")


class ObjectReader(Protocol):
    """What knows the records of a system: from records to changes of objects, and from objects to rows."""

    tables: Mapping[str, Mapping[str, str]]
    """Table -> column -> DuckDB type."""
    lookups: frozenset[str]
    """Kinds of objects whose rows stay in their tables, as other objects refer to them: stages, owners."""

    def tell(self, record: RawRecord) -> Iterable[Told]:
        """What a record says."""

    def histories(self, kind: str) -> frozenset[str]:
        """The fields of a kind of object whose former values matter."""

    def rows(self, kind: str, number: str, state: ObjectState) -> Iterable[Row]:
        """The rows that stand for an object."""
