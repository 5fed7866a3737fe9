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
from collections import Counter
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from salesgauge.schemas.codec import Reason, Rejection, decode_batch
from salesgauge.schemas.events import EVENTS, EventBase
from salesgauge.schemas.sources.inputs import open_tables, resolve_inputs, single_select
from salesgauge.schemas.sources.mapping import ConvertError, EventSpec, Mapping, Queries, zone_of
from salesgauge.schemas.sources.reading import explained, quoted
from salesgauge.schemas.values import MAX_ID_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from zoneinfo import ZoneInfo

    import duckdb

REJECT_REASON = "reject_reason"
"""A column in which a query says why a row must not become an event; NULL lets it pass."""

LINE_COLUMNS = ("product", "quantity", "unit_price")
"""Flat columns that stand for a deal of one line, where the event has ``lines``."""

_decode_json = msgspec.json.Decoder(float_hook=Decimal).decode
_BATCH = 2_000
_ID_BYTES = 16
_EXACT_DOUBLE = 2**53
_BLANK = "' ' || chr(9) || chr(10) || chr(13) || chr(160)"
_NUMBERS = frozenset({
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "BIGNUM",
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL",
})  # fmt: skip
_NOT_A_TIME = "is not an ISO 8601 time; use strptime(column, format), or to_timestamp(seconds), in the SQL"

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
"""Line breaks, tabs and the like, which no text of an event may have."""

Kind = Literal["time", "text", "lines", "other"]


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
    names: tuple[str, ...]
    converters: tuple[Callable[[Any], Any], ...]
    flat_lines: bool
    defaults: dict[str, str]


def convert(
    mapping: Mapping,
    *,
    overrides: MappingABC[str, str] | None = None,
    folders: Sequence[Path] = (Path(),),
    timezone: str | None = None,
    default_timezone: str = "UTC",
    distinct: Iterable[str] = (),
    notice: Callable[[str], None] = lambda _: None,
) -> Iterator[EventBase | Rejected]:
    """Yield the events and the rejected rows of a mapping, query by query.

    All queries are checked before the first row is yielded.

    Args:
        mapping: the mapping.
        overrides: input name -> path or glob that replaces the mapping's.
        folders: where relative paths are looked for, in this order.
        timezone: zone of times without one; goes before the mapping's.
        default_timezone: the zone where neither says one.
        distinct: inputs whose equal rows are read once.
        notice: is told what is valid, but hardly meant.

    Raises:
        ConvertError: an input is missing or unreadable, or a query is wrong or lacks a column.
    """
    zone = _zone(timezone or mapping.timezone or default_timezone)
    files = resolve_inputs(mapping, overrides=overrides or {}, folders=folders)
    with contextlib.ExitStack() as stack:
        spill = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="salesgauge-")))
        connection, unreadable = open_tables(mapping, files, zone=zone.key, spill=spill, distinct=distinct)
        stack.callback(connection.close)
        plans = plans_of(connection, mapping, zone)
        for line in unreadable:
            row = {"file": line.file, "line": line.line, "text": line.text}
            yield Rejected(event=f"input {line.input}", reason="unreadable", detail=line.detail, row=row)
        for plan in plans:
            yield from run(connection, plan)
            _notice_split_deals(connection, plan, notice)


def derived_id(part: str, fields: MappingABC[str, Any], *, source_system: str | None, occurrence: int) -> str:
    """The event id of a row that brings none: a digest of all its columns, so that it is the same for ever.

    Rows that are equal in all columns are as many events: the second one's id ends in ``-2``, and so on.
    ``part`` is the event's name; a further query of the same event has its number behind it.
    """
    content = msgspec.json.encode([source_system, part, fields], order="deterministic")
    digest = hashlib.blake2b(content, digest_size=_ID_BYTES).hexdigest()
    return digest if occurrence == 1 else f"{digest}-{occurrence}"


# --- the plan of a query


def plans_of(connection: duckdb.DuckDBPyConnection, queries: Queries, zone: ZoneInfo) -> list[Plan]:
    """The checked queries of all events; the tables and views that they select from must be there.

    Raises:
        ConvertError: a query is wrong or lacks a column.
    """
    parts = _parts([spec.event for spec in queries.events])
    return [_plan(connection, queries, spec, part, zone) for spec, part in zip(queries.events, parts, strict=True)]


def _parts(events: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    parts = []
    for event in events:
        seen[event] += 1
        parts.append(event if seen[event] == 1 else f"{event} {seen[event]}")
    return parts


def _plan(connection: duckdb.DuckDBPyConnection, mapping: Queries, spec: EventSpec, part: str, zone: ZoneInfo) -> Plan:
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
    sql = (
        f"SELECT {selected}, row_number() OVER (PARTITION BY {', '.join(expressions)}) "  # noqa: S608
        f"FROM (\n{select}\n) AS row_of_mapping"
    )
    defaults = {"event": spec.event, "source_system": mapping.source_system, "currency": mapping.currency}
    return Plan(
        event=spec.event,
        part=part,
        sql=sql,
        names=tuple(columns),
        converters=tuple(_converter(name, kinds.get(name, "other"), zone) for name in columns),
        flat_lines=flat,
        defaults={name: value for name, value in defaults.items() if value and (name in kinds or name == "event")},
    )


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
            f"{where}: the event has no field {', '.join(unknown)}; its fields are {', '.join(kinds)}"
            + (f" (or {', '.join(LINE_COLUMNS)} for one line)" if flat else "")
        )
    _check_required(where, set(columns), model)
    for name, kind in columns.items():
        if kinds.get(name) == "time" and _base(kind) in _NUMBERS | {"BOOLEAN", "TIME", "INTERVAL"}:
            raise ConvertError(
                f"{where}: {name} is {kind}, not a time; use to_timestamp(seconds), epoch_ms(milliseconds) or a cast"
            )


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
        return f"NULLIF(TRIM({column}, {_BLANK}), '')"
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
    return "text" if options[0].get("type") == "string" else "other"


# --- rows


def run(connection: duckdb.DuckDBPyConnection, plan: Plan) -> Iterator[EventBase | Rejected]:
    """The events and rejected rows that a query makes of what the tables hold now.

    Raises:
        ConvertError: the query fails on a value.
    """
    where = f"event {plan.event}"
    with explained(where):
        connection.execute(plan.sql)
    while True:
        with explained(where):
            rows = connection.fetchmany(_BATCH)
        if not rows:
            return
        yield from _batch(plan, rows)


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
    decoded = iter(decode_batch([payload for payload in prepared if isinstance(payload, bytes)]))
    for row, payload in zip(rows, prepared, strict=True):
        result = next(decoded) if isinstance(payload, bytes) else payload
        if isinstance(result, Rejection):
            yield _rejected(plan, row, result.reason, result.detail)
        else:
            yield result


def _payload(plan: Plan, row: tuple[Any, ...]) -> bytes | Rejected:
    """The row as an event's JSON; its last value is its number among the rows that are equal to it."""
    fields: dict[str, Any] = {}
    for name, to_json, value in zip(plan.names, plan.converters, row[:-1], strict=True):
        if value is None:
            continue
        try:
            fields[name] = to_json(value)
        except _BadValueError as error:
            return _rejected(plan, row, Reason.INVALID, f"{name}: {error}")
    if REJECT_REASON in fields:
        return _rejected(plan, row, str(fields[REJECT_REASON]), "")
    if plan.flat_lines:
        _fold_line(fields)
    if "event_id" not in fields:
        source = fields.get("source_system", plan.defaults.get("source_system"))
        fields["event_id"] = derived_id(plan.part, fields, source_system=source, occurrence=row[-1])
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


def _converter(name: str, kind: Kind, zone: ZoneInfo) -> Callable[[Any], Any]:
    if kind == "time":
        return partial(_time, zone=zone)
    if kind == "lines":
        return _lines
    if name == "reason":
        return _reason
    if kind == "text" and name != "source_system":
        return _text
    return _plain


def _time(value: Any, *, zone: ZoneInfo) -> str:
    """An ISO 8601 text as an instant in UTC; without an offset it is the zone's local time.

    Of a local time that the end of daylight-saving time repeats, the first one is taken; one that its
    beginning skips is moved forward by the gap.
    """
    try:
        time = datetime.fromisoformat(str(value))
        local = time if time.tzinfo is not None else time.replace(tzinfo=zone)
        return local.astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise _BadValueError(_NOT_A_TIME) from error


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


def _lines(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return _plain(_decode_json(value))
        except msgspec.DecodeError as error:
            raise _BadValueError("is not JSON; select a list of structs with product, quantity, unit_price") from error
    return _plain(value)


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
