"""Rows of a CRM's export to validated events: DuckDB runs a mapping's SQL, pydantic has the last word.

The result is a function of the files, the mapping and the time zone. Rows that are no event come out as
:class:`Rejected` beside the events; only what concerns a whole query raises :class:`ConvertError`.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from salesgauge.schemas.codec import PARTS, Reason, Rejection, count_unknown, decode_batch, told_unknown
from salesgauge.schemas.events import EVENTS, EventBase
from salesgauge.schemas.sources.advice import near_field
from salesgauge.schemas.sources.choice import choose_texts
from salesgauge.schemas.sources.columns import NO_VALUE, Doubt, trimmed
from salesgauge.schemas.sources.inputs import open_tables, places_of, resolve_inputs, single_select
from salesgauge.schemas.sources.mapping import ConvertError, EventSpec, Mapping, Queries, zone_of
from salesgauge.schemas.sources.reading import explained
from salesgauge.schemas.sources.sql import literal, quoted
from salesgauge.schemas.values import MAX_ID_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from zoneinfo import ZoneInfo

    import duckdb

REJECT_REASON = "reject_reason"
"""A column in which a query says why a row must not become an event; NULL lets it pass."""

LINE_COLUMNS = ("product", "quantity", "unit_price")
"""Flat columns that stand for a deal of one line, where the event has ``lines``."""

RESTATED: dict[str, frozenset[str]] = {
    "spend_recorded": frozenset({"amount", "recorded_at"}),
    "usage_recorded": frozenset({"minutes", "recorded_at"}),
    "survey_answered": frozenset({"score", "rep_id", "team", "account_id", "recorded_at"}),
    "competitor_price_observed": frozenset({"price", "own_price", "recorded_at"}),
    "activity_logged": frozenset({"rep_id", "team", "direction", "automated", "recorded_at"}),
    "reply_received": frozenset({"rep_id", "team", "sentiment", "auto_reply", "recorded_at"}),
    "subscription_changed": frozenset({"mrr_before", "mrr_after", "subscriptions", "recorded_at"}),
}
"""Events without an identity of their own -> what a later export may say otherwise of the same fact."""

_VERSIONED = frozenset({"spend_recorded", "usage_recorded", "survey_answered", "competitor_price_observed"})
"""Of these, those whose rows exports restate for weeks; see :func:`_recorded`."""

QUERY_SECONDS = 1800.0
"""How long one query of a mapping may take."""

_SHOWN = 3
_MINUTE = timedelta(minutes=1)

_decode_json = msgspec.json.Decoder(float_hook=Decimal).decode
_BATCH = 2_000
_ID_BYTES = 16
_EXACT_DOUBLE = 2**53
_NUMBERS = frozenset({
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "BIGNUM",
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL",
})  # fmt: skip
_NOT_A_TIME = "is not an ISO 8601 time; use strptime(column, format), or to_timestamp(seconds), in the SQL"

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
"""Line breaks, tabs and the like, which no text of an event may have."""

Kind = Literal["time", "text", "lines", "number", "boolean", "other"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that did not become an event: the query's event, why, and the row as the query gave it.

    Of a line that could not even be read, ``event`` names the input, and ``row`` has the file, the line and its text.
    """

    event: str
    reason: str
    detail: str
    row: dict[str, Any]


class _BadValueError(ValueError):
    """A value that validation would refuse with a less helpful reason."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked query: its SQL with normalised columns, and what makes a JSON value of each."""

    event: str
    part: str
    """The event and, from its second query on, the query's number: what derived ids are distinguished by."""
    sql: str
    distinct_sql: str
    """The same, for tables whose equal rows are one."""
    names: tuple[str, ...]
    converters: tuple[Callable[[Any], Any], ...]
    flat_lines: bool
    defaults: dict[str, str]
    reading: ValueReader
    repeated: bool = True
    """Whether equal rows without an id are as many events."""
    as_of: datetime | None = None
    """The latest time in an export whose rows later ones may restate."""


def convert(
    mapping: Mapping,
    *,
    overrides: MappingABC[str, str] | None = None,
    folders: Sequence[Path] = (Path(),),
    timezone: str | None = None,
    default_timezone: str = "UTC",
    distinct: Iterable[str] = (),
    notice: Callable[[str], None] = lambda _: None,
    unknown: Counter[str] | None = None,
    not_after: datetime | None = None,
    allowed: Sequence[Path] = (),
    seconds: float = QUERY_SECONDS,
) -> Iterator[EventBase | Rejected]:
    """Yield the events and the rejected rows of a mapping, query by query.

    All queries are checked before the first row is yielded.

    Args:
        mapping: the mapping.
        overrides: input name -> path or glob that replaces the mapping's.
        folders: where relative paths are looked for, in this order; what the mapping names must lie in one of them.
        timezone: zone of times without one; goes before the mapping's.
        default_timezone: the zone where neither says one.
        distinct: inputs whose equal rows are read once.
        notice: is told what is valid, but hardly meant.
        unknown: counts the fields inside of lines and splits that there are not; of columns they are an error.
        not_after: what lies later does not tell how old an export is; see :func:`_recorded`.
        allowed: files elsewhere that the mapping may name.
        seconds: how long one query may take.

    Raises:
        ConvertError: an input is missing or unreadable, or a query is wrong, lacks a column or takes too long.
    """
    zone = _zone(timezone or mapping.timezone or default_timezone)
    files = resolve_inputs(mapping, overrides=overrides or {}, folders=folders, allowed=allowed)
    with contextlib.ExitStack() as stack:
        spill = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="salesgauge-")))
        tables = open_tables(mapping, files, zone=zone.key, spill=spill, distinct=distinct)
        connection = tables.connection
        stack.callback(connection.close)
        choose_texts(tables, {spec.event: text_fields(spec.event) for spec in mapping.events})
        reading = ValueReader(zone, doubts=tables.doubts(), rounded=tables.rounded(), not_after=not_after)
        reading.unknown = reading.unknown if unknown is None else unknown
        with _limited(connection, seconds):
            tables.settle()
        plans = plans_of(connection, mapping, zone, reading)
        for line in tables.unreadable:
            row = {"file": line.file, "line": line.line, "text": line.text}
            yield Rejected(event=f"input {line.input}", reason="unreadable", detail=line.detail, row=row)
        for plan in plans:
            with _limited(connection, seconds):
                yield from run(connection, plan)
                _notice_split_deals(connection, plan, notice)
        for text in [*tables.notices(), *reading.notices()]:
            notice(text)
        for text in list(reading.met)[:_SHOWN]:
            places = places_of(text, files)
            notice(f"{text} {_LOOKS_ROUNDED}: {places}" if places else f"{text} {_LOOKS_ROUNDED}")


@contextlib.contextmanager
def _limited(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """End a query that takes too long, such as one that never ends."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def derived_id(part: str, fields: MappingABC[str, Any], *, source_system: str | None, occurrence: int) -> str:
    """The event id of a row that brings none: a digest of its columns, so that it is the same for ever.

    What a later export may restate (:data:`RESTATED`) is not among ``fields``.

    Rows that are equal in all columns are as many events: the second one's id ends in ``-2``, and so on.
    ``part`` is the event's name; a further query of the same event has its number behind it.
    """
    content = msgspec.json.encode([source_system, part, fields], order="deterministic")
    digest = hashlib.blake2b(content, digest_size=_ID_BYTES).hexdigest()
    return digest if occurrence == 1 else f"{digest}-{occurrence}"


# --- the plan of a query


def plans_of(
    connection: duckdb.DuckDBPyConnection,
    queries: Queries,
    zone: ZoneInfo,
    reading: ValueReader | None = None,
    *,
    repeated: bool = True,
) -> list[Plan]:
    """The checked queries of all events; the tables and views that they select from must be there.

    ``reading`` has what is known of the texts in the tables; without it each value is judged alone. ``repeated`` says
    whether equal rows without an id are as many events, as in a file, or one, as where records come several times.

    Raises:
        ConvertError: a query is wrong or lacks a column.
    """
    parts = _parts([spec.event for spec in queries.events])
    reading = reading or ValueReader(zone)
    plans = [_plan(connection, queries, spec, part, reading) for spec, part in zip(queries.events, parts, strict=True)]
    return plans if repeated else [replace(plan, sql=plan.distinct_sql, repeated=False) for plan in plans]


def text_fields(event: str) -> frozenset[str]:
    """The fields of an event that are texts: what the source wrote is what they must hold."""
    names = (name for name, kind in _field_kinds(event).items() if kind == "text" and name != "currency")
    return frozenset(names) | {"product"}


def _parts(events: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    parts = []
    for event in events:
        seen[event] += 1
        parts.append(event if seen[event] == 1 else f"{event} {seen[event]}")
    return parts


def _plan(
    connection: duckdb.DuckDBPyConnection, mapping: Queries, spec: EventSpec, part: str, reading: ValueReader
) -> Plan:
    where = f"event {spec.event}"
    select = single_select(connection, spec.sql, where=where)
    with explained(where):
        described = connection.execute(f"DESCRIBE {select}").fetchall()
    columns = {str(name).lower(): str(kind) for name, kind, *_ in described}
    kinds = _field_kinds(spec.event)
    flat = "lines" in kinds and "lines" not in columns
    _check_columns(where, columns, kinds, EVENTS[spec.event], described=len(described), flat=flat)
    expressions = [_expression(name, kind, kinds.get(name, "other")) for name, kind in columns.items()]
    selected = ", ".join(
        f"{expression} AS {quoted(name)}" for expression, name in zip(expressions, columns, strict=True)
    )
    keys, others = _identity(spec.event, dict(zip(columns, expressions, strict=True)))
    order = f" ORDER BY {', '.join(others)}" if others else ""
    number = f"row_number() OVER (PARTITION BY {', '.join(keys)}{order})"
    rows = f"FROM (\n{select}\n) AS row_of_mapping"
    defaults = {"event": spec.event, "source_system": mapping.source_system, "currency": mapping.currency}
    return Plan(
        event=spec.event,
        part=part,
        sql=f"SELECT {selected}, {number} {rows}",
        distinct_sql=f"SELECT {selected}, 1 {rows}",
        names=tuple(columns),
        converters=tuple(_converter(name, kinds.get(name, "other"), reading) for name in columns),
        flat_lines=flat,
        defaults={name: value for name, value in defaults.items() if value and (name in kinds or name == "event")},
        reading=reading,
    )


def _identity(event: str, expressions: MappingABC[str, str]) -> tuple[list[str], list[str]]:
    """The SQL of the columns that make a row what it is, and of those that a later export may restate."""
    restated = RESTATED.get(event, frozenset())
    keys = [sql for name, sql in expressions.items() if name not in restated]
    others = [sql for name, sql in expressions.items() if name in restated]
    return (keys, others) if keys else (others, [])


def _check_columns(
    where: str,
    columns: MappingABC[str, str],
    kinds: MappingABC[str, Kind],
    model: type[EventBase],
    *,
    described: int,
    flat: bool,
) -> None:
    if len(columns) < described:
        raise ConvertError(f"{where}: the SQL selects two columns of the same name")
    known = set(kinds) | {REJECT_REASON} | (set(LINE_COLUMNS) if flat else set())
    unknown = sorted(name for name in set(columns) - known if not name.startswith("_"))
    if unknown:
        raise ConvertError(
            f"{where}: the event has no field {', '.join(unknown)}{_meant(unknown, kinds)}; its fields are "
            + ", ".join(kinds)
            + (f" (or {', '.join(LINE_COLUMNS)} for one line)" if flat else "")
        )
    _check_required(where, set(columns), model)
    for name, kind in columns.items():
        if kinds.get(name) == "time" and _base(kind) in _NUMBERS | {"BOOLEAN", "TIME", "INTERVAL"}:
            raise ConvertError(
                f"{where}: {name} is {kind}, not a time; use to_timestamp(seconds), epoch_ms(milliseconds), a cast, "
                "or, for the day numbers of Excel, DATE '1899-12-30' + CAST(column AS INTEGER)"
            )


def _meant(unknown: Sequence[str], known: Iterable[str]) -> str:
    meant = {name: field for name in unknown if (field := near_field(name, known))}
    return f" (did you mean {', '.join(f'{field} for {name}' for name, field in meant.items())}?)" if meant else ""


def _check_required(where: str, names: set[str], model: type[EventBase]) -> None:
    required = [name for name, field in model.model_fields.items() if field.is_required() and name != "event_id"]
    missing = [name for name in required if name not in names]
    if missing:
        raise ConvertError(f"{where}: the SQL does not select {', '.join(missing)}")
    if not names & set(model.KEY_FIELDS):
        raise ConvertError(f"{where}: the SQL selects none of {', '.join(model.KEY_FIELDS)}")


def _expression(name: str, kind: str, field: Kind) -> str:
    """A column as Python takes it over: times, dates and rarer types as text, blank text as NULL.

    A column of JSON is one whose values were of several types in a JSON file; a text in it stands in quotes there.
    """
    column = quoted(name)
    base = _base(kind)
    if base == "JSON" and field != "lines":
        column, base = f"({column} ->> '$')", "VARCHAR"
    if base == "TIMESTAMP WITH TIME ZONE":
        return f"CAST(timezone('UTC', {column}) AS VARCHAR) || '+00:00'"
    if base == "VARCHAR":
        return trimmed(column)
    if base in _NUMBERS | {"BOOLEAN", "JSON", "STRUCT", "MAP"} or kind.endswith("]"):
        return column
    return f"CAST({column} AS VARCHAR)"


def _base(kind: str) -> str:
    return "LIST" if kind.endswith("]") else kind.partition("(")[0].strip()


@cache
def _field_kinds(event: str) -> dict[str, Kind]:
    """The event's fields and how values reach them, from its JSON Schema, which names the usual type first."""
    properties = EVENTS[event].model_json_schema()["properties"]
    return {name: _kind(name, schema) for name, schema in properties.items() if name != "event"}


def _kind(name: str, schema: dict[str, Any]) -> Kind:
    if name == "lines":
        return "lines"
    options = schema.get("anyOf", [schema])
    if any(option.get("format") == "date-time" for option in options):
        return "time"
    first: dict[Any, Kind] = {"string": "text", "number": "number", "integer": "number", "boolean": "boolean"}
    return first.get(options[0].get("type"), "other")


# --- rows


def run(connection: duckdb.DuckDBPyConnection, plan: Plan) -> Iterator[EventBase | Rejected]:
    """The events and rejected rows that a query makes of what the tables hold now.

    Raises:
        ConvertError: the query fails on a value.
    """
    where = f"event {plan.event}"
    with explained(where):
        plan = _dated(connection, plan)
        connection.execute(plan.sql)
    while True:
        with explained(where):
            rows = connection.fetchmany(_BATCH)
        if not rows:
            return
        yield from _batch(plan, rows)


def _dated(connection: duckdb.DuckDBPyConnection, plan: Plan) -> Plan:
    """The plan with the age of its export, where that tells which version of a row holds."""
    if not plan.repeated or plan.event not in _VERSIONED or {"recorded_at", "event_id"} & set(plan.names):
        return plan
    latest = plan.reading.not_after or datetime(9999, 1, 1, tzinfo=UTC)
    query = (
        f"SELECT epoch_us(max(t)) FROM (SELECT TRY_CAST(occurred_at AS TIMESTAMPTZ) AS t FROM ({plan.sql})) "  # noqa: S608
        f"WHERE t <= CAST({literal(latest.isoformat())} AS TIMESTAMPTZ)"
    )
    [[micros]] = connection.execute(query).fetchall()
    if micros is None:
        return plan
    return replace(plan, as_of=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros))


def _notice_split_deals(connection: duckdb.DuckDBPyConnection, plan: Plan, notice: Callable[[str], None]) -> None:
    """Say where different rows tell of one win at one time: of these versions only one counts.

    The usual cause is a file of order lines that was not grouped.
    """
    names = [name for name in ("deal_id", "occurred_at", "recorded_at") if name in plan.names]
    if plan.event != "deal_won":
        return
    passed = f"WHERE {REJECT_REASON} IS NULL" if REJECT_REASON in plan.names else ""
    columns = ", ".join(quoted(name) for name in plan.names if name != "event_id" and not name.startswith("_"))
    rows = f"SELECT DISTINCT {columns} FROM ({plan.sql}) {passed}"  # noqa: S608
    split = f"SELECT deal_id FROM ({rows}) GROUP BY {', '.join(names)} HAVING count(*) > 1"  # noqa: S608
    query = f"SELECT count(*), min(deal_id) FROM ({split})"  # noqa: S608
    deals, example = connection.execute(query).fetchall()[0]
    if deals:
        notice(
            f"{plan.event}: {deals:,} deal{'s' * (deals != 1)}, such as {example}, with several rows of one time: "
            "only one of them counts, as the latest version. Lines of a deal are to be grouped: "
            "list({…}) AS lines … GROUP BY ALL"
        )


def _batch(plan: Plan, rows: list[tuple[Any, ...]]) -> Iterator[EventBase | Rejected]:
    prepared = [_payload(plan, row) for row in rows]
    parts = not PARTS.keys().isdisjoint(plan.names)
    decoded = iter(decode_batch([payload for payload in prepared if isinstance(payload, bytes)]))
    for row, payload in zip(rows, prepared, strict=True):
        result = next(decoded) if isinstance(payload, bytes) else payload
        if isinstance(result, Rejection):
            yield _rejected(plan, row, result.reason, result.detail)
        else:
            if parts and isinstance(payload, bytes) and isinstance(result, EventBase):
                count_unknown(plan.reading.unknown, payload, result)
            yield result


def _payload(plan: Plan, row: tuple[Any, ...]) -> bytes | Rejected:
    """The row as an event's JSON; its last value is its number among the rows that are equal to it."""
    fields: dict[str, Any] = {}
    for name, to_json, value in zip(plan.names, plan.converters, row[:-1], strict=True):
        if value is None:
            continue
        try:
            converted = to_json(value)
        except _BadValueError as error:
            return _rejected(plan, row, Reason.INVALID, f"{name}: {error}")
        except _DoubtfulError as error:
            raise ConvertError(f"event {plan.event}: {name}: {error}") from error
        if converted is not None:
            fields[name] = converted
    if REJECT_REASON in fields:
        return _rejected(plan, row, str(fields[REJECT_REASON]), "")
    if plan.flat_lines:
        _fold_line(fields)
    if "event_id" not in fields:
        source = fields.get("source_system", plan.defaults.get("source_system"))
        content = {name: value for name, value in fields.items() if name not in RESTATED.get(plan.event, ())}
        fields["event_id"] = derived_id(plan.part, content, source_system=source, occurrence=row[-1])
        if plan.as_of is not None:
            fields.setdefault("recorded_at", _recorded(fields.get("occurred_at"), plan.as_of))
    return msgspec.json.encode(plan.defaults | fields)


def _fold_line(fields: dict[str, Any]) -> None:
    line = {name: fields.pop(name) for name in LINE_COLUMNS if name in fields}
    if line:
        fields["lines"] = [line]


def _rejected(plan: Plan, row: tuple[Any, ...], reason: str, detail: str) -> Rejected:
    shown = {
        name: _plain(value)
        for name, value in zip(plan.names, row[:-1], strict=True)
        if value is not None and name != REJECT_REASON
    }
    return Rejected(event=plan.event, reason=str(reason), detail=detail, row=shown)


# --- values


class _DoubtfulError(ValueError):
    """A value that can be read in two ways."""


@dataclass(slots=True)
class ValueReader:
    """How values are read, and what was met while doing so.

    Args:
        zone: of times that name none.
        doubts: text -> why it can be read in two ways.
        rounded: identifier -> the column in which all long numbers look rounded.
        not_after: see :func:`convert`.
    """

    zone: ZoneInfo
    doubts: MappingABC[str, Doubt] = field(default_factory=dict)
    rounded: MappingABC[str, str] = field(default_factory=dict)
    not_after: datetime | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    """Local times that the clocks skipped."""
    repeated: Counter[str] = field(default_factory=Counter)
    """Local times that there were twice."""
    met: Counter[str] = field(default_factory=Counter)
    """Identifiers that look rounded."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Fields of lines and splits that there are not."""

    def notices(self) -> list[str]:
        """What was done with local times around a change of the clocks, and which fields were ignored."""
        zone = self.zone.key
        said = []
        if self.skipped:
            said.append(
                f"{_times(self.skipped)} not exist in {zone}, where the clocks were put forward: they count from before"
                " the change. Is the zone right?"
            )
        if self.repeated:
            said.append(
                f"{_times(self.repeated)} exist twice in {zone}, where the clocks were put back: the first holds"
            )
        if self.unknown:
            said.append(f"{told_unknown(self.unknown)}; they are ignored. Are they misspelt?")
        return said


def _times(counted: Counter[str]) -> str:
    total = counted.total()
    does = "does" if total == 1 else "do"
    return f"{total:,} local time{'s' * (total != 1)}, such as {min(counted)}, {does}"


def _converter(name: str, kind: Kind, reading: ValueReader) -> Callable[[Any], Any]:
    simple: dict[Kind, Callable[[Any], Any]] = {
        "time": partial(_time, reading=reading),
        "lines": partial(_lines, reading=reading),
        "number": partial(_amount, reading=reading),
        "boolean": _boolean,
    }
    if kind in simple:
        return simple[kind]
    if name == "reason":
        return _reason
    if name in ("quantity", "unit_price"):
        return partial(_amount, reading=reading)
    if name.endswith("_id") and kind == "text":
        return partial(_identifier, reading=reading)
    if (kind == "text" and name != "source_system") or name == "product":
        return _text
    return _plain


def _time(value: Any, *, reading: ValueReader) -> str | None:
    """An ISO 8601 text as an instant in UTC; without an offset it is the zone's local time.

    Of a local time that the end of daylight-saving time repeats, the first one is taken; one that its
    beginning skips is moved forward by the gap.
    """
    text = str(value)
    if text.lower() in NO_VALUE:
        return None
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC).isoformat()
        local = time.replace(tzinfo=reading.zone)
        instant = local.astimezone(UTC)
        if local.utcoffset() != local.replace(fold=1).utcoffset():
            _note_change(text, local, reading)
        return instant.isoformat()
    except (ValueError, OverflowError) as error:
        if text in reading.doubts:
            raise _DoubtfulError(str(reading.doubts[text])) from error
        raise _BadValueError(_NOT_A_TIME) from error


def _note_change(text: str, local: datetime, reading: ValueReader) -> None:
    """Of two offsets the earlier one is the greater where a time repeats, and the smaller where one is skipped."""
    before, after = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert before is not None
    assert after is not None
    (reading.repeated if before > after else reading.skipped)[text] += 1


def _recorded(occurred: Any, as_of: datetime) -> str | None:
    """When the row of an export became known, so that of two exports the later one's row holds.

    An export does not say. Later exports know rows at a greater age: ``recorded_at`` is a millisecond after
    ``occurred_at`` for each minute between that and the latest row of the export. It stays near ``occurred_at``, so
    that a replay of what was known shows the row when it happened.
    """
    if not isinstance(occurred, str):
        return None
    at = datetime.fromisoformat(occurred)
    age = max(as_of - at, timedelta()) // _MINUTE
    return (at + timedelta(milliseconds=age)).isoformat()


_ROUNDED = re.compile(r"[-+]?(\d[.,]\d+[eE][-+]?\d+|\d+[eE]\+\d+)")
_LOOKS_ROUNDED = (
    "looks like a number that a spreadsheet has rounded, so that several identifiers became one; "
    "export or format the column as text"
)


def _identifier(value: Any, *, reading: ValueReader) -> str:
    text = _text(value)
    if _ROUNDED.fullmatch(text):
        reading.met[text] += 1
        raise _BadValueError(f"{text} {_LOOKS_ROUNDED}")
    if text in reading.rounded:
        reading.met[text] += 1
        raise _BadValueError(
            f"{text} {_LOOKS_ROUNDED} ({reading.rounded[text]}: all long numbers end in zeros; "
            "if they are so, say types: {column: VARCHAR})"
        )
    return text


def _text(value: Any) -> str:
    if isinstance(value, float) and abs(value) >= _EXACT_DOUBLE:
        raise _BadValueError(
            "is a number too long to be exact; export or read it as text (CSV: types: {column: VARCHAR})"
        )
    plain = _plain(value)
    return plain if isinstance(plain, str) else str(plain).lower()


def _reason(value: Any) -> str:
    """Free text, of which the beginning will do."""
    text = _text(value)
    return text if len(text) <= MAX_ID_LENGTH else text[: MAX_ID_LENGTH - 1] + "…"


_PLAIN_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_TRUE = frozenset(
    {
        "true",
        "yes",
        "y",
        "t",
        "on",
        "1",
        "ja",
        "wahr",
        "oui",
        "vrai",
        "sí",
        "si",
        "sim",
        "verdadero",
        "vero",
        "x",
        "✓",
        "checked",
    }
)
_FALSE = frozenset({"false", "no", "n", "f", "off", "0", "nein", "falsch", "non", "faux", "não", "falso", "unchecked"})


def _amount(value: Any, *, reading: ValueReader) -> Any:
    """A number; one that is text must be plain, since its column was no column of numbers."""
    if not isinstance(value, str):
        return _plain(value)
    if value.lower() in NO_VALUE:
        return None
    doubt = reading.doubts.get(value)
    if doubt is not None and doubt.what == "number":
        raise _DoubtfulError(str(doubt))
    if not _PLAIN_NUMBER.fullmatch(value):
        raise _BadValueError(
            f"'{value[:40]}' is no plain number; say decimal_separator: ',' or '.' for its input, or let the SQL remove"
            " what is not a digit. Several currencies in one column are to be told apart by the SQL"
        )
    return _trimmed(format(Decimal(value), "f"))


def _boolean(value: Any) -> Any:
    """Yes and no in the languages of exports; 1 and 0."""
    word = str(value).lower()
    if word in NO_VALUE:
        return None
    return True if word in _TRUE else False if word in _FALSE else _plain(value)


def _lines(value: Any, *, reading: ValueReader) -> Any:
    if isinstance(value, str):
        try:
            return _plain(_decode_json(value))
        except msgspec.DecodeError as error:
            raise _BadValueError("is not JSON; select a list of structs with product, quantity, unit_price") from error
    if isinstance(value, list):
        return [_line(item, reading) for item in value]
    return _plain(value)


def _line(item: Any, reading: ValueReader) -> Any:
    if not isinstance(item, MappingABC):
        return _plain(item)
    numbers = {name: _amount(item[name], reading=reading) for name in ("quantity", "unit_price") if name in item}
    return _plain({**item, **numbers})


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers as exact decimal text, NULL inside structs left out."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, MappingABC):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    text = str(value)
    return text if text.isprintable() else _CONTROLS.sub(" ", text).strip()


def _number(value: float | Decimal) -> str:
    """A decimal as it is; a double to six decimals, as the engine counts, without its binary noise."""
    if not math.isfinite(value):
        return str(value)
    return _trimmed(format(value, ".6f" if isinstance(value, float) else "f"))


def _trimmed(digits: str) -> str:
    text = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if text == "-0" else text


def _zone(name: str) -> ZoneInfo:
    try:
        return zone_of(name)
    except ValueError as error:
        raise ConvertError(str(error)) from error
