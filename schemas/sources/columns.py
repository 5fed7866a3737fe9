"""What the columns of a table of text hold: the type on which *all* values agree, or why there is none.

A column gets a type only if every value can be read by it, and a notation only if no other one reads the values
differently. What fits two readings stays text, with a :class:`Doubt` that shows both: nothing is guessed from a sample.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from salesgauge.schemas.sources.mapping import DateOrder, InputSpec
from salesgauge.schemas.sources.sql import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

Kind = Literal["text", "boolean", "integer", "decimal", "date", "time", "timestamp", "instant"]

BLANK = "' ' || chr(9) || chr(10) || chr(13) || chr(160)"
"""The characters that :func:`trimmed` removes from both ends."""

NO_VALUE = (
    "n/a", "na", "#n/a", "#n/d", "#ref!", "#value!", "#div/0!", "null", "none", "nan", "-", "--", "\u2014", "\u2013",
    "0000-00-00", "0000-00-00 00:00:00", "00/00/0000", "00.00.0000",
)  # fmt: skip
"""What exports write where a date, an amount or a flag is missing (lower case)."""

SQL_TYPES: dict[Kind, str] = {
    "text": "VARCHAR", "boolean": "BOOLEAN", "integer": "BIGINT", "decimal": "DOUBLE", "date": "DATE",
    "time": "TIME", "timestamp": "TIMESTAMP", "instant": "TIMESTAMPTZ",
}  # fmt: skip

_UTC = frozenset({"UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Etc/Zulu", "UCT", "Etc/UCT", "Universal"})
_SAMPLE = 500
_EXAMPLES = 3
_DISTINCT_DOUBTS = 200_000
"""As many texts of a doubtful column are remembered; one of them that is used ends the conversion."""

_PLAIN = r"-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?"
_INTEGER = r"-?(0|[1-9]\d{0,17})"
_PADDED = r"-?(0|[1-9]\d{0,14})\.0"
_LONG_INTEGER = r"-?[1-9]\d{18,37}"
_GROUPS = {
    ".": r"([1-9]\d{0,2}(,\d{3})+|[1-9]\d?(,\d{2})+,\d{3}|0|[1-9]\d*)(\.\d*)?",
    ",": r"([1-9]\d{0,2}(\.\d{3})+|0|[1-9]\d*)(,\d*)?",
}
"""Decimal sign -> numbers written with it, with or without marks of thousands (also in the Indian way)."""
_SPACED = r"[1-9]\d{0,2}([ '\x{2019}\x{a0}\x{202f}]\d{3})+([.,]\d*)?"
_CODES = (
    "EUR|USD|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|TRY|RUB|UAH|BRL|MXN|ARS|CLP|COP|PEN|"
    "ZAR|ILS|AED|SAR|QAR|KWD|EGP|NGN|KES|SGD|HKD|TWD|KRW|THB|MYR|IDR|PHP|VND|PKR|BDT|LKR|RSD"
)
_SIGNS = rf"(?:US\$|CA\$|AU\$|A\$|C\$|NZ\$|HK\$|S\$|R\$|kr\.?|z\x{{142}}|K\x{{10d}}|Ft|lei|{_CODES}|\p{{Sc}})"
_DATE = (
    r"(\d{1,4})\s?[./-]\s?(\d{1,2})\s?[./-]\s?(\d{1,4})"
    r"(?:(?:T|,?\s+|,)(\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\d*(?:\s*([AP]M))?)?\s*(Z|UTC|GMT)?"
)
_NAMED = r"(\d{1,2})[ .-]+([A-Z]{3})[A-Z]*[ .,-]+(\d{4})"
_NAMED_FIRST = r"([A-Z]{3})[A-Z]*[ .-]+(\d{1,2})(?:ST|ND|RD|TH)?[ ,.-]+(\d{4})"
_CLOCK = r"(?:(?:T|,?\s+|,)(\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)(?:\s*([AP]M))?)?"
_LONG = r"[1-9]\d{15,}(\.0+)?"
_CUT = r"[1-9]\d{14}0+(\.0+)?|[1-9]\d{15,}\.0+"
_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_ISO_TIME = _ISO_DATE + r"[T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
_ISO_INSTANT = _ISO_TIME + r"\s?(Z|UTC|[+-]\d{2}(:?\d{2})?)"
_LIKE_SIMPLE = re.compile(r"-?\d[\d.eE+TZ :UC-]*$|true$|false$", re.IGNORECASE)
_LIKE_NUMBER = re.compile(r"[^\W\d]{0,3}[^\w:]{0,4}\.?\d[\d\s.,'\u2019\u2212()eE+-]*[^\d:/]{0,5}$")
_LIKE_DATE = re.compile(r"\d{1,4}\s?[./-]\s?\d{1,2}\s?[./-]|\d{1,2}[ .-]+[A-Za-z]{3}|[A-Za-z]{3,9}[ .-]+\d")
"""What values must look like for the closer, slower looks of SQL to be worthwhile."""
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_ORDERS: dict[DateOrder, str] = {"dmy": "%d-%m-%{y}", "mdy": "%m-%d-%{y}", "ymd": "%{y}-%m-%d"}
_WORDS: dict[DateOrder, str] = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a column has no type though its values look like dates or numbers.

    Args:
        column: its name.
        what: ``date`` or ``number``.
        examples: value -> each way to read it, as ``(name of the reading, what it would mean)``.
        remedy: what the mapping has to say.
    """

    column: str
    what: Literal["date", "number"]
    examples: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    remedy: str

    def __str__(self) -> str:
        """The first example with its readings, and the remedy."""
        value, readings = self.examples[0]
        ways = " or ".join(f"{meaning} ({name})" for name, meaning in readings)
        return f"column {self.column}: {value} may mean {ways}, and no value tells which; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an input, as it is read."""

    name: str
    kind: Kind
    type: str
    """The SQL type of its values."""
    expression: str
    """SQL over the table of text that gives them."""
    notation: str = ""
    """How values are written, where that is not the plain way: ``day, month, year``."""
    filled: int = 0
    """Rows with a value."""
    doubt: Doubt | None = None
    midnights: bool = False
    """Instants that are all midnight UTC: dates, as HubSpot writes them."""
    nearly: str = ""
    """What most values look like, with one that does not, where the rest is text."""
    sign: str = ""
    """The currency sign or code that amounts are written with."""
    order: DateOrder | None = None
    """The only order of day, month and year in which all values can be read, where they are written in digits."""
    lossy: bool = False
    """Whether the typed value no longer tells how the text was written."""

    def in_zone(self, zone: str) -> Column:
        """The same, where midnights in UTC are not midnights of the zone: as the dates that they stand for."""
        if not self.midnights or zone in _UTC:
            return self
        day = f"CAST(timezone('UTC', {self.expression}) AS DATE)"
        return dataclasses.replace(self, kind="date", type="DATE", expression=day, notation="midnight UTC")


SIGNS = {
    "\u20ac": "EUR", "\u00a3": "GBP", "\u20b9": "INR", "\u20a9": "KRW", "\u20ba": "TRY", "\u20bd": "RUB", "US$": "USD",
    "CA$": "CAD", "C$": "CAD", "AU$": "AUD", "A$": "AUD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD", "R$": "BRL",
    "z\u0142": "PLN", "K\u010d": "CZK", "Ft": "HUF", "lei": "RON",
}  # fmt: skip
"""Currency sign -> the one currency that it stands for; '$', '\u00a5' and 'kr' stand for several."""


def currency_of(sign: str) -> str | None:
    """The currency of a sign or code; None where it may be several."""
    return sign if re.fullmatch("[A-Z]{3}", sign) else SIGNS.get(sign)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a mapping says about the notation of an input's values."""

    dates: DateOrder | MappingABC[str, DateOrder] | None = None
    decimal: str | None = None
    thousands: str | None = None
    date_format: str | None = None
    timestamp_format: str | None = None
    types: MappingABC[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def by(cls, spec: InputSpec) -> Declared:
        """What an input says."""
        return cls(
            dates=spec.dates, decimal=spec.decimal_separator, thousands=spec.thousands, date_format=spec.dateformat,
            timestamp_format=spec.timestampformat, types=spec.types,
        )  # fmt: skip

    def order(self, column: str) -> DateOrder | None:
        """The declared order of day, month and year in a column."""
        return self.dates.get(column) if isinstance(self.dates, MappingABC) else self.dates


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One way to read a column."""

    kind: Kind
    type: str
    expression: str
    notation: str = ""
    order: DateOrder | None = None
    decimal: str = ""


def trimmed(column: str) -> str:
    """SQL of a column's text without blanks around it; NULL where nothing is left."""
    return f"NULLIF(TRIM({column}, {BLANK}), '')"


def profile(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Iterable[str], declared: Declared
) -> list[Column]:
    """The type of each of these text columns of ``table``, from all its values."""
    return [_column(connection, table, name, declared) for name in columns]


def doubtful_texts(connection: duckdb.DuckDBPyConnection, table: str, column: Column) -> dict[str, Doubt]:
    """The texts of a doubtful column, each with the doubt that explains it."""
    if column.doubt is None:
        return {}
    text = trimmed(quoted(column.name))
    rows = connection.execute(
        f"SELECT DISTINCT {text} FROM {quoted(table)} WHERE {text} IS NOT NULL LIMIT {_DISTINCT_DOUBTS}"  # noqa: S608
    ).fetchall()
    return {str(value): column.doubt for (value,) in rows}


def _sample(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> list[str]:
    """Some of the values, without those that stand for none."""
    text = trimmed(quoted(name))
    rows = connection.execute(
        f"SELECT {text} FROM {quoted(table)} WHERE {text} IS NOT NULL "  # noqa: S608
        f"AND lower({text}) NOT IN {_list(NO_VALUE)} LIMIT {_SAMPLE}"
    ).fetchall()
    return [str(value) for (value,) in rows]


def rounded_texts(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> list[str]:
    """The long numbers of a column, where all of them end in zeros beyond the 15 digits that a spreadsheet keeps."""
    text = trimmed(f"CAST({quoted(name)} AS VARCHAR)")
    long, cut = (f"regexp_full_match({text}, {literal(p)})" for p in (_LONG, _CUT))
    [[all_cut, some]] = connection.execute(
        f"SELECT bool_and({cut}) FILTER ({long}), count(*) FILTER ({long}) FROM {quoted(table)}"  # noqa: S608
    ).fetchall()
    if not some or not all_cut:
        return []
    rows = connection.execute(f"SELECT DISTINCT {text} FROM {quoted(table)} WHERE {long}").fetchall()  # noqa: S608
    return [str(value) for (value,) in rows]


def _column(connection: duckdb.DuckDBPyConnection, table: str, name: str, declared: Declared) -> Column:
    text = trimmed(quoted(name))
    [[filled, missing]] = connection.execute(
        f"SELECT count({text}), count(*) FILTER (lower({text}) IN {_list(NO_VALUE)}) FROM {quoted(table)}"  # noqa: S608
    ).fetchall()
    plain = Column(name, "text", "VARCHAR", quoted(name), filled=filled)
    if filled == missing:
        return plain
    values = _sample(connection, table, name)
    able = _ways(connection, table, name, declared, values)
    dates = [candidate for candidate in able if candidate.order]
    numbers = [candidate for candidate in able if candidate.decimal]
    doubt = _doubt(connection, table, name, dates, "date") or _doubt(connection, table, name, numbers, "number")
    if doubt:
        return dataclasses.replace(plain, doubt=doubt)
    if able:
        orders = {candidate.order for candidate in dates}
        column = _read_by(connection, table, plain, able[0], missing=missing > 0)
        return dataclasses.replace(column, order=orders.pop() if len(orders) == 1 else None)
    return dataclasses.replace(plain, nearly=_nearly_all(connection, table, name, declared, values))


def _ways(
    connection: duckdb.DuckDBPyConnection, table: str, name: str, declared: Declared, values: Sequence[str]
) -> list[_Candidate]:
    """The ways to read all values: in the format that the mapping names, else in the plain one, else in any."""
    text = trimmed(quoted(name))
    able = _able(connection, table, name, _formatted(text, declared))
    if not able and all(map(_LIKE_SIMPLE.match, values)):
        able = _able(connection, table, name, _simple(text))
    return able or _able(connection, table, name, _candidates(name, declared, values))


def _read_by(
    connection: duckdb.DuckDBPyConnection, table: str, plain: Column, best: _Candidate, *, missing: bool
) -> Column:
    """The column read in one way; ``missing``: some of its texts stand for no value."""
    if best.kind == "integer" and missing:
        wide = f"CAST({best.expression} AS DECIMAL(38, 0))"
        return dataclasses.replace(plain, kind="decimal", type="DECIMAL(38,0)", expression=wide, lossy=True)
    column = dataclasses.replace(
        plain, kind=best.kind, type=best.type, expression=best.expression, notation=best.notation,
        lossy=best.kind != "integer",
    )  # fmt: skip
    if best.notation and best.kind == "decimal":
        signs = _currency_signs(connection, table, plain.name)
        if len(signs) > 1:
            return dataclasses.replace(plain, nearly=f"amounts in several currencies ({', '.join(signs)})")
        return dataclasses.replace(column, sign="".join(signs))
    return _with_midnights(connection, table, column) if best.kind == "instant" else column


def _nearly_all(
    connection: duckdb.DuckDBPyConnection, table: str, name: str, declared: Declared, values: Sequence[str]
) -> str:
    alike = [value for value in values if _LIKE_DATE.match(value)] or [v for v in values if _LIKE_NUMBER.match(v)]
    if len(alike) * 10 < len(values) * 9:
        return ""
    candidates = _candidates(name, declared, alike)
    return _nearly(connection, table, name, candidates) if candidates else ""


def midnights(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> Column:
    """A column of instants that the file itself declares."""
    [[filled]] = connection.execute(f"SELECT count({quoted(name)}) FROM {quoted(table)}").fetchall()  # noqa: S608
    column = Column(name, "instant", "TIMESTAMPTZ", quoted(name), filled=filled)
    return _with_midnights(connection, table, column)


def _with_midnights(connection: duckdb.DuckDBPyConnection, table: str, column: Column) -> Column:
    utc = f"timezone('UTC', {column.expression})"
    [[found]] = connection.execute(
        f"SELECT bool_and({utc} = date_trunc('day', {utc})) FROM {quoted(table)}"  # noqa: S608
    ).fetchall()
    return dataclasses.replace(column, midnights=bool(found))


def _currency_signs(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> list[str]:
    sign = f"regexp_extract({trimmed(quoted(name))}, {literal(_SIGNS)})"
    rows = connection.execute(f"SELECT DISTINCT {sign} FROM {quoted(table)} WHERE {sign} <> '' ORDER BY 1").fetchall()  # noqa: S608
    return [str(value) for (value,) in rows]


def _able(
    connection: duckdb.DuckDBPyConnection, table: str, name: str, candidates: Sequence[_Candidate]
) -> list[_Candidate]:
    """The candidates that read every value: first of a sample, since few survive that, then of the whole column."""
    sample = f"(SELECT {quoted(name)} FROM {quoted(table)} LIMIT {_SAMPLE})"  # noqa: S608
    for source in (sample, quoted(table)):
        if not candidates:
            break
        counts = ", ".join(_unread(name, candidate) for candidate in candidates)
        [unread] = connection.execute(f"SELECT {counts} FROM {source}").fetchall()  # noqa: S608
        candidates = [c for c, count in zip(candidates, unread, strict=True) if not count]
    return list(candidates)


def _unread(name: str, candidate: _Candidate) -> str:
    text = trimmed(quoted(name))
    return (
        f"count(*) FILTER ({text} IS NOT NULL AND {candidate.expression} IS NULL "
        f"AND lower({text}) NOT IN {_list(NO_VALUE)})"
    )


def _doubt(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    name: str,
    rivals: Sequence[_Candidate],
    what: Literal["date", "number"],
) -> Doubt | None:
    """What the candidates of different notations make of the values that they read differently."""
    rivals = list({rival.order or rival.decimal: rival for rival in reversed(rivals)}.values())[::-1]
    if len(rivals) == 1 or not rivals:
        return None
    readings = ", ".join(rival.expression for rival in rivals)
    different = " OR ".join(f"{rivals[0].expression} IS DISTINCT FROM {rival.expression}" for rival in rivals[1:])
    rows = connection.execute(
        f"SELECT DISTINCT {trimmed(quoted(name))}, {readings} FROM {quoted(table)} "  # noqa: S608
        f"WHERE {different} ORDER BY 1 LIMIT {_EXAMPLES}"
    ).fetchall()
    if not rows:
        return None
    names = [rival.order or f"decimal sign '{rival.decimal}'" for rival in rivals]
    examples = tuple(
        (str(text), tuple((way, _meaning(value)) for way, value in zip(names, values, strict=True)))
        for text, *values in rows
    )
    if what == "date":
        remedy = f"say dates: {' or dates: '.join(str(rival.order) for rival in rivals)} in the mapping's input"
    else:
        remedy = "say decimal_separator: '.' or decimal_separator: ',' in the mapping's input"
    return Doubt(name, what, examples, remedy)


def _meaning(value: object) -> str:
    isoformat = getattr(value, "strftime", None)
    if isoformat is not None:
        return str(isoformat("%-d %B %Y"))
    return f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _nearly(connection: duckdb.DuckDBPyConnection, table: str, name: str, candidates: Sequence[_Candidate]) -> str:
    """What nine of ten values are, and one that is not."""
    text = trimmed(quoted(name))
    counts = ", ".join(_unread(name, candidate) for candidate in candidates)
    [[total, *unread]] = connection.execute(f"SELECT count({text}), {counts} FROM {quoted(table)}").fetchall()  # noqa: S608
    count, position = min(zip(unread, range(len(candidates)), strict=True))
    if count * 10 > total:
        return ""
    best = candidates[position]
    [[example]] = connection.execute(
        f"SELECT first({text}) FROM {quoted(table)} WHERE {text} IS NOT NULL AND {best.expression} IS NULL "  # noqa: S608
        f"AND lower({text}) NOT IN {_list(NO_VALUE)}"
    ).fetchall()
    return f"{total - count:,} of {total:,} values are {_plural(best)}; '{str(example)[:40]}' is none"


def _plural(candidate: _Candidate) -> str:
    names = {"boolean": "true or false", "integer": "whole numbers", "decimal": "numbers", "time": "times of day"}
    name = names.get(candidate.kind, "dates" if candidate.kind == "date" else "times")
    return f"{name} ({candidate.notation})" if candidate.notation else name


# --- the ways to read a column


def _candidates(name: str, declared: Declared, values: Sequence[str]) -> list[_Candidate]:
    """The ways to read a column that its first values do not rule out."""
    text = trimmed(quoted(name))
    found: list[_Candidate] = []
    if all(map(_LIKE_NUMBER.match, values)):
        found += _numbers(text, declared)
    if all(map(_LIKE_DATE.match, values)):
        found += _dates(text, declared.order(name))
    return found


def _formatted(text: str, declared: Declared) -> list[_Candidate]:
    """The formats that the mapping names."""
    found = []
    if declared.date_format:
        parsed = f"CAST(try_strptime({text}, {literal(declared.date_format)}) AS DATE)"
        found.append(_Candidate("date", "DATE", parsed, declared.date_format))
    if declared.timestamp_format:
        parsed = f"try_strptime({text}, {literal(declared.timestamp_format)})"
        found.append(_Candidate("timestamp", "TIMESTAMP", parsed, declared.timestamp_format))
    return found


def _simple(text: str) -> list[_Candidate]:
    padded = f"CAST(regexp_replace({text}, '\\.0$', '') AS BIGINT)"
    return [
        _Candidate("boolean", "BOOLEAN", f"CASE lower({text}) WHEN 'true' THEN true WHEN 'false' THEN false END"),
        _Candidate("integer", "BIGINT", _if(text, _INTEGER, f"CAST({text} AS BIGINT)")),
        _Candidate("integer", "HUGEINT", _if(text, f"{_INTEGER}|{_LONG_INTEGER}", f"TRY_CAST({text} AS HUGEINT)")),
        _Candidate("integer", "BIGINT", _if(text, f"{_PADDED}|{_INTEGER}", padded), "with .0"),
        _Candidate("time", "TIME", _if(text, r"\d{2}:\d{2}:\d{2}", f"TRY_CAST({text} AS TIME)")),
        _Candidate("date", "DATE", _if(text, _ISO_DATE, f"TRY_CAST({text} AS DATE)")),
        _Candidate("timestamp", "TIMESTAMP", _if(text, f"{_ISO_TIME}|{_ISO_DATE}", f"TRY_CAST({text} AS TIMESTAMP)")),
        _Candidate("instant", "TIMESTAMPTZ", _if(text, _ISO_INSTANT, f"TRY_CAST({text} AS TIMESTAMPTZ)")),
    ]


def _numbers(text: str, declared: Declared) -> list[_Candidate]:
    """Numbers with a decimal point, plain or dressed up, and with a decimal comma; both, where nothing is declared."""
    signs = [declared.decimal] if declared.decimal else [".", ","]
    if declared.thousands and not declared.decimal:
        signs = ["," if declared.thousands == "." else "."]
    found = []
    if "." in signs:
        found.append(_Candidate("decimal", "DOUBLE", _if(text, _PLAIN, f"TRY_CAST({text} AS DOUBLE)"), decimal="."))
        found.append(_Candidate("decimal", "DOUBLE", _dressed(text, "."), "1,234.56", decimal="."))
    if "," in signs:
        found.append(_Candidate("decimal", "DOUBLE", _dressed(text, ","), "1.234,56", decimal=","))
    return found


def _dressed(text: str, decimal: str) -> str:
    """A number with a currency sign, brackets or a minus behind it, and marks of thousands, as DOUBLE; else NULL."""
    sign = rf"(?:{_SIGNS}\s*)?"
    minus = r"[-\x{2212}]"
    body = f"(?:{_GROUPS[decimal]}|{_SPACED.replace('[.,]', f'[{decimal}]')})"
    whole = (
        rf"{minus}?\s*{sign}{minus}?\s*{body}\s*{sign}{minus}?"
        rf"|\(\s*{sign}{body}\s*{sign}\)|{sign}\(\s*{body}\s*\)"
    )
    unsigned = f"regexp_replace({text}, '[A-Za-z]\\.', '', 'g')"  # the full stop of 'kr.' is no decimal sign
    digits = f"replace(regexp_replace({unsigned}, '[^0-9{decimal}]', '', 'g'), {literal(decimal)}, '.')"
    negative = f"regexp_matches({text}, '[-(\\x{{2212}}]')"
    return _if(text, whole, f"TRY_CAST({digits} AS DOUBLE) * (CASE WHEN {negative} THEN -1 ELSE 1 END)")


def _dates(text: str, declared: DateOrder | None) -> list[_Candidate]:
    """Dates with numbers in each order that is possible, and dates with an English month."""
    upper = f"upper(regexp_replace({text}, '([AaPp])\\.?\\s?([Mm])\\.?$', '\\1\\2'))"
    found: list[_Candidate] = []
    for order in _ORDERS:
        if declared in (None, order):
            found += _ordered(upper, order, declared=declared is not None)
    for pattern, parts in ((_NAMED, "\\1-\\2-\\3"), (_NAMED_FIRST, "\\2-\\1-\\3")):
        shape = f"{pattern}{_CLOCK}"
        canonical = f"trim(regexp_replace({upper}, {literal('^' + shape + '$')}, '{parts} \\4 \\5'))"
        found += _both(upper, shape, canonical, "%d-%b-%Y", "day and month by name", None)
    return found


def _ordered(upper: str, order: DateOrder, *, declared: bool) -> list[_Candidate]:
    canonical = f"trim(regexp_replace({upper}, {literal('^' + _DATE + '$')}, '\\1-\\2-\\3 \\4 \\5'))"
    found = []
    for digits, letter in (("4", "Y"), ("2", "y")):
        year = r"\d{" + digits + "}"
        first, last = (year, r"\d{1,2}") if order == "ymd" else (r"\d{1,2}", year)
        shape = _DATE.replace(r"(\d{1,4})", f"({first})", 1).replace(r"(\d{1,4})", f"({last})", 1)
        if digits == "2":
            shape = _two_digit_years(shape, order, declared=declared)
        elif order == "mdy" and not declared:  # no country writes month.day.year with full stops
            shape = shape.replace("[./-]", "[/-]")
        if shape:
            stamp = _ORDERS[order].replace("{y}", letter)
            found += _both(upper, shape, canonical, stamp, _WORDS[order], order, zoned=shape)
    return found


def _two_digit_years(shape: str, order: DateOrder, *, declared: bool) -> str:
    """Where the year has two digits, hyphens are more often part of an identifier, unless the mapping says dates."""
    if declared:
        return shape
    separators = {"dmy": "[./]", "mdy": "[/]", "ymd": ""}[order]
    return shape.replace("[./-]", separators) if separators else ""


def _both(
    upper: str, shape: str, canonical: str, stamp: str, notation: str, order: DateOrder | None, *, zoned: str = ""
) -> list[_Candidate]:
    """The dates of one notation: alone, with a time of day, and with one in UTC."""
    clocks = literal([stamp + clock for clock in _CLOCKS])
    zone = r"\s*(Z|UTC|GMT)?"
    bare = shape.removesuffix(zone)
    day = bare.partition("(?:(?:T|")[0]
    parsed = f"try_strptime({canonical}, {clocks})"
    found = [
        _Candidate("date", "DATE", _if(upper, day, f"CAST({parsed} AS DATE)"), notation, order),
        _Candidate("timestamp", "TIMESTAMP", _if(upper, bare, parsed), notation, order),
    ]
    if zoned:
        utc = bare + r"\s*(?:Z|UTC|GMT)"
        found.append(
            _Candidate("instant", "TIMESTAMPTZ", _if(upper, utc, f"timezone('UTC', {parsed})"), notation, order)
        )
    return found


def _if(text: str, pattern: str, value: str) -> str:
    return f"CASE WHEN regexp_full_match({text}, {literal(pattern)}) THEN {value} END"


def _list(values: Iterable[str]) -> str:
    return f"({', '.join(literal(value) for value in values)})"
