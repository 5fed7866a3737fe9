"""Conversion keeps what it reads: identifiers as they are written, dates and amounts in their one possible reading."""

# ruff: noqa: E501, DTZ001, RUF001 (tables of values as exports have them)

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salesgauge.schemas.events import EVENTS, EventBase
from salesgauge.schemas.sources.advice import near_event
from salesgauge.schemas.sources.columns import Declared, profile
from salesgauge.schemas.sources.conversion import Rejected, convert
from salesgauge.schemas.sources.mapping import ConvertError, parse_mapping
from salesgauge.streams.cli.convert import convert_command
from tests.support.workbooks import workbook

DEALS = "SELECT Deal AS lead_id, Deal AS deal_id, Closed AS occurred_at, 'p' AS product, Amount AS unit_price FROM d"


def converted(
    folder: Path, text: str | bytes, sql: str = DEALS, *, event: str = "deal_won", options: Any = None, **more: Any
) -> list[Any]:
    name = more.pop("name", "d.csv")
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    spec = {"path": name, **(options or {})}
    mapping = {"inputs": {"d": spec}, "events": [{"event": event, "sql": sql}], **more.pop("mapping", {})}
    results = list(convert(parse_mapping(mapping), folders=(folder,), **more))
    return sorted(results, key=lambda r: (r.event, str(getattr(r, "deal_id", "")), getattr(r, "key", "")))


def leads(folder: Path, ids: list[str], **more: Any) -> list[Any]:
    rows = "".join(f'"{number}",2026-06-0{i % 9 + 1}\n' for i, number in enumerate(ids))
    sql = "SELECT id AS lead_id, at_day AS occurred_at FROM d"
    return converted(folder, f"id,at_day\n{rows}", sql, event="lead_created", **more)


def closed_on(value: str, **options: Any) -> Any:
    return options | {"text": f"Deal,Closed,Amount\n1,{value},10\n"}


# --- identifiers


@pytest.mark.parametrize(
    "ids",
    [
        ["24-01-07", "24-01-08"], ["24-01-07", "24-13-01"], ["2024-01-07", "2024-01-08"], ["01.02.2024", "03.02.2024"],
        ["12/11/2024", "13/11/2024"], ["007", "12"], ["1.10", "1.1"], ["1.50", "2.25"], ["12E4", "13E4"], ["true", "false"],
        ["10:00:00", "11:30:00"], ["2026-06-01T10:00:00Z", "2026-06-01T10:00:00.000Z"], ["1,5", "2,5"], ["$5", "$5.0"],
        ["5805028000056864695", "5805028000056864696"], ["0x1F", "1_000"], ["+49 30 1234", "-5"], ["inf", "nan1"],
        ["6d3d3a3e-0000-4000-8000-000000000001", "6D3D3A3E-0000-4000-8000-000000000002"], ["#REF!", "1"], ["1", "N/A"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["d.csv", "d.json"])
def test_an_identifier_is_the_text_of_the_file(tmp_path: Path, ids: list[str], name: str) -> None:
    if name == "d.csv":
        events = leads(tmp_path, ids)
    else:
        rows = json.dumps([{"id": value, "at_day": "2026-06-01"} for value in ids])
        sql = "SELECT id AS lead_id, at_day AS occurred_at FROM d"
        events = converted(tmp_path, rows, sql, event="lead_created", name=name)
    assert sorted(event.lead_id for event in events) == sorted(ids)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.from_regex(r"[0-9A-Ea-e.,/:+-]{1,12}", fullmatch=True).map(str.strip), min_size=1, max_size=4))
def test_whatever_an_identifier_looks_like_it_is_kept_or_refused(tmp_path: Path, ids: list[str]) -> None:
    for result in leads(tmp_path, [value for value in ids if value.strip("., ")] or ["1"]):
        if isinstance(result, EventBase):
            kept = result.lead_id  # type: ignore[attr-defined]
            assert kept in ids or f"{kept}.0" in ids or ids == ["1"] or kept == "1"


def test_ids_keep_their_text_through_views_unions_and_joins(tmp_path: Path) -> None:
    text = "Deal,Closed,Amount\n24-01-15,2026-06-01,10\n01.02.2024,2026-06-02,20\n"
    for deal in ("15.02.2024", "1.50"):
        views = {
            "v": "SELECT Deal AS number, * EXCLUDE (Deal) FROM d",
            "w": "SELECT * FROM v UNION ALL SELECT * FROM v",
        }
        sql = "SELECT number AS deal_id, number AS lead_id, Closed AS occurred_at FROM w WHERE Amount > 5"
        rows = text.replace("24-01-15", deal)
        found = converted(tmp_path, rows, sql, mapping={"views": views})
        assert Counter(event.deal_id for event in found) == {deal: 2, "01.02.2024": 2}


def test_numbers_that_a_program_wrote_with_point_zero_are_whole(tmp_path: Path) -> None:
    assert [event.lead_id for event in leads(tmp_path, ["12.0", "13.0"])] == ["12", "13"]


@pytest.mark.parametrize(
    "number",
    ["1.23457E+11", "1,23E+11", "1.23457e+11", "1E+20", "12345678901234500000", "5805028000056860000", "9.8E15"],
)
def test_a_rounded_identifier_is_refused_with_its_line_and_a_remedy(tmp_path: Path, number: str) -> None:
    notices: list[str] = []
    results = leads(tmp_path, [number, number, "77"], notice=notices.append)
    rejected = [result for result in results if isinstance(result, Rejected)]
    assert len(rejected) == 2
    assert "spreadsheet has rounded" in rejected[0].detail
    assert "as text" in rejected[0].detail
    assert any(f"{number} looks like" in notice and "d.csv, line 2; d.csv, line 3" in notice for notice in notices)


def test_long_identifiers_that_are_not_rounded_stay(tmp_path: Path) -> None:
    ids = ["12345678901234500000", "12345678901234567890"]
    assert [event.lead_id for event in leads(tmp_path, ids)] == ids
    kept = leads(tmp_path, ["12345678901234500000"], options={"types": {"id": "VARCHAR"}})
    assert [event.lead_id for event in kept] == ["12345678901234500000"]


# --- dates


@pytest.mark.parametrize(
    "value", ["03/04/2026", "3/4/2026", "03-04-2026", "03/04/26", "03/04/2026 10:15", "3/4/2026 5:00 PM"]
)
def test_a_date_with_two_readings_is_an_error_with_both_until_the_mapping_says_which(
    tmp_path: Path, value: str
) -> None:
    text = f"Deal,Closed,Amount\n1,{value},10\n"
    with pytest.raises(ConvertError) as caught:
        converted(tmp_path, text)
    for part in ("Closed", value, "3 April 2026 (dmy)", "4 March 2026 (mdy)", "dates: dmy or dates: mdy"):
        assert part in str(caught.value)
    for order, month in (("dmy", 4), ("mdy", 3), ({"Closed": "mdy"}, 3)):
        (event,) = converted(tmp_path, text, options={"dates": order})
        assert event.occurred_at.month == month


def test_one_value_anywhere_tells_the_order_of_all(tmp_path: Path) -> None:
    rows = "".join(f"{i},03/04/2026,10\n" for i in range(3_000))
    for last, month in (("25/04/2026", 4), ("04/25/2026", 3)):
        events = converted(tmp_path, f"Deal,Closed,Amount\n{rows}x,{last},10\n")
        assert {event.occurred_at.month for event in events if event.deal_id != "x"} == {month}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["03.04.2026", "04.04.2026 17:05"], ["2026-04-03T00:00", "2026-04-04T17:05"]),
        (["2026/03/04", "2026/03/05"], ["2026-03-04T00:00", "2026-03-05T00:00"]),
        (["Mar 3, 2026", "April 14, 2026"], ["2026-03-03T00:00", "2026-04-14T00:00"]),
        (["3-Mar-2026 5:07 PM", "14 Apr 2026 11:00 a.m."], ["2026-03-03T17:07", "2026-04-14T11:00"]),
        (["03/25/2026, 12:30 AM", "1/2/2026, 12:30 PM"], ["2026-01-02T12:30", "2026-03-25T00:30"]),
        (["2026-06-01T10:00:00.5Z", "2026-06-01T10:00:00+02:00"], ["2026-06-01T08:00", "2026-06-01T10:00"]),
        (["03/03/2026", "04/04/2026"], ["2026-03-03T00:00", "2026-04-04T00:00"]),
        (["13/01/2026 10:00 UTC", "02/03/2026 11:00 UTC"], ["2026-01-13T10:00", "2026-03-02T11:00"]),
    ],
)
def test_notations_that_have_one_reading(tmp_path: Path, values: list[str], expected: list[str]) -> None:
    rows = "".join(f'{i},"{value}",10\n' for i, value in enumerate(values))
    events = converted(tmp_path, f"Deal,Closed,Amount\n{rows}")
    assert sorted(f"{event.occurred_at:%Y-%m-%dT%H:%M}" for event in events) == expected


def test_dates_can_be_compared_in_sql_where_their_notation_is_known(tmp_path: Path) -> None:
    text = "Deal,Closed,Amount\n1,13.04.2026,10\n2,13.12.2025,10\n"
    events = converted(tmp_path, text, f"{DEALS} WHERE Closed >= DATE '2026-01-01' AND year(Closed) = 2026")
    assert [event.deal_id for event in events] == ["1"]


def test_sql_that_reads_the_text_itself_gets_the_text(tmp_path: Path) -> None:
    sql = DEALS.replace("Closed AS", "strptime(Closed, '%d.%m.%Y') AS").replace(
        "Amount AS", "replace(Amount, ',', '')::DOUBLE AS"
    )
    (event,) = converted(tmp_path, 'Deal,Closed,Amount\n1,13.04.2026,"1,200.50"\n', sql)
    assert (event.occurred_at.month, event.lines[0].unit_price) == (4, Decimal("1200.5"))


def test_what_exports_write_for_no_date_is_none(tmp_path: Path) -> None:
    text = "Deal,Closed,Amount\n1,2026-04-13,10\n2,0000-00-00,-\n3,,n/a\n"
    results = converted(tmp_path, text)
    assert [result.key for result in results if isinstance(result, EventBase)] == ["1"]
    assert all("occurred_at" in result.detail for result in results if isinstance(result, Rejected))


def test_skipped_and_repeated_local_times_are_told(tmp_path: Path) -> None:
    notices: list[str] = []
    text = "Deal,Closed,Amount\n1,2026-03-29 02:30:00,1\n2,2026-10-25 02:30:00,1\n3,2026-10-25 04:30:00,1\n"
    events = converted(tmp_path, text, mapping={"timezone": "Europe/Berlin"}, notice=notices.append)
    assert [f"{event.occurred_at:%H:%M}" for event in events] == ["01:30", "00:30", "03:30"]
    skipped, repeated = notices
    assert "1 local time, such as 2026-03-29 02:30:00, does not exist in Europe/Berlin" in skipped
    assert "2026-10-25 02:30:00, does exist twice" in repeated


@pytest.mark.parametrize("name", ["d.csv", "d.json", "d.parquet"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_a_column_of_midnights_in_utc_is_a_column_of_dates(tmp_path: Path, name: str, zone: str) -> None:
    rows = "Deal,Closed,Amount\n1,2026-07-01T00:00:00Z,10\n2,2026-07-02T00:00:00Z,20\n"
    content: str | bytes = rows
    if name != "d.csv":
        (tmp_path / "x.csv").write_text(rows)
        kind = "(FORMAT parquet)" if name.endswith("parquet") else "(FORMAT json, ARRAY true)"
        cast = "*" if name.endswith("parquet") else "* REPLACE (strftime(Closed, '%Y-%m-%dT%H:%M:%SZ') AS Closed)"
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"COPY (SELECT {cast} FROM '{tmp_path}/x.csv') TO '{tmp_path}/y' {kind}")
        content = (tmp_path / "y").read_bytes()
    notices: list[str] = []
    events = converted(tmp_path, content, name=name, mapping={"timezone": zone}, notice=notices.append)
    local = [event.occurred_at.astimezone(ZoneInfo(zone)) for event in events]
    assert [f"{at:%m-%d %H:%M}" for at in local] == ["07-01 00:00", "07-02 00:00"]
    assert "midnight UTC" in notices[0]


def test_instants_that_are_no_midnights_stay_instants(tmp_path: Path) -> None:
    rows = "Deal,Closed,Amount\n1,2026-07-01T00:00:00Z,10\n2,2026-07-02T00:00:01Z,20\n"
    events = converted(tmp_path, rows, mapping={"timezone": "America/New_York"})
    assert [event.occurred_at.hour for event in events] == [0, 0]


# --- amounts


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1,589.00", "20"], [1589, 20]), (["$1,200.50", "$3"], ["1200.5", 3]), (["€ 3.500,00", "€ 20"], [3500, 20]),
        (["(1,200.50)", "5.00"], ["-1200.5", 5]), (["1,200.50-", "2"], ["-1200.5", 2]), (["1'234.50", "20"], ["1234.5", 20]),
        (["1 234,50", "3"], ["1234.5", 3]), (["1\u202f234,5", "1\u00a0000"], ["1234.5", 1000]), (["12,50", "3"], ["12.5", 3]),
        (["1,00,000.00", "5"], [100000, 5]), (["EUR 5", "EUR 1.200,50"], [5, "1200.5"]), (["0.589", "1.589"], ["0.589", "1.589"]),
        (["1.589", "2.5"], ["1.589", "2.5"]), (["1.589", "1.234.567"], [1589, 1234567]), (["1,589", "12.5"], [1589, "12.5"]),
        (["-$5.00", "$-7.00"], [-5, -7]), (["kr. 1.200,00", "kr. 5,00"], [1200, 5]), (["1.5E-05", "3"], ["0.000015", 3]),
        (["−5.00", "7.25"], [-5, "7.25"]), (["20 €", "1.000,00 €"], [20, 1000]), (["n/a", "7.5"], [None, "7.5"]),
    ],
)  # fmt: skip
def test_amounts_are_read_where_the_whole_column_agrees(tmp_path: Path, values: list[str], expected: list[Any]) -> None:
    rows = "".join(f'{i},2026-06-01,"{value}"\n' for i, value in enumerate(values))
    sql = "SELECT Deal AS lead_id, Deal AS deal_id, Closed AS occurred_at, Amount AS amount FROM d"
    events = converted(tmp_path, f"Deal,Closed,Amount\n{rows}", sql, event="opportunity_created")
    amounts = {event.deal_id: event.amount for event in events}
    assert [amounts[str(i)] for i in range(len(values))] == [None if e is None else Decimal(e) for e in expected]


@pytest.mark.parametrize(
    "values", [["1.589"], ["1,589"], ["500", "1.589"], ["2,300", "10,250", "7"], ["$1,589"], ["1.589 €"]]
)
def test_an_amount_with_two_readings_is_refused_until_the_mapping_says_which(tmp_path: Path, values: list[str]) -> None:
    rows = "".join(f'{i},2026-06-01,"{value}"\n' for i, value in enumerate(values))
    text = f"Deal,Closed,Amount\n{rows}"
    with pytest.raises(ConvertError, match="decimal_separator: ',' in the mapping"):
        converted(tmp_path, text)
    point = sum(event.lines[0].unit_price for event in converted(tmp_path, text, options={"decimal_separator": "."}))
    comma = sum(event.lines[0].unit_price for event in converted(tmp_path, text, options={"decimal_separator": ","}))
    assert point != comma


def test_several_currency_signs_in_one_column_are_no_amounts(tmp_path: Path) -> None:
    results = converted(tmp_path, "Deal,Closed,Amount\n1,2026-06-01,$5\n2,2026-06-01,€7\n")
    assert [type(result) for result in results] == [Rejected, Rejected]
    assert "Several currencies" in results[0].detail


def test_a_sign_that_contradicts_the_mappings_currency_is_told(tmp_path: Path) -> None:
    notices: list[str] = []
    text = "Deal,Closed,Amount\n1,2026-06-01,£5.00\n"
    converted(tmp_path, text, mapping={"currency": "EUR"}, notice=notices.append)
    assert "Amount is written with £, and the mapping says currency: EUR" in notices[0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["true", "false"], [1, 0]), (["Yes", "No"], [1, 0]), (["1", "0"], [1, 0]), (["ja", "nein"], [1, 0]), (["x", ""], [1, None]),
     (["TRUE", "-"], [1, None]), (["oui", "non"], [1, 0])],
)  # fmt: skip
def test_flags(tmp_path: Path, values: list[str], expected: list[Any]) -> None:
    rows = "".join(f"{i},2026-06-01,{value}\n" for i, value in enumerate(values))
    sql = "SELECT id AS lead_id, d AS occurred_at, q AS qualified FROM d"
    events = converted(tmp_path, f"id,d,q\n{rows}", sql, event="lead_created")
    assert [event.qualified for event in sorted(events, key=lambda e: e.lead_id)] == expected


def test_types_are_a_function_of_all_values_and_no_order(tmp_path: Path) -> None:
    del tmp_path
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (a VARCHAR, b VARCHAR)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [[f"0{i % 9 + 1}/02/2026", str(i)] for i in range(2_000)])
        one, number = profile(connection, "t", ["a", "b"], Declared())
        assert (one.kind, one.doubt is not None, number.kind) == ("text", True, "integer")
        connection.execute("INSERT INTO t VALUES ('13/02/2026', 'x')")
        one, number = profile(connection, "t", ["a", "b"], Declared())
        assert (one.kind, one.notation, number.kind) == ("date", "day, month, year", "text")


# --- restated rows


SPEND = "SELECT Campaign AS campaign_id, Date AS occurred_at, Cost AS amount FROM d"


def test_a_restated_row_is_a_later_version_of_the_same_event(tmp_path: Path) -> None:
    monday = converted(
        tmp_path, "Date,Campaign,Cost\n2026-06-01,c1,100\n2026-06-02,c1,50\n", SPEND, event="spend_recorded"
    )
    text = "Date,Campaign,Cost\n2026-06-01,c1,90\n2026-06-02,c1,50\n2026-06-03,c1,10\n"
    tuesday = converted(tmp_path, text, SPEND, event="spend_recorded")
    before = {event.event_id: event for event in monday}
    after = {event.event_id: event for event in tuesday}
    assert before.keys() < after.keys()
    assert sum(event.amount for event in after.values()) == 150
    for number, event in before.items():
        assert event.recorded_at < after[number].recorded_at
        assert (after[number].recorded_at - event.occurred_at).total_seconds() < 60


def test_rows_of_one_key_keep_their_number_whatever_their_order(tmp_path: Path) -> None:
    one = converted(
        tmp_path, "Date,Campaign,Cost\n2026-06-01,c,1\n2026-06-01,c,2\n2026-06-01,c,2\n", SPEND, event="spend_recorded"
    )
    other = converted(
        tmp_path, "Date,Campaign,Cost\n2026-06-01,c,2\n2026-06-01,c,2\n2026-06-01,c,1\n", SPEND, event="spend_recorded"
    )
    assert len({event.event_id for event in one}) == 3
    assert {(e.event_id, e.amount) for e in one} == {(e.event_id, e.amount) for e in other}


def test_what_lies_ahead_does_not_date_an_export(tmp_path: Path) -> None:
    text = "Date,Campaign,Cost\n2026-06-01,c,1\n2026-06-02,c,2\n2099-01-01,c,2\n"
    now = datetime.fromisoformat("2026-06-10T00:00:00+00:00")
    first = min(converted(tmp_path, text, SPEND, event="spend_recorded", not_after=now), key=lambda e: e.occurred_at)
    assert (first.recorded_at - first.occurred_at).total_seconds() * 1000 == 24 * 60


@pytest.mark.parametrize(
    ("event", "sql", "one", "other"),
    [
        ("survey_answered", "SELECT r AS respondent_id, 'nps' AS kind, d AS occurred_at, v AS score FROM d", "9", "3"),
        ("activity_logged", "SELECT r AS lead_id, 'call' AS kind, d AS occurred_at, v AS rep_id FROM d", "Ann", "Bob"),
        ("usage_recorded", "SELECT r AS account_id, d AS occurred_at, v AS minutes FROM d", "10", "12"),
        ("competitor_price_observed", "SELECT r AS product, 'x' AS competitor, d AS occurred_at, v AS price, 9 AS own_price FROM d", "3", "4"),
    ],
)  # fmt: skip
def test_other_facts_without_an_id_of_their_own_are_replaced_as_well(
    tmp_path: Path, event: str, sql: str, one: str, other: str
) -> None:
    ids = [
        {e.event_id for e in converted(tmp_path, f"r,d,v\na,2026-06-01,{v}\n", sql, event=event)} for v in (one, other)
    ]
    assert ids[0] == ids[1]


# --- workbooks


ROWS: list[list[Any]] = [
    ["Deal", "Closed", "Amount"],
    ["007", datetime(2026, 6, 1, 9, 30), 1200.5],
    [12, datetime(2026, 6, 2), 3],
    [None, None, None],
    ["24-01-07", datetime(2026, 6, 3, 23, 59, 59), "7"],
]


def test_a_workbook_is_read_by_what_its_cells_hold(tmp_path: Path) -> None:
    workbook(tmp_path / "d.xlsx", Deals=ROWS)
    events = converted(tmp_path, (tmp_path / "d.xlsx").read_bytes(), name="d.xlsx")
    assert [(event.deal_id, f"{event.occurred_at:%d %H:%M}", event.lines[0].unit_price) for event in events] == [
        ("007", "01 09:30", Decimal("1200.5")), ("12", "02 00:00", 3), ("24-01-07", "03 23:59", 7),
    ]  # fmt: skip


def test_a_long_number_in_a_workbook_is_a_rounded_identifier(tmp_path: Path) -> None:
    workbook(tmp_path / "d.xlsx", Deals=[ROWS[0], [5805028000056864695, datetime(2026, 6, 1), 3]])
    (rejected,) = converted(tmp_path, (tmp_path / "d.xlsx").read_bytes(), name="d.xlsx")
    assert "spreadsheet has rounded" in rejected.detail


def test_of_several_sheets_one_is_named(tmp_path: Path) -> None:
    workbook(tmp_path / "d.xlsx", Notes=[["x"], ["y"]], Deals=ROWS, Empty=[])
    content = (tmp_path / "d.xlsx").read_bytes()
    with pytest.raises(ConvertError, match=r"several sheets.*'Notes', 'Deals'"):
        converted(tmp_path, content, name="d.xlsx")
    assert len(converted(tmp_path, content, name="d.xlsx", options={"sheet": "Deals"})) == 3
    with pytest.raises(ConvertError, match="no sheet 'Deal'"):
        converted(tmp_path, content, name="d.xlsx", options={"sheet": "Deal"})
    with pytest.raises(ConvertError, match="cannot be read as a workbook"):
        converted(tmp_path, "Deal,Closed\n", name="d.xlsx")


# --- messages


def command(*arguments: str) -> Any:
    return CliRunner().invoke(convert_command, arguments, catch_exceptions=False)


@pytest.mark.parametrize(
    ("meant", "event"),
    [("deal_created", "opportunity_created"), ("opportunity_won", "deal_won"), ("closed_won", "deal_won"), ("DealWon", "deal_won"),
     ("contact_created", "lead_created"), ("demo_booked", "meeting_booked"), ("meeting_held", "meeting_completed"),
     ("quote_sent", "proposal_sent"), ("churn", "customer_churned"), ("ad_spend", "spend_recorded"), ("owner_changed", "lead_assigned"),
     ("call_logged", "activity_logged"), ("lead_creatd", "lead_created"), ("nps", "survey_answered")],
)  # fmt: skip
def test_an_unknown_event_is_told_the_one_that_is_meant(meant: str, event: str) -> None:
    assert near_event(meant, EVENTS) == event


@pytest.mark.parametrize("file", ["d.csv", "d.xlsx", "d.jsonl"])
def test_an_export_in_place_of_the_mapping(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("Deal,Closed\n1,2\n")
    result = command(str(tmp_path / file), "--out", str(tmp_path / "e.jsonl"))
    assert result.exit_code == 2
    assert f"salesgauge try {tmp_path / file}" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("inputs: {d: d.csv}\nevents: {lead_created: SELECT 1}\n", "each entry begins with '- event: NAME'"),
        ("inputs: d.csv\nevents: [{event: lead_created, sql: SELECT 1}]\n", "a line such as 'deals: deals.csv'"),
        ("inputs: {d: d.csv}\nevents: [{event: lead_created, sql: SELECT Deal Id AS lead_id FROM d}]\n", 'double quotes: "Deal Id"'),
        ("inputs: {d: d.csv}\nevents: [{event: lead_created, sql: SELECT order AS lead_id FROM d}]\n", '"order"'),
        ("inputs: {d: d.csv}\nevents: [{event: deal_created, sql: SELECT 1}]\n", "did you mean 'opportunity_created'?"),
        ("inputs: {d: d.csv}\nevents: [{event: lead_created, sql: 'SELECT 1 AS lead_id, now() AS occurred_at, 2 AS owner'}]\n", "rep_id for owner"),
    ],
)  # fmt: skip
def test_mistakes_of_a_first_mapping(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "d.csv").write_text("Deal Id,order\n1,2\n")
    (tmp_path / "m.yaml").write_text(content)
    result = command(str(tmp_path / "m.yaml"), "--out", str(tmp_path / "e.jsonl"))
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"d\.csv is empty"):
        converted(tmp_path, "\n")


@pytest.mark.parametrize("text", ["Köln", "für 5 €", "Ünal"])
def test_a_file_of_windows_gets_its_encoding_named_and_no_other_advice(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConvertError) as caught:
        converted(tmp_path, f"Deal,Closed,Amount\n{text},2026-01-01,1\n".encode("cp1252"))
    assert "encoding: cp1252" in str(caught.value)
    assert "utf-16" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("rows", "code"),
    [("1,2026-01-01,1\n2,2026-01-01,2\n3,,3\n", 0), ("1,2026-01-01,1\n2,,2\n3,,3\n", 1), ("1,,1\n", 1), ("", 0)],
)
def test_the_exit_code_tells_when_much_was_rejected(tmp_path: Path, rows: str, code: int) -> None:
    (tmp_path / "d.csv").write_text(f"Deal,Closed,Amount\n{rows}")
    mapping = {"inputs": {"d": "d.csv"}, "events": [{"event": "deal_won", "sql": DEALS}]}
    (tmp_path / "m.yaml").write_text(json.dumps(mapping))
    result = command(str(tmp_path / "m.yaml"), "--out", str(tmp_path / "e.jsonl"))
    assert result.exit_code == code, result.stderr
    assert (tmp_path / "e.jsonl").exists()


def test_currencies_without_a_rate_are_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("Deal,Closed,Amount,C\n1,2026-01-01,1,EUR\n2,2026-01-01,2,USD\n")
    sql = DEALS.replace("FROM", ", C AS currency FROM")
    (tmp_path / "m.yaml").write_text(
        json.dumps({"inputs": {"d": "d.csv"}, "events": [{"event": "deal_won", "sql": sql}]})
    )
    result = command(str(tmp_path / "m.yaml"), "--out", str(tmp_path / "e.jsonl"))
    assert "rules.rates" in result.stderr
    assert "currency: USD" in result.stderr
