"""Records of a live source to events, batch by batch: reader, memory, SQL. Pure: the memory is a mapping of bytes.

What comes out depends on what is known of an object, never on how the records were divided into batches; the ids of
events depend on the facts alone. An event that was made before is not made again unless its content changed.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from salesgauge.schemas.codec import encode
from salesgauge.schemas.events import EventBase
from salesgauge.schemas.sources.conversion import Rejected, plans_of, run
from salesgauge.schemas.sources.inputs import single_select
from salesgauge.schemas.sources.mapping import ConvertError, zone_of
from salesgauge.schemas.sources.objects import (
    DELETED,
    FieldValue,
    Forget,
    Ignored,
    ObjectChange,
    ObjectState,
    RawRecord,
    Row,
    Told,
    Unusable,
)
from salesgauge.schemas.sources.readers import reader_for
from salesgauge.schemas.sources.reading import explained
from salesgauge.schemas.sources.sql import literal, quoted

if TYPE_CHECKING:
    from salesgauge.schemas.sources.source import Source

_REMEMBERED = 200_000
"""Events whose content is known to have been made; beyond it, the ones made longest ago may be made again."""

_SWEPT = "poll"
"""Header ``via`` of what a poller found by itself, after the past was read for the first time."""
_REVISION_STEP = timedelta(seconds=10)
"""How much later a revision's events were recorded: more than the versions of one state, less than people notice."""

RECORDS = "records"
"""The table of sources whose records are any JSON."""

_MACROS = """
CREATE MACRO instant(value) AS (
    CASE WHEN regexp_full_match(value, '-?\\d{1,11}(\\.\\d+)?') THEN to_timestamp(value::DOUBLE)
         WHEN regexp_full_match(value, '-?\\d{12,14}') THEN to_timestamp(value::BIGINT / 1000)
         WHEN regexp_full_match(value, '-?\\d{15,17}') THEN make_timestamptz(value::BIGINT)
         ELSE TRY_CAST(value AS TIMESTAMPTZ) END);
CREATE MACRO fact_id(account, object, id, fact, instant) AS
    concat_ws(':', {system}, NULLIF(account, ''), object, id, fact, epoch_ms(instant));
"""
"""For the SQL of sources: times as systems write them, and the id of a fact about an object of an account."""


@dataclass(slots=True)
class Derived:
    """What a batch of records comes to.

    ``memory`` has the new state of each object that changed, None where it is to be forgotten; it is to be kept
    before the records are done with.
    """

    events: list[EventBase] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    memory: dict[bytes, bytes | None] = field(default_factory=dict)
    found: int = 0
    """Objects whose change a poll told of, and nothing before it."""
    last_source_time: int | None = None
    """The latest instant (ms) at which the source learnt something of this."""

    def add(self, later: Derived) -> None:
        """Take over what a later batch comes to."""
        self.events += later.events
        self.rejected += later.rejected
        self.unusable += later.unusable
        self.ignored += later.ignored
        self.memory |= later.memory
        self.found += later.found
        times = [one for one in (self.last_source_time, later.last_source_time) if one is not None]
        self.last_source_time = max(times, default=None)


class Deriver:
    """Makes events of a source's records.

    Args:
        source: the source.
        memory: what is remembered of its objects, by key; changed in place.

    Raises:
        ConvertError: the source's reader is not known, or a query is wrong.
    """

    def __init__(self, source: Source, memory: MutableMapping[bytes, bytes] | None = None) -> None:
        self._reader = reader_for(source)
        self._memory = {} if memory is None else memory
        self._made: OrderedDict[str, bytes] = OrderedDict()
        self._fresh: dict[str, bytes] = {}
        """What was made in the batch under way."""
        self._former: dict[bytes, bytes | None] = {}
        """What was remembered before it of the objects that it changed."""
        self._connection = duckdb.connect(":memory:")
        self._zone = zone_of(source.timezone or "UTC")
        self._prepare(source)
        plans = plans_of(self._connection, source, self._zone, repeated=False)
        self._plans = [(plan, self._tables_of(plan.sql, source.views)) for plan in plans]
        self._ignore = source.ignore
        self._revision = source.revision
        self._keyed = source.key is not None
        for key, data in self._memory.items():
            kind, number = _object_of(key)
            if kind in self._reader.lookups:
                self._look_up(kind, number, ObjectState.decode(data))

    def close(self) -> None:
        """Free the database."""
        self._connection.close()

    def stages(self) -> list[tuple[str, str, str, str]]:
        """The stages that are known: id, pipeline, label, outcome; none of a reader without them."""
        if "pipeline_stages" not in self._reader.tables:
            return []
        columns = "id, coalesce(pipeline, ''), coalesce(label, ''), coalesce(outcome, 'open')"
        rows = self._connection.execute(f"SELECT {columns} FROM pipeline_stages ORDER BY 2, 1").fetchall()  # noqa: S608
        return [(str(number), str(pipeline), str(label), str(outcome)) for number, pipeline, label, outcome in rows]

    def _prepare(self, source: Source) -> None:
        run_sql = self._connection.execute
        for option in (f"TimeZone = '{self._zone.key}'", "threads = 1", "enable_progress_bar = false"):
            run_sql(f"SET {option}")
        run_sql(_MACROS.replace("{system}", literal(source.source_system or source.name)))
        for table, columns in self._reader.tables.items():
            listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
            run_sql(f"CREATE TABLE {quoted(table)} ({listed})")
        run_sql("SET enable_external_access = false")
        run_sql("SET lock_configuration = true")
        for name, query in source.views.items():
            select = single_select(self._connection, query, where=f"view {name}")
            with explained(f"view {name}"):
                run_sql(f"CREATE VIEW {quoted(name)} AS {select}")

    def _tables_of(self, sql: str, views: Mapping[str, str]) -> frozenset[str]:
        """The tables that a query reads, through views, too."""
        found: set[str] = set()
        for name in self._connection.get_table_names(sql):
            view = next((query for one, query in views.items() if one.lower() == name.lower()), None)
            found |= {name} if view is None else self._tables_of(view, views)
        return frozenset(found)

    def derive(self, records: Iterable[RawRecord]) -> Derived:
        """The events of a batch of records. A query that fails on a value costs no record but that one.

        If it raises, a fault of ours, nothing of the batch is remembered.
        """
        self._former, self._fresh = {}, {}
        try:
            result = self._derive(records)
        except BaseException:
            for key, data in self._former.items():
                if data is None:
                    self._memory.pop(key, None)
                else:
                    self._memory[key] = data
            raise
        for event_id, digest in self._fresh.items():
            self._made[event_id] = digest
            self._made.move_to_end(event_id)
        while len(self._made) > _REMEMBERED:
            self._made.popitem(last=False)
        return result

    def _derive(self, records: Iterable[RawRecord]) -> Derived:
        result = Derived()
        touched: dict[bytes, ObjectState] = {}
        rows: list[Row] = []
        for record in records:
            before = len(touched)
            for told in self._told(record):
                self._take(told, result, touched, rows)
            if record.headers.get("via") == _SWEPT:
                result.found += len(touched) - before
        for key, state in touched.items():
            kind, number = _object_of(key)
            if kind in self._reader.lookups:
                self._look_up(kind, number, state)
            else:
                rows += self._reader.rows(kind, number, state)
        self._query(rows, result)
        return result

    def _told(self, record: RawRecord) -> Iterable[Told]:
        try:
            return list(self._reader.tell(record))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            return [Unusable("unreadable", f"{type(error).__name__}: {error}"[:200])]

    def _take(self, told: Told, result: Derived, touched: dict[bytes, ObjectState], rows: list[Row]) -> None:
        match told:
            case ObjectChange():
                self._change(told, result, touched)
            case Forget():
                key = key_of(told.kind, told.id)
                touched.pop(key, None)
                self._former.setdefault(key, self._memory.get(key))
                self._memory.pop(key, None)
                result.memory[key] = None
                rows += self._reader.rows(told.kind, told.id, _forgotten(told))
            case Row():
                rows.append(told)
            case Ignored():
                result.ignored[told.kind] += 1
            case Unusable():
                result.unusable.append(told)

    def _change(self, change: ObjectChange, result: Derived, touched: dict[bytes, ObjectState]) -> None:
        key = key_of(change.kind, change.id)
        known = self._memory.get(key)
        state = ObjectState.decode(known) if known else ObjectState()
        changed = state.add(change.facts, self._reader.histories(change.kind))
        encoded = state.encode()
        if encoded != known:
            self._former.setdefault(key, known)
            self._memory[key] = result.memory[key] = encoded
        if changed:
            touched[key] = state
            times = [fact.at for fact in change.facts]
            result.last_source_time = max([*times, result.last_source_time or 0])
        else:
            result.ignored["nothing new"] += 1

    def _look_up(self, kind: str, number: str, state: ObjectState) -> None:
        for row in self._reader.rows(kind, number, state):
            table = quoted(row.table)
            self._connection.execute(f"DELETE FROM {table} WHERE id = ?", [row.values["id"]])  # noqa: S608
            self._fill(row.table, [row])

    def _query(self, rows: Sequence[Row], result: Derived) -> None:
        by_table: dict[str, list[Row]] = {}
        for row in rows:
            by_table.setdefault(row.table, []).append(row)
        try:
            for table, some in by_table.items():
                self._fill(table, some)
            expected = self._without_ignored(result) if RECORDS in by_table else 0
            if self._keyed:
                expected = 0  # a state of an object may rightly be no event
            plans = [plan for plan, tables in self._plans if tables & by_table.keys()]
            made = sum(self._keep(run(self._connection, plan), result) for plan in plans)
            if made < expected:
                result.unusable += [Unusable("no event", "no query made an event of a record")] * (expected - made)
        except ConvertError as error:
            if len(rows) == 1:
                result.unusable.append(Unusable("query failed", str(error)[:500]))
            else:
                self._query_apart(rows, result)
        finally:
            for table in by_table:
                self._connection.execute(f"DELETE FROM {quoted(table)}")  # noqa: S608

    def _without_ignored(self, result: Derived) -> int:
        """Take what the source says to ignore out of the table of records; how many are left."""
        table = quoted(RECORDS)
        if self._ignore is not None:
            with explained("ignore"):
                gone = self._connection.execute(f"DELETE FROM {table} WHERE {self._ignore}").fetchall()  # noqa: S608
            result.ignored["by the source"] += gone[0][0]
        return int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])  # noqa: S608

    def _keep(self, made: Iterable[EventBase | Rejected], result: Derived) -> int:
        """Take over what a query made; how much it was, the repetitions included."""
        count, versions = 0, dict[str, list[EventBase]]()
        for one in made:
            count += 1
            if isinstance(one, Rejected):
                result.rejected.append(one)
            else:
                versions.setdefault(one.event_id, []).append(one)
        for event_id, events in versions.items():
            if self._is_new(event_id, events):
                result.events += map(self._revised, events)
        return count

    def _revised(self, event: EventBase) -> EventBase:
        """Of a source's later revision the event is a later version."""
        if not self._revision:
            return event
        recorded = (event.recorded_at or event.occurred_at) + self._revision * _REVISION_STEP
        return event.model_copy(update={"recorded_at": recorded})

    def _query_apart(self, rows: Sequence[Row], result: Derived) -> None:
        """A value on which a query fails must cost no row but its own."""
        for table in {row.table for row in rows}:
            self._connection.execute(f"DELETE FROM {quoted(table)}")  # noqa: S608
        for row in rows:
            self._query([row], result)

    def _fill(self, table: str, rows: Sequence[Row]) -> None:
        columns = self._reader.tables[table]
        lists = [[_plain(row.values.get(name), kind) for row in rows] for name, kind in columns.items()]
        selected = ", ".join(f"unnest(?::{'BIGINT' if kind == 'TIMESTAMPTZ' else kind}[])" for kind in columns.values())
        names = [f"c{number}" for number in range(len(columns))]
        shown = ", ".join(
            f"make_timestamptz({name})" if kind == "TIMESTAMPTZ" else name
            for name, kind in zip(names, columns.values(), strict=True)
        )
        sql = f"INSERT INTO {quoted(table)} SELECT {shown} FROM (SELECT {selected}) AS t({', '.join(names)})"  # noqa: S608
        self._connection.execute(sql, lists)

    def _is_new(self, event_id: str, versions: Sequence[EventBase]) -> bool:
        """Whether these versions of an event were not made before; when they were learnt is no part of them."""
        contents = {encode(event.model_copy(update={"recorded_at": None})): None for event in versions}
        digest = hashlib.blake2b(b"\n".join(contents), digest_size=8).digest()
        if self._fresh.get(event_id, self._made.get(event_id)) == digest:
            return False
        self._fresh[event_id] = digest
        return True


def key_of(kind: str, number: str) -> bytes:
    """The key under which an object is remembered."""
    return f"{kind}:{number}".encode()


def _object_of(key: bytes) -> tuple[str, str]:
    kind, _, number = key.decode().partition(":")
    return kind, number


def _forgotten(told: Forget) -> ObjectState:
    state = ObjectState()
    state.add([FieldValue(DELETED, told.at, value=True)], frozenset())
    return state


def _plain(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "TIMESTAMPTZ":
        return int(value) * 1000  # in microseconds
    if kind == "JSON":
        return msgspec.json.encode(value).decode()
    if kind == "VARCHAR" and not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value
