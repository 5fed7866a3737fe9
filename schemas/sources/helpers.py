"""Shared queries of a mapping that need no SQL: running sums, what came before, totals per day.

Under ``views`` a helper stands instead of a query: ``{delta: {from: billing, by: Account, at: Day, change: Amount}}``.
It becomes SQL with window functions over a whole file, so live sources, which see some rows at a time, have none.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from salesgauge.schemas.sources.sql import literal, quoted

_STRICT = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

Columns = Annotated[tuple[str, ...], Field(min_length=1)]


class _Helper(BaseModel):
    model_config = _STRICT

    source: Annotated[str, Field(alias="from")]
    """The input or shared query whose rows are taken."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        """One column stands for a list of one."""
        if not isinstance(value, dict):
            return value
        return {
            key: (item,) if key in ("by", "closed") and isinstance(item, str) else item for key, item in value.items()
        }

    @property
    def rows(self) -> str:
        """The source with the number of each row, by which rows of one time are told apart."""
        return f"(SELECT *, row_number() OVER () AS _row FROM {quoted(self.source)})"  # noqa: S608


class DeltaView(_Helper):
    """Levels from changes, or changes from levels, of each ``by`` in the order of ``at``.

    All columns of the source, and ``before``, ``after`` and ``change``. Before the first row the level is 0. The rows
    of one time are taken in the order of the file.
    """

    by: Columns
    at: str
    change: str | None = None
    level: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.change is None) == (self.level is None):
            raise ValueError("give change (a column of differences) or level (a column of absolute values)")
        return self

    def sql(self) -> str:
        """As a query."""
        over = f"OVER (PARTITION BY {_names(self.by)} ORDER BY {quoted(self.at)}, _row"
        if self.change is not None:
            change = quoted(self.change)
            after = f"sum(coalesce({change}, 0)) {over} ROWS UNBOUNDED PRECEDING)"
            values = f"{after} - coalesce({change}, 0) AS before, {after} AS after, {change} AS change"
            where = ""
        else:
            level = quoted(self.level or "")
            before = f"coalesce(lag({level}) {over}), 0)"
            values = f"{before} AS before, {level} AS after, {level} - {before} AS change"
            where = f" WHERE {level} IS NOT NULL"
        return f"SELECT * EXCLUDE (_row), {values} FROM {self.rows}{where}"  # noqa: S608


class HistoryView(_Helper):
    """The changes of a stage of each ``by`` in the order of ``at``; rows that change nothing are left out.

    All columns of the source, and ``previous_stage``, ``previous_at``, ``next_stage``, ``next_at``, ``is_first``,
    ``is_last``, and ``reopened``: whether a stage that is none of the ``closed`` ones follows one that is.
    """

    by: Columns
    at: str
    stage: str
    closed: tuple[str, ...] = ()

    def sql(self) -> str:
        """As a query."""
        stage, at = quoted(self.stage), quoted(self.at)
        order = f"PARTITION BY {_names(self.by)} ORDER BY {at}, _row"
        closed = f"({', '.join(literal(text) for text in self.closed)})" if self.closed else "('')"
        changes = (
            f"SELECT * FROM {self.rows} QUALIFY lag(_row) OVER ({order}) IS NULL "  # noqa: S608
            f"OR {stage} IS DISTINCT FROM lag({stage}) OVER ({order})"
        )
        return (
            f"SELECT * EXCLUDE (_row), lag({stage}) OVER w AS previous_stage, lag({at}) OVER w AS previous_at, "  # noqa: S608
            f"lead({stage}) OVER w AS next_stage, lead({at}) OVER w AS next_at, "
            "lag(_row) OVER w IS NULL AS is_first, lead(_row) OVER w IS NULL AS is_last, "
            f"coalesce(lag({stage}) OVER w IN {closed} AND {stage} NOT IN {closed}, false) AS reopened "
            f"FROM ({changes}) WINDOW w AS ({order})"
        )


class DailyView(_Helper):
    """Rows by day: of a ``count`` per day as many rows, of an ``amount`` for a period its share of each day.

    With ``day`` and ``count``: all columns of the source, ``number`` (1 to the count) and ``id``, which is made of
    ``by``, the day and the number, so that it is the same in every export. With ``start``, ``end`` (inclusive) and
    ``amount``: all columns, ``day`` and ``share``; the shares add up to the amount.
    """

    by: tuple[str, ...] = ()
    day: str | None = None
    count: str | None = None
    start: str | None = None
    end: str | None = None
    amount: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        counts, shares = (self.day, self.count), (self.start, self.end, self.amount)
        if not (all(counts) and not any(shares)) and not (all(shares) and not any(counts)):
            raise ValueError("give day and count, or start, end and amount")
        return self

    def sql(self) -> str:
        """As a query."""
        if self.count is not None:
            count = f"CAST({quoted(self.count)} AS BIGINT)"
            day = f"CAST({quoted(self.day or '')} AS DATE)"
            parts = ", ".join(
                f"coalesce(CAST({part} AS VARCHAR), '')" for part in [*map(quoted, self.by), day, "number"]
            )
            return (
                f"SELECT *, concat_ws('|', {parts}) AS id FROM (SELECT * EXCLUDE (_row), "  # noqa: S608
                f"unnest(range(1, {count} + 1)) AS number FROM {self.rows} WHERE {count} > 0)"
            )
        start, end = (f"CAST({quoted(name or '')} AS DATE)" for name in (self.start, self.end))
        days = f"(date_diff('day', {start}, {end}) + 1)"
        upto = f"round(CAST({quoted(self.amount or '')} AS DECIMAL(24, 6)) * {{}} / {days}, 6)"
        share = f"CAST({upto.format('(_day + 1)')} - {upto.format('_day')} AS DECIMAL(24, 6))"
        return (
            f"SELECT * EXCLUDE (_row, _day), {start} + CAST(_day AS INTEGER) AS day, {share} AS share "  # noqa: S608
            f"FROM (SELECT *, unnest(range({days})) AS _day FROM {self.rows} WHERE {end} >= {start})"
        )


_HELPERS: dict[str, type[DeltaView | HistoryView | DailyView]] = {
    "delta": DeltaView,
    "history": HistoryView,
    "daily": DailyView,
}


def view_sql(value: Any) -> Any:
    """A helper as SQL; a query, and what is neither, as it is.

    Raises:
        ValueError: it is no known helper, or one with wrong keys.
    """
    if not isinstance(value, dict):
        return value
    if len(value) != 1 or next(iter(value)) not in _HELPERS:
        raise ValueError(f"give a query, or one of the helpers {', '.join(_HELPERS)}")
    name, content = next(iter(value.items()))
    return _HELPERS[name].model_validate(content).sql()


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(map(quoted, columns))
