"""Two sets of readings side by side: a live exporter, a replay, a file."""

from __future__ import annotations

import json
import math
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from salesgauge.schemas.errors import InputError
from salesgauge.streams.io.instants import iso
from salesgauge.streams.io.secrets import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_TIMEOUT = 30.0
_QUANTILES = frozenset({"p50", "p90", "p99"})

Key = tuple[str, str, str, str, tuple[tuple[str, str], ...]]
"""Instant ("" where each side has one), KPI, stat, window, labels."""


@dataclass(frozen=True, slots=True)
class Readings:
    """One side: readings by key, and the instants at which they were taken."""

    name: str
    values: Mapping[Key, float]
    instants: tuple[str, ...]
    events: int | None = None

    def of(self, kpis: Collection[str], windows: Collection[str]) -> Readings:
        """Only those of these KPIs and windows, where some are named."""
        values = {
            key: value
            for key, value in self.values.items()
            if (not kpis or key[1] in kpis) and (not windows or key[3] in windows)
        }
        return replace(self, values=values)


@dataclass(frozen=True, slots=True)
class Difference:
    """A reading that differs; None where a side lacks it."""

    key: Key
    left: float | None
    right: float | None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two values may lie apart, relative to the greater.

    Quantiles have their own tolerance, and so has each KPI, or stat of a KPI, that ``of`` names (``new_leads``,
    ``lead_response_seconds.p90``).
    """

    general: float = 1e-9
    quantile: float = 0.011
    of: Mapping[str, float] = field(default_factory=dict)

    def accepts(self, kpi: str, stat: str, left: float, right: float) -> bool:
        """Whether two values count as equal."""
        usual = max(self.general, self.quantile) if stat in _QUANTILES else self.general
        allowed = self.of.get(f"{kpi}.{stat}", self.of.get(kpi, usual))
        return math.isclose(left, right, rel_tol=allowed, abs_tol=min(self.general, allowed))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, and where they differ."""

    left: Readings
    right: Readings
    differences: tuple[Difference, ...]

    @property
    def total(self) -> int:
        """How many readings were compared."""
        return len(self.left.values.keys() | self.right.values.keys())

    def caveats(self) -> list[str]:
        """Why the sides may differ although nothing is wrong, in sentences."""
        left, right = self.left, self.right
        found = []
        if left.instants != right.instants and len(left.instants) == len(right.instants) == 1:
            found.append(f"A is of {left.instants[0]}, B of {right.instants[0]}")
        if None not in (left.events, right.events) and left.events != right.events:
            found.append(f"A has seen {left.events:,} events, B {right.events:,}")
        return found


def compare(left: Readings, right: Readings, tolerance: Tolerance | None = None) -> Comparison:
    """Where two sides differ."""
    return Comparison(left, right, tuple(differences(left, right, tolerance or Tolerance())))


def differences(left: Readings, right: Readings, tolerance: Tolerance) -> Iterator[Difference]:
    """What differs, in the order of the left side; what only the right side has comes last."""
    for key, value in left.values.items():
        other = right.values.get(key)
        if other is None or not tolerance.accepts(key[1], key[2], value, other):
            yield Difference(key, value, other)
    for key, value in right.values.items():
        if key not in left.values:
            yield Difference(key, None, value)


def read_sides(
    left: str, right: str, token: str | None = None, kpis: Collection[str] = (), windows: Collection[str] = ()
) -> tuple[Readings, Readings]:
    """Both sides, as :func:`read` reads them; only these KPIs and windows, where some are named.

    Raises:
        InputError: they cannot be read, or there is nothing to compare.
    """
    if left == right == "-":
        raise InputError("standard input can be one side alone")
    one, other = (read(name, token).of(kpis, windows) for name in (left, right))
    if not one.values and not other.values:
        wanted = " ".join(["any readings", *(f"of {kpi}" for kpi in kpis), *(f"in {window}" for window in windows)])
        raise InputError(f"there is nothing to compare: neither side has {wanted}")
    return one, other


def read(name: str, token: str | None = None) -> Readings:
    """Readings from a JSON file (a document, or one a line), a Parquet file, ``-`` or an exporter.

    Raises:
        InputError: they cannot be read.
    """
    if name.startswith(("http://", "https://")):
        live = _collected(shown(name), [_fetch(name, token)])
        return replace(live, events=None)  # workers count since they started
    if name != "-" and not Path(name).is_file():
        raise InputError(f"{name} does not exist")
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    if content[:4] == b"PAR1":
        return _collected(name, _parquet(name))
    return _collected(name, _documents(name, content))


def _documents(name: str, content: bytes) -> list[Any]:
    try:
        return [json.loads(content)]
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError as error:
        raise InputError(f"{name} holds no readings: {error}") from error


def _fetch(address: str, token: str | None) -> Any:
    base = address.rstrip("/").removesuffix("/metrics").removesuffix("/api/kpis")
    url = f"{base}/api/kpis"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), checked by the caller
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - as above
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise InputError(f"{shown(url)} answered {error.code}: is that an exporter, and may you read it?") from error
    except (OSError, HTTPException) as error:
        raise InputError(f"{shown(url)} cannot be reached: {getattr(error, 'reason', error)}") from error
    except ValueError as error:
        raise InputError(f"{shown(url)} does not answer with readings: {error}") from error


def _parquet(name: str) -> list[dict[str, Any]]:
    query = 'SELECT epoch_ms("at"), kpi, "window", labels, stat, value FROM read_parquet(?)'
    try:
        with duckdb.connect() as connection:
            rows = connection.execute(query, [name]).fetchall()
    except duckdb.Error as error:
        raise InputError(f"{name} holds no readings: {error}") from error
    documents: dict[int, dict[str, Any]] = {}
    for at, kpi, window, labels, stat, value in rows:
        document = documents.setdefault(at, {"at": iso(at), "readings": []})
        document["readings"].append(
            {"kpi": kpi, "window": window, "labels": json.loads(labels), "stat": stat, "value": value}
        )
    return list(documents.values())


@dataclass(slots=True)
class _Collector:
    several: bool
    values: dict[Key, float] = field(default_factory=dict)

    def add(self, document: Mapping[str, Any]) -> None:
        at = str(document["at"]) if self.several else ""
        for reading in document["readings"]:
            labels = tuple(sorted((str(k), str(v)) for k, v in reading["labels"].items()))
            key = (at, str(reading["kpi"]), str(reading["stat"]), str(reading["window"]), labels)
            self.values[key] = float(reading["value"])


def _collected(name: str, documents: list[Any]) -> Readings:
    collector = _Collector(several=len(documents) > 1)
    if not documents:
        raise InputError(f"{name} is empty")
    try:
        for document in documents:
            collector.add(document)
        instants = tuple(str(document["at"]) for document in documents)
        events = documents[0].get("events") if len(documents) == 1 else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{name} holds no readings as `replay --json` writes them") from error
    return Readings(name, collector.values, instants, events)
