"""Replay from files: the same readings whatever the order, what was known when, and every way an input can be bad."""

from __future__ import annotations

import gzip
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import zstandard
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from salesgauge.schemas.codec import encode
from salesgauge.schemas.errors import InputError
from salesgauge.streams.cli.diff import diff_command
from salesgauge.streams.cli.replay import replay_command
from salesgauge.streams.io.event_files import EventFiles
from salesgauge.streams.io.instants import aligned, iso, moment, parse_instant, parse_span
from salesgauge.streams.io.records import known_at
from salesgauge.streams.replay.compare import Readings, Tolerance, differences
from salesgauge.streams.replay.selection import select
from salesgauge.streams.replay.sinks.sample_store import SampleStore
from salesgauge.streams.simulation.history import Organisation, history

DAY = 86_400_000
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def replay(*args: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(replay_command, [str(arg) for arg in args], input=stdin)


def document(*args: object, stdin: bytes | None = None) -> dict[str, Any]:
    result = replay(*args, "--json", stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return dict(json.loads(result.stdout))


def value(doc: dict[str, Any], kpi: str, window: str = "all", stat: str = "value", **labels: str) -> float | None:
    for reading in doc["readings"]:
        if (reading["kpi"], reading["window"], reading["stat"], reading["labels"]) == (kpi, window, stat, labels):
            return float(reading["value"])
    return None


def time_of(line: bytes) -> str:
    return iso(parse_instant(json.loads(line)["occurred_at"], UTC))


def lead(number: int, at: str, **more: object) -> bytes:
    fields = {"event": "lead_created", "event_id": f"e{number}", "lead_id": f"l{number}", "occurred_at": at}
    return json.dumps(fields | more).encode() + b"\n"


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    organisation = Organisation(seed=7, leads_per_day=12, reps=6)
    return [encode(event) + b"\n" for event in history(organisation, MONDAY, MONDAY + timedelta(days=6))]


@pytest.fixture
def events(tmp_path: Path, lines: list[bytes]) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(lines))
    return path


# --- one instant


def test_prints_exactly_one_document_of_the_contract(events, lines):
    result = replay("--events", events, "--at", "2026-03-06T12:00:00Z", "--json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    doc = json.loads(result.stdout)
    assert list(doc) == ["at", "events", "rejected", "not_connected", "readings"]
    assert doc["at"] == "2026-03-06T12:00:00Z"
    happened = [line for line in lines if json.loads(line)["occurred_at"] <= "2026-03-06T12:00:00Z"]
    assert doc["events"] == len(happened) < len(lines)
    assert doc["rejected"] == 0
    assert {"kpi", "window", "labels", "value", "stat"} <= doc["readings"][0].keys()
    created = {json.loads(line)["lead_id"] for line in happened if b'"lead_created"' in line}
    merged = {json.loads(line)["lead_id"] for line in happened if b'"lead_merged"' in line}
    assert value(doc, "new_leads") == len(created - merged) > 20


def test_the_default_instant_is_when_the_latest_event_happened(events, lines):
    result = replay("--events", events, "--json")
    last = time_of(lines[-1])
    assert json.loads(result.stdout)["at"] == last
    assert f"at {last}, when the latest event happened" in result.stderr
    assert json.loads(result.stdout) == document("--events", events, "--at", last)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), junk=st.integers(0, 3), known=st.booleans())
def test_order_and_duplicates_of_lines_change_nothing(lines, tmp_path_factory, seed, junk, known):
    rng = random.Random(seed)
    shuffled = [*lines, *rng.sample(lines, len(lines) // 10), *[b"{not json\n"] * junk]
    rng.shuffle(shuffled)
    folder = tmp_path_factory.mktemp("shuffled")
    (folder / "a").write_bytes(b"".join(lines))
    (folder / "b").write_bytes(b"".join(shuffled))
    at = ("--at", "2026-03-05T10:30:00Z", *(("--as-known",) if known else ()))
    straight, other = document("--events", folder / "a", *at), document("--events", folder / "b", *at)
    assert other["rejected"] == junk
    assert other | {"rejected": 0} == straight


def test_what_is_no_event_is_counted_listed_and_passed_over(tmp_path):
    path, rejects = tmp_path / "e.jsonl", tmp_path / "rejects.jsonl"
    bad = b'{"event":"lead_created","event_id":"x","occurred_at":"2026-01-01"}\n'
    unknown = b'{"event":"nothing","event_id":"y","occurred_at":"2026-01-01T00:00:00Z"}\n'
    two = lead(8, "2026-01-01T00:00:00Z").strip() + b"," + lead(9, "2026-01-01T00:00:00Z")
    path.write_bytes(
        lead(1, "2026-01-01T00:00:00Z")
        + b"{\n[1]\n\n"
        + bad
        + unknown
        + two
        + b"x" * 300_000
        + b"\n"
        + lead(2, "2026-01-02T00:00:00Z")
    )
    result = replay("--events", path, "--json", "--rejects", rejects)
    doc = json.loads(result.stdout)
    assert (doc["events"], doc["rejected"]) == (2, 6)
    rows = [json.loads(row) for row in rejects.read_text().splitlines()]
    assert [(row["position"], row["reason"]) for row in rows] == [
        (2, "not_json"), (3, "not_an_object"), (5, "invalid"), (6, "unknown_event"), (7, "not_json"), (8, "too_large"),
    ]  # fmt: skip
    assert "rejected: 2 not_json" in result.stderr
    deal = (
        b'{"event":"deal_won","event_id":"d","deal_id":"d","lead_id":"l1","occurred_at":"2026-01-01T00:00:00Z",'
        b'"currency":"XTS","lines":[{"product":"p","unit_price":1}]}\n'
    )
    euros = deal.replace(b"XTS", b"EUR").replace(b'"d"', b'"d2"')
    path.write_bytes(lead(1, "2026-01-01T00:00:00Z") + deal + euros)
    without_a_rate = replay("--events", path, "--json")
    assert (without_a_rate.exit_code, json.loads(without_a_rate.stdout)["rejected"]) == (1, 1)
    assert "set rules.rates" in without_a_rate.stderr


def test_events_that_have_not_happened_are_neither_applied_nor_rejected(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_bytes(lead(1, "2026-01-01T00:00:00Z") + lead(2, "2026-01-01T00:00:00.001Z"))
    doc = document("--events", path, "--at", "2026-01-01T00:00:00Z")
    assert (doc["events"], doc["rejected"], value(doc, "new_leads")) == (1, 0, 1)
    early = replay("--events", path, "--at", "2025-01-01", "--json")
    assert (early.exit_code, json.loads(early.stdout)["events"]) == (0, 0)


def test_nothing_usable_missing_files_and_wrong_options(tmp_path, events):
    junk = tmp_path / "junk"
    junk.write_bytes(b"{\n")
    nothing = replay("--events", junk, "--json")
    assert nothing.exit_code == 1
    assert "no valid event" in nothing.stderr
    for args, said in [
        (("--events", tmp_path / "absent"), "does not exist"),
        (("--events", tmp_path), "is a folder"),
        ((), "--events FILE or --topics"),
        (("--events", events, "--at", "yesterday"), "'yesterday' is no time"),
        (("--events", events, "--step", "1 minute", "--json"), "'1 minute' is no span"),
        (("--events", events, "--kpi", "new_lead"), "did you mean new_leads?"),
        (("--events", events, "--window", "2h"), "there is no window '2h'"),
        (("--events", events, "--kpi", "new_leads", "--breakdown", "team"), "none of the chosen KPIs"),
        (("--events", events, "--step", "1h"), "many instants need an output: --json"),
        (("--events", events, "--at", "2026-03-03", "--step", "1h", "--json"), "--at is one instant"),
        (("--events", events, "--json", "--label", "a-b=c"), "NAME=VALUE"),
        (("--events", events, "--remote-write", "localhost"), "no address such as"),
        (("--events", events, "--openmetrics", tmp_path / "no" / "x"), "cannot write in"),
        (("--events", events, "--openmetrics", tmp_path), "is a folder"),
        (("--events", events, "--parquet", tmp_path), "is a folder"),
        (("--events", events, "--rejects", tmp_path), "is a folder"),
        (("--events", events, "--json", "--from", "2026-03-04", "--to", "2026-03-03"), "lies before"),
    ]:
        result = replay(*args)
        assert result.exit_code == 2, (args, result.output)
        assert said in result.stderr.replace("\n", " "), (said, result.stderr)
        assert "Traceback" not in result.stderr


def test_a_full_disk_is_told_even_where_output_is_not_buffered(events):
    code = (
        "import resource, signal, sys; from salesgauge.streams.cli.main import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); main(sys.argv[1:])"
    )
    with tempfile.TemporaryFile() as file:
        done = subprocess.run(
            [sys.executable, "-u", "-c", code, "replay", str(events), "--json", "-q"],
            stdout=file, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, "File too large" in done.stderr) == (2, True), done.stderr


def test_a_quiet_replay_writes_nothing_but_its_document(events):
    command = [sys.executable, "-m", "salesgauge", "replay", "--events", str(events), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stderr == ""
    assert json.loads(done.stdout)["readings"]


def test_settings_come_from_a_file_as_well(tmp_path, events):
    (tmp_path / "settings.yaml").write_text("rules: {zone: Asia/Tokyo}\n")
    result = replay(events, "--config", tmp_path / "settings.yaml", "--at", "2026-03-03", "--json")
    assert json.loads(result.stdout)["at"] == "2026-03-02T15:00:00Z"
    (tmp_path / "settings.yaml").write_text("rules: [\n")
    refused = replay(events, "--config", tmp_path / "settings.yaml")
    assert (refused.exit_code, "is not YAML" in refused.stderr) == (2, True)
    assert replay(events, "--config", tmp_path / "absent").exit_code == 2


def test_shows_a_table_to_people(events):
    result = replay("--events", events, "--kpi", "new_leads", "--kpi", "lead_response_seconds")
    assert "new_leads" in result.stdout
    assert "lead_response_seconds p90" in result.stdout
    assert re.search(r"^ *2026-\S+Z · [\d,]+ events", result.stdout)
    by_source = replay("--events", events, "--kpi", "new_leads", "--breakdown", "source", "--window", "7d")
    assert "source=" in by_source.stdout


def test_says_which_settings_keep_labels_from_being_shown(tmp_path, monkeypatch):
    path = tmp_path / "e.jsonl"
    owners = [f"rep-{n}" for n in range(3)] + ["ann@example.com"]
    path.write_text(
        "".join(
            json.dumps({"event": "deal_won", "event_id": f"e{n}", "occurred_at": "2026-01-01T00:00:00Z",
                        "lead_id": f"l{n}", "deal_id": f"d{n}", "rep_id": rep,
                        "lines": [{"product": "p", "unit_price": 1}]}) + "\n"
            for n, rep in enumerate(owners)
        )
    )  # fmt: skip
    arguments = ("--events", path, "--kpi", "sales_revenue", "--json")
    told = replay(*arguments).stderr
    ((setting, listed),) = re.findall(r"(SALESGAUGE_RULES__UNREDACTED)='(.*?)'", told)
    monkeypatch.setenv(setting, listed)
    shown = replay(*arguments)
    assert value(json.loads(shown.stdout), "sales_revenue", rep="ann@example.com") == 1
    assert "redacted" not in shown.stderr
    monkeypatch.setenv("SALESGAUGE_RULES__LABEL_CEILING", "2")
    assert "the rest, 2 for sales_revenue by rep, is `other`" in replay(*arguments).stderr


# --- files of all kinds


def test_patterns_name_the_files_that_match(tmp_path, lines):
    for number, part in enumerate((lines[:100], lines[100:300])):
        (tmp_path / f"part-{number}.jsonl").write_bytes(b"".join(part))
    assert document(f"{tmp_path}/part-*.jsonl")["events"] == 300
    assert replay(f"{tmp_path}/no-*.jsonl").exit_code == 2


def test_reads_compressed_files_parquet_and_pipes(tmp_path, events, lines):
    text = events.read_bytes()
    (tmp_path / "e.gz").write_bytes(gzip.compress(text[:4000]) + gzip.compress(text[4000:]))
    (tmp_path / "e.zst").write_bytes(zstandard.compress(text[:4000]) + zstandard.compress(text[4000:]))
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE e (event VARCHAR)")
        connection.executemany("INSERT INTO e VALUES (?)", [[line.decode()] for line in lines])
        connection.execute(f"COPY e TO '{tmp_path / 'json.parquet'}' (FORMAT parquet)")
        connection.execute(
            f"COPY (SELECT * REPLACE (CAST(occurred_at AS TIMESTAMP) AS occurred_at) FROM read_json('{events}', "
            f"format='newline_delimited', sample_size=-1)) TO '{tmp_path / 'fields.parquet'}' (FORMAT parquet)"
        )
    expected = document("--events", events)
    for name in ("e.gz", "e.zst", "json.parquet", "fields.parquet"):
        assert document("--events", tmp_path / name) == expected, name
    assert document("--events", "-", stdin=text) == expected
    assert document("--events", "-", stdin=(tmp_path / "e.zst").read_bytes()) == expected
    half = len(lines) // 2
    (tmp_path / "1").write_bytes(b"\xef\xbb\xbf" + b"".join(lines[:half]).replace(b"\n", b"\r\n"))  # from Windows
    (tmp_path / "2").write_bytes(b"".join(lines[half - 5 :]))
    assert document("--events", tmp_path / "1", tmp_path / "2") == expected
    assert document("--events", tmp_path / "2", "--events", tmp_path / "1") == expected


def in_blocks(data: bytes) -> bytes:
    frame = zstandard.ZstdCompressor().compressobj()
    parts = [
        frame.compress(data[i : i + 5000]) + frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for i in range(0, len(data), 5000)
    ]
    return b"".join(parts) + frame.flush()


@pytest.mark.parametrize("compress", [bytes, gzip.compress, in_blocks], ids=["plain", "gzip", "zstandard"])
def test_a_cut_file_is_noticed(tmp_path, lines, compress):
    whole = compress(b"".join(lines))
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    refused = replay("--events", tmp_path / "cut", "--json", "--rejects", tmp_path / "rejects")
    assert refused.exit_code == 2
    assert "ends too early" in refused.stderr
    assert refused.stdout == ""
    assert not (tmp_path / "rejects").exists()
    taken = replay("--events", tmp_path / "cut", "--json", "--allow-truncated")
    assert taken.exit_code == 0
    assert "warning" in taken.stderr
    assert 0 < json.loads(taken.stdout)["events"] < len(lines)


def test_unsorted_files_are_sorted_on_disk_and_sorted_ones_streamed(tmp_path, lines):
    shuffled = list(lines)
    random.Random(1).shuffle(shuffled)
    (tmp_path / "a").write_bytes(b"".join(lines[::2]))
    (tmp_path / "b").write_bytes(b"".join([*shuffled[:7], b"junk\n", *lines[1::2]]))
    source = EventFiles([str(tmp_path / "a"), str(tmp_path / "b")])
    ordered = list(source.ordered(corrected=False))
    assert len(ordered) == len(lines) + 8
    assert [at for at, _ in ordered] == sorted(at for at, _ in ordered)
    assert all(known_at(record, corrected=False) in (at, None) for at, record in ordered)
    first, last = source.span(corrected=False) or (0, 0)
    assert (iso(first), iso(last)) == (time_of(lines[0]), time_of(lines[-1]))
    source.close()


# --- many instants


def steps(*args: object) -> list[dict[str, Any]]:
    result = replay(*args, "--json")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_step_equals_a_replay_at_its_instant(events):
    span = ("--events", events, "--from", "2026-03-03T07:10Z", "--to", "2026-03-06T07:10Z", "--step", "9h")
    walked = steps(*span)
    assert [doc["at"] for doc in walked[:2]] == ["2026-03-03T07:10:00Z", "2026-03-03T16:10:00Z"]
    assert len(walked) == 9
    for doc in walked:
        assert doc == document("--events", events, "--at", doc["at"], "--as-known")
    for doc in steps(*span, "--corrected"):
        assert doc == document("--events", events, "--at", doc["at"])


def test_a_selection_gives_the_same_numbers_as_everything(events):
    chosen = ("--kpi", "lead_response_seconds", "--kpi", "close_ratio", "--window", "24h", "--breakdown", "rep")
    everything = document("--events", events)["readings"]
    wanted = [
        reading
        for reading in everything
        if reading["kpi"] in chosen and reading["window"] == "24h" and list(reading["labels"]) == ["rep"]
    ]
    selected = document("--events", events, *chosen)["readings"]
    by_name = sorted(selected, key=str)
    assert by_name == sorted(wanted, key=str)
    assert by_name


def test_what_was_not_known_does_not_show_unless_corrected(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_bytes(
        lead(1, "2026-01-01T00:00:00Z")
        + lead(2, "2026-01-01T00:10:00Z", recorded_at="2026-01-01T02:30:00Z")
        + lead(3, "2026-01-01T03:00:00Z", recorded_at="2026-01-01T01:00:00Z")
    )
    span = ("--events", path, "--from", "2026-01-01", "--to", "2026-01-01T04:00", "--step", "1h")
    seen = [value(doc, "new_leads") for doc in steps(*span, "--kpi", "new_leads", "--breakdown", "none")]
    assert seen == [1, 1, 1, 3, 3]
    corrected = [value(doc, "new_leads") for doc in steps(*span, "--corrected")]
    assert corrected == [1, 2, 2, 3, 3]
    at = ("--events", path, "--at", "2026-01-01T02:00:00Z")
    assert value(document(*at), "new_leads") == 2
    assert value(document(*at, "--as-known"), "new_leads") == 1


def test_windows_empty_on_a_quiet_stream(tmp_path, monkeypatch):
    path = tmp_path / "e.jsonl"
    path.write_bytes(lead(1, "2026-01-01T00:00:30Z"))
    monkeypatch.setenv("SALESGAUGE_RULES__ZERO_IS_REAL", '["lead_created", "activity_logged"]')
    walked = steps("--events", path, "--from", "2026-01-01", "--to", "2026-01-01T01:10", "--step", "10m")
    assert [value(doc, "new_leads", "1h") for doc in walked] == [0, 1, 1, 1, 1, 1, 1, 0]
    assert [value(doc, "lead_oldest_wait_seconds") for doc in walked][-1] == 4170


def test_steps_lie_on_multiples_unless_a_start_is_given(events, lines):
    walked = steps("--events", events, "--step", "1d", "--kpi", "new_leads", "--window", "all")
    first = json.loads(lines[0])["occurred_at"]
    assert walked[0]["at"] >= first
    assert all(doc["at"].endswith("T00:00:00Z") for doc in walked)
    assert list(aligned(61_000, 180_000, 60_000)) == [120_000, 180_000]


# --- interruption


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_that_looks_whole(tmp_path, events, how):
    out = tmp_path / "out"
    out.mkdir()
    code = "import sys; from salesgauge.streams.cli.replay import replay_command as c; c(sys.argv[1:])"
    command = [
        sys.executable, "-c", code, "--events", str(events), "--step", "10s",
        "--openmetrics", str(out / "x.om"), "--parquet", str(out / "x.parquet"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 30
    while len(list(out.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert list(out.iterdir()) == []


# --- small parts


def test_instants_and_spans():
    assert iso(parse_instant("2026-03-01T08:30+01:00", UTC)) == "2026-03-01T07:30:00Z"
    assert iso(parse_instant("2026-03-01T00:00:00.0015Z", UTC)) == "2026-03-01T00:00:00.002Z"
    assert moment(1).microsecond == 1000
    assert parse_span("1h30m") == 5_400_000
    assert parse_span("250ms") == 250
    for text in ("", "0s", "5", "m", "-1m", "1m 2s"):
        with pytest.raises(InputError, match="is no span"):
            parse_span(text)


def test_a_spool_keeps_all_samples_of_a_series_together(tmp_path):
    spool = SampleStore(tmp_path, limit=7)
    for at in range(10):
        for series in (3, 1, 2):
            spool.add(series, at, at + series / 10)
    assert list(spool.read(1)) == [(at, at + 0.1) for at in range(10)]
    assert list(spool.read(3)) == [(at, at + 0.3) for at in range(10)]
    assert list(spool.read(9)) == []
    spool.close()


def test_selection_narrows_the_catalogue():
    catalogue = select(["new_leads"], ["24h"], ["source"])
    (kpi,) = catalogue.kpis
    assert (kpi.windows, kpi.breakdowns, kpi.whole) == (("24h",), (("source",),), False)
    assert len(select().kpis) > 40


# --- diff


def diff(*args: object) -> Result:
    return CliRunner().invoke(diff_command, [str(arg) for arg in args])


def test_diff_tells_what_differs(tmp_path, events):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    doc = document("--events", events)
    a.write_text(json.dumps(doc))
    b.write_text(json.dumps(doc))
    same = diff(a, b)
    assert (same.exit_code, "are equal" in same.stdout) == (0, True)
    changed = json.loads(a.read_text())
    target = next(r for r in changed["readings"] if r["kpi"] == "new_leads" and r["window"] == "7d")
    target["value"] += 1
    gone = changed["readings"].pop()
    b.write_text(json.dumps(changed))
    different = diff(a, b)
    assert different.exit_code == 1
    assert "2 of" in different.stdout
    assert "missing" in different.stdout
    assert gone["kpi"] in different.stdout
    assert diff(a, b, "--kpi", "activities").exit_code == 0
    assert diff(a, tmp_path / "absent").exit_code == 2
    (tmp_path / "empty").write_text("")
    assert diff(a, tmp_path / "empty").exit_code == 2
    (tmp_path / "other").write_text('{"readings": 1}')
    assert diff(a, tmp_path / "other").exit_code == 2
    for args, said in [
        ((a, b, "--kpi", "deals"), "neither side has any readings of deals"),
        (("-", "-"), "one side alone"),
        ((a, b, "--token-file", tmp_path / "absent"), "cannot read"),
        ((a, b, "--tolerance-of", "new_lead=1"), "did you mean new_leads?"),
        ((a, b, "--tolerance-of", "new_leads=-1"), "KPI=0.01"),
        ((a, b, "--tolerance-of", "new_leads"), "KPI=0.01"),
    ]:
        wrong = diff(*args)
        assert (wrong.exit_code, said in wrong.stderr) == (2, True), wrong.output


def test_each_measure_can_have_its_own_tolerance(tmp_path, events):
    doc = document("--events", events, "--kpi", "new_leads", "--kpi", "lead_response_seconds", "--window", "all")
    (tmp_path / "a").write_text(json.dumps(doc))
    for reading in doc["readings"]:
        reading["value"] *= 1.02
    (tmp_path / "b").write_text(json.dumps(doc))
    sides = (tmp_path / "a", tmp_path / "b")
    assert diff(*sides, "--kpi", "new_leads").exit_code == 1
    assert diff(*sides, "--kpi", "new_leads", "--tolerance-of", "new_leads=0.03").exit_code == 0
    assert diff(*sides, "--tolerance-of", "new_leads=0.03").exit_code == 1
    assert diff(*sides, "--tolerance", "0.03").exit_code == 0
    strict = diff(*sides, "--tolerance", "0.03", "--tolerance-of", "lead_response_seconds.p90=0.01")
    assert strict.exit_code == 1
    assert {line.split()[3] for line in strict.stdout.splitlines() if "lead_resp" in line} == {"p90"}


def test_diff_reads_steps_and_parquet(tmp_path, events):
    span = ("--events", events, "--from", "2026-03-03", "--to", "2026-03-05", "--step", "12h")
    lines = replay(*span, "--json", "--parquet", tmp_path / "b.parquet")
    (tmp_path / "a.jsonl").write_text(lines.stdout)
    assert diff(tmp_path / "a.jsonl", tmp_path / "b.parquet").exit_code == 0
    (tmp_path / "a.jsonl").write_text("\n".join(lines.stdout.splitlines()[1:]))
    assert diff(tmp_path / "a.jsonl", tmp_path / "b.parquet").exit_code == 1


def test_tolerances():
    left = Readings("a", {("", "k", "p90", "1h", ()): 100.0, ("", "k", "mean", "1h", ()): 100.0}, ("t",))
    right = Readings("b", {("", "k", "p90", "1h", ()): 101.0, ("", "k", "mean", "1h", ()): 100.000001}, ("t",))
    assert [d.key[2] for d in differences(left, right, Tolerance())] == ["mean"]
    assert [d.key[2] for d in differences(left, right, Tolerance(quantile=0))] == ["p90", "mean"]
    assert not list(differences(left, right, Tolerance(general=1e-7)))


# --- what is not connected


def test_what_never_came_is_named_with_what_waits_for_it(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_bytes(lead(1, "2026-01-01T00:00:30Z"))
    chosen = ("--events", path, "--kpi", "new_leads", "--kpi", "win_ratio", "--kpi", "sales_revenue")
    result = replay(*chosen, "--json")
    [warning] = [line for line in result.stderr.splitlines() if line.startswith("warning: not connected")]
    assert warning.endswith(": no deal_won: sales_revenue; no deal_won, no deal_lost: win_ratio")
    doc = json.loads(result.stdout)
    assert doc["not_connected"] == {"sales_revenue": ["deal_won"], "win_ratio": ["deal_won", "deal_lost"]}
    assert {reading["kpi"] for reading in doc["readings"]} == {"new_leads"}
    table = replay(*chosen, "--openmetrics", tmp_path / "x.om")
    assert table.exit_code == 0
    text = (tmp_path / "x.om").read_text()
    assert 'salesgauge_kpi_connected{kpi="win_ratio"} 0.0' in text
    assert 'salesgauge_kpi_connected{kpi="new_leads"} 1.0' in text
    assert "crm_win_ratio" not in text
    assert "not connected" not in replay("--events", path, "--kpi", "new_leads").stderr
