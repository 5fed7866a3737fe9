"""Converting exports: the rules of docs/convert.md, on small files written here."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import zstandard
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salesgauge.schemas.codec import decode
from salesgauge.schemas.events import EVENTS, DealWon, EventBase, LeadCreated, OpportunityCreated
from salesgauge.schemas.sources.conversion import Rejected, convert
from salesgauge.schemas.sources.mapping import ConvertError, find_mapping, load_mapping, parse_mapping, shipped_mappings
from salesgauge.streams.cli.convert import convert_command
from salesgauge.streams.io.event_output import write_events
from salesgauge.streams.io.sorted_runs import SortedRuns

DOCS = Path(__file__).resolve().parents[2] / "docs" / "convert.md"

LEADS = "id,created,source\nL1,2024-05-02 09:00:00,Web\nL2,2024-05-03 10:30:00,Fair\n"
LEAD_SQL = "SELECT id AS lead_id, created AS occurred_at, source FROM leads"


def run(
    folder: Path,
    event: str,
    sql: str,
    *,
    inputs: Any = None,
    options: dict[str, Any] | None = None,
    **arguments: Any,
) -> list[EventBase | Rejected]:
    content = {"inputs": inputs or {"leads": "leads.csv"}, "events": [{"event": event, "sql": sql}]}
    mapping = parse_mapping(content | (options or {}))
    return list(convert(mapping, folders=(folder,), **arguments))


def one(folder: Path, event: str, columns: str, **arguments: Any) -> Any:
    """The one result of `SELECT columns`, beside a required input that it does not need."""
    (folder / "leads.csv").write_text(LEADS)
    (result,) = run(folder, event, f"SELECT {columns}", **arguments)
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leads.csv").write_text(LEADS)
    return tmp_path


# --- rows become events


def test_rows_become_validated_events_with_times_in_utc(folder: Path) -> None:
    first, second = run(folder, "lead_created", LEAD_SQL)
    assert isinstance(first, LeadCreated)
    assert (first.lead_id, first.source) == ("L1", "Web")
    assert first.occurred_at == datetime(2024, 5, 2, 9, tzinfo=UTC)
    assert isinstance(second, LeadCreated)
    assert second.lead_id == "L2"


def test_detection_types_columns_as_duckdb_does(tmp_path: Path) -> None:
    (tmp_path / "pipeline.csv").write_text(
        "opportunity_id,product,deal_stage,close_date,close_value\r\n"
        "A1,GTX Pro,Won,2017-03-01,1054\r\nA2,MG,Lost,2017-03-02,0\r\nA3,MG,Engaging,,\r\n"
    )
    (won,) = run(
        tmp_path,
        "deal_won",
        """SELECT opportunity_id AS deal_id, opportunity_id AS lead_id,
                  CAST(close_date AS TIMESTAMP) AS occurred_at,
                  [{'product': product, 'quantity': 1, 'unit_price': close_value}] AS lines
           FROM pipeline WHERE deal_stage = 'Won' AND close_value > 5 AND year(close_date) = 2017;""",
        inputs={"pipeline": "pipeline.csv"},
    )
    assert isinstance(won, DealWon)
    (line,) = won.lines
    assert line.model_dump() == {"product": "GTX Pro", "quantity": 1, "unit_price": 1054}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("TIMESTAMP '2024-07-01 12:00:00'", "2024-07-01T10:00:00Z"),
        ("DATE '2024-07-01'", "2024-06-30T22:00:00Z"),
        ("TIMESTAMP_NS '2024-07-01 12:00:00.123456789'", "2024-07-01T10:00:00.123456Z"),
        ("TIMESTAMPTZ '2024-07-01 12:00:00+00'", "2024-07-01T12:00:00Z"),
        ("TIMESTAMPTZ '1890-07-01 12:00:00+00'", "1890-07-01T12:00:00Z"),
        ("CAST('2024-07-01 12:00' AS TIMESTAMPTZ)", "2024-07-01T10:00:00Z"),
        ("to_timestamp(1719835200)", "2024-07-01T12:00:00Z"),
        ("'2024-07-01T12:00:00'", "2024-07-01T10:00:00Z"),
        ("'2024-07-01T12:00:00Z'", "2024-07-01T12:00:00Z"),
        ("' 2024-07-01 12:00:00+05:30 '", "2024-07-01T06:30:00Z"),
        ("'2024-10-27 02:30'", "2024-10-27T00:30:00Z"),  # twice that night: the first
        ("'2024-03-31 02:30'", "2024-03-31T01:30:00Z"),  # never that night: moved by the gap
    ],
)
def test_times_without_a_zone_are_in_the_business_time_zone(tmp_path: Path, expression: str, expected: str) -> None:
    event = one(
        tmp_path,
        "lead_created",
        f"'L' AS lead_id, {expression} AS occurred_at",
        options={"timezone": "Europe/Berlin"},
    )
    assert event.model_dump(mode="json")["occurred_at"] == expected


def test_the_time_zone_is_the_callers_then_the_mappings_then_the_default(tmp_path: Path) -> None:
    columns = "'L' AS lead_id, TIMESTAMP '2024-01-01 12:00' AS occurred_at"

    def hour(**arguments: Any) -> int:
        return int(one(tmp_path, "lead_created", columns, **arguments).occurred_at.hour)

    assert hour() == 12
    assert hour(default_timezone="Europe/Berlin") == 11
    assert hour(default_timezone="Europe/Berlin", options={"timezone": "Asia/Tokyo"}) == 3
    assert hour(options={"timezone": "Asia/Tokyo"}, timezone="America/New_York") == 17


@pytest.mark.parametrize("value", ["'03.07.2023 17:03'", "'soon'", "DATE 'infinity'", "DATE '20000-01-01'"])
def test_a_time_that_cannot_be_read_rejects_its_row(tmp_path: Path, value: str) -> None:
    result = one(tmp_path, "lead_created", f"'L' AS lead_id, {value} AS occurred_at")
    assert isinstance(result, Rejected)
    assert result.reason == "invalid"
    assert result.detail.startswith("occurred_at: is not an ISO 8601 time")
    assert result.row["lead_id"] == "L"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("CAST(0.1 AS DOUBLE) + CAST(0.2 AS DOUBLE)", "0.3"),
        ("CAST(0.1 AS FLOAT)", "0.1"),
        ("CAST('1234.50' AS DECIMAL(18, 2))", "1234.5"),
        ("CAST(1e12 AS DOUBLE)", "1000000000000"),
        ("-0.0::DOUBLE", "0"),
        ("17", "17"),
        ("'12.50'", "12.50"),
    ],
)
def test_amounts_have_no_binary_noise(tmp_path: Path, expression: str, expected: str) -> None:
    event = one(tmp_path, "spend_recorded", f"'c' AS campaign_id, now() AS occurred_at, {expression} AS amount")
    assert event.amount == Decimal(expected)


@pytest.mark.parametrize("value", ["'NaN'::DOUBLE", "'inf'::DOUBLE", "'€ 3.500,00'"])
def test_what_is_no_amount_is_rejected(tmp_path: Path, value: str) -> None:
    result = one(tmp_path, "spend_recorded", f"'c' AS campaign_id, now() AS occurred_at, {value} AS amount")
    assert isinstance(result, Rejected)
    assert result.detail.startswith("amount: ")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("5805028000056864695", "5805028000056864695"),
        ("170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727"),
        ("12.0::DOUBLE", "12"),
        ("'007'", "007"),
        ("uuid '6d3d3a3e-0000-4000-8000-000000000001'", "6d3d3a3e-0000-4000-8000-000000000001"),
        ("true", "true"),
    ],
)
def test_ids_become_text(tmp_path: Path, expression: str, expected: str) -> None:
    event = one(tmp_path, "lead_created", f"{expression} AS lead_id, DATE '2024-01-01' AS occurred_at")
    assert event.lead_id == expected


def test_an_id_that_detection_has_rounded_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("id,created\n98050280000568646951.0,2024-01-01\n")
    sql = "SELECT id AS lead_id, created AS occurred_at FROM leads"
    (result,) = run(tmp_path, "lead_created", sql)
    assert isinstance(result, Rejected)
    assert "VARCHAR" in result.detail
    spec = {"leads": {"path": "leads.csv", "types": {"id": "VARCHAR"}}}
    (event,) = run(tmp_path, "lead_created", sql, inputs=spec)
    assert isinstance(event, LeadCreated)
    assert event.lead_id == "98050280000568646951.0"


def test_null_and_blank_text_are_absent(tmp_path: Path) -> None:
    event = one(
        tmp_path, "lead_created",
        "'L' AS lead_id, now() AS occurred_at, NULL AS team, ' \t' AS source, '' AS rep_id, ' x' AS location",
    )  # fmt: skip
    assert event.model_dump(exclude_unset=True, exclude={"event_id", "occurred_at"}) == {
        "event": "lead_created", "lead_id": "L", "location": "x",
    }  # fmt: skip


def test_line_breaks_and_other_control_characters_in_text_are_spaces(tmp_path: Path) -> None:
    broken = "'Web' || chr(13) || chr(10) || 'shop' || chr(9) || 'x' || chr(0)"
    event = one(
        tmp_path,
        "lead_created",
        f"1 AS lead_id, DATE '2024-05-02' AS occurred_at, {broken} AS source FROM leads LIMIT 1",
    )
    assert event.source == "Web shop x"
    for lines in (
        f"[{{'product': {broken}, 'unit_price': 1}}] AS lines",
        f"{broken} AS product, 1 AS unit_price",
        """'[{"product": "Web\\nshop\\tx", "unit_price": 0.1}]' AS lines""",
    ):
        event = one(
            tmp_path,
            "deal_won",
            f"1 AS lead_id, 2 AS deal_id, DATE '2024-05-02' AS occurred_at, {lines} FROM leads LIMIT 1",
        )
        assert [line.product for line in event.lines] == ["Web shop x"]


def test_a_long_reason_is_shortened(tmp_path: Path) -> None:
    columns = "1 AS lead_id, 2 AS deal_id, DATE '2024-05-02' AS occurred_at, repeat('too dear ', 100) AS reason"
    event = one(tmp_path, "deal_lost", f"{columns} FROM leads LIMIT 1")
    assert event.reason == ("too dear " * 100)[:199] + "…"
    assert isinstance(one(tmp_path, "deal_lost", f"{columns}, reason AS rep_id FROM leads LIMIT 1"), Rejected)


def test_column_names_ignore_case(tmp_path: Path) -> None:
    assert one(tmp_path, "lead_created", "'L' AS Lead_ID, now() AS OCCURRED_AT").lead_id == "L"


# --- lines


WON = "'D' AS deal_id, 'L' AS lead_id, DATE '2024-01-01' AS occurred_at"
LINE = {"product": "P", "quantity": Decimal("1.5"), "unit_price": Decimal(20)}


@pytest.mark.parametrize(
    "columns",
    [
        "[{'product': 'P', 'quantity': 1.5, 'unit_price': 20}] AS lines",
        "[{'product': 'P', 'quantity': 1.5::DOUBLE, 'unit_price': 20::BIGINT, 'note': NULL}] AS lines",
        """'[{"product": "P", "quantity": 1.5, "unit_price": "20.00"}]' AS lines""",
        """'[{"product": "P", "quantity": 1.5, "unit_price": 20}]'::JSON AS lines""",
        "'P' AS product, 1.5 AS quantity, 20 AS unit_price",
    ],
)
def test_lines_are_structs_or_json_or_flat_columns(tmp_path: Path, columns: str) -> None:
    event = one(tmp_path, "deal_won", f"{WON}, {columns}")
    assert [line.model_dump() for line in event.lines] == [LINE]


def test_the_quantity_is_one_and_a_deal_may_have_no_line(tmp_path: Path) -> None:
    assert one(tmp_path, "deal_won", f"{WON}, 'P' AS product, 20 AS unit_price").lines[0].quantity == 1
    assert one(tmp_path, "deal_won", f"{WON}, NULL AS product, NULL AS unit_price").lines == ()
    assert one(tmp_path, "deal_won", WON).lines == ()


def test_numbers_in_json_lines_are_exact(tmp_path: Path) -> None:
    lines = '\'[{"product": "P", "quantity": 1000000, "unit_price": 0.0000015}]\''
    event = one(tmp_path, "deal_won", f"{WON}, {lines} AS lines FROM leads LIMIT 1")
    assert event.lines[0].quantity * event.lines[0].unit_price == Decimal("1.5")


def test_a_line_without_a_price_rejects_the_deal(tmp_path: Path) -> None:
    result = one(tmp_path, "deal_won", f"{WON}, 'P' AS product, NULL::INTEGER AS unit_price")
    assert isinstance(result, Rejected)
    assert "unit_price: Field required" in result.detail
    assert result.row["product"] == "P"


def test_several_rows_of_a_deal_become_its_lines(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("deal,day,product,n,price\nD,2024-01-01,P,2,10.5\nD,2024-01-01,Q,1,7\n")
    sql = """SELECT deal AS deal_id, deal AS lead_id, day AS occurred_at,
                    list({'product': product, 'quantity': n, 'unit_price': price}) AS lines
             FROM items GROUP BY ALL"""
    (won,) = run(tmp_path, "deal_won", sql, inputs={"items": "items.csv"})
    assert isinstance(won, DealWon)
    assert sum(line.quantity * line.unit_price for line in won.lines) == 28
    assert [line.product for line in won.lines] == ["P", "Q"]


def test_lines_that_were_not_grouped_are_noticed(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    rows = ["A,2024-01-01,P,1,10", "A,2024-01-01,Q,1,7", *2 * ["B,2024-01-01,P,1,1"], "C,2024-01-01,P,1,1"]
    items.write_text("\n".join(["deal,day,product,n,price", *rows, "C,2024-01-02,P,1,2"]))
    sql = """SELECT deal AS deal_id, deal AS lead_id, day AS occurred_at, product, n AS quantity, price AS unit_price
             FROM items"""
    grouped = f"""SELECT deal_id, lead_id, occurred_at,
                         list({{'product': product, 'quantity': quantity, 'unit_price': unit_price}}) AS lines
                  FROM ({sql}) GROUP BY ALL"""
    notices: list[str] = []
    assert len(run(tmp_path, "deal_won", sql, inputs={"items": "items.csv"}, notice=notices.append)) == 6
    (notice,) = notices  # not of B, whose rows are equal, nor of C, which was corrected a day later
    assert "1 deal, such as A," in notice
    run(tmp_path, "deal_won", grouped, inputs={"items": "items.csv"}, notice=notices.append)
    assert len(notices) == 1


# --- defaults of the mapping


def test_currency_and_source_system_fill_what_rows_leave_open(tmp_path: Path) -> None:
    options = {"currency": "usd", "source_system": "crm"}
    columns = "'c' AS campaign_id, now() AS occurred_at, 1 AS amount"
    spend = one(tmp_path, "spend_recorded", columns, options=options)
    assert (spend.currency, spend.source_system) == ("USD", "crm")
    assert one(tmp_path, "spend_recorded", f"{columns}, 'EUR' AS currency", options=options).currency == "EUR"
    lead = one(tmp_path, "lead_created", "'L' AS lead_id, now() AS occurred_at", options=options)
    assert "currency" not in lead.model_dump()


# --- ids and duplicates


def test_ids_are_derived_from_the_row_alone(folder: Path) -> None:
    ids = {event.event_id for event in run(folder, "lead_created", LEAD_SQL) if isinstance(event, EventBase)}
    later_export = ("New,2024-06-01 00:00:00,L0", "Fair,2024-05-03 10:30:00,L2", "Web,2024-05-02 09:00:00,L1")
    (folder / "leads.csv").write_text("\n".join(("source,created,id", *later_export)))
    reordered = "SELECT source, id AS lead_id, created AS occurred_at FROM leads"
    later = {event.event_id for event in run(folder, "lead_created", reordered) if isinstance(event, EventBase)}
    assert ids < later


def test_ids_differ_by_event_and_source_system(tmp_path: Path) -> None:
    columns = "'a' AS account_id, DATE '2024-01-01' AS occurred_at"
    churned = one(tmp_path, "customer_churned", columns).event_id
    elsewhere = one(tmp_path, "customer_churned", columns, options={"source_system": "b"}).event_id
    won = one(tmp_path, "deal_won", f"{columns}, 'a' AS deal_id").event_id
    assert len({churned, elsewhere, won}) == 3


def test_ids_do_not_depend_on_how_a_column_was_read(tmp_path: Path) -> None:
    columns = "{} AS lead_id, 'D' AS deal_id, {} AS occurred_at, 'P' AS product, {} AS unit_price"
    ids = {
        one(tmp_path, "deal_won", columns.format(lead, at, price)).event_id
        for lead, at, price in (
            ("7", "DATE '2024-01-01'", "20"),
            ("'7'", "'2024-01-01'", "20.0::DOUBLE"),
            ("7::DOUBLE", "TIMESTAMPTZ '2024-01-01 01:00+01'", "CAST(20 AS DECIMAL(9, 3))"),
        )
    }
    assert len(ids) == 1


def test_given_event_ids_are_kept_and_missing_ones_derived(tmp_path: Path) -> None:
    columns = "'L' AS lead_id, DATE '2024-01-01' AS occurred_at"
    assert one(tmp_path, "lead_created", f"42 AS event_id, {columns}").event_id == "42"
    derived = one(tmp_path, "lead_created", f"NULL AS event_id, {columns}").event_id
    assert derived == one(tmp_path, "lead_created", columns).event_id


SPEND = "day,campaign,ad,cost\n2024-01-01,c,a1,0.5\n2024-01-01,c,a2,0.5\n2024-01-01,c,a2,0.5\n"
SPEND_SQL = "SELECT campaign AS campaign_id, day AS occurred_at, cost AS amount FROM spend"


@pytest.mark.parametrize(
    ("spec", "sql", "distinct", "expected"),
    [
        ("spend.csv", SPEND_SQL, (), 3),
        ({"path": "spend.csv", "duplicates": "drop"}, SPEND_SQL, (), 2),  # equal in all columns of the file
        ("spend.csv", SPEND_SQL, ("spend",), 2),
        ("spend.csv", SPEND_SQL.replace("SELECT", "SELECT DISTINCT"), (), 1),
    ],
)
def test_equal_rows_are_as_many_events_unless_dropped(
    tmp_path: Path, spec: Any, sql: str, distinct: tuple[str, ...], expected: int
) -> None:
    (tmp_path / "spend.csv").write_text(SPEND)
    events = run(tmp_path, "spend_recorded", sql, inputs={"spend": spec}, distinct=distinct)
    assert len({event.event_id for event in events if isinstance(event, EventBase)}) == expected


def test_equal_rows_of_two_queries_are_two_events(tmp_path: Path) -> None:
    (tmp_path / "spend.csv").write_text(SPEND)
    query = {"event": "spend_recorded", "sql": SPEND_SQL}
    mapping = parse_mapping({"inputs": {"spend": "spend.csv"}, "events": [query, query]})
    events = [event for event in convert(mapping, folders=(tmp_path,)) if isinstance(event, EventBase)]
    assert len({event.event_id for event in events}) == len(events) == 6


def test_columns_with_an_underscore_tell_rows_apart_and_go_no_further(tmp_path: Path) -> None:
    (tmp_path / "spend.csv").write_text(SPEND)
    events = run(
        tmp_path,
        "spend_recorded",
        SPEND_SQL.replace("SELECT", "SELECT ad AS _ad,"),
        inputs={"spend": "spend.csv"},
    )
    bare = {event.event_id.partition("-")[0] for event in events if isinstance(event, EventBase)}
    assert len(bare) == 2
    assert all("_ad" not in event.model_dump() for event in events if isinstance(event, EventBase))


# --- rejected rows


def test_a_mapping_may_reject_rows_with_a_reason(folder: Path) -> None:
    sql = f"SELECT *, CASE WHEN source = 'Fair' THEN 'no fairs' END AS reject_reason FROM ({LEAD_SQL})"
    event, rejected = run(folder, "lead_created", sql)
    assert isinstance(event, LeadCreated)
    assert isinstance(rejected, Rejected)
    assert (rejected.event, rejected.reason, rejected.detail) == ("lead_created", "no fairs", "")
    assert rejected.row == {"lead_id": "L2", "occurred_at": "2024-05-03 10:30:00", "source": "Fair"}


def test_rows_that_do_not_validate_do_not_stop_the_rest(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text(
        "id,created,stage\nL1,2024-05-02,sql\n,2024-05-02,sql\nL3,,sql\nL4,2024-05-02,asleep\nL5,2024-05-02,mql\n"
    )
    sql = "SELECT id AS lead_id, created AS occurred_at, stage FROM leads"
    results = run(tmp_path, "lifecycle_stage_changed", sql)
    assert [result.key for result in results if isinstance(result, EventBase)] == ["L1", "L5"]
    details = [result.detail.partition(":")[0] for result in results if isinstance(result, Rejected)]
    assert sorted(details) == ["lead_id", "occurred_at", "stage"]


# --- inputs


def test_formats_globs_and_compression(tmp_path: Path) -> None:
    row = ("L1", "2024-05-02 09:00:00", "Web")
    record = dict(zip(("id", "created", "source"), row, strict=True))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(LEADS.encode()))
    (tmp_path / "a.csv.zst").write_bytes(zstandard.compress(LEADS.encode()))
    (tmp_path / "a.tsv").write_text(LEADS.replace(",", "\t"))
    (tmp_path / "a.json").write_text(json.dumps([record]))
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    (tmp_path / "a.data").write_text(LEADS)
    duckdb.connect().execute(f"COPY (SELECT * FROM '{tmp_path / 'a.tsv'}') TO '{tmp_path / 'a.parquet'}'")
    (tmp_path / "part").mkdir()
    for index, line in enumerate(LEADS.splitlines()[1:]):
        (tmp_path / "part" / f"{index}.csv").write_text(f"id,created,source\n{line}\n")
    specs: list[Any] = [
        "a.csv.gz", "a.csv.zst", "a.tsv", "a.json", "a.jsonl", "a.parquet", "part/*.csv",
        str(tmp_path / "a.tsv"), ["part/1.csv", "part/0.csv"], {"path": "a.data", "format": "csv"},
    ]  # fmt: skip
    for spec in specs:
        events = run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": spec})
        assert [event.key for event in events if isinstance(event, EventBase)][:1] in (["L1"], ["L2"]), spec
        assert all(isinstance(event, EventBase) for event in events), spec


def test_values_of_several_types_in_a_json_file(tmp_path: Path) -> None:
    records = [
        {"id": 1, "created": "2024-05-02T10:00:00Z", "source": " Web ", "qualified": True, "amount": "12.5"},
        {"id": "A2", "created": "2024-05-02 12:00:00+02", "source": 7, "qualified": "false", "amount": 13},
        {"id": "A3", "created": "2024-05-02T10:00:00Z", "source": ["a"], "qualified": None, "amount": None},
        {"id": "A4", "created": 1714644000000, "source": "", "qualified": False, "amount": 0.1},
    ]
    (tmp_path / "leads.json").write_text(json.dumps(records))
    inputs = {"leads": "leads.json"}
    results = run(tmp_path, "lead_created", LEAD_SQL.replace("source", "source, qualified"), inputs=inputs)
    [rejected] = [result for result in results if isinstance(result, Rejected)]
    assert (rejected.row["lead_id"], "to_timestamp" in rejected.detail) == ("A4", True)
    assert {(e.lead_id, e.occurred_at.hour, e.source, e.qualified) for e in results if isinstance(e, LeadCreated)} == {
        ("1", 10, "Web", True), ("A2", 10, "7", False), ("A3", 10, '["a"]', None),
    }  # fmt: skip
    sql = "SELECT id AS lead_id, id AS deal_id, now() AS occurred_at, amount FROM leads"
    opened = run(tmp_path, "opportunity_created", sql, inputs=inputs)
    assert {str(event.amount) for event in opened if isinstance(event, OpportunityCreated)} == {
        "12.5", "13", "None", "0.1",
    }  # fmt: skip


def test_files_of_one_input_may_differ_in_their_columns(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("id,created\nL1,2024-01-01\n")
    (tmp_path / "2.csv").write_text("created,id,source\n2024-01-02,L2,Web\n")
    events = run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": "?.csv"})
    assert [(event.lead_id, event.source) for event in events if isinstance(event, LeadCreated)] == [
        ("L1", None), ("L2", "Web"),
    ]  # fmt: skip


def test_reading_options(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("exported today\nid|created\n'7|8'|02.05.2024\n-|03.05.2024\n")
    spec = {
        "path": "leads.csv", "delim": "|", "quote": "'", "skip": 1, "nullstr": "-",
        "dateformat": "%d.%m.%Y", "types": {"created": "DATE"},
    }  # fmt: skip
    sql = "SELECT id AS lead_id, created AS occurred_at FROM leads WHERE id IS NOT NULL"
    (event,) = run(tmp_path, "lead_created", sql, inputs={"leads": spec})
    assert isinstance(event, LeadCreated)
    assert (event.lead_id, event.occurred_at) == ("7|8", datetime(2024, 5, 2, tzinfo=UTC))


def test_a_file_of_texts_has_a_header_too(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("id,created,source\nL1,today,Web\n")
    (result,) = run(tmp_path, "lead_created", LEAD_SQL)
    assert isinstance(result, Rejected)
    assert result.row["lead_id"] == "L1"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("name", ["leads.csv", "leads.csv.gz", "leads.csv.zst"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_first_bytes_say_what_packs_a_file(tmp_path: Path, pack: Any, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(pack(LEADS.encode(encoding)))
    found = run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": name})
    assert [event.key for event in found if isinstance(event, EventBase)] == ["L1", "L2"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_file_that_is_cut_is_noticed(tmp_path: Path, pack: Any) -> None:
    whole = pack(LEADS.encode() * 1000)
    (tmp_path / "leads.csv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConvertError, match="cannot be read"):
        list(run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": "leads.csv"}))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("encoding", ["cp1252", "windows-1252", "utf-16", "UTF-16LE", "latin-1", "utf-8", "utf-8-sig"])
def test_text_in_any_encoding(tmp_path: Path, encoding: str, suffix: str) -> None:
    text = 'id;created;source\r\n"L1";2024-05-02;"Köln; ""Süd""\r\nund é"\r\n'
    content = text.encode(encoding)
    packed = {"": content, ".gz": gzip.compress(content), ".zst": zstandard.compress(content)}
    (tmp_path / f"a.csv{suffix}").write_bytes(packed[suffix])
    spec = {"path": f"a.csv{suffix}", "delim": ";", "encoding": encoding}
    sql = "SELECT id AS lead_id, created AS occurred_at, replace(source, chr(13) || chr(10), ' ') AS source FROM leads"
    (event,) = run(tmp_path, "lead_created", sql, inputs={"leads": spec})
    assert isinstance(event, LeadCreated)
    assert (event.lead_id, event.source) == ("L1", 'Köln; "Süd" und é')


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl"])
def test_a_mark_at_the_beginning_says_the_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    record = {"id": "L1", "created": "2024-05-02", "source": "Köln"}
    text = ",".join(record) + "\n" + ",".join(record.values()) + "\n" if name == "a.csv" else json.dumps(record)
    (tmp_path / name).write_text(text, encoding=encoding)
    (event,) = run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": name})
    assert isinstance(event, LeadCreated)
    assert (event.lead_id, event.source) == ("L1", "Köln")


def test_the_euro_sign_of_windows(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_bytes("id,created,source\nL1,2024-05-02,für 5 €\n".encode("cp1252"))
    (event,) = run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": {"path": "leads.csv", "encoding": "cp1252"}})
    assert isinstance(event, LeadCreated)
    assert event.source == "für 5 €"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("leads.csv", "encoding: cp1252"),
        ({"path": "leads.csv", "encoding": "utf-8"}, "leads.csv: line 2 is not utf-8"),
        ({"path": "leads.csv", "encoding": "ascii"}, "leads.csv: line 2 is not ascii"),
    ],
)
def test_a_wrong_encoding_says_the_remedy(tmp_path: Path, spec: Any, message: str) -> None:
    (tmp_path / "leads.csv").write_bytes("id,created,source\nL1,2024-05-02,Köln\n".encode("cp1252"))
    with pytest.raises(ConvertError, match=re.escape(message)):
        run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": spec})


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("L3,2024-05-04,Fair,Berlin", "more columns than the header"),
        ("L3,2024-05-04", "fewer columns than the header"),
        ("Total: 3 rows", "fewer columns than the header"),
    ],
)
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("options", [{}, {"all_varchar": True}, {"ignore_errors": True}, {"delim": ","}])
def test_a_line_that_does_not_fit_is_a_rejected_row(
    tmp_path: Path, line: str, detail: str, place: str, options: dict[str, Any]
) -> None:
    good = [f'L{i},2024-05-02,"Web, new"' for i in range(9)]
    header, rows = "id,created,source", [line, *good] if place == "first" else [*good, line]
    (tmp_path / "leads.csv").write_text("\n".join([header, *rows]) + "\n")
    results = run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": {"path": "leads.csv", **options}})
    assert [result for result in results if isinstance(result, Rejected)] == [
        Rejected("input leads", "unreadable", detail, {"file": "leads.csv", "line": rows.index(line) + 2, "text": line})
    ]
    events = {event.lead_id: event.source for event in results if isinstance(event, LeadCreated)}
    assert events == {f"L{i}": "Web, new" for i in range(9)}


def test_a_line_may_begin_with_a_number_sign(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("id,created,source\n1,2024-05-02,Web\n#REF!,2024-05-03,Web\n")
    events = run(tmp_path, "lead_created", LEAD_SQL)
    assert {event.key for event in events if isinstance(event, EventBase)} == {"1", "#REF!"}


def test_a_value_of_another_type_than_the_mapping_says_rejects_its_line(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("id,created\n1,2024-05-02\n#REF!,2024-05-03\n")
    spec = {"path": "leads.csv", "types": {"id": "BIGINT"}}
    results = run(tmp_path, "lead_created", LEAD_SQL.replace(", source", ""), inputs={"leads": spec})
    rejected, event = results
    assert isinstance(rejected, Rejected)
    assert (rejected.row["line"], rejected.row["text"]) == (3, "#REF!,2024-05-03")
    assert "'BIGINT'" in rejected.detail
    assert isinstance(event, LeadCreated)


def test_bad_lines_are_told_apart_by_file(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        text = f"id;created;source\nL{name};2024-05-02;Köln\nbad {name}\n"
        (tmp_path / name).write_bytes(text.encode("cp1252"))
    spec = {"path": "?.csv", "encoding": "cp1252"}
    results = run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": spec})
    assert [result.row for result in results if isinstance(result, Rejected)] == [
        {"file": name, "line": 3, "text": f"bad {name}"} for name in ("1.csv", "2.csv")
    ]
    assert len(results) == 4


def test_a_title_above_the_header_is_no_bad_line(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("Export of May\n\n" + LEADS)
    assert [type(result) for result in run(tmp_path, "lead_created", LEAD_SQL)] == [LeadCreated, LeadCreated]


def test_a_file_of_one_column_may_have_commas(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("id, or name\nL1\nL2\n")
    sql = "SELECT \"id, or name\" AS lead_id, DATE '2024-05-02' AS occurred_at FROM leads"
    events = run(tmp_path, "lead_created", sql)
    assert {event.key for event in events if isinstance(event, EventBase)} == {"L1", "L2"}


def test_a_quotation_mark_that_is_not_doubled_rejects_its_line(tmp_path: Path) -> None:
    line = 'L,2024-05-04,"the "best" one"'
    good = "".join(f'L{i},2024-05-02,"Web, new"\n' for i in range(3_000))
    (tmp_path / "leads.csv").write_text(f"id,created,source\n{good}{line}\n{good}")
    first, *others = run(tmp_path, "lead_created", LEAD_SQL)
    assert isinstance(first, Rejected)
    assert (first.row["text"], first.detail) == (line, "a quotation mark that does not enclose the whole value")
    assert len(others) == 6_000


def test_lines_that_were_not_divided_are_named(tmp_path: Path) -> None:
    text = 'id,created,source\nL1,2024-05-02,"the "best" one"\nL2,2024-05-02,"Web, new"\nL3,2024-05-03,Fair\n'
    (tmp_path / "leads.csv").write_text(text)
    with pytest.raises(ConvertError, match="not divided into columns"):
        run(tmp_path, "lead_created", LEAD_SQL)


def test_a_bad_line_can_end_the_conversion(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text(LEADS + "L3\n")
    spec = {"path": "leads.csv", "delim": ",", "ignore_errors": False}
    with pytest.raises(ConvertError, match="input leads"):
        run(tmp_path, "lead_created", LEAD_SQL, inputs={"leads": spec})


def test_bad_lines_are_in_the_summary(folder: Path, mapping: str) -> None:
    (folder / "leads.csv").write_text(LEADS + "Total,2\n")
    result = command(mapping, "--strict", "--out", str(folder / "events.jsonl"))
    assert result.exit_code == 1
    assert re.search(r"input leads +│ +0 │ +1 ", result.stderr)
    assert "unreadable: fewer columns than the header" in result.stderr
    assert len((folder / "events.jsonl.rejects.jsonl").read_text().splitlines()) == 1


def test_the_first_folder_with_the_file_wins_and_overrides_replace(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        place.mkdir()
        (place / "leads.csv").write_text(LEADS.replace("Web", place.name))
    (there / "only.csv").write_text(LEADS.replace("Web", "only"))
    mapping = parse_mapping({"inputs": {"leads": "leads.csv"}, "events": [{"event": "lead_created", "sql": LEAD_SQL}]})

    def sources(**arguments: Any) -> Any:
        return {e.source for e in convert(mapping, **arguments) if isinstance(e, LeadCreated)}

    assert sources(folders=(here, there)) == {"here", "Fair"}
    assert sources(folders=(there, here)) == {"there", "Fair"}
    assert sources(folders=(here, there), overrides={"leads": "only.csv"}) == {"only", "Fair"}


def test_views_are_shared_and_build_on_each_other(folder: Path) -> None:
    options = {"views": {"a": "SELECT * FROM leads -- all", "b": "WITH x AS (FROM a) SELECT * FROM x LIMIT 1;"}}
    assert len(run(folder, "lead_created", LEAD_SQL.replace("leads", "b"), options=options)) == 1


# --- what is wrong with a mapping is said by name


@pytest.mark.parametrize(
    ("event", "sql", "message"),
    [
        ("lead_created", "SELECT id AS lead_id FROM leads", "event lead_created: the SQL does not"),
        ("activity_logged", "SELECT 'call' AS kind, created AS occurred_at FROM leads", "none of lead_id, account_id"),
        ("lead_created", f"SELECT *, 1 AS campaign FROM ({LEAD_SQL})", "did you mean campaign_id for campaign?"),
        ("deal_won", f"SELECT {WON}, [1] AS lines, 'P' AS product", "has no field product"),
        ("lead_created", f"SELECT *, 1 AS event FROM ({LEAD_SQL})", "has no field event"),
        ("lead_created", "SELECT id AS lead_id, id AS Lead_Id, created AS occurred_at FROM leads", "two col"),
        ("lead_created", "SELECT id AS lead_id, 17 AS occurred_at FROM leads", "to_timestamp"),
        ("lead_created", "SELECT idd AS lead_id, created AS occurred_at FROM leads", "idd"),
        ("lead_created", "SELECT id AS lead_id, created AS occurred_at FROM lead", "lead"),
        ("lead_created", "SELEC 1", "event lead_created: "),
        ("lead_created", "DELETE FROM leads", "must be one SELECT"),
        ("lead_created", f"{LEAD_SQL}; {LEAD_SQL}", "must be one SELECT"),
        ("lead_created", "", "events.0.sql"),
        ("lead_created", "SELECT source::INTEGER AS lead_id, created AS occurred_at FROM leads", "TRY_CAST"),
        ("lead_created", "SELECT id AS lead_id, strptime(id, '%d') AS occurred_at FROM leads", "try_strptime"),
        ("lead_created", "SELECT content AS lead_id, '' AS occurred_at FROM read_text('/etc/os')", "inputs"),
        ("lead_creatd", LEAD_SQL, "did you mean 'lead_created'?"),
        ("x", LEAD_SQL, "known events: lead_created"),
    ],
)  # fmt: skip
def test_wrong_queries_are_named(folder: Path, event: str, sql: str, message: str) -> None:
    with pytest.raises(ConvertError) as caught:
        run(folder, event, sql)
    assert message in str(caught.value)


EVENT = [{"event": "lead_created", "sql": LEAD_SQL}]
FINE = {"inputs": {"leads": "leads.csv"}, "events": EVENT}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("inputs:\n  leads: leads.csv\n", "the key 'events' is missing"),
        ("events: []\n", "events"),
        ("- a\n", "must be a YAML mapping"),
        ("inputs: [\n", "is not YAML"),
        ("events:\n  - event: lead_created\n    sql: SELECT {'product': 1} FROM leads\n", "after 'sql: |'"),
        ("inputs: {a: b}\ninputs: {a: c}\n", "the key 'inputs' is there twice"),
        ({**FINE, "event": 1}, "unknown key 'event'; known keys here: desc"),
        ({**FINE, "inputs": {"leads": {"path": "leads.csv", "delimiter": ";"}}}, "inputs.leads.delimiter"),
        ({**FINE, "events": [EVENT[0] | {"query": 1}]}, "known keys here: event, sql"),
        ({**FINE, "timezone": "Berlin"}, "unknown time zone 'Berlin'"),
        ({**FINE, "currency": "Euro"}, "currency"),
        ({**FINE, "inputs": {"my leads": "leads.csv"}}, "'my leads' cannot name a table"),
        ({**FINE, "inputs": {"leads": "a", "Leads": "b"}}, "names two"),
        ({**FINE, "inputs": {"leads": "none.csv"}}, "--input leads=PATH"),
        ({**FINE, "inputs": {"leads": "leads.doc"}}, "XLSX, Parquet or JSON, or say format"),
        ({**FINE, "inputs": {"leads": {"path": "leads.parquet", "delim": ";"}}}, "'delim' does not apply"),
        ({**FINE, "inputs": {"leads": {"path": "leads.csv", "encoding": "cp9"}}}, "unknown encoding 'cp9'"),
        ({**FINE, "inputs": {"leads": {"path": "leads.csv", "encoding": "hex"}}}, "unknown encoding 'hex'"),
        ({**FINE, "inputs": {"leads": "leads.parquet"}}, "input leads: "),
        ({**FINE, "views": {"v": "SELECT x FROM leads"}}, "view v: "),
    ],
)  # fmt: skip
def test_wrong_mappings_end_with_2_and_write_nothing(folder: Path, content: Any, message: str) -> None:
    for name in ("leads.doc", "leads.parquet"):
        (folder / name).write_text("?")
    before = set(folder.iterdir())
    mapping = folder / "m.yaml"
    mapping.write_text(content if isinstance(content, str) else json.dumps(content))
    result = command(str(mapping), "--out", str(folder / "events.jsonl"))
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert set(folder.iterdir()) == before | {mapping}


# --- the command and its files


def command(*arguments: str) -> Any:
    return CliRunner().invoke(convert_command, arguments, catch_exceptions=False)


@pytest.fixture
def mapping(folder: Path) -> str:
    (folder / "leads.csv").write_text(LEADS + "L3,2024-05-01 00:00:00,Web\n,2024-05-02 00:00:00,Web\n")
    path = folder / "crm.yaml"
    path.write_text(json.dumps({"inputs": {"leads": "leads.csv"}, "events": EVENT}))
    return str(path)


def test_events_are_sorted_by_time_and_rejects_lie_beside_them(folder: Path, mapping: str) -> None:
    out = folder / "new" / "events.jsonl"
    result = command(mapping, "--out", str(out))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "lead_created" in result.stderr
    events = [decode(line) for line in out.read_bytes().splitlines()]
    assert [event.key for event in events if isinstance(event, EventBase)] == ["L3", "L1", "L2"]
    (rejected,) = map(json.loads, (folder / "new" / "events.jsonl.rejects.jsonl").read_text().splitlines())
    assert rejected["detail"] == "lead_id: Field required"
    assert rejected["payload"] == {"occurred_at": "2024-05-02 00:00:00", "source": "Web"}
    assert {path.name for path in out.parent.iterdir()} == {"events.jsonl", "events.jsonl.rejects.jsonl"}


def test_strict_ends_with_1_where_rows_were_rejected(folder: Path, mapping: str) -> None:
    out = str(folder / "e.jsonl")
    assert command(mapping, "--out", out, "--strict").exit_code == 1
    assert Path(out).exists()
    (folder / "leads.csv").write_text(LEADS)
    assert command(mapping, "--out", out, "--strict").exit_code == 0
    assert Path(out + ".rejects.jsonl").read_bytes() == b""


def test_standard_output_and_a_named_rejects_file(folder: Path, mapping: str) -> None:
    plain = command(mapping, "--out", "-")
    assert len(plain.stdout.splitlines()) == 3
    assert "--rejects FILE" in plain.stderr
    rejects = folder / "r.jsonl"
    assert command(mapping, "--out", "-", "--rejects", str(rejects)).stdout == plain.stdout
    assert len(rejects.read_text().splitlines()) == 1


@pytest.mark.parametrize(("suffix", "unpack"), [(".gz", gzip.decompress), (".zst", None), ("", bytes)])
def test_the_same_inputs_give_the_same_bytes(folder: Path, mapping: str, suffix: str, unpack: Any) -> None:
    out = folder / f"e.jsonl{suffix}"
    command(mapping, "--out", str(out))
    first = out.read_bytes()
    command(mapping, "--out", str(out))
    assert out.read_bytes() == first
    unpack = unpack or (lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data))
    assert unpack(first).decode() == command(mapping, "--out", "-").stdout


def test_a_failure_leaves_the_old_file(folder: Path, mapping: str) -> None:
    out = folder / "e.jsonl"
    out.write_text("old")
    (folder / "leads.csv").unlink()
    assert command(mapping, "--out", str(out)).exit_code == 2
    assert out.read_text() == "old"


def test_a_device_is_written_to_and_not_replaced(mapping: str) -> None:
    assert command(mapping, "--out", "/dev/null", "--rejects", "/dev/null").exit_code == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--input", "leads"), "NAME=PATH"),
        (("--input", "nobody=x.csv"), "the mapping's inputs are leads"),
        (("--input", "leads=a", "--input", "leads=b"), "twice"),
        (("--timezone", "Mars"), "unknown time zone 'Mars'"),
        (("--drop-duplicates", "nobody"), "'nobody' is no input"),
    ],
)
def test_wrong_options_are_named(folder: Path, mapping: str, arguments: tuple[str, ...], message: str) -> None:
    result = command(mapping, "--out", str(folder / "e.jsonl"), *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_mapping_that_is_nowhere(folder: Path) -> None:
    result = command("nowhere", "--out", str(folder / "e.jsonl"))
    assert result.exit_code == 2
    assert "school-crm" in result.stderr


def test_shipped_mappings_are_found_by_name() -> None:
    assert shipped_mappings() == ["sales-pipeline", "school-crm"]
    for name in shipped_mappings():
        assert load_mapping(find_mapping(name)).source_system == name


def test_the_business_time_zone_of_the_settings_is_the_last_resort(
    folder: Path, mapping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_hour(*arguments: str) -> int:
        return int(json.loads(command(mapping, "--out", "-", *arguments).stdout.splitlines()[0])["occurred_at"][11:13])

    assert first_hour() == 0
    monkeypatch.setenv("SALESGAUGE_RULES__ZONE", "America/New_York")
    assert first_hour() == 4
    assert first_hour("--timezone", "UTC") == 0
    monkeypatch.setenv("SALESGAUGE_RULES__ZONE", "Mars")
    failed = command(mapping, "--out", "-")
    assert failed.exit_code == 2
    assert "Mars" in failed.stderr


# --- properties


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3), st.integers(-500, 500)),
        min_size=1,
        max_size=30,
    ),
    order=st.randoms(use_true_random=False),
)
def test_the_result_is_a_function_of_the_set_of_rows(tmp_path: Path, rows: list[Any], order: Any) -> None:
    def lines() -> bytes:
        body = "".join(f"{campaign},2024-01-0{day + 1},{cents / 100}\n" for campaign, day, cents in rows)
        (tmp_path / "spend.csv").write_text("campaign,day,cost\n" + body)
        results = run(tmp_path, "spend_recorded", SPEND_SQL, inputs={"spend": "spend.csv"})
        write_events(results, tmp_path / "out.jsonl", None, run_length=7)
        return (tmp_path / "out.jsonl").read_bytes()

    once = lines()
    order.shuffle(rows)
    assert lines() == once
    events = [json.loads(line) for line in once.splitlines()]
    assert len({event["event_id"] for event in events}) == len(rows)
    assert sum(Decimal(event["amount"]) * 100 for event in events) == sum(cents for _, _, cents in rows)
    assert [event["occurred_at"] for event in events] == sorted(event["occurred_at"] for event in events)


@given(entries=st.lists(st.tuples(st.integers(-(2**40), 2**60), st.text(max_size=3), st.binary(max_size=4))))
def test_sorting_in_runs_is_sorting(tmp_path_factory: pytest.TempPathFactory, entries: list[Any]) -> None:
    runs = SortedRuns(tuple[int, str, bytes], tmp_path_factory.mktemp("runs"), run_length=3)
    for entry in entries:
        runs.add(entry)
    assert list(runs) == sorted(entries)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_can_be_converted_from_its_required_columns(tmp_path: Path, event: str) -> None:
    samples = {"event_id": "'e'", "stage": "'sql'", "kind": "'email'", "score": "5", "survivor_id": "'other'"}
    kinds = {"survey_answered": "'nps'", "activity_logged": "'call'"}
    times = {
        "occurred_at": "DATE '2024-01-01'",
        "period_start": "DATE '2024-01-01'",
        "period_end": "DATE '2024-02-01'",
    }
    model = EVENTS[event]
    names = {name for name, field in model.model_fields.items() if field.is_required()} | set(model.KEY_FIELDS[:1])
    names |= {"subscription_changed": {"mrr_after"}, "deal_credited": {"amount"}}.get(event, set())
    values = {name: times.get(name) or samples.get(name) or "'1'" for name in sorted(names)}
    if "kind" in values:
        values["kind"] = kinds.get(event, values["kind"])
    result = one(tmp_path, event, ", ".join(f"{value} AS {name}" for name, value in values.items()))
    assert isinstance(result, model)


# --- the documentation


def test_the_example_in_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = dict(re.findall(r'```\w+ title="(\S+)"\n(.*?)```', DOCS.read_text(encoding="utf-8"), re.DOTALL))
    expected = {name: blocks.pop(name) for name in list(blocks) if name.endswith(".jsonl")}
    assert set(blocks) == {"deals.csv", "crm.yaml"}
    for name, content in blocks.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    assert command("crm.yaml", "--out", "events.jsonl").exit_code == 0
    for name, content in expected.items():
        assert (tmp_path / name).read_text() == content
